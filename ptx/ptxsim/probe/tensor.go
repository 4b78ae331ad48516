package probe

import (
	"fmt"
	"slices"
	"strings"

	"github.com/sparsegen/sparsegen/runtime/gpu"
)

// box is a tensor copy.
type box struct {
	name    string
	dtype   gpu.DType
	dims    []uint64
	strides []uint64 // bytes
	box     []uint32
	swizzle gpu.Swizzle
	at      []int
}

// span is how many bytes of shared memory the box covers: rows lie as far apart as
// the swizzle is wide.
func (b box) span() int {
	inner := int(b.box[0]) * b.dtype.Size()
	return b.bytes() / inner * max(inner, b.swizzle.Span())
}

func (b box) bytes() int {
	n := b.dtype.Size()
	for _, s := range b.box {
		n *= int(s)
	}
	return n
}

func (b box) tensor(of gpu.Buffer) gpu.TensorMap {
	return gpu.TensorMap{DType: b.dtype, Of: of, Dims: b.dims, Strides: b.strides, Box: b.box, Swizzle: b.swizzle}
}

func (b box) coordinates() string {
	var s []string
	for _, c := range b.at {
		s = append(s, fmt.Sprint(c))
	}
	return "{" + strings.Join(s, ", ") + "}"
}

var boxes = []box{
	{"swizzle 128", gpu.BF16, []uint64{96, 20}, []uint64{192}, []uint32{64, 8}, gpu.Swizzle128, []int{0, 0}},
	{"swizzle 64", gpu.BF16, []uint64{96, 20}, []uint64{192}, []uint32{32, 8}, gpu.Swizzle64, []int{8, 3}},
	{"swizzle 32", gpu.BF16, []uint64{96, 20}, []uint64{192}, []uint32{16, 16}, gpu.Swizzle32, []int{16, 2}},
	{"no swizzle", gpu.BF16, []uint64{96, 20}, []uint64{192}, []uint32{40, 6}, gpu.SwizzleNone, []int{8, 1}},
	{"beyond both ends", gpu.BF16, []uint64{90, 13}, []uint64{192}, []uint32{64, 8}, gpu.Swizzle128, []int{64, 9}},
	{"before both ends", gpu.BF16, []uint64{90, 13}, []uint64{192}, []uint32{64, 8}, gpu.Swizzle128, []int{-16, -3}},
	{"all outside", gpu.BF16, []uint64{90, 13}, []uint64{192}, []uint32{64, 8}, gpu.Swizzle128, []int{0, 13}},
	{"bytes at an odd end", gpu.U8, []uint64{101, 7}, []uint64{112}, []uint32{128, 8}, gpu.Swizzle128, []int{16, -1}},
	{"narrower than the swizzle", gpu.BF16, []uint64{96, 20}, []uint64{192}, []uint32{16, 16}, gpu.Swizzle128, []int{8, 0}},
	{"half of the swizzle", gpu.BF16, []uint64{96, 20}, []uint64{192}, []uint32{32, 16}, gpu.Swizzle128, []int{8, 0}},
	{"one dimension", gpu.F32, []uint64{100}, nil, []uint32{32}, gpu.SwizzleNone, []int{84}},
	{"words", gpu.F32, []uint64{40, 9}, []uint64{176}, []uint32{32, 8}, gpu.Swizzle128, []int{12, 2}},
	{"three dimensions", gpu.F16, []uint64{72, 5, 4}, []uint64{160, 1024}, []uint32{64, 4, 2}, gpu.Swizzle128, []int{16, 3, 2}},
	{"strides that overlap", gpu.F16, []uint64{64, 8, 4}, []uint64{32, 64}, []uint32{32, 4, 4}, gpu.Swizzle64, []int{8, 2, 1}},
	{"four dimensions", gpu.U8, []uint64{32, 3, 4, 2}, []uint64{48, 160, 800}, []uint32{32, 2, 2, 2}, gpu.Swizzle32, []int{0, 2, 1, 0}},
	{"five dimensions", gpu.BF16, []uint64{16, 3, 2, 3, 2}, []uint64{32, 96, 192, 576}, []uint32{16, 2, 2, 2, 2}, gpu.SwizzleNone, []int{0, 1, 1, 2, 0}},
}

// tensorPrograms ask where tensor copies read and write.
func tensorPrograms() []Program {
	var ps []Program
	for _, b := range boxes {
		n := (b.span() + 127) / 128 * 128
		extent := b.tensor(gpu.X)
		size, err := extent.Extent()
		if err != nil {
			panic(err)
		}
		words := n / 4 / 32
		dims := fmt.Sprintf("%dd", len(b.dims))
		one := "setp.ne.u32 %p0, %t, 0; @%p0 bra $end;"
		dump := "$end: bar.sync 0; shl.b32 %u6, %t, 2;"
		for i := range words {
			dump += fmt.Sprintf("add.u32 %%u7, %%u6, %%s; ld.shared.b32 %%r0, [%%u7+%d]; add.u64 %%d4, %%d1, %d; cvt.u64.u32 %%d5, %%u6; add.u64 %%d4, %%d4, %%d5; st.global.b32 [%%d4], %%r0;", 128*i, 128*i)
		}
		ps = append(ps, template{name: "tensor load: " + b.name, threads: 32, image: n + 1024, y: n, in: int(size+127) / 128, regs: 2, family: "tensor", maps: []gpu.TensorMap{shifted(b.tensor(gpu.X), n+1024)},
			code: one + fmt.Sprintf("mbarrier.init.shared::cta.b64 [%%s+%d], 1; fence.mbarrier_init.release.cluster; fence.proxy.async.shared::cta; mov.b64 %%d6, map0; cvta.param.u64 %%d6, %%d6;", n+512) +
				fmt.Sprintf("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%%s+%d], %d;", n+512, b.bytes()) +
				fmt.Sprintf("cp.async.bulk.tensor.%s.shared::cluster.global.tile.mbarrier::complete_tx::bytes [%%s], [%%d6, %s], [%%s+%d];", dims, b.coordinates(), n+512) + wait(fmt.Sprintf("%%s+%d", n+512)) + dump}.program())
		if slices.Min(b.at) < 0 {
			continue // an illegal instruction
		}
		ps = append(ps, template{name: "tensor store: " + b.name, threads: 32, image: n, y: int(size), regs: 2, family: "tensor", maps: []gpu.TensorMap{b.tensor(gpu.Y)},
			code: one + fmt.Sprintf("mov.b64 %%d6, map0; cvta.param.u64 %%d6, %%d6; cp.async.bulk.tensor.%s.global.shared::cta.tile.bulk_group [%%d6, %s], [%%s]; cp.async.bulk.commit_group; cp.async.bulk.wait_group 0; $end: bar.sync 0;", dims, b.coordinates())}.program())
	}
	add := box{"", gpu.S32, []uint64{20, 7}, []uint64{96}, []uint32{16, 8}, gpu.Swizzle64, []int{8, 2}}
	ps = append(ps, template{name: "tensor add", threads: 32, image: add.bytes(), y: 6*96 + 80, regs: 2, family: "tensor", maps: []gpu.TensorMap{add.tensor(gpu.Y)},
		code: "setp.ne.u32 %p0, %t, 0; @%p0 bra $end; mov.b64 %d6, map0; cvta.param.u64 %d6, %d6; cp.reduce.async.bulk.tensor.2d.global.shared::cta.add.tile.bulk_group [%d6, {8, 2}], [%s]; cp.async.bulk.commit_group; cp.async.bulk.wait_group 0; $end: bar.sync 0;"}.program())
	// Each of two blocks sends half of a tile to both.
	half := box{"", gpu.BF16, []uint64{64, 8}, []uint64{128}, []uint32{64, 4}, gpu.SwizzleNone, nil}
	ps = append(ps, template{name: "multicast", threads: 32, blocks: 2, shared: 2048, in: 16, out: 8, regs: 8, family: "tensor", maps: []gpu.TensorMap{half.tensor(gpu.X)},
		code: "setp.ne.u32 %p0, %t, 0; @%p0 bra $skip; mbarrier.init.shared::cta.b64 [%s+1024], 1; mbarrier.arrive.expect_tx.shared::cta.b64 _, [%s+1024], 1024; $skip: fence.mbarrier_init.release.cluster; fence.proxy.async.shared::cta; barrier.cluster.arrive; barrier.cluster.wait; @%p0 bra $wait;" +
			"mov.u32 %u6, %cluster_ctarank; shl.b32 %u7, %u6, 9; add.u32 %u7, %u7, %s; shl.b32 %u8, %u6, 2; mov.b16 %h0, 3; mov.b64 %d6, map0; cvta.param.u64 %d6, %d6;" +
			"cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes.multicast::cluster [%u7], [%d6, {0, %u8}], [%s+1024], %h0;" + wait("%s+1024") +
			"barrier.cluster.arrive; barrier.cluster.wait; shl.b32 %u7, %t, 5; add.u32 %u7, %u7, %s; ld.shared.v4.b32 {%r0, %r1, %r2, %r3}, [%u7]; ld.shared.v4.b32 {%r4, %r5, %r6, %r7}, [%u7+16];" + store(0, 8)}.program())
	return ps
}

// shifted is a map whose tensor lies behind that many bytes.
func shifted(m gpu.TensorMap, bytes int) gpu.TensorMap {
	m.Offset = uint64(bytes)
	return m
}
