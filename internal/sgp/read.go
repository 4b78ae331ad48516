package sgp

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
)

// File is an open packed model. The slices of its Model must not be used after
// Close: they lie in memory of the file's own, or the values among them are mapped
// from the file, read-only.
type File struct {
	Model *Model
	Path  string

	release func() error
}

// FormatError says where a file is damaged or is no packed model.
type FormatError struct {
	Path   string
	Offset int64 // in bytes from the file's start
	Err    error
}

func (e *FormatError) Error() string {
	return fmt.Sprintf("%s: offset %d: %v", e.Path, e.Offset, e.Err)
}

// Unwrap gives the cause.
func (e *FormatError) Unwrap() error { return e.Err }

// Open reads or maps the packed model at path, compares every checksum and validates
// the model. A file that is damaged gives a *FormatError.
func Open(path string) (*File, error) {
	if !littleEndian() {
		return nil, errBigEndian
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s: not a regular file", path)
	}
	r := reader{file: f, path: path, size: info.Size()}
	if err := r.header(); err != nil {
		return nil, err
	}
	return r.open(func() ([]byte, func() error, error) { return mapFile(f, r.size) })
}

// open reads what is behind the header: into huge pages where there are such, else
// where place has it.
func (r *reader) open(place func() ([]byte, func() error, error)) (*File, error) {
	huge, err := newHugePages(r.size)
	release := huge.free
	if r.data, r.private = huge.bytes, err == nil; err != nil {
		if r.data, release, err = place(); err != nil {
			return nil, err
		}
	}
	m, err := r.model()
	if err == nil && r.private {
		err = huge.protect()
	}
	if err != nil {
		return nil, errors.Join(err, release())
	}
	return &File{Model: m, Path: r.path, release: release}, nil
}

// Close releases the model's memory.
func (f *File) Close() error {
	if f.release == nil {
		return nil
	}
	release := f.release
	f.release, f.Model = nil, nil
	return release()
}

// reader holds what is known of a file while it is opened.
type reader struct {
	file io.ReaderAt
	path string
	size int64
	// data is as long as the file. If it is private, check reads the file into it;
	// else it is mapped, and its bytes may change or vanish at any time.
	data    []byte
	private bool

	version     uint32
	fingerprint uint64
	sections    []section
	sums        []uint32 // of all sections' chunks
	structure   []byte   // private
	structureAt int64
}

func (r *reader) errorf(offset int64, format string, args ...any) error {
	return &FormatError{r.path, offset, fmt.Errorf(format, args...)}
}

// header reads the preamble and the header into private memory and checks the
// section table.
func (r *reader) header() error {
	pre := make([]byte, preambleSize)
	if r.size < preambleSize {
		return r.errorf(r.size, "the file ends within the preamble")
	}
	if _, err := r.file.ReadAt(pre, 0); err != nil {
		return r.errorf(0, "%w", err)
	}
	if string(pre[:8]) != magic {
		return r.errorf(0, "not a packed model: it begins with %q", pre[:8])
	}
	if r.version = binary.LittleEndian.Uint32(pre[8:]); r.version < version || r.version > gpuVersion {
		return r.errorf(8, "version %d where this program reads %d to %d", r.version, version, gpuVersion)
	}
	size := int64(binary.LittleEndian.Uint32(pre[12:]))
	if size < 4 || size > maxHeader || size > r.size-preambleSize {
		return r.errorf(12, "a header of %d bytes in a file of %d", size, r.size)
	}
	if n := binary.LittleEndian.Uint64(pre[16:]); n != uint64(r.size) {
		return r.errorf(16, "the file has %d bytes where the preamble says %d", r.size, n)
	}
	r.fingerprint = binary.LittleEndian.Uint64(pre[24:])
	header := make([]byte, size)
	if _, err := r.file.ReadAt(header, preambleSize); err != nil {
		return r.errorf(preambleSize, "%w", err)
	}
	if headerChecksum(pre, header) != binary.LittleEndian.Uint32(pre[preambleSize-4:]) {
		return r.errorf(preambleSize-4, "the header is damaged: its checksum differs")
	}
	return r.table(header)
}

func (r *reader) table(header []byte) error {
	count := int64(binary.LittleEndian.Uint32(header))
	rest := header[4:]
	if count*entrySize > int64(len(rest)) {
		return r.errorf(preambleSize, "%d sections do not fit the header", count)
	}
	r.sections = make([]section, count)
	end, prev := int64(preambleSize+len(header)), indexRegion
	chunks := int64(0)
	for i := range r.sections {
		s, at := &r.sections[i], preambleSize+4+int64(i)*entrySize
		*s = section{
			offset: int64(binary.LittleEndian.Uint64(rest)),
			length: int64(binary.LittleEndian.Uint64(rest[8:])),
			dtype:  dtype(rest[16]),
			region: region(rest[17]),
		}
		rest = rest[entrySize:]
		if s.dtype < f32 || s.dtype > u8 || s.region > valueRegion || s.region < prev {
			return r.errorf(at, "section %d: element type %d in region %d", i, s.dtype, s.region)
		}
		want := place(end, i == 0, prev, s.region)
		if s.offset != want || s.length < 0 || s.length > r.size-want || s.length%int64(s.dtype.size()) != 0 {
			return r.errorf(at, "section %d: %d bytes at %d; it belongs at %d in a file of %d", i, s.length, s.offset, want, r.size)
		}
		end, prev = s.offset+s.length, s.region
		chunks += int64(s.chunks())
	}
	if end != r.size {
		return r.errorf(end, "the sections end here, the file at %d", r.size)
	}
	if chunks*4 > int64(len(rest)) {
		return r.errorf(preambleSize, "the checksums of %d chunks do not fit the header", chunks)
	}
	r.sums = make([]uint32, chunks)
	for i := range r.sums {
		r.sums[i] = binary.LittleEndian.Uint32(rest[4*i:])
	}
	r.structure = rest[4*chunks:]
	r.structureAt = preambleSize + int64(len(header)-len(r.structure))
	return nil
}

// model reads and checks the sections, then the structure over them.
func (r *reader) model() (*Model, error) {
	sums := r.sums
	var jobs []chunk
	end := r.structureAt + int64(len(r.structure))
	for i := range r.sections {
		s := &r.sections[i]
		if s.region == indexRegion && !r.private {
			s.bytes = alignedBytes(int(s.length))
			if _, err := r.file.ReadAt(s.bytes, s.offset); err != nil {
				return nil, r.errorf(s.offset, "%w", err)
			}
		} else {
			s.bytes = r.data[s.offset : s.offset+s.length : s.offset+s.length]
		}
		jobs = append(jobs, chunk{offset: end, bytes: r.data[end:s.offset], zero: true})
		end = s.offset + s.length
		at := s.offset
		for b := range chunked(s.bytes) {
			jobs = append(jobs, chunk{section: i, offset: at, bytes: b, sum: sums[0]})
			at, sums = at+int64(len(b)), sums[1:]
		}
	}
	if err := r.verify(jobs); err != nil {
		return nil, err
	}
	d := decoder{version: r.version, in: r.structure, sections: r.sections}
	m := d.model()
	m.Fingerprint = r.fingerprint
	if d.err == nil && len(d.in) != 0 {
		d.err = fmt.Errorf("%d bytes behind the last layer", len(d.in))
	}
	if d.err == nil && r.version != m.version() {
		d.err = fmt.Errorf("a model of version %d in a file of version %d", m.version(), r.version)
	}
	if d.err != nil {
		return nil, r.errorf(r.structureAt+int64(len(r.structure)-len(d.in)), "%w", d.err)
	}
	if err := m.Validate(); err != nil {
		return nil, r.errorf(r.structureAt, "%w", err)
	}
	return m, nil
}

// chunk is a piece of the file to check: its checksum, or that it is zero.
type chunk struct {
	section int
	offset  int64
	bytes   []byte
	sum     uint32
	zero    bool
}

// verify checks all chunks, on all processors, and reports the damage that
// comes first in the file.
func (r *reader) verify(jobs []chunk) error {
	var (
		next  atomic.Int64
		mu    sync.Mutex
		first error
		where int64 = math.MaxInt64
		wg    sync.WaitGroup
	)
	work := func() {
		for {
			i := int(next.Add(1)) - 1
			if i >= len(jobs) {
				return
			}
			if err := r.check(jobs[i]); err != nil {
				mu.Lock()
				if jobs[i].offset < where {
					first, where = err, jobs[i].offset
				}
				mu.Unlock()
			}
		}
	}
	if r.size > 4*chunkSize {
		for range runtime.GOMAXPROCS(0) - 1 {
			wg.Go(work)
		}
	}
	work()
	wg.Wait()
	return first
}

const becameShorter = "the file became shorter while it was read"

func (r *reader) check(c chunk) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			if !IsFault(p) {
				panic(p)
			}
			err = r.errorf(c.offset, becameShorter)
		}
	}()
	if r.private {
		switch _, err := r.file.ReadAt(c.bytes, c.offset); {
		case errors.Is(err, io.EOF):
			return r.errorf(c.offset, becameShorter)
		case err != nil:
			return r.errorf(c.offset, "%w", err)
		}
	}
	if c.zero {
		for i, b := range c.bytes {
			if b != 0 {
				return r.errorf(c.offset+int64(i), "byte %#02x between sections, where 0 belongs", b)
			}
		}
		return nil
	}
	if sum := checksum(c.bytes); sum != c.sum {
		return r.errorf(c.offset, "section %d is damaged in these %d bytes: checksum %08x, the table says %08x", c.section, len(c.bytes), sum, c.sum)
	}
	return nil
}

// IsFault reports whether a recovered panic is an access to memory that is not
// there: what a mapped file gives when it was made shorter. It needs
// debug.SetPanicOnFault.
func IsFault(p any) bool {
	_, ok := p.(interface {
		runtime.Error
		Addr() uintptr
	})
	return ok
}

// alignedBytes is n zero bytes at an address that suits every element type.
func alignedBytes(n int) []byte {
	return bytesOf(make([]uint32, (n+3)/4))[:n:n]
}
