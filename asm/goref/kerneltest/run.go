package kerneltest

import (
	"bytes"
	"fmt"
	"runtime/debug"
	"slices"
	"unsafe"

	"github.com/sparsegen/sparsegen/internal/guard"
	"github.com/sparsegen/sparsegen/runtime"
)

// output is the name of the memory that a kernel writes, in errors.
const output = "the output's memory"

// Run calls fn, a runtime.PanelFunc or whichever type the key has, and returns
// the memory that holds the output afterwards. It returns an error if fn has
// another type, panics, touches memory outside its arguments, or writes to an input.
func (c *Call) Run(fn any) (image []float32, err error) {
	// Most errors are at the end of an argument, so most calls guard the ends.
	m := memory{guardStart: c.seed%4 == 3}
	defer m.free()

	tile := uintptr(64) // alignment that the contract promises for tiles
	if c.strict {
		tile = 4
	}
	xAlign, outAlign := uintptr(4), uintptr(4)
	switch c.key.Op {
	case runtime.DeltaTile, runtime.UntransTile:
		xAlign = tile
	case runtime.CopyTile, runtime.TransTile:
		outAlign = tile
	}
	out := place(&m, output, c.out, outAlign)
	sums := place(&m, "sums", c.sums, 4)
	x := place(&m, "x", c.x, xAlign)
	w := place(&m, "w", c.w, 4)
	rows := place(&m, "rows", c.rows, 4)
	cnt := place(&m, "cnt", c.cnt, 4)
	idx := place(&m, "idx", c.idx, 2)
	runs := place(&m, "runs", c.runs, 2)
	metaAlign := uintptr(1)
	switch c.key.Op {
	case runtime.LanesNM:
		metaAlign = 4
	case runtime.LanesList:
		metaAlign = 2
	}
	meta := place(&m, "meta", c.meta, metaAlign)
	var bias *float32
	if c.bias != nil {
		bias = place(&m, "bias", c.bias, 4)
	}
	if m.err != nil {
		return nil, fmt.Errorf("%v: %w", c, m.err)
	}

	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if r := recover(); r != nil {
			image, err = nil, fmt.Errorf("%v: %s", c, m.describe(r))
		}
	}()
	y := (*float32)(unsafe.Add(unsafe.Pointer(out), c.at*4))
	ldy, ldx := uintptr(c.ldout*4), uintptr(c.ldx*4)
	from, lds := y, ldy
	if c.sums != nil {
		from, lds = sums, uintptr(c.lds*4)
	}
	switch f := fn.(type) {
	case runtime.PanelFunc:
		f(y, ldy, from, lds, rows, x, ldx, w, idx, runs, bias, c.lo, c.hi, c.n, x, ldx*uintptr(c.seed%2))
	case runtime.PanelDenseFunc:
		f(y, ldy, from, lds, rows, x, ldx, w, bias, c.lo, c.hi, c.n, c.k, x, ldx*uintptr(c.seed%2))
	case runtime.LanesFunc:
		f(y, ldy, x, ldx, w, meta, cnt, c.k, bias, c.lo, c.hi, c.n)
	case runtime.DeltaTileFunc:
		f(y, ldy, x, w, meta, cnt, bias, c.lo, c.hi, c.n)
	case runtime.TileFunc:
		if c.key.Op == runtime.UntransTile {
			f(x, y, ldy, c.t, c.n, c.k)
		} else {
			f(y, x, ldx, c.t, c.n, c.k)
		}
	case runtime.MapFunc:
		f(y, c.n)
	default:
		return nil, fmt.Errorf("%v: a kernel of type %T", c, fn)
	}
	if err := m.changed(); err != nil {
		return nil, fmt.Errorf("%v: %w", c, err)
	}
	return slices.Clone(unsafe.Slice(out, len(c.out))), nil
}

// memory is the memory of one call's arguments.
type memory struct {
	guardStart bool // the inaccessible page before an argument adjoins it, not the one after
	regions    []region
	err        error
}

// region is one argument's memory.
type region struct {
	guard.Memory
	name       string
	before     []byte  // all that can be accessed, as it was before the call
	start, end uintptr // the argument
}

// place copies data into a region of its own.
func place[T any](m *memory, name string, data []T, align uintptr) *T {
	size := len(data) * int(unsafe.Sizeof(*new(T)))
	g, err := guard.New(size, int(align), m.guardStart)
	if err != nil {
		m.err = err
		return nil
	}
	at := unsafe.Pointer(unsafe.SliceData(g.Bytes))
	copy(unsafe.Slice((*T)(at), len(data)), data)
	m.regions = append(m.regions, region{
		Memory: g, name: name, before: slices.Clone(g.Around),
		start: uintptr(at), end: uintptr(at) + uintptr(size),
	})
	return (*T)(at)
}

// changed returns an error if anything but the output has been written.
func (m *memory) changed() error {
	for _, r := range m.regions {
		base, size := uintptr(unsafe.Pointer(unsafe.SliceData(r.Around))), uintptr(len(r.Around))
		keep := [][2]uintptr{{0, size}}
		if r.name == output {
			keep = [][2]uintptr{{0, r.start - base}, {r.end - base, size}}
		}
		for _, span := range keep {
			if bytes.Equal(r.Around[span[0]:span[1]], r.before[span[0]:span[1]]) {
				continue
			}
			for i := span[0]; i < span[1]; i++ {
				if r.Around[i] != r.before[i] {
					return fmt.Errorf("the kernel writes %s", r.locate(base+i))
				}
			}
		}
	}
	return nil
}

// locate describes an address in or near the region's argument.
func (r region) locate(at uintptr) string {
	switch {
	case at < r.start:
		return fmt.Sprintf("a byte %d bytes before %s", r.start-at, r.name)
	case at >= r.end:
		return fmt.Sprintf("a byte %d bytes beyond the end of %s", at-r.end, r.name)
	default:
		return fmt.Sprintf("byte %d of %s", at-r.start, r.name)
	}
}

func (m *memory) free() {
	for _, r := range m.regions {
		r.Free()
	}
}

// describe explains a recovered panic of a kernel.
func (m *memory) describe(r any) string {
	fault, ok := r.(interface{ Addr() uintptr })
	if !ok {
		return fmt.Sprintf("the kernel panics: %v", r)
	}
	at := fault.Addr()
	for _, r := range m.regions {
		base, size := r.Base()
		if at >= base && at < base+uintptr(size) {
			return "the kernel touches " + r.locate(at)
		}
	}
	return fmt.Sprintf("the kernel touches address %#x, far from its arguments", at)
}
