package patterns

import (
	"math"
	"strconv"
)

// call hands the arguments of one written pattern to its parse function, in
// order and with their places. Its methods fail as the parser does.
type call struct {
	*node
	usage string
	next  int
}

// more reports whether a positional argument is left.
func (c *call) more() bool { return c.next < len(c.args) && c.args[c.next].key == "" }

// take is the next positional argument, named in messages.
func (c *call) take(what string) arg {
	if !c.more() {
		fail(c.pos, "%s lacks %s; it is written %s", c.name, what, c.usage)
	}
	c.next++
	return c.args[c.next-1]
}

// option is the argument key=value, if it is there; options follow the
// positional arguments.
func (c *call) option(key string) (arg, bool) {
	if c.next < len(c.args) && c.args[c.next].key == key {
		c.next++
		return c.args[c.next-1], true
	}
	return arg{}, false
}

// done fails on an argument that nobody took.
func (c *call) done() {
	if c.next < len(c.args) {
		a := c.args[c.next]
		if a.key != "" {
			fail(a.pos, "%s has no option %q here; it is written %s", c.name, a.key, c.usage)
		}
		fail(a.pos, "%s has too many arguments; it is written %s", c.name, c.usage)
	}
}

// pattern is the next argument, a pattern.
func (c *call) pattern() Pattern {
	a := c.take("a pattern")
	if a.node == nil {
		fail(a.pos, "%s: expected a pattern, found a number", c.name)
	}
	return build(a.node)
}

// axis is the next argument, rows or cols.
func (c *call) axis() Axis {
	a := c.take("rows or cols")
	if a.node != nil && len(a.node.args) == 0 {
		for _, x := range []Axis{RowAxis, ColAxis} {
			if a.node.name == x.String() {
				return x
			}
		}
	}
	fail(a.pos, "%s: expected rows or cols", c.name)
	return 0
}

// int is the next argument, an integer in lo..hi.
func (c *call) int(what string, lo, hi int) int { return c.toInt(c.take(what), what, lo, hi) }

// span is the next argument, A:B, or A for A:A+1.
func (c *call) span(what string) (lo, hi int) {
	a := c.take(what)
	end := a.hi
	a.hi = ""
	lo = c.toInt(a, what, 0, maxExtent-1)
	if end == "" {
		return lo, lo + 1
	}
	hi = c.toInt(arg{pos: a.pos, lo: end}, "the end of "+what, 0, maxExtent)
	if hi <= lo {
		fail(a.pos, "%s: range %d:%d is empty", c.name, lo, hi)
	}
	return lo, hi
}

func (c *call) toInt(a arg, what string, lo, hi int) int {
	n, err := strconv.Atoi(a.lo)
	if a.node != nil || a.hi != "" || err != nil {
		fail(a.pos, "%s: %s must be a whole number", c.name, what)
	}
	if n < lo || n > hi {
		fail(a.pos, "%s: %s is %d, outside %d..%d", c.name, what, n, lo, hi)
	}
	return n
}

// sparsity is the option sparsity=S, or 0.
func (c *call) sparsity() float64 {
	a, ok := c.option("sparsity")
	if !ok {
		return 0
	}
	s, err := strconv.ParseFloat(a.lo, 64)
	if a.node != nil || a.hi != "" || err != nil {
		fail(a.pos, "%s: sparsity must be a number", c.name)
	}
	if s < 0 || s >= 1 || math.Signbit(s) {
		fail(a.pos, "%s: sparsity is %s, outside 0 <= S < 1", c.name, a.lo)
	}
	return s
}

// formatSparsity is the option as written behind other arguments, or nothing.
func formatSparsity(before string, s float64) string {
	if s == 0 {
		return ""
	}
	return before + "sparsity=" + strconv.FormatFloat(s, 'f', -1, 64)
}

// budget is how many of total things a sparsity keeps at most.
func budget(total int, sparsity float64) int {
	if sparsity == 0 {
		return total
	}
	return max(1, int(math.Round((1-sparsity)*float64(total))))
}
