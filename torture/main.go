package torture

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"slices"
	"strings"

	"github.com/sparsegen/sparsegen/runtime"
)

// workerArgument is the first argument of a program that is to be a worker.
const workerArgument = "worker"

// hello is the first line of a worker.
type hello struct{ Levels []string }

// Main is the main function of a program that has the kernels of set: it runs cases
// as its flags say, those of Options, on its own kernels. It returns the exit
// status: 0 where no case failed, 1 where one did, 2 for a fault of usage.
func Main(set runtime.Set, faults Faults) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	var err error
	if len(os.Args) > 1 && os.Args[1] == workerArgument {
		err = serve(set, faults, os.Args[2:], os.Stdin, os.Stdout)
	} else {
		err = drive(ctx, os.Args[1:])
	}
	switch {
	case err == nil, errors.Is(err, flag.ErrHelp):
		return 0
	case errors.Is(err, ErrFailed):
		return 1
	}
	fmt.Fprintln(os.Stderr, "torture:", err)
	return 2
}

// drive runs this program's workers.
func drive(ctx context.Context, args []string) error {
	o := Options{Out: os.Stdout, Log: os.Stderr}
	f := flag.NewFlagSet("torture", flag.ContinueOnError)
	o.Flags(f)
	if err := f.Parse(args); err != nil {
		return err
	}
	if f.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q", f.Arg(0))
	}
	if st, err := os.Stderr.Stat(); err == nil {
		o.Live = st.Mode()&os.ModeCharDevice != 0 && os.Getenv("TERM") != "dumb"
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	return Run(ctx, []string{self}, o)
}

// serve is a worker: its arguments are the seed and the levels.
func serve(set runtime.Set, faults Faults, args []string, in io.Reader, out io.Writer) error {
	var seed uint64
	var isa string
	f := flag.NewFlagSet(workerArgument, flag.ContinueOnError)
	f.Uint64Var(&seed, "seed", 0, "")
	f.StringVar(&isa, "isa", "", "")
	if err := f.Parse(args); err != nil {
		return err
	}
	levels, err := chosen(isa, available(set))
	if err != nil {
		return err
	}
	e, err := newEngine(set, levels, faults)
	if err != nil {
		return err
	}
	debug.SetGCPercent(400) // cases are small, and so is what lives
	h := hello{}
	for _, l := range levels {
		h.Levels = append(h.Levels, l.String())
	}
	if err := json.NewEncoder(out).Encode(h); err != nil {
		return err
	}
	return e.work(seed, bufio.NewReader(in), out)
}

// chosen are the levels that isa names, of those that there are, with Generic
// before them: it is what the others are compared with.
func chosen(isa string, have []runtime.ISA) ([]runtime.ISA, error) {
	if isa == "" {
		return have, nil
	}
	levels := []runtime.ISA{runtime.Generic}
	for _, name := range strings.Split(isa, ",") {
		i := slices.IndexFunc(have, func(h runtime.ISA) bool { return h.String() == strings.TrimSpace(name) })
		if i < 0 {
			var names []string
			for _, h := range have {
				names = append(names, h.String())
			}
			return nil, fmt.Errorf("--isa: this machine has no level %q with kernels; it has %s", name, strings.Join(names, ", "))
		}
		levels = append(levels, have[i])
	}
	slices.Sort(levels)
	return slices.Compact(levels), nil
}
