package weights

import (
	"bytes"
	"path/filepath"
	"strings"
)

const npyMagic = "\x93NUMPY"

// formatOf picks the reader: by extension, else by the first bytes. The
// extension goes first because a safetensors length may look like anything.
func formatOf(path string, b []byte) Format {
	switch strings.ToLower(filepath.Ext(path)) {
	case ".safetensors":
		return Safetensors
	case ".npy":
		return NPY
	case ".smtx":
		return SMTX
	case ".json":
		return TFJS
	}
	switch {
	case bytes.HasPrefix(b, []byte(npyMagic)):
		return NPY
	case len(b) > 8 && b[8] == '{' && le64(b) <= uint64(len(b)-8):
		return Safetensors
	}
	head := bytes.TrimLeft(b[:min(len(b), 4096)], " \t\r\n")
	switch {
	case len(head) == 0:
		return ""
	case head[0] == '{' || head[0] == '[':
		return TFJS
	case head[0] >= '0' && head[0] <= '9':
		return SMTX
	}
	return ""
}

// suggest names the closest tensor, for the error on an unknown one: the one
// that ends in the name asked for, or else the file's only tensor.
func (f *File) suggest(name string) string {
	for _, t := range f.tensors {
		if name != "" && (strings.HasSuffix(t.Name, "/"+name) || strings.HasSuffix(t.Name, "."+name) || strings.EqualFold(t.Name, name)) {
			return "; did you mean \"" + t.Name + "\"?"
		}
	}
	if len(f.tensors) == 1 {
		return "; the file's only tensor is \"" + f.tensors[0].Name + "\""
	}
	return ""
}
