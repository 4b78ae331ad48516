package sgp

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// sample is a model with every kind of op, form and section.
func sample() *Model {
	rng := rand.New(rand.NewPCG(1, 2))
	floats := func(n int) []float32 {
		f := make([]float32, n)
		for i := range f {
			f[i] = float32(rng.NormFloat64())
		}
		return f
	}
	bytesOf := func(n, below int) []byte {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(rng.IntN(below))
		}
		return b
	}
	w := floats(16 * 8)
	mask := bytesOf(2*8, 256)
	forms := []Variant{
		{Panel: &Panel{KB: 3, Segments: []Segment{
			{Kind: Grouped, MR: 2, Rows: []uint32{3, 1}, W: floats(6), Idx: []uint16{2, 0, 1, 1, 0, 0, 0, 0}, Runs: []uint16{1, 1, 1, 0, 0, 1, 0, 0, 0}},
			{Kind: Block, MR: 2, Rows: []uint32{8, 9}, W: floats(4), Idx: []uint16{0, 1, 0, 0, 0, 0}, Runs: []uint16{1, 0, 1}},
			{Kind: Step, MR: 2, Rows: []uint32{6, 2}, W: floats(6), Idx: []uint16{0, 1, 2, 2, 1, 0, 0, 0, 0, 0}, Runs: []uint16{1, 0, 1, 1, 0, 0, 0, 1, 0}},
			{Kind: Dense, MR: 1, Rows: []uint32{0}, W: floats(8)},
		}}},
		{Panel: &Panel{KB: 8, Cols: []uint32{1, 7}}},
		{Lanes: &Lanes{Kind: LanesDense, S: 8, W: w}},
		{Lanes: &Lanes{Kind: LanesDense, S: 16, W: w}},
		{Lanes: &Lanes{Kind: LanesList, S: 8, Cnt: []uint32{2, 1}, Meta: []byte{0, 0, 7, 0, 3, 0}, W: floats(24)}},
		{Lanes: &Lanes{Kind: LanesNM, S: 8, N: 2, M: 4, Meta: bytesOf(2*8*4, 256), W: floats(2 * 2 * 2 * 8)}},
		{Lanes: &Lanes{Kind: LanesMask, S: 8, Meta: mask, W: floats(4 + onesCount(mask) + 32), Cnt: []uint32{uint32(onesCount(mask[:8])), uint32(onesCount(mask[8:]))}}},
		{Lanes: &Lanes{Kind: LanesRow, S: 8, Cnt: []uint32{1, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}, Meta: bytesOf(24, 4), W: floats(24)}},
		{Lanes: &Lanes{Kind: DeltaTile, S: 8, Cnt: []uint32{2}, Cols: []uint32{4, 5, 6}, Rows: []uint32{9, 2, 0}, Meta: bytesOf(16, 2), W: floats(16)}},
	}
	for i := range forms {
		forms[i].BatchMin, forms[i].BatchMax = i+1, i+1
		forms[i].Short = i == 0 || i == 3
	}
	v := func(name string, f int) Value { return Value{Name: name, Dims: []int{0, f}} }
	return &Model{Fingerprint: 0x1234567890abcdef, Layers: []Layer{{
		Name: "ffn", BatchMin: 1, BatchMax: len(forms),
		Values: []Value{v("x", 8), v("", 10), v("y", 10), v("z", 10)},
		Inputs: []int{0}, Outputs: []int{3},
		Ops: []Op{
			{Kind: LinearOp, Args: []int{0}, Out: 1, Linear: &Linear{Out: 10, In: 8, Act: Clamp, Lo: -1, Hi: 2, Bias: floats(10), Variants: forms}},
			{Kind: LayerNorm, Args: []int{1}, Out: 2, Group: 5, Eps: 1e-5, Gain: floats(5), Bias: floats(5)},
			{Kind: Add, Args: []int{1, 2}, Out: 3},
		},
	}}}
}

// gpuSample is a model with a layer for the CPU and one for a GPU.
func gpuSample() *Model {
	m := sample()
	m.GPUFingerprint = 0xfedcba9876543210
	v := func(name string, f int) Value { return Value{Name: name, Dims: []int{0, f}} }
	packed := func(kernel string, n int) *GPU {
		w := make([]byte, n)
		for i := range w {
			w[i] = byte(37 * i)
		}
		return &GPU{Kernel: kernel, Weights: w}
	}
	few, many := packed("decode", 96), packed("gemm", 96)
	m.Layers = append(m.Layers, Layer{
		Name: "mlp", Target: "sm_90a", Type: BF16, BatchMin: 1, BatchMax: 4096,
		Values: []Value{v("x", 8), v("", 16), v("y", 8), v("", 3), v("z", 8)}, Inputs: []int{0}, Outputs: []int{2, 4},
		Ops: []Op{
			{Kind: LinearOp, Args: []int{0}, Out: 1, Linear: &Linear{Out: 16, In: 8, Act: Silu, Bias: make([]float32, 16), Variants: []Variant{
				{BatchMin: 1, BatchMax: 64, GPU: few}, {BatchMin: 65, BatchMax: 4096, GPU: many},
			}}},
			{Kind: LinearOp, Args: []int{1, 0}, Out: 2, Linear: &Linear{Out: 8, In: 16, Variants: []Variant{{BatchMin: 1, BatchMax: 4096, GPU: &GPU{Kernel: "gemm_residual_listed", Weights: packed("", 64).Weights, Lists: []uint32{0, 2, 0, 3}}}}}},
			// Features picked, and spread again.
			{Kind: LinearOp, Args: []int{2}, Out: 3, Linear: &Linear{Out: 3, In: 8, Variants: []Variant{{BatchMin: 1, BatchMax: 4096, GPU: &GPU{Kernel: "gather", Weights: packed("", 6).Weights, Lists: []uint32{1, 4, 7}}}}}},
			{Kind: LinearOp, Args: []int{3, 0}, Out: 4, Linear: &Linear{Out: 8, In: 3, Variants: []Variant{{BatchMin: 1, BatchMax: 4096, GPU: &GPU{Kernel: "gather_residual", Weights: packed("", 16).Weights, Lists: []uint32{0, 1<<32 - 1, 1, 1<<32 - 1, 1<<32 - 1, 2, 1<<32 - 1, 1<<32 - 1}}}}}},
		},
	})
	return m
}

func encoded(t testing.TB, m *Model) []byte {
	var b bytes.Buffer
	require.NoError(t, Write(&b, m))
	return b.Bytes()
}

func openBytes(t testing.TB, data []byte) (*File, error) {
	path := filepath.Join(t.TempDir(), "m.sgp")
	require.NoError(t, os.WriteFile(path, data, 0o600))
	return Open(path)
}

// TestParse: bytes in memory are read as a file is, at any address.
func TestParse(t *testing.T) {
	data := encoded(t, sample())
	for shift := range 5 {
		moved := append(make([]byte, shift, shift+len(data)), data...)[shift:]
		f, err := Parse("embedded", moved)
		require.NoError(t, err)
		require.Equal(t, sample(), f.Model)
		require.NoError(t, f.Close())
	}
	for at := 0; at < len(data); at += 1 + len(data)/200 {
		damaged := bytes.Clone(data)
		damaged[at] ^= 1
		_, err := Parse("embedded", damaged)
		_, same := openBytes(t, damaged)
		require.ErrorContains(t, err, "embedded: offset ")
		var there, here *FormatError
		require.ErrorAs(t, same, &there)
		require.ErrorAs(t, err, &here)
		require.Equal(t, there.Err.Error(), here.Err.Error())
		_, err = Parse("embedded", data[:at])
		require.ErrorContains(t, err, "embedded: offset ")
	}
}

func TestRoundTrip(t *testing.T) {
	m := sample()
	data := encoded(t, m)
	require.Equal(t, data, encoded(t, sample()), "equal models give equal bytes")
	f, err := openBytes(t, data)
	require.NoError(t, err)
	require.Equal(t, m, f.Model)
	require.Equal(t, data, encoded(t, f.Model))
	v := f.Model.Layers[0].Ops[0].Linear.Variants
	require.Same(t, &v[2].Lanes.W[0], &v[3].Lanes.W[0], "equal sections are stored once")
	require.NoError(t, f.Close())
	require.NoError(t, f.Close())
}

// TestEveryFlippedBit: any damage is noticed, and said with path and offset.
func TestEveryFlippedBit(t *testing.T) {
	path := filepath.Join(t.TempDir(), "m.sgp")
	rng := rand.New(rand.NewPCG(3, 4))
	gpu := gpuSample()
	gpu.Layers = gpu.Layers[1:]
	for _, data := range [][]byte{encoded(t, sample()), encoded(t, gpu)} {
		for at := 0; at < len(data); at += 1 + rng.IntN(7) {
			bad := bytes.Clone(data)
			bad[at] ^= 1 << rng.IntN(8)
			require.NoError(t, os.WriteFile(path, bad, 0o600))
			_, err := Open(path)
			var format *FormatError
			require.ErrorAs(t, err, &format, "byte %d", at)
			require.Equal(t, path, format.Path)
			require.ErrorContains(t, err, "offset ")
		}
	}
}

// TestVersions: a model without GPU layers is a file of the lower version, and a
// version that a model does not need or this program does not know
// is an error.
func TestVersions(t *testing.T) {
	for want, m := range map[uint32]*Model{3: sample(), 4: gpuSample()} {
		data := encoded(t, m)
		require.Equal(t, want, binary.LittleEndian.Uint32(data[8:]))
		f, err := openBytes(t, data)
		require.NoError(t, err)
		require.Equal(t, m, f.Model)
		require.NoError(t, f.Close())
		for _, other := range []uint32{0, 1, 2, 7 - want, 5} {
			bad := bytes.Clone(data)
			binary.LittleEndian.PutUint32(bad[8:], other)
			mend(bad)
			_, err = openBytes(t, bad)
			require.Error(t, err, "version %d for %d", want, other)
			if other != 7-want {
				require.ErrorContains(t, err, "offset 8: version")
			}
		}
	}
	v := gpuSample().Layers[1].Ops[0].Linear.Variants
	require.NotSame(t, v[0].GPU, v[1].GPU)
	f, err := openBytes(t, encoded(t, gpuSample()))
	require.NoError(t, err)
	v = f.Model.Layers[1].Ops[0].Linear.Variants
	require.Same(t, &v[0].GPU.Weights[0], &v[1].GPU.Weights[0], "kernels that read the same bytes share them")
	require.NoError(t, f.Close())
}

func TestEveryTruncation(t *testing.T) {
	data := encoded(t, sample())
	for n := 0; n < len(data); n += 97 {
		_, err := openBytes(t, data[:n])
		var format *FormatError
		require.ErrorAs(t, err, &format, "%d bytes", n)
	}
	_, err := openBytes(t, append(bytes.Clone(data), 0))
	require.ErrorContains(t, err, "the file has")
}

// TestLies has models whose checksums are right and whose content is not.
func TestLies(t *testing.T) {
	lin := func(m *Model) *Linear { return m.Layers[0].Ops[0].Linear }
	gpu := func(m *Model) *Linear { return m.Layers[1].Ops[0].Linear }
	for name, c := range map[string]struct {
		lie  func(m *Model)
		want string
	}{
		"index outside the K-block":      {func(m *Model) { lin(m).Variants[0].Panel.Segments[0].Idx[3] = 3 }, "segment 0: idx[3] = 3 is not below the K-block's 3"},
		"index outside the last K-block": {func(m *Model) { lin(m).Variants[0].Panel.Segments[1].Idx[1] = 2 }, "idx[1] = 2 is not below the K-block's 2"},
		"runs too long":                  {func(m *Model) { lin(m).Variants[0].Panel.Segments[0].Runs[8] = 1 }, "more than the 8 indices"},
		"runs too short":                 {func(m *Model) { lin(m).Variants[0].Panel.Segments[1].Runs[0] = 0 }, "runs need 1 indices and 4 more, and 2 weights"},
		"step outside the K-block":       {func(m *Model) { lin(m).Variants[0].Panel.Segments[2].Idx[1] = 3 }, "segment 2: idx[1] = 3 is not below the K-block's 3"},
		"steps too many":                 {func(m *Model) { lin(m).Variants[0].Panel.Segments[2].Runs[6]++ }, "more than the 10 indices"},
		"no index to read ahead":         {func(m *Model) { s := &lin(m).Variants[0].Panel.Segments[2]; s.Idx = s.Idx[:9] }, "more than the 9 indices"},
		"row out of range":               {func(m *Model) { lin(m).Variants[0].Panel.Segments[2].Rows[0] = 10 }, "rows: 10 is not below 10"},
		"row twice":                      {func(m *Model) { lin(m).Variants[0].Panel.Segments[2].Rows[0] = 8 }, "rows: 8 occurs twice"},
		"kept column out of range":       {func(m *Model) { lin(m).Variants[8].Lanes.Cols[2] = 8 }, "cols[2] = 8"},
		"too few dense weights":          {func(m *Model) { lin(m).Variants[2].Lanes.W = lin(m).Variants[2].Lanes.W[1:] }, "127 weights"},
		"list index":                     {func(m *Model) { lin(m).Variants[4].Lanes.Meta[2] = 8 }, "index 1 = 8 is not below 8"},
		"list index, high byte":          {func(m *Model) { lin(m).Variants[4].Lanes.Meta[3] = 1 }, "index 1 = 263"},
		"counts":                         {func(m *Model) { lin(m).Variants[4].Lanes.Cnt[1] = 1 << 31 }, "counts need more"},
		"N:M metadata":                   {func(m *Model) { lin(m).Variants[5].Lanes.M = 8 }, "metadata"},
		"M no power of two":              {func(m *Model) { lin(m).Variants[5].Lanes.M = 3 }, "no N:M"},
		"mask bits and values":           {func(m *Model) { lin(m).Variants[6].Lanes.Meta[0] ^= 1 }, "bytes of metadata"},
		"mask with another count":        {func(m *Model) { c := lin(m).Variants[6].Lanes.Cnt; c[0]++; c[1]-- }, "slab 0 counts"},
		"mask without the tail":          {func(m *Model) { f := lin(m).Variants[6].Lanes; f.W = f.W[16:] }, "bytes of metadata"},
		"index of a row beyond K":        {func(m *Model) { lin(m).Variants[7].Lanes.Meta[3] = 8 }, "row 0 has an index 8, columns are 8"},
		"indices that add up beyond K":   {func(m *Model) { m8 := lin(m).Variants[7].Lanes.Meta[8:]; m8[7], m8[8] = 5, 3 }, "row 2 has an index 8"},
		"delta beyond K":                 {func(m *Model) { lin(m).Variants[8].Lanes.Meta[8] = 3 }, "slab 0 lane 0 steps to column"},
		"act of another kind":            {func(m *Model) { lin(m).Act = Softmax }, "no activation"},
		"bias":                           {func(m *Model) { lin(m).Bias = lin(m).Bias[1:] }, "bias of 9 for 10"},
		"variants with a gap":            {func(m *Model) { lin(m).Variants[1].BatchMin = 3 }, "variant 1 covers batch 3..2"},
		"variants that end early":        {func(m *Model) { lin(m).Variants = lin(m).Variants[:3] }, "variants end at batch 3 of 9"},
		"batch":                          {func(m *Model) { m.Layers[0].BatchMin = 0 }, "batch range 0..9"},
		"group":                          {func(m *Model) { m.Layers[0].Ops[1].Group = 3 }, "group of 3 among 10"},
		"gain":                           {func(m *Model) { m.Layers[0].Ops[1].Gain = make([]float32, 4) }, "gain of 4"},
		"value that no op wrote":         {func(m *Model) { m.Layers[0].Ops[1].Args[0] = 3 }, "value 3 is not known yet"},
		"value written twice":            {func(m *Model) { m.Layers[0].Ops[2].Out = 2 }, "written already"},
		"output that is the input":       {func(m *Model) { m.Layers[0].Outputs[0] = 0 }, "not the result of an op"},
		"unknown op":                     {func(m *Model) { m.Layers[0].Ops[2].Kind = 99 }, "unknown kind 99"},
		"shape that overflows":           {func(m *Model) { m.Layers[0].Values[1].Dims = []int{0, 1 << 20, 1 << 20} }, "out of range"},
		"two batch axes":                 {func(m *Model) { m.Layers[0].Values[1].Dims = []int{0, 10, 0} }, "2 batch axes"},
		"target without a type":          {func(m *Model) { m.Layers[1].Type = "" }, `values of "" for target sm_90a`},
		"type without a target":          {func(m *Model) { m.Layers[0].Type = F16 }, "without a target"},
		"GPU form for the CPU":           {func(m *Model) { lin(m).Variants[0] = Variant{BatchMin: 1, BatchMax: 1, GPU: gpu(m).Variants[0].GPU} }, "another processor in a layer for the CPU"},
		"CPU form for a GPU":             {func(m *Model) { gpu(m).Variants[0].GPU, gpu(m).Variants[0].Panel = nil, &Panel{KB: 8} }, "another processor in a layer for sm_90a"},
		"kernel without a name":          {func(m *Model) { gpu(m).Variants[0].GPU.Kernel = "" }, "name of 0 bytes"},
		"GPU form without weights":       {func(m *Model) { gpu(m).Variants[0].GPU.Weights = nil }, "no weights"},
		"clamp on a GPU":                 {func(m *Model) { gpu(m).Act = Clamp }, "clamps"},
		"another op on a GPU":            {func(m *Model) { m.Layers[1].Ops[1] = Op{Kind: Relu, Args: []int{1}, Out: 2} }, "kind 2 in a layer for sm_90a"},
		"residual of another size":       {func(m *Model) { m.Layers[1].Ops[1].Args[1] = 1 }, "an argument has 16 features, the result 8"},
		"residual on the CPU":            {func(m *Model) { m.Layers[0].Ops[0].Args = []int{0, 0} }, "2 arguments"},
		"feature-major on a GPU": {func(m *Model) {
			for i := range m.Layers[1].Values {
				m.Layers[1].Values[i].Dims = []int{8 << (i % 2), 0}
			}
		}, "another layout"},
		"rows without a weight, without end": {func(m *Model) {
			l := &m.Layers[0]
			l.Ops, l.Outputs = l.Ops[:1], []int{1}
			l.Values[1].Dims[1], lin(m).Out, lin(m).Bias = MaxExtent, MaxExtent, nil
			lin(m).Variants = []Variant{{BatchMin: 1, BatchMax: 9, Panel: &Panel{KB: 8}}}
		}, "more than 67108864 output rows without a weight"},
		"layers of one name": {func(m *Model) { m.Layers = append(m.Layers, m.Layers[0]) }, `"ffn" occurs twice`},
	} {
		t.Run(name, func(t *testing.T) {
			m := gpuSample()
			c.lie(m)
			require.ErrorContains(t, m.Validate(), c.want)
			require.ErrorContains(t, Write(&bytes.Buffer{}, m), c.want)

			// The same as a file with right checksums.
			_, err := openBytes(t, unchecked(m))
			require.ErrorContains(t, err, c.want)
			var format *FormatError
			require.ErrorAs(t, err, &format)
		})
	}
}

// unchecked is Write without Validate.
func unchecked(m *Model) []byte {
	var b bytes.Buffer
	if err := write(&b, m); err != nil {
		panic(err)
	}
	return b.Bytes()
}

func TestFailedWriteLeavesWhatWas(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "m.sgp")
	require.NoError(t, os.WriteFile(path, []byte("before"), 0o600))
	m := sample()
	m.Layers[0].Name = ""
	require.Error(t, WriteFile(path, m))
	got, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, "before", string(got))
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, entries, 1)
}

func TestOpenNoFile(t *testing.T) {
	_, err := Open(filepath.Join(t.TempDir(), "none.sgp"))
	require.ErrorIs(t, err, os.ErrNotExist)
	_, err = Open(t.TempDir())
	require.ErrorContains(t, err, "not a regular file")
	_, err = openBytes(t, bytes.Repeat([]byte("{}"), 50))
	require.ErrorContains(t, err, "not a packed model")
}

// FuzzOpen changes files, makes the header's checksum right again, and wants an
// error or a model that is valid, never a panic.
func FuzzOpen(f *testing.F) {
	data := encoded(f, sample())
	f.Add(data, uint32(70), byte(3))
	f.Add(data, uint32(len(data)-1), byte(1))
	f.Add(data[:5000], uint32(16), byte(1))
	f.Add(encoded(f, gpuSample()), uint32(8), byte(3))
	f.Add(unchecked(&Model{Layers: []Layer{{Name: "x"}}}), uint32(0), byte(0))
	f.Add([]byte(magic), uint32(0), byte(0))
	f.Fuzz(func(t *testing.T, data []byte, at uint32, flip byte) {
		data = bytes.Clone(data)
		if int(at) < len(data) {
			data[at] ^= flip
		}
		mend(data)
		file, err := openBytes(t, data)
		if err != nil {
			return
		}
		require.NoError(t, file.Model.Validate())
		require.NoError(t, file.Close())
	})
}

// mend makes the length and the header's checksum of a changed file right.
func mend(data []byte) {
	if len(data) < preambleSize {
		return
	}
	binary.LittleEndian.PutUint64(data[16:], uint64(len(data)))
	size := int(binary.LittleEndian.Uint32(data[12:]))
	if size <= len(data)-preambleSize {
		binary.LittleEndian.PutUint32(data[preambleSize-4:], headerChecksum(data[:preambleSize], data[preambleSize:][:size]))
	}
}

// TestInPlaceTile: x is read where it lies if that is known to gain, in tiles for which
// there are kernels.
func TestInPlaceTile(t *testing.T) {
	panel := func(kind SegmentKind, mr, kb, stored int) *Panel {
		return &Panel{KB: kb, Segments: []Segment{{Kind: kind, MR: mr, W: make([]float32, stored)}}}
	}
	for name, c := range map[string]struct {
		p                        *Panel
		in, batch, lanes, widest int
		want                     int
	}{
		"few uses":                    {panel(Grouped, 1, 128, 128*6), 128, 3136, 8, 112, 64},
		"many uses":                   {panel(Grouped, 1, 128, 128*10), 128, 3136, 8, 112, 0},
		"x in the second-level cache": {panel(Grouped, 1, 128, 128*6), 128, 784, 8, 112, 0},
		"panels of two rows":          {panel(Step, 2, 128, 128*6), 128, 3136, 8, 56, 0},
		"packed columns":              {&Panel{KB: 128, Cols: []uint32{0}, Segments: panel(Grouped, 1, 128, 128).Segments}, 128, 3136, 16, 224, 0},
		"rows of no whole lines":      {panel(Grouped, 1, 256, 256*6), 256, 1000, 16, 224, 0},
		"rows a power of two apart":   {panel(Grouped, 1, 512, 512*6), 512, 4096, 16, 224, 0},
		"dense":                       {panel(Dense, 4, 256, 256*256), 256, 784, 16, 80, 64},
		"dense, short vectors":        {panel(Dense, 4, 256, 256*256), 256, 784, 8, 24, 0},
		"long vectors":                {panel(Grouped, 1, 256, 256*13), 256, 784, 16, 224, 48},
		"long vectors, more uses":     {panel(Step, 2, 128, 128*19), 128, 784, 16, 112, 80},
		"long vectors, many uses":     {panel(Step, 2, 128, 128*20), 128, 784, 16, 112, 0},
		"long vectors, a small x":     {panel(Grouped, 1, 64, 64*6), 64, 784, 16, 224, 0},
	} {
		require.Equal(t, c.want, c.p.InPlaceTile(c.in, c.batch, c.lanes, c.widest), name)
	}
}
