package layout

import "fmt"

// Descriptor is a shared-memory matrix descriptor of wgmma (PTX ISA 9.7.14.5.1,
// matrix-descriptor format).
type Descriptor struct {
	Start   uint32 // address in the shared window, bytes
	LBO     uint32 // leading-dimension byte offset
	SBO     uint32 // stride-dimension byte offset
	Swizzle Swizzle
}

// sharedLimit is the first address that a descriptor's 14 chunk bits cannot say.
const sharedLimit = 1 << 18

// Check reports a field that the descriptor's bits cannot hold.
func (d Descriptor) Check() error {
	if d.Swizzle > Swizzle128B {
		return fmt.Errorf("layout: swizzle %d", uint8(d.Swizzle))
	}
	for _, f := range []struct {
		name string
		v    uint32
	}{{"start address", d.Start}, {"leading-dimension offset", d.LBO}, {"stride-dimension offset", d.SBO}} {
		if f.v%chunk != 0 || f.v >= sharedLimit {
			return fmt.Errorf("layout: descriptor with %s %d, want a multiple of %d below %d", f.name, f.v, chunk, sharedLimit)
		}
	}
	return nil
}

// Words is the descriptor as two 32-bit words. The start address occupies the
// low 14 bits of lo, so a kernel advances a descriptor by adding to lo alone.
// The pattern must start at a multiple of Swizzle.Align (base offset 0).
func (d Descriptor) Words() (lo, hi uint32) {
	// Codes of the layout field, by Swizzle.
	code := [4]uint32{0, 3, 2, 1}[d.Swizzle&3]
	return d.Start&(sharedLimit-1)>>4 | d.LBO>>4<<16, d.SBO>>4 | code<<30
}

// Uint64 is Words as one value.
func (d Descriptor) Uint64() uint64 {
	lo, hi := d.Words()
	return uint64(hi)<<32 | uint64(lo)
}

// ParseDescriptor is the inverse of Uint64. It refuses what this package never
// makes: bits outside the fields and a base offset.
func ParseDescriptor(v uint64) (Descriptor, error) {
	d := Descriptor{
		Start:   uint32(v&0x3fff) << 4,
		LBO:     uint32(v>>16&0x3fff) << 4,
		SBO:     uint32(v>>32&0x3fff) << 4,
		Swizzle: [4]Swizzle{SwizzleNone, Swizzle128B, Swizzle64B, Swizzle32B}[v>>62],
	}
	if d.Uint64() != v {
		return Descriptor{}, fmt.Errorf("layout: descriptor %#016x has bits set outside its fields", v)
	}
	return d, nil
}

// Address is the shared address from which the tensor core reads byte b of
// element (mn, k), mn counting rows of A or columns of B, for elements of size
// bytes (PTX ISA, canonical layouts of wgmma). k counts from the instruction's
// first column.
func (d Descriptor) Address(major Major, mn, k, size, b int) int {
	start, lbo, sbo, span := int(d.Start), int(d.LBO), int(d.SBO), d.Swizzle.Span()
	if major == MNMajor {
		at := mn*size + b
		if d.Swizzle == SwizzleNone { // the two offsets change places
			lbo, sbo = sbo, lbo
		}
		return d.Swizzle.Addr(start + at/span*lbo + at%span + k/8*sbo + k%8*span)
	}
	at := k*size + b
	if d.Swizzle == SwizzleNone {
		return start + mn/8*sbo + mn%8*chunk + at/chunk*lbo + at%chunk
	}
	return d.Swizzle.Addr(start + mn/8*sbo + mn%8*span + at/span*lbo + at%span)
}
