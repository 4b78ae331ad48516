// Package kerneltest calls kernels with random arguments and compares what they
// write, bit for bit, with an interpreter of the kernel contract
// (runtime/kernel.go) or with another kernel of the same key.
//
// All arguments lie in memory of their own, which where the system allows ends
// at, or begins after, a page that cannot be accessed; outputs lie between
// bytes that must stay. A kernel that touches what its contract does not name
// is found either way.
//
// It must not import ir, codegen, asm or ptx.
package kerneltest

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/sparsegen/sparsegen/runtime"
)

// Rules says which calls a kernel must withstand.
type Rules struct {
	// Strict takes the contract's liberties away (reading beyond the values of
	// LanesMask, writing tile rows beyond the last in TransTile), and adds calls
	// with nothing to do: no panel, no slab, no row, no input.
	Strict bool
}

// Check makes calls random calls of k and fails t at the first one that differs
// from the contract. The calls depend on k's key and on calls only.
func Check(t testing.TB, k runtime.Kernel, calls int, rules Rules) {
	t.Helper()
	for seed := range calls {
		c, err := New(k.Key, uint64(seed), rules)
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Compare(k.Fn, c.Want()); err != nil {
			t.Fatal(err)
		}
	}
}

// Same makes calls random calls of got and fails t at the first one whose result
// is not that of want, a kernel of the same key.
func Same(t testing.TB, got, want runtime.Kernel, calls int) {
	t.Helper()
	if got.Key != want.Key {
		t.Fatalf("kernels of different keys: %v and %v", got.Key, want.Key)
	}
	for seed := range calls {
		c, err := New(got.Key, uint64(seed), Rules{})
		if err != nil {
			t.Fatal(err)
		}
		image, err := c.Run(want.Fn)
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Compare(got.Fn, image); err != nil {
			t.Fatal(err)
		}
	}
}

// Call is one call of a kernel: its arguments, and the memory around its output.
type Call struct {
	key    runtime.KernelKey
	seed   uint64
	strict bool

	out   []float32 // the memory that holds the output argument, before the call
	at    int       // where in out the argument begins
	open  int       // elements at the end of out that the kernel may change as it likes
	ldout int       // stride of output rows, in elements

	sums       []float32 // of a panel, if they do not lie in the output
	lds        int       // stride of their rows, in elements
	x, w, bias []float32
	ldx        int // stride of input rows, in elements
	rows, cnt  []uint32
	idx, runs  []uint16
	meta       []byte
	lo, hi     float32
	n, k       int // as in the contract; rows and cols of a TileFunc, kb of PanelDense
	t          int // of a TileFunc
}

// New makes the call of key that seed stands for. It returns an error if key is
// not valid.
func New(key runtime.KernelKey, seed uint64, rules Rules) (*Call, error) {
	if err := key.Check(); err != nil {
		return nil, err
	}
	c := &Call{key: key, seed: seed, strict: rules.Strict}
	g := generator{Rand: rand.New(rand.NewPCG(seed, uint64(key.Op))), strict: rules.Strict}
	g.special = g.IntN(4) == 0
	c.lo, c.hi = g.bounds()
	switch key.Op {
	case runtime.PanelGrouped, runtime.PanelBlock, runtime.PanelStep, runtime.PanelDense:
		g.panel(c)
	case runtime.LanesDense, runtime.LanesList, runtime.LanesNM, runtime.LanesMask, runtime.LanesRow, runtime.LanesWindow:
		g.lanes(c)
	case runtime.DeltaTile:
		g.deltaTile(c)
	case runtime.CopyTile, runtime.TransTile, runtime.UntransTile:
		g.tile(c)
	default:
		g.activation(c)
	}
	return c, nil
}

// Compare runs fn, a runtime.PanelFunc or whichever type the key has, and
// returns an error if the memory that holds its output is not want afterwards.
// Two NaNs are equal.
func (c *Call) Compare(fn any, want []float32) error {
	got, err := c.Run(fn)
	if err != nil {
		return err
	}
	for i, w := range want[:len(want)-c.open] {
		g := got[i]
		if math.Float32bits(g) == math.Float32bits(w) || g != g && w != w {
			continue
		}
		return fmt.Errorf("%v: %d bytes from the output argument: got %v (%#08x), want %v (%#08x), was %v",
			c, (i-c.at)*4, g, math.Float32bits(g), w, math.Float32bits(w), c.out[i])
	}
	return nil
}

// String describes the call for error messages.
func (c *Call) String() string {
	return fmt.Sprintf("%v, seed %d (n or rows %d, k or cols %d, ldy %d, lo %v, hi %v, bias %t)",
		c.key, c.seed, c.n, c.k, c.ldout*4, c.lo, c.hi, c.bias != nil)
}

// DependsOnInput reports whether want, what the call should write, is not what it
// would write if all of x were zero; for a call without x, whether it writes
// anything new. A comparison proves nothing of a kernel otherwise.
func (c *Call) DependsOnInput(want []float32) bool {
	other := c.out
	if c.x != nil {
		still := *c
		still.x = make([]float32, len(c.x))
		other = still.Want()
	}
	for i, w := range want[:len(want)-c.open] {
		if math.Float32bits(w) != math.Float32bits(other[i]) && (w == w || other[i] == other[i]) {
			return true
		}
	}
	return false
}
