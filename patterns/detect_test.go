package patterns

import (
	"bufio"
	"fmt"
	"io"
	"io/fs"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// gaussian is a matrix without any zero.
func gaussian(rng *rand.Rand, rows, cols int) Matrix {
	m := NewMatrix(rows, cols)
	for i := range m.Data {
		for m.Data[i] == 0 {
			m.Data[i] = float32(rng.NormFloat64())
		}
	}
	return m
}

// pruned is a Gaussian matrix pruned to the pattern.
func pruned(t testing.TB, rng *rand.Rand, pattern string, rows, cols int) Matrix {
	m := gaussian(rng, rows, cols)
	k, err := MustParse(pattern).Prune(m)
	require.NoError(t, err)
	k.Apply(m)
	return m
}

// detectable is patterns, and what Detect calls a matrix pruned to them first.
var detectable = []struct {
	pattern    string
	rows, cols int
	want       string
}{
	{"dense", 64, 96, "dense"},
	{"dense", 1, 1, "dense"},
	{"nm(2,4)", 64, 96, "nm(2,4)"},
	{"nm(1,4)", 64, 96, "nm(1,4)"},
	{"nm(2,8)", 64, 96, "nm(2,8)"},
	{"nm(4,8)", 64, 96, "nm(4,8)"},
	{"nm(1,8)", 64, 96, "nm(1,8)"},
	{"nm(1,16)", 64, 96, "nm(1,16)"},
	{"nm(3,12)", 64, 96, "nm(3,12)"},
	{"nm(16,32)", 64, 96, "nm(16,32)"},
	{"block(4,1,sparsity=0.9)", 64, 96, "block(4,1)"},
	{"block(1,4,sparsity=0.7)", 64, 96, "block(1,4)"},
	{"block(16,1,sparsity=0.75)", 64, 96, "block(16,1)"},
	{"block(2,2,sparsity=0.5)", 64, 96, "block(2,2)"},
	{"block(32,32,sparsity=0.5)", 128, 128, "block(32,32)"},
	{"channel(rows,sparsity=0.5)", 64, 96, "channel(rows)"},
	{"channel(cols,sparsity=0.5)", 64, 96, "channel(cols)"},
	{"channel(rows,sparsity=0.5) & channel(cols,sparsity=0.3)", 64, 96, "channel(rows) & channel(cols)"},
	{"channel(rows,sparsity=0.5) & nm(2,4)", 64, 96, "channel(rows) & nm(2,4)"},
	{"stripe(0:16,40:60)", 64, 96, "stripe(0:16,40:60)"},
	{"diag(0)", 64, 96, "diag(0)"},
	{"diag(-8,width=17)", 64, 96, "diag(-8,width=17)"},
	{"diag(-30,0,5,40,width=2)", 64, 96, "diag(-30,0,5,40,width=2)"},
	{"unstructured(sparsity=0.5)", 64, 96, "unstructured"},
	{"unstructured(sparsity=0.9)", 64, 96, "unstructured"},
	{"unstructured(sparsity=0.99)", 128, 128, "unstructured"},
	{"unstructured(sparsity=0.2)", 128, 128, "unstructured"},
	{"unstructured(sparsity=0.01)", 128, 128, "dense"},
}

func TestDetect(t *testing.T) {
	for _, c := range detectable {
		t.Run(c.pattern, func(t *testing.T) {
			for seed := range uint64(10) {
				m := pruned(t, rand.New(rand.NewPCG(seed, 2)), c.pattern, c.rows, c.cols)
				fits, err := Detect(m)
				require.NoError(t, err)
				require.Equal(t, c.want, fits[0].Pattern.String())
				require.True(t, fits[0].Exact)
				require.Zero(t, fits[0].LostMagnitude)
				require.InDelta(t, MaskOf(m).Density(), fits[0].Density, 0.011)
				if c.want == "dense" {
					require.Len(t, fits, 1, "a dense matrix is called something else")
				}
				if c.want == "unstructured" {
					require.Len(t, fits, 2, "a random matrix is called something else: %v", fits)
				}
				require.Equal(t, "dense", fits[len(fits)-1].Pattern.String())
			}
		})
	}
}

// A few elements outside the pattern make the fit near, with the loss measured.
func TestDetectNear(t *testing.T) {
	for pattern, want := range map[string]string{
		"nm(2,4)":                    "nm(2,4)",
		"block(16,1,sparsity=0.75)":  "block(16,1,sparsity=0.75)",
		"channel(rows,sparsity=0.5)": "channel(rows,sparsity=0.5)",
		"stripe(0:32)":               "stripe(0:32)",
		"diag(-8,width=17)":          "diag(-8,width=17)",
	} {
		rng := rand.New(rand.NewPCG(4, 4))
		m := pruned(t, rng, pattern, 64, 96)
		k := MaskOf(m)
		lost, total, n := 0.0, 0.0, 0
		for n < 20 {
			if r, c := rng.IntN(64), rng.IntN(96); !k.At(r, c) && m.Row(r)[c] == 0 {
				m.Row(r)[c] = 0.01
				lost += float64(m.Row(r)[c])
				n++
			}
		}
		for _, v := range m.Data {
			total += math.Abs(float64(v))
		}
		fits, err := Detect(m)
		require.NoError(t, err)
		require.True(t, fits[0].Exact)
		var near *Fit
		for i := range fits {
			if fits[i].Pattern.String() == want {
				near = &fits[i]
			}
		}
		require.NotNil(t, near, "%s: %v", pattern, fits)
		require.False(t, near.Exact)
		if pattern != "nm(2,4)" { // there some of the added survive and others go
			require.InEpsilon(t, lost/total, near.LostMagnitude, 1e-9)
			require.InEpsilon(t, 20/float64(MaskOf(m).Count()), near.LostNonZeros, 1e-9)
		}
	}
}

// Zeros that drifted to tiny values are still seen.
func TestDetectSoftZeros(t *testing.T) {
	for pattern, want := range map[string]string{
		"nm(2,4)":                    "nm(2,4)",
		"block(4,1,sparsity=0.75)":   "block(4,1,sparsity=0.75)",
		"channel(cols,sparsity=0.5)": "channel(cols,sparsity=0.5)",
		"unstructured(sparsity=0.9)": "unstructured(sparsity=0.9)",
	} {
		rng := rand.New(rand.NewPCG(5, 5))
		m := pruned(t, rng, pattern, 64, 96)
		for i, v := range m.Data {
			if v == 0 {
				m.Data[i] = 1e-7
			}
		}
		fits, err := Detect(m)
		require.NoError(t, err)
		require.Equal(t, "dense", fits[0].Pattern.String())
		require.True(t, fits[0].Exact)
		require.Equal(t, want, fits[1].Pattern.String())
		require.False(t, fits[1].Exact)
		require.True(t, fits[1].LostMagnitude > 0 && fits[1].LostMagnitude < 1e-4)
	}
}

func TestDetectDegenerate(t *testing.T) {
	fits, err := Detect(NewMatrix(8, 16))
	require.NoError(t, err)
	require.Equal(t, "unstructured", fits[0].Pattern.String())
	require.Zero(t, fits[0].Density)

	nan := NewMatrix(16, 16)
	for i := range nan.Data {
		nan.Data[i] = float32(math.NaN())
	}
	fits, err = Detect(nan)
	require.NoError(t, err)
	require.Len(t, fits, 1)
	f, err := Measure(MustParse("nm(2,4)"), nan)
	require.NoError(t, err)
	require.Equal(t, Fit{MustParse("nm(2,4)"), false, 0.5, 1, 0.5}, f)

	_, err = Detect(Matrix{Rows: 2, Cols: 2, Stride: 2, Data: make([]float32, 3)})
	require.Error(t, err)
	_, err = Measure(MustParse("nm(2,4)"), NewMatrix(2, 6))
	require.ErrorContains(t, err, "do not divide")
}

// Every fit that Detect names holds what it says.
func TestDetectIsTruthful(t *testing.T) {
	each(t, func(t *testing.T, p Pattern, m Matrix) {
		k, err := p.Prune(m)
		require.NoError(t, err)
		m = m.only(k)
		fits, err := Detect(m)
		require.NoError(t, err)
		for _, f := range fits {
			again, err := Measure(f.Pattern, m)
			require.NoError(t, err)
			require.Equal(t, f, again)
			require.Equal(t, f.Exact, f.LostNonZeros == 0)
			if f.Exact {
				require.True(t, f.Pattern.Fits(MaskOf(m)))
			}
			require.LessOrEqual(t, f.LostMagnitude, nearLoss)
			require.LessOrEqual(t, f.Density, f.Pattern.Density(m.Rows, m.Cols)+1e-12)
		}
	})
}

// dlmc is real pruned networks' masks, with random values: the folder stands
// beside the repository and may be missing.
func dlmc(t *testing.T) map[string]Matrix {
	out := map[string]Matrix{}
	rng := rand.New(rand.NewPCG(6, 6))
	root := filepath.Join("..", "..", "shared", "data", "dlmc")
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || filepath.Ext(path) != ".smtx" {
			return err
		}
		m, err := readSmtx(path, rng)
		out[strings.TrimPrefix(path, root+string(filepath.Separator))] = m
		return err
	})
	if os.IsNotExist(err) || len(out) == 0 {
		t.Skip("no DLMC matrices beside the repository")
	}
	require.NoError(t, err)
	return out
}

func readSmtx(path string, rng *rand.Rand) (Matrix, error) {
	f, err := os.Open(path)
	if err != nil {
		return Matrix{}, err
	}
	defer f.Close()
	in := bufio.NewReader(f)
	var rows, cols, nnz int
	if _, err := fmt.Fscanf(in, "%d, %d, %d\n", &rows, &cols, &nnz); err != nil {
		return Matrix{}, err
	}
	numbers := make([]int, rows+1+nnz)
	for i := range numbers {
		if numbers[i], err = readInt(in); err != nil {
			return Matrix{}, fmt.Errorf("%s: number %d: %w", path, i, err)
		}
	}
	m := NewMatrix(rows, cols)
	for r := range rows {
		for _, c := range numbers[rows+1:][numbers[r]:numbers[r+1]] {
			m.Row(r)[c] = float32(rng.NormFloat64()) + 1e-3
		}
	}
	return m, nil
}

// readInt is the next number of a file of digits and blanks.
func readInt(in io.ByteReader) (n int, err error) {
	for seen := false; ; seen = true {
		b, err := in.ReadByte()
		for err == nil && (b == ' ' || b == '\n') && !seen {
			b, err = in.ReadByte()
		}
		if err != nil && !seen {
			return 0, err
		}
		if err != nil || b < '0' || b > '9' {
			return n, nil
		}
		n = n*10 + int(b-'0')
	}
}

// Real unstructured matrices are called so, and every pattern packs them.
func TestRealMatrices(t *testing.T) {
	for name, m := range dlmc(t) {
		t.Run(name, func(t *testing.T) {
			fits, err := Detect(m)
			require.NoError(t, err)
			require.True(t, fits[0].Exact)
			require.Contains(t, fits[0].Pattern.String(), "unstructured", "%v", fits)
			require.Len(t, fits, 2)
			for _, s := range []string{"unstructured", "nm(2,4)"} {
				p := MustParse(s)
				k, err := p.Prune(m)
				require.NoError(t, err)
				packed, err := Pack(p, m, k)
				require.NoError(t, err)
				got, mask := packed.Unpack()
				require.True(t, k.Equal(mask))
				sameBits(t, m, got, k)
			}
		})
	}
}

func BenchmarkDetect(b *testing.B) {
	for _, s := range []string{"dense", "nm(2,4)", "block(4,1,sparsity=0.9)", "channel(cols,sparsity=0.5)", "unstructured(sparsity=0.5)"} {
		b.Run(s, func(b *testing.B) {
			m := pruned(b, rand.New(rand.NewPCG(1, 1)), s, 4096, 4096)
			for b.Loop() {
				_, err := Detect(m)
				require.NoError(b, err)
			}
		})
	}
}

func BenchmarkPrune(b *testing.B) {
	m := gaussian(rand.New(rand.NewPCG(1, 1)), 4096, 4096)
	for _, s := range []string{"nm(2,4)", "nm(4,8)", "nm(8,32)", "block(4,1,sparsity=0.9)", "channel(cols,sparsity=0.5)", "unstructured(sparsity=0.5)"} {
		b.Run(s, func(b *testing.B) {
			for b.Loop() {
				_, err := MustParse(s).Prune(m)
				require.NoError(b, err)
			}
		})
	}
}

func BenchmarkPack(b *testing.B) {
	for _, s := range []string{"dense", "nm(2,4)", "block(4,1,sparsity=0.9)", "unstructured(sparsity=0.9)"} {
		b.Run(s, func(b *testing.B) {
			m := pruned(b, rand.New(rand.NewPCG(1, 1)), s, 4096, 4096)
			k := MaskOf(m)
			for b.Loop() {
				_, err := Pack(MustParse(s), m, k)
				require.NoError(b, err)
			}
		})
	}
}
