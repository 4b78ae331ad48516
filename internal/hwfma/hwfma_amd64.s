#include "textflag.h"

// func fma(y, a, b, c *float32, n int)
TEXT ·fma(SB), NOSPLIT, $0-40
	MOVQ y+0(FP), DI
	MOVQ a+8(FP), SI
	MOVQ b+16(FP), DX
	MOVQ c+24(FP), BX
	MOVQ n+32(FP), CX
	XORQ AX, AX

loop:
	VMOVSS (SI)(AX*4), X0
	VMOVSS (DX)(AX*4), X1
	VMOVSS (BX)(AX*4), X2
	VFMADD231SS X1, X0, X2
	VMOVSS X2, (DI)(AX*4)
	INCQ AX
	CMPQ AX, CX
	JLT  loop
	RET
