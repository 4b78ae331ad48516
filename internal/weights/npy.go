package weights

import (
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"path/filepath"
	"strconv"
	"strings"
)

// maxNPYHeader bounds the header dictionary; NumPy itself writes under 10 KB.
const maxNPYHeader = 1 << 20

// readNPY reads the npy format, versions 1 to 3 (NumPy enhancement proposal 1):
// magic, version, header length, a Python dictionary literal, the elements. The
// tensor is named after the file.
func (f *File) readNPY(b []byte) error {
	if len(b) < len(npyMagic) || string(b[:len(npyMagic)]) != npyMagic {
		return fault(f.Path, 0, "not an npy file: the magic string is missing")
	}
	if len(b) < 10 {
		return fault(f.Path, int64(len(b)), "truncated npy header")
	}
	var start, n int
	switch major := b[6]; major {
	case 1:
		start, n = 10, int(le16(b[8:]))
	case 2, 3:
		if len(b) < 12 {
			return fault(f.Path, int64(len(b)), "truncated npy header")
		}
		start, n = 12, int(min(le32(b[8:]), math.MaxInt32))
	default:
		return fault(f.Path, 6, "npy version %d is unknown", major)
	}
	if n > maxNPYHeader || n > len(b)-start {
		return fault(f.Path, 8, "npy header length %d exceeds the file or the limit of %d bytes", n, maxNPYHeader)
	}
	h := npyHeader{path: f.Path, text: string(b[start : start+n]), base: start}
	if err := h.parse(); err != nil {
		return err
	}
	t := tensor{
		Info:      Info{Name: strings.TrimSuffix(filepath.Base(f.Path), filepath.Ext(f.Path)), DType: h.dtype, Shape: h.shape},
		bigEndian: h.bigEndian,
		fortran:   h.fortran,
	}
	size, err := sizeOf(t.DType, t.Shape)
	if err != nil {
		return fault(f.Path, int64(start), "%v", err)
	}
	body := b[start+n:]
	if size != int64(len(body)) {
		return fault(f.Path, int64(start+n), "%v %v takes %d bytes, but %d follow the header", t.DType, t.Shape, size, len(body))
	}
	t.Bytes = size
	t.data.add(body)
	f.tensors = []tensor{t}
	return nil
}

// npyTypes maps NumPy's type codes, without the byte order.
var npyTypes = map[string]DType{
	"f2": F16, "f4": F32, "f8": F64, "b1": Bool, "c8": C64,
	"i1": I8, "i2": I16, "i4": I32, "i8": I64,
	"u1": U8, "u2": U16, "u4": U32, "u8": U64,
}

// npyHeader parses the dictionary literal: exactly the keys descr,
// fortran_order and shape, in any order.
type npyHeader struct {
	path string
	text string
	base int // file offset of text[0]
	at   int

	dtype     DType
	bigEndian bool
	fortran   bool
	shape     []int
}

func (h *npyHeader) fault(format string, args ...any) error {
	return fault(h.path, int64(h.base+h.at), "npy header: "+format, args...)
}

func (h *npyHeader) parse() error {
	if !h.accept('{') {
		return h.fault("a dictionary is expected")
	}
	seen := map[string]bool{}
	for !h.accept('}') {
		key, err := h.str()
		if err != nil {
			return err
		}
		if seen[key] {
			return h.fault("the key %q occurs twice", key)
		}
		seen[key] = true
		if !h.accept(':') {
			return h.fault("':' is expected after %q", key)
		}
		switch key {
		case "descr":
			err = h.descr()
		case "fortran_order":
			err = h.order()
		case "shape":
			err = h.tuple()
		default:
			err = h.fault("unknown key %q", key)
		}
		if err != nil {
			return err
		}
		if !h.accept(',') && !h.peek('}') {
			return h.fault("',' or '}' is expected")
		}
	}
	if len(seen) != 3 {
		return h.fault("descr, fortran_order and shape are expected")
	}
	h.space()
	if h.at != len(h.text) {
		return h.fault("something follows the dictionary")
	}
	return nil
}

func (h *npyHeader) space() {
	for h.at < len(h.text) && strings.IndexByte(" \t\r\n", h.text[h.at]) >= 0 {
		h.at++
	}
}

func (h *npyHeader) peek(c byte) bool {
	h.space()
	return h.at < len(h.text) && h.text[h.at] == c
}

func (h *npyHeader) accept(c byte) bool {
	ok := h.peek(c)
	if ok {
		h.at++
	}
	return ok
}

func (h *npyHeader) str() (string, error) {
	quote := byte('\'')
	if h.peek('"') {
		quote = '"'
	}
	if !h.accept(quote) {
		if h.peek('[') {
			return "", h.fault("structured dtypes are not tensors")
		}
		return "", h.fault("a string is expected")
	}
	end := strings.IndexByte(h.text[h.at:], quote)
	if end < 0 {
		return "", h.fault("the string does not end")
	}
	s := h.text[h.at : h.at+end]
	h.at += end + 1
	return s, nil
}

func (h *npyHeader) descr() error {
	s, err := h.str()
	if err != nil {
		return err
	}
	if len(s) == 3 && strings.IndexByte("<>|", s[0]) >= 0 {
		if dt, ok := npyTypes[s[1:]]; ok && (s[0] != '|' || dt.Size() == 1) {
			h.dtype, h.bigEndian = dt, s[0] == '>'
			return nil
		}
	}
	return h.fault("dtype %q is unknown", s)
}

func (h *npyHeader) order() error {
	h.space()
	for word, value := range map[string]bool{"True": true, "False": false} {
		if strings.HasPrefix(h.text[h.at:], word) {
			h.at += len(word)
			h.fortran = value
			return nil
		}
	}
	return h.fault("fortran_order is neither True nor False")
}

func (h *npyHeader) tuple() error {
	if !h.accept('(') {
		return h.fault("the shape is not a tuple")
	}
	h.shape = []int{}
	for !h.accept(')') {
		h.space()
		end := h.at
		for end < len(h.text) && h.text[end] >= '0' && h.text[end] <= '9' {
			end++
		}
		v, err := strconv.ParseUint(h.text[h.at:end], 10, 64)
		if err != nil || v > math.MaxInt {
			return h.fault("the shape holds something that is not a size")
		}
		h.at = end
		h.accept('L') // Python 2 wrote long integers so
		h.shape = append(h.shape, int(v))
		if !h.accept(',') && !h.peek(')') {
			return h.fault("',' or ')' is expected in the shape")
		}
	}
	return nil
}

// WriteNPY writes values of the given shape, row-major, as an npy file (version
// 1.0, '<f4'). The file appears whole or not at all.
func WriteNPY(path string, shape []int, values []float32) error {
	size, err := sizeOf(F32, shape)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if size != 4*int64(len(values)) {
		return fmt.Errorf("%s: shape %v does not hold %d values", path, shape, len(values))
	}
	dims := make([]string, len(shape))
	for i, d := range shape {
		dims[i] = strconv.Itoa(d)
	}
	tuple := strings.Join(dims, ", ")
	if len(dims) == 1 {
		tuple += ","
	}
	dict := fmt.Sprintf("{'descr': '<f4', 'fortran_order': False, 'shape': (%s), }", tuple)
	// The data starts at a multiple of 64 bytes, as NumPy writes it.
	pad := (64 - (len(npyMagic)+4+len(dict)+1)%64) % 64
	dict += strings.Repeat(" ", pad) + "\n"
	head := append([]byte(npyMagic), 1, 0)
	head = binary.LittleEndian.AppendUint16(head, uint16(len(dict)))
	return writeFile(path, func(w io.Writer) error {
		if _, err := io.WriteString(w, string(head)+dict); err != nil {
			return err
		}
		_, err := w.Write(Float32Bytes(values))
		return err
	})
}

// ReadNPY reads a whole npy file as float32: its shape and its values in
// row-major order, converted as Float32 says.
func ReadNPY(path string) (shape []int, values []float32, err error) {
	m, err := mapFile(path)
	if err != nil {
		return nil, nil, err
	}
	f := &File{Path: path, Format: NPY, maps: []*mapping{m}}
	defer f.Close()
	if err := f.readNPY(m.data); err != nil {
		return nil, nil, err
	}
	t := f.tensors[0]
	f.index = map[string]int{t.Name: 0}
	values, err = f.Float32(t.Name)
	return t.Shape, values, err
}
