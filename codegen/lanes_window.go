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
	if k.S != 16 || mc.Lanes > 8 || mc.Scalable {
		return fmt.Errorf("codegen: %s: no such slab on %s", k.Name(), mc.Name)
	}
	w := &windows{Builder: b, zero: b.Vec()}
	b.Zero(w.zero)
	f := fronts{Builder: b, unit: unit{rows: 8, w: 4 * sgp.WindowW, meta: sgp.WindowMeta, begin: w.begin, walk: w.walk, end: w.end}}
	f.build(k)
	return nil
}

type windows struct {
	*asm.Builder
	zero asm.Reg
}

func (w *windows) begin(acc []asm.Reg, bias asm.Mem) {
	for h, a := range acc {
		w.Load(a, bias.Plus(h*w.bytes()))
	}
}

func (w *windows) end(y asm.Mem, acc []asm.Reg, lo, hi asm.Reg) {
	for h, a := range acc {
		w.VMax(a, lo, a)
		w.VMin(a, hi, a)
		w.Store(y.Plus(h*w.bytes()), a)
	}
}

// bytes is those of a vector.
func (w *windows) bytes() int { return 4 * w.Machine().Lanes }

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
	place, k := w.Vecs(len(f.acc)), w.Int()
	for h, p := range place {
		w.Load(p, asm.At(f.meta, h*w.bytes()))
	}
	for q := range sgp.WindowSteps {
		w.LoadU(k, 1, asm.At(f.meta, sgp.WindowMeta-sgp.WindowSteps+q))
		begin := asm.Mem{Base: f.x, Index: k, Scale: 4}
		table := w.Vecs(2 * len(f.acc))
		for h, t := range table {
			switch half := h - len(f.acc); {
			case half < 0:
				w.Load(t, begin.Plus(h*w.bytes()))
			case half == 0: // behind the first eight columns a +0, then seven more
				w.LoadAfter(t, w.zero, begin.Plus(4*7))
			default:
				w.Load(t, begin.Plus(4*7+half*w.bytes()))
			}
		}
		for h, a := range f.acc {
			x := w.Vec()
			w.Select(x, place[h], table, 16)
			w.FMAMem(a, x, asm.At(f.w, 32*q+h*w.bytes()))
		}
		for _, p := range place {
			if q+1 < sgp.WindowSteps {
				w.VShrI(p, p, 4)
			}
		}
	}
	w.Lea(f.x, asm.Mem{Base: f.x, Index: k, Scale: 4})
	w.AddI(f.meta, sgp.WindowMeta)
	w.AddI(f.w, 4*sgp.WindowW)
}
