package sgp

import (
	"errors"
	"syscall"
	"unsafe"
)

// hugePage is the size of a large page of x86-64, and of arm64 where pages have
// 4096 bytes.
const hugePage = 2 << 20

// hugePages is memory in large pages, as far as the system gives such: weights that
// come from memory are read up to a tenth faster out of them than out of a mapped
// file, and a third faster than out of small pages. Which sets of a cache they take
// is the same in every run.
type hugePages struct {
	bytes []byte
	all   []byte // with what lies before the first boundary
}

var errSmallPages = errors.New("not for huge pages")

// newHugePages maps n bytes. It fails where they would not fill a quarter of a large page,
// or would take more than a quarter of the machine's memory, in which a mapped file is
// better off: the system can take that back.
func newHugePages(n int64) (h hugePages, err error) {
	if !Copies(n) {
		return h, errSmallPages
	}
	return mapHuge(n)
}

func mapHuge(n int64) (h hugePages, err error) {
	size := (int(n) + hugePage - 1) / hugePage * hugePage
	if h.all, err = syscall.Mmap(-1, 0, size+hugePage, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_PRIVATE|syscall.MAP_ANON); err != nil {
		return h, err
	}
	skip := int(-uintptr(unsafe.Pointer(unsafe.SliceData(h.all))) % hugePage)
	h.bytes = h.all[skip : skip+int(n) : skip+int(n)]
	_ = syscall.Madvise(h.all, syscall.MADV_HUGEPAGE) // without, the pages are small
	return h, nil
}

// Copies reports whether Parse of n bytes makes a copy of its own.
func Copies(n int64) bool {
	var info syscall.Sysinfo_t
	return n >= hugePage/4 && syscall.Sysinfo(&info) == nil && uint64(n) <= uint64(info.Totalram)*uint64(info.Unit)/4
}

// HugePages is n bytes of memory in large pages, as far as the system gives such, and what ends it: for
// several small packed files in a row, as layers lie in a larger one that Parse copies.
func HugePages(n int64) (memory []byte, free func() error, err error) {
	h, err := mapHuge(n)
	return h.bytes, h.free, err
}

// protect makes the memory read-only.
func (h hugePages) protect() error { return syscall.Mprotect(h.all, syscall.PROT_READ) }

func (h hugePages) free() error { return syscall.Munmap(h.all) }
