package inspect

import (
	"bytes"
	"encoding/base64"
	"image"
	"image/color"
	"image/png"
	"math"
	"slices"
)

// maxSide bounds a picture's sides, in pixels of the page; maxRatio its
// proportions.
const (
	maxSide  = 360
	maxRatio = 2.5
)

// picture is a matrix reduced to cells of Down rows and Across columns (fewer at
// the far edges). A cell is the mean over its elements of 1 where non-zero (the
// density) or, for a matrix with hardly a zero, whose mask would be one flat area,
// of the magnitude; its zeros stay clear.
type picture struct {
	W, H         int // cells
	Across, Down int // elements
	Zoom         [2]int
	Magnitude    bool      // cells are mean magnitudes and not densities
	Cells        []float64 // [H, W]
	Top          float64   // the value drawn in full ink
	ColMean      []float64 // [W], the same measure over whole columns
	RowMean      []float64 // [H]
}

// layout chooses cells of whole elements and zooms of whole pixels, so that no
// beat between them draws a pattern that is not in the matrix.
func (p *picture) layout(rows, cols int) {
	w, h := maxSide, maxSide
	switch ratio := float64(cols) / float64(rows); {
	case ratio >= 1:
		h = int(maxSide / min(ratio, maxRatio))
	default:
		w = int(maxSide / min(1/ratio, maxRatio))
	}
	p.Across, p.Down = (cols+w-1)/w, (rows+h-1)/h
	p.W, p.H = (cols+p.Across-1)/p.Across, (rows+p.Down-1)/p.Down
	p.Zoom = [2]int{max(1, w/p.W), max(1, h/p.H)}
}

func newPicture(m *Matrix, values []float32, s *Values) *picture {
	p := &picture{Magnitude: s.Density > 0.95 && s.Magnitude != nil}
	p.layout(m.Rows, m.Cols)
	p.Cells = make([]float64, p.W*p.H)
	p.ColMean, p.RowMean = make([]float64, p.W), make([]float64, p.H)
	for r := range m.Rows {
		row := p.Cells[r/p.Down*p.W:][:p.W]
		for c, v := range values[r*m.Cols : (r+1)*m.Cols] {
			if v != 0 {
				row[c/p.Across] += p.weight(v)
			}
		}
	}
	for y := range p.H {
		high := min(p.Down, m.Rows-y*p.Down)
		for x := range p.W {
			wide := min(p.Across, m.Cols-x*p.Across)
			sum := p.Cells[y*p.W+x]
			p.ColMean[x] += sum
			p.RowMean[y] += sum
			p.Cells[y*p.W+x] = sum / float64(wide*high)
		}
		p.RowMean[y] /= float64(high * m.Cols)
	}
	for x := range p.W {
		p.ColMean[x] /= float64(min(p.Across, m.Cols-x*p.Across) * m.Rows)
	}
	p.Top = p.top()
	return p
}

func (p *picture) weight(v float32) float64 {
	switch {
	case !p.Magnitude:
		return 1
	case finite(v):
		return math.Abs(float64(v))
	}
	return 0
}

// top is the scale: the largest cell short of outliers (1 in 200).
func (p *picture) top() float64 {
	sorted := slices.Sorted(slices.Values(p.Cells))
	if t := sorted[(len(sorted)-1)*199/200]; t > 0 {
		return t
	}
	return max(sorted[len(sorted)-1], math.SmallestNonzeroFloat64)
}

// shades is the number of inks besides none.
const shades = 31

// ink is a ramp from clear to dark blue; the page inverts it on a dark ground.
func ink() color.Palette {
	from, to := [3]float64{120, 178, 226}, [3]float64{18, 44, 128}
	pal := color.Palette{color.NRGBA{}}
	for i := 1; i <= shades; i++ {
		t := float64(i) / shades
		mix := func(k int) uint8 { return uint8(math.Round(from[k] + (to[k]-from[k])*t)) }
		pal = append(pal, color.NRGBA{mix(0), mix(1), mix(2), uint8(math.Round(255 * math.Pow(t, 0.6)))})
	}
	return pal
}

// pngURI draws the cells, one pixel each, as a data URI. A cell with anything in
// it never comes out blank.
func (p *picture) pngURI() (string, error) {
	img := image.NewPaletted(image.Rect(0, 0, p.W, p.H), ink())
	for i, v := range p.Cells {
		shade := math.Ceil(min(1, v/p.Top) * shades)
		img.Pix[i/p.W*img.Stride+i%p.W] = uint8(shade)
	}
	var buf bytes.Buffer
	enc := png.Encoder{CompressionLevel: png.BestCompression}
	if err := enc.Encode(&buf, img); err != nil {
		return "", err
	}
	return "data:image/png;base64," + base64.StdEncoding.EncodeToString(buf.Bytes()), nil
}
