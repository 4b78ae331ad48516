package main

import (
	"go/parser"
	"go/token"
	"testing"

	"github.com/stretchr/testify/require"
)

const sample = `package p

import "errors"

type pair [2]int

func f(a, b int) (int, error) {
	if a < b && b != 3 {
		a += 2
		return a - b, errors.New("less")
	}
	for i := 0; i < b; i++ {
		if i == a {
			continue
		}
		println(i)
	}
	err := error(nil)
	return 0, err
}
`

// TestSites: every kind of mistake has its places, each gives a file that can
// be parsed, and types are left alone.
func TestSites(t *testing.T) {
	all, err := sitesOf("p.go", []byte(sample))
	require.NoError(t, err)
	kinds := map[string]int{}
	for _, s := range all {
		kinds[s.kind]++
		require.Equal(t, s.was, sample[s.from:s.to])
		require.NotEqual(t, s.was, s.is)
		require.Equal(t, "f", s.in)
		_, err := parser.ParseFile(token.NewFileSet(), "p.go", sample[:s.from]+s.is+sample[s.to:], 0)
		require.NoError(t, err, "%s: %q is %q", s.pos, s.was, s.is)
	}
	require.Equal(t, map[string]int{"condition": 3, "operator": 10, "statement": 3, "constant": 4, "branch": 1, "return": 1}, kinds)
}
