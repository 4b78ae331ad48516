package kernels

import (
	"strings"

	"github.com/sparsegen/sparsegen/ptx"
	"github.com/sparsegen/sparsegen/runtime/gpu"
)

// params declares the parameters of a kernel to the builder and to the host
// together, so that the two orders cannot differ.
type params struct {
	k    *ptx.Kernel
	list []gpu.Param
}

// pointer declares the address of a buffer of n elements of type t, both without
// meaning for the weights and the workspace, and returns its value.
func (p *params) pointer(of gpu.Buffer, t gpu.DType, n gpu.Quantity) ptx.Reg {
	name := strings.ReplaceAll(of.String(), " ", "_")
	p.list = append(p.list, gpu.Param{Name: name, Kind: gpu.ArgPtr, Of: of, DType: t, Len: n})
	return p.k.LoadParam(p.k.ParamU64(name))
}

// u32 declares a whole number and returns its value.
func (p *params) u32(name string, q gpu.Quantity) ptx.Reg {
	p.list = append(p.list, gpu.Param{Name: name, Kind: gpu.ArgU32, Value: q})
	return p.k.LoadParam(p.k.ParamU32(name))
}

// f32 declares a number and returns its value.
func (p *params) f32(name string, q gpu.Quantity) ptx.Reg {
	p.list = append(p.list, gpu.Param{Name: name, Kind: gpu.ArgF32, Value: q})
	return p.k.LoadParam(p.k.ParamF32(name))
}

// rows declares the address of a matrix of activations or results whose rows the
// kernel moves 16 bytes at a time.
func (p *params) rows(of gpu.Buffer, t gpu.DType) ptx.Reg {
	q := gpu.QIn
	if of != gpu.X {
		q = gpu.QOut
	}
	v := p.pointer(of, t, q)
	p.list[len(p.list)-1].Wide = true
	return v
}

// option is a part of a configuration that its name tells only where it is on.
type option struct {
	on   bool
	name string
}

// named appends the options that are on to a kernel's name.
func named(name string, options []option) string {
	for _, o := range options {
		if o.on {
			name += "_" + o.name
		}
	}
	return name
}
