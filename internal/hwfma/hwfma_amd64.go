package hwfma

import "golang.org/x/sys/cpu"

// Available reports whether this processor has the instruction.
func Available() bool { return cpu.X86.HasFMA && cpu.X86.HasAVX }

// fma is FMA for n elements.
//
//go:noescape
func fma(y, a, b, c *float32, n int)
