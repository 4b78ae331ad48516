package tool

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/sparsegen/sparsegen/runtime/cuda"
)

// DeviceOptions are the options of Device.
type DeviceOptions struct {
	JSON bool
	// Load opens the driver; nil stands for this machine's.
	Load func() (*cuda.System, error)
}

// DeviceInfo is what the driver says of one GPU.
type DeviceInfo struct {
	Number            int    `json:"number"` // in the driver's order
	Name              string `json:"name"`
	ComputeCapability string `json:"compute_capability"`
	Target            string `json:"target"` // of the kernels that suit it best, "" for none
	Multiprocessors   int    `json:"multiprocessors"`
	MemoryBytes       int64  `json:"memory_bytes"`
	FreeBytes         int64  `json:"free_bytes"`
	SharedBytes       int    `json:"shared_bytes"` // that a block may have
	L2Bytes           int64  `json:"l2_bytes"`
	Clusters2         int    `json:"clusters_of_2"` // of two blocks that fit at a time; 0 where there are none
	Clusters4         int    `json:"clusters_of_4"`
	CUDA              string `json:"driver_cuda"`     // version that the driver supports
	Cache             string `json:"cache,omitempty"` // folder of compiled kernels
	Error             string `json:"error,omitempty"` // why the GPU cannot be opened
}

// Device says what the driver of this machine offers.
func Device(_ context.Context, c Console, o DeviceOptions) error {
	load := o.Load
	if load == nil {
		load = cuda.Load
	}
	sys, err := load()
	if err != nil {
		return err
	}
	list := make([]DeviceInfo, sys.Count())
	for i := range list {
		if list[i], err = deviceInfo(sys, i); err != nil {
			return err
		}
	}
	if o.JSON {
		enc := json.NewEncoder(c.Out)
		enc.SetIndent("", "  ")
		return enc.Encode(list)
	}
	return printDevices(c.Out, list)
}

func deviceInfo(sys *cuda.System, i int) (info DeviceInfo, err error) {
	d, err := sys.Info(i)
	if err != nil {
		return info, err
	}
	info = DeviceInfo{
		Number: i, Name: d.Name, ComputeCapability: fmt.Sprintf("%d.%d", d.CC[0], d.CC[1]), Multiprocessors: d.SMs,
		MemoryBytes: d.MemoryBytes, SharedBytes: d.SharedMax, L2Bytes: d.L2Bytes, CUDA: fmt.Sprintf("%d.%d", d.Driver/1000, d.Driver%1000/10),
	}
	switch {
	case d.CC == [2]int{9, 0}:
		info.Target = "sm_90a"
	case d.AtLeast(8, 0):
		info.Target = "sm_80"
	}
	if cache := cuda.DefaultCache(); cache != nil {
		info.Cache = cache.Dir()
	}
	dev, err := sys.Open(i)
	if err != nil {
		info.Error = err.Error()
		return info, nil
	}
	defer func() { err = errors.Join(err, dev.Close()) }()
	if d, err = dev.Info(); err == nil {
		info.Clusters2, info.Clusters4 = d.MaxClusters2, d.MaxClusters4
		info.FreeBytes, _, err = dev.MemInfo()
	}
	if err != nil {
		info.Error = err.Error()
	}
	return info, nil
}

func printDevices(w io.Writer, list []DeviceInfo) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, d := range list {
		target := "ptx:" + d.Target
		if d.Target == "" {
			target = "none, kernels need compute capability 8.0"
		}
		clusters := "none"
		if d.Clusters2 > 0 {
			clusters = fmt.Sprintf("%d of two blocks, %d of four", d.Clusters2, d.Clusters4)
		}
		fmt.Fprintf(tw, "device %d\t%s\n", d.Number, d.Name)
		for _, row := range [][2]string{
			{"compute capability", d.ComputeCapability},
			{"target", target},
			{"multiprocessors", fmt.Sprint(d.Multiprocessors)},
			{"memory", fmt.Sprintf("%s, %s free", size(int(d.MemoryBytes)), size(int(d.FreeBytes)))},
			{"shared memory a block", size(d.SharedBytes)},
			{"L2 cache", size(int(d.L2Bytes))},
			{"clusters", clusters},
			{"driver", "CUDA " + d.CUDA},
			{"compiled kernels", d.Cache},
			{"cannot be opened", d.Error},
		} {
			if row[1] != "" {
				fmt.Fprintf(tw, "  %s\t%s\n", row[0], row[1])
			}
		}
	}
	return tw.Flush()
}
