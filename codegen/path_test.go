package codegen_test

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sparsegen/sparsegen/codegen"
	"github.com/sparsegen/sparsegen/internal/gobuild"
	"github.com/sparsegen/sparsegen/internal/sgp"
	"github.com/sparsegen/sparsegen/ir"
	"github.com/sparsegen/sparsegen/ir/eval"
	"github.com/sparsegen/sparsegen/runtime"
)

// The program that a user's module would hold: it runs every layer of a model
// at every batch for which there is an input file.
const runner = `package main

import (
	"context"
	"encoding/binary"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/sparsegen/sparsegen/runtime"
)

func main() {
	m, err := runtime.Open(os.Args[1], Kernels())
	if err != nil {
		log.Fatal(err)
	}
	for _, in := range os.Args[2:] {
		var layer string
		var batch, outs int
		if _, err := fmt.Sscanf(filepath.Base(in), "%s %d %d", &layer, &batch, &outs); err != nil {
			log.Fatal(in, err)
		}
		data, err := os.ReadFile(in)
		if err != nil {
			log.Fatal(err)
		}
		x := make([]float32, len(data)/4)
		if _, err := binary.Decode(data, binary.LittleEndian, x); err != nil {
			log.Fatal(err)
		}
		s, err := m.NewSession(layer)
		if err != nil {
			log.Fatal(err)
		}
		y := make([]float32, outs)
		if err := s.Run(context.Background(), [][]float32{x}, [][]float32{y}); err != nil {
			log.Fatal(layer, ": ", err)
		}
		text, _ := binary.Append(nil, binary.LittleEndian, y)
		if err := os.WriteFile(in+"."+os.Getenv("SPARSEGEN_ISA"), text, 0o666); err != nil {
			log.Fatal(err)
		}
	}
}
`

// pathSpec has every pattern in both layouts, fused activations, rows and
// columns that fill no panel, slab or group of tiles.
func pathSpec() string {
	var b strings.Builder
	b.WriteString("sparsegen 1\n\nweights \"w.safetensors\"\n\n")
	for i, p := range []string{
		"dense", "nm(2,4)", "nm(1,4)", "nm(2,8)", "nm(4,8)", "nm(1,8)", "nm(1,16)", "nm(3,32)", "nm(2,6)",
		"block(4,1,sparsity=0.8)", "block(8,2,sparsity=0.9)", "block(16,1,sparsity=0.8)",
		"unstructured(sparsity=0.6)", "unstructured(sparsity=0.9)", "unstructured(sparsity=0.99)",
		"channel(rows,sparsity=0.5)", "channel(cols,sparsity=0.5)", "stripe(0:20,40:41)", "diag(-3,0,5,width=2)",
	} {
		bias, act := fmt.Sprintf(", bias=w\"b%d\"", i), ""
		if i%3 == 0 {
			bias = ""
		}
		if i%2 == 0 {
			act = " | relu"
		} else if i%4 == 1 {
			act = " | clamp(-0.5, 0.75)"
		}
		fmt.Fprintf(&b, "layer t%d(x f32[t, 96]) (y f32[t, 112]) where t in 1..150 {\n    y = linear(x, w\"w%d\" : %s%s)%s\n}\n", i, i, p, bias, act)
		fmt.Fprintf(&b, "layer f%d(x f32[96, t]) (y f32[112, t]) where t in 1..150 {\n    y = linear(x, w\"w%d\" : %s%s, axis=0)%s\n}\n", i, i, p, bias, act)
	}
	return b.String()
}

// TestWholePath takes a spec to running kernels and compares every layer, at
// batches around every tile width and token count, with the float64 reference by
// its bound and between instruction sets by ==.
func TestWholePath(t *testing.T) {
	if testing.Short() {
		t.Skip("builds a module")
	}
	weights := func(tensor string) ([]float32, []int, error) {
		rng := rand.New(rand.NewPCG(7, uint64(len(tensor))<<8+uint64(tensor[len(tensor)-1])))
		shape := []int{112, 96}
		if tensor[0] == 'b' {
			shape = []int{112}
		}
		n := 1
		for _, d := range shape {
			n *= d
		}
		data := make([]float32, n)
		for i := range data {
			data[i] = float32(rng.NormFloat64())
		}
		return data, shape, nil
	}
	module, err := ir.Load("model.sg", []byte(pathSpec()), ir.Options{})
	require.NoError(t, err)
	program := buildRunner(t, module)

	// Each form on its own, and what the planner chooses.
	forms := map[string]func(codegen.Config) bool{"plan": nil}
	for _, op := range []runtime.KernelOp{
		runtime.PanelGrouped, runtime.PanelBlock, runtime.PanelStep, runtime.PanelDense, runtime.LanesDense, runtime.LanesList,
		runtime.LanesNM, runtime.LanesMask, runtime.LanesRow, runtime.LanesWindow, runtime.DeltaTile,
	} {
		forms[op.String()] = func(c codegen.Config) bool { return c.Op == op }
	}
	for name, only := range forms {
		t.Run(name, func(t *testing.T) {
			runForm(t, filepath.Join(t.TempDir(), "w"), program, module, weights, only)
		})
	}
}

// buildRunner builds the runner with every kernel that m's layers may need.
func buildRunner(t *testing.T, m *ir.Module) (program string) {
	kernels, err := codegen.Kernels(m)
	require.NoError(t, err)
	files, err := codegen.Emit(kernels, codegen.EmitOptions{Package: "main", Spec: "model.sg"})
	require.NoError(t, err)
	source := map[string][]byte{"main.go": []byte(runner)}
	for _, f := range files {
		source[f.Name] = f.Data
	}
	dir := t.TempDir()
	mod, err := gobuild.New(t.Context(), filepath.Join(dir, "module"), source)
	require.NoError(t, err)
	require.NoError(t, mod.Vet(t.Context()), "asmdecl and the other passes of go vet")
	program = filepath.Join(dir, "program")
	require.NoError(t, mod.Build(t.Context(), ".", program))
	return program
}

func runForm(t *testing.T, dir, program string, module *ir.Module, weights codegen.Weights, only func(codegen.Config) bool) {
	require.NoError(t, os.Mkdir(dir, 0o777))
	packed := &sgp.Model{Fingerprint: codegen.Fingerprint()}
	var layers []*ir.Layer
	for _, l := range module.Layers {
		m, _, err := codegen.Pack(module, weights, codegen.PackOptions{Only: only, Prune: true, Layers: []string{l.Name}})
		if err != nil {
			require.NotNil(t, only, "the planner must find a form for every layer: %v", err)
			continue // this form cannot compute this layer
		}
		packed.Layers = append(packed.Layers, m.Layers...)
		layers = append(layers, l)
	}
	require.NotEmpty(t, layers)
	batches := []int{1, 2, 3, 7, 8, 9, 17, 37}
	if only == nil {
		batches = append(batches, 64, 71, 150)
	}
	compareLevels(t, dir, program, packed, layers, batches, func(tensor string) ([]float32, []int, error) {
		return prunedWeights(module, weights, tensor)
	})
}

// compareLevels runs the layers of packed, each one linear op, at every batch on
// every instruction set level of this machine: the levels must agree by ==, and
// with the float64 reference over weights by its bound.
func compareLevels(t *testing.T, dir, program string, packed *sgp.Model, layers []*ir.Layer, batches []int, weights eval.Lookup) {
	file := filepath.Join(dir, "model.sgp")
	require.NoError(t, sgp.WriteFile(file, packed))
	type job struct {
		layer *ir.Layer
		batch int
		file  string
	}
	var jobs []job
	args := []string{file}
	rng := rand.New(rand.NewPCG(1, 2))
	for _, l := range layers {
		w := l.Ops[0].Weight
		for _, batch := range batches {
			x := make([]float32, w.In*batch)
			for i := range x {
				x[i] = float32(rng.NormFloat64())
			}
			data, err := binary.Append(nil, binary.LittleEndian, x)
			require.NoError(t, err)
			in := filepath.Join(dir, fmt.Sprintf("%s %d %d", l.Name, batch, w.Out*batch))
			require.NoError(t, os.WriteFile(in, data, 0o666))
			jobs = append(jobs, job{l, batch, in})
			args = append(args, in)
		}
	}
	var ran []string
	for _, isa := range []runtime.ISA{runtime.Generic, runtime.AVX2, runtime.AVX512} {
		if !isa.Available() {
			t.Logf("no %v on this machine: not run", isa)
			continue
		}
		cmd := exec.Command(program, args...)
		cmd.Env = append(os.Environ(), "SPARSEGEN_ISA="+isa.String())
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, string(out))
		ran = append(ran, isa.String())
	}
	for _, j := range jobs {
		want := readFloats(t, j.file+"."+ran[0])
		for _, isa := range ran[1:] {
			got := readFloats(t, j.file+"."+isa)
			for i := range want {
				if math.Float32bits(want[i]) != math.Float32bits(got[i]) {
					t.Fatalf("%s batch %d element %d: %s gives %v, generic %v", j.layer.Name, j.batch, i, isa, got[i], want[i])
				}
			}
		}
		ref, err := eval.Layer(j.layer, weights, [][]float32{readFloats(t, j.file)}, map[string]int{"t": j.batch})
		require.NoError(t, err)
		for i, y := range want {
			if !(math.Abs(float64(y)-ref[0].Data[i]) <= ref[0].Bound[i]) {
				t.Fatalf("%s batch %d element %d: %v for %v, bound %v", j.layer.Name, j.batch, i, y, ref[0].Data[i], ref[0].Bound[i])
			}
		}
	}
}

// prunedWeights are the weights as they lie in the packed model.
func prunedWeights(m *ir.Module, weights codegen.Weights, tensor string) ([]float32, []int, error) {
	data, shape, err := weights(tensor)
	if err != nil || tensor[0] == 'b' {
		return data, shape, err
	}
	w := m.Layer("t" + tensor[1:]).Ops[0].Weight
	matrix, err := codegen.Matrix(w, weights)
	if err != nil {
		return nil, nil, err
	}
	mask, err := codegen.MaskFor(w, matrix, true)
	if err != nil {
		return nil, nil, err
	}
	mask.Apply(matrix)
	return matrix.Data, shape, nil
}

func readFloats(t *testing.T, file string) []float32 {
	data, err := os.ReadFile(file)
	require.NoError(t, err)
	v := make([]float32, len(data)/4)
	_, err = binary.Decode(data, binary.LittleEndian, v)
	require.NoError(t, err)
	return v
}
