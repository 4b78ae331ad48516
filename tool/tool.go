// Package tool is what the commands of sparsegen do: one exported function a
// command, each with an options struct. The command line adds flags and exit
// codes to it; a Go program may call it just as well.
//
// This package must not be imported by any other package of this module except
// cmd/sparsegen: it stands at the end of every path.
package tool

import (
	"fmt"
	"io"
	"sync"
)

// Console is where a command writes.
type Console struct {
	Out io.Writer // results
	Log io.Writer // progress and remarks
	// Live says that Log is a terminal, on which progress redraws its line.
	Live bool
}

// Findings is the error of a command that did its work and found something
// wrong: drift in gen --check, a weight that does not fit in vet. Everything
// else that fails is a fault of usage or input.
type Findings struct {
	Summary string
}

func (f *Findings) Error() string { return f.Summary }

// progress shows how far a long command is: one line that redraws itself on a
// terminal, one line a step elsewhere.
type progress struct {
	mu    sync.Mutex
	c     Console
	total int // steps, or 0 where nobody knows
	done  int
	shown bool // a live line is on the screen
}

func newProgress(c Console, total int) *progress { return &progress{c: c, total: total} }

// step begins the next step.
func (p *progress) step(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.done++
	text := fmt.Sprintf(format, args...)
	if p.total > 0 {
		text = fmt.Sprintf("[%d/%d] %s", p.done, p.total, text)
	}
	if p.c.Live {
		fmt.Fprintf(p.c.Log, "\r\x1b[K%s", text)
		p.shown = true
		return
	}
	fmt.Fprintln(p.c.Log, text)
}

// end clears the live line.
func (p *progress) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.shown {
		fmt.Fprint(p.c.Log, "\r\x1b[K")
		p.shown = false
	}
}

// Progress returns a callback that shows how many of total steps are done: one
// line that redraws itself on a terminal, nothing elsewhere.
func (c Console) Progress(what string) func(done, total int) {
	if !c.Live {
		return nil
	}
	return func(done, total int) {
		fmt.Fprintf(c.Log, "\r\x1b[K%s %d/%d", what, done, total)
		if done == total {
			fmt.Fprint(c.Log, "\r\x1b[K")
		}
	}
}
