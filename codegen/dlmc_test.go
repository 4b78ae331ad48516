package codegen_test

import (
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sparsegen/sparsegen/codegen"
	"github.com/sparsegen/sparsegen/internal/weights"
	"github.com/sparsegen/sparsegen/ir"
)

// TestPrunedNetworks takes the masks of real pruned networks (Deep Learning
// Matrix Collection, Gale et al. 2020) with random values through the whole
// path, in both layouts: few tokens, and enough columns for two tiles.
func TestPrunedNetworks(t *testing.T) {
	root := filepath.Join("..", "..", "shared", "data", "dlmc")
	data := map[string][]float32{}
	shapes := map[string][]int{}
	var spec strings.Builder
	spec.WriteString("sparsegen 1\n\nweights \"dlmc\"\n\n")
	_ = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || filepath.Ext(path) != ".smtx" {
			return nil // a folder that is not there has no files
		}
		f, err := weights.Open(path)
		require.NoError(t, err)
		defer f.Close()
		name := f.Names()[0]
		info, err := f.Tensor(name)
		require.NoError(t, err)
		id := fmt.Sprintf("m%d", len(data))
		data[id], err = f.RandomFloat32(name, uint64(len(data)))
		require.NoError(t, err)
		shapes[id] = info.Shape
		t.Logf("%s is %s", id, path)
		out, in := info.Shape[0], info.Shape[1]
		fmt.Fprintf(&spec, "layer t%s(x f32[t, %d]) (y f32[t, %d]) where t in 1..24 {\n    y = linear(x, w\"%s\" : unstructured) | relu\n}\n", id, in, out, id)
		fmt.Fprintf(&spec, "layer f%s(x f32[%d, t]) (y f32[%d, t]) where t in 1..24 {\n    y = linear(x, w\"%s\" : unstructured, axis=0)\n}\n", id, in, out, id)
		return nil
	})
	if len(data) == 0 {
		t.Skip("no matrices of the Deep Learning Matrix Collection beside the repository")
	}
	lookup := func(tensor string) ([]float32, []int, error) { return data[tensor], shapes[tensor], nil }
	module, err := ir.Load("dlmc.sg", []byte(spec.String()), ir.Options{})
	require.NoError(t, err)
	program := buildRunner(t, module)
	packed, _, err := codegen.Pack(module, lookup, codegen.PackOptions{})
	require.NoError(t, err)
	compareLevels(t, t.TempDir(), program, packed, module.Layers, []int{1, 5, 24}, lookup)
}
