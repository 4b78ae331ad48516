package ir

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

// tokenKind is the kind of a token. An operator or bracket of one byte is that
// byte.
type tokenKind uint8

const (
	tokEOF tokenKind = iota + utf8.RuneSelf
	tokName
	tokNumber
	tokString
	tokWeight // w"name"
	tokList   // @name
	tokRange  // ..
	tokEq     // ==
	tokNe     // !=
	tokLe     // <=
	tokGe     // >=
)

// String is an operator as a spec writes it.
func (k tokenKind) String() string {
	if k == tokRange {
		return ".."
	}
	return string(rune(k))
}

// token is a piece of the source, small because a spec has many.
type token struct {
	kind        tokenKind
	nl          bool // first token of its line
	start, stop int32
}

// at is the offset of the token's first byte, end the one after its last.
func (t token) at() int  { return int(t.start) }
func (t token) end() int { return int(t.stop) }

// comment is a // comment of the source, from at to end.
type comment struct{ at, end int }

// lex cuts the source into tokens, the last of which is tokEOF, and comments.
// What cannot be a token is reported and left out.
func lex(src *source, report func(at int, code Code, msg, hint string)) ([]token, []comment) {
	s := src.text
	tokens := make([]token, 0, len(s)/3+8)
	var comments []comment
	nl := true
	add := func(kind tokenKind, at, end int) {
		tokens = append(tokens, token{kind, nl, int32(at), int32(end)})
		nl = false
	}
	for i := 0; i < len(s); {
		c := s[i]
		switch {
		case c == '\n':
			nl = true
			i++
		case c == ' ' || c == '\t' || c == '\r':
			i++
		case c == '/' && strings.HasPrefix(s[i:], "//"):
			end := lineEnd(s, i)
			comments = append(comments, comment{i, end})
			i = end
		case c == '"' || c == 'w' && i+1 < len(s) && s[i+1] == '"':
			kind, open := tokString, i
			if c == 'w' {
				kind, open = tokWeight, i+1
			}
			end, ok := stringEnd(s, open)
			switch {
			case !ok:
				report(open, codeString, "the string is not closed on its line", `end it with "`)
			case !validQuoted(s[open:end]):
				report(open, codeString, "the string holds an unknown escape", `write \\ for a backslash and \" for a quote`)
			default:
				add(kind, i, end)
			}
			i = end
		case c == '@' && i+1 < len(s) && isLetter(s[i+1]):
			end := nameEnd(s, i+1)
			add(tokList, i, end)
			i = end
		case isLetter(c):
			end := nameEnd(s, i)
			add(tokName, i, end)
			i = end
		case isDigit(c):
			end := numberEnd(s, i)
			if !validNumber(s[i:end]) {
				report(i, codeNumber, "cannot read the number "+s[i:end], "write 12, 0.5 or 1e-5")
			} else {
				add(tokNumber, i, end)
			}
			i = end
		default:
			if kind, n := operatorAt(s[i:]); n > 0 {
				add(kind, i, i+n)
				i += n
				continue
			}
			r, n := utf8.DecodeRuneInString(s[i:])
			hint := ""
			switch c {
			case '#':
				hint = "a comment starts with //"
			case '\'':
				hint = "strings stand in double quotes"
			case '?':
				hint = "an extent that is known when the layer runs has a name: f32[t, 512]"
			}
			report(i, codeChar, "unexpected character "+strconv.QuoteRune(r), hint)
			i += n
		}
	}
	nl = true
	add(tokEOF, len(s), len(s))
	return tokens, comments
}

func isLetter(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || c == '_'
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

// operatorAt is the operator or bracket that s starts with, and its length; 0
// when there is none.
func operatorAt(s string) (kind tokenKind, n int) {
	if len(s) > 1 {
		switch s[:2] {
		case "..":
			return tokRange, 2
		case "==":
			return tokEq, 2
		case "!=":
			return tokNe, 2
		case "<=":
			return tokLe, 2
		case ">=":
			return tokGe, 2
		}
	}
	if len(s) > 0 {
		switch c := s[0]; c {
		case '(', ')', '[', ']', '{', '}', ',', ';', ':', '.', '=', '|', '&', '<', '>', '+', '-', '*', '/':
			return tokenKind(c), 1
		}
	}
	return 0, 0
}

// lineEnd is the offset of the line end at or after i, without a carriage return.
func lineEnd(s string, i int) int {
	if n := strings.IndexByte(s[i:], '\n'); n >= 0 {
		return i + n
	}
	return len(s)
}

// validNumber reports whether a number can be read. Most are a few digits.
func validNumber(s string) bool {
	if len(s) < 20 && digitsEnd(s, 0) == len(s) {
		return true
	}
	_, err := strconv.ParseFloat(s, 64)
	return err == nil
}

func digitsEnd(s string, i int) int {
	for i < len(s) && isDigit(s[i]) {
		i++
	}
	return i
}

func nameEnd(s string, i int) int {
	for i < len(s) && (isLetter(s[i]) || isDigit(s[i])) {
		i++
	}
	return i
}

// numberEnd takes digits, a fraction only when a digit follows its point (so
// that 1..128 is a range), an exponent, and letters stuck to them, which make
// the number unreadable as a whole.
func numberEnd(s string, i int) int {
	i = digitsEnd(s, i)
	if i+1 < len(s) && s[i] == '.' && isDigit(s[i+1]) {
		i = digitsEnd(s, i+1)
	}
	if i < len(s) && (s[i] == 'e' || s[i] == 'E') {
		j := i + 1
		if j < len(s) && (s[j] == '+' || s[j] == '-') {
			j++
		}
		if j < len(s) && isDigit(s[j]) {
			i = digitsEnd(s, j)
		}
	}
	return nameEnd(s, i)
}

// stringEnd is the offset after the quote that closes the string opened at i,
// or the end of the line when none does.
func stringEnd(s string, i int) (end int, ok bool) {
	for j := i + 1; j < len(s) && s[j] != '\n'; j++ {
		switch s[j] {
		case '\\':
			j++
			if j < len(s) && s[j] == '\n' {
				return j, false
			}
		case '"':
			return j + 1, true
		}
	}
	return lineEnd(s, i), false
}

func validQuoted(q string) bool {
	_, err := unquote(q)
	return err == nil
}

// unquote is the value of a quoted string, which has no line end in it.
func unquote(q string) (string, error) {
	if strings.IndexByte(q, '\\') < 0 {
		return q[1 : len(q)-1], nil
	}
	return strconv.Unquote(q)
}
