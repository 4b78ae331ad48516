package sgp

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"slices"

	"github.com/sparsegen/sparsegen/internal/atomicfile"
)

// WriteFile validates m and writes it to path, whole or not at all. Equal models
// give equal bytes.
func WriteFile(path string, m *Model) error {
	return atomicfile.Write(path, func(w io.Writer) error { return Write(w, m) })
}

// Write validates m and writes it to w.
func Write(w io.Writer, m *Model) error {
	if !littleEndian() {
		return errBigEndian
	}
	if err := m.Validate(); err != nil {
		return fmt.Errorf("sgp: %w", err)
	}
	return write(w, m)
}

// write writes m as it is.
func write(w io.Writer, m *Model) error {
	e := encoder{version: m.version(), byChecksum: make(map[uint32][]int)}
	e.model(m)
	order := e.order()

	header := binary.LittleEndian.AppendUint32(nil, uint32(len(order)))
	size := 4 + len(order)*entrySize + len(e.structure)
	for _, s := range order {
		size += 4 * s.chunks()
	}
	if size > maxHeader {
		return fmt.Errorf("sgp: a header of %d bytes is over %d", size, maxHeader)
	}
	end, prev := int64(preambleSize+size), indexRegion
	for i, s := range order {
		s.offset = place(end, i == 0, prev, s.region)
		end, prev = s.offset+s.length, s.region
		header = binary.LittleEndian.AppendUint64(header, uint64(s.offset))
		header = binary.LittleEndian.AppendUint64(header, uint64(s.length))
		header = append(header, byte(s.dtype), byte(s.region), 0, 0, 0, 0, 0, 0)
	}
	for _, s := range order {
		for b := range chunked(s.bytes) {
			header = binary.LittleEndian.AppendUint32(header, checksum(b))
		}
	}
	header = append(header, e.structure...)

	pre := append(make([]byte, 0, preambleSize), magic...)
	pre = binary.LittleEndian.AppendUint32(pre, e.version)
	pre = binary.LittleEndian.AppendUint32(pre, uint32(len(header)))
	pre = binary.LittleEndian.AppendUint64(pre, uint64(end))
	pre = binary.LittleEndian.AppendUint64(pre, m.Fingerprint)
	pre = pre[:preambleSize]
	binary.LittleEndian.PutUint32(pre[preambleSize-4:], headerChecksum(pre, header))

	out := positioned{w: w}
	out.write(pre)
	out.write(header)
	for _, s := range order {
		out.write(make([]byte, s.offset-out.at))
		out.write(s.bytes)
	}
	return out.err
}

// positioned counts what it has written and keeps the first error.
type positioned struct {
	w   io.Writer
	at  int64
	err error
}

func (p *positioned) write(b []byte) {
	if p.err != nil {
		return
	}
	n, err := p.w.Write(b)
	p.at, p.err = p.at+int64(n), err
}

// chunked yields b in pieces of chunkSize.
func chunked(b []byte) func(yield func([]byte) bool) {
	return func(yield func([]byte) bool) {
		for len(b) > 0 {
			n := min(len(b), chunkSize)
			if !yield(b[:n]) {
				return
			}
			b = b[n:]
		}
	}
}

// encoder collects a model's sections and its structure, which names sections
// by their place in the table, counted from 1; 0 is a nil slice.
type encoder struct {
	version    uint32
	structure  []byte
	refs       []ref // where structure names a section
	sections   []*section
	byChecksum map[uint32][]int // sections of equal content are one
}

type ref struct{ at, section int }

const refSize = 4

// order is the sections as the file has them, the index region first; it
// resolves the references to that order.
func (e *encoder) order() []*section {
	order := make([]*section, 0, len(e.sections))
	number := make([]uint32, len(e.sections))
	for _, r := range []region{indexRegion, valueRegion} {
		for i, s := range e.sections {
			if s.region == r {
				order = append(order, s)
				number[i] = uint32(len(order))
			}
		}
	}
	for _, r := range e.refs {
		binary.LittleEndian.PutUint32(e.structure[r.at:], number[r.section])
	}
	return order
}

func (e *encoder) section(b []byte, isNil bool, d dtype, r region) {
	at := len(e.structure)
	e.structure = append(e.structure, make([]byte, refSize)...)
	if isNil {
		return
	}
	sum := checksum(b)
	for _, i := range e.byChecksum[sum] {
		if s := e.sections[i]; s.dtype == d && s.region == r && bytes.Equal(s.bytes, b) {
			e.refs = append(e.refs, ref{at, i})
			return
		}
	}
	e.byChecksum[sum] = append(e.byChecksum[sum], len(e.sections))
	e.refs = append(e.refs, ref{at, len(e.sections)})
	e.sections = append(e.sections, &section{length: int64(len(b)), dtype: d, region: r, bytes: b})
}

// put writes a count and that many elements.
func put[T any](e *encoder, s []T, write func(*T)) {
	e.int(len(s))
	for i := range s {
		write(&s[i])
	}
}

func (e *encoder) f32s(s []float32) { e.section(bytesOf(s), s == nil, f32, valueRegion) }
func (e *encoder) u32s(s []uint32)  { e.section(bytesOf(s), s == nil, u32, indexRegion) }
func (e *encoder) u16s(s []uint16)  { e.section(bytesOf(s), s == nil, u16, indexRegion) }

func (e *encoder) int(n int)    { e.structure = binary.AppendUvarint(e.structure, uint64(n)) }
func (e *encoder) ints(s []int) { put(e, s, func(n *int) { e.int(*n) }) }
func (e *encoder) float(f float32) {
	e.structure = binary.LittleEndian.AppendUint32(e.structure, math.Float32bits(f))
}
func (e *encoder) string(s string) {
	e.int(len(s))
	e.structure = append(e.structure, s...)
}

// version is the oldest that has all that the model holds, so that a model which
// a program of the first version could read stays such.
func (m *Model) version() uint32 {
	if m.GPUFingerprint != 0 || slices.ContainsFunc(m.Layers, func(l Layer) bool { return l.Target != "" }) {
		return gpuVersion
	}
	return version
}

func (e *encoder) model(m *Model) {
	if e.version >= gpuVersion {
		e.structure = binary.LittleEndian.AppendUint64(e.structure, m.GPUFingerprint)
	}
	put(e, m.Layers, e.layer)
}

func (e *encoder) layer(l *Layer) {
	e.string(l.Name)
	if e.version >= gpuVersion {
		e.string(l.Target)
		e.string(l.Type)
	}
	e.int(l.BatchMin)
	e.int(l.BatchMax)
	put(e, l.Values, func(v *Value) {
		e.string(v.Name)
		e.ints(v.Dims)
	})
	e.ints(l.Inputs)
	e.ints(l.Outputs)
	put(e, l.Ops, e.op)
}

func (e *encoder) op(op *Op) {
	e.int(int(op.Kind))
	e.ints(op.Args)
	e.int(op.Out)
	e.float(op.Lo)
	e.float(op.Hi)
	e.float(op.Eps)
	e.int(op.Group)
	e.f32s(op.Gain)
	e.f32s(op.Bias)
	lin := op.Linear
	if lin == nil {
		return // the kind says so
	}
	e.int(lin.Out)
	e.int(lin.In)
	e.f32s(lin.Bias)
	e.int(int(lin.Act))
	e.float(lin.Lo)
	e.float(lin.Hi)
	put(e, lin.Variants, e.variant)
}

const (
	formPanel = iota + 1
	formLanes
	formGPU // of gpuVersion

	formShort = 1 << 8 // added where Variant.Short is set
)

func (e *encoder) variant(v *Variant) {
	e.int(v.BatchMin)
	e.int(v.BatchMax)
	short := 0
	if v.Short {
		short = formShort
	}
	switch {
	case v.Panel != nil:
		e.int(formPanel + short)
		e.int(v.Panel.KB)
		e.u32s(v.Panel.Cols)
		put(e, v.Panel.Segments, e.segment)
	case v.Lanes != nil:
		e.int(formLanes + short)
		e.lanes(v.Lanes)
	default:
		e.int(formGPU)
		e.string(v.GPU.Kernel)
		e.section(v.GPU.Weights, v.GPU.Weights == nil, u8, valueRegion)
		e.u32s(v.GPU.Lists)
	}
}

func (e *encoder) segment(s *Segment) {
	e.int(int(s.Kind))
	e.int(s.MR)
	e.u32s(s.Rows)
	e.f32s(s.W)
	e.u16s(s.Idx)
	e.u16s(s.Runs)
}

func (e *encoder) lanes(f *Lanes) {
	e.int(int(f.Kind))
	e.int(f.S)
	e.int(f.N)
	e.int(f.M)
	e.u32s(f.Cols)
	e.u32s(f.Rows)
	e.f32s(f.W)
	e.section(f.Meta, f.Meta == nil, u8, f.metaRegion())
	e.u32s(f.Cnt)
}

// metaRegion is where a form's metadata lies: every bit pattern of N:M indices
// is valid, so that nothing needs to copy them.
func (f *Lanes) metaRegion() region {
	if f.Kind == LanesNM {
		return valueRegion
	}
	return indexRegion
}
