// Package gpuplan decides how a layer runs on a GPU: which of its ops become one
// launch, which form the weights have, and which kernel of package ptx/kernels
// computes a launch at how many tokens. Plan follows from the spec alone; Pack
// adds the weights, Emit prints the kernels into a package.
//
// It must not hold an instruction of any machine, nor switch on the name of a
// pattern, nor import a driver binding.
package gpuplan
