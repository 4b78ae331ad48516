package peers

/*
#cgo CFLAGS: -fopenmp
#cgo LDFLAGS: -fopenmp
#include <omp.h>
*/
import "C"

import "runtime"

// Pin locks the calling goroutine to its thread for good and limits every
// library to that one thread. OpenMP keeps its limit a thread, so peers must
// be prepared and run on the pinned goroutine.
func Pin() {
	runtime.LockOSThread()
	C.omp_set_dynamic(0)
	C.omp_set_num_threads(1)
	pinOpenBLAS()
}
