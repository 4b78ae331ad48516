package worker

import (
	"math/bits"
	"syscall"
	"unsafe"
)

const clockName = "thread CPU time"

// now is the CPU time of this thread in nanoseconds: what other processes take
// of the core does not count.
func now() int64 {
	const threadCPUTime = 3 // CLOCK_THREAD_CPUTIME_ID
	var t syscall.Timespec
	if _, _, errno := syscall.RawSyscall(syscall.SYS_CLOCK_GETTIME, threadCPUTime, uintptr(unsafe.Pointer(&t)), 0); errno != 0 {
		panic(errno)
	}
	return t.Nano()
}

// pin keeps this thread on the last of the cores that it may use: a move to
// another one costs it what its caches hold. Where that is refused the thread
// stays free.
func pin() {
	var mask [16]uint64 // 1024 cores
	size, address := unsafe.Sizeof(mask), uintptr(unsafe.Pointer(&mask))
	if _, _, errno := syscall.RawSyscall(syscall.SYS_SCHED_GETAFFINITY, 0, size, address); errno != 0 {
		return
	}
	for i := len(mask) - 1; i >= 0; i-- {
		if mask[i] != 0 {
			last := uint64(1) << (bits.Len64(mask[i]) - 1)
			clear(mask[:])
			mask[i] = last
			break
		}
	}
	_, _, _ = syscall.RawSyscall(syscall.SYS_SCHED_SETAFFINITY, 0, size, address) // best effort
}
