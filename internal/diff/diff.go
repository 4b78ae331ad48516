// Package diff compares two texts by lines and prints a unified diff.
//
// This package must not import any other package of this module.
package diff

import (
	"bytes"
	"fmt"
	"strings"
)

// context is the number of equal lines around a change.
const context = 3

// maxEdits bounds the search for a shortest edit script: its memory grows with
// the square of the number of edits. Texts further apart show as replaced whole
// between their common first and last lines.
const maxEdits = 2000

// Unified returns the unified diff that leads from old to new, with the given
// names in its header, or "" where both are equal.
func Unified(oldName, newName string, old, new []byte) string {
	if bytes.Equal(old, new) {
		return ""
	}
	a, b := lines(old), lines(new)
	var out strings.Builder
	fmt.Fprintf(&out, "--- %s\n+++ %s\n", oldName, newName)
	for _, h := range hunks(edits(a, b)) {
		h.write(&out, a, b)
	}
	return out.String()
}

// lines splits a text after its newlines; a last line without one gets the
// usual remark, which also makes it differ from the same line with one.
func lines(text []byte) []string {
	if len(text) == 0 {
		return nil
	}
	l := strings.SplitAfter(string(text), "\n")
	if last := len(l) - 1; l[last] == "" {
		l = l[:last]
	} else {
		l[last] += "\n\\ No newline at end of file\n"
	}
	return l
}

// edit says that lines a0..a1 of the old text become lines b0..b1 of the new.
type edit struct{ a0, a1, b0, b1 int }

// edits is a shortest list of edits, ascending.
func edits(a, b []string) []edit {
	pre := 0
	for pre < len(a) && pre < len(b) && a[pre] == b[pre] {
		pre++
	}
	post := 0
	for post < len(a)-pre && post < len(b)-pre && a[len(a)-1-post] == b[len(b)-1-post] {
		post++
	}
	list := myers(a[pre:len(a)-post], b[pre:len(b)-post])
	for i := range list {
		e := &list[i]
		e.a0, e.a1, e.b0, e.b1 = e.a0+pre, e.a1+pre, e.b0+pre, e.b1+pre
	}
	return list
}

// myers is the greedy algorithm of Myers, "An O(ND) difference algorithm and
// its variations" (1986). v[k] is the furthest old line reached on diagonal
// k = old - new; one snapshot of v a round leads back.
func myers(a, b []string) []edit {
	n, m := len(a), len(b)
	limit := min(n+m, maxEdits)
	v := make([]int, 2*limit+3)
	at := func(k int) *int { return &v[k+limit+1] }
	var rounds [][]int
	for d := 0; d <= limit; d++ {
		for k := -d; k <= d; k += 2 {
			x := 0
			if d > 0 {
				if k == -d || k != d && *at(k - 1) < *at(k + 1) {
					x = *at(k + 1)
				} else {
					x = *at(k - 1) + 1
				}
			}
			for x < n && x-k < m && x >= k && a[x] == b[x-k] {
				x++
			}
			*at(k) = x
			if x >= n && x-k >= m {
				return back(rounds, n, m, limit)
			}
		}
		rounds = append(rounds, append([]int(nil), v[limit+1-d:limit+2+d]...))
	}
	return []edit{{0, n, 0, m}}
}

// back walks from the end of both texts to their beginning. rounds[d] holds v
// on the diagonals -d..d.
func back(rounds [][]int, x, y, limit int) []edit {
	var rev []edit
	add := func(e edit) {
		if len(rev) > 0 {
			if last := &rev[len(rev)-1]; last.a0 == e.a1 && last.b0 == e.b1 {
				last.a0, last.b0 = e.a0, e.b0
				return
			}
		}
		rev = append(rev, e)
	}
	for d := len(rounds); d > 0; d-- {
		prev := rounds[d-1]
		reach := func(k int) int {
			if k < -(d-1) || k > d-1 {
				return -1
			}
			return prev[k+d-1]
		}
		k := x - y
		if k == -d || k != d && reach(k-1) < reach(k+1) {
			px := reach(k + 1)
			add(edit{px, px, px - k - 1, px - k})
			x, y = px, px-k-1
		} else {
			px := reach(k - 1)
			add(edit{px, px + 1, px - k + 1, px - k + 1})
			x, y = px, px-k+1
		}
	}
	for i, j := 0, len(rev)-1; i < j; i, j = i+1, j-1 {
		rev[i], rev[j] = rev[j], rev[i]
	}
	return rev
}

// hunk is a run of edits whose contexts touch.
type hunk []edit

func hunks(list []edit) []hunk {
	var out []hunk
	for _, e := range list {
		if n := len(out); n > 0 {
			if last := out[n-1][len(out[n-1])-1]; e.a0-last.a1 <= 2*context {
				out[n-1] = append(out[n-1], e)
				continue
			}
		}
		out = append(out, hunk{e})
	}
	return out
}

func (h hunk) write(out *strings.Builder, a, b []string) {
	first, last := h[0], h[len(h)-1]
	before := min(context, first.a0)
	after := min(context, len(a)-last.a1)
	a0, a1 := first.a0-before, last.a1+after
	b0, b1 := first.b0-before, last.b1+after
	fmt.Fprintf(out, "@@ -%s +%s @@\n", span(a0, a1), span(b0, b1))
	at := a0
	for _, e := range h {
		put(out, " ", a[at:e.a0])
		put(out, "-", a[e.a0:e.a1])
		put(out, "+", b[e.b0:e.b1])
		at = e.a1
	}
	put(out, " ", a[at:a1])
}

func put(out *strings.Builder, mark string, l []string) {
	for _, s := range l {
		out.WriteString(mark)
		out.WriteString(s)
	}
}

// span is a range of lines as a hunk's header counts: from 1, and an empty one
// by the line before it.
func span(lo, hi int) string {
	switch hi - lo {
	case 0:
		return fmt.Sprintf("%d,0", lo)
	case 1:
		return fmt.Sprint(lo + 1)
	}
	return fmt.Sprintf("%d,%d", lo+1, hi-lo)
}
