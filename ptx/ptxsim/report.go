package ptxsim

import (
	"fmt"
	"io"
	"math/bits"
	"slices"
	"strings"
	"text/tabwriter"
)

// Report is what the instructions of a run did to the memories.
type Report struct {
	Lines []LineReport // instructions that were executed, in the order of the text
}

// LineReport counts the executions of one instruction by warps.
type LineReport struct {
	Line      int
	Text      string
	Times     int64 // executions
	Lanes     int64 // lanes of them
	Sectors   int64 // of 32 bytes of device memory that were touched
	Ideal     int64 // sectors, were the bytes side by side
	Waves     int64 // passes over the banks of shared memory
	Conflicts int64 // passes beyond those that the bytes need
}

func newReport(p *program) *Report {
	r := &Report{}
	r.Lines = make([]LineReport, len(p.code))
	for k := range p.code {
		i := &p.code[k]
		r.Lines[k] = LineReport{Line: i.line, Text: i.text}
		i.pc = k
	}
	return r
}

func (r *Report) count(i *instr, _ *warp, m uint32) {
	l := &r.Lines[i.pc]
	l.Times++
	l.Lanes += int64(bits.OnesCount32(m))
}

// Executed lists the instructions that ran.
func (r *Report) Executed() []LineReport {
	return slices.DeleteFunc(slices.Clone(r.Lines), func(l LineReport) bool { return l.Times == 0 })
}

// access counts what an access of n bytes a lane costs.
func (r *Report) access(i *instr, _ *warp, s space, at *lanes, m uint32, n int) {
	l := &r.Lines[i.pc]
	if s == sharedSpace {
		waves, least := banks(at, m, n)
		l.Waves += int64(waves)
		l.Conflicts += int64(waves - least)
		return
	}
	if s != globalSpace && (s != genericSpace || at[bits.TrailingZeros32(m)&31]&genericShared != 0) {
		return
	}
	var sectors [64]uint64
	count := 0
	for k := range 32 {
		if m>>k&1 == 0 {
			continue
		}
		for a := at[k] >> 5; a <= (at[k]+uint64(n)-1)>>5; a++ {
			if !slices.Contains(sectors[:count], a) && count < len(sectors) {
				sectors[count] = a
				count++
			}
		}
	}
	l.Sectors += int64(count)
	l.Ideal += int64((bits.OnesCount32(m)*n + 31) / 32)
}

// banks counts the passes over 32 banks of 4 bytes that an access takes, and how
// many it takes at least: lanes go in groups whose bytes fill all banks once.
func banks(at *lanes, m uint32, n int) (waves, least int) {
	group := min(32, max(1, 128/max(n, 4)))
	for from := 0; from < 32; from += group {
		var seen [32][]uint64
		most := 0
		for l := from; l < from+group; l++ {
			if m>>l&1 == 0 {
				continue
			}
			for b := uint64(0); b < uint64(n); b += 4 {
				word := (at[l] + b) >> 2
				bank := word & 31
				if !slices.Contains(seen[bank], word) {
					seen[bank] = append(seen[bank], word)
					most = max(most, len(seen[bank]))
				}
			}
		}
		waves += most
		if most > 0 {
			least++
		}
	}
	return waves, least
}

// WriteText prints a table of the instructions that move memory badly, or of all
// that move memory.
func (r *Report) WriteText(w io.Writer, all bool) error {
	t := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	fmt.Fprintln(t, "line\ttimes\tsectors\tideal\tpasses\tconflicts\tinstruction")
	for _, l := range r.Lines {
		if l.Times == 0 || l.Sectors+l.Waves == 0 || !all && l.Conflicts == 0 && l.Sectors <= l.Ideal {
			continue
		}
		fmt.Fprintf(t, "%d\t%d\t%d\t%d\t%d\t%d\t%s\n", l.Line, l.Times, l.Sectors, l.Ideal, l.Waves, l.Conflicts, l.Text)
	}
	return t.Flush()
}

// Event is one thing that warps and copies do to each other.
type Event struct {
	Block, Warp int    // Warp is -1 for what happens by itself
	Line        int    // of the instruction, 0 for what happens by itself
	Text        string // of the instruction, or what happens
}

func (e Event) String() string {
	if e.Warp < 0 {
		return fmt.Sprintf("block %d          %s", e.Block, e.Text)
	}
	return fmt.Sprintf("block %d warp %-2d  %4d: %s", e.Block, e.Warp, e.Line, e.Text)
}

func (m *machine) trace(w *warp, i *instr) {
	if m.o.Trace != nil {
		m.o.Trace(Event{w.cta.number, w.id, i.line, short(i.text)})
	}
}

// short is the text of an instruction with the middle of long vectors left out.
func short(text string) string {
	from, to := strings.Index(text, "{"), strings.Index(text, "}")
	if from < 0 || to < from {
		return text
	}
	list := strings.Split(text[from+1:to], ", ")
	if len(list) <= 4 {
		return text
	}
	return text[:from+1] + list[0] + " ... " + list[len(list)-1] + text[to:]
}

func (m *machine) event(c *cta, text string) {
	if m.o.Trace != nil {
		m.o.Trace(Event{c.number, -1, 0, text})
	}
}
