package main

import (
	"github.com/spf13/cobra"

	"github.com/sparsegen/sparsegen/tool"
)

func runCmd(c tool.Console) *cobra.Command {
	var o tool.RunOptions
	cmd := &cobra.Command{
		Use:   "run [SPEC] [--in x.npy | --random ROWS] [--out y.npy] [--check]",
		Short: "Compile a layer, load it and run it once",
		Long: `Compile a layer into a program of its own, load its weights and run it once.
Inputs and outputs are float32 .npy files, one for each input and output of the
layer in the spec's order. --random makes inputs up, the same every time.

With --target ptx:sim, or ptx:sim_80, the layer runs on a simulated GPU, which
executes the text of the kernels of sm_90a, or sm_80: slowly, and where a kernel
has a mistake it ends with the mistake's name and line.

--check compares the result with the float64 reference: every element must lie
within its error bound. Exit status 1 where one does not.`,
		Example: `  sparsegen run --random 16 --check
  sparsegen run --layer ffn --in x.npy --out y.npy --check
  sparsegen run model.sg --layer ffn --in x.npy --out y.npy --isa generic
  sparsegen run --target ptx:sim --dtype bf16 --random 8 --check`,
		RunE: func(cmd *cobra.Command, args []string) error {
			o.Spec = first(args)
			return tool.Run(cmd.Context(), c, o)
		},
	}
	specArg(cmd)
	f := cmd.Flags()
	layerFlag(cmd, &o.Layer, "layer (default: the spec's only one)")
	f.StringArrayVarP(&o.In, "in", "i", nil, "input `file`; repeat for several inputs")
	f.IntVar(&o.Random, "random", 0, "`rows` of normally distributed inputs in place of --in")
	f.StringArrayVarP(&o.Out, "out", "o", nil, "output `file`; repeat for several outputs")
	f.StringVar(&o.ISA, "isa", "", "cap the instruction set: generic, avx2, avx512, neon or sve")
	sourceFlags(cmd, &o.Source)
	f.BoolVar(&o.Check, "check", false, "compare with the float64 reference")
	oneOf(cmd, "isa", "generic", "avx2", "avx512", "neon", "sve")
	return cmd
}
