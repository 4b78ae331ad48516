package weights

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func writeTemp(t testing.TB, name string, content []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	require.NoError(t, os.WriteFile(path, content, 0o644))
	return path
}

func openTemp(t testing.TB, name string, content []byte) (*File, error) {
	t.Helper()
	f, err := Open(writeTemp(t, name, content))
	if err == nil {
		t.Cleanup(func() { require.NoError(t, f.Close()) })
	}
	return f, err
}

// safetensorsFile puts a header and data together.
func safetensorsFile(header string, data []byte) []byte {
	b := binary.LittleEndian.AppendUint64(nil, uint64(len(header)))
	return append(append(b, header...), data...)
}

func randomBytes(seed uint64, n int) []byte {
	rng := rand.New(rand.NewPCG(seed, 1))
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(rng.Uint32())
	}
	return b
}

func TestOpenPicksFormatByExtensionThenContent(t *testing.T) {
	st := safetensorsFile(`{"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}}`, []byte{3, 4})
	npy := npyFile(1, "{'descr': '|u1', 'fortran_order': False, 'shape': (2,), }", []byte{3, 4})
	smtx := []byte("1, 2, 1\n0 1\n1\n")
	for _, c := range []struct {
		name    string
		content []byte
		format  Format
	}{
		{"m.safetensors", st, Safetensors}, {"m.bin", st, Safetensors},
		{"m.npy", npy, NPY}, {"m", npy, NPY},
		{"m.smtx", smtx, SMTX}, {"m.txt", smtx, SMTX},
	} {
		f, err := openTemp(t, c.name, c.content)
		require.NoError(t, err, c.name)
		require.Equal(t, c.format, f.Format)
	}
	_, err := openTemp(t, "m.bin", []byte("\x7fELF and so on"))
	require.ErrorContains(t, err, "not a weights file")
	_, err = openTemp(t, "m.safetensors", nil)
	require.ErrorContains(t, err, "empty")
	_, err = Open(t.TempDir())
	require.ErrorContains(t, err, "neither model.json nor model.safetensors")
}

func TestUnknownNameSuggests(t *testing.T) {
	f, err := openTemp(t, "m.safetensors", safetensorsFile(`{"enc/a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"enc/b":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}}`, []byte{3, 4}))
	require.NoError(t, err)
	_, err = f.Float32("b")
	require.ErrorContains(t, err, `did you mean "enc/b"?`)
}

// The conversions of all 65536 halves and bfloats against their definitions.
func TestFloat16IsExact(t *testing.T) {
	for h := range 1 << 16 {
		got := float16(uint16(h))
		sign, exp, frac := 1.0, h>>10&31, float64(h&1023)
		if h&0x8000 != 0 {
			sign = -1
		}
		want := 0.0
		switch exp {
		case 31:
			if frac != 0 {
				require.True(t, math.IsNaN(float64(got)))
				continue
			}
			want = math.Inf(int(sign))
		case 0:
			want = sign * math.Ldexp(frac, -24)
		default:
			want = sign * math.Ldexp(1+frac/1024, exp-15)
		}
		require.Equal(t, want, float64(got))
		require.Equal(t, h&0x8000 != 0, math.Signbit(float64(got)))
	}
}

func TestFloat8IsExact(t *testing.T) {
	for h := range 1 << 8 {
		got := float8e4m3(uint8(h))
		exp, frac := h>>3&15, float64(h&7)
		if h&0x7f == 0x7f {
			require.True(t, math.IsNaN(float64(got)))
			continue
		}
		want := math.Ldexp(1+frac/8, exp-7)
		if exp == 0 {
			want = math.Ldexp(frac, -9)
		}
		require.Equal(t, want, math.Abs(float64(got)))
		require.Equal(t, h&0x80 != 0, math.Signbit(float64(got)))
	}
}

func TestEveryDTypeConverts(t *testing.T) {
	le := binary.LittleEndian
	f64 := func(v float64) []byte { return le.AppendUint64(nil, math.Float64bits(v)) }
	for _, c := range []struct {
		dtype string
		raw   []byte
		want  float32
	}{
		{"BOOL", []byte{1}, 1},
		{"U8", []byte{200}, 200},
		{"I8", []byte{200}, -56},
		{"U16", []byte{0xff, 0xff}, 65535},
		{"I16", []byte{0xfe, 0xff}, -2},
		{"U32", []byte{0, 0, 0, 0x80}, 0x1p31},
		{"I32", []byte{0, 0, 0, 0x80}, -0x1p31},
		{"U64", []byte{0, 0, 0, 0, 0, 0, 0, 0x80}, 0x1p63},
		{"I64", []byte{0, 0, 0, 0, 0, 0, 0, 0x80}, -0x1p63},
		{"F8_E5M2", []byte{0x3c | 0x80}, -1},
		{"F8_E4M3", []byte{0x7e}, 448},
		{"F16", []byte{1, 0}, 0x1p-24},
		{"BF16", []byte{0x80, 0x3f}, 1},
		{"F32", le.AppendUint32(nil, math.Float32bits(-0.1)), -0.1},
		{"F64", f64(1 + 0x1p-24), 1},                     // a tie goes to even
		{"F64", f64(1 + 0x1p-24 + 0x1p-50), 1 + 0x1p-23}, // above it, up
	} {
		head := fmt.Sprintf(`{"x":{"dtype":%q,"shape":[],"data_offsets":[0,%d]}}`, c.dtype, len(c.raw))
		f, err := openTemp(t, "x.safetensors", safetensorsFile(head, c.raw))
		require.NoError(t, err, c.dtype)
		got, err := f.Float32("x")
		require.NoError(t, err, c.dtype)
		require.Equal(t, []float32{c.want}, got, c.dtype)
		raw, err := f.Raw("x")
		require.NoError(t, err)
		require.Equal(t, c.raw, raw)
	}
	f, err := openTemp(t, "x.safetensors", safetensorsFile(`{"x":{"dtype":"F4","shape":[4],"data_offsets":[0,2]}}`, []byte{1, 2}))
	require.NoError(t, err)
	_, err = f.Float32("x")
	require.ErrorContains(t, err, "F4 has no float32 value")
}

func TestSafetensorsFaults(t *testing.T) {
	entry := func(s string) string { return `{"a":` + s + `}` }
	for name, c := range map[string]struct {
		content []byte
		want    string
	}{
		"short file":        {[]byte{1, 2}, "byte 2: truncated"},
		"header too long":   {binary.LittleEndian.AppendUint64(nil, 1<<40), "above the format's limit"},
		"truncated header":  {binary.LittleEndian.AppendUint64(nil, 50), "byte 0: header length 50, but only 0 bytes follow"},
		"not JSON":          {safetensorsFile(`{"a" 1}`, nil), "byte 13: header: invalid character '1'"},
		"ends early":        {safetensorsFile(`{"a":{`, nil), "the JSON ends too early"},
		"array":             {safetensorsFile(`[]`, nil), "not a JSON object"},
		"trailing":          {safetensorsFile(`{} x`, nil), "something follows"},
		"bad UTF-8":         {safetensorsFile("{\"\xff\":1}", nil), "byte 10: the header is not valid UTF-8"},
		"duplicate":         {safetensorsFile(`{"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},"a":{}}`, nil), `"a" occurs twice`},
		"duplicate inside":  {safetensorsFile(entry(`{"dtype":"U8","dtype":"F32"}`), nil), `"dtype" occurs twice`},
		"dtype":             {safetensorsFile(entry(`{"dtype":"Q8"}`), nil), `unknown dtype Q8`},
		"dtype of ours":     {safetensorsFile(entry(`{"dtype":"STRING"}`), nil), `unknown dtype STRING`},
		"unknown key":       {safetensorsFile(entry(`{"stride":1}`), nil), `unknown key "stride"`},
		"no shape":          {safetensorsFile(entry(`{"dtype":"U8","data_offsets":[0,0]}`), nil), `has no "shape"`},
		"negative":          {safetensorsFile(entry(`{"dtype":"U8","shape":[-1],"data_offsets":[0,0]}`), nil), "-1 is not a size"},
		"float":             {safetensorsFile(entry(`{"dtype":"U8","shape":[1.5],"data_offsets":[0,0]}`), nil), "1.5 is not a size"},
		"overflow":          {safetensorsFile(entry(`{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,0]}`), nil), "overflows"},
		"overflow by zero":  {safetensorsFile(entry(`{"dtype":"F32","shape":[4294967296,4294967296,0],"data_offsets":[0,0]}`), nil), "overflows"},
		"rank":              {safetensorsFile(entry(`{"dtype":"U8","shape":[`+strings.Repeat("1,", 99)+`1],"data_offsets":[0,1]}`), []byte{1}), "100 dimensions"},
		"offsets backwards": {safetensorsFile(entry(`{"dtype":"U8","shape":[1],"data_offsets":[1,0]}`), nil), "not [begin, end]"},
		"offsets of three":  {safetensorsFile(entry(`{"dtype":"U8","shape":[1],"data_offsets":[0,1,2]}`), nil), "not [begin, end]"},
		"size mismatch":     {safetensorsFile(entry(`{"dtype":"F32","shape":[2],"data_offsets":[0,4]}`), nil), "takes 8 bytes, but data_offsets span 4"},
		"half a byte":       {safetensorsFile(entry(`{"dtype":"F4","shape":[3],"data_offsets":[0,1]}`), nil), "does not fill whole bytes"},
		"truncated data":    {safetensorsFile(entry(`{"dtype":"U8","shape":[9],"data_offsets":[0,9]}`), []byte{1, 2}), "truncated: tensor \"a\" ends at data offset 9, but there are 2"},
		"far away":          {safetensorsFile(entry(`{"dtype":"U8","shape":[1],"data_offsets":[9223372036854775806,9223372036854775807]}`), []byte{1}), "a hole"},
		"trailing data":     {safetensorsFile(entry(`{"dtype":"U8","shape":[1],"data_offsets":[0,1]}`), []byte{1, 2}), "1 bytes belong to no tensor"},
		"overlap":           {safetensorsFile(`{"a":{"dtype":"U8","shape":[3],"data_offsets":[0,3]},"b":{"dtype":"U8","shape":[2],"data_offsets":[2,4]}}`, []byte{1, 2, 3, 4}), `tensor "b" overlaps`},
		"hole":              {safetensorsFile(`{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"b":{"dtype":"U8","shape":[2],"data_offsets":[2,4]}}`, []byte{1, 2, 3, 4}), `a hole of 1 bytes before tensor "b"`},
		"metadata number":   {safetensorsFile(`{"__metadata__":{"a":1}}`, nil), `"a" is not a string`},
	} {
		path := writeTemp(t, "x.safetensors", c.content)
		_, err := Open(path)
		require.ErrorContains(t, err, c.want, name)
		require.ErrorContains(t, err, path+": byte ", name)
		var fe *FormatError
		require.ErrorAs(t, err, &fe, name)
	}
}

func TestSafetensorsKeepsHeaderOrder(t *testing.T) {
	f, err := openTemp(t, "x.safetensors", safetensorsFile(`{"__metadata__":{"format":"pt"},"b":{"dtype":"U8","shape":[1],"data_offsets":[1,2]},"a":{"data_offsets":[0,1],"shape":[1],"dtype":"U8"}}   `, []byte{7, 8}))
	require.NoError(t, err)
	require.Equal(t, []string{"b", "a"}, f.Names())
	require.Equal(t, map[string]string{"format": "pt"}, f.Metadata)
	a, err := f.Float32("a")
	require.NoError(t, err)
	require.Equal(t, []float32{7}, a)
}

func TestSafetensorsRoundTrip(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	values := make([]float32, 15)
	for i := range values {
		values[i] = rng.Float32() - 0.5
	}
	odd := randomBytes(5, 3)
	entries := []Entry{
		{Name: "odd", DType: I8, Shape: []int{3}, Data: func() ([]byte, error) { return odd, nil }},
		Float32Entry("ключ \"q\" \n<>", []int{3, 5}, values),
		Float32Entry("scalar", []int{}, values[:1]),
		Float32Entry("none", []int{0, 7}, nil),
	}
	meta := map[string]string{"b": "2", "a": "1"}
	path := filepath.Join(t.TempDir(), "x.safetensors")
	require.NoError(t, WriteSafetensors(path, entries, meta))
	first, err := os.ReadFile(path)
	require.NoError(t, err)
	require.NoError(t, WriteSafetensors(path, entries, meta))
	second, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, first, second)
	require.Zero(t, (8+le64(first))%8)

	f, err := Open(path)
	require.NoError(t, err)
	defer f.Close()
	require.Equal(t, meta, f.Metadata)
	require.Equal(t, []string{"odd", "ключ \"q\" \n<>", "scalar", "none"}, f.Names())
	got, err := f.Float32(entries[1].Name)
	require.NoError(t, err)
	require.Equal(t, values, got)
	raw, err := f.Raw("odd")
	require.NoError(t, err)
	require.Equal(t, odd, raw)
	none, err := f.Float32("none")
	require.NoError(t, err)
	require.Empty(t, none)
}

func TestFailedWriteLeavesWhatWasThere(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "x.safetensors")
	require.NoError(t, os.WriteFile(path, []byte("before"), 0o644))
	bad := Float32Entry("a", []int{4}, make([]float32, 3))
	require.ErrorContains(t, WriteSafetensors(path, []Entry{bad}, nil), "12 bytes of data where F32 [4] takes 16")
	require.Error(t, WriteSafetensors(path, []Entry{{Name: "s", DType: String}}, nil))
	require.Error(t, WriteSafetensors(path, []Entry{Float32Entry("a", nil, []float32{1}), Float32Entry("a", nil, []float32{1})}, nil))
	require.Error(t, WriteNPY(path, []int{2}, []float32{1}))
	got, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, "before", string(got))
	names, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, names, 1)
}

// One flipped byte anywhere gives an error or a file that still reads; values
// may change, nothing else.
func TestFlippedBytesNeverPanic(t *testing.T) {
	dir := t.TempDir()
	st := filepath.Join(dir, "x.safetensors")
	require.NoError(t, WriteSafetensors(st, []Entry{
		Float32Entry("a", []int{2, 3}, []float32{1, 2, 3, 4, 5, 6}),
		Float32Entry("b", []int{1}, []float32{9}),
	}, map[string]string{"k": "v"}))
	np := filepath.Join(dir, "x.npy")
	require.NoError(t, WriteNPY(np, []int{2, 3}, []float32{1, 2, 3, 4, 5, 6}))
	sm := filepath.Join(dir, "x.smtx")
	require.NoError(t, os.WriteFile(sm, []byte("3, 4, 5\n0 2 2 5\n1 3 0 1 2\n"), 0o644))
	for _, path := range []string{st, np, sm} {
		good, err := os.ReadFile(path)
		require.NoError(t, err)
		for i := range good {
			for _, flip := range []byte{1, 0x10, 0x80, 0xff} {
				b := slices.Clone(good)
				b[i] ^= flip
				readAll(t, path, b)
			}
			if path != sm || i < len(good)-2 { // smtx may end without a newline
				require.Error(t, (&File{Path: path}).read(good[:i]), "%s truncated to %d bytes", path, i)
			}
		}
	}
}

// readAll parses content as the file at path and, where that works, reads every
// tensor.
func readAll(t testing.TB, path string, content []byte) {
	f := &File{Path: path}
	if f.read(content) != nil {
		require.NoError(t, f.Close())
		return
	}
	for _, name := range f.Names() {
		info, err := f.Tensor(name)
		require.NoError(t, err)
		values, err := f.Float32(name)
		if info.TopologyOnly {
			values, err = f.RandomFloat32(name, 1)
		}
		if err == nil {
			require.Len(t, values, info.Elements())
		}
		if v, err := f.View(name, Auto); err == nil {
			require.Equal(t, info.Elements(), v.Rows*v.Cols)
		}
	}
	require.NoError(t, f.Close())
}

// A device or a pipe has no size to check against.
func TestDeviceIsRefused(t *testing.T) {
	dir := t.TempDir()
	if err := os.Symlink(os.DevNull, filepath.Join(dir, "x.npy")); err != nil {
		t.Skip("no symbolic links here")
	}
	_, err := Open(filepath.Join(dir, "x.npy"))
	require.ErrorContains(t, err, "not a regular file")
}

// TestTruncatedWhileMapped: a file made shorter while it is open is an error of
// what reads the part that is gone, and of that alone.
func TestTruncatedWhileMapped(t *testing.T) {
	dir := t.TempDir()
	const n = 1 << 16
	values := make([]float32, n)
	for i := range values {
		values[i] = float32(i + 1)
	}
	path := filepath.Join(dir, "w.safetensors")
	data := func() ([]byte, error) { return Float32Bytes(values), nil }
	require.NoError(t, WriteSafetensors(path, []Entry{
		{Name: "first", DType: F32, Shape: []int{n}, Data: data},
		{Name: "last", DType: F32, Shape: []int{n}, Data: data},
	}, nil))
	shard := filepath.Join(dir, "shard.bin")
	require.NoError(t, os.WriteFile(shard, Float32Bytes(values), 0o666))
	model := filepath.Join(dir, "model.json")
	require.NoError(t, os.WriteFile(model, fmt.Appendf(nil,
		`{"weightsManifest":[{"paths":["shard.bin"],"weights":[{"name":"last","shape":[%d],"dtype":"float32"}]}]}`, n), 0o666))

	for open, shortened := range map[string]string{path: path, model: shard} {
		f, err := Open(open)
		require.NoError(t, err)
		if f.maps[0].release == nil {
			t.Skip("files are read, not mapped, on this platform")
		}
		size, err := os.Stat(shortened)
		require.NoError(t, err)
		require.NoError(t, os.Truncate(shortened, size.Size()-2*n))
		want := shortened + ": the file became shorter while it was read"
		got, err := f.Float32("last")
		require.EqualError(t, err, want)
		require.Nil(t, got)
		_, err = f.Raw("last")
		require.EqualError(t, err, want)
		_, _, err = f.Matrix("last", Auto)
		require.Error(t, err)
		if open == path {
			got, err := f.Float32("first")
			require.NoError(t, err)
			require.Equal(t, values, got)
		}
		require.NoError(t, f.Close())
	}
}
