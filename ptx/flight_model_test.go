package ptx_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sparsegen/sparsegen/ptx"
)

// TestHazardsAgreeWithAModel compares the builder's verdict over random programs
// with runs of them: a write to a metadata register is a hazard if, in some
// run, a wgmma of a group that no wait has retired still uses it.
func TestHazardsAgreeWithAModel(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	verdicts := map[bool]int{}
	for range 800 {
		prog := randomProgram(r, 8, 2)
		w := newWG()
		meta := w.Regs(ptx.B32, 3)
		never := w.SetP("eq", w.TidX(), -1)
		for _, e := range meta {
			w.load(e)
		}
		prog.build(w, meta)
		w.commit()
		w.wait(0)
		for _, e := range meta {
			w.anchor(never, e)
		}
		_, err := w.m.Text()
		if err != nil && strings.Contains(err.Error(), " more") {
			continue // the report is cut off
		}
		got := err != nil && strings.Contains(err.Error(), ", before the wgmma.wait_group")
		want := false
		// Loops run none, one, two or five times, conditions either way.
		for range 60 {
			want = want || prog.run(&model{}, r)
		}
		require.Equal(t, want, got, "%v\n%v", prog, err)
		verdicts[want]++
	}
	require.Greater(t, verdicts[true], 80)
	require.Greater(t, verdicts[false], 80)
}

// program is a list of statements: "write 1", "mma 1", "commit", "wait 2", and
// loops and ifs with bodies.
type program []statement

type statement struct {
	op   string
	n    int
	body program
}

func (s statement) String() string {
	if s.body != nil {
		return fmt.Sprint(s.op, s.body)
	}
	return fmt.Sprint(s.op, s.n)
}

func randomProgram(r *rand.Rand, size, depth int) program {
	p := program{}
	for range 1 + r.IntN(size) {
		switch n := r.IntN(12); {
		case n < 3:
			p = append(p, statement{op: "mma", n: r.IntN(3)}, statement{op: "commit"})
		case n < 4:
			p = append(p, statement{op: "mma", n: r.IntN(3)})
		case n < 5:
			p = append(p, statement{op: "commit"})
		case n < 8:
			p = append(p, statement{op: "wait", n: r.IntN(3)})
		case n < 10 || depth == 0:
			p = append(p, statement{op: "write", n: r.IntN(3)})
		case n == 10:
			p = append(p, statement{op: "loop", body: randomProgram(r, 5, depth-1)})
		default:
			p = append(p, statement{op: "if", body: randomProgram(r, 4, depth-1)})
		}
	}
	return p
}

func (p program) build(w *wg, meta []ptx.Reg) {
	for _, s := range p {
		switch s.op {
		case "mma":
			w.fence()
			w.sparse(meta[s.n])
		case "commit":
			w.commit()
		case "wait":
			w.wait(s.n)
		case "write":
			w.load(meta[s.n])
		case "loop":
			w.For(0, w.TidX(), 1, func(ptx.Reg) { s.body.build(w, meta) })
		case "if":
			w.If(w.SetP("lt", w.TidX(), 64), func() { s.body.build(w, meta) })
		}
	}
}

// model is the state of one run: the registers that each group uses, oldest
// first, the last one not yet committed.
type model struct {
	groups [][]int
	open   []int
}

// run reports whether the run has a hazard.
func (p program) run(m *model, r *rand.Rand) bool {
	hazard := false
	for _, s := range p {
		switch s.op {
		case "mma":
			m.open = append(m.open, s.n)
		case "commit":
			m.groups = append(m.groups, m.open)
			m.open = nil
		case "wait":
			m.groups = m.groups[max(0, len(m.groups)-s.n):]
		case "write":
			for _, g := range append(slices.Clone(m.groups), m.open) {
				hazard = hazard || slices.Contains(g, s.n)
			}
		case "loop":
			for range []int{0, 1, 2, 5}[r.IntN(4)] {
				hazard = s.body.run(m, r) || hazard
			}
		case "if":
			if r.IntN(2) == 0 {
				hazard = s.body.run(m, r) || hazard
			}
		}
	}
	return hazard
}
