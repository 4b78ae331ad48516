package ptxsim

import "fmt"

var moveRows = []row{
	{"mov.{b16,u16,s16,b32,u32,s32,f32,b64,u64,s64,f64,pred}", makeMov},
	{"cvta{.to,}.{global,shared,local,const,param}.u64", makeAddress},
	{"mapa{.shared::cluster,}.{u32,u64}", func(p *program, i *instr) error {
		d, s, err := p.operands(i, 2)
		if err != nil {
			return err
		}
		i.exec = func(w *warp, m uint32) {
			a, rank := s[0](w, m), s[1](w, m)
			to := d(w, m)
			each(m, func(l int) {
				if r := uint32(rank[l]); int(r) >= len(w.cta.cl.ctas) {
					fail(OutOfBounds, "block %d of a cluster of %d", r, len(w.cta.cl.ctas))
				}
				to[l] = a[l]&^(0xff<<windowBits) | rank[l]<<windowBits
			})
		}
		return nil
	}},
	{"getctarank{.shared::cluster,}.{u32,u64}", func(p *program, i *instr) error {
		return map1(p, i, 4, func(a uint64) uint64 { return a >> windowBits & 0xff })
	}},
	{"createpolicy.{fractional,range.global}.{L2::evict_last,L2::evict_first,L2::evict_normal,L2::evict_unchanged}{.L2::evict_unchanged,}.b64", func(p *program, i *instr) error {
		d, err := p.result(i.args[0])
		i.exec = func(w *warp, m uint32) { *d(w, m) = lanes{} }
		return err
	}},
}

// controlRows are what changes where a warp goes on, fences, and hints.
var controlRows = []row{
	{"bra{.uni,}", func(_ *program, i *instr) error { i.kind = branch; return nil }},
	{"{ret,exit}", func(_ *program, i *instr) error { i.kind = leave; return nil }},
	{"{trap,brkpt}", func(_ *program, i *instr) error {
		i.exec = func(*warp, uint32) { fail(Trapped, "the kernel gives up") }
		return nil
	}},
	{"nanosleep.u32", makeHint},
	{"pmevent", makeHint},
	{"prefetch.global.{L1,L2,L2::evict_last,L2::evict_normal}", makeHint},
	{"prefetch.tensormap", makeHint},
	{"{discard.global.L2,applypriority.global.L2::evict_normal}", makeHint},
	{"cp.async.bulk.prefetch.L2.global{.L2::cache_hint,}", makeHint},
	{"cp.async.bulk.prefetch.tensor.{1d,2d,3d,4d,5d}.L2.global{.tile,}", makeHint},
	{"griddepcontrol.launch_dependents", makeHint},
	{"griddepcontrol.wait", func(_ *program, i *instr) error {
		i.shows = true
		i.exec = func(w *warp, _ uint32) { w.view.happened.set(gridAgent, 1) }
		return nil
	}},
	{"{fence,fence.sc,fence.acq_rel}.{cta,cluster,gpu,sys}", makeFence},
	{"membar.{cta,gl,sys}", makeFence},
	{"fence.mbarrier_init.release.cluster", func(_ *program, i *instr) error {
		i.exec = func(w *warp, _ uint32) {
			w.given = w.release()
			for _, b := range w.inits {
				b.fenced = true
			}
			w.inits = w.inits[:0]
		}
		return nil
	}},
	{"fence.proxy.async{.global,.shared::cta,.shared::cluster,}", func(_ *program, i *instr) error {
		i.shows = true
		i.exec = func(w *warp, _ uint32) {
			if !i.has("global") {
				w.fence()
			}
		}
		return nil
	}},
	{"fence.proxy.alias", makeHint},
	{"setmaxnreg.{inc,dec}.sync.aligned.u32", makeMaxRegisters},
}

func makeHint(_ *program, i *instr) error {
	i.exec = func(*warp, uint32) {}
	return nil
}

func makeFence(_ *program, i *instr) error {
	i.exec = func(w *warp, _ uint32) { w.given = w.release() }
	return nil
}

// makeMov moves, packs and unpacks.
func makeMov(p *program, i *instr) error {
	if err := i.want(2); err != nil {
		return err
	}
	if i.picks[0] == "pred" {
		return makePredicates2(p, i)
	}
	size := sizes[i.picks[0]]
	if i.args[0].kind != opVec {
		return map1(p, i, size, func(a uint64) uint64 { return a })
	}
	s, err := p.source(i.args[1])
	if err != nil {
		return err
	}
	var parts []dst
	for _, o := range i.args[0].list {
		d, err := p.result(o)
		if err != nil {
			return err
		}
		parts = append(parts, d)
	}
	width := 8 * size / len(parts)
	i.pure = true
	i.exec = func(w *warp, m uint32) {
		v := *s(w, m)
		for n, d := range parts {
			to := d(w, m)
			each(m, func(l int) { to[l] = v[l] >> (n * width) & (1<<width - 1) })
		}
	}
	return nil
}

func makePredicates2(p *program, i *instr) error {
	set, err := p.truth(i.args[0])
	if err != nil {
		return err
	}
	c, err := p.condition(i.args[1])
	i.pure = true
	i.exec = func(w *warp, m uint32) { set(w, m, c(w, m)) }
	return err
}

// makeAddress makes generic addresses of those of a space, and back: a shared one
// has a bit of its own.
func makeAddress(p *program, i *instr) error {
	set, clear := uint64(0), uint64(0)
	if i.picks[1] == "shared" {
		if i.picks[0] == ".to" {
			clear = genericShared
		} else {
			set = genericShared
		}
	}
	return map1(p, i, 8, func(a uint64) uint64 { return a&^clear | set })
}

// makeMaxRegisters moves registers between a warp and its block.
func makeMaxRegisters(p *program, i *instr) error {
	if err := i.want(1); err != nil {
		return err
	}
	n := int(i.args[0].imm)
	if i.args[0].kind != opImm || n < 24 || n > 256 || n%8 != 0 {
		return fmt.Errorf("%d registers, want a multiple of 8 from 24 to 256", n)
	}
	i.kind, i.shows = aligned, true
	i.exec = func(w *warp, _ uint32) {
		switch c := w.cta; {
		case !p.minBlocks && p.maxRegs == 0:
			fail(RegisterBudget, "setmaxnreg is ignored in a kernel without .minnctapersm or .maxnreg")
		case i.picks[0] == "dec" && n > w.budget:
			fail(RegisterBudget, "the warp has %d registers a thread, fewer than the %d that it is to keep", w.budget, n)
		case i.picks[0] == "inc" && n < w.budget:
			fail(RegisterBudget, "the warp has %d registers a thread, more than the %d that it asks for", w.budget, n)
		case i.picks[0] == "dec":
			c.pool += 32 * (w.budget - n)
			w.budget = n
		default:
			take := func() bool {
				more := 32 * (n - w.budget)
				if more > c.pool {
					return false
				}
				c.pool -= more
				w.budget = n
				return true
			}
			if !take() {
				w.current.wait = take
				w.current.why = func() string {
					return fmt.Sprintf("for registers: %d more for each of its threads, the block has %d to give to a warp", n-w.budget, c.pool/32)
				}
			}
		}
	}
	return nil
}
