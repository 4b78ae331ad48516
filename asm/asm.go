// Package asm is the portable vector builder: a microkernel is written once
// against Builder, for any vector length, and asm/amd64 and asm/arm64 turn the
// recorded program into assembly.
//
// A program is data: a list of Inst over virtual registers. This package must
// not import avo, nor know a mnemonic of any instruction set.
package asm

import "fmt"

// Machine describes the vector unit that a program is built for.
type Machine struct {
	Name  string // avx2, avx512, neon, sve
	Lanes int    // float32 a vector register; 0 where Scalable
	Regs  int    // vector registers
	// BroadcastOperand says that a multiply-add takes a float32 in memory,
	// repeated in all lanes, as its operand (EVEX embedded broadcast).
	BroadcastOperand bool
	// Halves says that there are HalfRegs.
	Halves bool
	// LaneCopies is how many multiply-adds by a weight make an OpLaneOf4 cheaper than the
	// weight's own load; 0: it never is.
	LaneCopies int
	// Scalable says that a program learns only at run time how long its registers
	// are: Lanes is a power of two and at least 4.
	Scalable bool
}

// Kind is a register's kind.
type Kind uint8

// The register kinds.
const (
	IntReg  Kind = iota + 1 // 64-bit general purpose
	VecReg                  // Lanes float32
	MaskReg                 // one bit a lane
	// HalfReg is the lower half of a vector register, whose upper half is lost. The ops
	// that OnHalves names take it for what they write or store: they are then
	// about Lanes/2 float32, and read the lower half of a VecReg.
	HalfReg
)

// Reg is a virtual register. The zero Reg is none.
type Reg struct {
	Kind Kind
	ID   int
}

// IsZero reports whether r is no register.
func (r Reg) IsZero() bool { return r.Kind == 0 }

func (r Reg) String() string {
	return fmt.Sprintf("%c%d", " ivkh"[r.Kind], r.ID)
}

// Mem is the address Base + Index*Scale + Disp, in bytes, and Vectors whole
// vectors behind that.
type Mem struct {
	Base, Index Reg
	Scale       int // 1, 2, 4 or 8; with an Index only
	Disp        int
	Vectors     int // 0 in recorded programs of machines that are not Scalable
}

// At is the address r + disp.
func At(r Reg, disp int) Mem { return Mem{Base: r, Disp: disp} }

// Plus is m moved by disp bytes.
func (m Mem) Plus(disp int) Mem { m.Disp += disp; return m }

// PlusVectors is m moved by n whole vectors.
func (m Mem) PlusVectors(n int) Mem { m.Vectors += n; return m }

// Op is an instruction of the portable machine.
type Op uint8

// The instructions. Dst is the first register written; acc means that Dst is
// also read.
const (
	OpArg         Op = iota + 1 // Dst int = argument Name
	OpSetArg                    // argument Name = A; a spill slot that costs no frame
	OpMovI                      // Dst = Imm
	OpMov                       // Dst = A
	OpAdd                       // Dst acc += A
	OpAddI                      // Dst acc += Imm
	OpAddLanes                  // Dst acc += Imm * Lanes
	OpAddVectors                // Dst acc += Imm * Lanes * 4, the bytes of Imm vectors
	OpSub                       // Dst acc -= A
	OpMul                       // Dst acc *= A
	OpMulI                      // Dst = A * Imm
	OpShlI                      // Dst acc <<= Imm
	OpShrI                      // Dst acc >>= Imm (unsigned)
	OpPopcnt                    // Dst = bits set in A
	OpCountByte                 // Dst = bits set in A, which is below 256
	OpLowBits                   // Dst = the low Imm bits of A
	OpMin                       // Dst acc = min(Dst, A), signed
	OpMax                       // Dst acc = max(Dst, A), signed
	OpLoadU                     // Dst int = zero-extended Imm bytes at Mem
	OpLea                       // Dst int = address Mem
	OpLabel                     // Name:
	OpJump                      // goto Name
	OpJumpZ                     // if A == 0 goto Name
	OpJumpLE                    // if A <= Imm goto Name, signed
	OpDecJump                   // Dst acc--; if Dst != 0 goto Name
	OpAddJump                   // Dst acc += Imm; if Dst != 0 goto Name
	OpPrefetch                  // hint: the line at Mem will be read
	OpPrefetchFar               // hint: the line at Mem will be read, so late that the second-level cache is the place for it
	OpZero                      // Dst vec = +0
	OpVMov                      // Dst vec = A
	OpLoad                      // Dst vec = Lanes float32 at Mem
	OpLoadMask                  // Dst vec = lanes of Mask from Mem, others +0; others are not touched in memory
	OpStore                     // Lanes float32 at Mem = A
	OpStoreMask                 // lanes of Mask at Mem = A; others untouched
	OpBcast                     // Dst vec = float32 at Mem in every lane
	OpBcastArg                  // Dst vec = float32 argument Name in every lane
	OpBcastN                    // Dst vec = Imm float32 at Mem, repeated
	OpLaneOf4                   // Dst vec = lane Imm, 0 to 3, of each four lanes of A, in all four
	OpBcastConst                // Dst vec = the 32 bits Imm in every lane
	OpFMA                       // Dst acc = A*B + Dst, one rounding
	OpFMAMem                    // Dst acc = A*vec at Mem + Dst; of a Scalable machine: where there is a Mask, lanes that it lacks are +0 instead of what lies at Mem, which is not touched there
	OpFMABcast                  // Dst acc = A*(float32 at Mem) + Dst
	OpFMA213                    // Dst acc = Dst*A + B, one rounding
	OpVAdd                      // Dst = A + B
	OpVSub                      // Dst = A - B
	OpVMul                      // Dst = A * B
	OpVDiv                      // Dst = A / B
	OpVMax                      // Dst = A > B ? A : B (B where either is NaN)
	OpVMin                      // Dst = A < B ? A : B
	OpVAddI32                   // Dst = A + B, 32-bit integers
	OpVSubI32                   // Dst = A - B, 32-bit integers
	OpVAnd                      // Dst = A & B, bit by bit
	OpVShlI                     // Dst = A << Imm, 32-bit lanes
	OpVShrI                     // Dst = A >> Imm, 32-bit lanes, unsigned
	OpVSarI                     // Dst = A >> Imm, 32-bit lanes, signed
	OpMaskFirst                 // Dst mask = the first A lanes (A int, 0..Lanes; of a Scalable machine any: none below 0, all beyond Lanes)
	OpSelect                    // Dst vec: lane l = table[idx[l] mod Imm], table = Vs, idx = A
	OpExpandInit                // Dst int: what the machine's OpExpand and OpExpandByte need, for the whole function
	OpExpand                    // Dst vec = next values at Mem in the lanes whose bit of A (int) is set, +0 in others; Vs from OpExpandInit
	OpExpandByte                // Dst vec = values of the lanes whose bit of byte Imm of A (int, 4 bytes) is set, +0 in others; at Mem is that of A's first bit, 16 bytes before it are the op's to read; B int is 8*Imm+4, Vs from OpExpandInit; 8 lanes
	OpLoadAfter                 // Dst vec = lane 0 of A, then lanes 1.. of the Lanes float32 at Mem; 4 or 8 lanes
	OpLoadLow                   // Dst vec lane 0 = float32 at Mem, others +0
	OpStoreLow                  // float32 at Mem = lane 0 of A
	OpInsertLow                 // Dst acc: lane Imm, 1 to 3, = float32 at Mem; lanes from 4 on +0
	OpJoin                      // Dst vec = lanes 0..3 of A, then lanes 0..3 of B; 8 lanes
	OpSumLow                    // Dst vec lane 0 = ((a0+a4)+(a2+a6))+((a1+a5)+(a3+a7)) over the lanes of A, of four (a0+a2)+(a1+a3); others undefined; 4 or 8 lanes
	OpByteInit                  // Dst int: what the machine's OpByte needs, for the whole function
	OpByte                      // Dst int = byte Imm, 0 or 1, of A; B from OpByteInit
	OpTranspose                 // Vs = Lanes registers, transposed as a square in place
)

// OnHalves reports whether an op takes a HalfReg.
func (op Op) OnHalves() bool {
	switch op {
	case OpZero, OpVMov, OpLoad, OpStore, OpBcast, OpFMA, OpFMAMem, OpFMABcast, OpVMax, OpVMin:
		return true
	}
	return false
}

// Inst is one instruction.
type Inst struct {
	Op      Op
	Dst     Reg
	A, B    Reg
	Mask    Reg
	Vs      []Reg
	Mem     Mem
	Imm     int64
	Name    string
	Comment string
}

// Arg is one argument of a Func, with its Go type.
type Arg struct{ Name, Type string }

// Func is a recorded program.
type Func struct {
	Name    string
	Doc     []string
	Machine Machine
	Args    []Arg
	Insts   []Inst
}
