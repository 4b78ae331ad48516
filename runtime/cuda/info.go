package cuda

import (
	"errors"

	"github.com/sparsegen/sparsegen/runtime/gpu"
)

// probe is a kernel that does nothing, whose occupancy is the device's.
const probe = `.version 8.0
.target sm_90
.address_size 64
.visible .entry probe() { ret; }
`

// clusterSizes are those that gpu.Device has counts of.
var clusterSizes = [...]uint32{2, 4}

// Info describes the device, as a plan wants it. How many clusters fit depends on
// which multiprocessors of the chip are disabled, and only a compiled kernel can
// ask for it: the first call compiles one.
func (d *Device) Info() (gpu.Device, error) {
	d.probed.Do(func() {
		if d.info.AtLeast(9, 0) {
			d.clusters, d.probeErr = d.countClusters()
		}
	})
	info := d.info
	info.MaxClusters2, info.MaxClusters4 = d.clusters[0], d.clusters[1]
	return info, d.probeErr
}

func (d *Device) countClusters() (counts [len(clusterSizes)]int, err error) {
	mod, err := d.Load(probe, LoadOptions{})
	if err != nil {
		return counts, err
	}
	defer func() { err = errors.Join(err, mod.Close()) }()
	fn, err := mod.Function("probe")
	if err != nil {
		return counts, err
	}
	for i, size := range clusterSizes {
		counts[i], err = fn.MaxClusters(gpu.Launch{
			Grid: [3]uint32{size * uint32(d.info.SMs), 1, 1}, Block: [3]uint32{128, 1, 1}, Cluster: [3]uint32{size, 1, 1},
			Shared: uint32(fn.SharedMax),
		})
		if err != nil {
			return counts, err
		}
	}
	return counts, nil
}
