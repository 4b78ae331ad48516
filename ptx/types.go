package ptx

// Type is the type of a register or of an instruction's operand.
type Type uint8

// The types. Those of registers come first; the rest are element types that
// only name an operand in the instruction table (a packed pair, a byte in
// memory), held in a register of their size.
const (
	Pred Type = iota + 1
	B16
	U16
	S16
	F16
	BF16
	B32
	U32
	S32
	F32
	F16x2
	BF16x2
	B64
	U64
	S64
	F64
	firstMemoryType
	B8 Type = iota
	U8
	S8
	TF32
	E4M3x2
	E5M2x2
	lastType
)

type typeKind uint8

const (
	kindPred typeKind = iota + 1
	kindBits
	kindUint
	kindSint
	kindFloat  // a float in a float register
	kindPacked // floats in a register of bits
)

// class is a register file as .reg declares it.
type class uint8

const (
	classPred class = iota
	class16
	class32
	classF32
	class64
	classF64
	numClasses
)

// classes gives each register class its declared type and name prefix.
func (c class) decl() (typ, prefix string) {
	switch c {
	case classPred:
		return ".pred", "%p"
	case class16:
		return ".b16", "%h"
	case class32:
		return ".b32", "%r"
	case classF32:
		return ".f32", "%f"
	case class64:
		return ".b64", "%rd"
	default:
		return ".f64", "%fd"
	}
}

type typeInfo struct {
	name string
	bits int
	kind typeKind
}

func (t Type) info() typeInfo {
	switch t {
	case Pred:
		return typeInfo{"pred", 1, kindPred}
	case B8:
		return typeInfo{"b8", 8, kindBits}
	case U8:
		return typeInfo{"u8", 8, kindUint}
	case S8:
		return typeInfo{"s8", 8, kindSint}
	case B16:
		return typeInfo{"b16", 16, kindBits}
	case U16:
		return typeInfo{"u16", 16, kindUint}
	case S16:
		return typeInfo{"s16", 16, kindSint}
	case F16:
		return typeInfo{"f16", 16, kindPacked}
	case BF16:
		return typeInfo{"bf16", 16, kindPacked}
	case E4M3x2:
		return typeInfo{"e4m3x2", 16, kindPacked}
	case E5M2x2:
		return typeInfo{"e5m2x2", 16, kindPacked}
	case B32:
		return typeInfo{"b32", 32, kindBits}
	case U32:
		return typeInfo{"u32", 32, kindUint}
	case S32:
		return typeInfo{"s32", 32, kindSint}
	case F32:
		return typeInfo{"f32", 32, kindFloat}
	case F16x2:
		return typeInfo{"f16x2", 32, kindPacked}
	case BF16x2:
		return typeInfo{"bf16x2", 32, kindPacked}
	case TF32:
		return typeInfo{"tf32", 32, kindPacked}
	case B64:
		return typeInfo{"b64", 64, kindBits}
	case U64:
		return typeInfo{"u64", 64, kindUint}
	case S64:
		return typeInfo{"s64", 64, kindSint}
	case F64:
		return typeInfo{"f64", 64, kindFloat}
	}
	return typeInfo{"invalid", 0, 0}
}

// String is the type's name in PTX, without the dot.
func (t Type) String() string { return t.info().name }

// Bits is the type's width.
func (t Type) Bits() int { return t.info().bits }

func (t Type) isReg() bool { return t >= Pred && t < firstMemoryType }
func (t Type) isInt() bool {
	k := t.info().kind
	return k == kindBits || k == kindUint || k == kindSint
}
func (t Type) isFloat() bool  { return t.info().kind == kindFloat }
func (t Type) isSigned() bool { return t.info().kind == kindSint }

func (t Type) class() class {
	switch i := t.info(); {
	case t == Pred:
		return classPred
	case i.bits <= 16:
		return class16
	case t == F32:
		return classF32
	case i.bits == 32:
		return class32
	case t == F64:
		return classF64
	}
	return class64
}

// accepts reports whether an operand of type t takes a register of type r, by
// PTX's rule: the sizes agree, and the kinds agree or one of the two is bits.
// A packed type lives in a register of integer class.
func (t Type) accepts(r Type, wider bool) bool {
	a, b := t.info(), r.info()
	if a.kind == kindPred || b.kind == kindPred {
		return a.kind == b.kind
	}
	if wider && b.bits > a.bits {
		// Loads, stores and conversions of integers take a wider register.
		return a.kind != kindFloat && b.kind != kindFloat
	}
	if a.bits != b.bits && !(wider && a.bits == 8 && b.bits == 16) {
		return false
	}
	switch a.kind {
	case kindBits:
		return true
	case kindFloat:
		return b.kind == kindFloat || b.kind == kindBits
	case kindPacked:
		return b.kind != kindFloat
	}
	return b.kind == kindBits || b.kind == kindUint || b.kind == kindSint || b.kind == kindPacked && t.class() == r.class()
}

func typeByName(name string) (Type, bool) {
	for t := Pred; t < lastType; t++ {
		if t.info().name == name {
			return t, true
		}
	}
	return 0, false
}
