package peers

import "C"

import "unsafe"

// cfloat is the address of v for C. v is memory that Go's collector does not
// move and that C does not keep beyond the call, unless it is a Buffer's.
func cfloat(v []float32) *C.float { return (*C.float)(unsafe.Pointer(unsafe.SliceData(v))) }
