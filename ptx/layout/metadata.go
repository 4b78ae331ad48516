package layout

// Metadata is where mma.sp and wgmma.mma_async.sp find the nibbles of 16 rows by
// 128 bytes of logical K: a fragment of nibbles, [16, 16] for elements of two
// bytes and [16, 32] for one byte. A warp of mma.sp holds one; Warps(4) is what a
// warpgroup holds for wgmma. The 128 bytes are those of two instructions, whose
// registers and selectors MetadataOperand tells.
func Metadata(size int) Fragment {
	const perReg = 8
	if size == 2 {
		// m16n8k32, m64nNk32: lanes 0 and 1 of each quad serve selector 0, lanes
		// 2 and 3 selector 1; a half-word is one row's 16 columns.
		return newFragment(perReg,
			[]mode{{n: 2, col: 4}, {n: 2, col: 8}, {n: 8, row: 1}},
			[]mode{{n: 4, col: 1}, {n: 2, row: 8}})
	}
	// m16n8k64, m64nNk64: all lanes serve selector 0; a word is one row's 32
	// columns.
	return newFragment(perReg,
		[]mode{{n: 2, row: 8}, {n: 2, col: 8}, {n: 8, row: 1}},
		[]mode{{n: 8, col: 1}, {n: 2, col: 16}})
}

// MetadataOperand is the metadata register, counted from the thread's first, and
// the selector immediate of the instruction that multiplies the step-th 64 bytes
// (0 or 1) of the 128 bytes of logical K that one Metadata fragment covers.
func MetadataOperand(size, step int) (reg, selector int) {
	if size == 2 {
		return 0, step
	}
	return step, 0
}

// MetadataWords gathers nibbles, [f.Rows, stride], into the registers of the
// fragment's threads, [Threads, Regs]: f is Metadata or its Warps, and nibble
// (0, 0) the fragment's first.
func MetadataWords(f Fragment, nibbles []uint8, stride int) []uint32 {
	regs := f.Regs()
	words := make([]uint32, f.Threads*regs)
	for r := range f.Rows {
		for g := range f.Cols {
			thread, i := f.Find(r, g)
			words[thread*regs+i/f.PerReg] |= uint32(nibbles[r*stride+g]) << (i % f.PerReg * 4)
		}
	}
	return words
}
