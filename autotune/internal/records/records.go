// Package records keeps records of measurements as lines of JSON: one for each
// problem, in order, so that lines of different problems merge without conflict.
//
// It must not import anything of sparsegen but internal/atomicfile.
package records

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"github.com/sparsegen/sparsegen/internal/atomicfile"
)

// MaxLine bounds a line's length in bytes.
const MaxLine = 1 << 20

// List is records in the order of compare, by which no two are equal.
type List[R any] struct {
	Records []R
	compare func(a, b R) int
}

// New is an empty list.
func New[R any](compare func(a, b R) int) *List[R] { return &List[R]{compare: compare} }

// Put adds a record in place of an equal one.
func (l *List[R]) Put(r R) {
	i, found := slices.BinarySearchFunc(l.Records, r, l.compare)
	if found {
		l.Records[i] = r
	} else {
		l.Records = slices.Insert(l.Records, i, r)
	}
}

// Find is the record that is equal to like.
func (l *List[R]) Find(like R) (r R, found bool) {
	if l == nil {
		return r, false
	}
	i, found := slices.BinarySearchFunc(l.Records, like, l.compare)
	if found {
		r = l.Records[i]
	}
	return r, found
}

// Read adds the records of a file's text for which check gives no error; of equal ones
// the later counts. What it leaves out is in notes, a line each.
func (l *List[R]) Read(file string, text []byte, check func(R) error) (notes []string) {
	lines := bufio.NewScanner(bytes.NewReader(text))
	lines.Buffer(nil, MaxLine)
	n := 0
	for lines.Scan() {
		n++
		if len(bytes.TrimSpace(lines.Bytes())) == 0 {
			continue
		}
		var r R
		err := json.Unmarshal(lines.Bytes(), &r)
		if err != nil {
			err = fmt.Errorf("not a record (%w)", err)
		} else if err = check(r); err == nil {
			l.Put(r)
			continue
		}
		notes = append(notes, fmt.Sprintf("%s:%d: %v; left out", file, n, err))
	}
	if err := lines.Err(); err != nil {
		notes = append(notes, fmt.Sprintf("%s:%d: %v; the rest is left out", file, n+1, err))
	}
	return notes
}

// Write replaces a file by these records, making its folder.
func Write[R any](file string, rs []R) error {
	if err := os.MkdirAll(filepath.Dir(file), 0o777); err != nil {
		return err
	}
	return atomicfile.Write(file, func(w io.Writer) error {
		enc := json.NewEncoder(w)
		enc.SetEscapeHTML(false)
		for _, r := range rs {
			if err := enc.Encode(r); err != nil {
				return err
			}
		}
		return nil
	})
}
