package cudatest

import (
	"encoding/binary"
	"errors"
	"unsafe"

	"github.com/sparsegen/sparsegen/runtime/cuda/internal/driver"
)

// What every simulated kernel has.
const (
	maxThreads   = 512 // a block
	staticShared = 1024
)

// ErrFault is what a Kernel returns to fault as a bad address does.
var ErrFault = errors.New("illegal address")

// Kernel is what a kernel does, once for the whole grid. It runs when it is
// launched, or when the graph is that it was captured into. After an error all
// work fails, as with the real driver: with CUDA_ERROR_ILLEGAL_ADDRESS for
// ErrFault, else with CUDA_ERROR_LAUNCH_FAILED.
type Kernel func(l *Launch) error

// Launch is what a kernel sees.
type Launch struct {
	Grid, Block, Cluster [3]uint32
	Shared               uint32
	PDL                  bool
	Params               [][]byte // copies of the parameters
	ctx                  *context
}

// U32 returns parameter i as a word.
func (l *Launch) U32(i int) uint32 { return binary.LittleEndian.Uint32(l.Params[i]) }

// U64 returns parameter i as 64 bits.
func (l *Launch) U64(i int) uint64 { return binary.LittleEndian.Uint64(l.Params[i]) }

// Mem returns n bytes of device memory, or nil where they are not allocated.
func (l *Launch) Mem(addr, n uint64) []byte { return l.ctx.mem(addr, n) }

// Map is a tensor map as it was encoded.
type Map struct {
	Type          uint32
	Addr          uint64
	Dims, Strides []uint64
	Box           []uint32
	Swizzle, L2   uint32
}

// Map returns parameter i as a tensor map.
func (l *Launch) Map(i int) (m Map) {
	w := func(k int) uint32 { return binary.LittleEndian.Uint32(l.Params[i][4*k:]) }
	q := func(k int) uint64 { return binary.LittleEndian.Uint64(l.Params[i][4*k:]) }
	rank := int(w(0) & 7)
	m = Map{Type: w(0) >> 24, Swizzle: w(0) >> 8 & 15, L2: w(0) >> 16 & 15, Addr: q(1)}
	for j := range rank {
		m.Dims, m.Box = append(m.Dims, uint64(w(3+j))), append(m.Box, w(8+j))
	}
	for j := range rank - 1 {
		m.Strides = append(m.Strides, q(13+2*j))
	}
	return m
}

func (f *Fake) bindLaunch(d *driver.Driver) {
	d.TensorMapEncode = f.encode
	d.OccupancyBlocks = func(n *int32, fn uintptr, block int32, shared uint64) driver.Result {
		return f.run("cuOccupancyMaxActiveBlocksPerMultiprocessor", func(c *context) driver.Result {
			_, r := find[*function](f, fn)
			*n = min(2048/block, int32(c.dev.SharedMax/(int(shared)+staticShared)))
			return r
		})
	}
	d.OccupancyClusters = func(n *int32, fn uintptr, cfg *driver.LaunchConfig) driver.Result {
		return f.run("cuOccupancyMaxActiveClusters", func(c *context) driver.Result {
			if _, r := find[*function](f, fn); r != driver.Success {
				return r
			}
			l := Launch{Cluster: [3]uint32{1, 1, 1}}
			if r := l.read(cfg); r != driver.Success {
				return r
			}
			*n = int32(c.dev.Clusters[l.Cluster[0]*l.Cluster[1]*l.Cluster[2]])
			return driver.Success
		})
	}
	d.LaunchKernel = func(cfg *driver.LaunchConfig, fn uintptr, params, extra *unsafe.Pointer) driver.Result {
		f.mu.Lock()
		defer f.mu.Unlock()
		c, r := f.here("cuLaunchKernelEx")
		if r != driver.Success {
			return r
		}
		k, r := find[*function](f, fn)
		if r != driver.Success {
			return r
		}
		s, r := find[*stream](f, cfg.Stream)
		if r != driver.Success {
			return r
		}
		var head Launch
		if r := head.read(cfg); r != driver.Success {
			return r
		}
		if head.Shared > uint32(k.dynamic) {
			return driver.ErrInvalidValue
		}
		work := f.Kernels[k.name]
		if work == nil && s.capture == nil {
			return driver.Success
		}
		l := &Launch{Grid: head.Grid, Block: head.Block, Cluster: head.Cluster, Shared: head.Shared, PDL: head.PDL, ctx: c}
		for i, p := range k.params {
			at := unsafe.Slice(params, len(k.params))[i]
			l.Params = append(l.Params, append([]byte(nil), unsafe.Slice((*byte)(at), p.size)...))
		}
		return f.submit(c, s, func(c *context) driver.Result {
			if work != nil {
				f.spoil(work(l))
			}
			return driver.Success
		})
	}
}

// spoil makes a fault of the error that a kernel returned; the launch itself
// succeeds.
func (f *Fake) spoil(err error) {
	switch {
	case err == nil:
	case errors.Is(err, ErrFault):
		f.fault = driver.ErrIllegalAddress
	default:
		f.fault = driver.ErrLaunchFailed
	}
}

func (l *Launch) read(cfg *driver.LaunchConfig) driver.Result {
	l.Grid, l.Block, l.Shared = cfg.Grid, cfg.Block, cfg.Shared
	if cfg.NumAttrs > 0 {
		for _, a := range unsafe.Slice(cfg.Attrs, cfg.NumAttrs) {
			switch a.ID {
			case driver.AttrClusterDim:
				l.Cluster = [3]uint32(a.Value[:3])
			case driver.AttrPDL:
				l.PDL = a.Value[0] != 0
			default:
				return driver.ErrInvalidValue
			}
		}
	}
	threads := uint64(1)
	for i := range 3 {
		if l.Grid[i] == 0 || l.Block[i] == 0 || l.Cluster[i] != 0 && l.Grid[i]%l.Cluster[i] != 0 {
			return driver.ErrInvalidValue
		}
		threads *= uint64(l.Block[i])
	}
	if threads > maxThreads {
		return driver.ErrInvalidValue
	}
	return driver.Success
}

// encode keeps what Map reads back.
func (f *Fake) encode(m *driver.TensorMap, typ driver.TensorMapType, rank uint32, addr uint64, dims, strides *uint64, box, steps *uint32, interleave, swizzle, l2, oob uint32) driver.Result {
	return f.run("cuTensorMapEncodeTiled", func(*context) driver.Result {
		if uintptr(unsafe.Pointer(m))%64 != 0 || rank < 1 || rank > 5 || addr%16 != 0 || interleave != 0 || swizzle > 3 || l2 > 3 || oob != 0 {
			return driver.ErrInvalidValue
		}
		*m = driver.TensorMap{}
		put := func(k int, v uint32) { binary.LittleEndian.PutUint32(m[4*k:], v) }
		put(0, rank|swizzle<<8|l2<<16|uint32(typ)<<24)
		binary.LittleEndian.PutUint64(m[4:], addr)
		for i := range int(rank) {
			if unsafe.Slice(steps, rank)[i] != 1 {
				return driver.ErrInvalidValue
			}
			put(3+i, uint32(unsafe.Slice(dims, rank)[i]))
			put(8+i, unsafe.Slice(box, rank)[i])
		}
		for i := range int(rank) - 1 {
			binary.LittleEndian.PutUint64(m[4*(13+2*i):], unsafe.Slice(strides, rank-1)[i])
		}
		return driver.Success
	})
}
