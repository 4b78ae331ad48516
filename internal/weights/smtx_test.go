package weights

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestSMTX(t *testing.T) {
	f, err := openTemp(t, "m.smtx", []byte("3, 4, 5\n0 2 2 5 \n3 1 0 1 2 \n"))
	require.NoError(t, err)
	info, err := f.Tensor("m")
	require.NoError(t, err)
	require.Equal(t, Info{Name: "m", DType: F32, Shape: []int{3, 4}, TopologyOnly: true}, info)
	_, err = f.Float32("m")
	require.ErrorIs(t, err, ErrNoValues)
	top, err := f.Topology("m")
	require.NoError(t, err)
	require.Equal(t, &CSR{Rows: 3, Cols: 4, RowOffsets: []int32{0, 2, 2, 5}, ColIndices: []int32{1, 3, 0, 1, 2}}, top)
	a, err := f.RandomFloat32("m", 7)
	require.NoError(t, err)
	b, err := f.RandomFloat32("m", 7)
	require.NoError(t, err)
	require.Equal(t, a, b)
	other, err := f.RandomFloat32("m", 8)
	require.NoError(t, err)
	require.NotEqual(t, a, other)
	ones, err := f.Ones("m")
	require.NoError(t, err)
	require.Equal(t, []float32{0, 1, 0, 1, 0, 0, 0, 0, 1, 1, 1, 0}, ones)
	for i, kept := range []bool{false, true, false, true, false, false, false, false, true, true, true, false} {
		require.Equal(t, kept, a[i] != 0, i)
		require.Less(t, max(a[i], -a[i]), float32(1))
	}
}

func TestSMTXFaults(t *testing.T) {
	for name, c := range map[string]struct{ content, want string }{
		"no number":      {"x", `byte 0: 'x' is not a number`},
		"negative":       {"-1, 2, 3", `byte 0: '-' is not a number`},
		"two numbers":    {"3, 4", "byte 4: truncated"},
		"huge":           {"99999999999, 1, 1", "byte 0: the number is too large"},
		"rows not there": {"2147483640, 1, 0\n0 0", "truncated: 2147483641 row offsets"},
		"nnz not there":  {"1, 1, 2147483640\n0 1", "2147483640 column indices do not fit"},
		"first offset":   {"1, 4, 1\n1 1 2\n", "byte 8: row offset 0 is 1"},
		"falling offset": {"2, 4, 2\n0 2 1\n 1 2\n", "byte 12: row offset 2 is 1"},
		"offset too far": {"2, 4, 2\n0 3 2\n 1 2\n", "byte 10: row offset 1 is 3"},
		"last offset":    {"1, 4, 2\n0 1\n1 2\n", "the last row offset is 1, but nnz is 2"},
		"column":         {"1, 4, 2\n0 2\n1 4\n", "byte 14: row 0: column 4 is outside 0..3"},
		"column twice":   {"1, 4, 2\n0 2\n1 1\n", "column 1 occurs twice"},
		"short":          {"1, 4, 2\n0 2\n1 \n", "truncated: a number is expected"},
		"long":           {"1, 4, 2\n0 2\n1 2 3\n", "byte 16: something follows"},
	} {
		path := writeTemp(t, "m.smtx", []byte(c.content))
		_, err := Open(path)
		require.ErrorContains(t, err, path+": byte ", name)
		require.ErrorContains(t, err, c.want, name)
	}
}

func TestSMTXRefusesHugeDenseCopy(t *testing.T) {
	f, err := openTemp(t, "m.smtx", []byte("1, 2147483640, 1\n0 1\n2147483639\n"))
	require.NoError(t, err)
	_, err = f.RandomFloat32("m", 1)
	require.ErrorContains(t, err, "above the limit")
}

func TestSMTXReadsDLMC(t *testing.T) {
	paths, err := filepath.Glob("../../../shared/data/dlmc/*/*/*/*.smtx")
	require.NoError(t, err)
	if len(paths) == 0 {
		t.Skip("the Deep Learning Matrix Collection sample is not at ../shared/data/dlmc")
	}
	for _, path := range paths {
		if st, err := os.Stat(path); err != nil || st.Size() > 500_000 && testing.Short() {
			continue
		}
		f, err := Open(path)
		require.NoError(t, err)
		top, err := f.Topology(f.Names()[0])
		require.NoError(t, err)
		require.Equal(t, len(top.ColIndices), int(top.RowOffsets[top.Rows]))
		require.NoError(t, f.Close())
	}
}
