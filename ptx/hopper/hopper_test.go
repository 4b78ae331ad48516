package hopper

import (
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sparsegen/sparsegen/ptx"
	"github.com/sparsegen/sparsegen/ptx/layout"
	"github.com/sparsegen/sparsegen/ptx/ptxtest"
	"github.com/sparsegen/sparsegen/runtime/gpu"
)

// product is a small kernel, one tile of a 2:4 or dense product: what the tests
// misuse at one place each.
type product struct {
	consumers, cluster, stages, tokens int
	sparse                             bool
	form                               Form

	declare  func(*CTA)                                 // before Run
	box      func(*gpu.MapSpec)                         //
	parts    func(*Ring)                                // after the kernel's own
	fill     func(*Filling, *Part, *Part)               // after the kernel's own copies
	consume  func(*Warpgroup, *Pipeline, *Acc, ptx.Reg) // instead of Run
	withHeld func(w *Warpgroup, p *Product, h *Held)    // a group of its own
	after    func(*CTA)
}

func small() product { return product{consumers: 2, cluster: 1, stages: 3, tokens: 64, sparse: true} }

func (x product) format() layout.Format {
	f := layout.Format{Size: 2, TileRows: 64 * x.consumers, RowBytes: 128, StageBlocks: 1, Cluster: 1}
	if x.sparse {
		f.Sparse, f.RowBytes = true, 64
	}
	return f
}

func (x product) text() (string, error) {
	m := ptx.NewModule(ptx.SM90a())
	k := m.Kernel("product")
	c, f := New(k, x.consumers, x.cluster), x.format()
	weights := c.Pointer("weights", gpu.Weights, 0, 0)
	spec := gpu.MapSpec{
		DType: gpu.BF16, Of: gpu.X, Inner: gpu.QIn, Outer: gpu.QTokens,
		Box: [2]uint32{64, uint32(x.tokens / x.cluster)}, Swizzle: gpu.Swizzle128,
	}
	if x.box != nil {
		x.box(&spec)
	}
	xm := c.TensorMap("x", spec)
	steps := c.U32("steps", gpu.QSteps)
	ring := c.Ring("ring", x.stages)
	a := ring.Bulk("weights", f.BlockBytes(), f.Align())
	b := ring.TensorMulticast("activations", xm)
	if x.parts != nil {
		x.parts(ring)
	}
	ring.Lay()
	if x.declare != nil {
		x.declare(c)
	}
	c.Run(func(w *Warpgroup) {
		acc := w.Acc(x.tokens, gpu.BF16)
		p := &Product{Acc: acc, A: w.A(a, 0, f.Operand()), B: w.B(b), Type: gpu.BF16}
		var fetch func(*Held, []ptx.Reg)
		if p.Sparse() {
			fetch = func(h *Held, meta []ptx.Reg) { h.LoadShared(meta, a, f.MetaOffset(0, 0), k.Mul(w.Thread, 4)) }
		}
		stages := w.Consumer(ring)
		l := w.Pipeline(p, stages, x.form, fetch)
		switch {
		case x.withHeld != nil:
			acc.Zero()
			x.withHeld(w, p, stages.Next())
		case x.consume != nil:
			x.consume(w, l, acc, steps)
		default:
			l.Run(w, steps)
			acc.Regs()
		}
	}, func(t *ProducerThread) {
		p := t.Producer(ring)
		k.For(0, steps, 1, func(i ptx.Reg) {
			p.Fill(func(s *Filling) {
				s.Bulk(a, k.MadWide(i, f.BlockBytes(), weights))
				s.Tensor(b, k.Mul(i, 64), k.Const(ptx.U32, 0))
				if x.fill != nil {
					x.fill(s, a, b)
				}
			})
		})
	})
	if x.after != nil {
		x.after(c)
	}
	return m.Text()
}

func TestRing(t *testing.T) {
	for _, cluster := range []int{1, 2, 4} {
		x := small()
		x.cluster = cluster
		text, err := x.text()
		require.NoError(t, err)
		// Weights and metadata of 128 rows, and the activations of the whole cluster's
		// boxes: what the barrier expects is what lands in this block.
		expect := 128*64 + 1024 + 64*128
		require.Regexp(t, `expect_tx\.shared::cta\.b64 _, \[[^]]*\], `+strconv.Itoa(expect)+`;`, text)
		// One arrival of each consumer warp of each block.
		require.Equal(t, 3, strings.Count(text, "], "+strconv.Itoa(8*cluster)+";\n"))
		require.Equal(t, cluster > 1, strings.Contains(text, ".multicast::cluster"))
		require.Equal(t, cluster > 1, strings.Contains(text, "mapa.shared::cluster.u32"))
		ptxtest.AssembleClean(t, text, ptx.SM90a())
	}
}

func TestFormsAssemble(t *testing.T) {
	for _, sparse := range []bool{false, true} {
		for _, form := range []Form{Drain, Overlap} {
			for consumers, tokens := range map[int]int{1: 128, 2: 256, 3: 128} {
				x := product{consumers: consumers, cluster: 1, stages: 2, tokens: tokens, sparse: sparse, form: form}
				text, err := x.text()
				require.NoError(t, err)
				ptxtest.AssembleClean(t, text, ptx.SM90a())
			}
		}
	}
}

// The loop unrolled twice uses two sets of metadata registers, each read once more
// behind the wait that retires its wgmmas.
func TestOverlapAnchorsMetadata(t *testing.T) {
	x := small()
	x.form = Overlap
	text, err := x.text()
	require.NoError(t, err)
	loop := text[strings.Index(text, "$loop"):]
	loads := []string{}
	for line := range strings.Lines(loop) {
		if name, found := strings.CutPrefix(strings.TrimSpace(line), "ld.shared.b32 "); found {
			loads = append(loads, name[:strings.Index(name, ",")])
		}
	}
	require.Len(t, loads, 2)
	require.NotEqual(t, loads[0], loads[1])
	for i, load := range loads {
		wait := strings.Index(loop, "wait_group.sync.aligned 1")
		if i == 0 { // retired by the wait of the second half
			wait += 1 + strings.Index(loop[wait+1:], "wait_group.sync.aligned 1")
		}
		rest := loop[wait:]
		require.Regexp(t, `^.*\n\s*@%p\d+ st\.volatile\.shared\.b32 [^,]*, `+load+`;`, rest)
	}
}

func TestMisuse(t *testing.T) {
	for _, x := range []struct {
		want string
		edit func(*product)
	}{
		{"4 consumer warpgroups", func(x *product) { x.consumers = 4 }},
		{"clusters of 3 blocks", func(x *product) { x.cluster = 3 }},
		{"1 stages, want 2 to 64", func(x *product) { x.stages = 1 }},
		{"256 columns needs 154 registers, a thread of a block of 416 has 128", func(x *product) { x.consumers, x.tokens = 3, 256 }},
		{"a block has 232448: ring stages", func(x *product) { x.stages = 20 }},
		{"a box 64 bytes wide with a swizzle of 128 leaves gaps", func(x *product) { x.box = func(s *gpu.MapSpec) { s.Box[0] = 32 } }},
		{"its swizzle spans 128", func(x *product) { x.box = func(s *gpu.MapSpec) { s.Box[0] = 128 } }},
		{"ends within the swizzle's pattern", func(x *product) { x.cluster, x.tokens = 2, 8 }},
		{"an accumulator of 64 columns for a product of 32", func(x *product) { x.box = func(s *gpu.MapSpec) { s.Box[1] = 32 } }},
		{"a stage without extra never becomes full", func(x *product) { x.parts = func(r *Ring) { r.Bulk("extra", 64, 16) } }},
		{"a linear copy of 40 bytes", func(x *product) { x.parts = func(r *Ring) { r.Bulk("extra", 40, 16) } }},
		{"weights copied twice in a stage", func(x *product) {
			x.fill = func(s *Filling, a, _ *Part) { s.Bulk(a, s.ring.cta.K.Const(ptx.U64, 64)) }
		}},
		{"activations was registered as the other kind of copy", func(x *product) {
			x.fill = func(s *Filling, _, b *Part) { s.Bulk(b, s.ring.cta.K.Const(ptx.U64, 64)) }
		}},
		{"late registered after Lay", func(x *product) {
			x.parts = func(r *Ring) { r.Lay(); r.Bulk("late", 64, 16) }
		}},
		{"Lay twice", func(x *product) { x.parts = func(r *Ring) { r.Lay() } }},
		{"named barriers up to 17", func(x *product) { x.declare = func(c *CTA) { c.NamedBarrier(14, 128) } }},
		{"1 named barriers of 48 threads", func(x *product) { x.declare = func(c *CTA) { c.NamedBarrier(1, 48) } }},
		{"shared memory: 0 bytes aligned to 16 for nothing", func(x *product) { x.declare = func(c *CTA) { c.Shared("nothing", 0, 16) } }},
		{"shared memory: 16 bytes aligned to 24", func(x *product) { x.declare = func(c *CTA) { c.Shared("odd", 16, 24) } }},
		{"shared memory of late declared after Run", func(x *product) { x.after = func(c *CTA) { c.Shared("late", 16, 16) } }},
		{"parameter late declared after Run", func(x *product) { x.after = func(c *CTA) { c.U32("late", gpu.QOut) } }},
		{"an accumulator read that nothing has written", func(x *product) {
			x.consume = func(_ *Warpgroup, _ *Pipeline, a *Acc, _ ptx.Reg) { a.Regs() }
		}},
		{"an accumulator read while a wgmma", func(x *product) {
			x.withHeld = func(w *Warpgroup, p *Product, h *Held) {
				w.Group(func(g *Group) { g.Stage(p, h, w.CTA.K.Regs(ptx.B32, 1)) })
				p.Acc.Regs()
			}
		}},
		{"an accumulator zeroed while a wgmma", func(x *product) {
			x.withHeld = func(w *Warpgroup, p *Product, h *Held) {
				w.Group(func(g *Group) { g.Stage(p, h, w.CTA.K.Regs(ptx.B32, 1)) })
				p.Acc.Zero()
			}
		}},
		{"an accumulator that was not zeroed", func(x *product) {
			x.withHeld = func(w *Warpgroup, p *Product, h *Held) {
				q := *p
				q.Acc = w.Acc(64, gpu.BF16)
				w.Group(func(g *Group) { g.Stage(&q, h, w.CTA.K.Regs(ptx.B32, 1)) })
			}
		}},
		{"a wgmma outside its group", func(x *product) {
			x.withHeld = func(w *Warpgroup, p *Product, h *Held) {
				var late *Group
				w.Group(func(g *Group) { late = g })
				late.Stage(p, h, w.CTA.K.Regs(ptx.B32, 1))
			}
		}},
		{"2 metadata words for a stage, want 1", func(x *product) {
			x.withHeld = func(w *Warpgroup, p *Product, h *Held) {
				w.Group(func(g *Group) { g.Stage(p, h, w.CTA.K.Regs(ptx.B32, 2)) })
			}
		}},
		{"a wgmma reads a stage that was released", func(x *product) {
			x.withHeld = func(w *Warpgroup, p *Product, h *Held) {
				h.Release()
				w.Group(func(g *Group) { g.Stage(p, h, w.CTA.K.Regs(ptx.B32, 1)) })
			}
		}},
		{"a stage released twice", func(x *product) {
			x.withHeld = func(_ *Warpgroup, _ *Product, h *Held) { h.Release(); h.Release() }
		}},
		{"a stage released while a wgmma that reads it is in flight", func(x *product) {
			x.withHeld = func(w *Warpgroup, p *Product, h *Held) {
				w.Group(func(g *Group) { g.Stage(p, h, w.CTA.K.Regs(ptx.B32, 1)) })
				h.Release()
			}
		}},
		{"a pipeline with 1 metadata words a stage, and fetching them is false", func(x *product) {
			x.withHeld = func(w *Warpgroup, p *Product, h *Held) { w.Pipeline(p, h.consumer, Drain, nil) }
		}},
	} {
		p := small()
		x.edit(&p)
		_, err := p.text()
		require.ErrorContains(t, err, x.want)
		require.Contains(t, err.Error(), "hopper/", "the position of the caller")
	}
}

// The hazard that no assembler reports: metadata is read when a sparse wgmma
// starts to execute, so that a load into its register between the wgmma and the
// wait corrupts a queued one.
func TestMetadataWrittenInFlight(t *testing.T) {
	for _, waits := range []bool{false, true} {
		x := small()
		x.withHeld = func(w *Warpgroup, p *Product, h *Held) {
			k := w.CTA.K
			meta := []ptx.Reg{k.Var(ptx.B32, 0x44444444)}
			never := k.SetP("eq", w.Thread, 1000)
			w.Group(func(g *Group) { g.Stage(p, h, meta) })
			if waits {
				w.Wait(0)
				w.Anchor(never, meta)
			}
			k.Emit("ld.shared.b32", meta[0], ptx.At(w.CTA.base, 0))
			w.Wait(0)
			h.Release()
		}
		_, err := x.text()
		if waits {
			require.NoError(t, err)
		} else {
			require.ErrorContains(t, err, "metadata")
			require.ErrorContains(t, err, "before the wgmma.wait_group that retires it")
		}
	}
}

func TestRegisters(t *testing.T) {
	for threads, want := range map[int]int{128: 255, 160: 255, 256: 255, 288: 168, 384: 168, 416: 128, 512: 128, 544: 96, 640: 96, 1024: 64} {
		require.Equal(t, want, Registers(threads), threads)
	}
}

// sent adds an outbox of turns buffers to the product, with which use does
// something in place of the products.
func (x *product) sent(residual bool, box [2]uint32, buffers, turns int, use func(*Sender)) {
	var o *Outbox
	x.declare = func(c *CTA) {
		spec := gpu.MapSpec{DType: gpu.BF16, Of: gpu.Y, Inner: gpu.QOut, Outer: gpu.QTokens, Box: box, Swizzle: gpu.Swizzle128}
		y := c.TensorMap("y", spec)
		var r *TensorMap
		if residual {
			spec.Of = gpu.Residual
			r = c.TensorMap("residual", spec)
		}
		o = c.Outbox(y, r, 1, buffers, turns)
	}
	x.consume = func(w *Warpgroup, l *Pipeline, a *Acc, steps ptx.Reg) {
		k := w.CTA.K
		s := w.Sender(o)
		k.For(0, k.Const(ptx.U32, 3), 1, func(i ptx.Reg) {
			s.Place(k.Mul(i, 64), k.Const(ptx.U32, 0))
			s.Begin()
			l.Run(w, steps)
			a.Regs()
			use(s)
		})
		s.Flush()
	}
}

func TestOutbox(t *testing.T) {
	for _, residual := range []bool{false, true} {
		for _, n := range [][2]int{{1, 1}, {1, 4}, {2, 4}, {3, 4}, {8, 4}} {
			x := small()
			x.sent(residual, [2]uint32{64, 16}, n[0], n[1], func(s *Sender) {
				k := s.cta.K
				for range s.turns {
					s.Send(func(off int) {
						k.Emit("st.shared.b32", ptx.At(k.Mad(s.w.Thread, 16, s.Base()), off), k.Const(ptx.B32, 7))
					})
				}
				s.End()
			})
			text, err := x.text()
			require.NoError(t, err)
			require.Equal(t, n[1], strings.Count(text, "bulk.tensor.2d.global.shared::cta"))
			loads := 0
			if residual {
				loads = n[1]
			}
			require.Equal(t, loads+1, strings.Count(text, "bulk.tensor.2d.shared::cluster.global"), "and the activations")
			ptxtest.AssembleClean(t, text, ptx.SM90a())
		}
	}
}

// A buffer of the residual is awaited with the parity of its use: the number of
// uses before, over all tiles.
func TestResidualParity(t *testing.T) {
	for _, n := range [][2]int{{1, 1}, {1, 3}, {2, 4}, {3, 4}, {2, 5}} {
		buffers, turns := n[0], n[1]
		k := ptx.NewModule(ptx.SM90a()).Kernel("k")
		uses := make([]int, buffers)
		for tile := range 5 {
			s := &Sender{Outbox: &Outbox{cta: &CTA{K: k}, buffers: buffers, turns: turns}, parity: k.Const(ptx.U32, tile%2)}
			for turn := range turns {
				require.Equal(t, strconv.Itoa(uses[turn%buffers]%2), s.phase(turn).String(), "%d buffers, tile %d, turn %d", buffers, tile, turn)
				uses[turn%buffers]++
			}
		}
	}
}

func TestOutboxMisuse(t *testing.T) {
	send := func(n int) func(*Sender) {
		return func(s *Sender) {
			for range n {
				s.Send(func(int) {})
			}
			s.End()
		}
	}
	for _, x := range []struct {
		want    string
		box     [2]uint32
		buffers int
		use     func(*Sender)
	}{
		{"1 buffers sent in a tile, declared are 2", [2]uint32{64, 16}, 2, send(1)},
		{"3 buffers sent in a tile, declared are 2", [2]uint32{64, 16}, 2, send(3)},
		{"1 boxes in 0 buffers", [2]uint32{64, 16}, 0, send(2)},
		{"a box of 512 bytes ends within the swizzle's pattern", [2]uint32{64, 4}, 2, send(2)},
	} {
		p := small()
		p.sent(false, x.box, x.buffers, 2, x.use)
		_, err := p.text()
		require.ErrorContains(t, err, x.want)
	}
	p := small()
	p.declare = func(c *CTA) {
		spec := gpu.MapSpec{DType: gpu.BF16, Of: gpu.Y, Inner: gpu.QOut, Outer: gpu.QTokens, Box: [2]uint32{64, 16}, Swizzle: gpu.Swizzle128}
		y := c.TensorMap("y", spec)
		spec.Of, spec.Box = gpu.Residual, [2]uint32{64, 32}
		c.Outbox(y, c.TensorMap("residual", spec), 1, 2, 2)
	}
	_, err := p.text()
	require.ErrorContains(t, err, "the residual's boxes differ from those of y")
}
