package kernels

import (
	"fmt"

	"github.com/sparsegen/sparsegen/ptx"
	"github.com/sparsegen/sparsegen/ptx/layout"
	"github.com/sparsegen/sparsegen/runtime/gpu"
)

// ampere is an Ampere kernel while it is emitted.
type ampere struct {
	Ampere
	k      *ptx.Kernel
	f      layout.Format
	params params

	// Parameters.
	weights, x, y, bias, residual  ptx.Reg
	outScale, tokenScale           ptx.Reg
	steps, in, out, tokens         ptx.Reg
	lists                          ptx.Reg // with Listed, instead of steps
	xPitch, yPitch, scale          ptx.Reg
	partials                       *partials // with Split
	base, lane, warpM, warpN       ptx.Reg   // shared memory; the thread's place
	row, token                     ptx.Reg   // first output feature and token of the tile
	slice, first, last             ptx.Reg   // the block's slice of its tile's stages, among all that are stored
	before                         ptx.Reg   // stages that are stored of earlier tiles
	columns                        ptx.Reg   // address of the k-blocks that stages are of, with Listed
	acc                            [][][]ptx.Reg
	sums                           ptx.Type
	weightsFrom, weightsTo         ptx.Reg   // address of the thread's first chunk of the next stage to fetch, and its place
	activationsFrom, activationsTo []ptx.Reg // of the thread's chunks of k-block 0
	most                           []ptx.Reg // bytes that they have: 16, or 0 of a token beyond the last
	inside                         ptx.Reg   // first element of In of those
}

func (a *ampere) emit() {
	k := a.k
	k.Threads(a.threads())
	k.Comment("weights [%d, %d] by activations [%d, %d] a stage of %d", a.TileM, a.f.KBlock()*a.Blocks, a.TileN, a.f.KBlock()*a.Blocks, a.Stages)
	a.declare()
	a.base = k.SharedAddr(k.DynamicShared("shared_memory", 128))
	a.lane = k.And(k.TidX(), 31)
	warp := k.Shr(k.TidX(), 5)
	a.warpM, a.warpN = k.Rem(warp, a.WarpsM), k.Div(warp, a.WarpsM)
	tile := k.Div(k.CtaX(), a.Split)
	a.row, a.token = k.Mul(tile, a.TileM), k.Mul(k.CtaY(), a.TileN)
	a.bounds(tile)
	if s := a.partials; s != nil {
		outTiles := k.Div(k.NCtaX(), a.Split)
		s.tile, s.tiles = k.Mad(k.CtaY(), outTiles, tile), k.Mul(outTiles, k.NCtaY())
		s.flag = ptx.At(a.base, a.sharedBytes()-16)
	}
	a.sums = ptx.F32
	if a.DType == gpu.S8 {
		a.sums = ptx.S32
	}
	a.acc = make([][][]ptx.Reg, a.TileM/a.WarpsM/mmaRows)
	for i := range a.acc {
		a.acc[i] = make([][]ptx.Reg, a.TileN/a.WarpsN/mmaColumns)
		for j := range a.acc[i] {
			for range 4 {
				a.acc[i][j] = append(a.acc[i][j], k.Var(a.sums, 0))
			}
		}
	}
	a.loop()
	a.finish()
}

// bounds finds the stages of the tile, and of them the block's slice.
func (a *ampere) bounds(tile ptx.Reg) {
	k := a.k
	count := a.steps
	if !a.Listed {
		a.before = k.Mul(tile, a.steps)
	} else {
		at, end := k.MadWide(tile, 4, a.lists), k.Reg(ptx.U32)
		a.before = k.Reg(ptx.U32)
		k.Emit("ld.global.nc.u32", a.before, ptx.At(at, 0))
		k.Emit("ld.global.nc.u32", end, ptx.At(at, 4))
		count = k.Sub(end, a.before)
		a.columns = k.MadWide(k.Add(k.Div(k.NCtaX(), a.Split), 1), 4, a.lists)
	}
	a.slice = k.Rem(k.CtaX(), a.Split)
	a.first = k.Add(a.before, k.Div(k.Mul(a.slice, count), a.Split))
	a.last = k.Add(a.before, k.Div(k.Mad(a.slice, count, count), a.Split))
}

// column returns the first k-block of In of a stage. A listed one is loaded: the
// caller asks well before it uses it.
func (a *ampere) column(stage ptx.Reg) ptx.Reg {
	k := a.k
	if !a.Listed {
		return k.Mul(k.Sub(stage, a.before), a.Blocks)
	}
	// A stage beyond the last asks for that again.
	stage = k.Min(stage, k.Sub(k.Max(a.last, 1), 1))
	column := k.Reg(ptx.U32)
	k.Emit("ld.global.nc.u32", column, ptx.At(k.MadWide(stage, 4, a.columns), 0))
	return column
}

func (a *ampere) declare() {
	p := &a.params
	p.k = a.k
	a.weights = p.pointer(gpu.Weights, 0, 0)
	a.x = p.rows(gpu.X, a.DType)
	a.y = p.rows(gpu.Y, a.Y)
	if a.Residual {
		a.residual = p.rows(gpu.Residual, a.Y)
	}
	if a.Bias != 0 {
		a.bias = p.pointer(gpu.Bias, a.Bias, gpu.QOut)
	}
	if a.OutScale {
		a.outScale = p.pointer(gpu.Scales, gpu.F32, gpu.QOut)
	}
	if a.TokenScale {
		a.tokenScale = p.pointer(gpu.XScales, gpu.F32, gpu.QTokens)
	}
	if a.Split > 1 {
		a.partials = &partials{k: a.k, split: a.Split, sums: a.TileM * a.TileN, workspace: p.pointer(gpu.Workspace, 0, 0)}
	}
	if a.TensorScale {
		a.scale = p.f32("scale", gpu.QScale)
	}
	if a.Listed {
		a.lists = p.pointer(gpu.Meta, gpu.U32, gpu.QLists)
	} else {
		a.steps = p.u32("steps", gpu.QSteps)
	}
	a.in, a.out, a.tokens = p.u32("in", gpu.QIn), p.u32("out", gpu.QOut), p.u32("tokens", gpu.QTokens)
	a.xPitch, a.yPitch = p.u32("x_pitch", gpu.QXPitch), p.u32("y_pitch", gpu.QYPitch)
}

// loop multiplies the block's stages. Copies run Stages-1 stages ahead; one
// barrier a stage says both that everybody's copies of it have landed and that
// nobody reads the stage before it any more, which is then filled again.
func (a *ampere) loop() {
	k := a.k
	a.beginCopies()
	fetch := func(slot, stage, column ptx.Reg) {
		k.If(k.SetP("lt", stage, a.last), func() { a.copyStage(slot, column) })
		k.Emit("cp.async.commit_group")
	}
	ahead := make([]ptx.Reg, a.Stages-1)
	for s := range ahead {
		ahead[s] = a.column(k.Add(a.first, s))
	}
	for s, column := range ahead {
		fetch(k.Add(a.base, s*a.stageBytes()), k.Add(a.first, s), column)
	}
	end := k.Add(a.base, a.Stages*a.stageBytes())
	read, write := k.Var(ptx.U32, a.base), k.Var(ptx.U32, k.Add(a.base, (a.Stages-1)*a.stageBytes()))
	advance := func(slot ptx.Reg) {
		k.Emit("add.u32", slot, slot, ptx.Int(int64(a.stageBytes())))
		k.EmitIf(k.SetP("eq", slot, end), "mov.u32", slot, a.base)
	}
	multiply := a.beginProducts()
	next := k.Var(ptx.U32, a.column(k.Add(a.first, a.Stages-1)))
	k.For(a.first, a.last, 1, func(stage ptx.Reg) {
		k.Emit("cp.async.wait_group", ptx.Int(int64(a.Stages-2)))
		k.Emit("bar.sync", ptx.Int(0))
		fetch(write, k.Add(stage, a.Stages-1), next)
		k.Mov(next, a.column(k.Add(stage, a.Stages)))
		multiply(read)
		advance(read)
		advance(write)
	})
	k.Emit("cp.async.wait_all")
	k.Emit("bar.sync", ptx.Int(0)) // the ring's place is the sums' now
}

// beginCopies computes where the thread's chunks of 16 bytes come from and go to.
func (a *ampere) beginCopies() {
	k := a.k
	thread := k.TidX()
	// Weights of a stage are one stretch of memory.
	from := k.MadWide(a.first, a.f.StageBytes(), a.weights)
	a.weightsFrom = k.Var(ptx.U64, k.MadWide(thread, 16, from))
	a.weightsTo = k.Mul(thread, 16)
	// Activations: 8 chunks a token and k-block, permuted within the row. Threads
	// take neighbouring chunks first, then tokens, then k-blocks.
	chunk := k.And(thread, 7)
	a.inside = k.Mul(chunk, 16/a.DType.Size())
	for t := 0; t < a.TileN; t += a.threads() / 8 {
		row := k.Add(k.Shr(thread, 3), t)
		token := k.Add(a.token, row)
		at := k.MadWide(token, k.Mul(a.xPitch, a.DType.Size()), a.x)
		a.activationsFrom = append(a.activationsFrom, k.MadWide(chunk, 16, at))
		a.most = append(a.most, k.Select(k.SetP("lt", token, a.tokens), k.Const(ptx.U32, 16), k.Const(ptx.U32, 0)))
		place := k.Mad(row, gemmStage, k.Mul(k.Xor(chunk, k.And(row, 7)), 16))
		a.activationsTo = append(a.activationsTo, k.Add(place, a.f.StageBytes()))
	}
}

// copyStage starts the copies of the next stage, whose first k-block of In is
// column, into a slot.
func (a *ampere) copyStage(slot, column ptx.Reg) {
	k := a.k
	const copy16 = "cp.async.cg.shared.global.L2::128B"
	to := k.Add(slot, a.weightsTo)
	for off := 0; off < a.f.StageBytes(); off += 16 * a.threads() {
		one := func() {
			k.Emit(copy16, ptx.At(to, off), ptx.At(a.weightsFrom, off), ptx.Int(16))
		}
		if left := (a.f.StageBytes() - off) / 16; left < a.threads() {
			k.If(k.SetP("lt", k.TidX(), left), one)
		} else {
			one()
		}
	}
	k.Emit("add.u64", a.weightsFrom, a.weightsFrom, ptx.Int(int64(a.f.StageBytes())))
	size := a.DType.Size()
	for b := range a.Blocks {
		// Bytes of the chunk that lie before the end of In, and of a token before the
		// last; the rest is zero. Nothing is read at the address of none.
		at := k.Mad(k.Add(column, b), a.f.KBlock(), a.inside)
		bytes := k.Mul(k.Min(k.Sub(k.Max(a.in, at), at), 16/size), size)
		for i, from := range a.activationsFrom {
			one := func() {
				src := k.MadWide(column, gemmStage, from)
				k.Emit(copy16, ptx.At(k.Add(slot, a.activationsTo[i]), b*a.TileN*gemmStage), ptx.At(src, b*gemmStage), ptx.Int(16), k.Min(bytes, a.most[i]))
			}
			if a.TileN < a.threads()/8 {
				k.If(k.SetP("lt", k.Shr(k.TidX(), 3), a.TileN), one)
			} else {
				one()
			}
		}
	}
}

// beginProducts computes the lane's addresses within a stage and returns what
// multiplies the stage in a slot. Along K it goes in steps of 64 bytes of
// activations: one ldmatrix for 8 tokens, and two dense fragments of weights or
// a sparse one for 16 features.
func (a *ampere) beginProducts() func(slot ptx.Reg) {
	k := a.k
	features, tokens := len(a.acc), len(a.acc[0])
	const stepBytes = 64
	fragment := mmaRows * mmaBytes
	perRows := a.f.RowBytes / mmaBytes * fragment // bytes of 16 features in a k-block
	ofA := k.Mad(a.warpM, features*perRows, k.Mul(a.lane, 16))
	words := 0
	var ofMeta ptx.Reg
	if a.f.Sparse {
		words = layout.Metadata(a.f.Size).Regs()
		ofMeta = k.Mul(k.Mad(a.warpM, features*32, a.lane), 4*words)
	}
	// Lane l addresses token l%8 and chunk l/8 of the step's four; the chunk is
	// permuted by the token.
	var ofB []ptx.Reg
	for step := range gemmStage / stepBytes {
		chunk := k.Xor(k.Add(k.Shr(a.lane, 3), step*stepBytes/16), k.And(a.lane, 7))
		row := k.Mad(a.warpN, tokens*mmaColumns, k.And(a.lane, 7))
		ofB = append(ofB, k.Add(k.Mad(row, gemmStage, k.Mul(chunk, 16)), a.f.StageBytes()))
	}
	mma := a.mma()
	return func(slot ptx.Reg) {
		atA, atMeta := k.Add(slot, ofA), ptx.Reg{}
		if a.f.Sparse {
			atMeta = k.Add(slot, ofMeta)
		}
		atB := make([]ptx.Reg, len(ofB))
		for i := range ofB {
			atB[i] = k.Add(slot, ofB[i])
		}
		for b := range a.Blocks {
			meta := make([][]ptx.Reg, features)
			if a.f.Sparse {
				for i := range meta {
					meta[i] = k.Regs(ptx.B32, words)
					k.Emit("ld.shared"+vector(words)+".b32", one(meta[i]), ptx.At(atMeta, b*a.f.BlockBytes()+a.f.MetaOffset(0, 32*i)))
				}
			}
			for step := range atB {
				weights := make([][]ptx.Reg, features)
				for i := range weights {
					// The fragments of a step are neighbours.
					n := a.f.RowBytes / mmaBytes / len(atB)
					for f := range n {
						r := k.Regs(ptx.B32, 4)
						k.Emit("ld.shared.v4.b32", ptx.Vec(r...), ptx.At(atA, b*a.f.BlockBytes()+i*perRows+(step*n+f)*fragment))
						weights[i] = append(weights[i], r...)
					}
				}
				for j := range tokens {
					x := k.Regs(ptx.B32, 4)
					k.Emit("ldmatrix.sync.aligned.m8n8.x4.shared.b16", ptx.Vec(x...), ptx.At(atB[step], (b*a.TileN+j*mmaColumns)*gemmStage))
					for i := range features {
						mma(a.acc[i][j], weights[i], x, meta[i], step)
					}
				}
			}
		}
	}
}

// mma returns what adds the product of a step: the weights' fragments, 4 registers
// each, by 4 registers of activations.
func (a *ampere) mma() func(acc, weights, x, meta []ptx.Reg, step int) {
	k := a.k
	kElements := mmaBytes / a.f.Size
	form := fmt.Sprintf("mma.sync.aligned.m16n8k%d.row.col.%v.%v.%v.%v", kElements, a.sums, a.DType, a.DType, a.sums)
	if a.f.Sparse {
		sp := "mma.sp"
		if a.Ordered {
			sp += "::ordered_metadata"
		}
		form = fmt.Sprintf("%s.sync.aligned.m16n8k%d.row.col.%v.%v.%v.%v", sp, 2*kElements, a.sums, a.DType, a.DType, a.sums)
	}
	return func(acc, weights, x, meta []ptx.Reg, step int) {
		d := ptx.Vec(acc...)
		if a.f.Sparse {
			reg, selector := layout.MetadataOperand(a.f.Size, step)
			k.Emit(form, d, ptx.Vec(weights...), ptx.Vec(x...), d, meta[reg], ptx.Int(int64(selector)))
			return
		}
		for f := range len(weights) / 4 {
			k.Emit(form, d, ptx.Vec(weights[4*f:4*f+4]...), ptx.Vec(x[2*f:2*f+2]...), d)
		}
	}
}
