//go:build !linux

package worker

import "time"

const clockName = "wall time"

var start = time.Now()

// now is the time since the program's start in nanoseconds.
func now() int64 { return int64(time.Since(start)) }

// pin does nothing where a thread cannot be kept on a core.
func pin() {}
