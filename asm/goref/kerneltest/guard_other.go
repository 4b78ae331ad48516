//go:build !(linux || darwin || freebsd || netbsd || openbsd)

package kerneltest

// mapGuarded makes size usable bytes, all[lower:upper]. Here no page is guarded;
// wrong writes are still found around outputs.
func mapGuarded(size int) (all []byte, lower, upper int, err error) {
	return make([]byte, size), 0, size, nil
}

func unmap([]byte) {}
