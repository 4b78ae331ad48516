package cuda

import (
	"errors"
	"runtime"
	"sync"

	"github.com/sparsegen/sparsegen/runtime/cuda/internal/driver"
)

// Graph is captured work that is launched as a whole: the host's part of each
// launch is paid once.
type Graph struct {
	object
	buffers []*object // what the graph's nodes point into
}

// capture is the work that is on its way into a graph.
type capture struct {
	mu      sync.Mutex
	buffers map[*object]struct{}
	streams []*Stream // those that take part; the first one began
}

func (c *capture) hold(buffers []*Buffer) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, b := range buffers {
		c.buffers[b.mem] = struct{}{}
	}
}

func (c *capture) holdHost(h *HostBuffer) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.buffers[&h.object] = struct{}{}
}

func (c *capture) join(s *Stream) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if s.capture.Swap(c) != c {
		c.streams = append(c.streams, s)
	}
}

// Capture runs work, which puts launches, fills, copies and events into s and into
// streams that wait for events of s, and returns it as a graph; nothing of it
// runs yet. Streams that join must be joined back to s by an event. The calling
// goroutine keeps its thread meanwhile; work must use no other goroutine, and must
// not allocate, free, load or wait, which the driver refuses.
func (s *Stream) Capture(work func() error) (g *Graph, err error) {
	if err := s.ready(); err != nil {
		return nil, err
	}
	// The driver ties a capture to the thread that began it.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	d := s.dev
	c := &capture{buffers: make(map[*object]struct{}), streams: []*Stream{s}}
	if !s.capture.CompareAndSwap(nil, c) {
		return nil, errors.New("cuda: capture: the stream is captured already")
	}
	defer c.end()
	if err := d.do("begin a capture", func() driver.Result { return d.drv.StreamBeginCapture(s.handle, driver.CaptureThreadLocal) }); err != nil {
		return nil, err
	}
	var graph uintptr
	ended := false
	finish := func() error {
		ended = true
		return d.do("end a capture", func() driver.Result { return d.drv.StreamEndCapture(s.handle, &graph) })
	}
	defer func() {
		if !ended { // work panicked: leave the stream as it was
			_ = finish()
		}
		if graph != 0 {
			destroyErr := d.do("destroy a captured graph", func() driver.Result { return d.drv.GraphDestroy(graph) })
			if err == nil {
				err = destroyErr
			}
		}
	}()
	err = work()
	if endErr := finish(); err == nil {
		err = endErr
	}
	if err != nil {
		return nil, err
	}
	return d.instantiate(graph, c)
}

// end takes the capture off its streams.
func (c *capture) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range c.streams {
		s.capture.CompareAndSwap(c, nil)
	}
}

func (d *Device) instantiate(graph uintptr, c *capture) (*Graph, error) {
	g := new(Graph)
	if err := d.do("instantiate a graph", func() driver.Result { return d.drv.GraphInstantiate(&g.handle, graph, 0) }); err != nil {
		return nil, err
	}
	g.dev, g.what, g.gone, g.destroy = d, "graph", ErrClosed, d.drv.GraphExecDestroy
	for o := range c.buffers {
		g.buffers = append(g.buffers, o)
	}
	d.own(&g.object)
	return g, nil
}

// Upload moves the graph to the device ahead of its first launch.
func (g *Graph) Upload(s *Stream) error {
	return g.run(s, "upload a graph", g.dev.drv.GraphUpload)
}

// Launch runs the graph in a stream. It does not allocate. Launches of one graph
// never overlap.
func (g *Graph) Launch(s *Stream) error {
	return g.run(s, "launch a graph", g.dev.drv.GraphLaunch)
}

func (g *Graph) run(s *Stream, call string, f func(exec, stream uintptr) driver.Result) error {
	d := g.dev
	s = d.streamOr(s)
	if err := s.usable(d); err != nil {
		return err
	}
	if err := g.usable(d); err != nil {
		return err
	}
	for _, o := range g.buffers {
		if o.dead.Load() {
			return o.goneError()
		}
	}
	if err := d.enter(); err != nil {
		return err
	}
	defer d.leave()
	return d.check(call, f(g.handle, s.handle))
}

// Close destroys the graph; no launch of it may be under way.
func (g *Graph) Close() error { return g.end() }
