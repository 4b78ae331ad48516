package ptxtest

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sparsegen/sparsegen/ptx"
)

func TestParse(t *testing.T) {
	r := parse(`ptxas info    : 0 bytes gmem
ptxas info    : (C7515) Potential Performance Loss: wgmma.mma_async instructions are serialized
ptxas warning : something else
ptxas info    : Compiling entry function 'one' for 'sm_90a'
ptxas info    : Function properties for one
    16 bytes stack frame, 8 bytes spill stores, 12 bytes spill loads
ptxas info    : Used 155 registers, used 3 barriers, 16 bytes cumulative stack size, 4096 bytes smem
ptxas info    : Compiling entry function 'two' for 'sm_90a'
ptxas info    : Function properties for two
    0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
ptxas info    : Used 8 registers
`)
	require.Len(t, r.Warnings, 2)
	require.Equal(t, "C7515", r.Warnings[0].Code)
	require.Empty(t, r.Warnings[1].Code)
	require.Equal(t, []Kernel{
		{Name: "one", Registers: 155, Barriers: 3, Shared: 4096, Stack: 16, SpillStores: 8, SpillLoads: 12},
		{Name: "two", Registers: 8},
	}, r.Kernels)
	require.Equal(t, 20, r.Kernels[0].Spills())
}

func text(t *testing.T, build func(*ptx.Kernel)) string {
	m := ptx.NewModule(ptx.SM90a())
	build(m.Kernel("k"))
	s, err := m.Text()
	require.NoError(t, err)
	return s
}

func TestAssemble(t *testing.T) {
	r := AssembleClean(t, text(t, func(k *ptx.Kernel) {
		k.Threads(64)
		s := k.StaticShared("s", 16, 256)
		k.Emit("st.shared.u32", ptx.AtShared(s, 0), k.TidX())
		k.Emit("bar.sync", 0)
		v := k.Op(ptx.U32, "ld.shared.u32", ptx.AtShared(s, 4))
		k.Emit("st.global.u32", ptx.At(k.LoadParam(k.ParamU64("out")), 0), v)
	}), ptx.SM90a())
	k := r.Kernel(t, "k")
	require.Positive(t, k.Registers)
	require.Equal(t, 1, k.Barriers)
	require.GreaterOrEqual(t, k.Shared, 256)
	require.Greater(t, k.Instructions, 4)
	require.Regexp(t, `^\d+\.\d+$`, Version(t))
}

// ptxas must see what serialises wgmmas, and Clean must fail of it: without
// .minnctapersm the setmaxnreg is ignored.
func TestWarningsAreSeen(t *testing.T) {
	r := Assemble(t, text(t, func(k *ptx.Kernel) {
		k.Emit("setmaxnreg.inc.sync.aligned.u32", 232)
	}), ptx.SM90a())
	require.NotEmpty(t, r.Warnings, r.Log)
	require.Equal(t, "C7508", r.Warnings[0].Code)
	spy := &failures{TB: t}
	r.Clean(spy)
	require.Equal(t, 1, spy.n)
}

// failures counts what a check reports, without failing the test.
type failures struct {
	testing.TB
	n int
}

func (f *failures) Errorf(string, ...any) { f.n++ }

func TestRefusedTextIsAnError(t *testing.T) {
	_, log, err := Try(t, ".version 8.4\n.target sm_80\n.address_size 64\n.visible .entry k() { frob; ret; }\n", ptx.SM80())
	require.Error(t, err)
	require.Contains(t, log, "frob")
}

// What a variable names is what runs.
func TestPathFromTheEnvironment(t *testing.T) {
	if os.Getenv(Env) == "" {
		t.Skip(Env + " is not set")
	}
	want, err := exec.LookPath(os.Getenv(Env))
	require.NoError(t, err)
	require.Equal(t, filepath.Clean(want), filepath.Clean(Find(t)))
}
