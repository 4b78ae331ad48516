package ptxsim

import (
	"encoding/binary"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sparsegen/sparsegen/runtime/gpu"
)

// kernel is a kernel of threads with a buffer x of counting numbers and a result y
// of a word a thread: %r0 is the thread, %r1 the address of shared memory, %r2 the
// thread's word there, %rd2 and %rd3 its words of x and y.
func kernel(threads, cluster int, body string) string {
	directives := ".minnctapersm 1\n"
	if cluster > 1 {
		directives += fmt.Sprintf(".explicitcluster\n.reqnctapercluster %d, 1, 1\n", cluster)
	}
	return fmt.Sprintf(`.version 8.4
.target sm_90a
.address_size 64
.extern .shared .align 1024 .b8 smem[];
.visible .entry k(
	.param .u64 x,
	.param .u64 y,
	.param .align 64 .b8 map[128]
)
.reqntid %d, 1, 1
%s{
	.reg .pred %%p<4>;
	.reg .b16 %%h<8>;
	.reg .b32 %%r<64>;
	.reg .b64 %%rd<16>;
	ld.param.u64 %%rd0, [x];
	ld.param.u64 %%rd1, [y];
	mov.u32 %%r0, %%tid.x;
	mov.u32 %%r1, smem;
	mad.wide.u32 %%rd2, %%r0, 4, %%rd0;
	mad.wide.u32 %%rd3, %%r0, 4, %%rd1;
	mad.lo.u32 %%r2, %%r0, 4, %%r1;
	mov.b64 %%rd4, map;
	setp.eq.u32 %%p0, %%r0, 0;
	%s
	ret;
}
`, threads, directives, strings.ReplaceAll(strings.TrimSpace(body), "; ", ";\n\t"))
}

// words is the size of x and y.
const words = 4096

// run runs a kernel in the fixed schedule and returns y.
func run(t *testing.T, threads int, body string, edit ...func(*gpu.Launch, *Options)) ([]uint32, error) {
	t.Helper()
	l := gpu.Launch{
		Grid: [3]uint32{1, 1, 1}, Block: [3]uint32{uint32(threads), 1, 1}, Shared: 65536,
		Args: []gpu.Arg{gpu.PtrArg(gpu.X, 0), gpu.PtrArg(gpu.Y, 0), gpu.MapArg(gpu.TensorMap{
			DType: gpu.BF16, Of: gpu.Y, Dims: []uint64{64, 16}, Strides: []uint64{128}, Box: []uint32{64, 8}, Swizzle: gpu.Swizzle128})},
	}
	o := Options{}
	for _, e := range edit {
		e(&l, &o)
	}
	x, y := make([]byte, 4*words), make([]byte, 4*words)
	for i := range words {
		binary.LittleEndian.PutUint32(x[4*i:], uint32(i))
	}
	_, err := Simulate(&gpu.Kernel{Name: "k", PTX: kernel(threads, int(l.Cluster[0]), body)}, l, Memory{gpu.X: x, gpu.Y: y}, o)
	out := make([]uint32, words)
	for i := range out {
		out[i] = binary.LittleEndian.Uint32(y[4*i:])
	}
	return out, err
}

func clustered(l *gpu.Launch, _ *Options) {
	l.Grid[0], l.Cluster = 2, [3]uint32{2, 1, 1}
}

func TestCopiesNeedAWait(t *testing.T) {
	const body = `cp.async.ca.shared.global [%r2], [%rd2], 4; cp.async.commit_group; cp.async.wait_group N; ld.shared.u32 %r3, [%r2]; st.global.u32 [%rd3], %r3;`
	y, err := run(t, 32, strings.Replace(body, "N", "0", 1))
	require.NoError(t, err)
	require.EqualValues(t, 7, y[7])
	_, err = run(t, 32, strings.Replace(body, "N", "1", 1))
	require.ErrorContains(t, err, "shared-memory race: a read of byte 0 of shared memory is not ordered after the write of line 26")
}

func TestWarpOperations(t *testing.T) {
	y, err := run(t, 32, `and.b32 %r3, %r0, 3; setp.eq.u32 %p0, %r3, 1; vote.sync.ballot.b32 %r4, %p0, -1; popc.b32 %r5, %r4; shfl.sync.bfly.b32 %r6, %r0, 4, 31, -1;
	redux.sync.add.u32 %r7, %r0, -1; mad.lo.u32 %r8, %r5, 1000000, %r7; mad.lo.u32 %r8, %r6, 10000, %r8; st.global.u32 [%rd3], %r8;`)
	require.NoError(t, err)
	require.EqualValues(t, 8*1000000+(5^4)*10000+496, y[5])
}

// TestLanesPartAndMeet runs a loop whose length differs between lanes, nested in a
// branch, before a warp's barrier.
func TestLanesPartAndMeet(t *testing.T) {
	y, err := run(t, 32, `mov.b32 %r3, 0; and.b32 %r4, %r0, 1; setp.eq.u32 %p1, %r4, 0; @%p1 bra $even; mov.u32 %r5, 0;
$loop:
	add.u32 %r3, %r3, %r5; add.u32 %r5, %r5, 1; setp.lt.u32 %p2, %r5, %r0; @%p2 bra $loop; bra $end;
$even:
	mov.u32 %r3, 1000;
$end:
	bar.warp.sync -1; redux.sync.add.u32 %r6, %r3, -1; add.u32 %r3, %r3, %r6; st.global.u32 [%rd3], %r3;`)
	require.NoError(t, err)
	var each [32]uint32
	sum := uint32(0)
	for l := range each {
		if each[l] = 1000; l%2 == 1 {
			each[l] = uint32(l * (l - 1) / 2)
		}
		sum += each[l]
	}
	for l, v := range each {
		require.Equal(t, v+sum, y[l])
	}
}

func TestBadText(t *testing.T) {
	for _, c := range []struct{ want, body string }{
		{"line 26: bfind.u32.u32 %r3, %r0;: unknown instruction", "bfind.u32.u32 %r3, %r0;"},
		{"no label $nowhere", "bra $nowhere;"},
		{"no register %r99", "mov.u32 %r99, 1;"},
		{"no register %q1", "mov.u32 %r3, {%q1};"},
		{"2 operands", "add.u32 %r3, %r0;"},
		{"no semicolon", "mov.u32 %r3, 1"},
		{"label that is there already", "$a:\n$a:\nret;"},
		{"a result that is no register", "mov.u32 7, %r0;"},
		{"10 accumulators", "wgmma.mma_async.sync.aligned.m64n8k16.f32.bf16.bf16 {%r1, %r2, %r3, %r4, %r5, %r6, %r7, %r8, %r9, %r10}, %rd1, %rd2, 1, 1, 1, 0, 0;"},
		{"no wgmma of this shape", "wgmma.mma_async.sync.aligned.m64n8k8.f32.bf16.bf16 {%r1, %r2, %r3, %r4}, %rd1, %rd2, 1, 1, 1, 0, 0;"},
	} {
		_, err := run(t, 32, c.body)
		require.ErrorContains(t, err, c.want, c.body)
	}
}

func TestLaunchErrors(t *testing.T) {
	for _, c := range []struct {
		want string
		edit func(*gpu.Launch, *Options)
	}{
		{"2 arguments for 3 parameters", func(l *gpu.Launch, _ *Options) { l.Args = l.Args[:2] }},
		{"blocks of 64 threads, the kernel wants 32", func(l *gpu.Launch, _ *Options) { l.Block[0] = 64 }},
		{"argument 1 has 4 bytes, parameter y has 8", func(l *gpu.Launch, _ *Options) { l.Args[1] = gpu.U32Arg(1) }},
		{"bias has 0 bytes, the launch needs 1", func(l *gpu.Launch, _ *Options) { l.Args[1] = gpu.PtrArg(gpu.Bias, 0) }},
		{"in a grid of [3 1 1], the kernel wants 2", func(l *gpu.Launch, _ *Options) { clustered(l, nil); l.Grid[0] = 3 }},
		{"shared memory over the limit: 240000 bytes of a block, sm_90a has 232448", func(l *gpu.Launch, _ *Options) { l.Shared = 240000 }},
	} {
		_, err := run(t, 32, "", c.edit)
		require.ErrorContains(t, err, c.want)
	}
	require.ErrorContains(t, Run(&gpu.Kernel{Name: "other"}, gpu.Launch{}, nil, 1), "no entry other")
}

func TestReport(t *testing.T) {
	x, y := make([]byte, 4*words), make([]byte, 4*words)
	l := gpu.Launch{Grid: [3]uint32{1, 1, 1}, Block: [3]uint32{32, 1, 1}, Shared: 8192, Args: []gpu.Arg{gpu.PtrArg(gpu.X, 0), gpu.PtrArg(gpu.Y, 0), gpu.MapArg(gpu.TensorMap{DType: gpu.U8, Of: gpu.Y, Dims: []uint64{64}, Box: []uint32{64}})}}
	text := kernel(32, 1, `mul.lo.u32 %r3, %r0, 128; add.u32 %r3, %r3, %r1; st.shared.u32 [%r3], %r0; ld.shared.u32 %r4, [%r3]; st.shared.u32 [%r2+4096], %r0; mad.wide.u32 %rd5, %r0, 64, %rd0; ld.global.u32 %r5, [%rd5]; st.global.u32 [%rd3], %r5;`)
	r, err := Simulate(&gpu.Kernel{Name: "k", PTX: text}, l, Memory{gpu.X: x, gpu.Y: y}, Options{})
	require.NoError(t, err)
	got := map[string][4]int64{}
	for _, line := range r.Executed() {
		op, _, _ := strings.Cut(line.Text, ",")
		got[op] = [4]int64{line.Sectors, line.Ideal, line.Waves, line.Conflicts}
	}
	require.Equal(t, [4]int64{0, 0, 32, 31}, got["st.shared.u32 [%r3]"])
	require.Equal(t, [4]int64{0, 0, 32, 31}, got["ld.shared.u32 %r4"])
	require.Equal(t, [4]int64{0, 0, 1, 0}, got["st.shared.u32 [%r2+4096]"])
	require.Equal(t, [4]int64{32, 4, 0, 0}, got["ld.global.u32 %r5"])
	require.Equal(t, [4]int64{4, 4, 0, 0}, got["st.global.u32 [%rd3]"])
	var b strings.Builder
	require.NoError(t, r.WriteText(&b, false))
	require.Contains(t, b.String(), "ld.global.u32 %r5, [%rd5]")
	require.NotContains(t, b.String(), "4096")
}

func TestTraceTellsWhatHappens(t *testing.T) {
	var events []string
	_, err := run(t, 32, bulk("128", "128"), func(_ *gpu.Launch, o *Options) {
		o.Trace = func(e Event) { events = append(events, e.String()) }
	})
	require.NoError(t, err)
	all := strings.Join(events, "\n")
	require.Contains(t, all, "128 bytes of line")
	require.Contains(t, all, "phase 0 of the mbarrier at byte 1024 of block 0's shared memory is complete")
	require.Contains(t, all, "block 0 warp 0     33: cp.async.bulk.shared::cluster.global")
}

// bulk copies bytes by thread 0 and expects some.
func bulk(bytes, expected string) string {
	return `@!%p0 bra $skip; mbarrier.init.shared::cta.b64 [%r1+1024], 1; fence.mbarrier_init.release.cluster;
$skip:
	bar.sync 0; @!%p0 bra $wait; mbarrier.arrive.expect_tx.shared::cta.b64 _, [%r1+1024], ` + expected + `;
	cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%r1], [%rd0], ` + bytes + `, [%r1+1024];
$wait:
	mbarrier.try_wait.parity.shared::cta.b64 %p1, [%r1+1024], 0; @!%p1 bra $wait; ld.shared.u32 %r3, [%r2]; st.global.u32 [%rd3], %r3;`
}

func TestBulkCopy(t *testing.T) {
	for seed := range uint64(4) {
		y, err := run(t, 32, bulk("128", "128"), func(_ *gpu.Launch, o *Options) { o.Seed = seed })
		require.NoError(t, err)
		require.EqualValues(t, 31, y[31])
	}
}
