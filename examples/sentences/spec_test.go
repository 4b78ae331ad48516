package main

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sparsegen/sparsegen/internal/weights"
	"github.com/sparsegen/sparsegen/ir"
	"github.com/stretchr/testify/require"
)

// loadSpec is use.sg, checked by its text alone or against weight files.
func loadSpec(t *testing.T, opt ir.Options) *ir.Module {
	t.Helper()
	src, err := os.ReadFile("use.sg")
	require.NoError(t, err)
	canonical, err := ir.Format("use.sg", src)
	require.NoError(t, err)
	require.Equal(t, string(canonical), string(src), "use.sg is not canonical")
	m, err := ir.Load("use.sg", src, opt)
	require.NoError(t, err)
	return m
}

// encoderCalls are the layers that an encoder runs, with their widths.
func encoderCalls(t *testing.T) []call {
	t.Helper()
	rng := rand.New(rand.NewPCG(11, 12))
	layers := &recorder{rng: rng}
	_, err := NewEncoder(tinyModel(t, rng), layers).Encode(t.Context(), "abba")
	require.NoError(t, err)
	return layers.calls
}

// The layers that an encoder runs are those of the spec, with its shapes.
func TestSpecHasTheLayersOfTheEncoder(t *testing.T) {
	var want []call
	for _, l := range loadSpec(t, ir.Options{}).Layers {
		require.Equal(t, []ir.Dim{{Name: "t", Min: 1, Max: maxTokens}}, l.Dims, l.Name)
		if name := strings.TrimSuffix(strings.TrimSuffix(l.Name, "_nm24"), "_half"); name == l.Name {
			want = append(want, call{name, l.Inputs[0].Shape[1].N, l.Outputs[0].Shape[1].N})
		}
	}
	require.Equal(t, want, encoderCalls(t))
}

// The spec and the plain Go layers multiply with the same tensors.
func TestSpecHasTheTensorsOfTheReference(t *testing.T) {
	table := map[string][]product{}
	for _, p := range products() {
		table[p.layer] = append(table[p.layer], p)
	}
	for _, l := range loadSpec(t, ir.Options{}).Layers {
		pattern := "dense"
		name, variant, _ := strings.Cut(l.Name, "_")
		switch variant {
		case "nm24":
			pattern = "nm(2,4)"
		case "half":
			pattern = "unstructured(sparsity=0.5)"
		}
		var got []product
		for _, op := range l.Ops {
			if op.Weight == nil {
				continue
			}
			require.Equal(t, pattern, op.Weight.Pattern.String(), l.Name)
			require.True(t, op.Weight.Transposed, l.Name)
			got = append(got, product{layer: name, kernel: op.Weight.Tensor, bias: op.Bias.Tensor, in: op.Weight.In, out: op.Weight.Out})
		}
		require.Len(t, got, len(table[name]), l.Name)
		for i, p := range table[name] {
			p.activation, p.pruned = nil, false
			require.Equal(t, p, got[i], l.Name)
		}
	}
}

func TestSpecFitsTheModelsFile(t *testing.T) {
	file, err := weights.Open(filepath.Join(modelDir(t), "model.json"))
	require.NoError(t, err)
	defer file.Close()
	loadSpec(t, ir.Options{Tensors: file.Names, Shapes: func(name string) ([]int, bool) {
		info, err := file.Tensor(name)
		return info.Shape, err == nil
	}})
}
