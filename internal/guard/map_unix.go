//go:build linux || darwin || freebsd || netbsd || openbsd

package guard

import (
	"fmt"
	"os"
	"syscall"
)

// mapGuarded maps at least size usable bytes, all[lower:upper], between two
// pages that cannot be accessed.
func mapGuarded(size int) (all []byte, lower, upper int, err error) {
	page := os.Getpagesize()
	lower = page
	upper = page + (size+page-1)/page*page
	all, err = syscall.Mmap(-1, 0, upper+page, syscall.PROT_NONE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil {
		return nil, 0, 0, fmt.Errorf("mapping guarded memory: %w", err)
	}
	if upper > lower {
		if err := syscall.Mprotect(all[lower:upper], syscall.PROT_READ|syscall.PROT_WRITE); err != nil {
			unmap(all)
			return nil, 0, 0, fmt.Errorf("guarding memory: %w", err)
		}
	}
	return all, lower, upper, nil
}

// protect makes whole pages read-only.
func protect(b []byte) error {
	if len(b) == 0 {
		return nil
	}
	return syscall.Mprotect(b, syscall.PROT_READ)
}

// unmap frees what mapGuarded mapped. It can fail only on memory that it did not
// map.
func unmap(all []byte) {
	if err := syscall.Munmap(all); err != nil {
		panic(err)
	}
}
