package cuda

import (
	"errors"
	"sync"
	"unsafe"
)

// shared is what sessions on one device have in common: compiled kernels by their
// text, and weights by the memory that they were copied from. Each lives until
// the last session that took it gives it back.
type shared struct {
	mu      sync.Mutex
	modules map[string]*lease[*Module]
	weights map[place]*lease[*Buffer]
}

// place is memory of the program, by which a copy of it is known.
type place struct {
	first *byte
	bytes int
}

// lease is a thing with the number of its users.
type lease[T any] struct {
	thing T
	users int
}

// take returns what the table has for a key, or makes it. The shared lock is
// held.
func take[K comparable, T any](table *map[K]*lease[T], key K, create func() (T, error)) (T, error) {
	if *table == nil {
		*table = make(map[K]*lease[T])
	}
	l := (*table)[key]
	if l == nil {
		thing, err := create()
		if err != nil {
			return thing, err
		}
		l = &lease[T]{thing: thing}
		(*table)[key] = l
	}
	l.users++
	return l.thing, nil
}

// giveBack ends one use, and with the last the thing.
func giveBack[K comparable, T any](s *shared, table map[K]*lease[T], key K, end func(T) error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := table[key]
	if l.users--; l.users > 0 {
		return nil
	}
	delete(table, key)
	return end(l.thing)
}

// module compiles and loads PTX, once for all who ask. release must be called.
func (d *Device) module(ptx string) (m *Module, release func() error, err error) {
	s := &d.shared
	s.mu.Lock()
	defer s.mu.Unlock()
	m, err = take(&s.modules, ptx, func() (*Module, error) { return d.Load(ptx, LoadOptions{}) })
	return m, func() error { return giveBack(s, s.modules, ptx, (*Module).Close) }, err
}

// copyOf copies bytes to the device, once for all who name the same memory.
// release must be called, before the memory is used for something else.
func (d *Device) copyOf(data []byte) (b *Buffer, release func() error, err error) {
	s := &d.shared
	s.mu.Lock()
	defer s.mu.Unlock()
	key := place{unsafe.SliceData(data), len(data)}
	b, err = take(&s.weights, key, func() (*Buffer, error) { return d.upload(data) })
	return b, func() error { return giveBack(s, s.weights, key, (*Buffer).Free) }, err
}

// stagingBytes is the piece in which mapped memory is copied.
const stagingBytes = 4 << 20

// upload copies bytes that may be mapped from a file to new device memory. They
// are read by Go code, so that a file which became shorter is a fault that the
// caller can recover from, and not one within the driver.
func (d *Device) upload(data []byte) (_ *Buffer, err error) {
	h, err := d.AllocHost(int64(min(len(data), stagingBytes)))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, h.Free()) }()
	b, err := d.Alloc(int64(len(data)))
	if err != nil {
		return nil, err
	}
	done := false
	defer func() { // also where the file faults
		if !done {
			err = errors.Join(err, b.Free())
		}
	}()
	for at := 0; at < len(data); {
		n := copy(h.Bytes(), data[at:])
		part, err := b.Slice(int64(at), int64(n))
		if err != nil {
			return nil, err
		}
		if err := Upload(nil, part, h.Bytes()[:n]); err != nil {
			return nil, err
		}
		at += n
	}
	done = true
	return b, nil
}
