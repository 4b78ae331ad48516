package runtime

import (
	"fmt"
	"unsafe"

	"github.com/sparsegen/sparsegen/internal/sgp"
)

func bindOp(l *sgp.Layer, op *sgp.Op, k kernels, size sizes) (operation, error) {
	switch op.Kind {
	case sgp.LinearOp:
		return bindLinear(l, op, k, size)
	case sgp.Relu:
		_, hi := noClamp()
		return &clampOp{0, hi}, nil
	case sgp.Clamp:
		return &clampOp{op.Lo, op.Hi}, nil
	case sgp.Add:
		return binaryOp(add), nil
	case sgp.Mul:
		return binaryOp(mul), nil
	case sgp.Softmax, sgp.LayerNorm, sgp.RMSNorm:
		return bindNorm(l, op, size), nil
	}
	f, err := bindMap(l, op.Kind, k)
	return &mapOp{f}, err
}

// maps has a row for each activation that is no clamp: its kernel and its Go
// form, which gives the same bits.
var maps = map[sgp.OpKind]struct {
	op KernelOp
	f  func([]float32)
}{
	sgp.Gelu:     {MapGelu, Gelu},
	sgp.GeluTanh: {MapGeluTanh, GeluTanh},
	sgp.Silu:     {MapSilu, Silu},
	sgp.Sigmoid:  {MapSigmoid, Sigmoid},
	sgp.Tanh:     {MapTanh, Tanh},
}

// bindMap gives the kernel of an activation, or its Go form.
func bindMap(l *sgp.Layer, kind sgp.OpKind, k kernels) (MapFunc, error) {
	row, ok := maps[kind]
	if !ok {
		return nil, fmt.Errorf("layer %q: kind %d is no activation", l.Name, kind)
	}
	if key := (KernelKey{Op: row.op}); k.best[key].Fn != nil {
		return find[MapFunc](k, l.Name, key)
	}
	return func(y *float32, n int) { row.f(unsafe.Slice(y, n)) }, nil
}

// Elementwise operations go over the values in pieces that stay in the first
// cache; a piece is far shorter than callFMA.
const piece = 4096

type mapOp struct{ f MapFunc }

func (*mapOp) scratch() int { return 0 }

func (o *mapOp) prepare(int) runner { return o }

func (o *mapOp) run(c *control, x, _, out []float32, _ int) error {
	for len(x) > 0 {
		if c.stopped() {
			return errStopped
		}
		n := copy(out[:min(len(out), piece)], x)
		o.f(&out[0], n)
		x, out = x[n:], out[n:]
	}
	return nil
}

type clampOp struct{ lo, hi float32 }

func (*clampOp) scratch() int { return 0 }

func (o *clampOp) prepare(int) runner { return o }

func (o *clampOp) run(_ *control, x, _, out []float32, _ int) error {
	for i, v := range x {
		out[i] = clamp(v, o.lo, o.hi)
	}
	return nil
}

type binaryOp func(x, y, out []float32)

func (binaryOp) scratch() int { return 0 }

func (o binaryOp) prepare(int) runner { return o }

func (o binaryOp) run(_ *control, x, y, out []float32, _ int) error {
	o(x, y, out)
	return nil
}

func add(x, y, out []float32) {
	y, out = y[:len(x)], out[:len(x)]
	for i, v := range x {
		out[i] = v + y[i]
	}
}

func mul(x, y, out []float32) {
	y, out = y[:len(x)], out[:len(x)]
	for i, v := range x {
		out[i] = v * y[i]
	}
}
