package main

import (
	"flag"

	"github.com/spf13/cobra"

	"github.com/sparsegen/sparsegen/tool"
)

func tortureCmd(c tool.Console) *cobra.Command {
	var o tool.TortureOptions
	cmd := &cobra.Command{
		Use:   "torture",
		Short: "Try to break the kernels with random cases",
		Long: `Compile a program with every kernel and run random cases on it: spec, pattern,
shape, configuration, batch and instruction set, with structures and values that
hurt. Each level must give the bits of pure Go, and pure Go must lie within the
error bound of float64; inputs, outputs and weights end at inaccessible pages.

A case that agrees but could not tell wrong from right is counted as mistrusted.
A failure prints the command that runs the case again, and a smaller case. Exit
status 1 where a case failed.

--program writes the program, which takes the same flags, needs no Go and runs
on another machine.`,
		Example: `  sparsegen torture --cases 200000
  sparsegen torture --time 10m --isa avx512 --family deltaTile
  sparsegen torture --seed 7 --case 1234 --isa avx2
  sparsegen torture --program torture-avx512`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return tool.Torture(cmd.Context(), c, o) },
	}
	f := cmd.Flags()
	var shared flag.FlagSet
	o.Options.Flags(&shared)
	f.AddGoFlagSet(&shared)
	f.StringVar(&o.Program, "program", "", "write the program to this `file` instead of running it")
	f.StringVar(&o.Arch, "arch", "", "architecture of the program, such as arm64 (default: this machine's)")
	f.StringVar(&o.Exec, "exec", "", "`command` that runs the program, such as qemu-aarch64-static")
	return cmd
}
