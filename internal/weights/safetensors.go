package weights

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"io"
	"math"
	"slices"
	"strconv"
	"unicode/utf8"
)

// maxHeader is the format's own limit on the JSON header, in bytes.
const maxHeader = 100_000_000

// readSafetensors reads: u64 little-endian header length, JSON header, data.
// As the format demands, the tensors' ranges must cover the data exactly, with
// neither hole nor overlap, and no key may occur twice.
func (f *File) readSafetensors(b []byte) error {
	if len(b) < 8 {
		return fault(f.Path, int64(len(b)), "truncated: a safetensors file starts with an 8-byte header length")
	}
	n := le64(b)
	switch {
	case n > maxHeader:
		return fault(f.Path, 0, "header length %d is above the format's limit of %d bytes", n, maxHeader)
	case n > uint64(len(b)-8):
		return fault(f.Path, 0, "header length %d, but only %d bytes follow: the file is truncated", n, len(b)-8)
	}
	header, data := b[8:8+n], b[8+n:]
	if !utf8.Valid(header) {
		return fault(f.Path, 8+int64(invalidUTF8(header)), "the header is not valid UTF-8")
	}
	p := headerParser{path: f.Path, dec: json.NewDecoder(bytes.NewReader(header)), end: int64(n)}
	p.dec.UseNumber()
	if err := p.header(f); err != nil {
		return err
	}
	return f.checkCover(8+int64(n), data)
}

func invalidUTF8(b []byte) int {
	i := 0
	for i < len(b) {
		r, n := utf8.DecodeRune(b[i:])
		if r == utf8.RuneError && n == 1 {
			break
		}
		i += n
	}
	return i
}

// checkCover checks that the tensors lie side by side and fill the data.
func (f *File) checkCover(start int64, data []byte) error {
	order := make([]*tensor, len(f.tensors))
	for i := range f.tensors {
		order[i] = &f.tensors[i]
	}
	slices.SortStableFunc(order, func(a, b *tensor) int {
		return cmp.Or(cmp.Compare(a.off, b.off), cmp.Compare(a.Bytes, b.Bytes)) // empty tensors go first
	})
	at := int64(0)
	for _, t := range order {
		switch {
		case t.off < at:
			return fault(f.Path, start+t.off, "tensor %q overlaps the tensor before it, which ends at data offset %d", t.Name, at)
		case t.off > at:
			return fault(f.Path, start+at, "a hole of %d bytes before tensor %q", t.off-at, t.Name)
		case t.Bytes > int64(len(data))-at:
			return fault(f.Path, start+int64(len(data)), "truncated: tensor %q ends at data offset %d, but there are %d bytes", t.Name, at+t.Bytes, len(data))
		}
		at += t.Bytes
	}
	if rest := int64(len(data)) - at; rest != 0 {
		return fault(f.Path, start+at, "%d bytes belong to no tensor", rest)
	}
	all := blob{}
	all.add(data)
	for i := range f.tensors {
		f.tensors[i].data = all
	}
	return nil
}

// headerParser walks the header's tokens, because order and duplicate keys
// matter and encoding/json hides both.
type headerParser struct {
	path string
	dec  *json.Decoder
	end  int64
}

func (p *headerParser) fault(format string, args ...any) error {
	return fault(p.path, 8+p.dec.InputOffset(), "header: "+format, args...)
}

func (p *headerParser) header(f *File) error {
	err := p.object("the header", func(key string) error {
		if key == "__metadata__" {
			return p.metadata(f)
		}
		t, err := p.tensor(key)
		if err != nil {
			return err
		}
		f.tensors = append(f.tensors, t)
		return nil
	})
	if err != nil {
		return err
	}
	if _, err := p.dec.Token(); err != io.EOF {
		return p.fault("something follows the JSON object")
	}
	return nil
}

func (p *headerParser) metadata(f *File) error {
	f.Metadata = map[string]string{}
	return p.object("__metadata__", func(key string) error {
		tok, err := p.token()
		if err != nil {
			return err
		}
		s, ok := tok.(string)
		if !ok {
			return p.fault("__metadata__ maps strings to strings; %q is not a string", key)
		}
		f.Metadata[key] = s
		return nil
	})
}

// tensor reads {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}.
func (p *headerParser) tensor(name string) (tensor, error) {
	t := tensor{Info: Info{Name: name}}
	var span []int
	seen := map[string]bool{}
	err := p.object(strconv.Quote(name), func(key string) error {
		seen[key] = true
		var err error
		switch key {
		case "dtype":
			err = p.dtype(&t)
		case "shape":
			t.Shape, err = p.ints(name + ".shape")
		case "data_offsets":
			span, err = p.ints(name + ".data_offsets")
		default:
			err = p.fault("tensor %q: unknown key %q", name, key)
		}
		return err
	})
	if err != nil {
		return t, err
	}
	for _, key := range []string{"dtype", "shape", "data_offsets"} {
		if !seen[key] {
			return t, p.fault("tensor %q has no %q", name, key)
		}
	}
	size, err := sizeOf(t.DType, t.Shape)
	if err != nil {
		return t, p.fault("tensor %q: %v", name, err)
	}
	if len(span) != 2 || span[0] > span[1] {
		return t, p.fault("tensor %q: data_offsets %v is not [begin, end]", name, span)
	}
	t.off, t.Bytes = int64(span[0]), int64(span[1]-span[0])
	if size != t.Bytes {
		return t, p.fault("tensor %q: %v %v takes %d bytes, but data_offsets span %d", name, t.DType, t.Shape, size, t.Bytes)
	}
	return t, nil
}

func (p *headerParser) dtype(t *tensor) error {
	tok, err := p.token()
	if err != nil {
		return err
	}
	s, _ := tok.(string)
	dt, ok := parseDType(s)
	if !ok {
		return p.fault("tensor %q: unknown dtype %v", t.Name, tok)
	}
	t.DType = dt
	return nil
}

// object reads an object and calls value for each key, refusing repeats.
func (p *headerParser) object(what string, value func(key string) error) error {
	tok, err := p.token()
	if err != nil {
		return err
	}
	if tok != json.Delim('{') {
		return p.fault("%s is not a JSON object", what)
	}
	seen := map[string]bool{}
	for p.dec.More() {
		tok, err := p.token()
		if err != nil {
			return err
		}
		key, ok := tok.(string)
		if !ok {
			return p.fault("%s: a key is not a string", what)
		}
		if seen[key] {
			return p.fault("%s: the key %q occurs twice", what, key)
		}
		seen[key] = true
		if err := value(key); err != nil {
			return err
		}
	}
	_, err = p.token() // '}'
	return err
}

func (p *headerParser) ints(what string) ([]int, error) {
	tok, err := p.token()
	if err != nil {
		return nil, err
	}
	if tok != json.Delim('[') {
		return nil, p.fault("%s is not an array", what)
	}
	out := []int{}
	for p.dec.More() {
		tok, err := p.token()
		if err != nil {
			return nil, err
		}
		num, _ := tok.(json.Number)
		v, err := strconv.ParseUint(num.String(), 10, 64)
		if err != nil || v > math.MaxInt {
			return nil, p.fault("%s: %v is not a size", what, tok)
		}
		out = append(out, int(v))
	}
	_, err = p.token() // ']'
	return out, err
}

func (p *headerParser) token() (json.Token, error) {
	tok, err := p.dec.Token()
	if err == nil {
		return tok, nil
	}
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return nil, fault(p.path, 8+p.end, "header: the JSON ends too early")
	}
	var syntax *json.SyntaxError
	if errors.As(err, &syntax) {
		return nil, fault(p.path, 8+syntax.Offset, "header: %v", err)
	}
	return nil, p.fault("%v", err)
}
