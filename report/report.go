// Package report draws what became of a model: which patterns its layers have, which
// plans they got, what was measured, and how far that is from what the machine can
// do. The result is one HTML page with inline SVG that needs no scripts and no
// network.
//
// It must not import tool; nothing but tool imports it.
package report

import (
	"embed"
	"fmt"
	"html/template"
	"io"

	"github.com/sparsegen/sparsegen/autotune"
	"github.com/sparsegen/sparsegen/codegen"
	"github.com/sparsegen/sparsegen/patterns"
	"github.com/sparsegen/sparsegen/runtime"
)

//go:embed page.html page.css
var pageFiles embed.FS

// Report is what a page shows.
type Report struct {
	Spec    string
	ISA     runtime.ISA
	Machine string // the kind of machine whose records decide
	Records int
	Roofs   *autotune.Roofs // nil: not measured
	Layers  []*Layer
}

// Layer is one linear op.
type Layer struct {
	Name, Tensor, Pattern string
	Out, In               int
	Density               float64
	Layout                string
	Plan                  []Range
	Races                 []Race
	mask                  *patterns.Mask
	points                []point
}

// Range is the plan for a range of the batch.
type Range struct {
	Batch, Config, By string
	Packed            int     // bytes
	AgainstDense      float64 // by the model; 0: there is no dense form to compare with
}

// Race is the record of one batch.
type Race struct {
	Batch           int
	Config, Default string
	Saves           string // of the default's time
	Noise, P        float64
	Raced           int
	entries         []autotune.Entry
}

// Shown are the candidates that the record names.
func (r Race) Shown() []autotune.Entry { return r.entries }

// point is a measured batch in the roofline.
type point struct {
	batch             int
	intensity, gflops float64
}

// Add adds a linear op with its plan and what records say of it.
func (r *Report) Add(l autotune.Linear, pattern string, plan *codegen.LayerPlan, lookup *autotune.Lookup) {
	p := l.Problem
	layer := &Layer{
		Name: l.Layer, Tensor: l.Tensor, Pattern: pattern, Out: p.Out, In: p.In, Density: l.Mask.Density(), Layout: "feature-major", mask: l.Mask,
	}
	if p.TokenMajor {
		layer.Layout = "token-major"
	}
	for _, c := range plan.Choices {
		row := Range{Batch: fmt.Sprintf("%d–%d", c.BatchMin, c.BatchMax), Config: c.Config.String(), By: "cost model", Packed: c.Bytes}
		if c.BatchMin == c.BatchMax {
			row.Batch = fmt.Sprint(c.BatchMin)
		}
		if c.Measured {
			row.By = "measurement"
		}
		if c.DenseCycles > 0 {
			row.AgainstDense = c.DenseCycles / c.Cycles
		}
		layer.Plan = append(layer.Plan, row)
	}
	for _, b := range p.Batches() {
		found := lookup.Find(p, layer.Density, b, r.ISA)
		if found.Source != autotune.Exact {
			continue
		}
		rec := found.Record
		r.Records++
		layer.Races = append(layer.Races, Race{b, rec.Config, rec.Default, rec.Saves(), rec.Noise, rec.P, rec.Raced, rec.Timings})
		for _, t := range rec.Timings {
			if t.Config != rec.Config {
				continue
			}
			flops := 2 * layer.Density * float64(p.Out) * float64(p.In) * float64(b)
			bytes := float64(packedBytes(l, rec.Config)) + 4*float64(p.Out+p.In)*float64(b)
			layer.points = append(layer.points, point{b, flops / bytes, flops / t.Min})
		}
	}
	r.Layers = append(r.Layers, layer)
}

// packedBytes is the size of the weights in a form, 0 where they do not have it.
func packedBytes(l autotune.Linear, config string) int {
	c, err := codegen.ParseConfig(config)
	if err != nil {
		return 0
	}
	v, err := c.Pack(l.Matrix, l.Mask)
	if err != nil {
		return 0
	}
	return codegen.Packed{Config: c, Variant: v}.Bytes()
}

// WriteHTML writes the page.
func (r *Report) WriteHTML(w io.Writer) error {
	css, err := pageFiles.ReadFile("page.css")
	if err != nil {
		return err
	}
	t, err := template.New("page.html").Funcs(template.FuncMap{
		"css":     func() template.CSS { return template.CSS(css) },
		"percent": func(x float64) string { return fmt.Sprintf("%.1f %%", 100*x) },
		"kb":      func(n int) string { return fmt.Sprintf("%.0f kB", float64(n)/1e3) },
		"times":   func(x float64) string { return fmt.Sprintf("%.2f×", x) },
	}).ParseFS(pageFiles, "page.html")
	if err != nil {
		return err
	}
	return t.Execute(w, r)
}

// Tuned is how many of the races replaced the default.
func (r *Report) Tuned() (n int) {
	for _, l := range r.Layers {
		for _, race := range l.Races {
			if race.Config != race.Default {
				n++
			}
		}
	}
	return n
}
