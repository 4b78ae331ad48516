// Package kernels holds the generated kernels that the benchmarks race: every
// candidate of every case, so that -variants can race them all. The files are
// made by go generate and not kept.
//
// It must not import anything of sparsegen but runtime.
package kernels

//go:generate go run ./gen
