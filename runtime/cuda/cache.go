package cuda

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/sparsegen/sparsegen/runtime/gpu"
)

// Cache keeps compiled kernels in a folder, one file each. Many processes may
// share it: entries are written to a temporary name and renamed, and one that is
// damaged counts as absent and is written anew.
type Cache struct{ dir string }

// NewCache returns the cache in a folder, which is made when it is needed.
func NewCache(dir string) *Cache { return &Cache{dir: dir} }

// DefaultCache returns the cache in the user's cache folder, or nil where the
// system names none.
func DefaultCache() *Cache {
	dir, err := os.UserCacheDir()
	if err != nil {
		return nil
	}
	return NewCache(filepath.Join(dir, "sparsegen", "cubin"))
}

// Dir returns the cache's folder.
func (c *Cache) Dir() string { return c.dir }

// cacheMagic starts an entry; its digit is the version of the format:
//
//	magic [8]byte, sha256 of all that follows [32]byte, bytes of the log uint32 (little endian), log, cubin
const cacheMagic = "sgcubin1"

// maxEntry bounds what is read of a file: far above any cubin.
const maxEntry = 1 << 28

// cacheKey names an entry by everything that the compiled code depends on.
func cacheKey(ptx []byte, o LoadOptions, d *gpu.Device, build string) string {
	h := sha256.New()
	fmt.Fprintf(h, "driver %s\nmaxregs %d\n", build, o.MaxRegisters)
	h.Write(ptx)
	return fmt.Sprintf("%s-sm%d%d-%d.cubin", hex.EncodeToString(h.Sum(nil)), d.CC[0], d.CC[1], d.Driver)
}

// get returns an entry, ok false where there is no sound one.
func (c *Cache) get(key string) (cubin []byte, log string, ok bool) {
	path := filepath.Join(c.dir, key)
	if st, err := os.Stat(path); err != nil || !st.Mode().IsRegular() || st.Size() > maxEntry {
		return nil, "", false
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, "", false
	}
	return decodeEntry(data)
}

func decodeEntry(data []byte) (cubin []byte, log string, ok bool) {
	const head = len(cacheMagic) + sha256.Size
	if len(data) < head+4 || string(data[:len(cacheMagic)]) != cacheMagic {
		return nil, "", false
	}
	body := data[head:]
	if sum := sha256.Sum256(body); !bytes.Equal(sum[:], data[len(cacheMagic):head]) {
		return nil, "", false
	}
	n := uint64(binary.LittleEndian.Uint32(body))
	if body = body[4:]; n >= uint64(len(body)) {
		return nil, "", false
	}
	return body[n:], string(body[:n]), true
}

func encodeEntry(cubin []byte, log string) []byte {
	body := binary.LittleEndian.AppendUint32(nil, uint32(len(log)))
	body = append(append(body, log...), cubin...)
	sum := sha256.Sum256(body)
	return append(append([]byte(cacheMagic), sum[:]...), body...)
}

// put writes an entry.
func (c *Cache) put(key string, cubin []byte, log string) (err error) {
	if err := os.MkdirAll(c.dir, 0o755); err != nil {
		return fmt.Errorf("cuda: cubin cache: %w", err)
	}
	f, err := os.CreateTemp(c.dir, "new-*")
	if err != nil {
		return fmt.Errorf("cuda: cubin cache: %w", err)
	}
	_, err = f.Write(encodeEntry(cubin, log))
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), filepath.Join(c.dir, key))
	}
	if err != nil {
		return fmt.Errorf("cuda: cubin cache: %w", errors.Join(err, os.Remove(f.Name())))
	}
	return nil
}
