package torture

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	goruntime "runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/sparsegen/sparsegen/runtime"
)

// ErrFailed is the error of a run in which a case failed.
var ErrFailed = errors.New("torture: cases failed")

const (
	mostFailures = 20               // after which a run stops
	caseTimeout  = 60 * time.Second // after which a case counts as one that does not end
	chunk        = 32               // cases that a worker is given at once
)

// Run runs cases in worker processes of a program whose main function is Main, and
// writes the report. It returns ErrFailed where a case failed, and the context's
// error, without a report, where that ends.
func Run(ctx context.Context, program []string, o Options) error {
	s, err := newSpace()
	if err != nil {
		return err
	}
	if err := o.check(s); err != nil {
		return err
	}
	d := &driver{program: program, o: o, space: s, tally: newTally(), begin: time.Now()}
	if o.Case >= 0 {
		d.next = uint64(o.Case)
	}
	report, err := d.run(ctx)
	if err != nil {
		return err
	}
	if o.Case >= 0 && len(report.Failures) == 0 && !o.JSON {
		fmt.Fprint(o.Out, s.draw(o.Seed, uint64(o.Case)), "\n")
	}
	if err := report.write(o.Out, o.JSON); err != nil {
		return err
	}
	if len(report.Failures) > 0 {
		return ErrFailed
	}
	return nil
}

// driver hands out cases and counts what comes back.
type driver struct {
	program []string
	o       Options
	space   *space
	begin   time.Time

	mu     sync.Mutex
	tally  *tally
	next   uint64 // case
	given  int    // cases that are handed out
	levels []string
	shown  time.Time
}

func (d *driver) run(ctx context.Context) (*Report, error) {
	workers := d.o.Workers
	if workers == 0 {
		workers = goruntime.NumCPU()
	}
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var wait sync.WaitGroup
	for range workers {
		wait.Go(func() {
			if err := d.work(ctx); err != nil {
				stop(err)
			}
		})
	}
	wait.Wait()
	d.clear()
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	r := d.tally.report(d.space)
	r.Seed, r.Seconds, r.Levels = d.o.Seed, time.Since(d.begin).Seconds(), d.levels
	r.Stopped = len(r.Failures) >= mostFailures
	return r, nil
}

// take is the next cases to run; none at the end.
func (d *driver) take() []uint64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	var cases []uint64
	for len(cases) < chunk && len(d.tally.failures) < mostFailures &&
		(d.o.Cases == 0 || d.given < d.o.Cases) && (d.o.Time == 0 || time.Since(d.begin) < d.o.Time) {
		if d.o.Family == "" || d.space.family(d.o.Seed, d.next) == d.o.Family {
			cases = append(cases, d.next)
			d.given++
		}
		d.next++
	}
	return cases
}

// work runs cases in one worker process after another: the next one where one died.
func (d *driver) work(ctx context.Context) error {
	var w *worker
	defer func() {
		if w != nil {
			w.stop()
		}
	}()
	for cases := d.take(); len(cases) > 0; {
		if w == nil {
			var err error
			if w, err = d.start(ctx); err != nil {
				return err
			}
		}
		done, err := w.run(cases, d.add)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		cases = cases[done:]
		if err != nil {
			d.died(cases[0], w.stop(), err)
			w, cases = nil, cases[1:]
		}
		if len(cases) == 0 {
			cases = d.take()
		}
	}
	return nil
}

func (d *driver) add(o outcome) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.tally.add(o)
	if d.o.Log != nil {
		for _, f := range o.Failures { // at once: the report is at the end
			d.clear()
			fmt.Fprintf(d.o.Log, "FAILED: %s\n", f.Repro)
		}
	}
	d.progress()
}

// died counts the case in which a worker process died.
func (d *driver) died(number uint64, last string, err error) {
	c := d.space.draw(d.o.Seed, number)
	isa := d.o.ISA
	if isa == "" {
		isa = strings.Join(d.levels, ",")
	}
	what := "the process died: " + last
	if errors.Is(err, errTimeout) {
		what = fmt.Sprintf("the case did not end within %v", caseTimeout)
	}
	o := outcome{Case: number, Family: c.Family, Verdicts: map[string]Verdict{}}
	for _, level := range d.levels {
		if level != runtime.Generic.String() || len(d.levels) == 1 {
			o.Verdicts[level] = Failed
		}
	}
	o.Failures = []Failure{{
		Case: number, Family: c.Family, ISA: isa, What: what, Explain: c.String(), Repro: reproduce(d.o.Seed, number, isa),
	}}
	d.add(o)
}

// progress redraws its line on a terminal, and elsewhere prints one from time to
// time. The caller holds the lock.
func (d *driver) progress() {
	every := 30 * time.Second
	if d.o.Live {
		every = 200 * time.Millisecond
	}
	now := time.Now()
	if d.shown.IsZero() {
		d.shown = d.begin
	}
	if d.o.Log == nil || now.Sub(d.shown) < every {
		return
	}
	d.shown = now
	of := ""
	if d.o.Cases > 0 {
		of = fmt.Sprintf(" of %d", d.o.Cases)
	}
	text := fmt.Sprintf("torture: %d%s cases, %d failed, %.0f a second", d.tally.cases, of, len(d.tally.failures), float64(d.tally.cases)/now.Sub(d.begin).Seconds())
	if d.o.Live {
		fmt.Fprint(d.o.Log, "\r\x1b[K", text)
	} else {
		fmt.Fprintln(d.o.Log, text)
	}
}

func (d *driver) clear() {
	if d.o.Live && d.o.Log != nil {
		fmt.Fprint(d.o.Log, "\r\x1b[K")
	}
}

// worker is one worker process.
type worker struct {
	cmd   *exec.Cmd
	in    io.WriteCloser
	lines *bufio.Reader
	log   *tail
	ended bool
	last  string
}

var errTimeout = errors.New("timeout")

func (d *driver) start(ctx context.Context) (*worker, error) {
	args := append(slices.Clone(d.program[1:]), workerArgument, "-seed", fmt.Sprint(d.o.Seed), "-isa", d.o.ISA)
	w := &worker{cmd: exec.CommandContext(ctx, d.program[0], args...), log: &tail{}}
	w.cmd.Stderr = w.log
	var err error
	if w.in, err = w.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := w.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := w.cmd.Start(); err != nil {
		return nil, err
	}
	w.lines = bufio.NewReaderSize(out, 1<<16)
	var h hello
	if err := w.read(&h); err != nil {
		if text := w.stop(); ctx.Err() == nil {
			return nil, fmt.Errorf("a worker does not begin: %s", text)
		}
		return nil, ctx.Err()
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.levels = h.Levels
	return w, nil
}

// run runs cases and hands over each outcome; it says how many there were.
func (w *worker) run(cases []uint64, each func(outcome)) (done int, err error) {
	line := strings.Trim(fmt.Sprint(cases), "[]") + "\n"
	if _, err := io.WriteString(w.in, line); err != nil {
		return 0, err
	}
	for done < len(cases) {
		var o outcome
		if err := w.read(&o); err != nil {
			return done, err
		}
		each(o)
		done++
	}
	return done, nil
}

// read reads one line of JSON, and ends the process if it takes too long.
func (w *worker) read(into any) error {
	late := false
	var mu sync.Mutex
	timer := time.AfterFunc(caseTimeout, func() {
		mu.Lock()
		defer mu.Unlock()
		late = true
		_ = w.cmd.Process.Kill() // it may have ended by itself
	})
	line, err := w.lines.ReadBytes('\n')
	timer.Stop()
	mu.Lock()
	defer mu.Unlock()
	if late {
		return errTimeout
	}
	if err != nil {
		return err
	}
	return json.Unmarshal(line, into)
}

// stop ends the process and says how it ended.
func (w *worker) stop() string {
	if !w.ended {
		w.ended = true
		_ = w.in.Close() // the process may be gone
		_, _ = io.Copy(io.Discard, w.lines)
		w.last = "exit status 0"
		if err := w.cmd.Wait(); err != nil {
			w.last = err.Error()
		}
		if text := w.log.first(); text != "" {
			w.last += ": " + text
		}
	}
	return w.last
}

// tail keeps the beginning of what a process writes to standard error: the line
// that says why it ends comes before its stacks.
type tail struct{ text []byte }

func (t *tail) Write(p []byte) (int, error) {
	t.text = append(t.text, p[:min(len(p), 4096-min(4096, len(t.text)))]...)
	return len(p), nil
}

// first is the lines that say something, up to the stacks.
func (t *tail) first() string {
	text, _, _ := bytes.Cut(t.text, []byte("\n\n"))
	return strings.Join(strings.Fields(string(text)), " ")
}
