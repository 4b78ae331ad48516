package ptx_test

import (
	"fmt"
	"math/bits"
	"math/rand/v2"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sparsegen/sparsegen/ptx"
)

// interesting is a random integer, often near a limit.
func interesting(r *rand.Rand) int64 {
	v := int64(r.Uint64()) >> r.IntN(64)
	if r.IntN(3) == 0 {
		v = int64(1)<<r.IntN(64) + int64(r.IntN(3)) - 1
	}
	return v
}

// wrap is v as a value of the type.
func wrap(t ptx.Type, v int64) int64 {
	switch t {
	case ptx.U32, ptx.B32:
		return int64(uint32(v))
	case ptx.S32:
		return int64(int32(v))
	}
	return v
}

// TestFoldingIsExact compares the helpers' constants with Go's arithmetic on
// the types of the same width.
func TestFoldingIsExact(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	k := ptx.NewModule(ptx.SM80()).Kernel("k")
	signed := func(t ptx.Type) bool { return t == ptx.S32 || t == ptx.S64 }
	less := func(t ptx.Type, a, b int64) bool {
		if signed(t) {
			return a < b
		}
		return uint64(a) < uint64(b)
	}
	ops := map[string]struct {
		build func(a, b any) ptx.Reg
		want  func(t ptx.Type, a, b int64) int64
	}{
		"add": {k.Add, func(_ ptx.Type, a, b int64) int64 { return a + b }},
		"sub": {k.Sub, func(_ ptx.Type, a, b int64) int64 { return a - b }},
		"mul": {k.Mul, func(_ ptx.Type, a, b int64) int64 { return a * b }},
		"and": {k.And, func(_ ptx.Type, a, b int64) int64 { return a & b }},
		"or":  {k.Or, func(_ ptx.Type, a, b int64) int64 { return a | b }},
		"xor": {k.Xor, func(_ ptx.Type, a, b int64) int64 { return a ^ b }},
		"div": {k.Div, func(t ptx.Type, a, b int64) int64 {
			if signed(t) {
				return a / b
			}
			return int64(uint64(a) / uint64(b))
		}},
		"rem": {k.Rem, func(t ptx.Type, a, b int64) int64 {
			if signed(t) {
				return a % b
			}
			return int64(uint64(a) % uint64(b))
		}},
		"min": {k.Min, func(t ptx.Type, a, b int64) int64 {
			if less(t, a, b) {
				return a
			}
			return b
		}},
		"max": {k.Max, func(t ptx.Type, a, b int64) int64 {
			if less(t, a, b) {
				return b
			}
			return a
		}},
	}
	for name, op := range ops {
		for _, typ := range []ptx.Type{ptx.U32, ptx.S32, ptx.U64, ptx.S64} {
			for range 300 {
				a, b := wrap(typ, interesting(r)), wrap(typ, interesting(r))
				if b == 0 && (name == "div" || name == "rem") {
					continue
				}
				got := op.build(k.Const(typ, a), k.Const(typ, b))
				want := wrap(typ, op.want(typ, a, b))
				require.Equal(t, want, constant(t, typ, got), "%s.%s %d, %d", name, typ, a, b)
			}
		}
	}
}

func constant(t *testing.T, typ ptx.Type, r ptx.Reg) int64 {
	t.Helper()
	if v, err := strconv.ParseInt(r.String(), 0, 64); err == nil {
		return wrap(typ, v)
	}
	u, err := strconv.ParseUint(r.String(), 0, 64)
	require.NoError(t, err, "not a constant: %s", r)
	return wrap(typ, int64(u))
}

func TestFoldingShiftsAndCompares(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	k := ptx.NewModule(ptx.SM80()).Kernel("k")
	for range 1000 {
		a, b, n := interesting(r), interesting(r), r.IntN(32)
		require.Equal(t, int64(uint32(a)<<n), constant(t, ptx.U32, k.Shl(k.Const(ptx.U32, int64(uint32(a))), n)))
		require.Equal(t, int64(uint32(a)>>n), constant(t, ptx.U32, k.Shr(k.Const(ptx.U32, int64(uint32(a))), n)))
		require.Equal(t, int64(int32(a)>>n), constant(t, ptx.S32, k.Shr(k.Const(ptx.S32, int64(int32(a))), n)))
		require.Equal(t, int64(^uint32(a)), constant(t, ptx.U32, k.Not(k.Const(ptx.U32, int64(uint32(a))))))
		require.Equal(t, int64(-int32(a)), constant(t, ptx.S32, k.Neg(k.Const(ptx.S32, int64(int32(a))))))
		hi, lo := bits.Mul64(uint64(uint32(a)), uint64(uint32(b)))
		require.Zero(t, hi)
		require.Equal(t, int64(lo), constant(t, ptx.U64, k.MulWide(k.Const(ptx.U32, int64(uint32(a))), int64(uint32(b)))))
		for cmp, want := range map[string]bool{"eq": int32(a) == int32(b), "lt": int32(a) < int32(b), "ge": int32(a) >= int32(b), "gt": int32(a) > int32(b)} {
			got := k.SetP(cmp, k.Const(ptx.S32, int64(int32(a))), int64(int32(b)))
			require.Equal(t, map[bool]string{true: "1", false: "0"}[want], got.String(), "%d %s %d", int32(a), cmp, int32(b))
		}
	}
}

// A value may be used again after the variable that it was made from changed.
func TestFoldingNeverAliasesAVariable(t *testing.T) {
	k := ptx.NewModule(ptx.SM80()).Kernel("k")
	v := k.Var(ptx.U32, 1)
	for i, same := range []ptx.Reg{k.Add(v, 0), k.Mul(v, 1), k.Shl(v, 0), k.Or(v, 0), k.Sub(v, 0), k.Select(k.Const(ptx.Pred, 1), v, 2)} {
		require.NotEqual(t, v.String(), same.String(), fmt.Sprint(i))
	}
	x := k.TidX()
	require.Equal(t, x.String(), k.Add(x, 0).String())
}
