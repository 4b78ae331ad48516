package weights

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/sparsegen/sparsegen/internal/atomicfile"
)

// Entry is a tensor to be written.
type Entry struct {
	Name  string
	DType DType
	Shape []int
	// Data yields the tensor's little-endian row-major bytes when they are
	// needed, so that a file larger than memory can be written.
	Data func() ([]byte, error)
}

// Float32Entry is an F32 tensor of the given shape.
func Float32Entry(name string, shape []int, values []float32) Entry {
	return Entry{Name: name, DType: F32, Shape: shape, Data: func() ([]byte, error) { return Float32Bytes(values), nil }}
}

// WriteSafetensors writes the tensors, with metadata where it is not empty. The
// header keeps the given order; the data is ordered by falling element size, so
// that each tensor is aligned. The same input gives the same bytes. The file
// appears whole or not at all.
func WriteSafetensors(path string, entries []Entry, metadata map[string]string) error {
	header, order, err := safetensorsHeader(entries, metadata)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return writeFile(path, func(w io.Writer) error {
		if _, err := w.Write(header); err != nil {
			return err
		}
		for _, i := range order {
			e := entries[i]
			b, err := e.Data()
			if err != nil {
				return err
			}
			if size, _ := sizeOf(e.DType, e.Shape); size != int64(len(b)) {
				return fmt.Errorf("tensor %q: %d bytes of data where %v %v takes %d", e.Name, len(b), e.DType, e.Shape, size)
			}
			if _, err := w.Write(b); err != nil {
				return err
			}
		}
		return nil
	})
}

// safetensorsHeader is the length and the JSON header, padded so that the data
// starts at a multiple of 8, and the order in which the data follows.
func safetensorsHeader(entries []Entry, metadata map[string]string) ([]byte, []int, error) {
	order := make([]int, len(entries))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return dtypes[entries[b].DType].bits - dtypes[entries[a].DType].bits })
	begin := make([]int64, len(entries))
	size := make([]int64, len(entries))
	at := int64(0)
	for _, i := range order {
		e := entries[i]
		if e.DType == Invalid || e.DType >= String {
			return nil, nil, fmt.Errorf("tensor %q: safetensors has no dtype %v", e.Name, e.DType)
		}
		n, err := sizeOf(e.DType, e.Shape)
		if err != nil {
			return nil, nil, fmt.Errorf("tensor %q: %w", e.Name, err)
		}
		if n > math.MaxInt64-at {
			return nil, nil, errors.New("the tensors' sizes overflow")
		}
		begin[i], size[i] = at, n
		at += n
	}
	var h strings.Builder
	sep := "{"
	if len(metadata) > 0 {
		h.WriteString(`{"__metadata__":` + quoteJSON(metadata))
		sep = ","
	}
	seen := map[string]bool{"__metadata__": true}
	for i, e := range entries {
		if seen[e.Name] {
			return nil, nil, fmt.Errorf("the name %q is taken", e.Name)
		}
		seen[e.Name] = true
		dims := make([]string, len(e.Shape))
		for j, d := range e.Shape {
			dims[j] = strconv.Itoa(d)
		}
		fmt.Fprintf(&h, `%s%s:{"dtype":"%v","shape":[%s],"data_offsets":[%d,%d]}`,
			sep, quoteJSON(e.Name), e.DType, strings.Join(dims, ","), begin[i], begin[i]+size[i])
		sep = ","
	}
	if sep == "{" {
		h.WriteString("{")
	}
	h.WriteString("}")
	h.WriteString(strings.Repeat(" ", (8-h.Len()%8)%8))
	if h.Len() > maxHeader {
		return nil, nil, fmt.Errorf("the header takes %d bytes, above the format's limit of %d", h.Len(), maxHeader)
	}
	out := binary.LittleEndian.AppendUint64(nil, uint64(h.Len()))
	return append(out, h.String()...), order, nil
}

// quoteJSON encodes a string or a map of strings, whose keys it sorts; neither
// can fail.
func quoteJSON(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(b)
}

// Float32Bytes is the values as an F32 tensor's stored bytes.
func Float32Bytes(values []float32) []byte {
	b := make([]byte, 4*len(values))
	for i, v := range values {
		binary.LittleEndian.PutUint32(b[4*i:], math.Float32bits(v))
	}
	return b
}

// writeFile replaces the file at path, or leaves what was there.
func writeFile(path string, write func(io.Writer) error) error {
	return atomicfile.Write(path, func(w io.Writer) error {
		if err := write(w); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		return nil
	})
}
