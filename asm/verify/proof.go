package verify

import (
	"fmt"
	"slices"
	"strings"
)

// Proof is what was proved of a kernel, in words.
type Proof struct {
	Kernel       string
	Instructions int
	Cases        []Case
	Idle         []Idle
}

// Case is the proof for calls in which the pointer Nil is nil, or none is; where the
// length of vectors is the machine's, for machines where it is Bits.
type Case struct {
	Bits     int64
	Nil      string
	Accesses []Accesses
	Loops    []Loop
	// Steps is an upper bound of the instructions that a call executes, by its
	// integers and sums over its streams.
	Steps string
}

// Accesses are the instructions that read or write an argument's memory.
type Accesses struct {
	Arg           string
	Extent        string // what the contract says of it
	Reads, Writes int    // instructions
}

// Loop is a loop with what changes in it, by the number of its round.
type Loop struct {
	Name     string
	Rounds   string   // at most
	Counter  string   // the name of the round's number, from 0 on
	Advances []string // registers that change
}

func (p *Proof) begin(a *analysis, absent string) {
	c := Case{Bits: a.fn.Bits, Nil: absent}
	for _, r := range a.regions {
		if !r.arg {
			continue
		}
		extent := a.format(r.length) + " bytes"
		if r.rows != nil {
			extent = fmt.Sprintf("%s rows of %s bytes, %s apart", a.format(r.rows), a.format(r.length), a.format(a.syms.poly(r.stride)))
		}
		c.Accesses = append(c.Accesses, Accesses{Arg: r.name, Extent: extent})
	}
	p.Cases = append(p.Cases, c)
}

// count notes that the instruction that is looked at touches an argument.
func (a *analysis) count(arg string, write bool) {
	if a.effects[a.at]&touches != 0 {
		return
	}
	a.effects[a.at] |= touches
	c := &a.proof.Cases[len(a.proof.Cases)-1]
	i := slices.IndexFunc(c.Accesses, func(x Accesses) bool { return x.Arg == arg })
	if write {
		c.Accesses[i].Writes++
	} else {
		c.Accesses[i].Reads++
	}
}

// noteLoop keeps what was proved of a loop, the first time that it is.
func (a *analysis) noteLoop(l *loop, head *state, t *trial) {
	c := &a.proof.Cases[len(a.proof.Cases)-1]
	if slices.ContainsFunc(c.Loops, func(x Loop) bool { return x.Name == l.name }) {
		return
	}
	n := Loop{Name: l.name, Rounds: a.format(t.trips), Counter: a.syms.info[t.i].name}
	for r := range l.writes.all {
		v := head.at(r)
		if !t.steps[r] || !v.number() {
			continue
		}
		place := a.format(v.p)
		if v.k == vPtr {
			place = a.regions[v.region].name + " + " + place
		}
		n.Advances = append(n.Advances, a.placeName(r)+" = "+place)
	}
	c.Loops = append(c.Loops, n)
}

func (a *analysis) noteReturn(s *state) {
	a.cost = most(a.cost, s.cost)
	a.proof.Cases[len(a.proof.Cases)-1].Steps = a.format(a.cost)
}

// Joined makes one proof of those that follow one another and are of one kernel,
// for vectors of several lengths. What has no effect at any of them has none.
func Joined(proofs []*Proof) []*Proof {
	var all []*Proof
	for _, p := range proofs {
		if n := len(all); n > 0 && all[n-1].Kernel == p.Kernel {
			q := all[n-1]
			q.Cases = append(q.Cases, p.Cases...)
			idle := make(map[Idle]bool, len(p.Idle))
			for _, i := range p.Idle {
				idle[i] = true
			}
			q.Idle = slices.DeleteFunc(q.Idle, func(i Idle) bool { return !idle[i] })
			continue
		}
		all = append(all, p)
	}
	return all
}

// String is the proof as text.
func (p *Proof) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %d instructions, proved\n", p.Kernel, p.Instructions)
	for _, c := range p.Cases {
		if len(p.Cases) > 1 {
			where := ""
			if c.Bits > 0 {
				where = fmt.Sprintf("vectors have %d bits and ", c.Bits)
			}
			if c.Nil == "" {
				fmt.Fprintf(&b, "  where %sno pointer is nil:\n", where)
			} else {
				fmt.Fprintf(&b, "  where %s%s is nil:\n", where, c.Nil)
			}
		}
		for _, x := range c.Accesses {
			var does []string
			for _, d := range []struct {
				n    int
				what string
			}{{x.Reads, "read"}, {x.Writes, "write"}} {
				if d.n > 0 {
					does = append(does, fmt.Sprintf("%d %s", d.n, d.what))
				}
			}
			if does == nil {
				continue
			}
			once := ""
			if x.Writes > 0 {
				once = "; each element written once"
			}
			fmt.Fprintf(&b, "  %s: %s; %s, all within%s\n", x.Arg, x.Extent, strings.Join(does, ", "), once)
		}
		for _, l := range c.Loops {
			fmt.Fprintf(&b, "  loop %s: at most %s rounds; at the head of round %s\n", l.Name, l.Rounds, l.Counter)
			for _, s := range l.Advances {
				fmt.Fprintf(&b, "    %s\n", s)
			}
		}
		fmt.Fprintf(&b, "  at most %s instructions a call\n", c.Steps)
	}
	b.WriteString("  no register is read undefined; reserved registers stay; upper vector parts are clear at return\n")
	return b.String()
}
