package npm

import (
	"archive/tar"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"
)

const (
	maxUnpacked = 1 << 30
	maxFiles    = 20_000
)

// unpack writes a gzipped npm tarball's regular files below dir, without their
// first path element ("package"). It refuses links, devices, names that leave
// dir, files that come twice, and archives above the caps.
func unpack(r io.Reader, dir string) error {
	zr, err := gzip.NewReader(r)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	tr := tar.NewReader(zr)
	left := int64(maxUnpacked)
	for files := 0; ; files++ {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if files >= maxFiles {
			return fmt.Errorf("the tarball holds more than %d files", maxFiles)
		}
		if h.Typeflag == tar.TypeDir || h.Typeflag == tar.TypeXGlobalHeader {
			continue
		}
		if h.Typeflag != tar.TypeReg {
			return fmt.Errorf("the tarball's entry %q is not a regular file", h.Name)
		}
		if h.Size > left {
			return fmt.Errorf("the tarball unpacks to more than %d bytes", maxUnpacked)
		}
		left -= h.Size
		if err := writeEntry(root, h.Name, tr); err != nil {
			return err
		}
	}
}

func writeEntry(root *os.Root, entry string, r io.Reader) error {
	_, name, ok := strings.Cut(entry, "/")
	if !ok || !filepath.IsLocal(filepath.FromSlash(entry)) || !filepath.IsLocal(filepath.FromSlash(name)) || strings.Contains(entry, "\\") {
		return fmt.Errorf("the tarball's entry %q leaves its folder", entry)
	}
	name = path.Clean(name)
	if err := root.MkdirAll(path.Dir(name), 0o755); err != nil {
		return err
	}
	f, err := root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, r)
	return errors.Join(err, f.Close())
}
