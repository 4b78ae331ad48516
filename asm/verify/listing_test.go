package verify_test

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sparsegen/sparsegen/asm/verify"
)

func TestReadListing(t *testing.T) {
	const text = "// A header.\n\n#include \"textflag.h\"\n" +
		"DATA ramp<>+0(SB)/4, $0x01020304\nDATA ramp<>+4(SB)/8, $5\nGLOBL ramp<>(SB), RODATA|NOPTR, $12\n" +
		"DATA one<>+0(SB)/8, $0xffffffffffffffff\nGLOBL one<>(SB), RODATA|NOPTR, $8\n" +
		"\nTEXT ·f(SB), NOSPLIT, $8-24 // a comment\nhead:\n\tFIRST a, b // why\nmiddle:\n\tSECOND\nend:\n" +
		"TEXT ·g(SB), NOSPLIT, $0-0\nhead:\n\tTHIRD\n"
	type given struct {
		f          string
		n          int
		code, line string
	}
	var got []given
	l, err := verify.ReadListing([]byte(text), func(f *verify.Func, n int, code, line string) error {
		got = append(got, given{f.Name, n, code, line})
		return nil
	})
	require.NoError(t, err)
	require.Equal(t, []given{{"f", 12, "FIRST a, b", "FIRST a, b // why"}, {"f", 14, "SECOND", "SECOND"}, {"g", 18, "THIRD", "THIRD"}}, got)
	require.Equal(t, &verify.Listing{
		Funcs: []*verify.Func{
			{Name: "f", Line: 10, Frame: 8, Args: 24, Labels: map[string]int{"head": 0, "middle": 1, "end": 2}},
			{Name: "g", Line: 16, Labels: map[string]int{"head": 0}},
		},
		Tables: []verify.Table{
			{Name: "ramp", Data: []byte{4, 3, 2, 1, 5, 0, 0, 0, 0, 0, 0, 0}},
			{Name: "one", Data: []byte{255, 255, 255, 255, 255, 255, 255, 255}},
		},
	}, l)
}

// TestListingsThatAreNone: what the reader does not understand is an error with
// its line.
func TestListingsThatAreNone(t *testing.T) {
	for text, why := range map[string]string{
		"\nFIRST":                                        "line 2: FIRST before any function",
		"TEXT f(SB)":                                     "line 1: TEXT f(SB): want",
		"TEXT ·f, NOSPLIT, $0-0":                         "want ·name(SB)",
		"TEXT ·f(SB), NOSPLIT, $0":                       "want ·name(SB)",
		"TEXT ·f(SB), NOSPLIT, $x-0":                     `parsing "x"`,
		"TEXT ·f(SB), NOSPLIT, $0-4294967296":            "out of range",
		"TEXT ·f(SB), NOSPLIT, $0-0\na:\n\tFIRST\na:":    "line 4: label a a second time",
		"TEXT ·f(SB), NOSPLIT, $0-0\na: FIRST":           "FIRST behind a label",
		"DATA a<>+0(SB)/2, $1":                           "want a symbol of 4 or 8 bytes",
		"DATA a<>+0/8, $1":                               "want a symbol of 4 or 8 bytes",
		"DATA <>+0(SB)/8, $1":                            "want name+offset",
		"DATA a<>+x(SB)/8, $1":                           `parsing "x"`,
		"DATA a<>+0(SB)/8, $0x10000000000000000":         "out of range",
		"DATA a<>+8(SB)/8, $1":                           "does not follow what lies before it",
		"DATA a<>+0(SB)/8, $1\nGLOBL a<>(SB), 8, $16":    "line 2: GLOBL a: 8 bytes of data, declared $16",
		"GLOBL a<>+8(SB), 8, $0":                         "want name<>(SB)",
		"#define f g\nTEXT ·f(SB), NOSPLIT, $0-0\n\tg":   "line 1: #define before any function",
		"TEXT ·f(SB), NOSPLIT, $0-0\n\tFIRST\n\tFAILS x": "line 3: FAILS x is not known",
	} {
		_, err := verify.ReadListing([]byte(text), func(_ *verify.Func, _ int, code, _ string) error {
			if code == "FAILS x" {
				return errors.New("FAILS x is not known")
			}
			return nil
		})
		require.ErrorContains(t, err, why, text)
	}
}
