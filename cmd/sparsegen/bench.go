package main

import (
	"time"

	"github.com/spf13/cobra"

	"github.com/sparsegen/sparsegen/tool"
)

func benchCmd(c tool.Console) *cobra.Command {
	var o tool.BenchOptions
	cmd := &cobra.Command{
		Use:   "bench [SPEC]",
		Short: "Time a spec's layers against dense kernels",
		Long: `Time every layer as planned for its patterns against the same layer on dense
kernels of sparsegen's own, in one process on one thread: both alternate in
short blocks, timed by the thread's CPU time. Prints medians and their spread.

--json prints an array of objects: layer, batch, isa (planned for), clock,
density, dense_ns, dense_spread, sparse_ns, sparse_spread, speedup, blocks. A
spread is the distance of the quartiles over the median.`,
		Example: `  sparsegen bench
  sparsegen bench model.sg --layer ffn --batch 1,8,128`,
		RunE: func(cmd *cobra.Command, args []string) error {
			o.Spec = first(args)
			return tool.Bench(cmd.Context(), c, o)
		},
	}
	specArg(cmd)
	f := cmd.Flags()
	layerFlag(cmd, &o.Layer, "layer (default: all)")
	f.IntSliceVarP(&o.Batches, "batch", "b", nil, "batch sizes (default: 1, 8, 32, 128 as far as the spec allows)")
	f.DurationVar(&o.Time, "time", 500*time.Millisecond, "time for each layer and batch")
	f.StringVar(&o.ISA, "isa", "", "cap the instruction set: generic, avx2, avx512, neon or sve")
	sourceFlags(cmd, &o.Source)
	f.BoolVar(&o.JSON, "json", false, "print JSON")
	oneOf(cmd, "isa", "generic", "avx2", "avx512", "neon", "sve")
	return cmd
}
