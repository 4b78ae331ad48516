// Package atomicfile writes files that appear whole or not at all: the content
// goes to a new file in the same folder, which takes the name once it is
// complete. After an error the name holds what it held.
//
// This package must not import any other package of this module.
package atomicfile

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
)

// Staged is a complete file that does not have its name yet. It needs a call of
// Commit or Discard.
type Staged struct{ tmp, path string }

// Stage writes a new file beside path, on the disk when it returns. Errors of
// write are passed on as they are.
func Stage(path string, write func(io.Writer) error) (*Staged, error) {
	f, err := create(path)
	if err != nil {
		return nil, err
	}
	w := bufio.NewWriterSize(f, 1<<16)
	err = write(w)
	if err == nil {
		err = errors.Join(w.Flush(), f.Sync())
	}
	s := &Staged{f.Name(), path}
	if err = errors.Join(err, f.Close()); err != nil {
		return nil, errors.Join(err, s.Discard())
	}
	return s, nil
}

// Commit gives the file its name, in place of what had it.
func (s *Staged) Commit() error {
	if err := os.Rename(s.tmp, s.path); err != nil {
		return errors.Join(err, s.Discard())
	}
	return nil
}

// Discard removes the file.
func (s *Staged) Discard() error { return os.Remove(s.tmp) }

// Write replaces the file at path by what write writes.
func Write(path string, write func(io.Writer) error) error {
	s, err := Stage(path, write)
	if err != nil {
		return err
	}
	return s.Commit()
}

// WriteBytes replaces the file at path by data.
func WriteBytes(path string, data []byte) error {
	return Write(path, Bytes(data))
}

// Bytes is the write function for data.
func Bytes(data []byte) func(io.Writer) error {
	return func(w io.Writer) error {
		_, err := w.Write(data)
		return err
	}
}

// Sweep removes from a folder what processes left there that were killed before Commit or Discard.
// The caller knows that no other process writes there.
func Sweep(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	for _, e := range entries {
		if staged, _ := filepath.Match(".sparsegen-*.tmp", e.Name()); staged {
			err = errors.Join(err, os.Remove(filepath.Join(dir, e.Name())))
		}
	}
	return err
}

// create makes a new file in path's folder, with the permissions of an ordinary
// file (os.CreateTemp's would be the owner's alone).
func create(path string) (*os.File, error) {
	for {
		name := filepath.Join(filepath.Dir(path), fmt.Sprintf(".sparsegen-%08x.tmp", rand.Uint32()))
		f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
		if errors.Is(err, fs.ErrExist) {
			continue
		}
		var fault *fs.PathError
		if errors.As(err, &fault) {
			fault.Path = path // the name that the caller knows
		}
		return f, err
	}
}
