package main

import (
	"fmt"
	"regexp"

	"github.com/spf13/cobra"

	"github.com/sparsegen/sparsegen/inspect"
	"github.com/sparsegen/sparsegen/internal/atomicfile"
	"github.com/sparsegen/sparsegen/internal/weights"
	"github.com/sparsegen/sparsegen/tool"
)

func inspectCmd(c tool.Console) *cobra.Command {
	var tensors, orientation, html string
	var asJSON, trials, all bool
	cmd := &cobra.Command{
		Use:   "inspect FILE...",
		Short: "Show what sparsity weights have",
		Long: `Show each tensor's shape, type and density, and which patterns a weight matrix
follows exactly or nearly. Reads safetensors, npy, TensorFlow.js (model.json and
its shards) and smtx topologies.

--trials also prunes each matrix to common patterns and states what each loses.
--html writes one offline page with a picture of every mask.
--json prints the report as JSON; its fields are those of inspect.Report.`,
		Example: `  sparsegen inspect model.safetensors
  sparsegen inspect model.json --tensors 'ffn.*kernel' --trials
  sparsegen inspect model.safetensors --html report.html`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			o := inspect.Options{Trials: trials, Pictures: html != "", Progress: c.Progress("inspect")}
			var err error
			if o.Orientation, err = weights.ParseOrientation(orientation); err != nil {
				return err
			}
			if tensors != "" {
				if o.Tensors, err = regexp.Compile(tensors); err != nil {
					return fmt.Errorf("--tensors: %w", err)
				}
			}
			r, err := inspect.Files(args, o)
			if err != nil {
				return err
			}
			if html != "" {
				if err := atomicfile.Write(html, r.WriteHTML); err != nil {
					return err
				}
				fmt.Fprintln(c.Log, "wrote", html)
			}
			if asJSON {
				return r.WriteJSON(c.Out)
			}
			return r.WriteText(c.Out, all)
		},
	}
	f := cmd.Flags()
	f.StringVarP(&tensors, "tensors", "t", "", "`regexp` of tensor names (default: all)")
	orientationFlag(cmd, &orientation)
	f.BoolVar(&trials, "trials", false, "also state what common patterns would lose")
	f.StringVar(&html, "html", "", "write a page with pictures to this `file`")
	f.BoolVarP(&all, "all", "a", false, "list every tensor, not only weight matrices")
	f.BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}
