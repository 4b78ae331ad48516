// Package codegen decides how to compute a layer: which kernels, which packed
// form, which configuration. One file holds one kernel family, written once
// against the portable vector builder.
//
// It must not contain a mnemonic of any instruction set, nor switch on the name
// of a pattern, nor import ptx, autotune, inspect or tool.
package codegen

import (
	"fmt"

	"github.com/sparsegen/sparsegen/asm"
	"github.com/sparsegen/sparsegen/asm/goref"
	"github.com/sparsegen/sparsegen/runtime"
)

// family is how to build the kernels of one op.
type family struct {
	args  []asm.Arg
	build func(*asm.Builder, runtime.KernelKey) error
}

// families has a row for each op.
var families = map[runtime.KernelOp]family{
	runtime.PanelGrouped: {panelArgs, panel},
	runtime.PanelBlock:   {panelArgs, panel},
	runtime.PanelStep:    {panelArgs, panel},
	runtime.PanelDense:   {panelDenseArgs, panel},
	runtime.LanesDense:   {lanesArgs, lanes},
	runtime.LanesList:    {lanesArgs, lanes},
	runtime.LanesNM:      {lanesArgs, lanes},
	runtime.LanesMask:    {lanesArgs, masks},
	runtime.LanesRow:     {lanesArgs, row},
	runtime.LanesWindow:  {lanesArgs, window},
	runtime.DeltaTile:    {deltaTileArgs, deltaTile},
	runtime.CopyTile:     {tileArgs, copyTile},
	runtime.TransTile:    {tileArgs, transTile},
	runtime.UntransTile:  {tileArgs, untransTile},
	runtime.MapGelu:      {mapArgs, mapKernel},
	runtime.MapGeluTanh:  {mapArgs, mapKernel},
	runtime.MapSilu:      {mapArgs, mapKernel},
	runtime.MapSigmoid:   {mapArgs, mapKernel},
	runtime.MapTanh:      {mapArgs, mapKernel},
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
	name := functionName(k, m)
	b := asm.New(name, m, f.args, name+" computes runtime."+goref.FuncType(k.Op)+" for "+k.String()+".")
	if err := f.build(b, k); err != nil {
		return nil, err
	}
	return b.Func(), nil
}

// functionName is the name of kernel k's function for machine m.
func functionName(k runtime.KernelKey, m asm.Machine) string { return k.Name() + "_" + m.Name }
