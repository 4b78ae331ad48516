// Package ptx builds PTX text: a typed assembler whose instructions are rows of
// a table. It knows what each instruction reads, writes, reads late, and which
// target and PTX ISA it needs; it knows nothing of protocols (rings, roles,
// tiles), which are built on it.
//
// A Kernel is its own instruction builder. Every misuse (a form that is not in
// the table, a register of the wrong class, an immediate out of range, an
// instruction that the target lacks, a register read before it is written, a
// register touched while an asynchronous wgmma still uses it) is an error with
// the position of the Go caller; the errors are collected, and Module.Text
// returns them. The text is deterministic, so it can be a cache key.
//
// This package must not import any other package of this module, nor run or
// know a tool: assembling the text is the driver's work, or ptxtest's.
package ptx
