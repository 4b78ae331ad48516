package cudatest

import "syscall"

// threadID tells threads apart: the current context is a thread's own.
func threadID() int { return syscall.Gettid() }
