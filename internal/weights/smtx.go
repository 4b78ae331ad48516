package weights

import (
	"fmt"
	"math"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
)

// maxDense bounds the elements of a topology made dense, because its column
// count is not backed by bytes of the file.
const maxDense = 1 << 28

// denseFree and densePerIndex bound them by what the file holds: a few bytes can
// state any extents, and a reader should not take a gigabyte for them.
const (
	denseFree     = 1 << 24
	densePerIndex = 1 << 12
)

// CSR is the topology of a sparse matrix in compressed sparse row form: row r
// keeps the columns ColIndices[RowOffsets[r]:RowOffsets[r+1]], ascending.
type CSR struct {
	Rows, Cols int
	RowOffsets []int32
	ColIndices []int32
}

// readSMTX reads the text format of the Deep Learning Matrix Collection (Gale et
// al. 2020): "rows, cols, nnz", then rows+1 offsets, then nnz column indices. It
// holds no values. The tensor is named after the file.
func (f *File) readSMTX(b []byte) error {
	s := numberScanner{path: f.Path, text: b}
	var head [3]int32
	for i := range head {
		v, err := s.next(",")
		if err != nil {
			return err
		}
		head[i] = v
	}
	rows, cols, nnz := int(head[0]), int(head[1]), int(head[2])
	// Each number takes a digit and a separator.
	if most := (len(b)-s.at)/2 + 1; rows+1 > most || nnz > most {
		return fault(f.Path, 0, "truncated: %d row offsets and %d column indices do not fit in the file", rows+1, nnz)
	}
	m := &CSR{Rows: rows, Cols: cols, RowOffsets: make([]int32, rows+1), ColIndices: make([]int32, nnz)}
	for r := range m.RowOffsets {
		v, err := s.next("")
		if err != nil {
			return err
		}
		if r == 0 && v != 0 || r > 0 && v < m.RowOffsets[r-1] || int(v) > nnz {
			return fault(f.Path, int64(s.start), "row offset %d is %d: offsets rise from 0 to nnz = %d", r, v, nnz)
		}
		m.RowOffsets[r] = v
	}
	if last := m.RowOffsets[rows]; int(last) != nnz {
		return fault(f.Path, int64(s.start), "the last row offset is %d, but nnz is %d", last, nnz)
	}
	for r := range rows {
		for i := m.RowOffsets[r]; i < m.RowOffsets[r+1]; i++ {
			v, err := s.next("")
			if err != nil {
				return err
			}
			if int(v) >= cols {
				return fault(f.Path, int64(s.start), "row %d: column %d is outside 0..%d", r, v, cols-1)
			}
			m.ColIndices[i] = v
		}
		if err := m.sortRow(r); err != nil {
			return fault(f.Path, int64(s.start), "%v", err)
		}
	}
	if s.space(); s.at != len(b) {
		return fault(f.Path, int64(s.at), "something follows the last column index")
	}
	f.tensors = []tensor{{
		Info: Info{
			Name:  strings.TrimSuffix(filepath.Base(f.Path), filepath.Ext(f.Path)),
			DType: F32, Shape: []int{rows, cols}, TopologyOnly: true,
		},
		topology: m,
	}}
	return nil
}

// sortRow brings a row's columns into ascending order and refuses repeats.
func (m *CSR) sortRow(r int) error {
	row := m.ColIndices[m.RowOffsets[r]:m.RowOffsets[r+1]]
	slices.Sort(row)
	for i := 1; i < len(row); i++ {
		if row[i] == row[i-1] {
			return fmt.Errorf("row %d: column %d occurs twice", r, row[i])
		}
	}
	return nil
}

// Topology returns the positions of a tensor of which the file holds positions
// only. The caller must not write to it.
func (f *File) Topology(name string) (*CSR, error) {
	t, err := f.lookup(name)
	if err != nil {
		return nil, err
	}
	if t.topology == nil {
		return nil, fmt.Errorf("%s: tensor %q has values; it is not a bare topology", f.Path, name)
	}
	return t.topology, nil
}

// RandomFloat32 fills a bare topology with pseudo-random values, dense and
// row-major: 0 off the topology, on it uniform in ±[1/4, 1). The same seed gives
// the same values everywhere.
func (f *File) RandomFloat32(name string, seed uint64) ([]float32, error) {
	rng := rand.New(rand.NewPCG(seed, 0))
	return f.fill(name, func() float32 {
		bits := rng.Uint64()
		v := 0.25 + 0.75*float32(bits>>41)*0x1p-23
		if bits&1 != 0 {
			v = -v
		}
		return v
	})
}

// Ones fills a bare topology with ones, dense and row-major.
func (f *File) Ones(name string) ([]float32, error) {
	return f.fill(name, func() float32 { return 1 })
}

func (f *File) fill(name string, value func() float32) ([]float32, error) {
	m, err := f.Topology(name)
	if err != nil {
		return nil, err
	}
	if most := min(maxDense, denseFree+densePerIndex*len(m.ColIndices)); m.Rows > 0 && m.Cols > most/m.Rows {
		return nil, fmt.Errorf("%s: tensor %q: %d×%d elements are above the limit of %d for a dense copy of %d positions", f.Path, name, m.Rows, m.Cols, most, len(m.ColIndices))
	}
	out := make([]float32, m.Rows*m.Cols)
	for r := range m.Rows {
		for _, c := range m.ColIndices[m.RowOffsets[r]:m.RowOffsets[r+1]] {
			out[r*m.Cols+int(c)] = value()
		}
	}
	return out, nil
}

// numberScanner reads non-negative decimal numbers below 2^31.
type numberScanner struct {
	path  string
	text  []byte
	at    int
	start int // of the last number
}

func (s *numberScanner) space() {
	for s.at < len(s.text) && (s.text[s.at] == ' ' || s.text[s.at] == '\n' || s.text[s.at] == '\r' || s.text[s.at] == '\t') {
		s.at++
	}
}

// next reads a number; separators may stand before it besides white space.
func (s *numberScanner) next(separators string) (int32, error) {
	s.space()
	for s.at > 0 && s.at < len(s.text) && strings.IndexByte(separators, s.text[s.at]) >= 0 {
		s.at++
		s.space()
	}
	s.start = s.at
	v := int64(0)
	for s.at < len(s.text) && s.text[s.at] >= '0' && s.text[s.at] <= '9' {
		v = v*10 + int64(s.text[s.at]-'0')
		if v >= math.MaxInt32 {
			return 0, fault(s.path, int64(s.start), "the number is too large")
		}
		s.at++
	}
	if s.at == s.start {
		if s.at == len(s.text) {
			return 0, fault(s.path, int64(s.at), "truncated: a number is expected")
		}
		return 0, fault(s.path, int64(s.at), "%q is not a number", s.text[s.at])
	}
	return int32(v), nil
}
