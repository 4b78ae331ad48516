package weights

import (
	"encoding/binary"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

// model writes model.json and shard files into a fresh folder.
func model(t testing.TB, manifest string, shards map[string][]byte) string {
	t.Helper()
	dir := t.TempDir()
	for name, b := range shards {
		require.NoError(t, os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755))
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), b, 0o644))
	}
	require.NoError(t, os.WriteFile(filepath.Join(dir, "model.json"), []byte(manifest), 0o644))
	return dir
}

func TestTFJSReadsAcrossShards(t *testing.T) {
	var data []byte
	for _, v := range []float32{1, -2, 3.5, 0.1, 5, 6} {
		data = binary.LittleEndian.AppendUint32(data, math.Float32bits(v))
	}
	data = append(data, 0, 7, 255)                                  // u8-affine
	data = append(data, 1, 2, 0xff, 0xff)                           // u16-affine
	data = append(data, 3, 0, 0, 0, 'a', 'b', 'c', 1, 0, 0, 0, 'd') // two strings
	data = append(data, 0, 0x3c)                                    // f16
	data = append(data, 1)                                          // bool
	data = append(data, 3)                                          // int32 as u8
	manifest := `{"format":"graph-model","modelTopology":{"node":[]},"weightsManifest":[{"paths":["a","sub/b","c"],"weights":[
		{"name":"f","shape":[2,3],"dtype":"float32"},
		{"name":"q8","shape":[3],"dtype":"float32","quantization":{"dtype":"uint8","scale":0.5,"min":-1}},
		{"name":"q16","shape":[2],"dtype":"float32","quantization":{"dtype":"uint16","scale":0.1,"min":0.25}},
		{"name":"s","shape":[2],"dtype":"string"},
		{"name":"h","shape":[],"dtype":"float32","quantization":{"dtype":"float16"}},
		{"name":"b","shape":[1],"dtype":"bool"},
		{"name":"i","shape":[1],"dtype":"int32","quantization":{"dtype":"uint8","scale":0.5,"min":0}}]}]}`
	for _, cut := range [][2]int{{1, 2}, {5, 23}, {24, 25}, {len(data), len(data)}, {30, 36}} {
		shards := map[string][]byte{"a": data[:cut[0]], "sub/b": data[cut[0]:cut[1]], "c": data[cut[1]:]}
		dir := model(t, manifest, shards)
		for name, b := range shards {
			if len(b) == 0 { // an empty shard is refused
				require.NoError(t, os.Remove(filepath.Join(dir, name)))
			}
		}
		f, err := Open(dir)
		if cut[0] == len(data) {
			require.ErrorContains(t, err, "weightsManifest[0].paths[1]")
			continue
		}
		require.NoError(t, err)
		require.Equal(t, TFJS, f.Format)
		for name, want := range map[string][]float32{
			"f": {1, -2, 3.5, 0.1, 5, 6}, "q8": {-1, 2.5, 126.5},
			"q16": {float32(513*0.1 + 0.25), float32(65535*0.1 + 0.25)},
			"h":   {1}, "b": {1}, "i": {2},
		} {
			got, err := f.Float32(name)
			require.NoError(t, err)
			require.Equal(t, want, got, name)
		}
		_, err = f.Float32("s")
		require.ErrorContains(t, err, "STRING has no float32 value")
		info, err := f.Tensor("q8")
		require.NoError(t, err)
		require.Equal(t, &Affine{Scale: 0.5, Min: -1}, info.Quantisation)
		v, m, err := f.Matrix("f", Auto)
		require.NoError(t, err)
		require.Equal(t, View{Rows: 3, Cols: 2, Transposed: true}, v)
		require.Equal(t, []float32{1, 0.1, -2, 5, 3.5, 6}, m)
		require.NoError(t, f.Close())
		require.Equal(t, []float32{1, 0.1, -2, 5, 3.5, 6}, m, "values outlive the file")
	}
}

func TestTFJSFaults(t *testing.T) {
	one := func(weights string) string {
		return `{"weightsManifest":[{"paths":["s"],"weights":[` + weights + `]}]}`
	}
	at := func(path string) string { return `{"weightsManifest":[{"paths":["` + path + `"],"weights":[]}]}` }
	for name, c := range map[string]struct{ manifest, want string }{
		"syntax":        {`{"weightsManifest":[}`, "byte 20: invalid character"},
		"no manifest":   {`{"a":1}`, "weightsManifest: missing or empty"},
		"wrong type":    {one(`{"name":3}`), "byte "},
		"float shape":   {one(`{"name":"a","shape":[1.5],"dtype":"bool"}`), "does not fit here"},
		"no shape":      {one(`{"name":"a","dtype":"bool"}`), `weightsManifest[0].weights[0]: tensor "a": no shape`},
		"negative":      {one(`{"name":"a","shape":[-4],"dtype":"bool"}`), "negative dimension -4"},
		"overflow":      {one(`{"name":"a","shape":[4294967296,4294967296],"dtype":"bool"}`), "overflows"},
		"dtype":         {one(`{"name":"a","shape":[4],"dtype":"f32"}`), `unknown dtype "f32"`},
		"quantisation":  {one(`{"name":"a","shape":[4],"dtype":"float32","quantization":{"dtype":"uint4"}}`), `unknown quantisation dtype "uint4"`},
		"scale":         {one(`{"name":"a","shape":[4],"dtype":"float32","quantization":{"dtype":"uint8","min":0}}`), "needs scale and min"},
		"quantised":     {one(`{"name":"a","shape":[4],"dtype":"bool","quantization":{"dtype":"uint8","min":0,"scale":1}}`), "a quantised bool is unknown"},
		"short shard":   {one(`{"name":"a","shape":[2],"dtype":"float32"}`), `weightsManifest[0].weights[0]: tensor "a" takes 8 bytes at offset 0 of the group, but its shards hold 4`},
		"long shard":    {one(`{"name":"a","shape":[2],"dtype":"bool"}`), "weightsManifest[0]: the shards hold 4 bytes, but the tensors take 2"},
		"many strings":  {one(`{"name":"a","shape":[1099511627776],"dtype":"string"}`), "do not fit"},
		"long string":   {one(`{"name":"a","shape":[1],"dtype":"string"}`), "inside a string"},
		"same name":     {one(`{"name":"a","shape":[2],"dtype":"bool"},{"name":"a","shape":[2],"dtype":"bool"}`), `the same name "a"`},
		"missing shard": {at("t"), "weightsManifest[0].paths[0]: stat "},
		"folder":        {at("."), "weightsManifest[0].paths[0]"},
		"parent":        {at("../s"), "leaves the model's folder"},
		"inner parent":  {at("a/../../s"), "leaves the model's folder"},
		"absolute":      {at("/etc/passwd"), "leaves the model's folder"},
		"backslash":     {at(`..\\s`), "leaves the model's folder"},
		"twice":         {`[{"paths":["s","./s"],"weights":[]}]`, `[0].paths[1]: the shard "./s" is listed twice`},
		"twice, groups": {`[{"paths":["s"],"weights":[{"name":"a","shape":[1],"dtype":"float32"}]},{"paths":["s"],"weights":[]}]`, "[1].paths[0]: the shard"},
		"bare manifest": {`[{"paths":["../s"],"weights":[]}]`, "[0].paths[0]: the path"},
	} {
		dir := model(t, c.manifest, map[string][]byte{"s": {250, 0, 0, 0}})
		_, err := Open(dir)
		require.ErrorContains(t, err, c.want, name)
		require.ErrorContains(t, err, filepath.Join(dir, "model.json")+": ", name)
	}
}

// The real age and gender network of face-api: a bare manifest, quantised to u8.
func TestFaceAPIModel(t *testing.T) {
	f, err := Open("testdata/faceapi/age_gender_model-weights_manifest.json")
	require.NoError(t, err)
	defer f.Close()
	total := int64(0)
	for _, name := range f.Names() {
		info, err := f.Tensor(name)
		require.NoError(t, err)
		total += info.Bytes
		values, err := f.Float32(name)
		require.NoError(t, err)
		require.Less(t, slices.Max(values), float32(100), name)
		require.Greater(t, slices.Min(values), float32(-100), name)
	}
	st, err := os.Stat("testdata/faceapi/age_gender_model.bin")
	require.NoError(t, err)
	require.Equal(t, st.Size(), total)

	// The first weight by the format's definition: q*scale + min.
	bin, err := os.ReadFile("testdata/faceapi/age_gender_model.bin")
	require.NoError(t, err)
	values, err := f.Float32("entry_flow/conv_in/filters")
	require.NoError(t, err)
	scale, low := 0.005431825039433498, -0.7441600304023892
	require.Equal(t, float32(float64(float64(bin[0])*scale)+low), values[0])

	v, err := f.View("entry_flow/reduction_block_0/separable_conv0/pointwise_filter", Auto)
	require.NoError(t, err)
	require.Equal(t, View{Rows: 64, Cols: 32, Transposed: true}, v)
}
