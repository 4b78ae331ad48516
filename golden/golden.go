// Package golden holds what sparsegen prints for a few layers, so that a change
// to a kernel shows as a diff in review: testdata/*.txtar has a spec and the
// files that some of its kernels make, testdata/manifest.txt a hash of every
// other kernel. testdata/gpu has the same of kernels for GPUs, with the plans that
// choose them. `go test ./golden -update` records what is printed now.
//
// This package must not be imported; it is its tests.
package golden
