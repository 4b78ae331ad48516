package cudatest

import (
	"github.com/sparsegen/sparsegen/runtime/cuda/internal/driver"
)

type stream struct{ capture *graph }

type event struct {
	at       float32
	recorded bool
	capture  *graph
}

// op is work in a stream.
type op func(*context) driver.Result

type graph struct {
	ops    []op
	thread int // that began the capture
}

type graphExec struct{ ops []op }

// enqueue is a call that puts work into a stream.
func (f *Fake) enqueue(symbol string, s uintptr, work op) driver.Result {
	return f.run(symbol, func(c *context) driver.Result {
		x, r := find[*stream](f, s)
		if r != driver.Success {
			return r
		}
		return f.submit(c, x, work)
	})
}

// submit runs work at once, or captures it.
func (f *Fake) submit(c *context, s *stream, work op) driver.Result {
	f.ticks += 0.001
	if s.capture != nil {
		s.capture.ops = append(s.capture.ops, work)
		return driver.Success
	}
	return work(c)
}

func (f *Fake) bindStreams(d *driver.Driver) {
	d.StreamCreate = func(s *uintptr, flags uint32) driver.Result {
		return f.run("cuStreamCreate", func(*context) driver.Result {
			if flags != driver.StreamNonBlocking {
				return driver.ErrInvalidValue
			}
			*s = f.add(&stream{})
			return driver.Success
		})
	}
	d.StreamDestroy = func(s uintptr) driver.Result { return drop[*stream](f, "cuStreamDestroy_v2", s) }
	d.StreamSynchronize = func(s uintptr) driver.Result {
		return f.run("cuStreamSynchronize", func(*context) driver.Result {
			x, r := find[*stream](f, s)
			if r == driver.Success && x.capture != nil {
				return driver.ErrStreamCaptureUnsupport
			}
			return r
		})
	}
	d.StreamBeginCapture = func(s uintptr, mode driver.CaptureMode) driver.Result {
		return f.run("cuStreamBeginCapture_v2", func(*context) driver.Result {
			x, r := find[*stream](f, s)
			if r != driver.Success || x.capture != nil || mode != driver.CaptureThreadLocal {
				return driver.ErrInvalidValue
			}
			x.capture = &graph{thread: threadID()}
			return driver.Success
		})
	}
	d.StreamEndCapture = func(s uintptr, g *uintptr) driver.Result {
		return f.run("cuStreamEndCapture", func(*context) driver.Result {
			x, r := find[*stream](f, s)
			if r != driver.Success || x.capture == nil {
				return driver.ErrInvalidValue
			}
			if x.capture.thread != threadID() {
				return driver.ErrStreamCaptureWrongThrd
			}
			captured := x.capture
			for _, h := range f.handles {
				if other, ok := h.x.(*stream); ok && other.capture == captured {
					other.capture = nil
				}
			}
			*g = f.add(captured)
			return driver.Success
		})
	}
	d.StreamWaitEvent = func(s, e uintptr, flags uint32) driver.Result {
		return f.run("cuStreamWaitEvent", func(*context) driver.Result {
			x, r := find[*stream](f, s)
			if r != driver.Success {
				return r
			}
			ev, r := find[*event](f, e)
			if r == driver.Success && ev.capture != nil {
				x.capture = ev.capture
			}
			return r
		})
	}
	f.bindEvents(d)
	f.bindGraphs(d)
}

func (f *Fake) bindEvents(d *driver.Driver) {
	d.EventCreate = func(e *uintptr, flags uint32) driver.Result {
		return f.run("cuEventCreate", func(*context) driver.Result {
			*e = f.add(&event{})
			return driver.Success
		})
	}
	d.EventDestroy = func(e uintptr) driver.Result { return drop[*event](f, "cuEventDestroy_v2", e) }
	d.EventRecord = func(e, s uintptr) driver.Result {
		return f.run("cuEventRecord", func(*context) driver.Result {
			x, r := find[*stream](f, s)
			if r != driver.Success {
				return r
			}
			ev, r := find[*event](f, e)
			if r == driver.Success {
				ev.at, ev.recorded, ev.capture = f.ticks, true, x.capture
			}
			return r
		})
	}
	d.EventSynchronize = func(e uintptr) driver.Result {
		return f.run("cuEventSynchronize", func(*context) driver.Result {
			_, r := find[*event](f, e)
			return r
		})
	}
	d.EventElapsedTime = func(ms *float32, from, to uintptr) driver.Result {
		return f.run("cuEventElapsedTime", func(*context) driver.Result {
			a, r := find[*event](f, from)
			if r != driver.Success {
				return r
			}
			b, r := find[*event](f, to)
			if r != driver.Success || !a.recorded || !b.recorded {
				return driver.ErrInvalidHandle
			}
			*ms = b.at - a.at
			return driver.Success
		})
	}
}

func (f *Fake) bindGraphs(d *driver.Driver) {
	d.GraphInstantiate = func(exec *uintptr, g uintptr, flags uint64) driver.Result {
		return f.run("cuGraphInstantiateWithFlags", func(*context) driver.Result {
			x, r := find[*graph](f, g)
			if r != driver.Success || flags != 0 {
				return driver.ErrInvalidValue
			}
			*exec = f.add(&graphExec{ops: x.ops})
			return driver.Success
		})
	}
	d.GraphUpload = func(exec, s uintptr) driver.Result {
		return f.run("cuGraphUpload", func(*context) driver.Result {
			_, r := find[*graphExec](f, exec)
			return r
		})
	}
	d.GraphLaunch = func(exec, s uintptr) driver.Result {
		f.mu.Lock()
		defer f.mu.Unlock()
		c, r := f.here("cuGraphLaunch")
		if r != driver.Success {
			return r
		}
		g, r := find[*graphExec](f, exec)
		if r != driver.Success {
			return r
		}
		if _, r := find[*stream](f, s); r != driver.Success {
			return r
		}
		for _, work := range g.ops {
			f.ticks += 0.001
			if r := work(c); r != driver.Success {
				return r
			}
		}
		return driver.Success
	}
	d.GraphExecDestroy = func(exec uintptr) driver.Result { return drop[*graphExec](f, "cuGraphExecDestroy", exec) }
	d.GraphDestroy = func(g uintptr) driver.Result { return drop[*graph](f, "cuGraphDestroy", g) }
}
