package verify_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sparsegen/sparsegen/asm/amd64"
	"github.com/sparsegen/sparsegen/asm/verify"
)

// TestProofOfALoop: what a proof says of a loop is which registers move, from
// where, and by how much a round, what stays is not named; and of two bounds of
// its rounds, the one of fewer terms.
func TestProofOfALoop(t *testing.T) {
	for body, want := range map[string]verify.Loop{
		"MOVBLZX (CX), R8; INCQ CX; ADDQ $2, BX; DECQ DX; JNZ again": {
			Rounds: "n", Advances: []string{"CX = x + i_again", "DX = -i_again + n", "BX = 2*i_again + 3"},
		},
		"INCQ BX; CMPQ BX, SI; JGE out; DECQ DX; JNZ again": {
			Rounds: "n", Advances: []string{"DX = -i_again + n", "BX = i_again + 3"},
		},
		"INCQ BX; CMPQ BX, DX; JGE out; DECQ SI; JNZ again": {
			Rounds: "n - 3", Advances: []string{"BX = i_again + 3", "SI = -i_again + n + 5"},
		},
	} {
		text := "TEXT ·f(SB), NOSPLIT, $0-24; MOVQ y+0(FP), AX; MOVQ x+8(FP), CX; MOVQ n+16(FP), DX; MOVQ $3, BX; LEAQ 5(DX), SI; " +
			"VXORPS Y0, Y0, Y0; again:; " + body + "; out:; VMOVUPS Y0, (AX); VZEROUPPER; RET; "
		l, err := amd64.ParseListing([]byte(strings.ReplaceAll(text, "; ", "\n\t")))
		require.NoError(t, err)
		p, err := verify.Check(l.Funcs[0], &vector, l.Tables)
		require.NoError(t, err, body)
		require.Len(t, p.Cases, 1)
		want.Name, want.Counter = "again", "i_again"
		require.Equal(t, []verify.Loop{want}, p.Cases[0].Loops, body)
	}
}
