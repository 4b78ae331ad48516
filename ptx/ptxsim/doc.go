// Package ptxsim runs GPU kernels on the CPU, for tests: it interprets the PTX text
// of a gpu.Kernel under a gpu.Launch on buffers in memory. It is slow, and strict
// where a GPU is lenient: every access is checked against its buffer and its
// alignment, shared memory starts as garbage, and what is asynchronous happens as
// late as the kernel allows. Copies by cp.async and stores by tensor maps move
// their bytes when a wait asks for them, a wgmma reads its operands (also the
// metadata register) when its group is waited for, and bulk copies and sums pushed
// into a peer land at random times. So a missing wait, a stage released too early
// and a register overwritten in flight give wrong results, and a lost arrival is
// reported as a deadlock.
//
// It knows the instructions that ptx/kernels emit and refuses others. Memory is
// sequentially consistent: missing fences do not show.
//
// This package is for tests. It must not import any other package of this module
// but ptx/layout, runtime/gpu and internal/narrow.
package ptxsim
