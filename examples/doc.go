// Package examples holds programs that use sparsegen as any other module would:
// with a tool line in go.mod and a go:generate line beside each spec. It is a
// module of its own, so that what it needs does not become sparsegen's.
//
// A program here must not import codegen, asm, ptx or autotune.
package examples
