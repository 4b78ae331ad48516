package ptxsim

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sparsegen/sparsegen/runtime/gpu"
)

// planted are kernels with one mistake each, and the same without it.
type planted struct {
	kind    Kind
	detail  string
	threads int
	body    string // with the mistake
	right   string // without, "" where there is no such
	edit    func(*gpu.Launch, *Options)
}

// mma is a warpgroup that multiplies, of 128 threads: the operands are zeros that
// the threads store, 128-byte rows of A at 0 and of B at 8192.
func mma(fill, before, after string) string {
	return `mad.lo.u32 %r3, %r0, 4, %r1; mov.u32 %r4, 0; mov.u32 %r5, 0;
$fill:
	st.shared.b32 [%r3], %r4; add.u32 %r3, %r3, 512; add.u32 %r5, %r5, 1; setp.lt.u32 %p1, %r5, 32; @%p1 bra $fill; ` + fill + `
	shr.u32 %r6, %r1, 4; cvt.u64.u32 %rd5, %r6; or.b64 %rd5, %rd5, 0x4000004000010000; add.u64 %rd6, %rd5, 512;
	mov.f32 %r10, 0f3F800000; mov.f32 %r11, 0f3F800000; mov.f32 %r12, 0f3F800000; mov.f32 %r13, 0f3F800000; ` + before + `
	wgmma.mma_async.sync.aligned.m64n8k16.f32.bf16.bf16 {%r10, %r11, %r12, %r13}, %rd5, %rd6, 1, 1, 1, 0, 0; ` + after
}

const (
	fenced   = "fence.proxy.async.shared::cta; bar.sync 0;"
	finished = "wgmma.commit_group.sync.aligned; wgmma.wait_group.sync.aligned 0; st.global.b32 [%rd3], %r10;"
)

// late is mma with another product, of which registers from %r30 on are operands,
// and what is written before and after its wait.
func late(op, a, rest, before, after string) string {
	set := "mov.u32 %r30, 0x44444444; mov.u32 %r31, 0; mov.u32 %r32, 0; mov.u32 %r33, 0; wgmma.fence.sync.aligned;"
	text := mma(fenced, set, "wgmma.commit_group.sync.aligned; "+before+" wgmma.wait_group.sync.aligned 0; "+after)
	from := strings.Index(text, "wgmma.mma_async")
	to := from + strings.Index(text[from:], ";")
	return text[:from] + "wgmma.mma_async." + op + ".f32.bf16.bf16 {%r10, %r11, %r12, %r13}, " + a + ", %rd6, " + rest + text[to:]
}

func plantedFaults() []planted {
	right := mma(fenced, "wgmma.fence.sync.aligned;", finished)
	store := `mad.lo.u32 %r3, %r0, 32, %r1; mov.u32 %r4, 0; st.shared.v4.b32 [%r3], {%r4, %r4, %r4, %r4}; st.shared.v4.b32 [%r3+16], {%r4, %r4, %r4, %r4}; FENCE bar.sync 0; @!%p0 bra $end;
	cp.async.bulk.tensor.2d.global.shared::cta.tile.bulk_group [%rd4, {0, 0}], [%r1]; cp.async.bulk.commit_group; cp.async.bulk.wait_group 0;
$end:
	bar.warp.sync -1;`
	ring := `@!%p0 bra $skip; mbarrier.init.shared::cta.b64 [%r1+1024], 1; mbarrier.init.shared::cta.b64 [%r1+1032], 1; fence.mbarrier_init.release.cluster;
$skip:
	bar.sync 0; setp.lt.u32 %p2, %r0, 32; @!%p2 bra $consume; @!%p0 bra $end;
	mbarrier.arrive.expect_tx.shared::cta.b64 _, [%r1+1024], 128; cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%r1], [%rd0], 128, [%r1+1024];
	WAIT mbarrier.arrive.expect_tx.shared::cta.b64 _, [%r1+1024], 128; cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%r1], [%rd0+128], 128, [%r1+1024]; bra $end;
$consume:
	mbarrier.try_wait.parity.shared::cta.b64 %p1, [%r1+1024], 0; @!%p1 bra $consume; and.b32 %r3, %r0, 31; mad.lo.u32 %r3, %r3, 4, %r1; ld.shared.u32 %r4, [%r3];
	setp.eq.u32 %p3, %r0, 32; @%p3 mbarrier.arrive.shared::cta.b64 _, [%r1+1032];
$second:
	mbarrier.try_wait.parity.shared::cta.b64 %p1, [%r1+1024], 1; @!%p1 bra $second; st.global.u32 [%rd3], %r4;
$end:
	bar.warp.sync -1;`
	released := `
$free:
	mbarrier.try_wait.parity.shared::cta.b64 %p1, [%r1+1032], 0; @!%p1 bra $free;`
	// The producer waits for the full barrier, which says nothing of the readers.
	unreleased := `
$free:
	mbarrier.try_wait.parity.shared::cta.b64 %p1, [%r1+1024], 0; @!%p1 bra $free;`
	return []planted{
		{InFlight, "an accumulator is read", 128, mma(fenced, "wgmma.fence.sync.aligned;", "wgmma.commit_group.sync.aligned; st.global.b32 [%rd3], %r10; wgmma.wait_group.sync.aligned 0;"), right, nil},
		{InFlight, "before a wgmma.wait_group that retires group 1", 128, mma(fenced, "wgmma.fence.sync.aligned;", "wgmma.commit_group.sync.aligned; wgmma.wait_group.sync.aligned 1; mov.b32 %r20, %r10; wgmma.wait_group.sync.aligned 0;"), right, nil},
		{InFlight, "an accumulator is written", 128, mma(fenced, "wgmma.fence.sync.aligned;", "mov.u32 %r11, 0; wgmma.commit_group.sync.aligned; wgmma.wait_group.sync.aligned 0;"), right, nil},
		{InFlight, "the warp leaves", 128, mma(fenced, "wgmma.fence.sync.aligned;", "wgmma.commit_group.sync.aligned;"), right, nil},
		{InFlight, "a register that it reads is written", 128, late("sp.sync.aligned.m64n8k32", "%rd5", "%r30, 0, 1, 1, 1, 0, 0", "mov.u32 %r30, 0;", ""), late("sp.sync.aligned.m64n8k32", "%rd5", "%r30, 0, 1, 1, 1, 0, 0", "", "mov.u32 %r30, 0;"), nil},
		{InFlight, "a register that it reads is written", 128, late("sync.aligned.m64n8k16", "{%r30, %r31, %r32, %r33}", "1, 1, 1, 0", "mov.u32 %r33, 0;", ""), late("sync.aligned.m64n8k16", "{%r30, %r31, %r32, %r33}", "1, 1, 1, 0", "", "mov.u32 %r33, 0;"), nil},
		{MissingWGMMAFence, "", 128, mma(fenced, "", finished), right, nil},
		{MissingWGMMAFence, "", 128, mma(fenced, "wgmma.fence.sync.aligned; mov.f32 %r12, 0f00000000;", finished), right, nil},
		{MissingProxyFence, "needs a fence.proxy.async after the write of line", 128, mma("bar.sync 0;", "wgmma.fence.sync.aligned;", finished), right, nil},
		{MissingProxyFence, "", 32, strings.Replace(store, "FENCE", "", 1), strings.Replace(store, "FENCE", "fence.proxy.async.shared::cta;", 1), nil},
		{MissingProxyFence, "is initialised without a fence", 32, strings.Replace(bulk("128", "128"), "fence.mbarrier_init.release.cluster;", "", 1), bulk("128", "128"), nil},
		{Transactions, "expects 16 more bytes than its copies bring", 32, bulk("128", "144"), bulk("128", "128"), nil},
		{Transactions, "expects 1 more bytes than its copies bring", 32, bulk("128", "129"), bulk("128", "128"), nil},
		{Transactions, "the copies bring 64 bytes more than it expects", 32, bulk("128", "64"), bulk("128", "128"), nil},
		{Race, "a read of byte 0 of shared memory is not ordered after the write of line", 64,
			"st.shared.u32 [%r2], %r0; setp.ge.u32 %p1, %r0, 32; @%p1 ld.shared.u32 %r3, [%r2-128];",
			"st.shared.u32 [%r2], %r0; setp.ge.u32 %p1, %r0, 32; bar.sync 0; @%p1 ld.shared.u32 %r3, [%r2-128];", nil},
		{Race, "a write of byte 0 of shared memory is not ordered after the read", 64,
			"setp.lt.u32 %p1, %r0, 32; @%p1 st.shared.u32 [%r1], %r0; bar.sync 0; ld.shared.u32 %r3, [%r1]; @%p0 st.shared.u32 [%r1], %r0; st.global.u32 [%rd3], %r3;",
			"setp.lt.u32 %p1, %r0, 32; @%p1 st.shared.u32 [%r1], %r0; bar.sync 0; ld.shared.u32 %r3, [%r1]; bar.sync 0; @%p0 st.shared.u32 [%r1], %r0; st.global.u32 [%rd3], %r3;", nil},
		{Race, "is used before its initialisation is ordered", 64, "@%p0 mbarrier.init.shared::cta.b64 [%r1], 64; setp.ge.u32 %p1, %r0, 32; @%p1 mbarrier.arrive.shared::cta.b64 _, [%r1];",
			"@%p0 mbarrier.init.shared::cta.b64 [%r1], 64; setp.ge.u32 %p1, %r0, 32; bar.sync 0; @%p1 mbarrier.arrive.shared::cta.b64 _, [%r1];", nil},
		{StageOverwritten, "of byte 0 of shared memory", 64, strings.Replace(ring, "WAIT", unreleased, 1), strings.Replace(ring, "WAIT", released, 1), nil},
		{OutOfBounds, "4 bytes at 16384 of x, which has 16384", 32, "ld.global.u32 %r3, [%rd0+16384];", "ld.global.u32 %r3, [%rd0+16380];", nil},
		{OutOfBounds, "4 bytes at 65536 of 65536 of shared memory", 32, "st.shared.u32 [%r1+65536], %r0;", "st.shared.u32 [%r1+65532], %r0;", nil},
		{OutOfBounds, "block 1 of a cluster of 1", 32, "mapa.shared::cluster.u32 %r3, %r1, 1;", "mapa.shared::cluster.u32 %r3, %r1, 0;", nil},
		{Misaligned, "4 bytes at 2 of x", 32, "ld.global.u32 %r3, [%rd0+2];", "", nil},
		{Misaligned, "16 bytes at 8 of shared memory", 32, "st.shared.v4.u32 [%r1+8], {%r0, %r0, %r0, %r0};", "", nil},
		{Misaligned, "a bulk copy of 120 bytes", 32, bulk("120", "120"), "", nil},
		{Uninitialised, "a value that is none goes to device memory", 32, "ld.shared.u32 %r3, [%r2]; add.u32 %r3, %r3, 1; st.global.u32 [%rd3], %r3;",
			"ld.shared.u32 %r3, [%r2]; add.u32 %r3, %r3, 1; setp.lt.u32 %p1, %r0, 0; @%p1 st.global.u32 [%rd3], %r3;", nil},
		{Uninitialised, "an address that has no value in lane 0", 32, "add.u32 %r3, %r4, 4; ld.shared.u32 %r5, [%r3];", "", nil},
		{Uninitialised, "a predicate that has no value in lane 1", 32, "@%p0 mov.u32 %r3, 1; setp.eq.u32 %p1, %r3, 1; @%p1 bra $end;\n$end:", "mov.u32 %r3, 1; setp.eq.u32 %p1, %r3, 1; @%p1 bra $end;\n$end:", nil},
		{Uninitialised, "no mbarrier at 0", 32, "mbarrier.try_wait.parity.shared::cta.b64 %p1, [%r1], 0;", "", nil},
		{Uninitialised, "byte 0 of y was never written", 32, "ld.global.u32 %r3, [%rd3];", "st.global.u32 [%rd3], %r0; ld.global.u32 %r3, [%rd3];", func(_ *gpu.Launch, o *Options) { o.Fresh = []gpu.Buffer{gpu.Y} }},
		{Deadlock, "warp 0 at line 28: bar.sync 1, 64\n    waits for barrier 1, at which 32 of 64 threads are (warp 0)", 64, "setp.ge.u32 %p1, %r0, 32;\n@%p1 ret;\nbar.sync 1, 64;", "bar.sync 1, 64;", nil},
		{Deadlock, "1 of its 1 arrivals and 0 bytes are missing", 32, "@%p0 mbarrier.init.shared::cta.b64 [%r1], 1; bar.warp.sync -1;\n$w:\nmbarrier.try_wait.parity.shared::cta.b64 %p1, [%r1], 0;\n@!%p1 bra $w;", "", nil},
		{Deadlock, "for lanes 0x1 of its warp", 32, "@%p0 bra $other; bar.warp.sync -1; bra $end;\n$other:\n\tbar.warp.sync 1;\n\tbar.warp.sync -1;\n$end:\n\tbar.warp.sync 1;", "", nil},
		{Deadlock, "for the cluster, of which 32 threads have not arrived", 32, "mov.u32 %r3, %cluster_ctarank; setp.eq.u32 %p1, %r3, 1; @%p1 bra $other; barrier.cluster.arrive; barrier.cluster.wait; ret;\n$other:\n\tbar.sync 1, 64;", "", func(l *gpu.Launch, o *Options) { clustered(l, o) }},
		{RegisterBudget, "for registers: 80 more", 384, "setp.lt.u32 %p1, %r0, 128; @%p1 bra $producer; setmaxnreg.inc.sync.aligned.u32 248; ret;\n$producer:\n\tsetmaxnreg.dec.sync.aligned.u32 40;",
			"setp.lt.u32 %p1, %r0, 128; @%p1 bra $producer; setmaxnreg.inc.sync.aligned.u32 232; ret;\n$producer:\n\tsetmaxnreg.dec.sync.aligned.u32 40;", nil},
		{RegisterBudget, "the warp has 168 registers a thread, fewer than the 200", 384, "setmaxnreg.dec.sync.aligned.u32 200;", "setmaxnreg.dec.sync.aligned.u32 160;", nil},
		{Barriers, "gets one too many", 32, "@%p0 mbarrier.init.shared::cta.b64 [%r1], 1; bar.warp.sync -1; @%p0 mbarrier.arrive.shared::cta.b64 _, [%r1], 2;", "", nil},
		{Barriers, "where an mbarrier lies", 32, "@%p0 mbarrier.init.shared::cta.b64 [%r1], 1; bar.warp.sync -1; @%p0 st.shared.u32 [%r1], %r0;", "", nil},
		{Barriers, "barrier 1 is of 96 and of 64 threads", 96, "setp.lt.u32 %p1, %r0, 32;\n@%p1 bra $a;\nbar.sync 1, 64;\nret;\n$a:\nbar.sync 1, 96;", "", nil},
		{Barriers, "stores from shared memory in flight", 32, strings.Replace(strings.Replace(store, "FENCE", "fence.proxy.async.shared::cta;", 1), "cp.async.bulk.wait_group 0;", "", 1), "", nil},
		{Divergence, "names lanes that have left (0x1)", 32, "@%p0 ret; shfl.sync.bfly.b32 %r6, %r0, 4, 31, -1;", "", nil},
		{Divergence, "warp 0 of block 0 executed 1 wgmmas, warp 3 of its warpgroup 0", 128, mma(fenced, "setp.ge.u32 %p2, %r0, 96; @%p2 ret; wgmma.fence.sync.aligned;", finished), right, nil},
		{Metadata, "which is no ordered pair", 32, sparse("0x44444440"), sparse("0x44444444"), nil},
		{BeforeGridWait, "x may still be in use", 32, "ld.global.u32 %r3, [%rd0];", "griddepcontrol.wait; ld.global.u32 %r3, [%rd0];", func(l *gpu.Launch, _ *Options) { l.PDL = true }},
		{BlockLeft, "block 1 of the cluster, which has left", 32, "mov.u32 %r3, %cluster_ctarank; setp.eq.u32 %p1, %r3, 1; @%p1 ret; barrier.cluster.arrive; barrier.cluster.wait; mapa.shared::cluster.u32 %r4, %r2, 1; st.shared::cluster.u32 [%r4], %r0;", "", clustered},
		{Trapped, "", 32, "trap;", "", nil},
		{Operands, "division by zero", 32, "sub.u32 %r3, %r0, %r0; div.u32 %r3, %r0, %r3;", "", nil},
		{Runaway, "", 32, "$loop:\n\tadd.u32 %r3, %r0, 1; bra $loop;", "", func(_ *gpu.Launch, o *Options) { o.Limit = 1000 }},
	}
}

// sparse is a warp's mma.sp with that metadata.
func sparse(meta string) string {
	var b strings.Builder
	for r := 10; r < 26; r++ {
		fmt.Fprintf(&b, "mov.u32 %%r%d, 0; ", r)
	}
	return b.String() + "mma.sp.sync.aligned.m16n8k32.row.col.f32.bf16.bf16.f32 {%r10, %r11, %r12, %r13}, {%r14, %r15, %r16, %r17}, {%r18, %r19, %r20, %r21}, {%r10, %r11, %r12, %r13}, " + meta + ", 0;"
}

func TestPlantedFaults(t *testing.T) {
	seen := map[Kind]bool{}
	for i, c := range plantedFaults() {
		t.Run(fmt.Sprintf("%d %s", i, c.kind), func(t *testing.T) {
			edits := []func(*gpu.Launch, *Options){}
			if c.edit != nil {
				edits = append(edits, c.edit)
			}
			_, err := run(t, c.threads, c.body, edits...)
			var f *Fault
			require.True(t, errors.As(err, &f), "%v", err)
			require.Equal(t, c.kind, f.Kind, "%v", err)
			require.ErrorContains(t, err, c.detail)
			seen[c.kind] = true
			if c.right == "" {
				return
			}
			for seed := range uint64(4) {
				_, err := run(t, c.threads, c.right, append(edits, func(_ *gpu.Launch, o *Options) { o.Seed = seed })...)
				require.NoError(t, err, c.right)
			}
		})
	}
	for _, k := range []Kind{OutOfBounds, Misaligned, Uninitialised, Race, StageOverwritten, MissingProxyFence, MissingWGMMAFence, InFlight, Transactions, Barriers, Deadlock, RegisterBudget, Divergence, Metadata, BeforeGridWait, BlockLeft, Trapped, Operands, Runaway} {
		require.True(t, seen[k], k)
	}
}
