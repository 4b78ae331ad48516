// Package ptxsim runs GPU kernels on the CPU, for tests: it reads the PTX text of a
// gpu.Kernel and executes it under a gpu.Launch on buffers in memory, a warp at a
// time, and names the mistakes that a GPU answers with a wrong number once in a
// thousand runs, or with nothing.
//
// It is strict where a GPU is lenient. Accesses are checked against their buffer,
// their alignment and what was written before. What is asynchronous happens at a
// random time, or as late as the kernel allows. A vector clock for each warp and
// each asynchronous agent tells which accesses of shared memory are ordered, and
// which writes a proxy fence has covered, so that a missing wait or fence is found
// in a run where nothing went wrong. docs/ptx-sim.md says what is modelled.
//
// A new instruction is one row of a table in an ops file.
//
// This package is for tests and for looking into a kernel. It must not import any
// other package of this module but ptx/layout, runtime/gpu and internal/narrow.
package ptxsim
