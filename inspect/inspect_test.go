package inspect

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"encoding/xml"
	"errors"
	"flag"
	"fmt"
	"image"
	"image/png"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/tools/txtar"

	"github.com/sparsegen/sparsegen/internal/weights"
)

var update = flag.Bool("update", false, "rewrite the golden files")

const faceNet = "../internal/weights/testdata/faceapi/age_gender_model-weights_manifest.json"

func random(seed uint64, n int) []float32 {
	rng := rand.New(rand.NewPCG(seed, 99))
	v := make([]float32, n)
	for i := range v {
		v[i] = rng.Float32() + 0.25
		if rng.Uint32()&1 != 0 {
			v[i] = -v[i]
		}
	}
	return v
}

// models changes to a fresh folder with one small file of each kind.
func models(t *testing.T) []string {
	t.Helper()
	t.Chdir(t.TempDir())
	nm := random(1, 32*64)
	for i := range nm {
		if i/2%2 == 0 { // the same two of each four
			nm[i] = 0
		}
		if i%4 == 3 && i%12 == 3 { // at times another two
			nm[i], nm[i-3] = nm[i-3], nm[i]
		}
	}
	rows := random(2, 16*8)
	for r := range 16 {
		if r%4 == 1 {
			clear(rows[r*8 : (r+1)*8])
		}
	}
	odd := random(3, 6)
	odd[2] = float32(math.NaN())
	require.NoError(t, weights.WriteSafetensors("model.safetensors", []weights.Entry{
		weights.Float32Entry("ffn.up.weight", []int{32, 64}, nm),
		weights.Float32Entry("ffn.up.bias", []int{32}, random(4, 32)),
		weights.Float32Entry("rows", []int{16, 8}, rows),
		weights.Float32Entry("dense", []int{12, 20}, random(5, 240)),
		weights.Float32Entry("nan", []int{2, 3}, odd),
		weights.Float32Entry("scale", nil, []float32{0.5}),
		weights.Float32Entry("none", []int{0, 4}, nil),
		{Name: "packed\t4", DType: weights.F4, Shape: []int{2, 2}, Data: func() ([]byte, error) { return []byte{1, 2}, nil }},
	}, nil))
	require.NoError(t, os.WriteFile("top.smtx", []byte("4, 6, 5\n0 1 2 4 5\n0 3 1 5 2\n"), 0o644))
	require.NoError(t, os.WriteFile("w.bin", []byte{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11}, 0o644))
	require.NoError(t, os.WriteFile("tf.json", []byte(`[{"paths":["w.bin"],"weights":[{"name":"k","shape":[1,1,4,3],"dtype":"float32","quantization":{"dtype":"uint8","scale":0.5,"min":-1}}]}]`), 0o644))
	return []string{"model.safetensors", "top.smtx", "tf.json"}
}

func TestGolden(t *testing.T) {
	golden, err := filepath.Abs("testdata/report.txtar")
	require.NoError(t, err)
	r, err := Files(models(t), Options{Trials: true})
	require.NoError(t, err)
	got := &txtar.Archive{Comment: []byte("What inspect prints for the models of the test.\n")}
	for _, form := range []struct {
		name  string
		write func(io.Writer) error
	}{
		{"text", func(w io.Writer) error { return r.WriteText(w, false) }},
		{"text, all", func(w io.Writer) error { return r.WriteText(w, true) }},
		{"json", r.WriteJSON},
	} {
		var b bytes.Buffer
		require.NoError(t, form.write(&b))
		got.Files = append(got.Files, txtar.File{Name: form.name, Data: b.Bytes()})
	}
	if *update {
		require.NoError(t, os.MkdirAll(filepath.Dir(golden), 0o755))
		require.NoError(t, os.WriteFile(golden, txtar.Format(got), 0o644))
	}
	want, err := os.ReadFile(golden)
	require.NoError(t, err)
	require.Equal(t, string(want), string(txtar.Format(got)))
}

func TestJSONReadsBack(t *testing.T) {
	r, err := Files(models(t), Options{})
	require.NoError(t, err)
	var b bytes.Buffer
	require.NoError(t, r.WriteJSON(&b))
	var back Report
	d := json.NewDecoder(&b)
	d.DisallowUnknownFields()
	require.NoError(t, d.Decode(&back))
	require.Equal(t, Schema, back.Schema)
	require.Equal(t, len(r.Files[0].Tensors), len(back.Files[0].Tensors))
	require.Equal(t, r.Files[2].Tensors[0].Quantisation, back.Files[2].Tensors[0].Quantisation)
}

func TestFilterAndFaults(t *testing.T) {
	paths := models(t)
	r, err := Files(paths[:1], Options{Tensors: regexp.MustCompile("weight$")})
	require.NoError(t, err)
	require.Len(t, r.Files[0].Tensors, 1)
	require.EqualValues(t, 32*64*4, r.Files[0].Bytes)
	require.Equal(t, "nm(2,4)", r.Files[0].Tensors[0].Matrix.Fits[0].Pattern)

	_, err = Files(paths, Options{Tensors: regexp.MustCompile("nothing")})
	require.ErrorContains(t, err, `no tensor's name matches "nothing"`)
	_, err = Files(nil, Options{})
	require.Error(t, err)
	_, err = Files([]string{paths[0], "absent"}, Options{})
	require.ErrorIs(t, err, os.ErrNotExist)
	require.NoError(t, os.WriteFile("bad.npy", []byte("\x93NUMPY\x01"), 0o644))
	_, err = Files([]string{paths[0], "bad.npy"}, Options{})
	var fe *weights.FormatError
	require.True(t, errors.As(err, &fe), "%v", err)
}

func TestProgressCountsEveryTensor(t *testing.T) {
	var got []int
	_, err := Files([]string{faceNet}, Options{Progress: func(done, total int) {
		require.Equal(t, 51, total)
		got = append(got, done)
	}})
	require.NoError(t, err)
	require.Len(t, got, 51)
	require.True(t, slices.IsSorted(got))
}

func TestQuantilesAreOrderStatistics(t *testing.T) {
	rng := rand.New(rand.NewPCG(8, 8))
	values := []float32{0, float32(math.NaN()), float32(math.Inf(-1)), float32(math.Copysign(0, -1))}
	var sorted []float32
	for range 5000 {
		v := float32(rng.NormFloat64()) * float32(math.Exp(8*rng.NormFloat64()))
		values = append(values, v)
		sorted = append(sorted, max(v, -v))
	}
	slices.Sort(sorted)
	s := summarise(values, true)
	require.Equal(t, 2, s.NonFinite)
	require.Equal(t, 5002, s.NonZero)
	at := func(share float64) float32 { return sorted[max(0, int(math.Ceil(share*5000))-1)] }
	require.Equal(t, &Magnitude{Min: at(0), Median: at(.5), P75: at(.75), P90: at(.9), P999: at(.999), Max: at(1)}, s.Magnitude)
	total := 0
	for _, n := range s.histogram.counts {
		total += n
	}
	require.Equal(t, 5000, total)
}

// A small matrix is drawn element by element, so its picture is its mask.
func TestPictureOfASmallMatrixIsItsMask(t *testing.T) {
	rng := rand.New(rand.NewPCG(6, 6))
	for _, shape := range [][2]int{{2, 2}, {7, 31}, {90, 40}, {3, 200}} {
		m := &Matrix{Rows: shape[0], Cols: shape[1]}
		values := make([]float32, m.Rows*m.Cols)
		for i := range values {
			if rng.Uint32()%4 == 0 {
				values[i] = rng.Float32() + 0.1
			}
		}
		values[0], values[1] = 1, 0
		p := newPicture(m, values, summarise(values, true))
		require.False(t, p.Magnitude)
		img := decode(t, p)
		require.Equal(t, image.Rect(0, 0, m.Cols, m.Rows), img.Bounds())
		for i, v := range values {
			_, _, _, alpha := img.At(i%m.Cols, i/m.Cols).RGBA()
			require.Equal(t, v != 0, alpha == 0xffff)
			require.Equal(t, v == 0, alpha == 0)
		}
	}
}

func decode(t *testing.T, p *picture) image.Image {
	t.Helper()
	uri, err := p.pngURI()
	require.NoError(t, err)
	b, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(uri, "data:image/png;base64,"))
	require.NoError(t, err)
	img, err := png.Decode(bytes.NewReader(b))
	require.NoError(t, err)
	return img
}

// Cells of a large matrix are means, also at the ragged far edges.
func TestPictureOfALargeMatrixIsItsDensity(t *testing.T) {
	m := &Matrix{Rows: 1001, Cols: 803}
	values := make([]float32, m.Rows*m.Cols)
	rng := rand.New(rand.NewPCG(7, 6))
	nnz := 0
	for i := range values {
		if rng.Uint32()%8 == 0 {
			values[i] = 1
			nnz++
		}
	}
	p := newPicture(m, values, summarise(values, true))
	require.LessOrEqual(t, p.W*p.Zoom[0], maxSide)
	require.LessOrEqual(t, p.H*p.Zoom[1], maxSide)
	total := 0.0
	for y := range p.H {
		for x := range p.W {
			n, hit := 0, 0
			for r := y * p.Down; r < min(m.Rows, (y+1)*p.Down); r++ {
				for c := x * p.Across; c < min(m.Cols, (x+1)*p.Across); c++ {
					n++
					if values[r*m.Cols+c] != 0 {
						hit++
					}
				}
			}
			require.Equal(t, float64(hit)/float64(n), p.Cells[y*p.W+x])
			total += float64(hit)
		}
	}
	require.Equal(t, float64(nnz), total)
}

func TestHTMLStandsAlone(t *testing.T) {
	r, err := Files(models(t), Options{Trials: true, Pictures: true})
	require.NoError(t, err)
	r.Files[0].Tensors[0].Name = `<script>alert("x")</script>/a&b`
	var b bytes.Buffer
	require.NoError(t, r.WriteHTML(&b))
	page := b.String()
	require.NotContains(t, page, "<script")
	require.NotContains(t, page, "ZgotmplZ")
	require.NotRegexp(t, `(?i)https?:|url\(|@import|<link|<iframe`, page)
	require.Contains(t, page, "data:image/png;base64,")
	require.Contains(t, page, "a&amp;b")

	// Each link leads to a matrix on the page.
	links := regexp.MustCompile(`href="#([^"]+)"`).FindAllStringSubmatch(page, -1)
	require.Len(t, links, 6)
	for _, l := range links {
		require.Equal(t, 1, strings.Count(page, `id="`+l[1]+`"`))
	}
	requireBalanced(t, page)
}

// requireBalanced checks that every element is closed where it should be.
func requireBalanced(t *testing.T, page string) {
	t.Helper()
	d := xml.NewDecoder(strings.NewReader(page))
	d.Strict = false
	d.AutoClose = xml.HTMLAutoClose
	d.Entity = xml.HTMLEntity
	var open []string
	for {
		tok, err := d.Token()
		if err == io.EOF {
			break
		}
		require.NoError(t, err)
		switch e := tok.(type) {
		case xml.StartElement:
			if e.Name.Local != "wbr" {
				open = append(open, e.Name.Local)
			}
		case xml.EndElement:
			if e.Name.Local == "wbr" {
				continue
			}
			require.NotEmpty(t, open)
			require.Equal(t, open[len(open)-1], e.Name.Local, fmt.Sprint(open))
			open = open[:len(open)-1]
		}
	}
	require.Empty(t, open)
}

func TestHTMLOfARealModel(t *testing.T) {
	r, err := Files([]string{faceNet}, Options{Trials: true, Pictures: true})
	require.NoError(t, err)
	var b bytes.Buffer
	require.NoError(t, r.WriteHTML(&b))
	require.Less(t, b.Len(), 1<<20)
	require.Equal(t, 18, strings.Count(b.String(), "<article"))
	requireBalanced(t, b.String())
}

// NaN and infinities are counted, and nothing that is printed depends on them.
func TestNonFiniteWeights(t *testing.T) {
	t.Chdir(t.TempDir())
	for _, n := range []int{1, 128} {
		values := random(9, 8*16)
		for i := range n {
			values[i] = float32(math.Inf(1 - i%2*2))
			if i%3 == 0 {
				values[i] = float32(math.NaN())
			}
		}
		require.NoError(t, weights.WriteSafetensors("x.safetensors", []weights.Entry{weights.Float32Entry("x", []int{8, 16}, values)}, nil))
		r, err := Files([]string{"x.safetensors"}, Options{Trials: true, Pictures: true})
		require.NoError(t, err)
		x := r.Files[0].Tensors[0]
		require.Equal(t, n, x.Values.NonFinite)
		require.Equal(t, n == 128, x.Values.Magnitude == nil)
		require.NoError(t, r.WriteJSON(io.Discard))
		var b bytes.Buffer
		require.NoError(t, r.WriteHTML(&b))
		require.Contains(t, b.String(), fmt.Sprintf("%d not finite", n))
		require.NotContains(t, b.String(), "NaN")
		require.NotContains(t, b.String(), "Inf")
	}
}
