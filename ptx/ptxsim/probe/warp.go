package probe

import (
	"encoding/binary"
	"fmt"
	"strings"

	"github.com/sparsegen/sparsegen/runtime/gpu"
)

// template is a block of threads with an image of shared memory: %x and %y are the
// addresses of the thread's own words of input and output, of which there are in
// and out; %s is the address of shared memory, %t the thread, %l its lane.
type template struct {
	name    string
	threads int
	blocks  int // of a cluster, each with words of its own; 0 is 1
	image   int // bytes of shared memory that the first words of x fill
	shared  int // bytes of shared memory, at least image
	in, out int // words a thread
	maps    []gpu.TensorMap
	code    string
	regs    int // 32-bit registers %r
	family  string
	near    *Near
	words   func(word int) uint32 // of the threads' inputs, all of a kind; nil for random bits
	pixels  func() byte           // of the image
	y       int                   // bytes of Y where threads do not write it
}

func (t template) program() Program {
	r := random(t.name)
	blocks := max(t.blocks, 1)
	var x []byte
	for range t.image {
		b := byte(r.Uint32())
		if t.pixels != nil {
			b = t.pixels()
		}
		x = append(x, b)
	}
	for i := range t.in * t.threads * blocks {
		w := r.Uint32()
		if t.words != nil {
			w = t.words(i % max(1, t.in))
		}
		x = binary.LittleEndian.AppendUint32(x, w)
	}
	if len(x) == 0 {
		x = make([]byte, 4)
	}
	y := max(t.y, 4*t.out*t.threads*blocks)
	p := Program{Name: t.name, Entry: "k", Family: t.family, Near: t.near, In: map[gpu.Buffer][]byte{gpu.X: x}, Launch: launch(blocks, t.threads, max(t.shared, t.image), len(x), y)}
	var b strings.Builder
	b.WriteString(header)
	b.WriteString(".extern .shared .align 1024 .b8 smem[];\n.visible .entry k(\n\t.param .u64 x,\n\t.param .u64 y")
	for i, m := range t.maps {
		fmt.Fprintf(&b, ",\n\t.param .align 64 .b8 map%d[128]", i)
		p.Launch.Args = append(p.Launch.Args, gpu.MapArg(m))
	}
	b.WriteString("\n)\n")
	if t.blocks > 1 {
		fmt.Fprintf(&b, ".explicitcluster\n.reqnctapercluster %d, 1, 1\n", blocks)
		p.Launch.Cluster = [3]uint32{uint32(blocks), 1, 1}
	}
	fmt.Fprintf(&b, `.reqntid %d, 1, 1
{
	.reg .pred %%p<8>;
	.reg .b16 %%h<8>;
	.reg .b32 %%r<%d>;
	.reg .b32 %%u<16>;
	.reg .b64 %%d<16>;
	ld.param.u64 %%d0, [x];
	ld.param.u64 %%d1, [y];
	mov.u32 %%u0, smem;
	mov.u32 %%u1, %%tid.x;
	mov.u32 %%u2, %%laneid;
`, t.threads, max(t.regs, 1))
	if t.image > 0 {
		fmt.Fprintf(&b, `	shl.b32 %%u3, %%u1, 2;
$fill:
	cvt.u64.u32 %%d2, %%u3;
	add.u64 %%d2, %%d2, %%d0;
	ld.global.b32 %%u4, [%%d2];
	add.u32 %%u5, %%u3, %%u0;
	st.shared.b32 [%%u5], %%u4;
	add.u32 %%u3, %%u3, %d;
	setp.lt.u32 %%p0, %%u3, %d;
	@%%p0 bra $fill;
	fence.proxy.async.shared::cta;
	bar.sync 0;
`, 4*t.threads, t.image)
	}
	fmt.Fprintf(&b, `	mov.u32 %%u3, %%ctaid.x;
	mad.lo.u32 %%u3, %%u3, %d, %%u1;
	add.u64 %%d2, %%d0, %d;
	mad.wide.u32 %%d2, %%u3, %d, %%d2;
	mad.wide.u32 %%d3, %%u3, %d, %%d1;
`, t.threads, t.image, 4*t.in, 4*t.out)
	code := strings.NewReplacer("%x", "%d2", "%y", "%d3", "%s", "%u0", "%t", "%u1", "%l", "%u2").Replace(t.code)
	for line := range strings.SplitSeq(code, ";") {
		if line = strings.TrimSpace(line); line != "" {
			if label, rest, ok := strings.Cut(line, ": "); ok && label[0] == '$' {
				fmt.Fprintf(&b, "%s:\n", label)
				line = rest
			}
			fmt.Fprintf(&b, "\t%s;\n", line)
		}
	}
	b.WriteString("\tret;\n}\n")
	p.PTX = b.String()
	return p
}

// load and store move a thread's words.
func load(reg string, from, n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "ld.global.b32 %%%s%d, [%%x+%d];", reg, from+i, 4*i)
	}
	return b.String()
}

func loadAt(first, n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "ld.global.b32 %%r%d, [%%x+%d];", first+i, 4*(first+i))
	}
	return b.String()
}

func store(from, n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "st.global.b32 [%%y+%d], %%r%d;", 4*i, from+i)
	}
	return b.String()
}

// warpPrograms ask what lanes of a warp tell each other. %r0 and %r1 are random.
func warpPrograms() []Program {
	var ps []Program
	for _, c := range []struct {
		code string
		out  int
	}{
		{"shfl.sync.{up,down,bfly,idx}.b32 %r2|%p0, %r0, {1,5,18}, {0,31}, -1; selp.b32 %r3, 1, 0, %p0;", 2},
		{"and.b32 %r4, %r1, 31; shfl.sync.{up,down,bfly,idx}.b32 %r2|%p0, %r0, %r4, {0x1800,0x181f,0x1c03}, -1; selp.b32 %r3, 1, 0, %p0;", 2},
		{"and.b32 %r4, %r1, 1; setp.eq.u32 %p0, %r4, 0; vote.sync.{all,any,uni}.pred %p1, %p0, -1; selp.b32 %r2, 1, 0, %p1;", 1},
		{"and.b32 %r4, %r1, 1; setp.eq.u32 %p0, %r4, 0; vote.sync.ballot.b32 %r2, %p0, -1;", 1},
		{"and.b32 %r4, %r1, 3; match.any.sync.b32 %r2, %r4, -1;", 1},
		{"mov.u32 %r4, 7; match.all.sync.b32 %r2|%p0, %r4, -1; selp.b32 %r3, 1, 0, %p0;", 2},
		{"redux.sync.{add.u32,min.u32,max.s32,and.b32,or.b32,xor.b32} %r2, %r0, -1;", 1},
		{"elect.sync %r2|%p0, -1; selp.b32 %r3, 1, 0, %p0;", 2},
		{"activemask.b32 %r2;", 1},
		{"mov.u32 %r2, %lanemask_lt; mov.u32 %r3, %lanemask_ge;", 2},
		{"and.b32 %r4, %r1, 1; setp.eq.u32 %p0, %r4, 0; bar.red.popc.u32 %r2, 1, 64, %p0;", 1},
		{"setp.lt.u32 %p0, %t, 63; bar.red.{and,or}.pred %p1, 2, %p0; selp.b32 %r2, 1, 0, %p1;", 1},
	} {
		for _, code := range expand(c.code) {
			name := strings.NewReplacer("%", "", ";", "", ",", "").Replace(code)
			code = strings.ReplaceAll(code, "%lanemask", "@lanemask")
			code = loadAt(0, 2) + code + store(2, c.out)
			code = strings.ReplaceAll(code, "@lanemask", "%L")
			p := template{name: name, threads: 64, in: 2, out: c.out, regs: 8, code: code, family: "warp"}.program()
			p.PTX = strings.ReplaceAll(p.PTX, "%L", "%lanemask")
			ps = append(ps, p)
		}
	}
	return ps
}

// memoryPrograms ask what atomics, ldmatrix, stmatrix, cp.async and mbarriers do.
func memoryPrograms() []Program {
	var ps []Program
	// Each thread has a word of its own and asks for it three times.
	for _, op := range expand("{add.u32,min.s32,max.u32,and.b32,or.b32,xor.b32,inc.u32,dec.u32,exch.b32}") {
		for _, space := range []string{"shared", "global"} {
			addr := "shl.b32 %u6, %t, 2; add.u32 %u6, %u6, %s; st.shared.b32 [%u6], %r0;"
			at, last := "%u6", "ld.shared.b32 %r4, [%u6];"
			if space == "global" {
				addr, at, last = "st.global.b32 [%y+8], %r0;", "%y+8", ""
			}
			code := load("r", 0, 3) + addr + fmt.Sprintf("atom.%s.%s %%r2, [%s], %%r1; atom.%s.%s %%r3, [%s], %%r2;", space, op, at, space, op, at) + last + store(2, 2)
			if space == "shared" {
				code += "st.global.b32 [%y+8], %r4;"
			}
			ps = append(ps, template{name: "atom." + space + "." + op, threads: 32, shared: 256, in: 3, out: 3, regs: 8, code: code, family: "memory"}.program())
		}
	}
	ps = append(ps,
		template{name: "atom.cas", threads: 32, in: 3, out: 3, regs: 8, family: "memory",
			code: load("r", 0, 3) + "st.global.b32 [%y+8], %r0; atom.global.cas.b32 %r3, [%y+8], %r0, %r1; atom.global.cas.b32 %r4, [%y+8], %r0, %r2;" + store(3, 2)}.program(),
		template{name: "red.v4.f32", threads: 32, in: 4, out: 4, regs: 8, family: "memory", words: func(i int) uint32 { return 0x3f800000 + uint32(i)<<20 },
			code: load("r", 0, 4) + store(0, 4) + "red.global.add.v4.f32 [%y], {%r0, %r1, %r2, %r3};"}.program(),
		template{name: "red.noftz.bf16x2", threads: 32, in: 1, out: 1, regs: 8, family: "memory", words: func(int) uint32 { return 0x3f804080 },
			code: load("r", 0, 1) + store(0, 1) + "red.global.add.noftz.bf16x2 [%y], %r0;"}.program(),
	)
	// Lanes address rows of 16 bytes in an order that is no one's.
	for _, n := range []int{1, 2, 4} {
		for _, trans := range []string{"", ".trans"} {
			var list []string
			for i := range n {
				list = append(list, fmt.Sprintf("%%r%d", 4+i))
			}
			vec := "{" + strings.Join(list, ", ") + "}"
			row := "mul.lo.u32 %u6, %l, 7; add.u32 %u6, %u6, 3; and.b32 %u6, %u6, 31; shl.b32 %u6, %u6, 4; add.u32 %u6, %u6, %s;"
			ps = append(ps,
				template{name: fmt.Sprintf("ldmatrix.x%d%s", n, trans), threads: 32, image: 512, out: n, regs: 8, family: "memory",
					code: row + fmt.Sprintf("ldmatrix.sync.aligned.m8n8.x%d%s.shared.b16 %s, [%%u6];", n, trans, vec) + store(4, n)}.program(),
				template{name: fmt.Sprintf("stmatrix.x%d%s", n, trans), threads: 32, image: 512, in: n, out: 4, regs: 16, family: "memory",
					code: load("r", 4, n) + row + fmt.Sprintf("stmatrix.sync.aligned.m8n8.x%d%s.shared.b16 [%%u6], %s; bar.warp.sync -1;", n, trans, vec) +
						"shl.b32 %u7, %l, 4; add.u32 %u7, %u7, %s; ld.shared.v4.b32 {%r8, %r9, %r10, %r11}, [%u7];" + store(8, 4)}.program())
		}
	}
	for _, size := range []int{4, 8, 16} {
		kind := map[bool]string{true: "cg", false: "ca"}[size == 16]
		ps = append(ps, template{name: fmt.Sprintf("cp.async %d", size), threads: 32, image: 512, in: 4, out: 4, regs: 8, family: "memory",
			code: fmt.Sprintf("shl.b32 %%u6, %%t, 4; add.u32 %%u6, %%u6, %%s; rem.u32 %%u7, %%t, %d;", size+1) +
				fmt.Sprintf("cp.async.%s.shared.global [%%u6], [%%x], %d, %%u7; cp.async.commit_group; cp.async.wait_group 0;", kind, size) +
				"ld.shared.v4.b32 {%r0, %r1, %r2, %r3}, [%u6];" + store(0, 4)}.program())
	}
	ps = append(ps,
		// Which parities a barrier of two arrivals passes, step by step.
		template{name: "mbarrier", threads: 1, shared: 64, out: 8, regs: 16, family: "memory",
			code: "mbarrier.init.shared::cta.b64 [%s], 2;" + test(0) + "mbarrier.arrive.shared::cta.b64 %d4, [%s]; mbarrier.pending_count.b64 %r8, %d4;" + test(2) +
				"mbarrier.arrive.expect_tx.shared::cta.b64 %d4, [%s], 0;" + test(4) + "mbarrier.arrive.shared::cta.b64 _, [%s], 2;" + test(6) + store(0, 8)}.program(),
		template{name: "bulk copy and back", threads: 32, shared: 1024, in: 4, out: 4, regs: 8, family: "memory",
			code: "setp.ne.u32 %p0, %t, 0; @%p0 bra $end; mbarrier.init.shared::cta.b64 [%s+512], 1; fence.mbarrier_init.release.cluster; fence.proxy.async.shared::cta;" +
				"mbarrier.arrive.expect_tx.shared::cta.b64 _, [%s+512], 512; cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%s], [%x], 512, [%s+512];" + wait("%s+512") +
				"cp.async.bulk.global.shared::cta.bulk_group [%y+128], [%s], 384; cp.reduce.async.bulk.global.shared::cta.bulk_group.add.u32 [%y], [%s+128], 128; cp.async.bulk.commit_group; cp.async.bulk.wait_group 0; $end: bar.warp.sync -1;"}.program(),
		template{name: "distributed shared memory", threads: 32, blocks: 2, shared: 1024, in: 1, out: 2, regs: 8, family: "memory",
			code: load("r", 0, 1) + "setp.ne.u32 %p0, %t, 0; @%p0 bra $skip; mbarrier.init.shared::cta.b64 [%s+512], 1; mbarrier.arrive.expect_tx.shared::cta.b64 _, [%s+512], 128; $skip: fence.mbarrier_init.release.cluster;" +
				"shl.b32 %u6, %t, 2; add.u32 %u6, %u6, %s; st.shared.b32 [%u6+128], %r0; barrier.cluster.arrive; barrier.cluster.wait;" +
				"mov.u32 %u7, %cluster_ctarank; xor.b32 %u7, %u7, 1; mapa.shared::cluster.u32 %u8, %u6, %u7; add.u32 %u9, %s, 512; mapa.shared::cluster.u32 %u9, %u9, %u7;" +
				"st.async.shared::cluster.mbarrier::complete_tx::bytes.b32 [%u8], %r0, [%u9]; ld.shared::cluster.b32 %r2, [%u8+128];" + waitTry("%s+512") +
				"ld.shared.b32 %r1, [%u6]; barrier.cluster.arrive; barrier.cluster.wait;" + store(1, 2)}.program(),
	)
	return ps
}

// test asks a barrier for both parities.
func test(reg int) string {
	return fmt.Sprintf("mbarrier.test_wait.parity.shared::cta.b64 %%p1, [%%s], 0; selp.b32 %%r%d, 1, 0, %%p1; mbarrier.test_wait.parity.shared::cta.b64 %%p1, [%%s], 1; selp.b32 %%r%d, 1, 0, %%p1;", reg, reg+1)
}

// wait spins until phase 0 of a barrier is complete.
func wait(bar string) string {
	return "$wait: mbarrier.try_wait.parity.shared::cta.b64 %p1, [" + bar + "], 0; @!%p1 bra $wait;"
}

func waitTry(bar string) string {
	return "$wait: mbarrier.try_wait.parity.acquire.cluster.shared::cta.b64 %p1, [" + bar + "], 0; @!%p1 bra $wait;"
}
