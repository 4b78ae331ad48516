package ptxsim

import (
	"encoding/binary"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sparsegen/sparsegen/runtime/gpu"
)

// run runs a kernel of 32 threads with a buffer x of 256 bytes of counting numbers
// and a result y of 4 bytes a thread.
func run(t *testing.T, body string, edit ...func(*gpu.Launch)) ([]uint32, error) {
	t.Helper()
	text := `.version 8.4
.target sm_90a
.address_size 64
.extern .shared .align 128 .b8 smem[];
.visible .entry k(
	.param .u64 x,
	.param .u64 y
)
.reqntid 32, 1, 1
{
	.reg .pred %p<4>;
	.reg .b32 %r<32>;
	.reg .b64 %rd<8>;
	ld.param.u64 %rd0, [x];
	ld.param.u64 %rd1, [y];
	mov.u32 %r0, %tid.x;
	mov.u32 %r1, smem;
	mad.wide.u32 %rd2, %r0, 4, %rd0;
	mad.wide.u32 %rd3, %r0, 4, %rd1;
	mad.lo.u32 %r2, %r0, 4, %r1;
` + body + `
	ret;
}
`
	l := gpu.Launch{
		Grid: [3]uint32{1, 1, 1}, Block: [3]uint32{32, 1, 1}, Shared: 1024,
		Args: []gpu.Arg{gpu.PtrArg(gpu.X, 0), gpu.PtrArg(gpu.Y, 0)},
	}
	for _, e := range edit {
		e(&l)
	}
	x, y := make([]byte, 256), make([]byte, 128)
	for i := range 64 {
		binary.LittleEndian.PutUint32(x[4*i:], uint32(i))
	}
	err := Run(&gpu.Kernel{Name: "k", PTX: text}, l, Memory{gpu.X: x, gpu.Y: y}, 1)
	out := make([]uint32, 32)
	for i := range out {
		out[i] = binary.LittleEndian.Uint32(y[4*i:])
	}
	return out, err
}

func TestCopiesHappenWhenWaitedFor(t *testing.T) {
	copyThen := func(wait string) string {
		return `st.shared.u32 [%r2], 99;
	cp.async.ca.shared.global [%r2], [%rd2], 4;
	cp.async.commit_group;
	` + wait + `
	ld.shared.u32 %r3, [%r2];
	st.global.u32 [%rd3], %r3;`
	}
	y, err := run(t, copyThen("cp.async.wait_group 0;"))
	require.NoError(t, err)
	require.EqualValues(t, 7, y[7])
	y, err = run(t, copyThen("cp.async.wait_group 1;"))
	require.NoError(t, err)
	require.EqualValues(t, 99, y[7], "a copy that nobody waits for is late")
}

func TestBulkCopyNeedsItsBarrier(t *testing.T) {
	y, err := run(t, `
	setp.eq.u32 %p0, %r0, 0;
	@%p0 mbarrier.init.shared::cta.b64 [%r1+512], 1;
	bar.sync 0;
	@!%p0 bra $wait;
	mbarrier.arrive.expect_tx.shared::cta.b64 _, [%r1+512], 128;
	cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%r1], [%rd0], 128, [%r1+512];
$wait:
	mbarrier.try_wait.parity.shared::cta.b64 %p1, [%r1+512], 0;
	@!%p1 bra $wait;
	ld.shared.u32 %r3, [%r2];
	st.global.u32 [%rd3], %r3;`)
	require.NoError(t, err)
	require.EqualValues(t, 31, y[31])
}

func TestWarpOperations(t *testing.T) {
	y, err := run(t, `
	and.b32 %r3, %r0, 3;
	setp.eq.u32 %p0, %r3, 1;
	vote.sync.ballot.b32 %r4, %p0, -1;
	popc.b32 %r5, %r4;
	shfl.sync.bfly.b32 %r6, %r0, 4, 31, -1;
	redux.sync.add.u32 %r7, %r0, -1;
	mad.lo.u32 %r8, %r5, 1000000, %r7;
	mad.lo.u32 %r8, %r6, 10000, %r8;
	st.global.u32 [%rd3], %r8;`)
	require.NoError(t, err)
	require.EqualValues(t, 8*1000000+(5^4)*10000+496, y[5])
}

func TestFaults(t *testing.T) {
	for _, c := range []struct{ want, body string }{
		{"unknown instruction", "bfind.u32 %r3, %r0;"},
		{"no such label", "bra $nowhere;"},
		{"4 bytes at 256 of x, which has 256", "ld.global.u32 %r3, [%rd0+256];"},
		{"4 bytes at 2 of x, which is no multiple of 4", "ld.global.u32 %r3, [%rd0+2];"},
		{"4 bytes at 1024 of 1024 of shared memory", "ld.shared.u32 %r3, [%r1+1024];"},
		{"16 bytes at 8 of shared memory, which is no multiple of 16", "ld.shared.v4.u32 {%r3, %r4, %r5, %r6}, [%r1+8];"},
		{"no mbarrier at 0", "mbarrier.try_wait.parity.shared::cta.b64 %p1, [%r1], 0;"},
		{"gets one too many", "mbarrier.init.shared::cta.b64 [%r2], 1;\nmbarrier.arrive.shared::cta.b64 _, [%r2], 2;"},
		{"block 1 of a cluster of 1", "mapa.shared::cluster.u32 %r3, %r1, 1;"},
		{"division by zero", "sub.u32 %r3, %r0, %r0;\ndiv.u32 %r3, %r0, %r3;"},
		{"thread 0 traps", "trap;"},
		{"deadlock: 31 threads of block 0: bar.sync 1, 32", "setp.eq.u32 %p0, %r0, 0;\n@%p0 ret;\nbar.sync 1, 32;"},
		{"deadlock: 32 threads of block 0", "mbarrier.init.shared::cta.b64 [%r2], 1;\n$w:\nmbarrier.try_wait.parity.shared::cta.b64 %p1, [%r2], 0;\n@!%p1 bra $w;"},
		{"unknown symbol %q1", "mov.u32 %r3, {%q1};"},
		{"a shuffle of 16 lanes", "setp.lt.u32 %p0, %r0, 16;\n@%p0 ret;\nshfl.sync.bfly.b32 %r6, %r0, 4, 31, -1;"},
	} {
		// Barriers are one for each thread, 8 bytes apart.
		_, err := run(t, "mad.lo.u32 %r2, %r0, 8, %r1;\n"+c.body)
		require.ErrorContains(t, err, c.want)
	}
}

func TestLaunchErrors(t *testing.T) {
	for _, c := range []struct {
		want string
		edit func(*gpu.Launch)
	}{
		{"1 arguments for 2 parameters", func(l *gpu.Launch) { l.Args = l.Args[:1] }},
		{"blocks of 64 threads, the kernel wants 32", func(l *gpu.Launch) { l.Block[0] = 64 }},
		{"argument 1 has 4 bytes, parameter y has 8", func(l *gpu.Launch) { l.Args[1] = gpu.U32Arg(1) }},
		{"bias has 0 bytes, the launch needs 1", func(l *gpu.Launch) { l.Args[1] = gpu.PtrArg(gpu.Bias, 0) }},
	} {
		_, err := run(t, "", c.edit)
		require.ErrorContains(t, err, c.want)
	}
	require.ErrorContains(t, Run(&gpu.Kernel{Name: "other"}, gpu.Launch{}, nil, 1), "no entry other")
}
