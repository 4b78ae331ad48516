package ir

import (
	"slices"
	"strings"
)

// source is the text of a spec with the offsets of its lines.
type source struct {
	path  string
	text  string
	lines []int // offset of each line's first byte
}

func newSource(path, text string) *source {
	s := &source{path: path, text: text, lines: make([]int, 1, 1+strings.Count(text, "\n"))}
	for i := 0; ; {
		n := strings.IndexByte(text[i:], '\n')
		if n < 0 {
			return s
		}
		i += n + 1
		s.lines = append(s.lines, i)
	}
}

// pos is the place of a byte offset.
func (s *source) pos(at int) Pos {
	line, found := slices.BinarySearch(s.lines, at)
	if !found {
		line--
	}
	return Pos{File: s.path, Line: line + 1, Col: at - s.lines[line] + 1}
}

// line is the text of a line, counted from 1, without its end.
func (s *source) line(n int) string {
	if n < 1 || n > len(s.lines) {
		return ""
	}
	end := len(s.text)
	if n < len(s.lines) {
		end = s.lines[n] - 1
	}
	return strings.TrimSuffix(s.text[s.lines[n-1]:end], "\r")
}

// newError is an error at a byte offset.
func (s *source) newError(at int, code Code, msg, hint string) *Error {
	p := s.pos(at)
	return &Error{Pos: p, Code: code, Msg: msg, Hint: hint, Line: s.line(p.Line)}
}
