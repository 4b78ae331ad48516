package ir

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"
)

// Error is one mistake in a spec.
type Error struct {
	Pos  Pos
	Code Code   // explained in docs/errors.md
	Msg  string // what is wrong, without the place and the code
	Hint string // how to repair it, or ""
	Line string // the source line, or ""
}

// Error is the first line of the text form: file:line:col: error CODE: message.
func (e *Error) Error() string {
	return fmt.Sprintf("%s: error %s: %s", e.Pos, e.Code, e.Msg)
}

// Text is the form for people: the Error line, the source line, a caret under
// the place, and the hint. It ends with a newline.
func (e *Error) Text() string {
	var b strings.Builder
	b.WriteString(e.Error())
	b.WriteByte('\n')
	if e.Line != "" {
		line, caret := clip(e.Line, e.Pos.Col)
		fmt.Fprintf(&b, "\t%s\n\t%s^\n", line, caret)
	}
	if e.Hint != "" {
		fmt.Fprintf(&b, "\thelp: %s\n", e.Hint)
	}
	return b.String()
}

// clip returns the part of a source line around a column, safe for a terminal,
// and the white space that puts a caret under the column.
func clip(line string, col int) (text, indent string) {
	const before, width = 90, 120 // bytes
	at := min(max(col-1, 0), len(line))
	start := 0
	if at > before {
		start = at - before
		for start < at && !utf8.RuneStart(line[start]) {
			start++
		}
	}
	end := len(line)
	if end-start > width {
		end = max(start+width, at)
		for end < len(line) && !utf8.RuneStart(line[end]) {
			end++
		}
	}
	var t, in strings.Builder
	if start > 0 {
		t.WriteString("... ")
		in.WriteString("    ")
	}
	for i, r := range line[start:end] {
		space := byte(' ')
		switch {
		case r == '\t':
			space = '\t'
		case r < ' ' || r == 0x7f || r == utf8.RuneError:
			r = '?'
		}
		t.WriteRune(r)
		if start+i < at {
			in.WriteByte(space)
		}
	}
	if end < len(line) {
		t.WriteString(" ...")
	}
	return t.String(), in.String()
}

// maxErrors is how many errors one run shows.
const maxErrors = 10

// ErrorList holds what is wrong with a spec, in the order of its lines.
type ErrorList []*Error

// Error is one line an error, at most ten.
func (l ErrorList) Error() string {
	var b strings.Builder
	for i, e := range l.shown() {
		if i > 0 {
			b.WriteByte('\n')
		}
		b.WriteString(e.Error())
	}
	if more := l.more(); more != "" {
		b.WriteString("\n" + more)
	}
	return b.String()
}

// WriteText writes each error with its source line, caret and hint, at most ten.
func (l ErrorList) WriteText(w io.Writer) error {
	for _, e := range l.shown() {
		if _, err := io.WriteString(w, e.Text()); err != nil {
			return err
		}
	}
	if more := l.more(); more != "" {
		_, err := io.WriteString(w, more+"\n")
		return err
	}
	return nil
}

// WriteJSON writes one JSON object a line and an error, with the keys file,
// line, col, code, message and, where there is one, hint. It writes them all.
func (l ErrorList) WriteJSON(w io.Writer) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	for _, e := range l {
		err := enc.Encode(struct {
			File    string `json:"file"`
			Line    int    `json:"line"`
			Col     int    `json:"col"`
			Code    Code   `json:"code"`
			Message string `json:"message"`
			Hint    string `json:"hint,omitempty"`
		}{e.Pos.File, e.Pos.Line, e.Pos.Col, e.Code, e.Msg, e.Hint})
		if err != nil {
			return err
		}
	}
	return nil
}

// WriteGitHub writes one GitHub annotation a line and an error, at most ten
// (GitHub shows ten a step).
func (l ErrorList) WriteGitHub(w io.Writer) error {
	data := strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A")
	property := strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A", ":", "%3A", ",", "%2C")
	for _, e := range l.shown() {
		msg := e.Msg
		if e.Hint != "" {
			msg += "\nhelp: " + e.Hint
		}
		_, err := fmt.Fprintf(w, "::error file=%s,line=%d,col=%d,title=%s::%s\n",
			property.Replace(e.Pos.File), e.Pos.Line, e.Pos.Col, e.Code, data.Replace(msg))
		if err != nil {
			return err
		}
	}
	return nil
}

func (l ErrorList) shown() ErrorList { return l[:min(len(l), maxErrors)] }

func (l ErrorList) more() string {
	if len(l) <= maxErrors {
		return ""
	}
	return fmt.Sprintf("too many errors (%d more)", len(l)-maxErrors)
}

// err sorts the list by place and returns it as an error, or nil when empty.
func (l ErrorList) err() error {
	if len(l) == 0 {
		return nil
	}
	slices.SortStableFunc(l, func(a, b *Error) int {
		if a.Pos.Line != b.Pos.Line {
			return a.Pos.Line - b.Pos.Line
		}
		return a.Pos.Col - b.Pos.Col
	})
	return l
}

// String is file:line:col.
func (p Pos) String() string { return fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Col) }

// suggest returns a hint that names the candidate nearest to a misspelt name,
// or "" when none is near.
func suggest(name string, candidates []string) string {
	best, bestDist := "", 3
	if len(name) < 4 {
		bestDist = 2
	}
	for _, c := range candidates {
		if d := editDistance(name, c, bestDist); d < bestDist {
			best, bestDist = c, d
		}
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf("did you mean %q?", best)
}

// editDistance is the Levenshtein distance of a and b, or limit when it is at
// least limit.
func editDistance(a, b string, limit int) int {
	if d := len(a) - len(b); d >= limit || -d >= limit {
		return limit
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diag := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diag
			if a[i] != b[j] {
				cost++
			}
			diag = row[j+1]
			row[j+1] = min(cost, row[j]+1, diag+1)
		}
	}
	return min(row[len(b)], limit)
}
