package main

import (
	"github.com/spf13/cobra"

	"github.com/sparsegen/sparsegen/tool"
)

func vetCmd(c tool.Console) *cobra.Command {
	var o tool.VetOptions
	cmd := &cobra.Command{
		Use:   "vet [SPEC]",
		Short: "Check a spec and its weights",
		Long: `Check a spec, and where its weight files are at hand, that every tensor has the
shape and the pattern that the spec says. Exit status 1 where something is wrong.

--format json prints one object a line: file, line, col, code, message, hint.
--format github prints annotations for a workflow.`,
		Example: `  sparsegen vet
  sparsegen vet --format github model.sg`,
		RunE: func(cmd *cobra.Command, args []string) error {
			o.Spec = first(args)
			return tool.Vet(cmd.Context(), c, o)
		},
	}
	specArg(cmd)
	cmd.Flags().StringVar(&o.Format, "format", "text", "text, json or github")
	oneOf(cmd, "format", "text", "json", "github")
	return cmd
}
