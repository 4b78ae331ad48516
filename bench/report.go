package main

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/sparsegen/sparsegen/internal/atomicfile"
)

// Report is the JSON document of -json.
type Report struct {
	Schema    string    `json:"schema"`
	Time      time.Time `json:"time"`
	Machine   Machine   `json:"machine"`
	Libraries []Library `json:"libraries"`
	Settings  settings  `json:"settings"`
	Results   []Result  `json:"results"`
	Floors    []Verdict `json:"floors,omitempty"`
}

const schema = "sparsegen-bench/1"

// write replaces the file at path, or leaves it as it was.
func (r *Report) write(path string) error {
	data, err := json.MarshalIndent(r, "", " ")
	if err != nil {
		return err
	}
	return atomicfile.WriteBytes(path, append(data, '\n'))
}

// header says what was run and where.
func (r *Report) header(w io.Writer) {
	m := r.Machine
	fmt.Fprintf(w, "%s (%s; %s), %d CPUs, L2 %s, L3 %s, Linux %s, %s, load %s\n",
		m.CPU, m.Family, strings.Join(m.Features, " "), m.CPUs, m.L2, m.L3, m.Kernel, m.Go, m.Load)
	for _, l := range r.Libraries {
		fmt.Fprintf(w, "  %-13s %-13s %s: %s\n", l.Name, l.Layout, l.Library, l.Note)
	}
	fmt.Fprintf(w, "One thread, its CPU time; medians of at least %d interleaved rounds; ×: times as fast as OpenBLAS, paired by round.\n", r.Settings.Rounds)
	if m.CPUs == 1 {
		fmt.Fprintln(w, "One processor for all threads: Go's monitor takes an eighth of the time from Go code that runs after C code, so ours looks slower than it is.")
	}
	fmt.Fprintf(w, "*: multiplies by zeros instead of skipping them. -: no kernel for the case. Cold: weights rotate through at least %d MB.\n", r.Settings.PoolBytes>>20)
}

// table prints one row a case, one block a family and layout.
func table(w io.Writer, results []Result) {
	for len(results) > 0 {
		n := 1
		for n < len(results) && results[n].Family == results[0].Family {
			n++
		}
		familyTable(w, results[:n])
		results = results[n:]
	}
}

func familyTable(w io.Writer, results []Result) {
	var names []string
	for _, r := range results {
		for _, e := range r.Contenders {
			if !slices.Contains(names, e.Name) {
				names = append(names, e.Name)
			}
		}
	}
	rows := [][]string{append([]string{"case", "density"}, names...)}
	plans := slices.Contains(names, oursName)
	if plans {
		rows[0] = append(rows[0], "p10–p90", "plan")
	}
	for i := range results {
		r := &results[i]
		row := []string{r.Name, fmt.Sprintf("%.3f", r.Density)}
		for _, n := range names {
			row = append(row, cell(r, n))
		}
		if plans {
			spread, plan := "", ""
			if e := r.entry(oursName); e != nil {
				plan = e.Describe
				if s := e.VsOpenBLAS; s != nil {
					spread = fmt.Sprintf("%.2f–%.2f×", s.P10, s.P90)
				}
			}
			row = append(row, spread, plan)
		}
		rows = append(rows, row)
	}
	fmt.Fprintln(w)
	align(w, rows, len(rows[0])-1)
}

// cell is a contender's median time and its ratio.
func cell(r *Result, name string) string {
	i := slices.IndexFunc(r.Contenders, func(e Entry) bool { return e.Name == name })
	if i < 0 {
		return ""
	}
	e := r.Contenders[i]
	switch {
	case e.failed:
		return "FAILED"
	case e.Micros == nil:
		return "-"
	}
	s := fmt.Sprintf("%.4g µs", e.Micros.Median)
	if e.Micros.Median >= 1000 {
		s = fmt.Sprintf("%.0f µs", e.Micros.Median)
	}
	if e.VsOpenBLAS != nil {
		s += fmt.Sprintf(" %5.2f×", e.VsOpenBLAS.Median)
	}
	if e.SkipsZeros != nil && *e.SkipsZeros < 0.5 && !strings.HasPrefix(e.Name, oursName) {
		s += "*"
	}
	return s
}

// align prints rows in columns: the first to the left, the others to the
// right, a last one beyond right to the left.
func align(w io.Writer, rows [][]string, right int) {
	width := make([]int, len(rows[0]))
	for _, row := range rows {
		for i, c := range row {
			width[i] = max(width[i], utf8.RuneCountInString(c))
		}
	}
	for _, row := range rows {
		var line strings.Builder
		for i, c := range row {
			pad := strings.Repeat(" ", width[i]-utf8.RuneCountInString(c))
			if i > 0 {
				line.WriteString("  ")
			}
			if i == 0 || (i == len(row)-1 && rows[0][i] == "plan") {
				line.WriteString(c + pad)
			} else {
				line.WriteString(pad + c)
			}
		}
		fmt.Fprintln(w, strings.TrimRight(line.String(), " "))
	}
}

// failures lists what went wrong: a wrong result, a library's error.
func failures(results []Result) []string {
	var all []string
	for _, r := range results {
		for _, e := range r.Contenders {
			if e.failed {
				all = append(all, fmt.Sprintf("%s: %s: %s", r.Name, e.Name, e.Error))
			}
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// printVerdicts is the summary: one line a floor, then the cases that miss it.
func printVerdicts(w io.Writer, verdicts []Verdict) {
	fmt.Fprintln(w)
	rows := [][]string{{"floor", "min", "stretch", "cases", "reached", "at stretch", "geomean", "worst", "p10–p90", "verdict"}}
	for i := range verdicts {
		v := &verdicts[i]
		row := []string{v.Title, fmt.Sprintf("%.2f×", v.Min), "", fmt.Sprint(len(v.Cases))}
		if v.Stretch > 0 {
			row[2] = fmt.Sprintf("%.2f×", v.Stretch)
		}
		if len(v.Cases) == 0 {
			rows = append(rows, append(row, "", "", "", "", "", "not measured"))
			continue
		}
		worst, stretch, verdict := v.worstCase(), "", "missed"
		if v.Stretch > 0 {
			stretch = fmt.Sprint(v.StretchCount)
		}
		if v.Reached {
			verdict = "reached"
		}
		rows = append(rows, append(row, fmt.Sprint(v.ReachedCount), stretch, fmt.Sprintf("%.2f×", v.Geomean),
			fmt.Sprintf("%.2f×", worst.Ratio.Median), fmt.Sprintf("%.2f–%.2f×", worst.Ratio.P10, worst.Ratio.P90), verdict))
	}
	align(w, rows, len(rows[0]))
	for _, v := range verdicts {
		for _, c := range v.Cases {
			if !c.Reached {
				fmt.Fprintf(w, "missed: %s: %s: %.2f× [%.2f–%.2f] %s, want %.2f×\n",
					v.Title, c.Case, c.Ratio.Median, c.Ratio.P10, c.Ratio.P90, c.Reference, v.Min)
			}
		}
	}
}
