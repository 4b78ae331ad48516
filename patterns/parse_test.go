package patterns

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"
)

// canonical holds every construct of the syntax, written canonically.
var canonical = []string{
	"dense",
	"nm(2,4)", "nm(1,2)", "nm(31,32)", "nm(3,7)",
	"block(4,1)", "block(16,1,sparsity=0.9)", "block(1,16,sparsity=0.00001)",
	"unstructured", "unstructured(sparsity=0.875)",
	"channel(rows)", "channel(cols,sparsity=0.5)",
	"stripe(0:64,128,192:256)", "stripe(5)",
	"diag(-2,0,7)", "diag(-8,width=17)",
	"perm(nm(2,4),cols,seed=7)", "perm(dense,rows,2,0,1)", "perm(nm(1,2) | stripe(3),cols,seed=18446744073709551615)",
	"stripe(0:8) | nm(2,4)", "stripe(0) | diag(0) | block(4,1,sparsity=0.9) | unstructured(sparsity=0.99)",
	"channel(rows) & channel(cols)", "nm(2,4) & stripe(0:64) & diag(-8,width=17)",
	"stripe(0:8) | nm(2,4) & diag(0,width=9)",
	"(stripe(0:8) | diag(0)) & nm(2,4)",
}

func TestParseCanonical(t *testing.T) {
	for _, s := range canonical {
		p, err := Parse(s)
		require.NoError(t, err, s)
		require.Equal(t, s, p.String())
	}
}

func TestParseNormalises(t *testing.T) {
	for in, want := range map[string]string{
		" nm ( 2 , 4 ) ":                         "nm(2,4)",
		"unstructured(sparsity=0)":               "unstructured",
		"block(4,1,sparsity=0.90)":               "block(4,1,sparsity=0.9)",
		"stripe(8:12, 0:4, 4, 10:16)":            "stripe(0:5,8:16)",
		"stripe(0:8,2:4)":                        "stripe(0:8)",
		"diag(3,-1,3,width=1)":                   "diag(-1,3)",
		"((dense))":                              "dense",
		"(stripe(0) | diag(0)) | nm(2,4)":        "stripe(0) | diag(0) | nm(2,4)",
		"stripe(0)|(diag(0) & nm(2,4))":          "stripe(0) | diag(0) & nm(2,4)",
		"nm(2,4)&(stripe(0:8)&channel(rows))":    "nm(2,4) & stripe(0:8) & channel(rows)",
		"\tperm(nm(1,2)|stripe(0),\ncols,1,0)\r": "perm(nm(1,2) | stripe(0),cols,1,0)",
	} {
		p, err := Parse(in)
		require.NoError(t, err, in)
		require.Equal(t, want, p.String())
	}
}

func TestParseErrors(t *testing.T) {
	for _, c := range []struct {
		in     string
		offset int
		msg    string
	}{
		{"", 0, "expected a pattern"},
		{"nn(2,4)", 0, `unknown pattern "nn"`},
		{"dense, x", 5, `unexpected ',' after the pattern`},
		{"dense(1)", 6, "too many arguments"},
		{"nm(2)", 0, "nm lacks M"},
		{"nm(2,2)", 5, "M is 2, outside 3..32"},
		{"nm(0,4)", 3, "N is 0, outside 1..31"},
		{"nm(2,64)", 5, "outside 3..32"},
		{"nm(2,4.5)", 5, "whole number"},
		{"nm(2,4", 6, `expected ')' after the arguments of nm, found the end`},
		{"nm(2,4,8)", 7, "too many arguments"},
		{"nm(2,4,m=8)", 7, `no option "m"`},
		{"block(4,1,sparsity=1)", 10, "outside 0 <= S < 1"},
		{"block(4,1,sparsity=-0.5)", 10, "outside 0 <= S < 1"},
		{"block(4,1,sparsity=1.2.3)", 10, "must be a number"},
		{"channel(diagonal)", 8, "expected rows or cols"},
		{"channel(3)", 8, "expected rows or cols"},
		{"stripe(8:4)", 7, "range 8:4 is empty"},
		{"stripe(8:)", 9, "expected the end of the range"},
		{"stripe()", 7, "expected a pattern"},
		{"stripe", 0, "lacks a column"},
		{"stripe(99999999999999999999)", 7, "whole number"},
		{"diag(width=2)", 0, "lacks an offset"},
		{"perm(nm(2,4),cols,0,1,1)", 22, "index 1 appears twice"},
		{"perm(nm(2,4),cols,0,2)", 0, "index 1 of 0..1 is missing"},
		{"perm(nm(2,4),cols,seed=-1)", 18, "seed must be"},
		{"perm(4,cols,0)", 5, "expected a pattern, found a number"},
		{"nm(2,4) | nm(1,8)", 10, "another part already chooses"},
		{"dense | nm(2,4) & channel(rows) | unstructured(sparsity=0.9)", 34, "not decidable"},
		{"(dense", 6, `expected ')' after the pattern in parentheses`},
		{"dense | é", 8, "found 'é'"},
	} {
		_, err := Parse(c.in)
		var e *SyntaxError
		require.True(t, errors.As(err, &e), "%q: %v", c.in, err)
		require.Contains(t, e.Msg, c.msg, c.in)
		require.Equal(t, c.offset, e.Offset, "%q: %v", c.in, err)
	}
}

func TestParsePrefix(t *testing.T) {
	p, n, err := ParsePrefix("nm(2,4) | stripe(0) , bias=x)")
	require.NoError(t, err)
	require.Equal(t, "nm(2,4) | stripe(0)", p.String())
	require.Equal(t, 20, n)
}

func FuzzParse(f *testing.F) {
	for _, s := range canonical {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		p, err := Parse(s)
		if err != nil {
			var e *SyntaxError
			require.True(t, errors.As(err, &e))
			require.True(t, e.Offset >= 0 && e.Offset <= len(s))
			return
		}
		q, err := Parse(p.String())
		require.NoError(t, err, p.String())
		require.Equal(t, p, q)
		_ = p.Validate(64, 96)
	})
}
