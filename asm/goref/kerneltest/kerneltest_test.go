package kerneltest

import (
	"math"
	"math/big"
	"math/rand/v2"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"

	"github.com/sparsegen/sparsegen/runtime"
)

// TestFMA compares the interpreter's multiply-add with exact arithmetic, on
// operands whose sums often lie half-way between two float32, and with the
// runtime's, which works another way.
func TestFMA(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	operand := func() float32 {
		// Few mantissa bits, near each other, make ties; any bits make the rest.
		if rng.IntN(4) == 0 {
			return math.Float32frombits(rng.Uint32())
		}
		return math.Float32frombits(rng.Uint32()&0x80f0000f | uint32(rng.IntN(3)*(127-70))<<23)
	}
	ties := 0
	for range 200_000 {
		a, b, c := operand(), operand(), operand()
		got := fma(a, b, c)
		also := runtime.FMA32(a, b, c)
		require.True(t, math.Float32bits(got) == math.Float32bits(also) || got != got && also != also,
			"%v*%v + %v: %v, runtime %v", a, b, c, got, also)
		if got != got || math.IsInf(float64(a)*float64(b)+float64(c), 0) || a == 0 || b == 0 {
			continue
		}
		exact := new(big.Float).SetPrec(1000)
		exact.Mul(big.NewFloat(float64(a)), big.NewFloat(float64(b)))
		exact.Add(exact, big.NewFloat(float64(c)))
		want, accuracy := exact.Float32()
		require.Equal(t, math.Float32bits(want), math.Float32bits(got), "%v*%v + %v", a, b, c)
		if twice := float32(float64(a)*float64(b) + float64(c)); accuracy != big.Exact && twice != want {
			ties++
		}
	}
	require.NotZero(t, ties, "no operands for which rounding twice is wrong")
}

func TestCallsAreReproducible(t *testing.T) {
	key := runtime.KernelKey{Op: runtime.LanesMask, S: 16, NB: 4}
	for seed := range uint64(20) {
		a, err := New(key, seed, Rules{})
		require.NoError(t, err)
		b, err := New(key, seed, Rules{})
		require.NoError(t, err)
		require.Equal(t, a.String(), b.String())
		require.NoError(t, a.Compare(runtime.LanesFunc(func(*float32, uintptr, *float32, uintptr, *float32, *byte, *uint32, int, *float32, float32, float32, int) {
		}), b.out), "a kernel that does nothing leaves the memory as it was")
	}
}

// TestSpareTileRows checks that TransTile may write tile rows up to the next
// multiple of 16, and no further, unless calls are strict.
func TestSpareTileRows(t *testing.T) {
	key := runtime.KernelKey{Op: runtime.TransTile}
	seen := 0
	for seed := range uint64(40) {
		for _, strict := range []bool{false, true} {
			c, err := New(key, seed, Rules{Strict: strict})
			require.NoError(t, err)
			rows := (c.n + 15) &^ 15
			if rows == c.n {
				continue
			}
			seen++
			err = c.Compare(runtime.TileFunc(func(tile, m *float32, ld uintptr, t, n, cols int) {
				transpose(tile, m, ld, t, n, cols, rows)
			}), c.Want())
			if strict {
				require.Error(t, err)
			} else {
				require.NoError(t, err)
			}
		}
	}
	require.NotZero(t, seen)
}

// transpose is TransTile with tile rows up to the spare ones written.
func transpose(tile, m *float32, ld uintptr, t, rows, cols, spare int) {
	ts := unsafe.Slice(tile, spare*t)
	for k := range spare {
		for c := range t {
			ts[k*t+c] = 0
			if k < rows {
				ts[k*t+c] = *(*float32)(unsafe.Add(unsafe.Pointer(m), uintptr(min(c, cols-1))*ld+uintptr(k)*4))
			}
		}
	}
}

func TestErrors(t *testing.T) {
	_, err := New(runtime.KernelKey{Op: runtime.PanelDense, MR: 1}, 0, Rules{})
	require.ErrorContains(t, err, "panelDense needs T")
	c, err := New(runtime.KernelKey{Op: runtime.CopyTile}, 0, Rules{})
	require.NoError(t, err)
	_, err = c.Run(func() {})
	require.ErrorContains(t, err, "a kernel of type func()")
	_, err = c.Run(runtime.TileFunc(func(*float32, *float32, uintptr, int, int, int) { panic("no") }))
	require.ErrorContains(t, err, "the kernel panics: no")
}

// TestFullIndexWords checks that calls of LanesNM fill whole words of indices,
// which kernels decode in a loop of their own; once they had too few groups.
func TestFullIndexWords(t *testing.T) {
	for m := 2; m <= 32; m *= 2 {
		for n := 1; n < m; n++ {
			bits := 1
			for 1<<bits < m {
				bits++
			}
			perWord := max(1, 32/bits/n) // groups
			full, rest := 0, 0
			for seed := range uint64(60) {
				c, err := New(runtime.KernelKey{Op: runtime.LanesNM, S: 8, NB: 1, N: uint8(n), M: uint8(m)}, seed, Rules{})
				require.NoError(t, err)
				groups := c.k / m
				if groups >= perWord {
					full++
				}
				if groups%perWord != 0 || perWord == 1 {
					rest++
				}
			}
			require.Greater(t, full, 5, "%d:%d", n, m)
			require.Greater(t, rest, 5, "%d:%d", n, m)
		}
	}
}
