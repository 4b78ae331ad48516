package peers

/*
#cgo CFLAGS: -fopenmp
#cgo LDFLAGS: -fopenmp
#include <omp.h>
*/
import "C"

import (
	"fmt"
	"os"
	"runtime"
	"strconv"

	"golang.org/x/sys/unix"
)

// Pin locks the calling goroutine to its thread for good and limits every
// library to that one thread. OpenMP keeps its limit a thread, so peers must
// be prepared and run on the pinned goroutine.
func Pin() error {
	runtime.LockOSThread()
	C.omp_set_dynamic(0)
	C.omp_set_num_threads(1)
	pinOpenBLAS()
	return alone()
}

// processors are those that the process began with.
var processors, processorsErr = func() (set unix.CPUSet, err error) {
	err = unix.SchedGetaffinity(0, &set)
	return set, err
}()

// alone gives the calling thread the last of the processors and all other
// threads the rest, where there is more than one. After a call into C Go's monitor wakes up
// some ten thousand times a second for a while. On the same processor that takes an
// eighth of the time of what runs next: of Go code, since the monitor rests during C.
func alone() error {
	if processorsErr != nil || processors.Count() < 2 {
		return processorsErr
	}
	var own unix.CPUSet
	rest := processors
	last := 0
	for i := range 64 * len(rest) {
		if rest.IsSet(i) {
			last = i
		}
	}
	own.Set(last)
	rest.Clear(last)
	threads, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return err
	}
	for _, t := range threads {
		id, err := strconv.Atoi(t.Name())
		if err != nil {
			return err
		}
		set := &rest
		if id == unix.Gettid() {
			set = &own
		}
		if err := unix.SchedSetaffinity(id, set); err != nil && err != unix.ESRCH {
			return fmt.Errorf("processors of thread %d: %w", id, err)
		}
	}
	return nil
}
