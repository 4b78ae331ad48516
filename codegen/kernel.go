// Package codegen decides how to compute a layer: which kernels, which packed
// form, which configuration. One file holds one kernel family, written once
// against the portable vector builder.
//
// It must not contain a mnemonic of any instruction set, nor switch on the name
// of a pattern.
package codegen

import (
	"fmt"

	"github.com/sparsegen/sparsegen/asm"
	"github.com/sparsegen/sparsegen/runtime"
)

// family is how to build the kernels of one op.
type family struct {
	fnType string // the runtime type of its functions
	args   []asm.Arg
	build  func(*asm.Builder, runtime.KernelKey) error
}

// families has a row for each op.
var families = map[runtime.KernelOp]family{
	runtime.PanelGrouped: {"PanelFunc", panelArgs, panel},
	runtime.PanelBlock:   {"PanelFunc", panelArgs, panel},
	runtime.PanelDense:   {"PanelDenseFunc", panelDenseArgs, panel},
	runtime.LanesDense:   {"LanesFunc", lanesArgs, lanes},
	runtime.LanesList:    {"LanesFunc", lanesArgs, lanes},
	runtime.LanesNM:      {"LanesFunc", lanesArgs, lanes},
	runtime.LanesMask:    {"LanesFunc", lanesArgs, lanes},
	runtime.LanesDelta:   {"LanesFunc", lanesArgs, delta},
	runtime.DeltaTile:    {"DeltaTileFunc", deltaTileArgs, delta},
	runtime.CopyTile:     {"TileFunc", tileArgs, copyTile},
	runtime.TransTile:    {"TileFunc", tileArgs, transTile},
	runtime.UntransTile:  {"TileFunc", tileArgs, untransTile},
	runtime.MapGelu:      {"MapFunc", mapArgs, mapKernel},
	runtime.MapGeluTanh:  {"MapFunc", mapArgs, mapKernel},
	runtime.MapSilu:      {"MapFunc", mapArgs, mapKernel},
	runtime.MapSigmoid:   {"MapFunc", mapArgs, mapKernel},
	runtime.MapTanh:      {"MapFunc", mapArgs, mapKernel},
}

// Build records kernel k for machine m.
func Build(k runtime.KernelKey, m asm.Machine) (*asm.Func, error) {
	f, ok := families[k.Op]
	if !ok {
		return nil, fmt.Errorf("codegen: %s has no machine code", k.Name())
	}
	if err := k.Check(); err != nil {
		return nil, fmt.Errorf("codegen: %w", err)
	}
	name := k.Name() + "_" + m.Name
	b := asm.New(name, m, f.args, name+" computes runtime."+f.fnType+" for "+k.String()+".")
	if err := f.build(b, k); err != nil {
		return nil, err
	}
	return b.Func(), nil
}
