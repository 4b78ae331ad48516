package amd64_test

import (
	"fmt"
	"math/rand/v2"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sparsegen/sparsegen/asm"
	"github.com/sparsegen/sparsegen/asm/amd64"
)

// live records a function in which n registers of a kind hold values at once.
func live(m asm.Machine, name string, ints, vecs, masks int) *asm.Func {
	b := asm.New(name, m, []asm.Arg{{Name: "x", Type: "*float32"}, {Name: "n", Type: "int"}}, name+" keeps many values.")
	x := b.Arg("x")
	var is, vs, ks []asm.Reg
	for k := range masks {
		n := b.Int()
		b.MovI(n, k%8)
		mask := b.Mask()
		b.MaskFirst(mask, n)
		ks = append(ks, mask)
	}
	for range ints - 1 { // x is one
		is = append(is, b.Arg("n"))
	}
	for k := range vecs {
		v := b.Vec()
		b.Load(v, asm.At(x, 4*k))
		vs = append(vs, v)
	}
	for _, i := range is {
		b.Add(x, i)
	}
	for _, v := range vs {
		b.Store(asm.At(x, 0), v)
	}
	for _, k := range ks {
		v := b.Vec()
		b.LoadMask(v, asm.At(x, 0), k)
		b.Store(asm.At(x, 0), v)
	}
	return b.Func()
}

func emit(f ...*asm.Func) (string, error) {
	text, _, err := amd64.Emit(f, amd64.Options{Package: "p", Header: "Test.", Constraint: "!noasm"})
	return string(text), err
}

// TestPool: the registers that a function may hold values in, and no more. avo
// by itself hands out Y16 to Y31, which AVX2 cannot encode, and BP and R15.
func TestPool(t *testing.T) {
	const ints = 16 - 3 // without SP, BP and R15
	for _, m := range machines {
		t.Run(m.Name, func(t *testing.T) {
			masks := 7 // K0 as a mask means no mask
			if m.Lanes == 8 {
				masks = m.Regs // they are vectors
			}
			for _, c := range []struct {
				ints, vecs, masks int
				fits              bool
			}{
				{1, m.Regs, 0, true}, {1, m.Regs + 1, 0, false},
				{ints, 0, 0, true}, {ints + 1, 0, 0, false},
				{ints, m.Regs, 0, true},
				{1, 0, masks, true}, {1, 0, masks + 1, false},
			} {
				text, err := emit(live(m, "f", c.ints, c.vecs, c.masks))
				what := fmt.Sprintf("%d integers, %d vectors, %d masks", c.ints, c.vecs, c.masks)
				if !c.fits {
					require.ErrorContains(t, err, "f: registers of kind", what)
					continue
				}
				require.NoError(t, err, what)
				checkRegisters(t, m, text)
			}
		})
	}
	t.Run("one file", func(t *testing.T) {
		// The wide function's pool must not be the narrow one's.
		text, err := emit(live(amd64.AVX512, "wide", 1, 32, 0), live(amd64.AVX2, "narrow", 1, 16, 0))
		require.NoError(t, err)
		wide, narrow, ok := strings.Cut(text, "TEXT ·narrow")
		require.True(t, ok)
		require.Contains(t, wide, "Z31")
		checkRegisters(t, amd64.AVX2, narrow)
		_, err = emit(live(amd64.AVX512, "wide", 1, 17, 0), live(amd64.AVX2, "narrow", 1, 17, 0))
		require.ErrorContains(t, err, "narrow: registers of kind")
	})
}

var (
	reserved = regexp.MustCompile(`\b(BP|BPL|SP|R15[BWL]?)\b`)
	evexOnly = regexp.MustCompile(`\b(Z[0-9]+|K[0-7]|[XY](1[6-9]|[23][0-9]))\b`)
)

func checkRegisters(t *testing.T, m asm.Machine, text string) {
	t.Helper()
	require.NotRegexp(t, reserved, text)
	if m.Lanes == 8 {
		require.NotRegexp(t, evexOnly, text)
	}
}

// straight is the programs that m has, without jumps and with few registers.
func straight(m asm.Machine) (ps []program) {
	for _, p := range programs {
		switch p.op {
		case asm.OpLabel, asm.OpJump, asm.OpJumpZ, asm.OpJumpLE, asm.OpDecJump, asm.OpAddJump, asm.OpTranspose, asm.OpSelect:
			continue
		}
		if p.vectors(m) <= 1 && !strings.HasPrefix(lowered(m, p), "error") {
			ps = append(ps, p)
		}
	}
	return ps
}

// randomFunc is a function of ps with many registers alive.
func randomFunc(rng *rand.Rand, m asm.Machine, ps []program, name string) *asm.Func {
	b := asm.New(name, m, []asm.Arg{{Name: "x", Type: "*float32"}, {Name: "n", Type: "int"}, {Name: "lo", Type: "float32"}}, name+" is random.")
	var is, vs []asm.Reg
	for range 1 + rng.IntN(5) {
		is = append(is, b.Arg("x"))
	}
	for range 3 + rng.IntN(5) {
		v := b.Vec()
		b.BcastArg(v, "lo")
		vs = append(vs, v)
	}
	k := b.Mask()
	b.MaskFirst(k, is[0])
	int1 := func() asm.Reg { return is[rng.IntN(len(is))] }
	vec := func() asm.Reg { return vs[rng.IntN(len(vs))] }
	for range 40 {
		p := ps[rng.IntN(len(ps))]
		p.with(b, &operands{i: int1(), j: int1(), d: vec(), a: vec(), b: vec(), k: k, vs: []asm.Reg{vec()}})
	}
	for _, v := range vs {
		b.Store(asm.At(int1(), 0), v)
	}
	return b.Func()
}

// TestDeterminism: the same program gives the same text, each time.
func TestDeterminism(t *testing.T) {
	for _, m := range machines {
		ps := straight(m)
		require.Greater(t, len(ps), len(programs)/2)
		for seed := range uint64(12) {
			build := func() string {
				rng := rand.New(rand.NewPCG(seed, 1))
				text, err := emit(randomFunc(rng, m, ps, "f"), randomFunc(rng, m, ps, "g"))
				require.NoError(t, err)
				return text
			}
			first := build()
			checkRegisters(t, m, first)
			for range 3 {
				require.Equal(t, first, build())
			}
		}
	}
}

func TestEmitErrors(t *testing.T) {
	_, err := emit(live(asm.Machine{Name: "sse", Lanes: 4, Regs: 16}, "f", 1, 1, 0))
	require.ErrorContains(t, err, "amd64: f: no registers of 4 float32")

	b := asm.New("f", amd64.AVX2, nil, "f is wrong.")
	f := b.Func()
	f.Insts = append(f.Insts, asm.Inst{Op: 255})
	_, err = emit(f)
	require.ErrorContains(t, err, "no lowering for op 255")
}

func TestEmittedFile(t *testing.T) {
	text, stubs, err := amd64.Emit([]*asm.Func{live(amd64.AVX2, "f", 2, 2, 1)}, amd64.Options{Package: "layers", Header: "Header.", Constraint: "!noasm"})
	require.NoError(t, err)
	require.True(t, strings.HasPrefix(string(text), "// Header.\n\n//go:build !noasm\n\n#include \"textflag.h\"\n"), "%s", text)
	require.True(t, strings.HasPrefix(string(stubs), "// Header.\n\n//go:build !noasm\n\npackage layers\n"), "%s", stubs)
	require.Contains(t, string(stubs), "// f keeps many values.\n//\n//go:noescape\nfunc f(x *float32, n int)\n")
	require.Contains(t, string(text), "VZEROUPPER\n\tRET\n", "mixed code would become slow")

	counts, err := amd64.Instructions(text)
	require.NoError(t, err)
	n := 0
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, "\t") {
			n++
		}
	}
	require.Equal(t, map[string]int{"f": n}, counts)
	_, err = amd64.Instructions([]byte("\nTEXT wrong\n"))
	require.ErrorContains(t, err, "line 2")
}
