// Package guard is memory for tests of code without bounds checks: it ends at, or
// begins after, a page that cannot be accessed, and can be made read-only. Where
// the system has no such pages, it is plain memory.
//
// It must not import any other package of this module.
package guard

import "unsafe"

// Memory is some bytes and what lies around them up to the inaccessible pages.
type Memory struct {
	Bytes  []byte // as many as were asked for
	Around []byte // all that can be accessed; Bytes are among them

	all []byte
}

// New maps size bytes at an address that is a multiple of align, a power of two
// up to the size of a page. They lie against the inaccessible page behind them,
// or, with start, against the one before; less than align bytes are between.
// All accessible bytes are 0xff: as float32 they are NaN, so that what is wrongly
// read spoils the result.
func New(size, align int, start bool) (Memory, error) {
	all, lower, upper, err := mapGuarded(size + align - 1)
	if err != nil {
		return Memory{}, err
	}
	// The whole of all begins at a page where pages are guarded.
	base := int(uintptr(unsafe.Pointer(unsafe.SliceData(all))) & uintptr(align-1))
	at := (base+upper-size)&^(align-1) - base
	if start {
		at = (base+lower+align-1)&^(align-1) - base
	}
	m := Memory{Bytes: all[at : at+size], Around: all[lower:upper], all: all}
	for i := range m.Around {
		m.Around[i] = 0xff
	}
	return m, nil
}

// Protect makes the memory read-only, where the system can.
func (m Memory) Protect() error { return protect(m.Around) }

// Free unmaps the memory.
func (m Memory) Free() { unmap(m.all) }

// Base is the address of what is mapped, inaccessible pages included, and its
// size.
func (m Memory) Base() (at uintptr, size int) {
	return uintptr(unsafe.Pointer(unsafe.SliceData(m.all))), len(m.all)
}
