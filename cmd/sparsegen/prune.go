package main

import (
	"encoding/json"
	"fmt"
	"io"
	"regexp"

	"github.com/spf13/cobra"

	"github.com/sparsegen/sparsegen/internal/weights"
	"github.com/sparsegen/sparsegen/patterns"
	"github.com/sparsegen/sparsegen/prune"
	"github.com/sparsegen/sparsegen/tool"
)

func pruneCmd(c tool.Console) *cobra.Command {
	var pattern, tensors, orientation string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "prune IN OUT.safetensors --pattern P",
		Short: "Prune weights by magnitude, to try a pattern out",
		Long: `Keep the largest magnitudes that a pattern allows in each weight matrix of IN and
write the model to OUT. There is no training, so accuracy drops; the report says
how much of each matrix's magnitude is kept, and which tensors were left and why.

Without --tensors, matrices of linear layers and 1×1 convolutions are pruned that
the pattern can cover. Embedding tables (told by their names) and convolutions
with a window are left; --tensors names them.`,
		Example: `  sparsegen prune dense.safetensors sparse.safetensors --pattern 'nm(2,4)'
  sparsegen prune model.json s.safetensors -p 'unstructured(sparsity=0.9)' -t 'ffn.*kernel'`,
		Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			p, err := patterns.Parse(pattern)
			if err != nil {
				return fmt.Errorf("--pattern: %w", err)
			}
			o := prune.Options{Pattern: p, Progress: c.Progress("prune")}
			if o.Orientation, err = weights.ParseOrientation(orientation); err != nil {
				return err
			}
			if tensors != "" {
				if o.Tensors, err = regexp.Compile(tensors); err != nil {
					return fmt.Errorf("--tensors: %w", err)
				}
			}
			r, err := prune.File(args[0], args[1], o)
			if err != nil {
				return err
			}
			if asJSON {
				return printJSON(c.Out, r)
			}
			return r.WriteText(c.Out)
		},
	}
	f := cmd.Flags()
	f.StringVarP(&pattern, "pattern", "p", "", "`pattern`, such as 'nm(2,4)' or 'unstructured(sparsity=0.9)' (required)")
	f.StringVarP(&tensors, "tensors", "t", "", "`regexp` of tensor names (default: every matrix of a linear layer that the pattern can cover)")
	orientationFlag(cmd, &orientation)
	f.BoolVar(&asJSON, "json", false, "print the report as JSON")
	if err := cmd.MarkFlagRequired("pattern"); err != nil {
		panic(err) // the flag is defined above
	}
	return cmd
}

func orientationFlag(cmd *cobra.Command, value *string) {
	cmd.Flags().StringVar(value, "orientation", "auto", "which axis of a matrix is the output: auto, out-in or in-out")
}

func printJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}
