package arm64

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sparsegen/sparsegen/asm"
	"github.com/sparsegen/sparsegen/asm/verify"
)

// moveArgs and moveContract are those of a program that moves n float32.
var (
	moveArgs     = []asm.Arg{{Name: "y", Type: "*float32"}, {Name: "x", Type: "*float32"}, {Name: "n", Type: "int"}}
	moveContract = &verify.Contract{Args: []verify.Arg{
		{Name: "y", Size: 8, Memory: &verify.Region{Len: "4*n", Write: true}},
		{Name: "x", Size: 8, Memory: &verify.Region{Len: "4*n"}},
		{Name: "n", Size: 8, Integer: &verify.Integer{Min: 1}},
	}}
)

// move is a program that moves n float32, a vector a round.
func move(mask bool) *asm.Func {
	b := asm.New("move", SVE, moveArgs)
	y, x, n := b.Arg("y"), b.Arg("x"), b.Arg("n")
	v, k := b.Vec(), b.Mask()
	b.Label("round")
	b.MaskFirst(k, n)
	b.LoadMask(v, asm.At(x, 0), k)
	if mask {
		b.StoreMask(asm.At(y, 0), v, k)
	} else {
		b.Store(asm.At(y, 0), v)
	}
	b.AddVectors(x, 1)
	b.AddVectors(y, 1)
	b.AddLanes(n, -1)
	b.JumpLE(n, 0, "end")
	b.Jump("round")
	b.Label("end")
	return b.Func()
}

// TestEachLength: one text is proved for each length of vectors, and a mistake at
// one of them is named with it.
func TestEachLength(t *testing.T) {
	listing := func(f *asm.Func) *verify.Listing {
		text, _, err := Emit([]*asm.Func{f}, Options{Package: "p", Header: "h"})
		require.NoError(t, err)
		l, err := ParseListing(text)
		require.NoError(t, err)
		return l
	}
	var proofs []*verify.Proof
	var bits []int64
	for _, f := range listing(move(true)).Funcs {
		p, err := verify.Check(f, moveContract, nil)
		require.NoError(t, err)
		proofs, bits = append(proofs, p), append(bits, f.Bits)
	}
	require.Equal(t, []int64{128, 256, 512, 1024, 2048}, bits)
	one := verify.Joined(proofs)
	require.Len(t, one, 1)
	require.Contains(t, one[0].String(), "where vectors have 512 bits and no pointer is nil:")
	require.Empty(t, one[0].Idle)

	_, err := verify.Check(listing(move(false)).Funcs[1], moveContract, nil)
	require.ErrorContains(t, err, "touches bytes")
	require.ErrorContains(t, err, "not proved to lie within where vectors have 256 bits")

	// Without a vector, a length is none.
	b := asm.New("none", SVE, moveArgs)
	b.Arg("n")
	require.Len(t, listing(b.Func()).Funcs, 1)
}

// TestElementsAreInLowRegisters: a factor in one lane is in one of the first eight
// registers, even where many others are in use.
func TestElementsAreInLowRegisters(t *testing.T) {
	b := asm.New("many", SVE, moveArgs)
	y, x := b.Arg("y"), b.Arg("x")
	acc := b.Vecs(27)
	for i, a := range acc {
		b.Load(a, asm.At(x, 0).PlusVectors(i))
	}
	w := b.Vecs(4)
	for i := range w {
		b.Bcast(w[i], asm.At(x, 4*i))
	}
	for i, a := range acc {
		b.FMA(a, acc[0], w[i%4])
	}
	for i, a := range acc {
		b.Store(asm.At(y, 0).PlusVectors(i), a)
	}
	text, _, err := Emit([]*asm.Func{b.Func()}, Options{Package: "p", Header: "h"})
	require.NoError(t, err)
	require.Equal(t, len(acc), strings.Count(string(text), ".s[")) // what is not low is not encoded
}

// TestScalableRefusals: what needs a number of lanes has no lowering here.
func TestScalableRefusals(t *testing.T) {
	for want, f := range map[string]func(b *asm.Builder){
		"on vectors of any length":             func(b *asm.Builder) { b.Transpose(b.Vecs(4)) },
		"no select from 8 float32":             func(b *asm.Builder) { b.Select(b.Vec(), b.Vec(), b.Vecs(2), 8) },
		"no broadcast of 8 float32":            func(b *asm.Builder) { b.BcastN(b.Vec(), 8, asm.At(b.Arg("x"), 0)) },
		"more values at a time than there are": func(b *asm.Builder) { manyMasks(b) },
	} {
		b := asm.New("f", SVE, moveArgs)
		f(b)
		_, _, err := Emit([]*asm.Func{b.Func()}, Options{Package: "p", Header: "h"})
		require.ErrorContains(t, err, want)
	}
}

// TestNoHalfVectors: neither machine has them.
func TestNoHalfVectors(t *testing.T) {
	for _, m := range []asm.Machine{NEON, SVE} {
		b := asm.New("f", m, moveArgs)
		b.Load(b.Half(), asm.At(b.Arg("x"), 0))
		_, _, err := Emit([]*asm.Func{b.Func()}, Options{Package: "p", Header: "h"})
		require.ErrorContains(t, err, "no half vectors")
	}
}

// manyMasks has more masks in use than govern loads.
func manyMasks(b *asm.Builder) {
	x, n, v := b.Arg("x"), b.Arg("n"), b.Vec()
	masks := make([]asm.Reg, 9)
	for i := range masks {
		masks[i] = b.Mask()
		b.MaskFirst(masks[i], n)
	}
	for _, k := range masks {
		b.LoadMask(v, asm.At(x, 0), k)
	}
}
