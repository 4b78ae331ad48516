package ir

import (
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sparsegen/sparsegen/patterns"
)

// TestCodesAreInTheManual: docs/errors.md explains exactly the codes that exist,
// under their titles, and a golden file shows each.
func TestCodesAreInTheManual(t *testing.T) {
	doc, err := os.ReadFile("../docs/errors.md")
	require.NoError(t, err)
	var inDoc, inCode []string
	for _, line := range strings.Split(string(doc), "\n") {
		if h, ok := strings.CutPrefix(line, "## SG"); ok {
			inDoc = append(inDoc, "SG"+h)
		}
	}
	var golden strings.Builder
	for _, file := range goldenFiles(t) {
		data, err := os.ReadFile(file)
		require.NoError(t, err)
		golden.Write(data)
	}
	src, err := os.ReadFile("codes.go")
	require.NoError(t, err)
	for _, c := range Codes() {
		inCode = append(inCode, string(c.Code)+": "+c.Title)
		shown := strings.Contains(golden.String(), string(c.Code)+`"`) || strings.Contains(golden.String(), "error "+string(c.Code)+":")
		require.True(t, shown || c.Code == codeLimit, "no golden file shows %s", c.Code)
	}
	require.Equal(t, inCode, inDoc)
	require.Equal(t, len(inCode), strings.Count(string(src), `Code = "SG`), "a code is missing in Codes")
}

// TestOpsAreInTheManual: the op table of docs/ir.md is the op table.
func TestOpsAreInTheManual(t *testing.T) {
	doc, err := os.ReadFile("../docs/ir.md")
	require.NoError(t, err)
	for _, row := range opRows() {
		require.Contains(t, string(doc), row, "docs/ir.md lacks this row, or has an old form of it")
	}
	_, ops, _ := strings.Cut(string(doc), "\n## Ops\n")
	ops, pats, _ := strings.Cut(ops, "\n## Patterns\n")
	require.Equal(t, len(opTable), strings.Count(ops, "\n| `"), "docs/ir.md has rows for ops that do not exist")

	_, err = patterns.Parse("nothing")
	_, names, ok := strings.Cut(err.Error(), "there are ")
	require.True(t, ok)
	for _, name := range strings.Split(names, ", ") {
		require.Contains(t, pats, "| `"+name, "docs/ir.md lacks the pattern")
	}
	for _, target := range targetTable {
		require.Contains(t, string(doc), "| `"+target.Arch+"` | "+strings.Join(target.ISAs, ", ")+" |\n")
	}
}

// opRows are the rows of the manual's op table.
func opRows() []string {
	var rows []string
	for _, d := range opTable {
		sig := strings.TrimPrefix(signature(&d), "it is called as ")
		rows = append(rows, "| `"+sig+"` | "+d.Shape.String()+" | "+d.Formula+" |\n")
	}
	return rows
}

// examples returns the ```sg blocks of a manual, each with the heading above it.
func examples(t *testing.T, file string) (headings, blocks []string) {
	doc, err := os.ReadFile(file)
	require.NoError(t, err)
	heading := ""
	lines := strings.Split(string(doc), "\n")
	for i := 0; i < len(lines); i++ {
		if h, ok := strings.CutPrefix(lines[i], "## "); ok {
			heading = h
		}
		if lines[i] != "```sg" {
			continue
		}
		var b strings.Builder
		for i++; lines[i] != "```"; i++ {
			b.WriteString(lines[i] + "\n")
		}
		block := b.String()
		if !strings.HasPrefix(block, "sparsegen ") {
			block = "sparsegen 1\n" + block
		}
		headings, blocks = append(headings, heading), append(blocks, block)
	}
	require.NotEmpty(t, blocks)
	return headings, blocks
}

// TestExamplesOfErrors: each example of docs/errors.md shows its code, and
// nothing else.
func TestExamplesOfErrors(t *testing.T) {
	headings, blocks := examples(t, "../docs/errors.md")
	shown := map[string]bool{}
	for i, block := range blocks {
		var opt Options
		if strings.Contains(block, "weights") {
			opt = shapesOf(t, "up 1536 512\n")
		}
		_, err := Load("example.sg", []byte(block), opt)
		var list ErrorList
		require.True(t, errors.As(err, &list), headings[i])
		for _, e := range list {
			if code, _, _ := strings.Cut(headings[i], ":"); code != "SG0005" || e.Code != codeEmpty {
				require.Equal(t, code, string(e.Code), block)
			}
			shown[string(e.Code)] = true
		}
	}
	for _, c := range Codes() {
		require.True(t, shown[string(c.Code)] || c.Code == codeLimit, "%s has no example", c.Code)
	}
}

// TestExamplesOfTheManual: the examples of docs/ir.md are right and canonical.
func TestExamplesOfTheManual(t *testing.T) {
	_, blocks := examples(t, "../docs/ir.md")
	for _, block := range blocks {
		_, err := Load("example.sg", []byte(block), Options{})
		require.NoError(t, err, block)
		out, err := Format("example.sg", []byte(block))
		require.NoError(t, err)
		require.Equal(t, strings.Replace(block, "sparsegen 1\nlayer", "sparsegen 1\n\nlayer", 1), string(out))
	}
}
