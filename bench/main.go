// Command bench races this project's kernels against OpenBLAS, oneDNN, XNNPACK
// and libxsmm on one thread, checks every result against float64 first, and
// says which of the project's performance floors were reached.
//
//	go run . -json out.json          the whole grid: a table, JSON, the floors
//	go run . -tune -tuned records    the same after tuning: plans follow what was measured
//	go run . -quick -run linear/384  a first impression of some cases
//
// It is a module of its own because it links C libraries. It must not be
// imported by anything.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"regexp"
	"time"

	"github.com/sparsegen/sparsegen/bench/peers"
)

func main() {
	ours, err := newGenerated()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(usage)
	}
	os.Exit(run(os.Args[1:], os.Stdout, os.Stderr, ours))
}

// Exit codes.
const (
	ok       = 0
	findings = 1 // a wrong result, or a missed floor under -floors
	usage    = 2
)

// quickWork is the largest number of multiply-adds of a case under -quick.
const quickWork = 150e6

type options struct {
	run    *regexp.Regexp
	quick  bool
	list   bool
	floors bool
	json   string
	dlmc   string
	tune   bool
	tuned  string
	set    settings
}

func parse(args []string, stderr io.Writer) (*options, error) {
	o := &options{}
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	f.SetOutput(stderr)
	o.run = regexp.MustCompile("")
	f.Func("run", "only cases whose name matches this `regexp`", func(s string) (err error) {
		o.run, err = regexp.Compile(s)
		return err
	})
	f.BoolVar(&o.quick, "quick", false, "5 rounds of the smaller cases: an impression, not a result")
	f.BoolVar(&o.list, "list", false, "list the cases and run nothing")
	f.BoolVar(&o.floors, "floors", false, "exit with status 1 when a floor is missed or cannot be measured")
	f.StringVar(&o.json, "json", "", "write the report to this `file`")
	dlmc := os.Getenv("SPARSEGEN_DLMC")
	if dlmc == "" {
		dlmc = "../../shared/data/dlmc"
	}
	f.StringVar(&o.dlmc, "dlmc", dlmc, "`folder` of the DLMC matrices (.smtx); also SPARSEGEN_DLMC; skipped when absent")
	f.IntVar(&o.set.Rounds, "rounds", 15, "rounds at least")
	f.DurationVar(&o.set.Budget, "budget", 3*time.Second, "time for the cases of one shape; more rounds, up to four times -rounds, while it lasts")
	f.DurationVar(&o.set.Block, "block", 100*time.Microsecond, "CPU time of one sample, at least")
	pool := f.Int64("pool", 256, "megabytes of weights that a contender rotates through in cold cases; more than the last-level cache")
	f.Uint64Var(&o.set.Seed, "seed", 1, "seed of weights, activations and the order of the rounds")
	f.BoolVar(&o.set.Variants, "variants", false, "also race the kernels that the planner did not choose")
	f.BoolVar(&o.tune, "tune", false, "before the race, tune what has no record in the folder of -tuned")
	f.StringVar(&o.tuned, "tuned", "", "plan by the tuner's records in this `folder`")
	if err := f.Parse(args); err != nil {
		return nil, err
	}
	switch {
	case o.tune && o.tuned == "":
		return nil, errors.New("-tune: say with -tuned where the records are")
	case f.NArg() > 0:
		return nil, fmt.Errorf("unexpected argument %q", f.Arg(0))
	case o.set.Rounds < 1 || o.set.Rounds > 10000:
		return nil, fmt.Errorf("-rounds %d: want 1 to 10000", o.set.Rounds)
	case o.set.Block < 50*time.Microsecond:
		return nil, fmt.Errorf("-block %v: want at least 50µs, or the clock's own cost shows", o.set.Block)
	case *pool < 1 || *pool > 1<<20:
		return nil, fmt.Errorf("-pool %d: want 1 to %d", *pool, 1<<20)
	}
	o.set.PoolBytes = poolFor(*pool << 20)
	if o.quick {
		o.set.Rounds, o.set.Budget = 5, 0
	}
	return o, nil
}

// run is main without the process: it prints the report to stdout, progress
// and errors to stderr, and returns the exit code. ours may be nil: the peers
// then race one another.
func run(args []string, stdout, stderr io.Writer, ours Ours) int {
	o, err := parse(args, stderr)
	if errors.Is(err, flag.ErrHelp) {
		return ok
	}
	fail := func(err error) int {
		fmt.Fprintln(stderr, "bench:", err)
		return usage
	}
	if err != nil {
		return fail(err)
	}
	all, err := grid(o.dlmc)
	if err != nil {
		return fail(err)
	}
	var cases []Case
	for _, c := range all {
		p := c.Problem
		if o.run.MatchString(c.Name()) && !(o.quick && float64(p.In)*float64(p.Out)*float64(p.Batch) > quickWork) {
			cases = append(cases, c)
		}
	}
	if len(cases) == 0 {
		return fail(fmt.Errorf("no case matches; -list shows all %d", len(all)))
	}
	if o.list {
		for _, c := range cases {
			fmt.Fprintln(stdout, c.Name())
		}
		return ok
	}

	if ours != nil && o.tune {
		if err := ours.Tune(cases, o.set.Seed, o.tuned, stderr); err != nil {
			return fail(err)
		}
	}
	if ours != nil && o.tuned != "" {
		if err := ours.UseRecords(o.tuned); err != nil {
			return fail(err)
		}
	}
	if err := peers.Pin(); err != nil {
		return fail(err)
	}
	report := &Report{Schema: schema, Time: time.Now().UTC(), Machine: thisMachine(), Libraries: libraries(ours), Settings: o.set}
	report.header(stdout)
	gs := groups(cases)
	for i, g := range gs {
		start := time.Now()
		r, err := g.race(ours, o.set)
		if err != nil {
			return fail(err)
		}
		report.Results = append(report.Results, r...)
		fmt.Fprintf(stderr, "[%d/%d] %s: %d cases, %.1f s\n", i+1, len(gs), g.cases[0].shape(), len(g.cases), time.Since(start).Seconds())
	}
	table(stdout, report.Results)
	code := ok
	if ours != nil {
		report.Floors = judge(floors, report.Results)
		printVerdicts(stdout, report.Floors)
		for _, v := range report.Floors {
			if o.floors && !v.Reached {
				code = findings
			}
		}
	}
	for _, f := range failures(report.Results) {
		fmt.Fprintln(stderr, "bench:", f)
		code = findings
	}
	if o.json != "" {
		if err := report.write(o.json); err != nil {
			return fail(err)
		}
	}
	return code
}
