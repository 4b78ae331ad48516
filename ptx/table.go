package ptx

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// A family is a regular group of instructions, written once.
//
// form is a pattern with alternatives in braces: "{add,sub}.{u32,s32}". sig is
// the list of operands, in which $n stands for what the n-th braces chose;
// " / " separates alternative lists. An operand is
//
//	T      a source of type T: a register or an immediate
//	T!     a source that must be a register
//	T<     a source or result whose register may be wider (ld, st)
//	T*n    a vector of n
//	T:a..b     a source whose immediates are limited     T:a..b/m  to multiples of m
//	T?     a predicate source that may be negated
//	T@     a predicate source that may be the immediate 0 or 1
//	=T     a result     =T_  a result that may be _     _  one that must be
//	=T|p   a result with an optional second, predicate result     =T|p!  where that must be
//	+T     a register read and written
//	~T*n   an accumulator: read and written until a wgmma.wait_group retires it
//	&T     a register read until a wgmma.wait_group retires it
//	#a..b  an integer immediate in the range, or #a,b one of the list
//	[s]    an address in shared memory (32- or 64-bit register, or an array)
//	[g]    a global or generic address (64-bit register)
//	[p]    an address in parameter space
//	[t2]   a tensor map and two coordinates
type family struct {
	form, sig string
	need      need
}

// need is what a family needs: the first PTX ISA that has it, and a target.
type need struct {
	isa    ISA
	target Target
}

// Shorthands of the common needs.
var (
	any80   = need{70, Target{SM: 80}}             // everywhere that we emit for
	hopper  = need{80, Target{SM: 90}}             // Hopper, portable
	hopperA = need{80, Target{SM: 90, Arch: true}} // Hopper only
	fp8     = need{81, Target{SM: 89}}             // e4m3, e5m2
	isa     = func(v ISA, sm int) need { return need{v, Target{SM: sm}} }
)

type role uint8

const (
	roleRead role = iota
	roleWrite
	roleUpdate     // read and written
	roleAccumulate // read and written until retired
	roleReadLate   // read until retired
)

type slotKind uint8

const (
	slotValue slotKind = iota
	slotImm
	slotMem
	slotSink
)

// slot is one operand of a row.
type slot struct {
	role     role
	kind     slotKind
	typ      Type
	n        int // vector length, 0 a scalar
	regOnly  bool
	wider    bool
	negable  bool
	sink     bool
	boolImm  bool // the immediates 0 and 1 stand for a predicate
	pair     bool
	pairOnly bool
	lo, hi   int64 // of an immediate
	multiple int64
	set      []int64
	space    byte // of an address
	dims     int  // of a tensor address
	describe string
}

// row is one instruction: a form with one operand list.
type row struct {
	form  string
	slots []slot
	need  need
}

// table maps a form to its rows.
type table struct {
	rows  map[string][]*row
	forms []string // sorted
}

var instructions = sync.OnceValue(func() *table {
	t := &table{rows: map[string][]*row{}}
	sigs := map[string][]slot{}
	for _, fs := range [][]family{
		arithFamilies, bitFamilies, floatFamilies, convertFamilies(), moveFamilies(),
		memoryFamilies(), syncFamilies(), copyFamilies(), matrixFamilies(), wgmmaFamilies(),
	} {
		for _, f := range fs {
			t.add(f, sigs)
		}
	}
	for f := range t.rows {
		t.forms = append(t.forms, f)
	}
	slices.Sort(t.forms)
	return t
})

func (t *table) add(f family, sigs map[string][]slot) {
	for _, e := range expand(f.form) {
		for _, alt := range strings.Split(f.sig, " / ") {
			sig := substitute(alt, e.picks)
			slots, ok := sigs[sig]
			if !ok {
				for _, tok := range strings.Fields(sig) {
					slots = append(slots, parseSlot(tok))
				}
				sigs[sig] = slots
			}
			t.rows[e.form] = append(t.rows[e.form], &row{form: e.form, slots: slots, need: f.need})
		}
	}
}

type expansion struct {
	form  string
	picks []string
}

func expand(pattern string) []expansion {
	out := []expansion{{}}
	for pattern != "" {
		before, rest, found := strings.Cut(pattern, "{")
		for i := range out {
			out[i].form += before
		}
		if !found {
			break
		}
		var alts string
		alts, pattern, _ = strings.Cut(rest, "}")
		var next []expansion
		for _, e := range out {
			for _, a := range strings.Split(alts, ",") {
				next = append(next, expansion{e.form + a, append(slices.Clone(e.picks), strings.TrimPrefix(a, "."))})
			}
		}
		out = next
	}
	return out
}

func substitute(sig string, picks []string) string {
	for i, p := range picks {
		sig = strings.ReplaceAll(sig, "$"+strconv.Itoa(i+1), p)
	}
	return sig
}

// parseSlot reads one operand of a signature. The signatures are constants of
// this package, so a bad one is a bug and panics; the tests build the table.
func parseSlot(tok string) slot {
	s := slot{describe: tok}
	switch tok[0] {
	case '=':
		s.role, tok = roleWrite, tok[1:]
	case '+':
		s.role, tok = roleUpdate, tok[1:]
	case '~':
		s.role, tok = roleAccumulate, tok[1:]
	case '&':
		s.role, tok = roleReadLate, tok[1:]
	case '#':
		s.kind = slotImm
		s.parseImm(tok[1:])
		return s
	case '_':
		s.kind, s.sink = slotSink, true
		return s
	case '[':
		s.kind, s.space = slotMem, tok[1]
		if s.space == 't' {
			s.dims = int(tok[2] - '0')
		}
		return s
	}
	for {
		var found bool
		if tok, found = strings.CutSuffix(tok, "|p!"); found {
			s.pair, s.pairOnly = true, true
		} else if tok, found = strings.CutSuffix(tok, "!"); found {
			s.regOnly = true
		} else if tok, found = strings.CutSuffix(tok, "<"); found {
			s.wider = true
		} else if tok, found = strings.CutSuffix(tok, "?"); found {
			s.negable = true
		} else if tok, found = strings.CutSuffix(tok, "@"); found {
			s.boolImm = true
		} else if tok, found = strings.CutSuffix(tok, "_"); found {
			s.sink = true
		} else if tok, found = strings.CutSuffix(tok, "|p"); found {
			s.pair = true
		} else {
			break
		}
	}
	tok, limits, limited := strings.Cut(tok, ":")
	if limited {
		limits, m, _ := strings.Cut(limits, "/")
		s.parseImm(limits)
		s.multiple, _ = strconv.ParseInt(m, 0, 64)
		s.multiple = max(s.multiple, 1)
	}
	name, n, vector := strings.Cut(tok, "*")
	if vector {
		s.n, _ = strconv.Atoi(n)
	}
	var ok bool
	if s.typ, ok = typeByName(name); !ok || vector && s.n == 0 {
		panic(fmt.Sprintf("ptx: bad operand %q in the instruction table", s.describe))
	}
	return s
}

func (s *slot) parseImm(text string) {
	if lo, hi, found := strings.Cut(text, ".."); found {
		s.lo, _ = strconv.ParseInt(lo, 0, 64)
		s.hi, _ = strconv.ParseInt(hi, 0, 64)
		return
	}
	for _, v := range strings.Split(text, ",") {
		n, err := strconv.ParseInt(v, 0, 64)
		if err != nil {
			panic(fmt.Sprintf("ptx: bad immediate %q in the instruction table", text))
		}
		s.set = append(s.set, n)
	}
}
