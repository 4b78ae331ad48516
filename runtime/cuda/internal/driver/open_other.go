//go:build !(linux && (amd64 || arm64))

package driver

import "errors"

// Library is the file name that the driver's package installs.
const Library = "libcuda.so.1"

// Open reports that the driver is bound on Linux only, for amd64 and arm64.
func Open(string) (*Driver, error) {
	return nil, &NoLibraryError{Err: errors.New("the driver is bound on linux/amd64 and linux/arm64 only")}
}
