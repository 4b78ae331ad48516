package runtime

import "unsafe"

// unit computes one group of chunks of some tiles: K-block by K-block, each chunk for
// one tile after the other.
func (d *tileLinear) unit(worker, u int) error {
	first, group := u/d.groups*d.together, u%d.groups
	tiles := d.tiles[first:min(first+d.together, len(d.tiles))]
	chunks := d.chunks[len(d.chunks)*group/d.groups : len(d.chunks)*(group+1)/d.groups]
	slot := worker * d.together // of y in scratch
	if d.groups > 1 {
		slot = first
	}
	for b := range d.blocks {
		kb := min(d.kb, d.k-b*d.kb)
		for j, t := range tiles {
			if !d.whereItLies(t) {
				d.load(d.packed(worker, j), t, &d.widths[t.width], b*d.kb, kb)
			}
		}
		ahead, left := d.ahead(first, b)
		for c := range chunks {
			if d.c.stopped() {
				return errStopped
			}
			for j, t := range tiles {
				w := &d.widths[t.width]
				from := input{&d.packed(worker, j)[0], uintptr(w.t) * 4}
				if d.whereItLies(t) {
					from = d.inputOf(t, b)
				}
				sums := d.sums(t, slot+j)
				to := sums
				if b == d.blocks-1 {
					to = d.output(t, slot+j)
				}
				d.call(w, &chunks[c], to, sums, from, ahead, b, kb)
			}
			rows := chunks[c].n * d.segments[chunks[c].segment].mr
			if left -= rows; left > 0 {
				ahead = ahead.plus(rows)
			} else {
				ahead.ld = 0
			}
		}
	}
	if d.groups > 1 && d.left[first].Add(-1) > 0 {
		return nil // another unit of these tiles finishes them
	}
	for j, t := range tiles {
		w := &d.widths[t.width]
		if !d.direct(t) && !d.store(d.output(t, slot+j).y, t, w) {
			return errStopped
		}
		d.fillConstant(d.y, d.batch, t.first, t.cols)
	}
	return nil
}

// whereItLies reports whether kernels read t's part of x in place.
func (d *tileLinear) whereItLies(t tile) bool {
	return d.inPlace && t.cols == d.widths[t.width].t
}

// direct reports whether kernels write the results of t to the output itself.
func (d *tileLinear) direct(t tile) bool {
	return d.featureMajor && t.cols == d.widths[t.width].t && !d.inScratch
}

// packed is a worker's x tile, the j-th of a unit.
func (d *tileLinear) packed(worker, j int) []float32 {
	return d.c.scratch[(worker*d.together+j)*d.xTile():][:d.xTile()]
}

// output is where results lie: row r begins at y[r*stride].
type output struct {
	y      []float32
	stride int
}

// output is where the last K-block of t goes.
func (d *tileLinear) output(t tile, slot int) output {
	if d.direct(t) {
		return output{d.y[t.first:], d.batch}
	}
	return d.tileOf(t, slot)
}

// sums is where the K-blocks before it add up. They lie together, unless they are few
// enough for the first-level cache where they are needed in the end: rows of the output
// may be far apart.
func (d *tileLinear) sums(t tile, slot int) output {
	if d.out*d.widths[t.width].t*4 <= l1 {
		return d.output(t, slot)
	}
	return d.tileOf(t, slot)
}

func (d *tileLinear) tileOf(t tile, slot int) output {
	return output{d.c.scratch[d.threads*d.together*d.xTile()+slot*d.yTile():][:d.yTile()], d.widths[t.width].t}
}

// input is where rows of x lie, and their distance in bytes.
type input struct {
	x  *float32
	ld uintptr
}

// inputOf is block b of tile t where it lies in x.
func (d *tileLinear) inputOf(t tile, b int) input {
	return input{&d.x[b*d.kb*d.batch+t.first], uintptr(d.batch) * 4}
}

// plus is n rows on.
func (i input) plus(n int) input {
	i.x = (*float32)(unsafe.Add(unsafe.Pointer(i.x), uintptr(n)*i.ld))
	return i
}

// ahead is what is read after block b of tile i, and how many rows it has: kernels
// fetch it while they work.
func (d *tileLinear) ahead(i, b int) (input, int) {
	if !d.fetch && !d.whereItLies(d.tiles[i]) {
		return input{x: &d.x[0]}, 0
	}
	if b++; b == d.blocks {
		b = 0
		i += d.apart
	}
	if i >= len(d.tiles) {
		return input{x: &d.x[0]}, 0
	}
	return d.inputOf(d.tiles[i], b), min(d.kb, d.k-b*d.kb)
}

// load packs columns t of x, features from..from+kb, to the tile [kb, T].
func (d *tileLinear) load(x []float32, t tile, w *tileWidth, from, kb int) {
	switch {
	case d.cols == nil && d.featureMajor:
		d.loadTile(&x[0], &d.x[from*d.batch+t.first], uintptr(d.batch)*4, w.t, kb, t.cols)
	case d.cols == nil:
		d.loadTile(&x[0], &d.x[t.first*d.in+from], uintptr(d.in)*4, w.t, kb, t.cols)
	case d.featureMajor:
		for k, c := range d.cols[from : from+kb] {
			row := x[k*w.t:][:w.t]
			clear(row[copy(row, d.x[int(c)*d.batch+t.first:][:t.cols]):])
		}
	default:
		for j := 0; j < w.t; j += 4 { // widths are multiples of 8
			var src [4][]float32
			for i := range src {
				src[i] = d.x[(t.first+min(j+i, t.cols-1))*d.in:][:d.in]
			}
			gather(x[j:], w.t, src, d.cols[from:from+kb])
		}
	}
}

// gather copies the given columns of four rows of equal length to four columns of x,
// whose rows are ld apart.
func gather(x []float32, ld int, rows [4][]float32, cols []uint32) {
	a := rows[0]
	b, c, d := rows[1][:len(a)], rows[2][:len(a)], rows[3][:len(a)]
	for k, col := range cols {
		to := x[k*ld:][:4]
		to[0], to[1], to[2], to[3] = a[col], b[col], c[col], d[col]
	}
}

// call runs one chunk's kernel over one K-block. What the blocks before have added up
// lies in sums.
func (d *tileLinear) call(w *tileWidth, c *tileChunk, to, sums output, x, ahead input, block, kb int) {
	s := &d.segments[c.segment]
	at := c.at[block]
	lo, hi := d.lo, d.hi
	var bias *float32
	if block == 0 {
		bias = &s.bias[c.first*s.mr]
	}
	last := block == d.blocks-1
	if !last {
		lo, hi = noClamp()
	}
	y, stride := to.y, to.stride
	ld, lds := uintptr(stride)*4, uintptr(sums.stride)*4
	switch s.op {
	case PanelDense:
		w.dense[c.segment](&y[0], ld, &sums.y[0], lds, &s.rows[c.first*s.mr], x.x, x.ld, from(s.w, at.w), bias, lo, hi, c.n, kb, ahead.x, ahead.ld)
	case DeltaTile:
		w.delta(&y[c.first*s.mr*stride], ld, x.x, from(s.w, at.w), from(s.meta, at.w), &s.cnt[c.first], bias, lo, hi, c.n)
	default:
		w.panel[c.segment](&y[0], ld, &sums.y[0], lds, &s.rows[c.first*s.mr], x.x, x.ld, from(s.w, at.w), from(s.idx, at.idx), from(s.runs, at.runs),
			bias, lo, hi, c.n, ahead.x, ahead.ld)
	}
	if !last || d.act == nil {
		return
	}
	if s.rows == nil && stride == w.t { // the rows lie one behind the other
		d.act(&y[c.first*s.mr*stride], c.n*s.mr*stride)
		return
	}
	for i := c.first * s.mr; i < (c.first+c.n)*s.mr; i++ {
		row := i
		if s.rows != nil {
			row = int(s.rows[i])
		}
		d.act(&y[row*stride], w.t)
	}
}

// store moves a tile from scratch to the output, unless the context has ended.
func (d *tileLinear) store(y []float32, t tile, w *tileWidth) bool {
	if !d.featureMajor && d.rows == nil {
		piece := max(callMoves/w.t&^15, 16)
		for r := 0; r < d.out; r += piece {
			if d.c.stopped() {
				return false
			}
			d.storeTile(&y[r*w.t], &d.y[t.first*d.out+r], uintptr(d.out)*4, w.t, min(piece, d.out-r), t.cols)
		}
		return true
	}
	n := d.out
	if d.rows != nil {
		n = len(d.rows)
	}
	row, column := d.strides(d.batch)
	for i := range n {
		r := i
		if d.rows != nil {
			r = int(d.rows[i])
		}
		src := y[i*w.t:][:t.cols]
		if column == 1 {
			copy(d.y[r*row+t.first:], src)
			continue
		}
		for j, v := range src {
			d.y[r*row+(t.first+j)*column] = v
		}
	}
	return true
}

// from is a pointer to s[i], or nil where nothing is stored from there on; the
// kernel then reads nothing.
func from[T any](s []T, i int) *T {
	if i >= len(s) {
		return nil
	}
	return &s[i]
}
