package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
)

// topology is what an .smtx file holds: a matrix's shape and where it is not
// zero.
type topology struct {
	rows, cols int
	keep       []bool // [rows, cols]
}

// maxElements bounds what a file may ask for: 256 Mi elements.
const maxElements = 1 << 28

// readTopology reads a file of three lines: "rows, cols, nnz", rows+1 offsets,
// nnz column indices.
func readTopology(path string) (*topology, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	t, err := parseTopology(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return t, nil
}

func parseTopology(r io.Reader) (*topology, error) {
	in := bufio.NewReader(r)
	line := 0
	ints := func(want int) ([]int, error) {
		line++
		text, err := in.ReadString('\n')
		if err != nil && err != io.EOF {
			return nil, err
		}
		fields := strings.FieldsFunc(text, func(r rune) bool { return r == ',' || r == ' ' || r == '\n' || r == '\r' || r == '\t' })
		if len(fields) != want {
			return nil, fmt.Errorf("line %d: %d numbers, want %d", line, len(fields), want)
		}
		v := make([]int, want)
		for i, f := range fields {
			if v[i], err = strconv.Atoi(f); err != nil || v[i] < 0 {
				return nil, fmt.Errorf("line %d, number %d: %q is not a count", line, i+1, f)
			}
		}
		return v, nil
	}
	head, err := ints(3)
	if err != nil {
		return nil, err
	}
	rows, cols, nnz := head[0], head[1], head[2]
	if rows < 1 || cols < 1 || rows > maxElements/cols || nnz > rows*cols {
		return nil, fmt.Errorf("line 1: shape [%d, %d] with %d non-zeros", rows, cols, nnz)
	}
	offsets, err := ints(rows + 1)
	if err != nil {
		return nil, err
	}
	columns, err := ints(nnz)
	if err != nil {
		return nil, err
	}
	t := &topology{rows, cols, make([]bool, rows*cols)}
	if offsets[0] != 0 || offsets[rows] != nnz {
		return nil, fmt.Errorf("line 2: offsets run from %d to %d, want 0 to %d", offsets[0], offsets[rows], nnz)
	}
	for r := range rows {
		if offsets[r+1] < offsets[r] || offsets[r+1] > nnz {
			return nil, fmt.Errorf("line 2, number %d: offset %d after %d", r+2, offsets[r+1], offsets[r])
		}
		for i := offsets[r]; i < offsets[r+1]; i++ {
			if columns[i] >= cols {
				return nil, fmt.Errorf("line 3, number %d: column %d of %d", i+1, columns[i], cols)
			}
			t.keep[r*cols+columns[i]] = true
		}
	}
	return t, nil
}
