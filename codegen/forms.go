package codegen

import (
	"fmt"
	"sync"

	"github.com/sparsegen/sparsegen/internal/sgp"
	"github.com/sparsegen/sparsegen/patterns"
	"github.com/sparsegen/sparsegen/runtime"
)

// Forms are those of what a mask keeps of a matrix, [out, in]: each is packed once. They may be
// asked for by several goroutines.
type Forms struct {
	mask     *patterns.Mask
	err      error
	operands [2]func() *operand // of all columns, and without the empty ones
	mu       sync.Mutex
	packed   map[Config]sgp.Variant
}

// NewForms are the forms of what mask keeps of m.
func NewForms(m patterns.Matrix, mask *patterns.Mask) *Forms {
	f := &Forms{mask: mask, packed: map[Config]sgp.Variant{}}
	if mask.Rows != m.Rows || mask.Cols != m.Cols {
		f.err = fmt.Errorf("codegen: mask is [%d, %d], matrix [%d, %d]", mask.Rows, mask.Cols, m.Rows, m.Cols)
	}
	for i := range f.operands {
		f.operands[i] = sync.OnceValue(func() *operand { return newOperand(m, mask, i == 1) })
	}
	return f
}

// Pack packs the weights for c. The batch range of the result is left open.
func (f *Forms) Pack(c Config) (sgp.Variant, error) {
	short := c.Short
	c.Short = false // the same streams
	f.mu.Lock()
	v, ok := f.packed[c]
	f.mu.Unlock()
	v.Short = short
	if ok || f.err != nil {
		return v, f.err
	}
	o := f.operands[0]
	if c.Compact {
		o = f.operands[1]
	}
	v, err := pack(o(), c)
	v.Short = short
	if err == nil {
		f.mu.Lock()
		f.packed[c] = v
		f.mu.Unlock()
	}
	return v, err
}

// Pack packs what mask keeps of m, a [out, in] matrix, for c. The batch range
// of the result is left open.
func (c Config) Pack(m patterns.Matrix, mask *patterns.Mask) (sgp.Variant, error) {
	return NewForms(m, mask).Pack(c)
}

func pack(o *operand, c Config) (sgp.Variant, error) {
	if kind := panelKinds[c.Op]; kind != 0 {
		if c.KB < 1 || c.KB > maxKB {
			return sgp.Variant{}, fmt.Errorf("codegen: K-block of %d columns, want 1 to %d", c.KB, maxKB)
		}
		return sgp.Variant{Panel: packPanel(o, kind, c.MR, c.KB)}, nil
	}
	l, err := packLanes(o, lanesKinds[c.Op], c.S, c.N, c.M)
	if err != nil {
		return sgp.Variant{}, err
	}
	return sgp.Variant{Lanes: l}, nil
}

// lanesKinds and panelKinds map kernel ops to the packed file's kinds.
var (
	panelKinds = map[runtime.KernelOp]sgp.SegmentKind{
		runtime.PanelGrouped: sgp.Grouped, runtime.PanelBlock: sgp.Block, runtime.PanelStep: sgp.Step, runtime.PanelDense: sgp.Dense,
	}
	lanesKinds = map[runtime.KernelOp]sgp.LanesKind{
		runtime.LanesDense: sgp.LanesDense, runtime.LanesList: sgp.LanesList, runtime.LanesNM: sgp.LanesNM,
		runtime.LanesMask: sgp.LanesMask, runtime.LanesRow: sgp.LanesRow, runtime.LanesWindow: sgp.LanesWindow, runtime.DeltaTile: sgp.DeltaTile,
	}
)
