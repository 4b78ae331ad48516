package codegen

import (
	"flag"
	"fmt"
	"os"
	goruntime "runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

var mapStep = flag.Uint64("mapstep", 251, "TestMapKernels takes each mapstep-th float32; 1: all of them, half an hour of one core")

// mapChecker runs in the throw-away module: each map kernel on the float32 of
// every STEP-th bit pattern, and on all that are special, against the runtime's
// function. Chunks have odd lengths, so that the same value meets the main loop,
// the tail and its mask.
const mapChecker = `package kern

import (
	"fmt"
	"math"
	"os"
	goruntime "runtime"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/sparsegen/sparsegen/runtime"
)

var functions = map[runtime.KernelOp]func([]float32){
	runtime.MapGelu: runtime.Gelu, runtime.MapGeluTanh: runtime.GeluTanh, runtime.MapSilu: runtime.Silu,
	runtime.MapSigmoid: runtime.Sigmoid, runtime.MapTanh: runtime.Tanh,
}

// special are the neighbourhoods of the values at which something changes.
func special() []float32 {
	var v []float32
	for _, x := range []float64{0, 0x1p-149, 0x1p-126, 0.5, 1, 5.56, 9.02, 16, 87.3, 88.7, 89, 103.9, 104, math.MaxFloat32, math.Inf(1)} {
		bits := math.Float32bits(float32(x))
		for d := uint32(0); d < 64; d++ {
			for _, b := range []uint32{bits + d, bits - d} { // into NaN beyond infinity
				v = append(v, math.Float32frombits(b), math.Float32frombits(b^1<<31))
			}
		}
	}
	return append(v, float32(math.NaN()), math.Float32frombits(0xffc00001), math.Float32frombits(0x7f800001))
}

func TestMap(t *testing.T) {
	step, err := strconv.ParseUint(os.Getenv("STEP"), 10, 32)
	if err != nil {
		t.Fatal(err)
	}
	byOp := map[runtime.KernelOp][]runtime.Kernel{}
	for _, k := range nativeKernels() {
		if k.ISA.Available() {
			byOp[k.Key.Op] = append(byOp[k.Key.Op], k)
		}
	}
	const chunk = 4096 + 13
	var next, values atomic.Uint64
	check := func(x []float32) {
		want := make([]float32, len(x))
		got := make([]float32, len(x)+2)
		for op, f := range functions {
			copy(want, x)
			f(want)
			for _, k := range byOp[op] {
				const guard = 12345
				got[0], got[len(x)+1] = guard, guard
				copy(got[1:], x)
				k.Fn.(runtime.MapFunc)(&got[1], len(x))
				if got[0] != guard || got[len(x)+1] != guard {
					t.Errorf("%v %v writes outside its %d elements", k.Key, k.ISA, len(x))
				}
				for i, w := range want {
					g := got[1+i]
					if math.Float32bits(g) != math.Float32bits(w) && (g == g || w == w) {
						t.Errorf("%v %v of %v (%#08x), element %d of %d: got %v (%#08x), want %v (%#08x)", k.Key, k.ISA,
							x[i], math.Float32bits(x[i]), i, len(x), g, math.Float32bits(g), w, math.Float32bits(w))
						return
					}
				}
			}
		}
		values.Add(uint64(len(x)))
	}
	s := special()
	for n := range 70 { // every tail
		check(s[:n])
	}
	check(s)
	slices.Reverse(s)
	check(s)
	var wait sync.WaitGroup
	for range goruntime.GOMAXPROCS(0) {
		wait.Go(func() {
			x := make([]float32, 0, chunk)
			for !t.Failed() {
				first := (next.Add(1) - 1) * chunk * step
				if first >= 1<<32 {
					return
				}
				x = x[:0]
				for bits := first; bits < 1<<32 && len(x) < chunk; bits += step {
					x = append(x, math.Float32frombits(uint32(bits)))
				}
				check(x)
			}
		})
	}
	wait.Wait()
	for op := range functions {
		for _, k := range byOp[op] {
			fmt.Printf("checked %v %v on %d values\n", k.Key, k.ISA, values.Load())
		}
	}
}
`

// TestMapKernels compares the map kernels with the functions that define them.
func TestMapKernels(t *testing.T) {
	if testing.Short() {
		t.Skip("builds a module")
	}
	if os.Getenv("SPARSEGEN_ISA") != "" {
		t.Skip("calls kernels of every level by themselves, whatever SPARSEGEN_ISA says")
	}
	for _, a := range architectures {
		t.Run(a.name, func(t *testing.T) {
			needs(t, a.name)
			step := *mapStep
			if a.name != goruntime.GOARCH && step > 1 {
				step *= 97 // an emulator takes its time
			}
			mapKernelsEqual(t, a, step)
		})
	}
}

// mapKernelsEqual is TestMapKernels for the kernels of an architecture.
func mapKernelsEqual(t *testing.T, a architecture, step uint64) {
	kernels := kernelsFor(a.name, kernelsOf(nil)) // no configuration, activations alone
	require.Len(t, kernels, len(mapKernels)*len(a.machines))
	files, err := Emit(kernels, EmitOptions{Package: "kern", Spec: "maps.sg"})
	require.NoError(t, err)
	binary := kernelModule(t, a.name, files, map[string]string{"map_test.go": mapChecker})
	cmd := command(t.Context(), a.name, []string{fmt.Sprintf("STEP=%d", step)}, binary, "-test.run=TestMap", "-test.timeout=10h")
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	checked := 0
	for _, k := range kernels {
		line := fmt.Sprintf("checked %v %v on ", k.Key, k.ISA)
		if _, n, ok := strings.Cut(string(out), line); ok {
			checked++
			n, _, _ = strings.Cut(n, "\n")
			t.Logf("%s%s", line, n)
		} else {
			require.False(t, a.name == goruntime.GOARCH && k.ISA.Available(), "not run: %v %v", k.Key, k.ISA)
			t.Logf("%v %v was assembled and NOT run: this machine lacks the instruction set", k.Key, k.ISA)
		}
	}
	if a.name != goruntime.GOARCH { // an emulator has the lowest level at least
		require.GreaterOrEqual(t, checked, len(mapKernels))
	}
}
