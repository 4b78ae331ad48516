package inspect

import (
	"embed"
	"fmt"
	"html/template"
	"io"
	"math"
	"path/filepath"
	"strings"
)

//go:embed page.html page.css
var pageFiles embed.FS

// WriteHTML prints the report as one HTML page that needs neither scripts nor a
// network. Matrices are drawn where Options.Pictures was set.
func (r *Report) WriteHTML(w io.Writer) error {
	css, err := pageFiles.ReadFile("page.css")
	if err != nil {
		return err
	}
	t, err := template.New("page.html").Funcs(template.FuncMap{
		"percent": percent, "bytes": byteSize, "label": label, "stored": storedAs, "shape": shapeText, "tensors": tensors, "short": short,
	}).ParseFS(pageFiles, "page.html")
	if err != nil {
		return err
	}
	page := page{CSS: template.CSS(css)}
	for i := range r.Files {
		f := &r.Files[i]
		v := fileView{File: f}
		for j := range f.Tensors {
			t := &f.Tensors[j]
			if t.Matrix == nil {
				v.Others = append(v.Others, tensorView{Tensor: t})
				continue
			}
			m, err := newTensorView(t, fmt.Sprintf("m%d-%d", i, j))
			if err != nil {
				return err
			}
			v.Matrices = append(v.Matrices, m)
		}
		page.Files = append(page.Files, v)
	}
	return t.Execute(w, page)
}

type page struct {
	CSS   template.CSS
	Files []fileView
}

// Title names the page after its files.
func (p page) Title() string {
	var names []string
	for _, f := range p.Files {
		names = append(names, label(f.Path))
	}
	if len(names) > 3 {
		names = append(names[:3], fmt.Sprintf("%d more", len(p.Files)-3))
	}
	return strings.Join(names, ", ")
}

// label is a file's name; a bare model.json says nothing without its folder.
func label(path string) string {
	base := filepath.Base(path)
	if dir := filepath.Base(filepath.Dir(path)); strings.HasPrefix(base, "model.") && dir != "." && dir != string(filepath.Separator) {
		return filepath.ToSlash(filepath.Join(dir, base))
	}
	return base
}

type fileView struct {
	*File
	Matrices, Others []tensorView
}

// tensorView is a tensor with what the page draws of it.
type tensorView struct {
	*Tensor
	ID        string
	Plot      *plotView
	Histogram *histogramView
}

func newTensorView(t *Tensor, id string) (tensorView, error) {
	v := tensorView{Tensor: t, ID: id}
	if p := t.Matrix.picture; p != nil {
		uri, err := p.pngURI()
		if err != nil {
			return v, err
		}
		v.Plot = newPlotView(t.Matrix, p, uri)
	}
	if h := t.Values.histogram; h != nil {
		v.Histogram = newHistogramView(h, t.Values.Magnitude)
	}
	return v, nil
}

func (t tensorView) DTypeText() string { return t.dtypeText() }
func (t tensorView) BytesText() string { return t.bytesText() }
func (t tensorView) Best() string      { return t.fitsText(1) }
func (t tensorView) Structured() []Fit { return t.Matrix.structured() }

// Dirs and Leaf split a name after slashes and dots, where the page may break
// it. The leaf is the last two elements: "dense/kernel" says more than "kernel".
func (t tensorView) Dirs() []string {
	dir := strings.TrimSuffix(t.Name, t.Leaf())
	var parts []string
	for dir != "" {
		cut := strings.IndexAny(dir, separators) + 1
		parts = append(parts, dir[:cut])
		dir = dir[cut:]
	}
	return parts
}

func (t tensorView) Leaf() string {
	last := strings.LastIndexAny(t.Name, separators)
	if last < 0 {
		return t.Name
	}
	return t.Name[strings.LastIndexAny(t.Name[:last], separators)+1:]
}

const separators = "/."

// The plot's geometry in pixels of its view box: the image with the profile of
// the columns above it and that of the rows on its right.
const (
	profile = 44
	gap     = 6
)

type plotView struct {
	Width, Height    int // of the image
	TotalW, TotalH   int
	ImageY           int
	Image            template.URL
	Across, Down     int // elements a cell
	ColPath, RowPath string
	Measure          string
	Scale            string // the measure at full ink
	ColMax, RowMax   string // the profiles' maxima
	Alt              string
}

func newPlotView(m *Matrix, p *picture, uri string) *plotView {
	w, h := p.W*p.Zoom[0], p.H*p.Zoom[1]
	v := &plotView{
		Width: w, Height: h, TotalW: w + gap + profile, TotalH: h + gap + profile, ImageY: profile + gap,
		Image: template.URL(uri), Across: p.Across, Down: p.Down,
		Measure: "density", Scale: percent(p.Top),
		ColMax: percent(maxOf(p.ColMean)), RowMax: percent(maxOf(p.RowMean)),
	}
	if p.Magnitude {
		v.Measure = "mean magnitude"
		v.Scale, v.ColMax, v.RowMax = number(p.Top), number(maxOf(p.ColMean)), number(maxOf(p.RowMean))
	}
	v.Alt = fmt.Sprintf("%s of %d output by %d input features", v.Measure, m.Rows, m.Cols)
	v.ColPath = area(p.ColMean, float64(w), func(along, up float64) (float64, float64) { return along, profile - up*profile })
	x0 := float64(w + gap)
	y0 := float64(v.ImageY)
	v.RowPath = area(p.RowMean, float64(h), func(along, up float64) (float64, float64) { return x0 + up*profile, y0 + along })
	return v
}

// area is the path of a step profile of the given length, filled down to zero;
// place maps (position, share of the maximum) to the page.
func area(values []float64, length float64, place func(along, up float64) (x, y float64)) string {
	top := maxOf(values)
	if top == 0 {
		top = 1
	}
	var b strings.Builder
	point := func(cmd byte, along, up float64) {
		x, y := place(along, up)
		fmt.Fprintf(&b, "%c%.1f %.1f", cmd, x, y)
	}
	point('M', 0, 0)
	step := length / float64(len(values))
	for i, v := range values {
		point('L', float64(i)*step, v/top)
		point('L', float64(i+1)*step, v/top)
	}
	point('L', length, 0)
	b.WriteByte('Z')
	return b.String()
}

func maxOf(values []float64) float64 {
	m := 0.0
	for _, v := range values {
		m = max(m, v)
	}
	return m
}

func number(x float64) string { return fmt.Sprintf("%.3g", x) }

// The histogram's geometry.
const (
	histWidth  = 384
	histHeight = 96
)

type histogramView struct {
	Width, Height int
	Bars          []bar
	Marks         []mark
	Top           string
}

type bar struct{ X, Y, W, H float64 }

// mark is a magnitude below which a share of the non-zeros lies.
type mark struct {
	X     float64
	Share string
	Value string
}

func newHistogramView(h *histogram, m *Magnitude) *histogramView {
	v := &histogramView{Width: histWidth, Height: histHeight, Top: number(float64(h.top))}
	most := 1
	for _, n := range h.counts {
		most = max(most, n)
	}
	w := float64(histWidth) / float64(len(h.counts))
	for i, n := range h.counts {
		high := histHeight * float64(n) / float64(most)
		v.Bars = append(v.Bars, bar{X: round1(float64(i)*w + 0.5), Y: round1(histHeight - high), W: round1(w - 1), H: round1(high)})
	}
	for _, q := range []struct {
		share string
		value float32
	}{{"50%", m.Median}, {"75%", m.P75}, {"90%", m.P90}} {
		x := float64(q.value) / float64(h.top)
		v.Marks = append(v.Marks, mark{X: round1(histWidth * min(1, x)), Share: q.share, Value: number(float64(q.value))})
	}
	return v
}

func round1(x float64) float64 { return math.Round(10*x) / 10 }
