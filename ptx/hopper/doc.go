// Package hopper builds the asynchronous machinery of sm_90a on package ptx:
// rings of shared-memory stages that tensor copies fill and warpgroups drain,
// roles of warps, accumulators of wgmma, tensor maps, named barriers, and the
// plan of shared memory.
//
// Each protocol is one Go type, made so that what goes wrong silently on the
// device cannot be written: the bytes that a barrier expects are the sum of the
// copies registered with it; a tensor map's box on the host and its tile on the
// device are one object; an accumulator cannot be read while a wgmma that writes
// it is in flight, nor used before it is zeroed; the metadata of a sparse wgmma
// stays untouched until its group has retired. A misuse is an error of the
// kernel's builder, with the position of the caller.
//
// Sources: PTX ISA 8.4, sections 9.7.8.24 (copies), 9.7.12.15 (mbarrier), 9.7.14
// (wgmma).
//
// This package must not import any other package of this module but ptx,
// ptx/layout and runtime/gpu (as data), nor know what is computed: shapes of
// problems, patterns and element-wise operations are those of ptx/tile and
// ptx/kernels.
package hopper
