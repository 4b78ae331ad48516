package main

import (
	"github.com/spf13/cobra"

	"github.com/sparsegen/sparsegen/tool"
)

func fmtCmd(c tool.Console) *cobra.Command {
	var o tool.FormatOptions
	cmd := &cobra.Command{
		Use:   "fmt [SPEC...]",
		Short: "Rewrite specs in canonical form",
		Long: `Rewrite specs in canonical form, in place. Without an argument: the one spec
(*.sg) of this folder. Nothing is written unless every spec parses.`,
		Example: `  sparsegen fmt
  sparsegen fmt --check models/*.sg`,
		RunE: func(cmd *cobra.Command, args []string) error {
			o.Specs = args
			return tool.Format(cmd.Context(), c, o)
		},
	}
	specArg(cmd)
	cmd.Args = cobra.ArbitraryArgs
	cmd.Flags().BoolVar(&o.Check, "check", false, "print a diff instead of writing; exit 1 where there is one")
	return cmd
}
