package inspect

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
)

// WriteText prints one table a file, of its matrices or, where all is set, of
// every tensor. The name goes last because names are long.
func (r *Report) WriteText(w io.Writer, all bool) error {
	for i, f := range r.Files {
		if i > 0 {
			fmt.Fprintln(w)
		}
		if err := f.writeText(w, all); err != nil {
			return err
		}
	}
	_, err := fmt.Fprintln(w, "\nA pattern without a figure fits exactly; a figure is the share of magnitude that pruning to it drops.")
	return err
}

func (f *File) writeText(w io.Writer, all bool) error {
	fmt.Fprintf(w, "%s: %s, %s, %s, matrices stored %s\n", quoteOdd(f.Path), f.Format, tensors(len(f.Tensors)), f.bytesText(), storedAs(f.Orientation))
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "shape\tdtype\tdensity\tbytes\tpatterns\tname")
	var others int
	var bytes int64
	for _, t := range f.Tensors {
		if t.Matrix == nil && !all {
			others++
			bytes += t.Bytes
			continue
		}
		fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%s\t%s\n", shapeText(t.Shape), t.dtypeText(), t.densityText(), t.bytesText(), t.fitsText(3), quoteOdd(t.Name))
	}
	if err := tw.Flush(); err != nil {
		return err
	}
	if others > 0 {
		fmt.Fprintf(w, "and %d vectors, scalars and single rows (%s)\n", others, byteSize(bytes))
	}
	return f.writeTrials(w)
}

// writeTrials prints the losses as a table, where there are any.
func (f *File) writeTrials(w io.Writer) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	empty := true
	for _, t := range f.Tensors {
		if t.Matrix == nil || len(t.Matrix.Trials) == 0 {
			continue
		}
		if empty {
			empty = false
			fmt.Fprintln(w, "\nlost if pruned to")
			for _, tr := range trials() {
				fmt.Fprintf(tw, "%s\t", tr.label)
			}
			fmt.Fprintln(tw, "name")
		}
		for _, tr := range trials() {
			loss := "-"
			if i := slices.IndexFunc(t.Matrix.Trials, func(f Fit) bool { return f.Pattern == tr.pattern }); i >= 0 {
				loss = percent(t.Matrix.Trials[i].Loss)
			}
			fmt.Fprintf(tw, "%s\t", loss)
		}
		fmt.Fprintln(tw, quoteOdd(t.Name))
	}
	return tw.Flush()
}

func (f *File) bytesText() string {
	if f.Format == "smtx" {
		return "no values"
	}
	return byteSize(f.Bytes)
}

func tensors(n int) string {
	if n == 1 {
		return "1 tensor"
	}
	return fmt.Sprintf("%d tensors", n)
}

func storedAs(orientation string) string {
	if orientation == "in-out" {
		return "[in, out]"
	}
	return "[out, in]"
}

func shapeText(shape []int) string {
	if len(shape) == 0 {
		return "scalar"
	}
	dims := make([]string, len(shape))
	for i, d := range shape {
		dims[i] = strconv.Itoa(d)
	}
	return strings.Join(dims, "×")
}

func (t *Tensor) dtypeText() string {
	if t.TopologyOnly {
		return "-"
	}
	if t.Quantisation != nil {
		return t.DType + " affine"
	}
	return t.DType
}

func (t *Tensor) densityText() string {
	if t.Values == nil {
		return "-"
	}
	return percent(t.Values.Density)
}

func (t *Tensor) bytesText() string {
	if t.TopologyOnly {
		return "-"
	}
	return byteSize(t.Bytes)
}

// structured is the fits besides dense, which fits everything.
func (m *Matrix) structured() []Fit {
	return slices.DeleteFunc(slices.Clone(m.Fits), func(f Fit) bool { return f.Pattern == "dense" })
}

// fitsText names the n best patterns.
func (t *Tensor) fitsText(n int) string {
	if t.Matrix == nil {
		return "-"
	}
	fits := t.Matrix.structured()
	if len(fits) == 0 {
		return "dense"
	}
	var parts []string
	for _, f := range fits[:min(n, len(fits))] {
		parts = append(parts, f.text())
	}
	return strings.Join(parts, ", ")
}

func (f Fit) text() string {
	if f.Exact {
		return short(f.Pattern)
	}
	return short(f.Pattern) + " -" + percent(f.Loss)
}

// short cuts a pattern that lists many coordinates; the JSON report has it whole.
func short(pattern string) string {
	const most = 40
	if len(pattern) <= most {
		return pattern
	}
	return pattern[:most-2] + "…)"
}

// percent keeps what is not all or nothing from reading as 0 % or 100 %.
func percent(x float64) string {
	switch p := 100 * x; {
	case p > 99.95 && p < 100:
		return ">99.9%"
	case p > 0 && p < 0.05:
		return "<0.1%"
	case p == 0 || p == 100:
		return strconv.Itoa(int(p)) + "%"
	default:
		return strconv.FormatFloat(p, 'f', 1, 64) + "%"
	}
}

func byteSize(n int64) string {
	units := []string{"B", "kB", "MB", "GB", "TB"}
	x, u := float64(n), 0
	for x >= 999.5 && u < len(units)-1 {
		x /= 1000
		u++
	}
	if u == 0 || x >= 99.5 {
		return fmt.Sprintf("%.0f %s", x, units[u])
	}
	return fmt.Sprintf("%.3g %s", x, units[u])
}

// quoteOdd quotes a name with characters that would upset a terminal.
func quoteOdd(name string) string {
	for _, r := range name {
		if !strconv.IsPrint(r) || r == '\t' {
			return strconv.Quote(name)
		}
	}
	return name
}
