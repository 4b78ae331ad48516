package kernels

import (
	"slices"

	"github.com/sparsegen/sparsegen/ptx"
	"github.com/sparsegen/sparsegen/runtime/gpu"
)

// ChooseGEMV fills in how the product is computed (Lanes, Warps, Rows, Items,
// Split, Combine) for a problem on a device; what is computed stays as it is in c.
func ChooseGEMV(c GEMV, p gpu.Problem, d gpu.Device) GEMV {
	c.Tokens = p.Tokens
	c.Warps = 8
	// Registers: 4·Rows of weights and perLane·Tokens of sums.
	c.Rows = 8
	if c.Tokens > 2 {
		c.Rows = 4
	}
	if c.Target.Has(ptx.SM90()) {
		return c.byCluster(p, d)
	}
	c.Lanes, c.Combine = 32, ByCounter
	return c.bySlices(p, d)
}

// byCluster takes the widest rows with which the blocks, up to eight to a tile,
// give every multiprocessor two. Narrower rows than those of 32 lanes come in
// twice the number at a time; on an H100, 8 of them for each lane were 10 % slower
// than 4.
func (c GEMV) byCluster(p gpu.Problem, d gpu.Device) GEMV {
	c.Combine = ByCluster
	c.Split = 8
	for c.Split > 1 && p.In < c.Split*minSlice {
		c.Split /= 2
	}
	for _, c.Lanes = range []int{32, 16, 8} {
		if c.blocks(p) >= 2*d.SMs*9/10 && c.clusterShare() {
			break
		}
	}
	if c.Lanes < 32 {
		c.Rows = 4
	}
	// A load of a warp covers several narrow rows; more than 8 rows in flight a
	// warp cost blocks: 9 % of the time on an H100.
	c.Rows = min(c.Rows, max(4, 8/c.groups()))
	return c.items(p)
}

// bySlices cuts In so that about four blocks a multiprocessor share the tiles.
func (c GEMV) bySlices(p gpu.Problem, d gpu.Device) GEMV {
	c.Split = 1
	tiles := c.blocks(p)
	c.Split = min(max(1, (4*d.SMs+tiles-1)/tiles), max(1, p.In/minSlice), maxSplit)
	return c.items(p)
}

const (
	minSlice = 128 // inputs of a block, below which its fixed costs dominate
	maxSplit = 64
)

// blocks is the number of blocks of the launch.
func (c GEMV) blocks(p gpu.Problem) int {
	return (p.Out + c.outputs() - 1) / c.outputs() * c.Split
}

// clusterShare reports whether each block of the cluster has a vector to finish.
func (c GEMV) clusterShare() bool { return c.outputs()/c.Split >= 4 }

// items makes the chunk as long as the slice, if registers allow.
func (c GEMV) items(p gpu.Problem) GEMV {
	slice := (p.In + c.Split - 1) / c.Split
	c.Items = min(max(1, (slice+c.threads()-1)/c.threads()), 8)
	if c.Tokens > 2 {
		c.Items = min(c.Items, 2)
	}
	return c
}

// GEMVSpace lists configurations worth timing for a problem on a device, the one
// that ChooseGEMV takes first. They differ from c in how, not in what they
// compute.
func GEMVSpace(c GEMV, p gpu.Problem, d gpu.Device) []GEMV {
	space := []GEMV{ChooseGEMV(c, p, d)}
	add := func(c GEMV) {
		if c = c.items(p); c.Check() == nil && !slices.Contains(space, c) {
			space = append(space, c)
		}
	}
	c = space[0]
	for _, c.Lanes = range []int{32, 16, 8} {
		for _, c.Warps = range []int{8, 4, 16} {
			for _, c.Rows = range []int{8, 4} {
				c.Combine = ByCluster
				for _, c.Split = range []int{8, 4} {
					if c.Target.Has(ptx.SM90()) {
						add(c)
					}
				}
				c.Combine = ByCounter
				for _, slice := range []int{256, 512} {
					c.Split = max(1, p.In/slice)
					add(c)
				}
			}
		}
	}
	return space
}
