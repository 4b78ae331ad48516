package ptxsim

import (
	"fmt"
	"math"
	"strings"
)

const (
	loadOrder  = "{.weak,.volatile,.relaxed.cta,.relaxed.cluster,.relaxed.gpu,.relaxed.sys,.acquire.cta,.acquire.cluster,.acquire.gpu,.acquire.sys,}"
	storeOrder = "{.weak,.volatile,.relaxed.cta,.relaxed.cluster,.relaxed.gpu,.relaxed.sys,.release.cta,.release.cluster,.release.gpu,.release.sys,}"
	spaces     = "{.global,.shared,.shared::cta,.shared::cluster,}"
	caching    = "{.ca,.cg,.cs,.cv,.lu,.wb,.wt,}{.nc,}{.L1::evict_normal,.L1::evict_unchanged,.L1::evict_first,.L1::evict_last,.L1::no_allocate,}{.L2::evict_first,.L2::evict_last,.L2::evict_normal,}{.L2::cache_hint,}{.L2::64B,.L2::128B,.L2::256B,}"
	moved      = "{b8,u8,s8,b16,u16,s16,b32,u32,s32,f32,b64,u64,s64,f64}"
	atomicOps  = "{add.u32,add.s32,add.u64,add.f32,add.f64,min.u32,min.s32,min.u64,min.s64,max.u32,max.s32,max.u64,max.s64,and.b32,and.b64,or.b32,or.b64,xor.b32,xor.b64,inc.u32,dec.u32,exch.b32,exch.b64,cas.b32,cas.b64}"
	atomOrder  = "{.relaxed.cta,.relaxed.cluster,.relaxed.gpu,.release.cta,.release.cluster,.release.gpu,.acq_rel.cta,.acq_rel.cluster,.acq_rel.gpu,}"
)

var memoryRows = []row{
	{"ld.param." + moved, makeLoadParam},
	{"ld" + loadOrder + spaces + caching + "{.v2,.v4,}." + moved, makeLoad},
	{"st" + storeOrder + spaces + caching + "{.v2,.v4,}." + moved, makeStore},
	{"st.async{.weak,}.shared::cluster.mbarrier::complete_tx::bytes{.v2,.v4,}.{b32,u32,s32,f32,b64,u64,s64,f64}", makeStoreAsync},
	{"atom" + atomOrder + spaces + "." + atomicOps, makeAtom},
	{"red" + atomOrder + spaces + "." + atomicOps, makeAtom},
	{"red{.relaxed.gpu,}.global.add{.v2,.v4}.f32", makeReduceVector},
	{"red{.relaxed.gpu,}.global.add.noftz{.v2,.v4,}.{f16,bf16,f16x2,bf16x2}", makeReduceVector},
}

func makeLoadParam(p *program, i *instr) error {
	if err := i.want(2); err != nil {
		return err
	}
	i.args[1] = i.args[1].list[0]
	return map1(p, i, sizes[i.typ()], func(a uint64) uint64 { return a })
}

func makeLoad(p *program, i *instr) error {
	if err := i.want(2, 3); err != nil {
		return err
	}
	typ := i.typ()
	size, where := sizes[typ], i.space()
	rs, err := registersOf(i.args[0])
	if err != nil {
		return err
	}
	addr, err := p.at(i.args[1])
	if err != nil {
		return err
	}
	extend := strings.HasPrefix(typ, "s") && size < i.args[0].bytes
	cut := mask(i.args[0].bytes)
	n := size * len(rs)
	i.pure = true
	i.exec = func(w *warp, m uint32) {
		at := *addr(w, m)
		w.defined("an address")
		a := w.access(i)
		w.cta.cl.m.report.access(i, w, where, &at, m, n)
		var to [4]*lanes
		for k, r := range rs {
			to[k] = w.write(r, m)
		}
		var missing uint32
		for l := range 32 {
			if m>>l&1 == 0 {
				continue
			}
			b, known := w.touch(where, at[l], n, n, false, a)
			if !known {
				missing |= 1 << l
			}
			for k := range rs {
				v := load(b[k*size:][:size])
				if extend {
					v = uint64(signed(v, typ)) & cut
				}
				to[k][l] = v
			}
		}
		for _, r := range rs {
			w.state[r].init &^= missing
		}
		if w.cta.cl.m.origin != nil && size == 4 {
			for k, r := range rs {
				w.trace(r, where, &at, 4*k, m)
			}
		}
	}
	return nil
}

// stored reads the first operands of a store: where it writes, and what.
func (p *program) stored(i *instr) (addr src, values []src, err error) {
	if addr, err = p.at(i.args[0]); err != nil {
		return
	}
	list := i.args[1:2]
	if i.args[1].kind == opVec {
		list = i.args[1].list
	}
	values, err = p.sources(list)
	return
}

func makeStore(p *program, i *instr) error {
	if err := i.want(2, 3); err != nil {
		return err
	}
	size, where := sizes[i.typ()], i.space()
	addr, get, err := p.stored(i)
	if err != nil {
		return err
	}
	n := size * len(get)
	i.pure = true
	i.exec = func(w *warp, m uint32) {
		at := *addr(w, m)
		w.defined("an address")
		a := w.access(i)
		w.cta.cl.m.report.access(i, w, where, &at, m, n)
		var v [4]*lanes
		for k, g := range get {
			v[k] = g(w, m)
		}
		each(m, func(l int) {
			a.unknown = w.undef>>l&1 != 0
			b, _ := w.touch(where, at[l], n, n, true, a)
			for k := range get {
				store(b[k*size:][:size], v[k][l])
			}
		})
	}
	return nil
}

// makeStoreAsync makes stores into a peer that count at its mbarrier.
func makeStoreAsync(p *program, i *instr) error {
	if err := i.want(3); err != nil {
		return err
	}
	size := sizes[i.typ()]
	addr, get, err := p.stored(i)
	if err != nil {
		return err
	}
	bar, err := p.at(i.args[2])
	if err != nil {
		return err
	}
	n := size * len(get)
	i.shows = true
	i.exec = func(w *warp, m uint32) {
		to, at := addr(w, m), bar(w, m)
		by, given := int32(i.line), w.release()
		each(m, func(l int) {
			c, off := w.cta.place(to[l], n, n, true)
			b := w.barrier(at[l], true)
			if b.cta != c {
				fail(Operands, "the data goes to block %d, the mbarrier is in block %d", c.rank, b.cta.rank)
			}
			c.writes(off, n, access{&given, b.copies(), by, false, false})
			var v [4]uint64
			for k, g := range get {
				v[k] = g(w, m)[l]
			}
			w.cta.cl.after(i.name, func() {
				for k := range get {
					store(c.shared[off+k*size:][:size], v[k])
				}
				c.version++
				b.complete(n, given)
			})
		})
	}
	return nil
}

// makeAtom makes atom and red. Atomic operations of two warps are no race.
func makeAtom(p *program, i *instr) error {
	typ, op := i.typ(), i.parts[len(i.parts)-2]
	size, where := sizes[typ], i.space()
	args := i.args
	d := dst(func(w *warp, _ uint32) *lanes { return &w.scratch })
	if i.parts[0] == "atom" {
		var err error
		if d, err = p.result(args[0]); err != nil {
			return err
		}
		args = args[1:]
	}
	if want := map[bool]int{true: 3, false: 2}[op == "cas"]; len(args) != want {
		return fmt.Errorf("%d operands", len(i.args))
	}
	addr, err := p.at(args[0])
	if err != nil {
		return err
	}
	s, err := p.sources(args[1:])
	if err != nil {
		return err
	}
	i.exec = func(w *warp, m uint32) {
		at := *addr(w, m)
		b := *s[0](w, m)
		c := b
		if op == "cas" {
			c = *s[1](w, m)
		}
		to := d(w, m)
		each(m, func(l int) {
			mem := w.atomic(i, where, at[l], size)
			old := load(mem)
			store(mem, atomic(op, typ, old, b[l], c[l])&mask(size))
			to[l] = old
		})
	}
	return nil
}

// atomic is n bytes for an atomic operation.
func (w *warp) atomic(i *instr, s space, addr uint64, n int) []byte {
	if s == genericSpace && addr&genericShared != 0 {
		s, addr = clusterSpace, addr&^genericShared
	}
	if s == globalSpace || s == genericSpace {
		w.global(addr, n, n, false)
		return w.global(addr, n, n, true)
	}
	c, off := w.cta.place(addr, n, n, s == clusterSpace)
	c.atomic(off, n, w.access(i))
	return c.shared[off : off+n]
}

func atomic(op, typ string, old, b, c uint64) uint64 {
	switch op {
	case "add":
		switch typ {
		case "f32":
			return bits32(f32(old) + f32(b))
		case "f64":
			return math.Float64bits(math.Float64frombits(old) + math.Float64frombits(b))
		}
		return old + b
	case "min", "max":
		if less(typ, old, b) == (op == "min") {
			return old
		}
		return b
	case "and":
		return old & b
	case "or":
		return old | b
	case "xor":
		return old ^ b
	case "inc":
		if uint32(old) >= uint32(b) {
			return 0
		}
		return old + 1
	case "dec":
		if uint32(old) == 0 || uint32(old) > uint32(b) {
			return b
		}
		return old - 1
	case "cas":
		if old == b {
			return c
		}
		return old
	}
	return b
}

// makeReduceVector makes reductions of several numbers at once.
func makeReduceVector(p *program, i *instr) error {
	if err := i.want(2); err != nil {
		return err
	}
	typ := i.typ()
	size := sizes[typ]
	addr, get, err := p.stored(i)
	if err != nil {
		return err
	}
	format, narrow := formats[strings.TrimSuffix(typ, "x2")]
	add := func(a, b uint64) uint64 {
		if !narrow {
			return bits32(f32(a) + f32(b))
		}
		var v uint64
		for at := 0; at < 8*size; at += 16 {
			x, y := float64(format.Decode(uint16(a>>at))), float64(format.Decode(uint16(b>>at)))
			v |= uint64(narrowed(format, exactSum(x, y))) << at
		}
		return v
	}
	n := size * len(get)
	i.exec = func(w *warp, m uint32) {
		at := addr(w, m)
		each(m, func(l int) {
			mem := w.atomic(i, globalSpace, at[l], n)
			for k, g := range get {
				store(mem[k*size:][:size], add(load(mem[k*size:][:size]), g(w, m)[l]))
			}
		})
	}
	return nil
}
