package runtime

import (
	"github.com/sparsegen/sparsegen/internal/sgp"
)

// slabBytes bounds the weights that one call walks where others walk them
// again, so that they are still in the second-level cache for the next tokens.
const slabBytes = 256 << 10

// Weights that are more than inCache come from memory, not at callFMA's rate but
// at some 10 to 20 GB/s: one call then reads callWeights of them. Each call begins its
// streams anew, which the hardware has to notice first.
const (
	inCache     = 2 << 20 / 4
	callWeights = 768 << 10 / 4
	// callCached is what one call for one token reads where nothing has to be decoded, at some
	// 25 GB/s from a cache.
	callCached = 1200 << 10 / 4
)

// lanesLinear is a linear op whose kernels have output rows as lanes. Slabs
// are outermost, tokens within, so that weights come from memory once.
type lanesLinear struct {
	linear
	slab    int // S
	rows    []uint32
	bias    []float32
	w       []float32
	meta    []byte
	cnt     []uint32
	counts  int           // of cnt, a slab
	kernels []lanesKernel // by tokens, ascending
	once    []slabChunk   // for a batch that one call covers
	again   []slabChunk   // for one whose calls walk the same weights in turn
	stored  int           // multiply-adds a token
	xSize   int           // of scratch
	ySize   int

	// For the batch at hand: the calls that cover it.
	chunks   []slabChunk
	calls    []tokenCall
	batch    int
	yRow     int // strides of y
	yColumn  int
	gathers  bool // x goes through scratch
	scatters bool // y does too
	single   singleCall
	token    []float32 // of single, where it gathers

	// Of the run at hand.
	c    *control
	x, y []float32 // x is token-major [at least batch, k]
	ldx  int
}

// tokenCall is a kernel's tokens, from first on; those beyond the batch are
// zero tokens in scratch.
type tokenCall struct {
	first  int
	kernel *lanesKernel
}

type lanesKernel struct {
	tokens int
	f      LanesFunc
}

// slabChunk is what one kernel call does: n slabs from the first on.
type slabChunk struct {
	first, n int
	w, meta  int  // where they begin in the streams
	partial  bool // the last slab has lanes beyond the last row
}

var lanesOps = [...]KernelOp{
	sgp.LanesDense: LanesDense, sgp.LanesList: LanesList, sgp.LanesNM: LanesNM,
	sgp.LanesMask: LanesMask, sgp.LanesRow: LanesRow, sgp.LanesWindow: LanesWindow,
}

func bindLanes(l *sgp.Layer, base linear, f *sgp.Lanes, k kernels, size sizes) (*lanesLinear, error) {
	d := &lanesLinear{linear: base, slab: f.S, rows: f.Rows, w: f.W, meta: f.Meta, cnt: f.Cnt}
	d.threads, d.maxBatch = size.threads, size.batch
	switch f.Kind {
	case sgp.LanesRow:
		d.counts = f.S
	case sgp.LanesWindow:
		d.counts = f.S / 8
	default:
		d.counts = 1
	}
	d.keep(f.Cols)
	slabs := f.Slabs(d.out)
	var covered []bool
	d.bias, covered = d.slabBias(f, slabs)
	d.setConstant(covered)
	if err := d.bindKernels(l, f, k); err != nil {
		return nil, err
	}
	d.cutSlabs(f, slabs)
	d.reserve()
	return d, nil
}

func (d *lanesLinear) bindKernels(l *sgp.Layer, f *sgp.Lanes, k kernels) error {
	key := KernelKey{Op: lanesOps[f.Kind], S: uint8(f.S)}
	if f.Kind == sgp.LanesNM {
		key.N, key.M = uint8(f.N), uint8(f.M)
	}
	ladder := []int{1}
	oneToken := f.Kind == sgp.LanesRow || f.Kind == sgp.LanesWindow
	if !oneToken {
		var err error
		if ladder, err = k.ladder(l.Name, []KernelKey{key}, func(k *KernelKey) *uint8 { return &k.NB }); err != nil {
			return err
		}
	}
	for _, n := range ladder {
		if !oneToken {
			key.NB = uint8(n)
		}
		fn, err := find[LanesFunc](k, l.Name, key)
		if err != nil {
			return err
		}
		d.kernels = append(d.kernels, lanesKernel{n, fn})
	}
	return nil
}

// slabSizes are the multiply-adds of each slab for one token, and its share of
// the streams: weights and bytes of metadata.
type slabSizes struct{ cost, w, meta []int }

func (d *lanesLinear) sizes(f *sgp.Lanes, slabs int) slabSizes {
	z := slabSizes{make([]int, slabs), make([]int, slabs), make([]int, slabs)}
	for j := range slabs {
		switch f.Kind {
		case sgp.LanesDense:
			z.w[j] = d.k * f.S
		case sgp.LanesNM:
			z.w[j] = d.k / f.M * f.N * f.S
			z.meta[j] = sgp.NMWords(d.k, f.N, f.M) * f.S * 4
		case sgp.LanesMask:
			z.meta[j] = d.k * f.S / 8
			z.w[j] = int(f.Cnt[j])
		case sgp.LanesList:
			z.w[j], z.meta[j] = int(f.Cnt[j])*f.S, int(f.Cnt[j])*2
		case sgp.LanesRow:
			for _, groups := range f.Cnt[j*f.S:][:f.S] {
				z.w[j] += int(groups) * 8
			}
			z.meta[j] = z.w[j]
		case sgp.LanesWindow:
			for _, groups := range f.Cnt[j*2:][:2] {
				z.w[j] += int(groups) * sgp.WindowW
				z.meta[j] += int(groups) * sgp.WindowMeta
			}
		}
		z.cost[j] = z.w[j]
		if f.Kind == sgp.LanesMask {
			z.cost[j] = d.k * f.S
		}
	}
	return z
}

// cutSlabs cuts the slabs into chunks, for calls that find the weights in memory
// and for calls that should find them in the second-level cache.
func (d *lanesLinear) cutSlabs(f *sgp.Lanes, slabs int) {
	z := d.sizes(f, slabs)
	for _, c := range z.cost {
		d.stored += c
	}
	limit, step := callFMA/min(d.most(), d.maxBatch), slabsInStep
	if limit == callFMA && (f.Kind == sgp.LanesDense || f.Kind == sgp.LanesNM) {
		limit = callCached
	}
	if d.stored > inCache {
		limit = min(limit, callWeights)
	}
	if d.threads > 1 {
		limit = min(limit, max(d.stored/(4*d.threads), 256))
		if slabs < 4*d.threads*step {
			step = 1
		}
	}
	d.once = d.cut(z, limit, step)
	if step = min(step, slabsAgain); step*d.stored > slabs*slabBytes/4 {
		step = 1
	}
	d.again = d.cut(z, min(limit, slabBytes/4), step)
}

// slabsInStep is how many slabs the kernels for few tokens walk at once, at most, and
// slabsAgain those for many: a chunk is a multiple of them where it can be.
const (
	slabsInStep = 4
	slabsAgain  = 2
)

// cut makes chunks of at most limit multiply-adds, or of step slabs if those are
// more. A partial last slab is a chunk of its own, because only its lanes need
// scratch.
func (d *lanesLinear) cut(z slabSizes, limit, step int) []slabChunk {
	covered := d.out
	if d.rows != nil {
		covered = len(d.rows)
	}
	full := covered / d.slab
	var chunks []slabChunk
	w, meta := 0, 0
	for j := 0; j < len(z.cost); {
		c := slabChunk{first: j, n: 1, w: w, meta: meta, partial: j >= full}
		for sum := z.cost[j]; j+c.n < full && (c.n < step || sum+z.cost[j+c.n] <= limit); c.n++ {
			sum += z.cost[j+c.n]
		}
		if c.n > step && j+c.n < full {
			c.n -= c.n % step
		}
		for range c.n {
			w += z.w[j]
			meta += z.meta[j]
			j++
		}
		chunks = append(chunks, c)
	}
	return chunks
}

// reserve sizes scratch: token-major x where the kernels cannot use the
// caller's, and a y [tokens, slabs] for each thread.
func (d *lanesLinear) reserve() {
	tokens := d.most()
	if d.cols != nil || d.featureMajor || d.collide(d.most()) {
		tokens = max(tokens, d.maxBatch)
	}
	d.xSize = tokens * d.pitch()
	if d.cols != nil {
		d.token = alignedFloats(roundUp(d.k, 16))[:d.k]
	}
	slabs := 0
	for _, chunks := range [][]slabChunk{d.once, d.again} {
		for _, c := range chunks {
			slabs = max(slabs, c.n)
		}
	}
	d.ySize = roundUp(d.most()*slabs*d.slab, 16)
	d.calls = make([]tokenCall, 0, d.maxBatch/d.most()+len(d.kernels)+1)
}

// A first-level cache puts lines into the same set that are so many bytes apart, and has
// room for so many there.
const (
	l1Sets = 4 << 10
	l1Ways = 8
)

// collide reports whether the caller's x is no use to kernels of so many tokens: each of
// its lines would drive out another before it is used up.
func (d *lanesLinear) collide(tokens int) bool { return d.in*4%l1Sets == 0 && tokens > l1Ways }

// pitch is the distance of tokens in scratch.
func (d *lanesLinear) pitch() int {
	n := roundUp(d.k, 16)
	if n*4%l1Sets == 0 {
		n += 16
	}
	return n
}

func (d *lanesLinear) scratch() int { return d.xSize + d.threads*d.ySize }

func (d *lanesLinear) most() int { return d.kernels[len(d.kernels)-1].tokens }

// prepare covers the batch with calls: of the largest kernel, then for a rest
// of the smallest kernel that holds it, unless more than half of the rest would
// be computed for nothing. A rest smaller than its kernel begins earlier: it
// computes the last tokens before it once more, to the same bits. A batch
// smaller than its only kernel is filled up.
func (d *lanesLinear) prepare(batch int) runner {
	d.batch, d.calls = batch, d.calls[:0]
	d.yRow, d.yColumn = d.strides(batch)
	for at := 0; at < batch; {
		rest, k := batch-at, &d.kernels[0]
		for i := range d.kernels {
			if n := d.kernels[i].tokens; n <= rest {
				k = &d.kernels[i]
			} else if k.tokens < rest && 2*n <= 3*rest {
				k = &d.kernels[i]
				break
			}
		}
		first := max(0, min(at, batch-k.tokens))
		d.calls = append(d.calls, tokenCall{first, k})
		at = first + k.tokens
	}
	d.chunks = d.once
	if len(d.calls) > 1 {
		d.chunks = d.again
	}
	transposed := d.featureMajor && batch > 1
	tokens := d.calls[0].kernel.tokens
	d.gathers = d.cols != nil || transposed || tokens > batch || !d.featureMajor && d.collide(tokens)
	d.scatters = d.rows != nil || transposed
	alone := batch == 1 && tokens == 1 && d.k > 0 // all there is to gather are the kept columns
	if len(d.chunks) == 1 && len(d.calls) == 1 && (!d.gathers || alone) && d.direct(&d.chunks[0]) && d.act == nil && len(d.constRows) == 0 {
		d.single = singleCall{
			d.calls[0].kernel.f, uintptr(d.out) * 4, uintptr(d.in) * 4,
			from(d.w, 0), from(d.meta, 0), from(d.cnt, 0), d.k, &d.bias[0], d.lo, d.hi, d.chunks[0].n,
			d.cols, d.token,
		}
		return &d.single
	}
	return d
}

func (d *lanesLinear) run(c *control, x, _, y []float32, _ int) error {
	d.c, d.x, d.y, d.ldx = c, x, y, d.in
	if d.gathers {
		d.gather()
	}
	if c.team == nil || d.stored*d.batch < c.share {
		for u := range d.chunks {
			if err := d.unit(0, u); err != nil {
				return err
			}
		}
	} else if err := c.team.run(d, len(d.chunks)); err != nil {
		return err
	}
	if len(d.constRows) > 0 {
		d.fillConstant(y, d.batch, 0, d.batch)
	}
	return nil
}

// gather makes x token-major with the kept columns only, tokens at distances that caches
// like, and fills up a batch that is smaller than its kernel.
func (d *lanesLinear) gather() {
	xs, pitch := d.c.scratch[:d.xSize], d.pitch()
	token, feature := d.in, 1
	if d.featureMajor {
		token, feature = 1, d.batch
	}
	for b := range d.batch {
		dst, src := xs[b*pitch:][:d.k], d.x[b*token:]
		switch {
		case d.cols != nil:
			for k, c := range d.cols {
				dst[k] = src[int(c)*feature]
			}
		case feature == 1:
			copy(dst, src)
		default:
			for k := range dst {
				dst[k] = src[k*feature]
			}
		}
	}
	if n := d.calls[0].kernel.tokens; n > d.batch {
		clear(xs[d.batch*pitch : n*pitch])
	}
	d.x, d.ldx = xs, pitch
}

// singleCall is an op that is one kernel call on its own x and y. Small layers
// are, and their kernels are so short that the way to them counts.
type singleCall struct {
	f        LanesFunc
	ldy, ldx uintptr
	w        *float32
	meta     *byte
	cnt      *uint32
	k        int
	bias     *float32
	lo, hi   float32
	n        int
	cols     []uint32  // what is kept of x, which is one token then, or nil
	token    []float32 // place for that
}

func (s *singleCall) run(_ *control, x, _, y []float32, _ int) error {
	s.call(x, y)
	return nil
}

func (s *singleCall) call(x, y []float32) {
	if s.cols != nil {
		for k, c := range s.cols {
			s.token[k] = x[c]
		}
		x = s.token
	}
	s.f(&y[0], s.ldy, &x[0], s.ldx, s.w, s.meta, s.cnt, s.k, s.bias, s.lo, s.hi, s.n)
}

// direct reports whether a kernel can write a chunk where it belongs in y.
func (d *lanesLinear) direct(c *slabChunk) bool {
	return !d.scatters && !c.partial
}

// unit computes one chunk of slabs for all tokens.
func (d *lanesLinear) unit(worker, u int) error {
	c := &d.chunks[u]
	var (
		bias   = &d.bias[c.first*d.slab]
		w      = from(d.w, c.w)
		meta   = from(d.meta, c.meta)
		cnt    = from(d.cnt, c.first*d.counts)
		direct = d.direct(c)
		lanes  = c.n * d.slab
	)
	for i := range d.calls {
		if d.c.stopped() {
			return errStopped
		}
		begin, k := d.calls[i].first, d.calls[i].kernel
		x := &d.x[begin*d.ldx]
		if direct && begin+k.tokens <= d.batch {
			at := begin*d.out + c.first*d.slab
			k.f(&d.y[at], uintptr(d.out)*4, x, uintptr(d.ldx)*4, w, meta, cnt, d.k, bias, d.lo, d.hi, c.n)
			if d.act != nil {
				for i := range k.tokens {
					d.act(&d.y[at+i*d.out], lanes)
				}
			}
			continue
		}
		y := d.c.scratch[d.xSize+worker*d.ySize:][:d.ySize]
		k.f(&y[0], uintptr(lanes)*4, x, uintptr(d.ldx)*4, w, meta, cnt, d.k, bias, d.lo, d.hi, c.n)
		if d.act != nil {
			d.act(&y[0], k.tokens*lanes)
		}
		for i := range min(k.tokens, d.batch-begin) {
			d.scatter(c, begin+i, y[i*lanes:][:lanes])
		}
	}
	return nil
}

// scatter writes the lanes of a chunk for one token to their rows of y.
func (d *lanesLinear) scatter(c *slabChunk, token int, lanes []float32) {
	first := c.first * d.slab
	if d.rows != nil {
		rows := d.rows[first:min(first+len(lanes), len(d.rows))]
		for i, r := range rows {
			d.y[int(r)*d.yRow+token*d.yColumn] = lanes[i]
		}
		return
	}
	lanes = lanes[:min(len(lanes), d.out-first)]
	if d.yRow == 1 {
		copy(d.y[token*d.yColumn+first:], lanes)
		return
	}
	for i, v := range lanes {
		d.y[(first+i)*d.yRow+token*d.yColumn] = v
	}
}
