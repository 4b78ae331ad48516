package layout_test

import (
	"fmt"

	"github.com/sparsegen/sparsegen/patterns"
	"github.com/sparsegen/sparsegen/ptx/layout"
)

// What a kernel and its host agree on: 2:4 weights of two-byte elements as
// operand A of wgmma, a 128-row tile and two k-blocks a stage.
func ExampleFormat() {
	format := layout.Format{Size: 2, Sparse: true, TileRows: 128, RowBytes: 64, StageBlocks: 2, Cluster: 1}

	mask := patterns.NewMask(4, 8)
	for r := range 4 {
		mask.SetRange(r, 0, 2) // columns 0 and 1 of the first group
		mask.SetRange(r, 6, 8) // columns 2 and 3 of the second
	}
	packed, err := format.Pack(layout.NewMatrix(4, 8, 2), mask)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Printf("%d bytes: %d a stage, k-blocks of %d columns\n", len(packed), format.StageBytes(), format.KBlock())

	a := format.Operand()
	d, _ := a.Descriptor(0)
	lo, hi := d.Words()
	fmt.Printf("descriptor at shared address 0: lo %#x hi %#x\n", lo, hi)
	for step := range 2 {
		k, _ := a.Advance(0, 16*step)
		wg, _ := a.Advance(64, 16*step)
		reg, sel := layout.MetadataOperand(format.Size, step)
		fmt.Printf("instruction %d: lo += %d, second warpgroup %d; metadata register %d, selector %d\n", step, k, wg, reg, sel)
	}
	fmt.Printf("metadata of thread 4 at %d: %#x\n", format.MetaOffset(0, 4), packed[format.MetaOffset(0, 4):][:4])
	// Output:
	// 18432 bytes: 18432 a stage, k-blocks of 64 columns
	// descriptor at shared address 0: lo 0x10000 hi 0x80000020
	// instruction 0: lo += 0, second warpgroup 256; metadata register 0, selector 0
	// instruction 1: lo += 2, second warpgroup 258; metadata register 0, selector 1
	// metadata of thread 4 at 8208: 0xe4444444
}
