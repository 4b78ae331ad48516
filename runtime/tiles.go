package runtime

import (
	"slices"
	"sync/atomic"

	"github.com/sparsegen/sparsegen/internal/sgp"
)

// A kernel call lasts about 50 µs at most, so that the garbage collector never
// waits long: callFMA multiply-adds at some 8 a nanosecond, or half as many where
// a neighbour has the other half of the core.
const callFMA = 200_000

// callMoves is the same for elements that are moved, at about one a nanosecond.
const callMoves = 20_000

// l1 is what a core has of first-level cache for data, at least.
const l1 = 32 << 10

// manyWeights is the bytes of weights that come from memory for each tile anew, because
// they outgrow what others leave of a third-level cache. Tiles then share them.
const manyWeights = 12 << 20

// tileLinear is a linear op whose kernels have batch columns as lanes: panels,
// and delta slabs in tiles. The batch is cut into tiles T columns wide. For each
// tile, K-block by K-block, x's part is packed to [kb, T] and the kernels go over
// it; y accumulates in the output itself, where that is feature-major and the
// tile is full, or in scratch [rows, T].
type tileLinear struct {
	linear
	kb, blocks int
	widths     []tileWidth // by T, ascending
	lanes      int         // float32 a vector of their kernels
	loadTile   TileFunc    // CopyTile or TransTile
	storeTile  TileFunc    // UntransTile, or nil where y is feature-major
	segments   []segment
	chunks     []tileChunk
	// inScratch says that the kernels' row order is not the output's, so that y
	// always goes through scratch; its row i is output row rows[i], or i.
	inScratch   bool
	rows        []uint32
	scratchRows int
	stored      int        // bytes of weights and indices
	together    int        // tiles of a unit
	perColumn   int        // stored elements: multiply-adds a batch column
	panel       *sgp.Panel // nil: delta slabs
	dense       bool       // every segment is dense

	// Of the run at hand.
	c       *control
	x, y    []float32
	batch   int
	tiles   []tile
	inPlace bool           // kernels read whole tiles where they lie in x
	fetch   bool           // kernels fetch what is packed next
	groups  int            // each tile is this many units, by ranges of chunks
	apart   int            // tiles from one to the next that the same worker computes
	left    []atomic.Int32 // by tile: groups that are not finished
}

// tileWidth is the kernels for one T, by segment where it says so.
type tileWidth struct {
	t     int
	panel []PanelFunc
	dense []PanelDenseFunc
	delta DeltaTileFunc
}

// segment is what the kernels of one key work through.
type segment struct {
	op   KernelOp
	kind sgp.SegmentKind // of panels
	mr   int             // rows of a panel or slab
	rows []uint32
	bias []float32 // in panel or slab order
	w    []float32
	idx  []uint16
	runs []uint16
	meta []byte
	cnt  []uint32
}

// tileChunk is what one kernel call does in one K-block: n panels or slabs of a
// segment from the first on. at holds the streams' offsets, by K-block.
type tileChunk struct {
	segment, first, n int
	at                []streamOffset
}

type streamOffset struct{ w, idx, runs int }

// tile is a range of batch columns, at most as wide as its width's T.
type tile struct{ first, cols, width int }

func bindPanel(l *sgp.Layer, base linear, p *sgp.Panel, k kernels, size sizes) (*tileLinear, error) {
	d := &tileLinear{linear: base, kb: p.KB, scratchRows: base.out, panel: p, dense: true}
	d.keep(p.Cols)
	d.blocks = (d.k + d.kb - 1) / d.kb
	covered := make([]bool, base.out)
	var keys []KernelKey
	for i := range p.Segments {
		s := &p.Segments[i]
		op := map[sgp.SegmentKind]KernelOp{sgp.Grouped: PanelGrouped, sgp.Block: PanelBlock, sgp.Step: PanelStep, sgp.Dense: PanelDense}[s.Kind]
		keys = append(keys, KernelKey{Op: op, MR: uint8(s.MR)})
		bias := make([]float32, len(s.Rows))
		for i, r := range s.Rows {
			covered[r] = true
			bias[i] = base.biasOf(int(r))
		}
		d.segments = append(d.segments, segment{op: op, kind: s.Kind, mr: s.MR, rows: s.Rows, bias: bias, w: s.W, idx: s.Idx, runs: s.Runs})
		d.perColumn += len(s.W)
		d.stored += 4*len(s.W) + 2*len(s.Idx)
		d.dense = d.dense && op == PanelDense
	}
	d.setConstant(covered)
	if err := d.bindWidths(l, keys, k); err != nil {
		return nil, err
	}
	d.lanes = k.lanes(keys[0])
	d.widths = d.widths[:max(d.worth(1), d.worth(size.batch))+1]
	limit := d.chunkLimit(size)
	for i := range d.segments {
		d.cutPanels(i, limit)
	}
	d.reserve(size)
	return d, nil
}

func bindDeltaTile(l *sgp.Layer, base linear, f *sgp.Lanes, k kernels, size sizes) (*tileLinear, error) {
	d := &tileLinear{linear: base, rows: f.Rows, perColumn: len(f.W)}
	d.keep(f.Cols)
	d.kb, d.blocks = d.k, 1
	slabs := f.Slabs(base.out)
	d.scratchRows = slabs * f.S
	d.inScratch = f.Rows != nil || d.scratchRows != base.out
	bias, covered := d.slabBias(f, slabs)
	d.setConstant(covered)
	d.segments = []segment{{op: DeltaTile, mr: f.S, bias: bias, w: f.W, meta: f.Meta, cnt: f.Cnt}}
	if err := d.bindWidths(l, []KernelKey{{Op: DeltaTile, S: uint8(f.S)}}, k); err != nil {
		return nil, err
	}
	limit, entry := d.chunkLimit(size), 0
	for j := 0; j < slabs; {
		c := tileChunk{first: j, at: []streamOffset{{w: entry * f.S}}}
		for stored := 0; j < slabs && (c.n == 0 || stored+int(f.Cnt[j])*f.S <= limit); j++ {
			stored += int(f.Cnt[j]) * f.S
			entry += int(f.Cnt[j])
			c.n++
		}
		d.chunks = append(d.chunks, c)
	}
	d.reserve(size)
	return d, nil
}

// bindWidths finds the tile widths for which every key has a kernel, and the
// tile moves.
func (d *tileLinear) bindWidths(l *sgp.Layer, keys []KernelKey, k kernels) error {
	ts, err := k.ladder(l.Name, keys, func(k *KernelKey) *uint8 { return &k.T })
	if err != nil {
		return err
	}
	for _, t := range ts {
		w := tileWidth{t: t, panel: make([]PanelFunc, len(keys)), dense: make([]PanelDenseFunc, len(keys))}
		for i, key := range keys {
			key.T = uint8(t)
			switch key.Op {
			case PanelDense:
				w.dense[i], err = find[PanelDenseFunc](k, l.Name, key)
			case DeltaTile:
				w.delta, err = find[DeltaTileFunc](k, l.Name, key)
			default:
				w.panel[i], err = find[PanelFunc](k, l.Name, key)
			}
			if err != nil {
				return err
			}
		}
		d.widths = append(d.widths, w)
	}
	load := KernelKey{Op: TransTile}
	if d.featureMajor {
		load.Op = CopyTile
	} else if d.storeTile, err = find[TileFunc](k, l.Name, KernelKey{Op: UntransTile}); err != nil {
		return err
	}
	d.loadTile, err = find[TileFunc](k, l.Name, load)
	return err
}

// chunkLimit is the number of stored elements of a K-block that one call takes
// on: short calls, and several for each thread.
func (d *tileLinear) chunkLimit(size sizes) int {
	limit := callFMA / d.widths[len(d.widths)-1].t
	if size.threads > 1 {
		limit = min(limit, max(d.perColumn/max(1, d.blocks)/(4*size.threads), 256))
	}
	return limit
}

// cutPanels cuts a segment into chunks whose stored elements stay below limit
// in each K-block, and whose rows do not outnumber those of x, which are what a
// call fetches ahead; a chunk has at least one panel.
func (d *tileLinear) cutPanels(seg, limit int) {
	s := &d.segments[seg]
	panels := len(s.rows) / s.mr
	at := make([]streamOffset, d.blocks)
	for b := 1; b < d.blocks; b++ {
		at[b] = at[b-1]
		for p := range panels {
			idx, w := s.panelSize(d, b-1, panels, p)
			at[b].idx += idx
			at[b].w += w
			at[b].runs += s.kind.Runs(s.mr)
		}
	}
	sum := make([]int, d.blocks) // of the open chunk
	for p := range panels {
		fits := p > 0 && d.chunks[len(d.chunks)-1].n*s.mr < d.kb
		for b := range d.blocks {
			_, w := s.panelSize(d, b, panels, p)
			fits = fits && sum[b]+w <= limit
		}
		if !fits {
			d.chunks = append(d.chunks, tileChunk{segment: seg, first: p, at: slices.Clone(at)})
			clear(sum)
		}
		d.chunks[len(d.chunks)-1].n++
		for b := range d.blocks {
			idx, w := s.panelSize(d, b, panels, p)
			sum[b] += w
			at[b].idx += idx
			at[b].w += w
			at[b].runs += s.kind.Runs(s.mr)
		}
	}
}

// panelSize is the number of indices and weights of one panel in one K-block.
func (s *segment) panelSize(d *tileLinear, block, panels, panel int) (idx, w int) {
	if s.op == PanelDense {
		return 0, min(d.kb, d.k-block*d.kb) * s.mr
	}
	n := s.kind.Runs(s.mr)
	for i, entries := range s.runs[(block*panels+panel)*n:][:n] {
		columns, weights := s.kind.Entry(s.mr, i)
		idx += int(entries) * columns
		w += int(entries) * weights
	}
	return idx, w
}

// reserve makes room for the tiles of the largest batch.
func (d *tileLinear) reserve(size sizes) {
	d.threads, d.maxBatch = size.threads, size.batch
	most := size.batch/d.widths[d.worth(size.batch)].t + len(d.widths) + 1
	d.tiles = make([]tile, 0, most)
	d.left = make([]atomic.Int32, most)
	d.together = 1
	if size.threads == 1 && !d.featureMajor && d.stored > manyWeights {
		d.together = min(most, 8)
	}
}

// scratch has, for each thread, the x tiles and y tiles of a unit. When a tile's rows are
// shared out, the y tile belongs to the tile instead; there are fewer of those
// than sharing tiles.
func (d *tileLinear) scratch() int {
	return d.threads*d.together*d.xTile() + max(d.threads*d.together, d.maxShared())*d.yTile()
}

// worth is the index of the widest width that is worth its tile at this batch.
func (d *tileLinear) worth(batch int) int {
	i := len(d.widths) - 1
	if d.panel == nil {
		return i
	}
	widest := d.panel.WidestTile(d.k, d.lanes, batch)
	if t := d.inPlaceTile(batch); t > 0 {
		widest = t
	}
	for i > 0 && d.widths[i].t > widest {
		i--
	}
	return i
}

// inPlaceTile is the width of the tiles whose x kernels read where it lies, or 0.
func (d *tileLinear) inPlaceTile(batch int) int {
	if !d.featureMajor || d.panel == nil {
		return 0
	}
	return d.panel.InPlaceTile(d.in, batch, d.lanes, d.widest())
}

func (d *tileLinear) widest() int { return d.widths[len(d.widths)-1].t }
func (d *tileLinear) xTile() int  { return roundUp(min(d.kb, d.k), 16) * d.widest() }
func (d *tileLinear) yTile() int  { return roundUp(d.scratchRows, 16) * d.widest() }

// maxShared is the number of tiles below which tiles are cut into groups.
func (d *tileLinear) maxShared() int {
	if d.threads == 1 {
		return 0
	}
	return min(cap(d.tiles), 4*d.threads)
}

func (d *tileLinear) run(c *control, x, _, y []float32, batch int) error {
	d.c, d.x, d.y, d.groups, d.apart = c, x, y, 1, 1
	if c.team == nil || d.perColumn*batch < c.share {
		for u := range (len(d.tiles) + d.together - 1) / d.together {
			if err := d.unit(0, u); err != nil {
				return err
			}
		}
		return nil
	}
	if len(d.tiles) < d.maxShared() {
		// A unit has at least a tenth of what is worth sharing: each packs x anew.
		d.groups = max(1, min(len(d.chunks), d.maxShared()/len(d.tiles), 10*d.perColumn*batch/len(d.tiles)/(c.share+1)))
	}
	if d.groups == 1 {
		d.apart = d.threads
	}
	for i := range d.tiles {
		d.left[i].Store(int32(d.groups))
	}
	return c.team.run(d, len(d.tiles)*d.groups)
}

// prepare covers the batch with as few tiles as the widest width allows, all of
// about the same width: a narrow tile keeps few accumulators busy and still
// costs each weight its load. Only the last may end with a part of a vector: behind
// others tiles would not begin where a line does.
func (d *tileLinear) prepare(batch int) runner {
	d.batch, d.tiles = batch, d.tiles[:0]
	widest := d.widths[d.worth(batch)].t
	d.inPlace = d.inPlaceTile(batch) > 0
	d.fetch = d.featureMajor && d.cols == nil && d.dense && sgp.FetchAhead(d.in, batch)
	n := (batch + widest - 1) / widest
	for at := 0; at < batch; n-- {
		want, width := (batch-at+n-1)/n, 0
		for d.widths[width].t < want {
			width++
		}
		if n > 1 && d.lanes > 0 && d.widths[width].t%d.lanes > 0 && width+1 < len(d.widths) {
			width++
		}
		cols := min(batch-at, d.widths[width].t)
		d.tiles = append(d.tiles, tile{at, cols, width})
		at += cols
	}
	return d
}
