// Package plantest is a CUDA driver without a GPU on which the kernels of a plan
// compute: from the parameters of a launch alone, with the weights as they are
// packed in device memory, so that a wrong parameter, pitch or packing gives wrong
// results.
//
// Only tests may import it.
package plantest

import (
	"encoding/binary"
	"math"
	"reflect"

	"github.com/sparsegen/sparsegen/codegen/gpuplan"
	"github.com/sparsegen/sparsegen/internal/narrow"
	"github.com/sparsegen/sparsegen/ir"
	"github.com/sparsegen/sparsegen/ptx"
	"github.com/sparsegen/sparsegen/ptx/kernels"
	"github.com/sparsegen/sparsegen/ptx/layout"
	"github.com/sparsegen/sparsegen/runtime"
	"github.com/sparsegen/sparsegen/runtime/cuda/cudasim"
	"github.com/sparsegen/sparsegen/runtime/cuda/cudatest"
	"github.com/sparsegen/sparsegen/runtime/gpu"
)

// Exact computes what the text of a kernel says, instruction by instruction, in
// place of what its configuration means. It is slow.
func Exact(k *gpu.Kernel, _ kernels.Config) cudatest.Kernel {
	return cudasim.Kernel(k, cudasim.Options{Seed: 1})
}

// Fast computes what a kernel's configuration means.
func Fast(k *gpu.Kernel, c kernels.Config) cudatest.Kernel {
	if k.Form == gpu.Picked {
		return pick(k)
	}
	return emulate(k, c)
}

// Driver returns a driver that shows one H200 with that many bytes of memory and
// computes the kernels of the layers' plans for a target by Fast or Exact.
func Driver(memory uint64, layers []*ir.Layer, target ptx.Target, compute func(*gpu.Kernel, kernels.Config) cudatest.Kernel) (*cudatest.Fake, error) {
	spec := cudatest.H200
	spec.Memory = memory
	f := cudatest.New(spec)
	for _, l := range layers {
		plan, err := gpuplan.Plan(l, target)
		if err != nil {
			return nil, err
		}
		for _, s := range plan.Steps {
			for _, b := range s.Builders() {
				k, err := b.Build()
				if err != nil {
					return nil, err
				}
				c, _ := b.(kernels.Config) // nil for what does not multiply
				f.Kernels[k.Name] = compute(k, c)
			}
		}
	}
	return f, nil
}

// unpack is the inverse of the packing, from weights that end with their memory.
func unpack(l *cudatest.Launch, k *gpu.Kernel, c kernels.Config, weights []byte, lists uint64, out, in int) (layout.Matrix, error) {
	f := c.Format()
	if !k.Listed {
		return f.Unpack(weights, out, in)
	}
	raw := l.Rest(lists)
	words := make([]uint32, len(raw)/4)
	for i := range words {
		words[i] = binary.LittleEndian.Uint32(raw[4*i:])
	}
	tiles := f.Tiles(out)
	if len(words) <= tiles {
		return layout.Matrix{}, cudatest.ErrFault
	}
	b := layout.Blocks{Format: f, Out: out, In: in, Start: words[:tiles+1], Columns: words[tiles+1:], Packed: weights}
	return b.Unpack()
}

var narrowOf = map[gpu.DType]narrow.Format{gpu.BF16: narrow.BF16, gpu.F16: narrow.F16}

// matrix is a parameter of a launch that is a matrix in device memory.
type matrix struct {
	bytes             []byte
	rows, cols, pitch int // pitch in elements
	format            narrow.Format
}

func (m matrix) at(r, c int) float32 {
	return m.format.Decode(binary.LittleEndian.Uint16(m.bytes[2*(r*m.pitch+c):]))
}

func (m matrix) set(r, c int, v float32) {
	binary.LittleEndian.PutUint16(m.bytes[2*(r*m.pitch+c):], m.format.Encode(v))
}

var activations = map[kernels.Activation]func([]float32){
	kernels.Identity: func([]float32) {}, kernels.SiLU: runtime.Silu, kernels.GELU: runtime.Gelu,
	kernels.ReLU: func(v []float32) {
		for i := range v {
			v[i] = max(v[i], 0)
		}
	},
}

// emulate returns what a kernel of a linear layer does, by its parameters alone.
func emulate(k *gpu.Kernel, c kernels.Config) cudatest.Kernel {
	act := activations[reflect.ValueOf(c).FieldByName("Activation").Interface().(kernels.Activation)]
	return func(l *cudatest.Launch) error {
		var x, y, residual matrix
		var weights []byte
		u32 := map[gpu.Quantity]int{}
		pointers := map[gpu.Buffer]uint64{}
		for i, p := range k.Params {
			switch p.Kind {
			case gpu.ArgU32:
				u32[p.Value] = int(l.U32(i))
			case gpu.ArgPtr:
				pointers[p.Of] = l.U64(i)
			case gpu.ArgMap:
				m := l.Map(i)
				v := matrix{rows: int(m.Dims[1]), cols: int(m.Dims[0]), pitch: int(m.Strides[0]) / 2, format: narrowOf[p.Map.DType]}
				if v.bytes = l.Mem(m.Addr, uint64(2*((v.rows-1)*v.pitch+v.cols))); v.bytes == nil {
					return cudatest.ErrFault
				}
				*map[gpu.Buffer]*matrix{gpu.X: &x, gpu.Y: &y, gpu.Residual: &residual}[p.Map.Of] = v
			}
		}
		out, tokens, in := u32[gpu.QOut], u32[gpu.QTokens], x.cols
		if in == 0 {
			in = u32[gpu.QIn]
		}
		plain := func(of gpu.Buffer, cols int, pitch gpu.Quantity) matrix {
			v := matrix{rows: tokens, cols: cols, pitch: u32[pitch], format: narrowOf[k.DType]}
			v.bytes = l.Mem(pointers[of], uint64(2*((v.rows-1)*v.pitch+v.cols)))
			return v
		}
		if pointers[gpu.X] != 0 {
			x = plain(gpu.X, in, gpu.QXPitch)
		}
		if pointers[gpu.Y] != 0 {
			y = plain(gpu.Y, out, gpu.QYPitch)
		}
		if pointers[gpu.Residual] != 0 {
			residual = plain(gpu.Residual, out, gpu.QYPitch)
		}
		if weights = l.Rest(pointers[gpu.Weights]); weights == nil || x.bytes == nil || y.bytes == nil || x.cols != in {
			return cudatest.ErrFault
		}
		codes, err := unpack(l, k, c, weights, pointers[gpu.Meta], out, in)
		if err != nil {
			return err
		}
		w := make([]float32, out*in)
		if err := narrowOf[k.DType].Floats(w, codes.Data); err != nil {
			return err
		}
		var bias []byte
		if pointers[gpu.Bias] != 0 {
			if bias = l.Mem(pointers[gpu.Bias], uint64(4*out)); bias == nil {
				return cudatest.ErrFault
			}
		}
		row := make([]float32, in)
		for t := range y.rows {
			if err := x.format.Floats(row, x.bytes[2*t*x.pitch:][:2*in]); err != nil {
				return err
			}
			for o := range out {
				sum := float32(0)
				for i, v := range w[o*in : (o+1)*in] {
					sum += v * row[i]
				}
				if bias != nil {
					sum += math.Float32frombits(binary.LittleEndian.Uint32(bias[4*o:]))
				}
				v := []float32{sum}
				act(v)
				if residual.bytes != nil {
					v[0] += residual.at(t, o)
				}
				y.set(t, o, v[0])
			}
		}
		return nil
	}
}

// pick returns what a kernel does that picks features, by its parameters alone.
func pick(k *gpu.Kernel) cudatest.Kernel {
	return func(l *cudatest.Launch) error {
		u32, pointers := map[gpu.Quantity]int{}, map[gpu.Buffer]uint64{}
		for i, p := range k.Params {
			if p.Kind == gpu.ArgPtr {
				pointers[p.Of] = l.U64(i)
			} else {
				u32[p.Value] = int(l.U32(i))
			}
		}
		out, in, tokens := u32[gpu.QOut], u32[gpu.QIn], u32[gpu.QTokens]
		rows := func(of gpu.Buffer, cols int, pitch gpu.Quantity) matrix {
			v := matrix{rows: tokens, cols: cols, pitch: u32[pitch], format: narrowOf[k.DType]}
			v.bytes = l.Mem(pointers[of], uint64(2*((v.rows-1)*v.pitch+v.cols)))
			return v
		}
		x, y := rows(gpu.X, in, gpu.QXPitch), rows(gpu.Y, out, gpu.QYPitch)
		index, fill := l.Mem(pointers[gpu.Meta], uint64(4*out)), matrix{bytes: l.Mem(pointers[gpu.Weights], uint64(2*out)), format: x.format}
		if x.bytes == nil || y.bytes == nil || index == nil || fill.bytes == nil {
			return cudatest.ErrFault
		}
		var residual matrix
		if pointers[gpu.Residual] != 0 {
			if residual = rows(gpu.Residual, out, gpu.QYPitch); residual.bytes == nil {
				return cudatest.ErrFault
			}
		}
		for t := range tokens {
			for o := range out {
				v := fill.at(0, o)
				if i := int(binary.LittleEndian.Uint32(index[4*o:])); i < in {
					v = x.at(t, i)
				}
				if residual.bytes != nil {
					v += residual.at(t, o)
				}
				y.set(t, o, v)
			}
		}
		return nil
	}
}
