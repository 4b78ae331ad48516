package amd64

import (
	"strings"

	"github.com/sparsegen/sparsegen/asm/verify"
)

// semantics is what an instruction does, as far as safety depends on it. Its
// sources come first and its destination last, as Go's assembler has them.
type semantics struct {
	op    verify.Op
	flags verify.Flags
	cond  verify.Cond
	// width is the bytes of memory that it accesses: 0 is those of its vector
	// register, -n an n-th of them.
	width int64
	align bool // memory must be aligned to width
	acc   bool // the destination is a source too
	zero  bool // of a register with itself, it is 0 whatever the register holds
	one   bool // its missing source is 1
}

// table has a row for each instruction that kernels may consist of, by its name
// with suffixes. One that has no row is refused.
var table = rows(map[string]semantics{
	"MOVQ":            {op: verify.Move, width: 8},
	"MOVL":            {op: verify.Move, width: 4},
	"MOVWLZX MOVWQZX": {op: verify.Move, width: 2},
	"MOVBLZX MOVBQZX": {op: verify.Move, width: 1},
	"LEAQ":            {op: verify.Address},
	"ADDQ":            {op: verify.Add, flags: verify.Sets, width: 8},
	"SUBQ":            {op: verify.Sub, flags: verify.Sets, width: 8},
	"INCQ":            {op: verify.Add, flags: verify.Sets, width: 8, one: true},
	"DECQ":            {op: verify.Sub, flags: verify.Sets, width: 8, one: true},
	"NEGQ":            {op: verify.Negate, flags: verify.Sets, width: 8},
	"IMULQ IMUL3Q":    {op: verify.Mul, flags: verify.Clobbers, width: 8},
	"SHLQ":            {op: verify.ShiftLeft, flags: verify.Sets, width: 8},
	"SHRQ":            {op: verify.ShiftRight, flags: verify.Sets, width: 8},
	"POPCNTQ":         {op: verify.CountOnes, flags: verify.Sets, width: 8},
	"POPCNTL":         {op: verify.CountOnes, flags: verify.Sets, width: 4},
	"BZHIQ":           {op: verify.LowBits, flags: verify.Clobbers, width: 8},
	"BZHIL":           {op: verify.LowBits, flags: verify.Clobbers, width: 4},
	"BEXTRL":          {op: verify.Extract, flags: verify.Clobbers, width: 4},
	"RORXL":           {op: verify.Rotate, width: 4},
	"ANDL":            {op: verify.And, flags: verify.Sets, width: 4},
	"CMPQ":            {op: verify.Compare, flags: verify.Sets, width: 8},
	"TESTQ":           {op: verify.Test, flags: verify.Sets, width: 8},
	"JMP":             {op: verify.Jump},
	"JZ JEQ":          {op: verify.Jump, cond: verify.Equal},
	"JNZ JNE":         {op: verify.Jump, cond: verify.NotEqual},
	"JLT":             {op: verify.Jump, cond: verify.Less},
	"JLE":             {op: verify.Jump, cond: verify.LessEqual},
	"JGT":             {op: verify.Jump, cond: verify.Greater},
	"JGE":             {op: verify.Jump, cond: verify.GreaterEqual},
	"CMOVQLT":         {op: verify.MoveIf, cond: verify.Less},
	"CMOVQLE":         {op: verify.MoveIf, cond: verify.LessEqual},
	"CMOVQGT":         {op: verify.MoveIf, cond: verify.Greater},
	"CMOVQGE":         {op: verify.MoveIf, cond: verify.GreaterEqual},
	"CMOVQEQ":         {op: verify.MoveIf, cond: verify.Equal},
	"CMOVQNE":         {op: verify.MoveIf, cond: verify.NotEqual},
	"RET":             {op: verify.Return},
	"VZEROUPPER":      {op: verify.ClearUpper},
	"PREFETCHT0 PREFETCHT1 PREFETCHT2 PREFETCHNTA": {op: verify.Hint},

	"VMOVUPS VMOVUPS.Z VMOVDQU VMOVDQU32 VMOVDQU32.Z VMASKMOVPS": {op: verify.VectorLoad},
	"VEXPANDPS.Z":                        {op: verify.VectorLoad},
	"VMOVAPS VMOVDQA VMOVDQA32 VMOVNTPS": {op: verify.VectorLoad, align: true},
	"VMOVSS":                             {op: verify.VectorLoad, width: 4},
	"VMOVSD":                             {op: verify.VectorLoad, width: 8},
	"KMOVW":                              {op: verify.SetMask, width: 2},
	"KMOVD":                              {op: verify.SetMask, width: 4},
	"KMOVQ":                              {op: verify.SetMask, width: 8},

	"VINSERTPS":                             {op: verify.Vector, width: 4},
	"VINSERTF128":                           {op: verify.Vector, width: 16},
	"VEXTRACTF128":                          {op: verify.Vector, width: 16},
	"VMOVHLPS VMOVLHPS VMOVSHDUP VMOVSLDUP": {op: verify.Vector},
	"VADDSS VMULSS VMAXSS VMINSS":           {op: verify.Vector, width: 4},
	"VBROADCASTSS VPBROADCASTD":             {op: verify.Vector, width: 4},
	"VBROADCASTSD VPBROADCASTQ":             {op: verify.Vector, width: 8},
	"VBROADCASTF128 VBROADCASTF32X4":        {op: verify.Vector, width: 16},
	"VBROADCASTF32X8":                       {op: verify.Vector, width: 32},
	"VPMOVSXBD VPMOVZXBD":                   {op: verify.Vector, width: -4},
	"VPMOVSXWD VPMOVZXWD":                   {op: verify.Vector, width: -2},
	"VPMOVSXBW VPMOVZXBW":                   {op: verify.Vector, width: -2},
	"VADDPS VSUBPS VMULPS VDIVPS":           {op: verify.Vector},
	"VMAXPS VMINPS":                         {op: verify.Vector},
	"VPADDD VPSUBD VPMULLD VPMAXSD VPMINSD": {op: verify.Vector},
	"VPANDD VPORD VANDPS VORPS VPAND VPOR":  {op: verify.Vector},
	"VPSLLD VPSRLD VPSRAD VPSRLVD VPSLLVD":  {op: verify.Vector},
	"VPERMPS VPERMD VPERMILPS VPSHUFB":      {op: verify.Vector},
	"VPERM2F128 VSHUFF32X4 VSHUFPS":         {op: verify.Vector},
	"VUNPCKLPS VUNPCKHPS":                   {op: verify.Vector},
	"VUNPCKLPD VUNPCKHPD":                   {op: verify.Vector},
	"VBLENDVPS VBLENDPS":                    {op: verify.Vector},
	"VXORPS VPXOR VPXORD":                   {op: verify.Vector, zero: true},

	"VFMADD231PS VFMADD213PS VFMADD132PS":    {op: verify.Vector, acc: true},
	"VFNMADD231PS VFNMADD213PS":              {op: verify.Vector, acc: true},
	"VFMADD231PS.BCST VFMADD213PS.BCST":      {op: verify.Vector, acc: true, width: 4},
	"VFMADD231SS VFMADD213SS":                {op: verify.Vector, acc: true, width: 4},
	"VPERMI2PS VPERMT2PS VPERMI2D VPERMT2D":  {op: verify.Vector, acc: true},
	"VPTERNLOGD":                             {op: verify.Vector, acc: true},
	"VADDPS.BCST VMULPS.BCST VSUBPS.BCST":    {op: verify.Vector, width: 4},
	"VMAXPS.BCST VMINPS.BCST":                {op: verify.Vector, width: 4},
	"VPMADDWD VPMADDUBSW VPACKSSDW VPALIGNR": {op: verify.Vector},
})

// rows has each of the names that share a row.
func rows(shared map[string]semantics) map[string]*semantics {
	t := map[string]*semantics{}
	for names, s := range shared {
		for name := range strings.FieldsSeq(names) {
			t[name] = &s
		}
	}
	return t
}

// reserved are the registers that a function of Go's stack-based calling
// convention (ABI0) leaves alone: the stack and frame pointers, and R15, which
// holds the address of the global offset table in shared objects. R14 and X15
// are its to use: who calls from Go restores them.
var reserved = []string{"SP", "BP", "R15"}
