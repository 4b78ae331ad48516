package report

import (
	"fmt"
	"html"
	"html/template"
	"math"
	"strings"

	"github.com/sparsegen/sparsegen/autotune"
)

// svg collects the elements of a drawing. Text goes through text, which escapes it.
type svg struct {
	strings.Builder
	width, height float64
}

func (s *svg) add(format string, args ...any) { fmt.Fprintf(s, format, args...) }

func (s *svg) rect(class string, x, y, w, h float64) {
	s.add(`<rect class="%s" x="%.1f" y="%.1f" width="%.1f" height="%.1f"/>`, class, x, y, max(w, 0), max(h, 0))
}

func (s *svg) line(class string, x1, y1, x2, y2 float64) {
	s.add(`<line class="%s" x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f"/>`, class, x1, y1, x2, y2)
}

func (s *svg) text(anchor string, x, y float64, text string) {
	s.add(`<text text-anchor="%s" x="%.1f" y="%.1f">%s</text>`, anchor, x, y, html.EscapeString(text))
}

// html is the drawing as an element, with a title for those who cannot see it.
func (s *svg) html(class, title string) template.HTML {
	return template.HTML(fmt.Sprintf(`<svg class="%s" role="img" viewBox="0 0 %.0f %.0f" width="%.0f" height="%.0f"><title>%s</title>%s</svg>`,
		class, s.width, s.height, s.width, s.height, html.EscapeString(title), s.String()))
}

// Mask draws where the non-zeros are: cells as dark as they are full.
func (l *Layer) Mask() template.HTML {
	const side = 240.0
	const most = 48
	rows, cols := min(l.Out, most), min(l.In, most)
	scale := side / float64(max(l.Out, l.In))
	s := &svg{width: max(float64(l.In)*scale, 24), height: max(float64(l.Out)*scale, 24)}
	w, h := s.width/float64(cols), s.height/float64(rows)
	for r := range rows {
		begin, shade := 0, 0 // of the run of equal cells at hand
		for c := range cols + 1 {
			next := 0
			if c < cols {
				next = l.shade(l.Out*r/rows, l.Out*(r+1)/rows, l.In*c/cols, l.In*(c+1)/cols)
			}
			if next == shade && c < cols {
				continue
			}
			if shade > 0 {
				s.add(`<rect class="cell" x="%.1f" y="%.1f" width="%.1f" height="%.1f" opacity=".%d"/>`,
					float64(begin)*w, float64(r)*h, float64(c-begin)*w, h, min(10*shade, 99))
			}
			begin, shade = c, next
		}
	}
	s.rect("frame", 0, 0, s.width, s.height)
	return s.html("mask", fmt.Sprintf("non-zeros of %s, %d by %d", l.Tensor, l.Out, l.In))
}

// shade is how full a part of the mask is, from 0 for nothing to 10.
func (l *Layer) shade(top, bottom, left, right int) int {
	kept := 0
	for y := top; y < bottom; y++ {
		for x := left; x < right; x++ {
			if l.mask.At(y, x) {
				kept++
			}
		}
	}
	return int(math.Ceil(10 * math.Sqrt(float64(kept)/float64((bottom-top)*(right-left)))))
}

// Bars draws a race: the fastest sample of each candidate, with its median.
func (r Race) Bars() template.HTML {
	const label, bar, row = 210.0, 330.0, 19.0
	s := &svg{width: label + bar + 120, height: row*float64(len(r.entries)) + 6}
	longest := 0.0
	for _, e := range r.entries {
		longest = max(longest, min(e.Median, 3*e.Min), e.Min)
	}
	for i, e := range r.entries {
		y := float64(i) * row
		class := "bar"
		switch e.Config {
		case r.Config:
			class = "bar chosen"
		case r.Default:
			class = "bar default"
		}
		s.text("end", label-8, y+14, e.Config)
		s.rect(class, label, y+3, bar*e.Min/longest, row-6)
		if m := label + bar*min(e.Median/longest, 1); e.Median > 0 {
			s.line("median", m, y+2, m, y+row-2)
		}
		s.text("start", label+bar+8, y+14, fmt.Sprintf("%s, %d samples", micros(e.Min), e.Samples))
	}
	return s.html("race", fmt.Sprintf("race at batch %d: %s wins", r.Batch, r.Config))
}

func micros(ns float64) string {
	if ns < 1e6 {
		return fmt.Sprintf("%.1f µs", ns/1e3)
	}
	return fmt.Sprintf("%.2f ms", ns/1e6)
}

// Roofline draws the measured batches below what the machine can do, both axes
// logarithmic: multiply-adds a second over multiply-adds a byte.
func (l *Layer) Roofline(roofs *autotune.Roofs) template.HTML {
	if roofs == nil || len(l.points) == 0 {
		return ""
	}
	const left, right, top, bottom = 46.0, 12.0, 12.0, 34.0
	s := &svg{width: 520, height: 300}
	xlo, xhi, ylo, yhi := 0.25, 64.0, roofs.GFlops/64, roofs.GFlops*2
	for _, p := range l.points {
		xlo, xhi, ylo = min(xlo, p.intensity/1.5), max(xhi, p.intensity*1.5), min(ylo, p.gflops/1.5)
		yhi = max(yhi, p.gflops*1.3)
	}
	x := func(v float64) float64 {
		return left + (s.width-left-right)*math.Log(v/xlo)/math.Log(xhi/xlo)
	}
	y := func(v float64) float64 {
		return s.height - bottom - (s.height-top-bottom)*math.Log(v/ylo)/math.Log(yhi/ylo)
	}
	for v := math.Pow(2, math.Ceil(math.Log2(xlo))); v <= xhi; v *= 4 {
		s.line("grid", x(v), top, x(v), s.height-bottom)
		s.text("middle", x(v), s.height-bottom+14, fmt.Sprint(v))
	}
	for v := math.Pow(2, math.Ceil(math.Log2(ylo))); v <= yhi; v *= 4 {
		s.line("grid", left, y(v), s.width-right, y(v))
		s.text("end", left-5, y(v)+4, fmt.Sprint(v))
	}
	s.text("middle", (left+s.width-right)/2, s.height-4, "flops a byte")
	s.text("start", 2, top-2, "GFlop/s")
	for _, roof := range []struct {
		name string
		gbs  float64
	}{{"L2", roofs.L2}, {"L3", roofs.L3}, {"memory", roofs.Memory}} {
		from, to := max(xlo, ylo/roof.gbs), roofs.GFlops/roof.gbs
		s.line("roof", x(from), y(from*roof.gbs), x(to), y(roofs.GFlops))
		s.text("start", x(from)+4, y(from*roof.gbs)-5, fmt.Sprintf("%s %.0f GB/s", roof.name, roof.gbs))
	}
	s.line("roof", x(roofs.GFlops/roofs.L2), y(roofs.GFlops), s.width-right, y(roofs.GFlops))
	s.text("end", s.width-right, y(roofs.GFlops)-5, fmt.Sprintf("%.0f GFlop/s", roofs.GFlops))
	for _, p := range l.points {
		s.add(`<circle class="point" cx="%.1f" cy="%.1f" r="4"><title>batch %d: %.1f GFlop/s</title></circle>`, x(p.intensity), y(p.gflops), p.batch, p.gflops)
		s.text("start", x(p.intensity)+6, y(p.gflops)+4, fmt.Sprint(p.batch))
	}
	return s.html("roofline", fmt.Sprintf("roofline of %s, a point for each batch", l.Name))
}
