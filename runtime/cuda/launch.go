package cuda

import (
	"fmt"
	"math"
	"sync"
	"unsafe"

	"github.com/sparsegen/sparsegen/runtime/cuda/internal/driver"
	"github.com/sparsegen/sparsegen/runtime/gpu"
)

// Buffers says which memory plays which role in a launch, as in
// Buffers{gpu.X: x, gpu.Y: y}.
type Buffers [gpu.NumBuffers]*Buffer

// Prepared is a launch whose parameters are all laid out and whose tensor maps
// are encoded, for memory that is given once. It may be launched again and again,
// by many goroutines.
type Prepared struct {
	fn      *Function
	buffers []*Buffer

	mu     sync.Mutex // config.Stream is written by each launch
	config driver.LaunchConfig
	attrs  [2]driver.LaunchAttr
	params []unsafe.Pointer // to the parameters, which lie in args
	args   []uint64
}

// Launch prepares a launch and runs it once.
func (d *Device) Launch(s *Stream, fn *Function, l gpu.Launch, b Buffers) error {
	p, err := d.Prepare(fn, l, b)
	if err != nil {
		return err
	}
	return p.Launch(s)
}

// Prepare checks a launch against the device, the kernel and the buffers, and
// lays out its parameters.
func (d *Device) Prepare(fn *Function, l gpu.Launch, b Buffers) (*Prepared, error) {
	p := &Prepared{fn: fn}
	if err := p.prepare(d, l, b); err != nil {
		return nil, fmt.Errorf("kernel %s: %w", fn.name, err)
	}
	return p, nil
}

func (p *Prepared) prepare(d *Device, l gpu.Launch, b Buffers) error {
	if err := p.fn.mod.usable(d); err != nil {
		return err
	}
	if err := l.Validate(d.info); err != nil {
		return err
	}
	if err := p.fn.accepts(&l); err != nil {
		return err
	}
	need, err := l.Needs()
	if err != nil {
		return err
	}
	for role, bytes := range need {
		if bytes == 0 {
			continue
		}
		buf := b[role]
		if buf == nil {
			return fmt.Errorf("cuda: no buffer for %v", gpu.Buffer(role))
		}
		if err := buf.mem.usable(d); err != nil {
			return fmt.Errorf("%v: %w", gpu.Buffer(role), err)
		}
		if bytes > uint64(buf.size) {
			return fmt.Errorf("cuda: %v has %d bytes, the launch reaches %d", gpu.Buffer(role), buf.size, bytes)
		}
		p.buffers = append(p.buffers, buf)
	}
	p.configure(&l)
	if err := d.enter(); err != nil {
		return err
	}
	defer d.leave()
	return p.layOut(d, l.Args, b)
}

// accepts checks a launch against the kernel as it was compiled.
func (f *Function) accepts(l *gpu.Launch) error {
	if n := int(l.Block[0] * l.Block[1] * l.Block[2]); n > f.MaxThreads {
		return fmt.Errorf("cuda: %d threads in a block, the kernel's %d registers allow %d", n, f.Registers, f.MaxThreads)
	}
	if int(l.Shared) > f.SharedMax {
		return fmt.Errorf("cuda: %d bytes of dynamic shared memory, the kernel may have %d", l.Shared, f.SharedMax)
	}
	if f.params == nil {
		return nil
	}
	if len(l.Args) != len(f.params) {
		return fmt.Errorf("cuda: %d arguments, the kernel has %d parameters", len(l.Args), len(f.params))
	}
	for i := range l.Args {
		if size := l.Args[i].Size(); size != f.params[i] {
			return fmt.Errorf("cuda: argument %d has %d bytes, the kernel's parameter has %d", i, size, f.params[i])
		}
	}
	return nil
}

// configure fills the driver's form of a launch, but for the stream.
func (p *Prepared) configure(l *gpu.Launch) {
	p.config = driver.LaunchConfig{Grid: l.Grid, Block: l.Block, Shared: l.Shared}
	n := uint32(0)
	if l.Cluster != [3]uint32{} {
		p.attrs[n] = driver.LaunchAttr{ID: driver.AttrClusterDim}
		copy(p.attrs[n].Value[:], l.Cluster[:])
		n++
	}
	if l.PDL {
		p.attrs[n] = driver.LaunchAttr{ID: driver.AttrPDL}
		p.attrs[n].Value[0] = 1
		n++
	}
	if n > 0 {
		p.config.Attrs, p.config.NumAttrs = &p.attrs[0], n
	}
}

// slot is where one argument lies: 128 bytes, so that each can be a tensor map,
// which the driver wants aligned to 64.
const slot = int(unsafe.Sizeof(driver.TensorMap{}))

// layOut writes the arguments. The device is entered.
func (p *Prepared) layOut(d *Device, args []gpu.Arg, b Buffers) error {
	p.args = make([]uint64, (len(args)+1)*slot/8)
	base := unsafe.Pointer(&p.args[0])
	base = unsafe.Add(base, int(-uintptr(base)&63))
	p.params = make([]unsafe.Pointer, len(args)+1) // never empty, so that it has an address
	for i := range args {
		a, at := &args[i], unsafe.Add(base, i*slot)
		p.params[i] = at
		switch a.Kind {
		case gpu.ArgMap:
			if err := encode((*driver.TensorMap)(at), d, &a.Map, b[a.Map.Of]); err != nil {
				return fmt.Errorf("argument %d: %w", i, err)
			}
		case gpu.ArgPtr:
			*(*uint64)(at) = b[a.Of].addr + a.Offset
		case gpu.ArgU64:
			*(*uint64)(at) = a.U64
		case gpu.ArgU32:
			*(*uint32)(at) = a.U32
		case gpu.ArgF32:
			*(*uint32)(at) = math.Float32bits(a.F32)
		}
	}
	return nil
}

var mapTypes = [...]driver.TensorMapType{
	gpu.F32: driver.MapF32, gpu.BF16: driver.MapBF16, gpu.F16: driver.MapF16, gpu.E4M3: driver.MapU8, gpu.E5M2: driver.MapU8,
	gpu.S8: driver.MapU8, gpu.S32: driver.MapS32, gpu.U32: driver.MapU32, gpu.U8: driver.MapU8,
}

// encode makes the 128 bytes that TMA reads. The map is valid, and the device is
// entered.
func encode(to *driver.TensorMap, d *Device, m *gpu.TensorMap, b *Buffer) error {
	addr := b.addr + m.Offset
	if addr%16 != 0 {
		return fmt.Errorf("cuda: tensor map of %v: address %#x is no multiple of 16", m.Of, addr)
	}
	var strides [gpu.MaxRank]uint64 // never empty, so that it has an address
	copy(strides[:], m.Strides)
	steps := [gpu.MaxRank]uint32{1, 1, 1, 1, 1}
	r := d.drv.TensorMapEncode(to, mapTypes[m.DType], uint32(len(m.Dims)), addr, &m.Dims[0], &strides[0], &m.Box[0], &steps[0],
		0, uint32(m.Swizzle), uint32(m.L2), 0)
	return d.check(fmt.Sprintf("encode the tensor map of %v, %v %v by %v in boxes of %v", m.Of, m.DType, m.Dims, m.Strides, m.Box), r)
}

// Launch runs the kernel in a stream, nil for the device's own, and does not wait.
// It does not allocate. The buffers must live until the work is done.
func (p *Prepared) Launch(s *Stream) error {
	d := p.fn.mod.dev
	s = d.streamOr(s)
	if s.dev != d {
		return s.usable(d)
	}
	if err := p.fn.mod.usable(d); err != nil {
		return err
	}
	if err := s.ready(p.buffers...); err != nil {
		return err
	}
	if err := d.enter(); err != nil {
		return err
	}
	defer d.leave()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.config.Stream = s.handle
	d.last.Store(p.fn)
	if r := d.drv.LaunchKernel(&p.config, p.fn.handle, &p.params[0], nil); r != driver.Success {
		return d.check("launch kernel "+p.fn.name, r)
	}
	return nil
}

// MaxClusters returns how many clusters of the launch can be resident on the
// device at once, which a persistent kernel must not exceed.
func (f *Function) MaxClusters(l gpu.Launch) (int, error) {
	d := f.mod.dev
	p := &Prepared{fn: f}
	p.configure(&l)
	var n int32
	err := d.do("ask for the clusters of kernel "+f.name, func() driver.Result { return d.drv.OccupancyClusters(&n, f.handle, &p.config) })
	return int(n), err
}

// BlocksPerSM returns how many blocks of the launch can be resident on one
// multiprocessor.
func (f *Function) BlocksPerSM(l gpu.Launch) (int, error) {
	d := f.mod.dev
	var n int32
	err := d.do("ask for the occupancy of kernel "+f.name, func() driver.Result {
		return d.drv.OccupancyBlocks(&n, f.handle, int32(l.Block[0]*l.Block[1]*l.Block[2]), uint64(l.Shared))
	})
	return int(n), err
}
