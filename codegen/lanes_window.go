package codegen

import (
	"fmt"

	"github.com/sparsegen/sparsegen/asm"
	"github.com/sparsegen/sparsegen/internal/sgp"
	"github.com/sparsegen/sparsegen/runtime"
)

// window builds LanesWindow: lanes are eight output rows, and in each step a lane
// takes the next stored element of its row from a window of fifteen columns, which
// lies in two registers, or +0 from the place between them. So a step costs two
// permutations and a blend for eight elements instead of a load for each.
func window(b *asm.Builder, k runtime.KernelKey) error {
	mc := b.Machine()
	if k.S != 16 || mc.Lanes != 8 {
		return fmt.Errorf("codegen: %s: no such slab on %s", k.Name(), mc.Name)
	}
	w := &windows{Builder: b, zero: b.Vec()}
	b.Zero(w.zero)
	f := fronts{Builder: b, unit: unit{rows: 8, w: 4 * sgp.WindowW, meta: sgp.WindowMeta, begin: b.Load, walk: w.walk, end: w.end}}
	f.build(k)
	return nil
}

type windows struct {
	*asm.Builder
	zero asm.Reg
}

func (w *windows) end(y asm.Mem, acc, lo, hi asm.Reg) {
	w.VMax(acc, lo, acc)
	w.VMin(acc, hi, acc)
	w.Store(y, acc)
}

func (w *windows) walk(stem string, n asm.Reg, fronts []front) {
	w.While(stem, n, func() {
		for _, f := range fronts {
			if len(fronts) > 1 {
				for line := 0; line < 4*sgp.WindowW; line += 64 {
					w.Prefetch(asm.At(f.w, ahead+line))
				}
				w.Prefetch(asm.At(f.meta, ahead*sgp.WindowMeta/(4*sgp.WindowW)))
			}
			w.group(f)
		}
	})
}

// group takes the eight steps of a group.
func (w *windows) group(f front) {
	place, k := w.Vec(), w.Int()
	w.Load(place, asm.At(f.meta, 0))
	for q := range sgp.WindowSteps {
		w.LoadU(k, 1, asm.At(f.meta, sgp.WindowMeta-sgp.WindowSteps+q))
		low, high, x := w.Vec(), w.Vec(), w.Vec()
		begin := asm.Mem{Base: f.x, Index: k, Scale: 4}
		w.Load(low, begin)
		w.LoadAfter(high, w.zero, begin.Plus(4*7))
		w.Select(x, place, []asm.Reg{low, high}, 16)
		w.FMAMem(f.acc, x, asm.At(f.w, 32*q))
		if q+1 < sgp.WindowSteps {
			w.VShrI(place, place, 4)
		}
	}
	w.Lea(f.x, asm.Mem{Base: f.x, Index: k, Scale: 4})
	w.AddI(f.meta, sgp.WindowMeta)
	w.AddI(f.w, 4*sgp.WindowW)
}
