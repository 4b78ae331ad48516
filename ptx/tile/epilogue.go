package tile

import (
	"github.com/sparsegen/sparsegen/ptx"
	"github.com/sparsegen/sparsegen/ptx/hopper"
	"github.com/sparsegen/sparsegen/runtime/gpu"
)

// Epilogue is what happens to the sums of a product of weights and activations
// before they are stored as Y[token][output feature]:
//
//	y = act(sum · scale · rowscale[out] · tokenscale[token] + bias[out]) + residual[token][out]
//
// in float32, rounded once, to nearest even. S32 results are the sums themselves.
type Epilogue struct {
	Y           gpu.DType                              // BF16, F16, F32; S32 for integer sums
	TensorScale bool                                   // scale: a parameter
	OutScale    bool                                   // rowscale: float32 each, Scales
	TokenScale  bool                                   // tokenscale: float32 each, XScales
	Bias        gpu.DType                              // F32 or BF16; 0 for none
	Act         func(k *ptx.Kernel, x ptx.Reg) ptx.Reg // of a float32 register; nil for none
	Residual    bool                                   // of type Y
	Buffers     int                                    // of BufferBytes, a warpgroup
}

// BufferBytes is the size of a buffer through which a warpgroup stores.
const BufferBytes = 8192

const (
	warpgroupRows = 64
	group         = 16  // tokens that one stmatrix writes
	rowBytes      = 128 // of a box
)

// columns is how many tokens of a warpgroup's 64 features a buffer holds.
func (e *Epilogue) columns() int { return BufferBytes / warpgroupRows / e.Y.Size() }

// exact says whether the result is the integer sums.
func (e *Epilogue) exact() bool { return e.Y == gpu.S32 }

// SharedBytes is the shared memory that the epilogue takes at most for tiles of n
// tokens and that many warpgroups.
func (e *Epilogue) SharedBytes(n, warpgroups int) int {
	turns := max(1, n/e.columns())
	each := min(e.Buffers, turns) * (BufferBytes + 8)
	for _, v := range []struct {
		on    bool
		bytes int
	}{{e.OutScale, 4 * warpgroupRows}, {e.TokenScale, 4 * n}, {e.Bias != 0, 4 * warpgroupRows}} {
		if v.on {
			each += v.bytes + 16
		}
	}
	return warpgroups * each
}

// Output is an epilogue within a kernel.
type Output struct {
	e       *Epilogue
	c       *hopper.CTA
	n       int // tokens of a tile
	tokens  ptx.Reg
	out     *hopper.Outbox
	scale   ptx.Reg
	vectors []*vector
	bias    *vector
	byOut   *vector
	byToken *vector
}

// vector is a part of a vector in global memory that a tile needs, kept in shared
// memory for each warpgroup: copied before the products, used after them.
type vector struct {
	from   ptx.Reg // address
	length ptx.Reg // elements of the whole vector
	size   int     // bytes an element
	n      int     // elements that a warpgroup needs
	at     hopper.Region
}

// Declare declares the epilogue's parameters and shared memory for tiles of n
// tokens. Out and tokens are the sizes of the result.
func (e *Epilogue) Declare(c *hopper.CTA, n int, out, tokens ptx.Reg) *Output {
	k := c.K
	o := &Output{e: e, c: c, n: n, tokens: tokens}
	cols := min(n, e.columns())
	box := gpu.MapSpec{
		DType: e.Y, Of: gpu.Y, Inner: gpu.QOut, Outer: gpu.QTokens,
		Box: [2]uint32{uint32(rowBytes / max(1, e.Y.Size())), uint32(cols)}, Swizzle: gpu.Swizzle128,
	}
	y := c.TensorMap("y", box)
	var residual *hopper.TensorMap
	if e.Residual {
		box.Of = gpu.Residual
		residual = c.TensorMap("residual", box)
	}
	if n%cols != 0 {
		k.Errorf("tiles of %d tokens in buffers of %d", n, cols)
	}
	if e.exact() && (e.TensorScale || e.OutScale || e.TokenScale || e.Bias != 0 || e.Act != nil || e.Residual) {
		k.Errorf("results of type %v are the sums themselves", e.Y)
	}
	o.out = c.Outbox(y, residual, warpgroupRows*e.Y.Size()/rowBytes, e.Buffers, n/cols)
	if e.TensorScale {
		o.scale = c.F32("scale", gpu.QScale)
	}
	declare := func(name string, of gpu.Buffer, t gpu.DType, q gpu.Quantity, length ptx.Reg, n int) *vector {
		v := &vector{from: c.Pointer(name, of, t, q), length: length, size: t.Size(), n: n}
		v.at = c.Shared(name, c.Consumers()*n*t.Size(), 16)
		o.vectors = append(o.vectors, v)
		return v
	}
	if e.OutScale {
		o.byOut = declare("out_scale", gpu.Scales, gpu.F32, gpu.QOut, out, warpgroupRows)
	}
	if e.TokenScale {
		o.byToken = declare("token_scale", gpu.XScales, gpu.F32, gpu.QTokens, tokens, n)
	}
	if e.Bias != 0 {
		o.bias = declare("bias", gpu.Bias, e.Bias, gpu.QOut, out, warpgroupRows)
	}
	return o
}

// Writer is a warpgroup's end of an output.
type Writer struct {
	*Output
	w      *hopper.Warpgroup
	sender *hopper.Sender

	row, token ptx.Reg // first of the warpgroup's part of the tile
}

// Writer makes the warpgroup's end, before the loop over tiles.
func (o *Output) Writer(w *hopper.Warpgroup) *Writer {
	return &Writer{Output: o, w: w, sender: w.Sender(o.out)}
}

// Place says which tile is next: out is the first output feature of the block's
// tile, token its first token.
func (r *Writer) Place(out, token ptx.Reg) {
	r.row, r.token = r.c.K.Mad(r.w.Index, warpgroupRows, out), token
	r.sender.Place(r.row, r.token)
}

// Begin starts what the epilogue of the tile needs from memory. Every Begin needs
// a Store.
func (r *Writer) Begin() {
	for _, v := range r.vectors {
		first := r.row
		if v == r.byToken {
			first = r.token
		}
		r.fetch(v, first)
	}
	r.sender.Begin()
}

// fetch copies the warpgroup's part of a vector, from element first on, in words
// of four bytes; what lies beyond the vector's end becomes zero.
func (r *Writer) fetch(v *vector, first ptx.Reg) {
	k := r.c.K
	per := 4 / v.size
	at := k.Mad(r.w.Index, v.n*v.size, k.Mad(r.w.Thread, 4, r.c.Addr(v.at, 0)))
	for done := 0; done < v.n; done += 128 * per {
		copyWord := func() {
			i := k.Add(k.Mad(r.w.Thread, per, first), done)
			left := k.Sub(k.Max(v.length, i), i) // elements from i on
			bytes := k.Mul(k.Min(left, per), v.size)
			// An address beyond the end is not read, but must not wrap.
			from := k.MadWide(k.Min(i, v.length), v.size, v.from)
			k.Emit("cp.async.ca.shared.global", ptx.At(at, done*v.size), ptx.At(from, 0), ptx.Int(4), bytes)
		}
		if left := (v.n - done) / per; left < 128 {
			k.If(k.SetP("lt", r.w.Thread, left), copyWord)
		} else {
			copyWord()
		}
	}
}

// Store sends the sums of a tile on their way; their wgmmas have retired.
func (r *Writer) Store(acc *hopper.Acc) {
	k := r.c.K
	sums := acc.Regs()
	if acc.N != r.n || r.e.exact() != (acc.Type == ptx.S32 && r.e.Y == gpu.S32) {
		k.Errorf("an accumulator of %d columns of %v for results of %d tokens of %v", acc.N, acc.Type, r.n, r.e.Y)
	}
	if len(r.vectors) > 0 {
		k.Emit("cp.async.wait_all")
		r.w.Sync()
	}
	f := r.factors()
	cols := min(r.n, r.e.columns())
	put := r.put()
	for first := 0; first < r.n; first += cols {
		r.sender.Send(func(buffer int) {
			for col := 0; col < cols; col += group {
				r.divided(func() {
					for c := col; c < min(col+group, cols); c += 8 {
						put(buffer, c, r.values(f, sums[(first+c)/2:][:4], first+c))
					}
				})
			}
		})
	}
	r.sender.End()
}

// divided emits a part of the results. Activations go into a block under a
// condition that always holds, which the assembler cannot know: in one large block
// it would start more of them at once than there are registers beside the sums.
func (r *Writer) divided(part func()) {
	k := r.c.K
	if r.e.Act == nil {
		part()
		return
	}
	k.If(k.SetP("ne", r.tokens, 0xffffffff), part)
}

// Flush waits until everything stored is in global memory, after the last tile.
func (r *Writer) Flush() { r.sender.Flush() }
