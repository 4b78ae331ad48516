package verify

// Reg is a register or an argument's slot of the machine that a listing is for.
// Integer registers come first, then vector registers, then mask registers.
type Reg uint8

// The places of registers.
const (
	NoReg     Reg = 0xff
	FirstVec  Reg = 32
	FirstMask Reg = 64
	numRegs       = 72
)

// Kind is the kind of an Operand.
type Kind uint8

// The kinds of operands.
const (
	None Kind = iota
	Register
	Immediate
	Memory // Base + Index*Scale + Disp, or Symbol + Disp where Base is NoReg
	Slot   // the argument at Disp in the caller's frame
)

// Operand is one operand of an Inst.
type Operand struct {
	Kind        Kind
	Reg         Reg // Register
	Base, Index Reg
	Scale       uint8
	Imm         int64
	Disp        int64
	Symbol      string // the table, or the name that the listing gives a Slot
}

// Op is what an instruction does, as far as its safety depends on it.
type Op uint8

// The operations. D, A, B and C are the operands of an Inst; flags are those of
// the last result or comparison.
const (
	Move       Op = iota + 1 // D = A; memory is Width bytes, zero-extended
	Add                      // D += A
	Sub                      // D -= A
	Mul                      // D = A * B
	ShiftLeft                // D = D << A
	ShiftRight               // D = D >> A, unsigned
	Negate                   // D = -D
	Address                  // D = address of A
	CountOnes                // D = bits set in A
	LowBits                  // D = the low A bits of B
	Rotate                   // D = B rotated right by A bits, of Width bytes
	And                      // D &= A
	Extract                  // D = bits of B: A says from which on, and from its bit 8 on how many
	Compare                  // flags of A - B
	Test                     // flags of A & B
	Jump                     // to Target if Cond
	MoveIf                   // D = A if Cond
	Return
	ClearUpper // the upper parts of all vector registers
	Hint       // touches nothing
	Vector     // D = f(A, B, C, old D if Acc) without regard to the values
	VectorLoad // D = Width bytes at A, lanes of Mask if any
	VectorStore
	SetMask    // D = the mask whose bits A are
	FirstLanes // D = the mask of the first A of Width lanes: none below 0, all beyond Width
)

// Cond is a condition on the flags: the result against 0, signed.
type Cond uint8

// The conditions.
const (
	Always Cond = iota
	Equal
	NotEqual
	Less
	LessEqual
	Greater
	GreaterEqual
)

// Inst is one instruction of a listing.
type Inst struct {
	Line   int    // in the file
	Text   string // as listed
	Op     Op
	D      Operand
	A, B   Operand
	Reads  []Reg // vector and mask registers that are read besides
	Mask   Reg   // of memory lanes; NoReg is none
	Acc    bool  // D is read too
	Width  int64 // bytes of the access to memory
	Align  int64 // that the instruction asks of it; 0 or 1 is none
	Lane   int64 // bytes of memory per lane of Mask
	Cond   Cond
	Target string
	Flags  Flags
	Upper  bool // dirties upper parts of vector registers
}

// Flags says what an instruction does to the flags.
type Flags uint8

// The effects on flags.
const (
	Keeps    Flags = iota
	Sets           // by its result
	Clobbers       // to what is not to be relied on
)

// Func is the listing of one function.
type Func struct {
	Name   string
	Line   int
	Bits   int64 // of a vector, where a machine's may differ from another's
	Frame  int64 // bytes of local stack
	Args   int64 // bytes of arguments
	Insts  []Inst
	Labels map[string]int // places in Insts
	// Reserved are the registers that the calling convention keeps from it.
	Reserved []Reg
	RegName  func(Reg) string
}

// Table is read-only data of the listing's file.
type Table struct {
	Name string
	Data []byte
}
