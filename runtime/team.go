package runtime

import (
	"runtime/debug"
	"sync/atomic"
)

// job is work cut into units that may run in any order and on any worker.
// unit must not panic but for a memory fault, and may return an error.
type job interface {
	unit(worker, u int) error
}

// team runs jobs on the calling goroutine and on helpers. A helper joins by
// claiming a unit; nobody ever waits for a unit that is not claimed, so a helper
// that wakes late costs nothing. Helpers sleep between jobs.
type team struct {
	helpers int
	wake    chan struct{}

	job     job
	units   int
	open    atomic.Int32 // units that nobody has claimed; negative once helpers came late
	pending atomic.Int32 // units that are not finished
	failed  atomic.Pointer[error]
	done    chan struct{} // one token a job whose last unit a helper finished
}

// newTeam starts threads-1 helpers.
func newTeam(threads int) *team {
	t := &team{
		helpers: threads - 1,
		wake:    make(chan struct{}, max(0, threads-1)),
		done:    make(chan struct{}, 1),
	}
	for h := range t.helpers {
		go t.help(h + 1)
	}
	return t
}

// stop ends the helpers; no job may run.
func (t *team) stop() { close(t.wake) }

func (t *team) help(worker int) {
	debug.SetPanicOnFault(true)
	for range t.wake {
		for t.step(worker) == claimed {
		}
	}
}

type claim int

const (
	none claim = iota
	claimed
	last // claimed, and all of the job's units are finished
)

// step claims a unit and runs it. The claim orders what run wrote before it
// opened the job before what the unit reads.
func (t *team) step(worker int) claim {
	left := t.open.Add(-1)
	if left < 0 {
		return none
	}
	if t.failed.Load() == nil {
		if err := t.runUnit(worker, t.units-1-int(left)); err != nil {
			t.fail(err)
		}
	}
	if t.pending.Add(-1) > 0 {
		return claimed
	}
	if worker != 0 {
		t.done <- struct{}{}
	}
	return last
}

func (t *team) fail(err error) { t.failed.CompareAndSwap(nil, &err) }

// runUnit turns a memory fault into an error. The caller has asked for faults
// to be panics.
func (t *team) runUnit(worker, u int) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = faultError(p)
		}
	}()
	return t.job.unit(worker, u)
}

// run runs a job of some units and returns the first error.
func (t *team) run(j job, units int) error {
	t.job, t.units = j, units
	t.failed.Store(nil)
	t.pending.Store(int32(units))
	t.open.Store(int32(units))
	for range min(t.helpers, units-1) {
		select {
		case t.wake <- struct{}{}:
		default: // everyone is awake already
		}
	}
	for {
		switch t.step(0) {
		case claimed:
			continue
		case none:
			<-t.done // a helper still runs what it claimed
		}
		break
	}
	t.job = nil
	if err := t.failed.Load(); err != nil {
		return *err
	}
	return nil
}
