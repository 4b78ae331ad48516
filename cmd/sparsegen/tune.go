package main

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/sparsegen/sparsegen/tool"
)

func tuneCmd(c tool.Console) *cobra.Command {
	var o tool.OracleOptions
	var check, oracle, compile bool
	cmd := &cobra.Command{
		Use:   "tune [SPEC]",
		Short: "Measure which kernels are fastest on this machine",
		Long: `Race the configurations of every layer against each other on this machine, one
thread, and keep what was found in the folder tuned beside the spec: commit it, and
gen and pack follow it on every machine. The plan without records is replaced only
by what is faster beyond doubt.

A tuning may be stopped at any time and goes on where it was.`,
		Example: `  sparsegen tune
  sparsegen tune model.sg --budget 5m --layers 'ffn.*'
  sparsegen tune --check
  sparsegen tune --oracle --json > oracle.json
  sparsegen tune --oracle --from oracle.json
  sparsegen tune explain ffn`,
		RunE: func(cmd *cobra.Command, args []string) error {
			o.Spec = first(args)
			switch {
			case (o.JSON || o.Between || len(o.From) > 0) && !oracle:
				return fmt.Errorf("--json, --between and --from belong to --oracle")
			case oracle:
				return tool.TuneOracle(cmd.Context(), c, o)
			case compile:
				return tool.TuneCompile(cmd.Context(), c, o.TuneOptions)
			case check:
				return tool.TuneCheck(cmd.Context(), c, o.TuneOptions)
			}
			return tool.Tune(cmd.Context(), c, o.TuneOptions)
		},
	}
	specArg(cmd)
	f := cmd.Flags()
	f.DurationVar(&o.Budget, "budget", time.Minute, "time after which no further race starts; 0 is no limit")
	f.StringVar(&o.Layers, "layers", "", "regular `expression` of layer names (default: all)")
	f.StringVar(&o.ISA, "isa", "", "instruction set to tune for: avx2, avx512, neon or sve (default: this machine's best of the spec's)")
	f.BoolVar(&o.Again, "again", false, "measure what has a record already; what it chose stays unless another is faster beyond doubt")
	f.BoolVar(&o.Calibrate, "calibrate", false, "measure again what a core can do: the cost model's figures, printed beside the built-in ones")
	f.BoolVar(&oracle, "oracle", false, "judge the race by exhaustive measurement, beside a naive policy; writes no records")
	f.IntVar(&o.Repeat, "repeat", 3, "--oracle: how often each race is repeated")
	f.BoolVar(&o.Between, "between", false, "--oracle: also at batches between those that a plan compares")
	f.BoolVar(&o.JSON, "json", false, "--oracle: print JSON")
	f.StringSliceVar(&o.From, "from", nil, "--oracle: judge what these `files` hold, printed with --json, and measure nothing")
	f.BoolVar(&compile, "compile-only", false, "compile the candidates and print where they are: a machine without Go tunes with a copy")
	f.StringVar(&o.Workers, "workers", "", "`folder` of compiled candidates (default: in the user's cache)")
	f.BoolVar(&check, "check", false, "measure the committed choices again and report those that are no longer the best")
	cmd.MarkFlagsMutuallyExclusive("oracle", "check", "compile-only")
	sourceFlags(cmd, &o.Source)
	oneOf(cmd, "isa", "avx2", "avx512", "neon", "sve")
	cmd.AddCommand(tuneExplainCmd(c))
	return cmd
}

func tuneExplainCmd(c tool.Console) *cobra.Command {
	var o tool.TuneOptions
	cmd := &cobra.Command{
		Use:   "explain LAYER [SPEC]",
		Short: "Print the race behind a layer's records and why the winner wins",
		Args:  cobra.RangeArgs(1, 2),
		Example: `  sparsegen tune explain ffn
  sparsegen tune explain 'ffn.*' model.sg`,
		RunE: func(_ *cobra.Command, args []string) error {
			o.Layers, o.Spec = args[0], first(args[1:])
			return tool.TuneExplain(c, o)
		},
	}
	cmd.Flags().StringVar(&o.ISA, "isa", "", "instruction set: avx2, avx512, neon or sve (default: this machine's best of the spec's)")
	sourceFlags(cmd, &o.Source)
	oneOf(cmd, "isa", "avx2", "avx512", "neon", "sve")
	return cmd
}
