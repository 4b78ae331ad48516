package main

import (
	"os"
	"runtime/debug"

	"github.com/spf13/cobra"

	"github.com/sparsegen/sparsegen/tool"
)

func genCmd(c tool.Console) *cobra.Command {
	var o tool.GenOptions
	cmd := &cobra.Command{
		Use:   "gen [SPEC]",
		Short: "Write the kernels of a spec",
		Long: `Write the kernels that a spec's layers need into a Go package: sparsegen_*.go and
sparsegen_*.s. The spec alone decides what is written; weight files are looked at
only for shapes that the spec leaves open. Files whose content stays the same are
left alone, files of an earlier run that are no longer needed go. A failed run
changes nothing. No assembly is written that is not proved to stay within its
arguments in every call (sparsegen explain --print proof).

Layers in bf16 or f16 run on a GPU where the spec has a target ptx(sm_90a) or
ptx(sm_80), or --target gives it: their kernels are written as sparsegen_*.ptx.`,
		Example: `  //go:generate go tool sparsegen gen         the usual line in a package
  sparsegen gen --check                       in CI: a diff and exit 1 on drift
  sparsegen gen --out kernels --target 'amd64(avx2)'
  sparsegen gen --target ptx:sm_90a           kernels for a GPU`,
		RunE: func(cmd *cobra.Command, args []string) error {
			o.Spec = first(args)
			if o.Package == "" {
				o.Fallback = os.Getenv("GOPACKAGE") // go generate sets it
			}
			if os.Getenv("GOGC") == "" {
				// The heap is small and short-lived; the collector ran every few milliseconds.
				debug.SetGCPercent(400)
			}
			return tool.Gen(cmd.Context(), c, o)
		},
	}
	specArg(cmd)
	f := cmd.Flags()
	f.BoolVar(&o.Check, "check", false, "print a diff instead of writing; exit 1 where there is one")
	f.BoolVarP(&o.Verbose, "verbose", "v", false, "say how many kernels were proved safe, and in what time")
	f.StringVarP(&o.Out, "out", "o", "", "output `folder` (default: the spec's)")
	f.StringVar(&o.Package, "pkg", "", "package `name` (default: that of the folder's Go files, or the folder's)")
	targetFlags(cmd, &o.Retarget)
	return cmd
}
