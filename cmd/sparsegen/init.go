package main

import (
	"github.com/spf13/cobra"

	"github.com/sparsegen/sparsegen/tool"
)

func initCmd(c tool.Console) *cobra.Command {
	var o tool.InitOptions
	cmd := &cobra.Command{
		Use:   "init [DIR]",
		Short: "Write a starter spec and its go:generate lines",
		Long: `Write a starter into a folder: a spec (model.sg), a Go file with the go:generate
lines, and a test that runs the layer. Without weights of your own it makes a
small random model, so that everything works as it is.

With --weights the spec has a layer for each weight matrix of your file, embedding
tables aside, with the pattern that its zeros have now. Nothing is ever
overwritten.`,
		Example: `  sparsegen init
  sparsegen init ffn --weights model.safetensors`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.Dir = first(args)
			return tool.Init(cmd.Context(), c, o)
		},
	}
	f := cmd.Flags()
	f.StringVarP(&o.Weights, "weights", "w", "", "weight `file` to start from")
	orientationFlag(cmd, &o.Orientation)
	f.StringVar(&o.Package, "pkg", "", "package `name` (default: that of the folder's Go files, or the folder's)")
	return cmd
}
