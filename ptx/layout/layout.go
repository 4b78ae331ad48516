// Package layout says where the elements of a matrix lie in the memories and
// registers that the tensor cores of NVIDIA GPUs read: shared-memory swizzles,
// matrix descriptors of wgmma, fragments of mma and wgmma, lane addresses of
// ldmatrix and stmatrix, 2:4 compression with its metadata, and weights packed
// so that one linear copy fetches a pipeline stage.
//
// Everything here is arithmetic on integers and bytes; elements are codes of one
// or two bytes whose number format does not matter. Host code packs weights with
// it, and emitters of kernels ask it for the offsets that they put into
// instructions, so that the two cannot disagree.
//
// Sources: PTX ISA 8.4, sections 5.5 (tensors), 9.7.13 (mma, ldmatrix) and
// 9.7.14 (wgmma).
//
// This package must not import any other package of this module but patterns.
package layout

import "fmt"

// Matrix is a row-major matrix of codes without gaps: element (r, c) is the
// little-endian code at Data[(r*Cols+c)*Size:]. Weights have shape [Out, In].
type Matrix struct {
	Rows, Cols int
	Size       int // bytes an element: 1 or 2
	Data       []byte
}

// NewMatrix returns a zero matrix of shape [rows, cols] with codes of size bytes.
func NewMatrix(rows, cols, size int) Matrix {
	return Matrix{Rows: rows, Cols: cols, Size: size, Data: make([]byte, rows*cols*size)}
}

// Row is the bytes of row r, [Cols*Size].
func (m Matrix) Row(r int) []byte {
	n := m.Cols * m.Size
	return m.Data[r*n : (r+1)*n : (r+1)*n]
}

// maxExtent bounds rows and columns: a padded product of two extents and an
// element's size then fits into an int64 with room to spare.
const maxExtent = 1 << 28

func checkShape(rows, cols int) error {
	if rows < 1 || cols < 1 || rows > maxExtent || cols > maxExtent {
		return fmt.Errorf("layout: shape [%d, %d] is outside 1..%d", rows, cols, maxExtent)
	}
	return nil
}

func checkSize(size int) error {
	if size != 1 && size != 2 {
		return fmt.Errorf("layout: elements of %d bytes, want 1 or 2", size)
	}
	return nil
}

func (m Matrix) check() error {
	if err := checkShape(m.Rows, m.Cols); err != nil {
		return err
	}
	if err := checkSize(m.Size); err != nil {
		return err
	}
	if want := int64(m.Rows) * int64(m.Cols) * int64(m.Size); int64(len(m.Data)) != want {
		return fmt.Errorf("layout: matrix [%d, %d] of %d-byte elements holds %d bytes, want %d", m.Rows, m.Cols, m.Size, len(m.Data), want)
	}
	return nil
}
