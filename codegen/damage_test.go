package codegen

import (
	"bytes"
	_ "embed"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	goruntime "runtime"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sparsegen/sparsegen/internal/gobuild"
	"github.com/sparsegen/sparsegen/internal/sgp"
	"github.com/sparsegen/sparsegen/patterns"
	"github.com/sparsegen/sparsegen/runtime"
)

var (
	damage       = flag.Bool("damage", false, "give every byte of the small files all values in TestDamagedFiles")
	damageModule = flag.String("damagemodule", "", "write the module of TestDamagedFiles, with its target for fuzzing, to this new `folder` and do not run it")
)

// damager is the test that the throw-away module runs. Its models are in
// testdata: tiny ones of which every byte takes all values, small ones with every
// form between them, a large one with all of them.
//
//go:embed testdata/damage_test.go.txt
var damager string

// damageConfigs is every op, with and without kept rows and columns.
func damageConfigs() []Config {
	cs := slices.DeleteFunc(someConfigs(), func(c Config) bool {
		return c.Op == runtime.LanesNM && !slices.Contains([][2]int{{1, 4}, {2, 4}, {8, 16}, {1, 32}}, [2]int{c.N, c.M})
	})
	for _, c := range cs {
		if c.Op != runtime.LanesNM && c.Op != runtime.LanesWindow { // which need their columns
			c.Compact = true
			cs = append(cs, c)
		}
	}
	return cs
}

// formLayer is a layer of one linear op in the form of c.
func formLayer(t *testing.T, i int, c Config, rows, cols int) sgp.Layer {
	rng := rand.New(rand.NewPCG(uint64(i), 9))
	if c.Op == runtime.LanesNM {
		cols = max(cols, 2*c.M) / c.M * c.M
	}
	if c.Panel() {
		c.KB = cols/2 + 1
	}
	m := patterns.NewMatrix(rows, cols)
	for j := range m.Data {
		m.Data[j] = float32(rng.NormFloat64())
	}
	mask := randomMask(rng, c, rows, cols)
	for j := range 8 { // never nothing
		mask.Set(j%rows, (j*5)%cols)
	}
	if c.Op == runtime.LanesNM {
		mask = randomMask(rng, c, rows, cols)
	}
	v, err := c.Pack(m, mask)
	require.NoError(t, err)
	const batchMax = 9
	v.BatchMin, v.BatchMax = 1, batchMax
	dims := func(n int) []int {
		if i%3 == 2 {
			return []int{n, 0}
		}
		return []int{0, n}
	}
	lin := &sgp.Linear{Out: rows, In: cols, Act: []sgp.OpKind{sgp.None, sgp.Clamp, sgp.Relu, sgp.Gelu}[i%4], Lo: -1, Hi: 2, Variants: []sgp.Variant{v}}
	if i%2 == 0 {
		lin.Bias = m.Data[:rows]
	}
	return sgp.Layer{
		Name: fmt.Sprintf("l%d", i), BatchMin: 1, BatchMax: batchMax,
		Values: []sgp.Value{{Name: "x", Dims: dims(cols)}, {Name: "y", Dims: dims(rows)}},
		Inputs: []int{0}, Outputs: []int{1},
		Ops: []sgp.Op{{Kind: sgp.LinearOp, Args: []int{0}, Out: 1, Linear: lin}},
	}
}

// opsLayer has every op but linear ones, of which it has one.
func opsLayer(t *testing.T) sgp.Layer {
	l := formLayer(t, 0, Config{Op: runtime.LanesList, S: 16}, 12, 12)
	l.Name = "ops"
	gain := []float32{1, 2, -1, 0.5, 3, 1, 1, 2, 0, -4, 1, 1}
	ops := []sgp.Op{
		{Kind: sgp.Relu}, {Kind: sgp.Clamp, Lo: -0.5, Hi: 0.5}, {Kind: sgp.Gelu}, {Kind: sgp.GeluTanh}, {Kind: sgp.Silu},
		{Kind: sgp.Sigmoid}, {Kind: sgp.Tanh}, {Kind: sgp.Add}, {Kind: sgp.Mul}, {Kind: sgp.Softmax, Group: 4},
		{Kind: sgp.LayerNorm, Group: 6, Eps: 1e-5, Gain: gain[:6], Bias: gain[6:]}, {Kind: sgp.RMSNorm, Group: 12, Eps: 1e-6, Gain: gain},
	}
	for i, op := range ops {
		op.Args, op.Out = []int{i + 1}, i+2
		if op.Kind == sgp.Add || op.Kind == sgp.Mul {
			op.Args = []int{i + 1, i}
		}
		l.Values = append(l.Values, sgp.Value{Dims: []int{0, 12}})
		l.Ops = append(l.Ops, op)
	}
	l.Outputs = []int{len(ops) + 1, 3}
	return l
}

// TestDamagedFiles runs models whose files were changed, cut or added to, with
// the kernels of every level (package damagetest): each byte of small files that
// have every form between them, and a sample of a large one.
func TestDamagedFiles(t *testing.T) {
	if testing.Short() {
		t.Skip("builds a module")
	}
	if os.Getenv("SPARSEGEN_ISA") != "" {
		t.Skip("runs every level by itself, whatever SPARSEGEN_ISA says")
	}
	if goruntime.GOARCH != "amd64" {
		t.Skip("no kernels in assembly for " + goruntime.GOARCH)
	}
	source := map[string]string{"kern_test.go": damager}
	pack := func(name string, layers ...sgp.Layer) {
		var b bytes.Buffer
		require.NoError(t, sgp.Write(&b, &sgp.Model{Fingerprint: Fingerprint(), Layers: layers}))
		source["testdata/"+name+".sgp"] = b.String()
	}
	var kernels []Kernel
	large := []sgp.Layer{opsLayer(t)}
	for i, c := range damageConfigs() {
		for _, k := range append(c.Kernels(true), c.Kernels(false)...) {
			if k.Key.T <= 24 && k.Key.NB <= 4 {
				kernels = append(kernels, k)
			}
		}
		pack(fmt.Sprintf("small/form%02d", i), formLayer(t, i, c, 13, 20))
		large = append(large, formLayer(t, i, c, 70, 130))
	}
	for _, k := range everyKernel(t) {
		if k.Key == (runtime.KernelKey{Op: k.Key.Op}) { // activations and tile moves
			kernels = append(kernels, k)
		}
	}
	pack("tiny/panel", formLayer(t, 1, Config{Op: runtime.PanelGrouped, MR: 4, Compact: true}, 6, 5))
	pack("tiny/lanes", formLayer(t, 3, Config{Op: runtime.DeltaTile, S: 8, Compact: true}, 9, 4))
	pack("small/ops", opsLayer(t))
	pack("large/all", large...)
	files, err := Emit(kernels, EmitOptions{Package: "kern", Spec: "damage.sg"})
	require.NoError(t, err)

	all := map[string][]byte{}
	for _, f := range files {
		all[f.Name] = f.Data
	}
	for name, text := range source {
		all[name] = []byte(text)
	}
	if *damageModule != "" {
		m, err := gobuild.New(t.Context(), *damageModule, all)
		require.NoError(t, err)
		require.NoError(t, m.Vet(t.Context()))
		return
	}
	m, err := gobuild.New(t.Context(), filepath.Join(t.TempDir(), "module"), all)
	require.NoError(t, err)
	// Without the folder in what is compiled, a second run finds it in go's cache.
	m.Env = []string{"GOFLAGS=-mod=mod -buildvcs=false -trimpath"}
	if *damage {
		m.Env = append(m.Env, "DAMAGE=all")
	}
	out, err := m.Test(t.Context(), "-run", "^TestDamaged$", "-v", "-count=1", "-timeout", "1h")
	require.NoError(t, err, "%s", out)
	t.Logf("%s", out)
}
