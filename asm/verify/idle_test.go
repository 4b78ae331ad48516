package verify_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sparsegen/sparsegen/asm/amd64"
	"github.com/sparsegen/sparsegen/asm/verify"
)

// TestIdle: what has no effect is named, and what has is not.
func TestIdle(t *testing.T) {
	const text = ramp + `TEXT ·f(SB), NOSPLIT, $0-24
	MOVQ y+0(FP), AX
	MOVQ n+16(FP), CX
	MOVQ x+8(FP), DX
	ADDQ $32, DX
	CMPQ CX, $3
	TESTQ CX, CX
	JZ none
	VXORPS Y0, Y0, Y0
	VMOVUPS Y0, (AX)
	ADDQ $-8, CX
	TESTQ CX, CX
	JZ none
	MOVQ $1, CX
	DECQ CX
	JZ none
	MOVQ CX, AX
none:
	VZEROUPPER
	RET
`
	l, err := amd64.ParseListing([]byte(text))
	require.NoError(t, err)
	p, err := verify.Check(l.Funcs[0], &vector, l.Tables)
	require.NoError(t, err)
	var got []string
	for _, i := range p.Idle {
		got = append(got, i.Text+": "+i.Why)
	}
	require.Equal(t, []string{
		"ADDQ $32, DX: nothing reads its result", // nor, then, what loads DX
		"CMPQ CX, $3: nothing reads its result",
		"JZ none: its condition is never met",
		"TESTQ CX, CX: the flags are set like that already",
		"MOVQ CX, AX: no call reaches it",
	}, got)
}
