package main

import (
	"github.com/spf13/cobra"

	"github.com/sparsegen/sparsegen/tool"
)

func explainCmd(c tool.Console) *cobra.Command {
	var o tool.ExplainOptions
	cmd := &cobra.Command{
		Use:   "explain [SPEC]",
		Short: "Show what becomes of a layer",
		Long: `Show what becomes of a spec's layers:

  ir      the spec in canonical form
  plan    which kernels run for which batch, and why (needs the weights)
  asm     the assembly of the kernels
  bytes   the kernels' machine code, each instruction beside its bytes
  proof   what was proved of each kernel: memory, loops, instructions at most
  ptx     the kernels for a GPU, with comments on tiles and stages
  trace   what the warps and copies of the first blocks do to each other where the
          layer runs on 8 rows on a simulated GPU, and how its kernels use memory`,
		Example: `  sparsegen explain --layer ffn
  sparsegen explain --layer ffn --print asm --isa avx2
  sparsegen explain --target ptx:sm_90a --dtype bf16`,
		RunE: func(cmd *cobra.Command, args []string) error {
			o.Spec = first(args)
			return tool.Explain(cmd.Context(), c, o)
		},
	}
	specArg(cmd)
	f := cmd.Flags()
	layerFlag(cmd, &o.Layer, "layer (default: all)")
	f.StringVarP(&o.Print, "print", "p", "plan", "ir, plan, asm, bytes, proof, ptx or trace")
	f.StringVar(&o.ISA, "isa", "", "plan: instruction set to plan for; asm, bytes, proof: only its kernels")
	sourceFlags(cmd, &o.Source)
	oneOf(cmd, "isa", "avx2", "avx512", "neon", "sve")
	oneOf(cmd, "print", "ir", "plan", "asm", "bytes", "proof", "ptx", "trace")
	return cmd
}
