package main

import (
	"github.com/spf13/cobra"

	"github.com/sparsegen/sparsegen/tool"
)

func reportCmd(c tool.Console) *cobra.Command {
	var o tool.ReportOptions
	cmd := &cobra.Command{
		Use:   "report [SPEC]",
		Short: "Draw a spec's patterns, plans, races and rooflines on a page",
		Long: `Write one HTML page, without scripts and without anything from a network: for
each layer on the CPU where its non-zeros are, its plan, the races that
sparsegen tune ran, and its rooflines.`,
		Example: `  sparsegen report
  sparsegen report model.sg -o report.html`,
		RunE: func(cmd *cobra.Command, args []string) error {
			o.Spec = first(args)
			return tool.Report(cmd.Context(), c, o)
		},
	}
	specArg(cmd)
	f := cmd.Flags()
	f.StringVarP(&o.Out, "out", "o", "", "output `file` (default: the spec's name with .html)")
	f.StringVar(&o.Layers, "layers", "", "regular `expression` of layer names (default: all)")
	f.StringVar(&o.ISA, "isa", "", "instruction set to plan for: avx2, avx512, neon or sve (default: this machine's best of the spec's)")
	sourceFlags(cmd, &o.Source)
	oneOf(cmd, "isa", "avx2", "avx512", "neon", "sve")
	return cmd
}
