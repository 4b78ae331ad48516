package weights

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// fuzzFile feeds arbitrary content to the reader that the extension selects.
func fuzzFile(f *testing.F, name string, seeds ...[]byte) {
	for _, s := range seeds {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		readAll(t, name, content)
	})
}

func FuzzSafetensors(f *testing.F) {
	fuzzFile(f, "x.safetensors",
		safetensorsFile(`{"__metadata__":{"a":"b"},"a":{"dtype":"F16","shape":[2,2],"data_offsets":[0,8]},"b":{"dtype":"U8","shape":[],"data_offsets":[8,9]}}`, randomBytes(1, 9)),
		safetensorsFile(`{"a":{"dtype":"I64","shape":[0],"data_offsets":[0,0]}}`, nil),
		safetensorsFile(`{"a":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,0]}}`, nil),
		safetensorsFile(`{}`, nil))
}

func FuzzNPY(f *testing.F) {
	fuzzFile(f, "x.npy",
		npyFile(1, "{'descr': '>f4', 'fortran_order': True, 'shape': (2, 2), }", randomBytes(2, 16)),
		npyFile(3, "{'descr': '|i1', 'fortran_order': False, 'shape': (), }", randomBytes(2, 1)),
		npyFile(2, "{'descr': '<f2', 'fortran_order': False, 'shape': (0, 99), }", nil))
}

func FuzzTFJS(f *testing.F) {
	shard := randomBytes(3, 64)
	f.Add([]byte(`{"weightsManifest":[{"paths":["s"],"weights":[{"name":"a","shape":[4,4],"dtype":"float32"}]}]}`)) // 64 bytes, as the shard has
	f.Add([]byte(`[{"paths":["s"],"weights":[{"name":"a","shape":[64],"dtype":"float32","quantization":{"dtype":"uint8","scale":0.5,"min":-1}}]}]`))
	f.Add([]byte(`[{"paths":["../s"],"weights":[{"name":"a","shape":[16],"dtype":"string"}]}]`))
	dir := f.TempDir()
	require.NoError(f, os.WriteFile(filepath.Join(dir, "s"), shard, 0o644))
	f.Fuzz(func(t *testing.T, manifest []byte) {
		readAll(t, filepath.Join(dir, "model.json"), manifest)
	})
}

func FuzzSMTX(f *testing.F) {
	fuzzFile(f, "x.smtx",
		[]byte("3, 4, 5\n0 2 2 5 \n3 1 0 1 2 \n"),
		[]byte("0, 0, 0\n0\n\n"),
		[]byte("1, 2147483640, 0\n0 0\n"))
}

// TestDenseCopyOfAHugeTopology: 20 bytes once took a gigabyte.
func TestDenseCopyOfAHugeTopology(t *testing.T) {
	f := &File{Path: "x.smtx"}
	require.NoError(t, f.read([]byte("1, 214783640, 0\n0 0\n")))
	_, err := f.RandomFloat32("x", 1)
	require.ErrorContains(t, err, "1×214783640 elements are above the limit of 16777216 for a dense copy of 0 positions")
	f = &File{Path: "y.smtx"}
	require.NoError(t, f.read([]byte("1, 4200000, 1\n0 1\n4199999\n")))
	values, err := f.Ones("y")
	require.NoError(t, err)
	require.Equal(t, float32(1), values[4199999])
}
