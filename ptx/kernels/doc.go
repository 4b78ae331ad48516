// Package kernels makes GPU kernels: one family of kernels a set of files, each
// from a configuration of small numbers to PTX text and the gpu.Kernel that says
// how it is launched. A configuration is data: Check says why there is none such,
// Build makes the kernel, and a function Choose picks one for a problem and a
// device.
//
//	gemm    many tokens, dense or 2:4 weights, wgmma (sm_90a)
//	decode  few tokens, dense or 2:4 weights streamed once, wgmma (sm_90a)
//	gemv    one to eight tokens over active inputs (sm_80, sm_90a)
//	ampere  dense or 2:4 weights, mma.sync (sm_80)
//	gather  features picked by index, around the product of kept channels (sm_80, sm_90a)
//
// This package must not import any other package of this module but ptx and what
// is below it, and runtime/gpu (as data); a kernel knows no network and no driver.
package kernels
