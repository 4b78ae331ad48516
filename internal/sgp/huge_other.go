//go:build !linux

package sgp

import "errors"

// hugePages is memory in large pages, which no system but Linux gives to whom asks.
type hugePages struct{ bytes []byte }

func newHugePages(int64) (hugePages, error) { return hugePages{}, errors.ErrUnsupported }

func (hugePages) protect() error { return nil }

func (hugePages) free() error { return nil }

// Copies reports whether Parse of n bytes makes a copy of its own.
func Copies(int64) bool { return false }

// HugePages is memory in large pages.
func HugePages(int64) (memory []byte, free func() error, err error) {
	return nil, nil, errors.ErrUnsupported
}
