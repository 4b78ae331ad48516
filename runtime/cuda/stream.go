package cuda

import (
	"errors"
	"fmt"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/sparsegen/sparsegen/runtime/cuda/internal/driver"
)

// Stream is a queue of work for a device: what is put into one stream runs in
// that order, and work of two streams may overlap.
type Stream struct {
	object
	capture atomic.Pointer[capture] // set while work goes into a graph
}

// NewStream returns a stream that does not synchronise with the driver's default
// stream.
func (d *Device) NewStream() (*Stream, error) {
	s := new(Stream)
	if err := d.do("make a stream", func() driver.Result { return d.drv.StreamCreate(&s.handle, driver.StreamNonBlocking) }); err != nil {
		return nil, err
	}
	s.dev, s.what, s.gone, s.destroy = d, "stream", ErrClosed, d.drv.StreamDestroy
	d.own(&s.object)
	return s, nil
}

// streamOr returns s, or the device's own stream for nil.
func (d *Device) streamOr(s *Stream) *Stream {
	if s == nil {
		return d.stream
	}
	return s
}

// Close destroys the stream; its work is finished first.
func (s *Stream) Close() error { return s.end() }

// Handle returns the driver's CUstream, for interoperation.
func (s *Stream) Handle() uintptr { return s.handle }

// Synchronize waits for the stream's work. A fault of a kernel shows here at the
// latest, as ErrDeviceLost.
func (s *Stream) Synchronize() error {
	if err := s.usable(s.dev); err != nil {
		return err
	}
	if s.capture.Load() != nil {
		return errors.New("cuda: wait for a stream while it is captured: its work has not begun")
	}
	if err := s.dev.enter(); err != nil {
		return err
	}
	defer s.dev.leave()
	return s.dev.check("wait for a stream", s.dev.drv.StreamSynchronize(s.handle))
}

// ready checks that the stream and buffers can be used together, and makes the
// buffers part of a capture.
func (s *Stream) ready(buffers ...*Buffer) error {
	if err := s.usable(s.dev); err != nil {
		return err
	}
	for _, b := range buffers {
		if err := b.mem.usable(s.dev); err != nil {
			return err
		}
	}
	if c := s.capture.Load(); c != nil {
		c.hold(buffers)
	}
	return nil
}

// enqueue puts one call of the driver into the stream.
func (s *Stream) enqueue(call string, f func() driver.Result, buffers ...*Buffer) error {
	if err := s.ready(buffers...); err != nil {
		return err
	}
	return s.dev.do(call, f)
}

// Memset fills a buffer with a byte.
func (s *Stream) Memset(b *Buffer, v byte) error {
	return s.enqueue(fmt.Sprintf("fill %d bytes", b.size), func() driver.Result {
		return s.dev.drv.MemsetD8(b.addr, v, uint64(b.size), s.handle)
	}, b)
}

// Memset32 fills a buffer, of a multiple of four bytes, with a word: poison, for
// example.
func (s *Stream) Memset32(b *Buffer, v uint32) error {
	if b.size%4 != 0 || b.addr%4 != 0 {
		return fmt.Errorf("cuda: fill %d bytes at %#x with words: want multiples of 4", b.size, b.addr)
	}
	return s.enqueue(fmt.Sprintf("fill %d bytes", b.size), func() driver.Result {
		return s.dev.drv.MemsetD32(b.addr, v, uint64(b.size/4), s.handle)
	}, b)
}

// Copy copies all of src to the start of dst.
func (s *Stream) Copy(dst, src *Buffer) error {
	if err := dst.fits(src.size, "copy"); err != nil {
		return err
	}
	return s.enqueue(fmt.Sprintf("copy %d bytes", src.size), func() driver.Result {
		return s.dev.drv.MemcpyDtoD(dst.addr, src.addr, uint64(src.size), s.handle)
	}, dst, src)
}

// Upload copies all of src to the start of dst and does not wait.
func (s *Stream) Upload(dst *Buffer, src *HostBuffer) error {
	return s.copyPinned("upload", dst, src, func(p unsafe.Pointer, n uint64) driver.Result {
		return s.dev.drv.MemcpyHtoD(dst.addr, p, n, s.handle)
	})
}

// Download copies the start of src into all of dst and does not wait.
func (s *Stream) Download(dst *HostBuffer, src *Buffer) error {
	return s.copyPinned("download", src, dst, func(p unsafe.Pointer, n uint64) driver.Result {
		return s.dev.drv.MemcpyDtoH(p, src.addr, n, s.handle)
	})
}

func (s *Stream) copyPinned(what string, b *Buffer, h *HostBuffer, f func(unsafe.Pointer, uint64) driver.Result) error {
	n := int64(len(h.bytes))
	if err := b.fits(n, what); err != nil {
		return err
	}
	if err := h.usable(s.dev); err != nil {
		return err
	}
	if c := s.capture.Load(); c != nil {
		c.holdHost(h)
	}
	return s.enqueue(fmt.Sprintf("%s %d bytes", what, n), func() driver.Result {
		return f(unsafe.Pointer(unsafe.SliceData(h.bytes)), uint64(n))
	}, b)
}

// Event is a mark in a stream, with its time.
type Event struct {
	object
	capture atomic.Pointer[capture] // of the stream that recorded it last
}

// NewEvent returns an event that was not recorded yet.
func (d *Device) NewEvent() (*Event, error) {
	e := new(Event)
	if err := d.do("make an event", func() driver.Result { return d.drv.EventCreate(&e.handle, driver.EventBlockingSync) }); err != nil {
		return nil, err
	}
	e.dev, e.what, e.gone, e.destroy = d, "event", ErrClosed, d.drv.EventDestroy
	d.own(&e.object)
	return e, nil
}

// Close destroys the event.
func (e *Event) Close() error { return e.end() }

// Record puts the event behind the stream's present work.
func (s *Stream) Record(e *Event) error {
	if err := s.with(e); err != nil {
		return err
	}
	defer s.dev.leave()
	if r := s.dev.drv.EventRecord(e.handle, s.handle); r != driver.Success {
		return s.dev.check("record an event", r)
	}
	e.capture.Store(s.capture.Load())
	return nil
}

// Wait makes the stream's later work wait for an event of this device. A stream
// that waits for an event of a captured stream joins the capture.
func (s *Stream) Wait(e *Event) error {
	if err := s.with(e); err != nil {
		return err
	}
	defer s.dev.leave()
	if r := s.dev.drv.StreamWaitEvent(s.handle, e.handle, 0); r != driver.Success {
		return s.dev.check("wait for an event", r)
	}
	if c := e.capture.Load(); c != nil {
		c.join(s)
	}
	return nil
}

// with enters the device for a call on the stream and an event.
func (s *Stream) with(e *Event) error {
	if err := s.usable(s.dev); err != nil {
		return err
	}
	if err := e.usable(s.dev); err != nil {
		return err
	}
	return s.dev.enter()
}

// Synchronize waits until the event has happened, at once if it was not recorded.
func (e *Event) Synchronize() error {
	if err := e.usable(e.dev); err != nil {
		return err
	}
	return e.dev.do("wait for an event", func() driver.Result { return e.dev.drv.EventSynchronize(e.handle) })
}

// Since returns the device's time between two recorded events, which must both
// have happened. Its resolution is about half a microsecond.
func (e *Event) Since(start *Event) (time.Duration, error) {
	if err := start.usable(e.dev); err != nil {
		return 0, err
	}
	if err := e.usable(e.dev); err != nil {
		return 0, err
	}
	var ms float32
	err := e.dev.do("take the time between two events", func() driver.Result {
		return e.dev.drv.EventElapsedTime(&ms, start.handle, e.handle)
	})
	return time.Duration(float64(ms) * float64(time.Millisecond)), err
}
