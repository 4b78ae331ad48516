package runtime

import (
	"math/bits"
	"syscall"
)

// scalableBits is the length of scalable vectors, or 0 where it is none for which
// kernels are proved: a power of two of 128 bits or more. Old machines may have
// others.
func scalableBits() int {
	const getLength, bytes = 51, 0xffff // PR_SVE_GET_VL; the rest of the result is flags
	n, _, err := syscall.RawSyscall(syscall.SYS_PRCTL, getLength, 0, 0)
	length := int(n&bytes) * 8
	if err != 0 || length < 128 || bits.OnesCount(uint(length)) != 1 {
		return 0
	}
	return length
}
