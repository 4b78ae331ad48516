// Package tile is what kernels of ptx/kernels are put together from, one level
// above the machinery of ptx/hopper: the order in which tiles of a matrix are
// visited, and what happens to a tile of sums on its way to memory.
//
// This package must not import ptx/kernels, nor anything of this module but ptx,
// ptx/layout, ptx/hopper and runtime/gpu (as data).
package tile
