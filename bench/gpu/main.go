// Command gpu checks and times the kernels of package ptx/kernels on the GPU of
// this machine. It is one static file, for machines without Go:
//
//	gpu smoke             what the driver offers, compile times, launch overhead
//	gpu check [-small]    every kernel against float64, random inputs, poisoned outputs
//	gpu tune [-run RE]    times every candidate of the raced cases
//	gpu serve             cases on demand, for peers.py
//	gpu record FILE       what this GPU answers to ptx/ptxsim/probe, for the simulator's tests
//
// peers.py, beside it, races its kernels against torch and cuSPARSELt.
//
// It must not import codegen, asm or ir, and nothing imports it.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"regexp"
	"runtime/debug"

	"github.com/sparsegen/sparsegen/runtime/cuda"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "gpu:", err)
		os.Exit(1)
	}
}

func run(args []string) (err error) {
	if len(args) == 0 {
		return errors.New("name a command: smoke, check, tune, serve or record")
	}
	flags := flag.NewFlagSet("gpu "+args[0], flag.ContinueOnError)
	small := flags.Bool("small", false, "small shapes only, for a run under compute-sanitizer")
	rounds := flags.Int("rounds", 3, "rounds of tune")
	sustained := flags.Bool("sustained", false, "keep the device busy before each measurement of tune")
	names := flags.String("kernels", "", "regular expression on the kernels of tune")
	only := flags.String("run", "", "regular expression on the cases' names")
	if err := flags.Parse(args[1:]); err != nil {
		return err
	}
	match, err := regexp.Compile(*only)
	if err != nil {
		return err
	}
	kernels, err := regexp.Compile(*names)
	if err != nil {
		return err
	}
	sys, err := cuda.Load()
	if err != nil {
		return err
	}
	dev, err := sys.Open(0)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, dev.Close()) }()
	if args[0] != "serve" {
		fmt.Printf("revision %s, driver %s\n", revision(), sys.Build())
	}
	switch args[0] {
	case "smoke":
		return smoke(dev)
	case "check":
		return check(dev, *small, match)
	case "tune":
		return tune(dev, match, tuneOptions{*rounds, *sustained, kernels})
	case "serve":
		return serve(dev, sys.Build(), os.Stdin, os.Stdout)
	case "record":
		return record(dev, sys.Build(), flags.Arg(0))
	}
	return fmt.Errorf("no command %q: smoke, check, tune, serve or record", args[0])
}

// revision is the commit that the program was built from.
func revision() string {
	commit, state := "unknown", ""
	if b, ok := debug.ReadBuildInfo(); ok {
		for _, v := range b.Settings {
			switch {
			case v.Key == "vcs.revision":
				commit = v.Value
			case v.Key == "vcs.modified" && v.Value == "true":
				state = " with changes"
			}
		}
	}
	return commit + state
}
