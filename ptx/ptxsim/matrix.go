package ptxsim

import (
	"fmt"
	"math"

	"github.com/sparsegen/sparsegen/internal/narrow"
	"github.com/sparsegen/sparsegen/ptx/layout"
)

// product is a matrix multiplication of a warp's 16 rows: D[16, n] += A[16, k]·B[k, n].
type product struct {
	size    int // bytes of an element of both operands
	n, k    int
	sparse  bool
	integer bool
	format  narrow.Format // where not
	acc     layout.Fragment
	meta    layout.Fragment
}

func newProduct(n, k int, typ string, sparse bool) (*product, error) {
	x := &product{n: n, k: k, sparse: sparse, acc: layout.Accumulator(n), format: formats[typ]}
	switch typ {
	case "bf16", "f16":
		x.size = 2
	case "e4m3", "e5m2":
		x.size = 1
	case "s8":
		x.size, x.integer = 1, true
	default:
		return nil, fmt.Errorf("operands of type %s", typ)
	}
	x.meta = layout.Metadata(x.size)
	return x, nil
}

// stored is how many columns of A are stored.
func (x *product) stored() int {
	if x.sparse {
		return x.k / 2
	}
	return x.k
}

func (x *product) decode(code uint64) float64 {
	if x.integer {
		return float64(int8(code))
	}
	return float64(x.format.Decode(uint16(code)))
}

// add computes the product: a and b read codes of stored elements, meta a lane's
// metadata register.
func (x *product) add(lanes []*thread, acc []int, a func(row, k int) uint64, b func(k, col int) uint64, meta func(lane int) uint64, selector int) {
	// Logical columns and values of each row of A.
	type entry struct {
		k int
		v float64
	}
	var rows [16][]entry
	for r := range rows {
		for s := range x.stored() {
			k := s
			if x.sparse {
				group := s / 2
				thread, i := x.meta.Find(r, selector*x.k/4+group)
				nibble := meta(thread) >> (4 * (i % 8)) & 15
				first, second := int(nibble&3), int(nibble>>2)
				if first >= second {
					fail("metadata nibble %#x of row %d, group %d is no ordered pair", nibble, r, group)
				}
				if k = 4*group + first; s%2 == 1 {
					k = 4*group + second
				}
			}
			rows[r] = append(rows[r], entry{k, x.decode(a(r, s))})
		}
	}
	columns := make([][]float64, x.n)
	for c := range columns {
		columns[c] = make([]float64, x.k)
		for k := range columns[c] {
			columns[c][k] = x.decode(b(k, c))
		}
	}
	for _, t := range lanes {
		for i, r := range acc {
			row, col := x.acc.At(t.lane, i)
			var sum float64
			for _, e := range rows[row] {
				sum += e.v * columns[col][e.k]
			}
			if x.integer {
				t.regs[r] = uint64(uint32(int32(t.regs[r]) + int32(sum)))
			} else {
				t.regs[r] = uint64(math.Float32bits(float32(float64(f32(t.regs[r])) + sum)))
			}
		}
	}
}

// makeMMA makes mma.sync and mma.sp: all operands in registers.
func makeMMA(p *program, i *instr) error {
	_, n, k, err := i.shape()
	if err != nil {
		return err
	}
	sparse := i.op[1] == "sp" || i.op[1] == "sp_ordered_metadata"
	x, err := newProduct(n, k, i.op[len(i.op)-2], sparse)
	if err != nil {
		return err
	}
	d, a, b, c := registers(i.args[0]), registers(i.args[1]), registers(i.args[2]), registers(i.args[3])
	fa, fb := layout.FragmentA(x.size), layout.FragmentB(x.size, k)
	if fa.Cols != x.stored() || len(a) != fa.Regs() || len(b) != fb.Regs() || len(d) != 4 {
		return fmt.Errorf("fragments of %d, %d and %d registers", len(a), len(b), len(d))
	}
	var meta value
	selector := 0
	if sparse {
		meta, selector = p.getter(i.args[4]), int(i.args[5].imm)
	}
	i.together = func(w *warp, lanes []*thread) {
		if len(lanes) != 32 {
			fail("mma of %d lanes", len(lanes))
		}
		code := func(f layout.Fragment, regs []int, row, col int) uint64 {
			lane, e := f.Find(row, col)
			return lanes[lane].regs[regs[e/f.PerReg]] >> (e % f.PerReg * 8 * x.size) & mask(x.size)
		}
		for _, t := range lanes {
			for n := range d {
				t.regs[d[n]] = t.regs[c[n]]
			}
		}
		x.add(lanes, d,
			func(r, k int) uint64 { return code(fa, a, r, k) },
			func(k, c int) uint64 { return code(fb, b, k, c) },
			func(lane int) uint64 { return meta(lanes[lane]) }, selector)
	}
	return nil
}

// makeWGMMA makes the warpgroup's instructions, which a warp executes for its own
// rows: operands by descriptors. The product happens when its group is waited for.
func makeWGMMA(p *program, i *instr) error {
	switch i.op[1] {
	case "fence":
		i.together = func(*warp, []*thread) {}
		return nil
	case "commit_group":
		i.together = func(w *warp, _ []*thread) { w.groups, w.open = append(w.groups, w.open), nil }
		return nil
	case "wait_group":
		left := int(i.args[0].imm)
		i.together = func(w *warp, _ []*thread) {
			for len(w.groups) > left {
				for _, f := range w.groups[0] {
					f()
				}
				w.groups = w.groups[1:]
			}
		}
		return nil
	}
	m, n, k, err := i.shape()
	sparse := i.op[2] == "sp"
	if err != nil || m != 64 || i.args[1].kind == opVec {
		return fmt.Errorf("unknown wgmma")
	}
	x, err := newProduct(n, k, i.op[len(i.op)-1], sparse)
	if err != nil {
		return err
	}
	acc, a, b := registers(i.args[0]), p.getter(i.args[1]), p.getter(i.args[2])
	rest := i.args[3:]
	var meta value
	selector := 0
	if sparse {
		meta, selector = p.getter(rest[0]), int(rest[1].imm)
		rest = rest[2:]
	}
	for n, o := range rest {
		if want := map[bool]uint64{true: 1}[n < 3]; o.kind != opImm || o.imm != want {
			return fmt.Errorf("a scale or transposition that is not the usual one")
		}
	}
	i.together = func(w *warp, lanes []*thread) {
		if len(lanes) != 32 {
			fail("wgmma of %d lanes", len(lanes))
		}
		da, db := descriptor(a(lanes[0])), descriptor(b(lanes[0]))
		first := lanes[0].id / 32 % 4 * 16
		code := func(d layout.Descriptor, row, k int) uint64 {
			addr := w.cta.sharedAddr() - sharedStart + uint64(d.Address(layout.KMajor, row, k, x.size, 0))
			return load(w.cta.window(addr, x.size, x.size, false))
		}
		w.open = append(w.open, func() {
			x.add(lanes, acc,
				func(r, k int) uint64 { return code(da, first+r, k) },
				func(k, c int) uint64 { return code(db, c, k) },
				func(lane int) uint64 { return meta(lanes[lane]) }, selector)
		})
	}
	return nil
}

func descriptor(v uint64) layout.Descriptor {
	d, err := layout.ParseDescriptor(v)
	if err != nil {
		fail("%v", err)
	}
	return d
}
