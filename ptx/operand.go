package ptx

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Reg is a handle of a virtual register of one kernel, with the type that it is
// read as. Values returned by the arithmetic helpers may be constants, which
// become immediates where the instruction takes them.
type Reg struct {
	k  *Kernel
	id int32
	t  Type
}

// Type is the type that r is read as.
func (r Reg) Type() Type { return r.t }

// IsZero reports whether r is no register.
func (r Reg) IsZero() bool { return r.k == nil }

// String is the register's name in the text, or its value if it is constant.
func (r Reg) String() string {
	if r.k == nil || int(r.id) >= len(r.k.regs) {
		return "<no register>"
	}
	i := &r.k.regs[r.id]
	if i.konst != nil {
		return i.konst.text(r.t)
	}
	return i.name
}

// Imm is an immediate operand: an integer or a float.
type Imm struct {
	isFloat bool
	i       int64
	f       float64
}

// Int is an integer immediate.
func Int(v int64) Imm { return Imm{i: v} }

// Float is a floating-point immediate; it is printed as its bits.
func Float(v float64) Imm { return Imm{isFloat: true, f: v} }

func (m Imm) text(t Type) string {
	v := m.f
	if !m.isFloat {
		v = float64(m.i)
	}
	switch {
	case t == F32:
		return fmt.Sprintf("0f%08X", math.Float32bits(float32(v)))
	case t == F64:
		return fmt.Sprintf("0d%016X", math.Float64bits(v))
	case m.isFloat:
		return fmt.Sprintf("0f%08X", math.Float32bits(float32(v)))
	case m.i > 0xffffff || m.i < -0xffffff:
		if t.Bits() == 32 {
			return fmt.Sprintf("0x%x", uint32(m.i))
		}
		return fmt.Sprintf("0x%x", uint64(m.i))
	}
	return fmt.Sprint(m.i)
}

// Vector is a brace operand: {r0, r1, ...}.
type Vector struct{ regs []Reg }

// Vec groups registers into one operand: a vector of a load or store, a
// fragment, an accumulator, or the halves of a packing mov.
func Vec(regs ...Reg) Vector { return Vector{regs} }

// Mem is an address operand.
type Mem struct {
	base   Reg
	sym    string // symbol of a parameter or a shared array, instead of base
	space  byte   // of sym: 'p' or 's'
	off    int64
	coords []any // tensor coordinates
	k      *Kernel
}

// At is the address base + off bytes.
func At(base Reg, off int) Mem { return Mem{base: base, off: int64(off)} }

// AtParam is the address of a kernel parameter, plus off bytes.
func AtParam(p Param, off int) Mem { return Mem{sym: p.name, space: 'p', off: int64(off), k: p.k} }

// AtShared is the address of a shared-memory array, plus off bytes.
func AtShared(s Shared, off int) Mem { return Mem{sym: s.name, space: 's', off: int64(off), k: s.k} }

// TMACoord is the operand [map, {c0, c1, ...}] of a tensor copy: the generic
// address of a tensor map and one 32-bit coordinate (a Reg or an int, in
// elements, innermost first) a dimension.
func TMACoord(mapAddr Reg, coords ...any) Mem { return Mem{base: mapAddr, coords: coords} }

// Plus is m moved by off bytes.
func (m Mem) Plus(off int) Mem { m.off += int64(off); return m }

// Discard is the operand _ that stands for a result nobody reads.
type Discard uint8

// Sink is the operand _.
const Sink Discard = 0

// PairOf is the operand a|b of instructions with a second, predicate result.
type PairOf struct{ a, b any }

// Pair is the operand a|b: shfl.sync's value and in-range predicate, setp's two
// predicates, elect.sync's _|p.
func Pair(a, b any) PairOf { return PairOf{a, b} }

// NotPred is a negated predicate operand: !p.
type NotPred struct{ p Reg }

// Not is the operand !p of instructions that take a negated predicate.
func Not(p Reg) NotPred { return NotPred{p} }

// Special is a special register operand, such as "%tid.x".
type Special string

// arg is an operand after checking: what is printed, and what the checks read.
type arg struct {
	text string
	regs []Reg // registers in it, constants resolved
}

// imm is the value of an operand that is an integer immediate.
func (a *arg) imm() int64 {
	v, _ := strconv.ParseInt(a.text, 0, 64)
	return v
}

func braces(parts []string) string { return "{" + strings.Join(parts, ", ") + "}" }
