// Package torture runs generated kernels on random cases and compares: a random
// spec, pattern, shape, configuration, batch and instruction set level; random
// weights and inputs, with structures and values that hurt. A case goes the whole
// way from the spec's text to a session's output. At each level the output must be
// that of the pure-Go kernels, bit for bit, and theirs must lie within the error
// bound of the float64 reference (package ir/eval). Inputs, outputs and weights lie
// against pages that cannot be accessed.
//
// Everything about a case follows from a seed and the case's number, on any
// machine. Build makes a program with every kernel of this version in it; Run
// drives it: worker processes run the cases, so that one that crashes is a failed
// case. Main is the program's main function, so that the program runs by itself on
// a machine without Go.
//
// It must not import tool or cmd; nothing but tool and tests imports it.
package torture

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// Options say which cases run.
type Options struct {
	Seed   uint64 // 0: from the clock
	Case   int64  // this one alone; -1: many
	Cases  int    // how many
	Time   time.Duration
	ISA    string // levels, separated by commas; "": all that the machine has
	Family string // "": all
	JSON   bool

	Workers int       // processes; 0: one a processor
	Out     io.Writer // the report
	Log     io.Writer // progress
	Live    bool      // Log is a terminal
}

// defaultCases is how many cases run where nothing says how many.
const defaultCases = 20_000

// Flags defines the options' flags.
func (o *Options) Flags(f *flag.FlagSet) {
	f.Uint64Var(&o.Seed, "seed", 0, "`number` that all cases follow from (default: from the clock)")
	f.Int64Var(&o.Case, "case", -1, "run this case alone, by its `number`, and explain it")
	f.IntVar(&o.Cases, "cases", 0, fmt.Sprintf("`number` of cases (default: %d, or as many as --time allows)", defaultCases))
	f.DurationVar(&o.Time, "time", 0, "stop after this `duration`")
	f.StringVar(&o.ISA, "isa", "", "`levels` to compare, such as avx2,avx512 (default: all that this machine has)")
	f.StringVar(&o.Family, "family", "", "only cases of this `family`, such as deltaTile, plan, chain or kernel")
	f.BoolVar(&o.JSON, "json", false, "print the report as JSON")
	f.IntVar(&o.Workers, "workers", 0, "worker `processes` (default: one a processor)")
}

// Validate reports what is wrong with the options.
func (o Options) Validate() error {
	s, err := newSpace()
	if err != nil {
		return err
	}
	return o.check(s)
}

// check completes the options, or reports what is wrong with them.
func (o *Options) check(s *space) error {
	switch {
	case o.Cases < 0 || o.Time < 0 || o.Workers < 0 || o.Case < -1:
		return errors.New("--case, --cases, --time and --workers cannot be negative")
	case o.Case >= 0 && (o.Cases > 0 || o.Time > 0 || o.Family != ""):
		return errors.New("--case names one case: it excludes --cases, --time and --family")
	case o.Case >= 0 && o.Seed == 0:
		return errors.New("--case needs the --seed that it was found with")
	case o.Family != "" && !slices.Contains(s.names(), o.Family):
		return fmt.Errorf("no family %q; there are %s", o.Family, strings.Join(s.names(), ", "))
	}
	if o.Seed == 0 {
		o.Seed = uint64(time.Now().UnixNano()) % 1_000_000_000
	}
	if o.Cases == 0 && o.Time == 0 {
		o.Cases = defaultCases
	}
	if o.Case >= 0 {
		o.Cases, o.Workers = 1, 1
	}
	return nil
}
