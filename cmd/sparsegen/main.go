// Command sparsegen compiles kernels for sparse neural networks.
//
// A spec (.sg) names the layers of a model and where their weights may be
// non-zero. sparsegen gen writes the kernels as Go and Go assembly into a
// package of yours, sparsegen pack writes the weights in the order in which the
// kernels read them, and package runtime runs both. The usual line in a package
// is
//
//	//go:generate go tool sparsegen gen
//
// Exit status: 0 done, 1 findings (drift, a check that failed), 2 a fault of
// usage or input.
//
// What a command does is package tool's, inspect's or prune's: this package must
// not import codegen, asm, ptx, runtime or autotune.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"

	"github.com/spf13/cobra"

	"github.com/sparsegen/sparsegen/ir"
	"github.com/sparsegen/sparsegen/tool"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	root := newRoot(console(os.Stdout, os.Stderr))
	err := root.ExecuteContext(ctx)
	os.Exit(report(os.Stderr, err))
}

// report prints an error and returns the exit status.
func report(w io.Writer, err error) int {
	if err == nil {
		return 0
	}
	var spec ir.ErrorList
	var findings *tool.Findings
	switch {
	case errors.As(err, &findings):
		if findings.Summary != "" {
			fmt.Fprintln(w, findings.Summary)
		}
		return 1
	case errors.As(err, &spec):
		if err := spec.WriteText(w); err != nil {
			return 2
		}
	default:
		fmt.Fprintln(w, "sparsegen:", err)
	}
	return 2
}

func console(out, log *os.File) tool.Console {
	return tool.Console{Out: out, Log: log, Live: isTerminal(log)}
}

// isTerminal tells a terminal from a file or a pipe. A terminal that says it is
// dumb cannot redraw a line.
func isTerminal(f *os.File) bool {
	st, err := f.Stat()
	return err == nil && st.Mode()&os.ModeCharDevice != 0 && os.Getenv("TERM") != "dumb"
}

func newRoot(c tool.Console) *cobra.Command {
	root := &cobra.Command{
		Use:   "sparsegen",
		Short: "Compile kernels for sparse neural networks",
		Long: `sparsegen compiles kernels for sparse neural networks.

A spec (model.sg) names layers and where their weights may be non-zero;
sparsegen writes Go and Go assembly for them, and PTX for NVIDIA GPUs. No C
compiler, no cgo, no CUDA toolkit.`,
		Example: `  sparsegen demo                        the whole way on a real model
  sparsegen init                        a starter spec in this folder
  sparsegen inspect model.safetensors   what sparsity is there
  sparsegen gen                         kernels from the folder's spec`,
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.SetOut(c.Out)
	root.SetErr(c.Log)
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return fmt.Errorf("%w; see `%s --help`", err, cmd.CommandPath())
	})
	root.AddGroup(
		&cobra.Group{ID: "start", Title: "Start:"},
		&cobra.Group{ID: "spec", Title: "Work on a spec:"},
		&cobra.Group{ID: "weights", Title: "Work on weights:"},
		&cobra.Group{ID: "measure", Title: "Try and measure:"},
	)
	add := func(group string, cmds ...*cobra.Command) {
		for _, cmd := range cmds {
			cmd.GroupID = group
			root.AddCommand(cmd)
		}
	}
	add("start", initCmd(c), demoCmd(c))
	add("spec", fmtCmd(c), vetCmd(c), genCmd(c), packCmd(c), explainCmd(c))
	add("weights", inspectCmd(c), pruneCmd(c))
	add("measure", runCmd(c), tuneCmd(c), reportCmd(c), benchCmd(c), deviceCmd(c), tortureCmd(c))
	root.AddCommand(versionCmd(c))
	return root
}

// specArg completes and reads the one optional SPEC argument.
func specArg(cmd *cobra.Command) {
	cmd.Args = cobra.MaximumNArgs(1)
	cmd.ValidArgsFunction = func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		return []string{"sg"}, cobra.ShellCompDirectiveFilterFileExt
	}
}

// sourceFlags are the flags about where weights come from.
func sourceFlags(cmd *cobra.Command, o *tool.Source) {
	f := cmd.Flags()
	f.StringArrayVarP(&o.Weights, "weights", "w", nil, "weight `file` instead of the spec's; may be repeated")
	f.BoolVar(&o.Prune, "prune", false, "prune weights to their patterns instead of refusing those that do not fit")
	f.StringVar(&o.Machine, "machine", "", "kind of `machine` whose records decide, such as amd-25-1 (default: this one)")
	targetFlags(cmd, &o.Retarget)
}

// targetFlags are the flags about processors.
func targetFlags(cmd *cobra.Command, o *tool.Retarget) {
	f := cmd.Flags()
	f.StringVar(&o.Targets, "target", "", "targets instead of the spec's, such as 'amd64(avx2, avx512)' or ptx:sm_90a")
	f.StringVar(&o.DType, "dtype", "", "element type, bf16 or f16, of layers that the spec has in f32, for a GPU")
	oneOf(cmd, "target", "amd64:avx2", "amd64:avx512", "arm64:neon", "arm64:sve", "ptx:sm_90a", "ptx:sm_80", "ptx:sim", "ptx:sim_80")
	oneOf(cmd, "dtype", "bf16", "f16")
}

// layerFlag is --layer, which completes to the layers of the spec.
func layerFlag(cmd *cobra.Command, value *string, usage string) {
	cmd.Flags().StringVarP(value, "layer", "l", "", usage)
	complete(cmd, "layer", func(args []string) []string { return tool.LayerNames(first(args)) })
}

// complete gives a flag's values to the shell.
func complete(cmd *cobra.Command, flag string, values func(args []string) []string) {
	err := cmd.RegisterFlagCompletionFunc(flag, func(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		return values(args), cobra.ShellCompDirectiveNoFileComp
	})
	if err != nil {
		panic(err) // the flag was not defined before
	}
}

// oneOf completes a flag to fixed values.
func oneOf(cmd *cobra.Command, flag string, values ...string) {
	complete(cmd, flag, func([]string) []string { return values })
}

// first is the first argument, or "".
func first(args []string) string {
	if len(args) == 0 {
		return ""
	}
	return args[0]
}
