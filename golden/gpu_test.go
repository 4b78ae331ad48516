package golden

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/tools/txtar"

	"github.com/sparsegen/sparsegen/codegen"
	"github.com/sparsegen/sparsegen/codegen/gpuplan"
	"github.com/sparsegen/sparsegen/ir"
	"github.com/sparsegen/sparsegen/ptx"
	"github.com/sparsegen/sparsegen/runtime/gpu"
)

const (
	gpuFolder   = "testdata/gpu"
	gpuCase     = gpuFolder + "/ffn.txtar"
	gpuManifest = gpuFolder + "/manifest.txt"
)

// gpuSpec is the case's archive and module.
func gpuSpec(t *testing.T) (*txtar.Archive, *ir.Module) {
	a, err := txtar.ParseFile(gpuCase)
	require.NoError(t, err)
	m, err := ir.Load(specName, testCase{gpuCase, a, nil}.spec(t), ir.Options{})
	require.NoError(t, err)
	return a, m
}

// plansText says which kernel runs at how many tokens.
func plansText(t *testing.T, m *ir.Module) []byte {
	var b bytes.Buffer
	for _, target := range gpuplan.Targets() {
		for _, l := range m.Layers {
			plan, err := gpuplan.Plan(l, target)
			require.NoError(t, err)
			for _, s := range plan.Steps {
				fmt.Fprintf(&b, "%v %s\n", target, s.Linear.Weight.Tensor)
				for _, c := range s.Choices {
					fmt.Fprintf(&b, "\t%d..%d\t%s\n", c.TokensMin, c.TokensMax, c.Config.Name())
				}
			}
		}
	}
	return b.Bytes()
}

// shown builds the kernel of a line "target tensor tokens".
func shown(t *testing.T, m *ir.Module, line string) *gpu.Kernel {
	var name, tensor string
	var tokens int
	_, err := fmt.Sscan(line, &name, &tensor, &tokens)
	require.NoError(t, err, line)
	target, err := ptx.ParseTarget(name)
	require.NoError(t, err)
	plan, err := gpuplan.Plan(m.Layers[0], target)
	require.NoError(t, err)
	for _, s := range plan.Steps {
		i := slices.IndexFunc(s.Choices, func(c gpuplan.Choice) bool { return tokens <= c.TokensMax })
		if s.Linear.Weight.Tensor == tensor && i >= 0 {
			k, err := s.Choices[i].Config.Build()
			require.NoError(t, err)
			return k
		}
	}
	require.Fail(t, "no such kernel", line)
	return nil
}

// TestPrintedPTX compares the plans and the kernels that are shown.
func TestPrintedPTX(t *testing.T) {
	a, m := gpuSpec(t)
	now := &txtar.Archive{Comment: a.Comment, Files: []txtar.File{{Name: specName, Data: testCase{gpuCase, a, nil}.spec(t)}, {Name: "plans", Data: plansText(t, m)}}}
	for line := range strings.Lines(string(a.Comment)) {
		if line = strings.TrimSpace(line); line == "" || line[0] == '#' {
			continue
		}
		k := shown(t, m, line)
		files, err := gpuplan.Emit([]gpu.Kernel{*k}, codegen.EmitOptions{Package: "golden", Spec: specName})
		require.NoError(t, err)
		now.Files = append(now.Files, txtar.File{Name: files[0].Name, Data: files[0].Data})
	}
	require.Greater(t, len(now.Files), 2, "%s shows no kernel", gpuCase)
	text := txtar.Format(now)
	if *update {
		require.NoError(t, os.WriteFile(gpuCase, text, 0o666))
		return
	}
	require.Equal(t, string(txtar.Format(a)), string(text), "%s is stale; read the diff, then go test ./golden -update", gpuCase)
}

// TestManifestPTX compares a hash of each kernel that the spec needs on any target.
func TestManifestPTX(t *testing.T) {
	_, m := gpuSpec(t)
	ks, err := gpuplan.Kernels(m.Layers, gpuplan.Targets(), nil)
	require.NoError(t, err)
	families := map[string]bool{}
	var b bytes.Buffer
	fmt.Fprintf(&b, "# SHA-256 of the text of each kernel, from go test ./golden -update\n")
	for _, k := range ks {
		families[k.Family] = true
		fmt.Fprintf(&b, "%.16x %s %s\n", sha256.Sum256([]byte(k.PTX)), k.Target, k.Name)
	}
	for _, f := range []string{"gemm", "decode", "ampere"} {
		require.True(t, families[f], "the spec needs no kernel of family %s", f)
	}
	compareManifest(t, gpuManifest, b.Bytes())
}
