package ptxsim

import "fmt"

const sixteen = "{bf16,f16}"

var matrixRows = []row{
	{"ldmatrix.sync.aligned.m8n8.{x1,x2,x4}{.trans,}.shared{::cta,}.b16", makeMatrixMove},
	{"stmatrix.sync.aligned.m8n8.{x1,x2,x4}{.trans,}.shared{::cta,}.b16", makeMatrixMove},
	{"mma.sync.aligned.{m16n8k8,m16n8k16}.row.col.f32." + sixteen + "." + sixteen + ".f32", makeMMA},
	{"mma.sync.aligned.{m16n8k8,m16n8k16}.row.col.f16.f16.f16.f16", makeMMA},
	{"mma.sync.aligned.{m16n8k4,m16n8k8}.row.col.f32.tf32.tf32.f32", makeMMA},
	{"mma.sync.aligned.m16n8k32.row.col.{f32,f16}.{e4m3,e5m2}.{e4m3,e5m2}.{f32,f16}", makeMMA},
	{"mma.sync.aligned.{m16n8k16,m16n8k32}.row.col{.satfinite,}.s32.{s8,u8}.{s8,u8}.s32", makeMMA},
	{"mma.{sp,sp::ordered_metadata}.sync.aligned.{m16n8k16,m16n8k32}.row.col.f32." + sixteen + "." + sixteen + ".f32", makeMMA},
	{"mma.{sp,sp::ordered_metadata}.sync.aligned.{m16n8k16,m16n8k32}.row.col.f16.f16.f16.f16", makeMMA},
	{"mma.{sp,sp::ordered_metadata}.sync.aligned.{m16n8k8,m16n8k16}.row.col.f32.tf32.tf32.f32", makeMMA},
	{"mma.{sp,sp::ordered_metadata}.sync.aligned.m16n8k64.row.col.{f32,f16}.{e4m3,e5m2}.{e4m3,e5m2}.{f32,f16}", makeMMA},
	{"mma.{sp,sp::ordered_metadata}.sync.aligned.{m16n8k32,m16n8k64}.row.col{.satfinite,}.s32.{s8,u8}.{s8,u8}.s32", makeMMA},
}

// makeMatrixMove makes ldmatrix and stmatrix: lane l addresses row l%8 of matrix
// l/8; lane l holds of each matrix elements 2·(l%4) and the next of row l/4, or
// with trans of column l/4.
func makeMatrixMove(p *program, i *instr) error {
	if err := i.want(2); err != nil {
		return err
	}
	loads := i.parts[0] == "ldmatrix"
	mem, vec := i.args[0], i.args[1]
	if loads {
		vec, mem = mem, vec
	}
	addr, err := p.at(mem)
	if err != nil {
		return err
	}
	rs, err := registersOf(vec)
	if err != nil {
		return err
	}
	if want := map[string]int{"x1": 1, "x2": 2, "x4": 4}[i.picks[0]]; len(rs) != want {
		return fmt.Errorf("%d registers", len(rs))
	}
	trans := i.has("trans")
	i.kind = aligned
	i.exec = func(w *warp, m uint32) {
		if m != fullMask {
			fail(Divergence, "lanes %#x", m)
		}
		at := *addr(w, m)
		a := w.access(i)
		w.cta.cl.m.report.access(i, w, sharedSpace, &at, 1<<(8*len(rs))-1, 16)
		for n, r := range rs {
			var rows [8][]byte
			for k := range rows {
				b, known := w.touch(sharedSpace, at[8*n+k], 16, 16, !loads, a)
				if loads && !known {
					fail(Uninitialised, "a row that lane %d addresses was never written", 8*n+k)
				}
				rows[k] = b
			}
			var to *lanes
			if loads {
				to = w.write(r, m)
			} else {
				to = w.read(r, m)
			}
			for l := range 32 {
				var v uint64
				for e := range 2 {
					row, col := l/4, 2*(l%4)+e
					if trans {
						row, col = col, row
					}
					if b := rows[row][2*col:][:2]; loads {
						v |= load(b) << (16 * e)
					} else {
						store(b, to[l]>>(16*e))
					}
				}
				if loads {
					to[l] = v
				}
			}
		}
		if loads && !trans && w.cta.cl.m.origin != nil {
			for n, r := range rs {
				var rows lanes
				for l := range rows {
					rows[l] = at[8*n+l/4] + uint64(4*(l%4))
				}
				w.trace(r, sharedSpace, &rows, 0, m)
			}
		}
	}
	return nil
}

// makeMMA makes mma.sync and mma.sp: all operands in registers.
func makeMMA(p *program, i *instr) error {
	_, n, k, err := i.shape()
	if err != nil {
		return err
	}
	types := i.parts[len(i.parts)-4:]
	if types[0] != types[3] {
		return fmt.Errorf("sums of %s and %s", types[3], types[0])
	}
	sparse := i.parts[1] != "sync"
	x, err := newProduct(n, k, types[0], types[1], types[2], sparse)
	if err != nil {
		return err
	}
	want := 4
	if sparse {
		want = 6
	}
	if err := i.want(want); err != nil {
		return err
	}
	x.saturates = i.has("satfinite")
	var regs [4][]int
	for q := range regs {
		if regs[q], err = registersOf(i.args[q]); err != nil {
			return err
		}
	}
	na, nb := 16*x.stored()*x.a.size/128, 8*k*x.b.size/128
	if len(regs[0]) != x.accumulators() || len(regs[1]) != na || len(regs[2]) != nb || len(regs[3]) != x.accumulators() {
		return fmt.Errorf("fragments of %d, %d and %d registers, want %d, %d and %d", len(regs[0]), len(regs[1]), len(regs[2]), x.accumulators(), na, nb)
	}
	meta := constant(0)
	selector := 0
	if sparse {
		if meta, err = p.source(i.args[4]); err != nil {
			return err
		}
		if selector = int(i.args[5].imm); i.args[5].kind != opImm || selector > 3 {
			return fmt.Errorf("selector %d", selector)
		}
	}
	i.kind = aligned
	i.exec = func(w *warp, m uint32) {
		if m != fullMask {
			fail(Divergence, "lanes %#x", m)
		}
		read := func(rs []int) (out []*lanes) {
			for _, r := range rs {
				out = append(out, w.read(r, m))
			}
			return out
		}
		a, b, c := read(regs[1]), read(regs[2]), read(regs[3])
		e := meta(w, m)
		if sparse {
			w.checkMetadata(i.args[4], x, selector, func(row, k int) uint64 {
				lane, reg, _ := x.element(row, k)
				return w.originOf(regs[1][reg], lane)
			})
		}
		rows := x.rows(func(row, k int) uint64 {
			lane, reg, shift := x.element(row, k)
			return a[reg][lane] >> shift & mask(x.a.size)
		}, func(lane int) uint64 { return e[lane] }, selector)
		columns := make([]float64, x.n*x.k)
		for col := range x.n {
			for k := range x.k {
				lane, reg, shift := x.column(k, col)
				columns[col*x.k+k] = x.b.decode(b[reg][lane] >> shift & mask(x.b.size))
			}
		}
		var old []*lanes
		for _, r := range c {
			v := *r
			old = append(old, &v)
		}
		var d []*lanes
		for _, r := range regs[0] {
			d = append(d, w.write(r, m))
		}
		x.add(rows, columns, old, d, false, false, false)
	}
	return nil
}
