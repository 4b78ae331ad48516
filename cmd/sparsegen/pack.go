package main

import (
	"github.com/spf13/cobra"

	"github.com/sparsegen/sparsegen/tool"
)

func packCmd(c tool.Console) *cobra.Command {
	var o tool.PackOptions
	cmd := &cobra.Command{
		Use:   "pack [SPEC]",
		Short: "Pack weights into one .sgp file for the runtime",
		Long: `Read the weights that a spec names, check that they fit its patterns, choose each
layer's plan, and write them in the order in which the kernels read them.

--prune drops what a weight holds outside its pattern, smallest magnitudes first,
instead of refusing it.`,
		Example: `  sparsegen pack
  sparsegen pack model.sg -o model.sgp`,
		RunE: func(cmd *cobra.Command, args []string) error {
			o.Spec = first(args)
			return tool.Pack(cmd.Context(), c, o)
		},
	}
	specArg(cmd)
	f := cmd.Flags()
	f.StringVarP(&o.Out, "out", "o", "", "output `file` (default: the spec's name with .sgp)")
	f.StringVar(&o.ISA, "isa", "", "instruction set to plan for: avx2, avx512, neon or sve (default: this machine's best of the spec's)")
	sourceFlags(cmd, &o.Source)
	oneOf(cmd, "isa", "avx2", "avx512", "neon", "sve")
	return cmd
}
