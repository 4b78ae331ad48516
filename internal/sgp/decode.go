package sgp

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
)

// decoder reads a structure. The first error stays; after it every read gives
// zero. It only says that the bytes mean a model: Validate decides whether that
// model makes sense.
type decoder struct {
	version  uint32
	in       []byte
	sections []section
	err      error
}

var errShort = errors.New("the structure ends too early")

func (d *decoder) fail(err error) {
	if d.err == nil {
		d.err = err
	}
}

func (d *decoder) int() int {
	if d.err != nil {
		return 0
	}
	v, n := binary.Uvarint(d.in)
	if n <= 0 || v > MaxExtent {
		d.fail(errors.New("not an integer in range"))
		return 0
	}
	d.in = d.in[n:]
	return int(v)
}

// count reads a number of elements, each at least one byte long.
func (d *decoder) count() int {
	n := d.int()
	if n > len(d.in) {
		d.fail(fmt.Errorf("%d elements in %d bytes", n, len(d.in)))
		return 0
	}
	return n
}

// list reads a count and that many elements.
func list[T any](d *decoder, read func(*T)) []T {
	n := d.count()
	var s []T // grows as bytes are read: an element may be much longer than its encoding
	for range n {
		if d.err != nil {
			return nil
		}
		var t T
		read(&t)
		s = append(s, t)
	}
	return s
}

func (d *decoder) ints() []int { return list(d, func(n *int) { *n = d.int() }) }

func (d *decoder) fixed() uint32 {
	if d.err != nil {
		return 0
	}
	if len(d.in) < 4 {
		d.fail(errShort)
		return 0
	}
	v := binary.LittleEndian.Uint32(d.in)
	d.in = d.in[4:]
	return v
}

func (d *decoder) float() float32 { return math.Float32frombits(d.fixed()) }

func (d *decoder) string() string {
	n := d.count()
	if d.err != nil {
		return ""
	}
	s := string(d.in[:n])
	d.in = d.in[n:]
	return s
}

// small reads an enumeration that fits a byte.
func (d *decoder) small() uint8 {
	n := d.int()
	if n > math.MaxUint8 {
		d.fail(fmt.Errorf("kind %d", n))
		return 0
	}
	return uint8(n)
}

// sectionOf reads a reference; nil is the nil slice.
func sectionOf[T element](d *decoder, want dtype, in region) []T {
	n := d.fixed()
	if d.err != nil || n == 0 {
		return nil
	}
	if int64(n) > int64(len(d.sections)) {
		d.fail(fmt.Errorf("section %d of %d", n-1, len(d.sections)))
		return nil
	}
	s := &d.sections[n-1]
	if s.dtype != want || s.region != in {
		d.fail(fmt.Errorf("section %d has element type %d in region %d, where %d in %d belongs", n-1, s.dtype, s.region, want, in))
		return nil
	}
	return sliceOf[T](s.bytes)
}

func (d *decoder) f32s() []float32 { return sectionOf[float32](d, f32, valueRegion) }
func (d *decoder) u32s() []uint32  { return sectionOf[uint32](d, u32, indexRegion) }
func (d *decoder) u16s() []uint16  { return sectionOf[uint16](d, u16, indexRegion) }

func (d *decoder) model() *Model {
	m := &Model{}
	if d.version >= gpuVersion {
		m.GPUFingerprint = uint64(d.fixed()) | uint64(d.fixed())<<32
	}
	m.Layers = list(d, d.layer)
	return m
}

func (d *decoder) layer(l *Layer) {
	l.Name = d.string()
	if d.version >= gpuVersion {
		l.Target = d.string()
		l.Type = d.string()
	}
	l.BatchMin = d.int()
	l.BatchMax = d.int()
	l.Values = list(d, func(v *Value) {
		v.Name = d.string()
		v.Dims = d.ints()
	})
	l.Inputs = d.ints()
	l.Outputs = d.ints()
	l.Ops = list(d, d.op)
}

func (d *decoder) op(op *Op) {
	op.Kind = OpKind(d.small())
	op.Args = d.ints()
	op.Out = d.int()
	op.Lo = d.float()
	op.Hi = d.float()
	op.Eps = d.float()
	op.Group = d.int()
	op.Gain = d.f32s()
	op.Bias = d.f32s()
	if op.Kind == LinearOp && d.err == nil {
		op.Linear = &Linear{
			Out:  d.int(),
			In:   d.int(),
			Bias: d.f32s(),
			Act:  OpKind(d.small()),
			Lo:   d.float(),
			Hi:   d.float(),
		}
		op.Linear.Variants = list(d, d.variant)
	}
}

func (d *decoder) variant(v *Variant) {
	v.BatchMin = d.int()
	v.BatchMax = d.int()
	form := d.int()
	if form&^formShort < formGPU {
		v.Short = form&formShort != 0
		form &^= formShort
	}
	switch {
	case d.err != nil:
	case form == formPanel:
		v.Panel = &Panel{KB: d.int(), Cols: d.u32s()}
		v.Panel.Segments = list(d, d.segment)
	case form == formLanes:
		v.Lanes = d.lanes()
	case form == formGPU && d.version >= gpuVersion:
		v.GPU = &GPU{Kernel: d.string(), Weights: sectionOf[uint8](d, u8, valueRegion), Lists: d.u32s()}
	default:
		d.fail(fmt.Errorf("unknown form %d", form))
	}
}

func (d *decoder) segment(s *Segment) {
	s.Kind = SegmentKind(d.small())
	s.MR = d.int()
	s.Rows = d.u32s()
	s.W = d.f32s()
	s.Idx = d.u16s()
	s.Runs = d.u16s()
}

func (d *decoder) lanes() *Lanes {
	f := &Lanes{
		Kind: LanesKind(d.small()),
		S:    d.int(),
		N:    d.int(),
		M:    d.int(),
		Cols: d.u32s(),
		Rows: d.u32s(),
		W:    d.f32s(),
	}
	f.Meta = sectionOf[uint8](d, u8, f.metaRegion())
	f.Cnt = d.u32s()
	return f
}
