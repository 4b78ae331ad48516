package cuda_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sparsegen/sparsegen/runtime/cuda"
	"github.com/sparsegen/sparsegen/runtime/cuda/cudatest"
)

// entries returns the files of a cache folder.
func entries(t *testing.T, dir string) []string {
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	require.NoError(t, err)
	return files
}

func TestCubinCache(t *testing.T) {
	f, d := open(t)
	f.JITLog = "ptxas info    : (C7508) Potential Performance Loss: 'setmaxnreg' ignored\n"
	dir := filepath.Join(t.TempDir(), "made", "when needed")
	o := cuda.LoadOptions{Compile: cuda.CompileLink, Cache: cuda.NewCache(dir)}
	loadOne := func() (*cuda.Module, []string) {
		f.Calls()
		m, err := d.Load(axpyPTX, o)
		require.NoError(t, err)
		require.NoError(t, m.CacheErr)
		require.Equal(t, f.JITLog, m.Log)
		require.Equal(t, cuda.CompileLink, m.Way)
		require.Len(t, m.Warnings, 1)
		require.Equal(t, "C7508: Potential Performance Loss: 'setmaxnreg' ignored", m.Warnings[0].String())
		require.NoError(t, m.Close())
		return m, f.Calls()
	}
	m, calls := loadOne()
	require.False(t, m.Cached)
	require.Contains(t, calls, "cuLinkComplete")
	require.Contains(t, calls, "cuLinkDestroy")
	files := entries(t, dir)
	require.Len(t, files, 1)
	require.Regexp(t, `^[0-9a-f]{64}-sm90-12080\.cubin$`, filepath.Base(files[0]))

	m, calls = loadOne()
	require.True(t, m.Cached)
	require.NotContains(t, calls, "cuLinkCreate_v2")

	// Another driver, other options and another text are other entries.
	f.Version = 12090
	d = openFake(t, f, 0)
	m, _ = loadOne()
	require.False(t, m.Cached)
	o.MaxRegisters = 100
	m, _ = loadOne()
	require.False(t, m.Cached)
	require.Len(t, entries(t, dir), 3)
}

// TestDamagedCache cuts and changes an entry at every byte.
func TestDamagedCache(t *testing.T) {
	_, d := open(t)
	dir := t.TempDir()
	o := cuda.LoadOptions{Cache: cuda.NewCache(dir)}
	_, err := d.Load(axpyPTX, o)
	require.NoError(t, err)
	path := entries(t, dir)[0]
	good, err := os.ReadFile(path)
	require.NoError(t, err)
	try := func(data []byte) {
		require.NoError(t, os.WriteFile(path, data, 0o644))
		m, err := d.Load(axpyPTX, o)
		require.NoError(t, err)
		require.False(t, m.Cached)
		require.NoError(t, m.Close())
		now, err := os.ReadFile(path)
		require.NoError(t, err)
		require.Equal(t, good, now)
	}
	for i := range good {
		bad := slices.Clone(good)
		bad[i] ^= 1 << (i % 8)
		for _, data := range [][]byte{good[:i], bad} {
			_, _, ok := cuda.DecodeEntry(data)
			require.False(t, ok, i)
		}
		if i%41 == 0 {
			try(good[:i])
			try(bad)
		}
	}
	try(append(slices.Clone(good), 0))
	require.Equal(t, []string{path}, entries(t, dir), "no temporary files are left")
	require.NoError(t, os.Remove(path))
	require.NoError(t, os.Mkdir(path, 0o755))
	m, err := d.Load(axpyPTX, o)
	require.NoError(t, err)
	require.ErrorContains(t, m.CacheErr, "cubin cache")
	require.Equal(t, []string{path}, entries(t, dir))
}

// TestRefusedCubin has the driver refuse a sound entry.
func TestRefusedCubin(t *testing.T) {
	f, d := open(t)
	o := cuda.LoadOptions{Cache: cuda.NewCache(t.TempDir())}
	_, err := d.Load(axpyPTX, o)
	require.NoError(t, err)
	f.Fail("cuModuleLoadDataEx", 200)
	m, err := d.Load(axpyPTX, o)
	require.NoError(t, err)
	require.False(t, m.Cached)
}

func TestNoCacheFolder(t *testing.T) {
	_, d := open(t)
	t.Setenv("XDG_CACHE_HOME", "")
	t.Setenv("HOME", "")
	require.Nil(t, cuda.DefaultCache())
	m, err := d.Load(axpyPTX, cuda.LoadOptions{})
	require.NoError(t, err)
	require.NoError(t, m.CacheErr)
}

func TestCompileDirect(t *testing.T) {
	f, d := open(t)
	f.JITLog = "no advice here"
	dir := t.TempDir()
	m, err := d.Load(axpyPTX, cuda.LoadOptions{Compile: cuda.CompileDirect, Cache: cuda.NewCache(dir)})
	require.NoError(t, err)
	require.Equal(t, f.JITLog, m.Log)
	require.Empty(t, m.Warnings)
	require.Empty(t, entries(t, dir))
	require.NotContains(t, f.Calls(), "cuLinkCreate_v2")
}

// TestCompileAuto falls back where the linker's code is warned about.
func TestCompileAuto(t *testing.T) {
	f, d := open(t)
	o := cuda.LoadOptions{Cache: cuda.NewCache(t.TempDir())}
	loadOne := func() *cuda.Module {
		m, err := d.Load(axpyPTX, o)
		require.NoError(t, err)
		require.Equal(t, f.JITLog, m.Log)
		_, err = m.Function("axpy")
		require.NoError(t, err)
		return m
	}
	f.JITLog = "ptxas info    : (C7504) Potential Performance Loss: 'setmaxnreg' ignored"
	for _, links := range []bool{true, false} { // the cache remembers the warning
		f.Calls()
		m := loadOne()
		require.Equal(t, cuda.CompileDirect, m.Way)
		require.False(t, m.Cached)
		require.Equal(t, links, slices.Contains(f.Calls(), "cuLinkComplete"))
	}
	o.Cache = cuda.NewCache(t.TempDir())
	f.JITLog = "ptxas info    : Used 168 registers"
	require.Equal(t, cuda.CompileLink, loadOne().Way)
	m := loadOne()
	require.Equal(t, "link", m.Way.String())
	require.True(t, m.Cached)
}

func TestStrict(t *testing.T) {
	f, d := open(t)
	f.JITLog = "ptxas info    : (C7513) Potential Performance Loss: wgmma.mma_async serialized\n" +
		"ptxas info    : Used 168 registers\nptxas info    : (C7517) another\r\n"
	o := cuda.LoadOptions{Strict: true, Cache: cuda.NewCache(t.TempDir())}
	for range 2 { // compiled and from the cache
		live := f.Live()
		_, err := d.Load(axpyPTX, o)
		require.ErrorIs(t, err, cuda.ErrSlowCode)
		require.EqualError(t, err, "cuda: the compiler warns of slow code\n"+
			"C7513: Potential Performance Loss: wgmma.mma_async serialized\nC7517: another")
		var slow *cuda.SlowCodeError
		require.ErrorAs(t, err, &slow)
		require.Len(t, slow.Warnings, 2)
		require.Equal(t, live, f.Live())
	}
}

func TestCompileErrors(t *testing.T) {
	f, d := open(t)
	broken := axpyPTX + cudatest.SyntaxError
	for _, way := range []cuda.Compile{cuda.CompileLink, cuda.CompileDirect} {
		live := f.Live()
		_, err := d.Load(broken, cuda.LoadOptions{Compile: way})
		require.ErrorIs(t, err, cuda.ErrCompile)
		require.ErrorContains(t, err, "CUDA_ERROR_INVALID_PTX (218)")
		require.ErrorContains(t, err, "line 10; fatal")
		_, err = d.Load(strings.Replace(axpyPTX, ".version 8.0", ".version 9.0", 1), cuda.LoadOptions{Compile: way})
		require.ErrorIs(t, err, cuda.ErrOldDriver)
		require.ErrorContains(t, err, "the text is PTX 9.0, the driver supports CUDA 12.8")
		require.Equal(t, live, f.Live())
	}
	for _, c := range []struct {
		ptx    string
		want   string
		target error
	}{
		{"", "no .version or .target", cuda.ErrCompile},
		{axpyPTX + "\x00", "zero byte", cuda.ErrCompile},
		{strings.Replace(axpyPTX, "sm_90a", "sm_80a", 1), "it is for sm_80a, and Fake H200 has compute capability 9.0", cuda.ErrIncompatible},
		{strings.Replace(axpyPTX, "sm_90a", "sm_100", 1), "it is for sm_100, and", cuda.ErrIncompatible},
		{strings.Replace(axpyPTX, "sm_90a", "sm_100f", 1), "it is for sm_100f, and", cuda.ErrIncompatible},
	} {
		_, err := d.Load(c.ptx, cuda.LoadOptions{})
		require.ErrorIs(t, err, c.target)
		require.ErrorContains(t, err, c.want)
	}
	for _, target := range []string{"sm_80", "sm_90", "sm_90f"} {
		m, err := d.Load(strings.Replace(axpyPTX, "sm_90a", target, 1), cuda.LoadOptions{})
		require.NoError(t, err)
		_, err = m.Function("other")
		require.ErrorContains(t, err, "find kernel other: CUDA_ERROR_NOT_FOUND")
		_, err = m.Function("a\x00b")
		require.ErrorContains(t, err, "zero byte")
		require.NoError(t, m.Close())
		_, err = m.Function("axpy")
		require.ErrorIs(t, err, cuda.ErrClosed)
	}
	// A fault is no fault of the text.
	f.Fail("cuLinkAddData_v2", 719)
	_, err := d.Load(axpyPTX+"//", cuda.LoadOptions{})
	require.ErrorIs(t, err, cuda.ErrDeviceLost)
	require.NotErrorIs(t, err, cuda.ErrCompile)
}

func FuzzCacheEntry(f *testing.F) {
	f.Add([]byte("sgcubin1"))
	f.Fuzz(func(t *testing.T, data []byte) {
		cubin, log, ok := cuda.DecodeEntry(data)
		if ok {
			require.Equal(t, data, cuda.EncodeEntry(cubin, log))
			require.NotEmpty(t, cubin)
		}
		cubin, log, ok = cuda.DecodeEntry(cuda.EncodeEntry(append(data, 1), string(data)))
		require.True(t, ok)
		require.Equal(t, append(data, 1), cubin)
		require.Equal(t, string(data), log)
	})
}
