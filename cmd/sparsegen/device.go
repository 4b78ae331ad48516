package main

import (
	"github.com/spf13/cobra"

	"github.com/sparsegen/sparsegen/tool"
)

func deviceCmd(c tool.Console) *cobra.Command {
	var o tool.DeviceOptions
	cmd := &cobra.Command{
		Use:   "device",
		Short: "Say which GPUs the driver offers",
		Long: `Ask this machine's NVIDIA driver for its GPUs: name, compute capability and the
target that suits it, multiprocessors, memory, clusters, the CUDA version that the
driver supports, and the folder in which compiled kernels are kept. No toolkit is
needed. Without a driver that is an error, and the exit status is 2.

--json prints an array of objects: number, name, compute_capability, target,
multiprocessors, memory_bytes, free_bytes, shared_bytes, l2_bytes, clusters_of_2,
clusters_of_4, driver_cuda, cache, and error where a GPU cannot be opened.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return tool.Device(cmd.Context(), c, o) },
	}
	cmd.Flags().BoolVar(&o.JSON, "json", false, "print JSON")
	return cmd
}
