package verify

import (
	"go/ast"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestPolynomialText: what proofs and errors print.
func TestPolynomialText(t *testing.T) {
	a := &analysis{syms: newSymbols(), names: map[string]poly{}, parsed: map[string]ast.Expr{}}
	for _, name := range []string{"n", "k"} {
		a.names[name] = a.syms.poly(a.syms.fresh(name))
	}
	for text, want := range map[string]string{
		"0": "0", "n - n": "0", "7": "7", "0 - 7": "-7", "n": "n", "0 - n": "-n", "3*n": "3*n",
		"0 - 3*n": "-3*n", "n + k": "k + n", "n - k": "-k + n", "k - n": "k - n", "k - 2*n": "k - 2*n", "2*(n*n)": "2*n*n", "n - 7": "n - 7", "n + 7": "n + 7",
	} {
		p, err := a.expr(text)
		require.NoError(t, err)
		require.Equal(t, want, a.format(p), text)
	}
	for text, why := range map[string]string{
		"n +": "expected operand", "m": "nothing is called m", "2*m": "nothing is called m", "m - 2": "nothing is called m",
		"n / k": "by a constant", "n / 0": "by a constant", "n % 2": "only + - *", "n(2)": "only + - *", "0x1ffffffff": "out of range", `"n"`: "invalid syntax",
	} {
		_, err := a.expr(text)
		require.ErrorContains(t, err, why, text)
	}
}

// TestContractsThatDoNotBind: an expression that means nothing is an error,
// wherever in the contract it stands.
func TestContractsThatDoNotBind(t *testing.T) {
	n := Integer{Name: "n", Min: 1}
	for what, c := range map[string]Contract{
		"symbol":   {Symbols: []Integer{n, {Name: "q", Value: "m"}}},
		"argument": {Args: []Arg{{Name: "q", Size: 8, Integer: &Integer{Value: "m"}}}},
		"length":   {Args: []Arg{{Name: "x", Size: 8, Memory: &Region{Len: "m"}}}},
		"each": {Args: []Arg{{Name: "x", Size: 8, Memory: &Region{Len: "n"}}}, Symbols: []Integer{n}, Sums: []Sum{
			{Name: "bits", Of: "x", Rows: "n", Bits: true}, {Name: "s", Of: "x", Rows: "n", Width: 1, Weights: []int64{1}, Same: "bits", Each: "m"},
		}},
		"fact": {Symbols: []Integer{n}, Facts: []string{"n - m"}},
	} {
		f := &Func{Name: "f", Insts: []Inst{{Op: Return, Line: 1}}}
		_, err := Check(f, &c, nil)
		require.ErrorContains(t, err, "nothing is called m", what)
	}
}

// TestProofText: a case names what is absent only where there are several, an
// argument appears where it is read or written, and what is written is once.
func TestProofText(t *testing.T) {
	reads := Case{
		Accesses: []Accesses{{Arg: "x", Extent: "4*n bytes", Reads: 2}, {Arg: "unused", Extent: "8 bytes"}},
		Loops:    []Loop{{Name: "row", Rounds: "n", Counter: "i", Advances: []string{"SI = x + 4*i"}}},
		Steps:    "9*n + 4",
	}
	const end = "  no register is read undefined; reserved registers stay; upper vector parts are clear at return\n"
	const read = "  x: 4*n bytes; 2 read, all within\n" +
		"  loop row: at most n rounds; at the head of round i\n    SI = x + 4*i\n  at most 9*n + 4 instructions a call\n"
	p := &Proof{Kernel: "f", Instructions: 12, Cases: []Case{reads}}
	require.Equal(t, "f: 12 instructions, proved\n"+read+end, p.String())
	p.Cases = append(p.Cases, Case{Nil: "bias", Accesses: []Accesses{{Arg: "y", Extent: "64 bytes", Reads: 1, Writes: 3}, {Arg: "z", Extent: "4 bytes", Writes: 1}}, Steps: "7"})
	require.Equal(t, "f: 12 instructions, proved\n  where no pointer is nil:\n"+read+
		"  where bias is nil:\n  y: 64 bytes; 1 read, 3 write, all within; each element written once\n"+
		"  z: 4 bytes; 1 write, all within; each element written once\n  at most 7 instructions a call\n"+end, p.String())
}
