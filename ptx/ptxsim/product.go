package ptxsim

import (
	"fmt"
	"math"
	"strings"

	"github.com/sparsegen/sparsegen/internal/narrow"
)

// product is a matrix multiplication of a warp's 16 rows: D[16, n] += A[16, k]·B[k, n].
type product struct {
	n, k   int
	a, b   elements
	d      string // f32, f16 or s32
	sparse bool
	// saturates says that s32 sums stay at the largest and the smallest.
	saturates bool
}

// elements are the operands' type.
type elements struct {
	name    string
	size    int // bytes
	integer bool
	format  narrow.Format
}

func elementsOf(name string) (elements, error) {
	e := elements{name: name}
	switch name {
	case "bf16", "f16":
		e.size, e.format = 2, formats[name]
	case "e4m3", "e5m2":
		e.size, e.format = 1, formats[name]
	case "s8", "u8":
		e.size, e.integer = 1, true
	case "tf32":
		e.size = 4
	default:
		return e, fmt.Errorf("operands of type %s", name)
	}
	return e, nil
}

func (e elements) decode(code uint64) float64 {
	switch e.name {
	case "s8":
		return float64(int8(code))
	case "u8":
		return float64(uint8(code))
	case "tf32":
		return float64(f32(code &^ 0x1fff))
	case "bf16":
		return float64(math.Float32frombits(uint32(code) << 16))
	}
	return float64(e.format.Decode(uint16(code)))
}

func newProduct(n, k int, d, a, b string, sparse bool) (*product, error) {
	x := &product{n: n, k: k, d: d, sparse: sparse}
	var err error
	if x.a, err = elementsOf(a); err != nil {
		return nil, err
	}
	if x.b, err = elementsOf(b); err != nil {
		return nil, err
	}
	if x.a.size != x.b.size {
		return nil, fmt.Errorf("operands of types %s and %s", a, b)
	}
	return x, nil
}

// stored is how many columns of A are stored.
func (x *product) stored() int {
	if x.sparse {
		return x.k / 2
	}
	return x.k
}

// group is how many columns of A a code of metadata speaks of.
func (x *product) group() int {
	if x.a.size == 4 {
		return 2
	}
	return 4
}

// accumulators is the number of registers of D.
func (x *product) accumulators() int {
	if x.d == "f16" {
		return x.n / 4
	}
	return x.n / 2
}

// place is the row and the column of half h of accumulator r of a lane, or of the
// whole of it.
func (x *product) place(lane, r, h int) (row, col int) {
	g, t := lane/4, lane%4
	if x.d == "f16" {
		return g + r%2*8, r/2*8 + 2*t + h
	}
	return g + r/2%2*8, r/4*8 + 2*t + r%2
}

// element is where element (row, k) of A lies in the registers of a warp, and
// column the same of element (k, col) of B: lane, register and bits. Registers
// take 16 bytes of K of 8 rows.
func (x *product) element(row, k int) (lane, reg, shift int) {
	at := k * x.a.size
	return row%8*4 + at%16/4, at/16*2 + row/8, at % 4 * 8
}

func (x *product) column(k, col int) (lane, reg, shift int) {
	at := k * x.b.size
	return col*4 + at%16/4, at / 16, at % 4 * 8
}

// code is the lane and the bits of the metadata of a group of a row.
func (x *product) code(row, group, selector int) (lane, shift int) {
	g, upper := row%8, row/8
	groups := x.k / x.group()
	if x.a.size == 1 {
		if groups == 8 { // a row is a word
			return 4*g + 2*selector + upper, 4 * group
		}
		return 4*g + upper + group/8*2, group % 8 * 4
	}
	return 4*g + selector*(groups/4) + group/4, 16*upper + group%4*4
}

// rows are the values of A and, where it is sparse, their columns of B.
type rowsOf struct {
	v   [16][]float64
	col [16][]int
}

// rows reads A: code gives a stored element, meta a lane's metadata.
func (x *product) rows(code func(row, k int) uint64, meta func(lane int) uint64, selector int) *rowsOf {
	r := &rowsOf{}
	for row := range 16 {
		r.v[row] = make([]float64, x.stored())
		for k := range r.v[row] {
			r.v[row][k] = x.a.decode(code(row, k))
		}
		if !x.sparse {
			continue
		}
		r.col[row] = make([]int, x.stored())
		for group := range x.k / x.group() {
			lane, shift := x.code(row, group, selector)
			nibble := int(meta(lane) >> shift & 0xf)
			first, second := nibble&3, nibble>>2
			if x.a.size == 4 {
				if nibble != 0x4 && nibble != 0xe {
					fail(Metadata, "lane %d has the code %#x for row %d, columns %d and %d, want 0x4 or 0xe", lane, nibble, row, 2*group, 2*group+1)
				}
				r.col[row][group] = 2*group + first/2
				continue
			}
			if first >= second {
				fail(Metadata, "lane %d has the code %#x for row %d, columns %d to %d, which is no ordered pair", lane, nibble, row, 4*group, 4*group+3)
			}
			r.col[row][2*group], r.col[row][2*group+1] = 4*group+first, 4*group+second
		}
	}
	return r
}

// add computes A·B + C for one warp; columns holds B by column.
func (x *product) add(a *rowsOf, columns []float64, c, d []*lanes, fresh bool, negA, negB bool) {
	sign := 1.
	if negA != negB {
		sign = -1
	}
	dot := func(row, col int) float64 {
		b := columns[col*x.k : (col+1)*x.k]
		var sum float64
		if x.sparse {
			for i, k := range a.col[row] {
				sum += a.v[row][i] * b[k]
			}
			return sum * sign
		}
		for k, v := range a.v[row] {
			sum += v * b[k]
		}
		return sum * sign
	}
	for lane := range 32 {
		for r := range d {
			row, col := x.place(lane, r, 0)
			old := c[r][lane]
			if fresh {
				old = 0
			}
			switch x.d {
			case "s32":
				sum := int64(int32(old)) + int64(dot(row, col))
				if x.saturates {
					sum = clamp(sum, -1<<31, 1<<31-1)
				}
				d[r][lane] = uint64(sum) & mask(4)
			case "f16":
				lo := float64(narrow.F16.Decode(uint16(old))) + dot(row, col)
				hi := float64(narrow.F16.Decode(uint16(old>>16))) + dot(row, col+1)
				d[r][lane] = uint64(narrowed(narrow.F16, exact(lo))) | uint64(narrowed(narrow.F16, exact(hi)))<<16
			default:
				d[r][lane] = bits32(float32(float64(f32(old)) + dot(row, col)))
			}
		}
	}
}

// shape reads "m16n8k32" among the parts of a name.
func (i *instr) shape() (m, n, k int, err error) {
	for _, s := range i.parts {
		if strings.HasPrefix(s, "m") && strings.Contains(s, "n") && strings.Contains(s, "k") && s[1] >= '0' && s[1] <= '9' {
			_, err = fmt.Sscanf(s, "m%dn%dk%d", &m, &n, &k)
			return
		}
	}
	return 0, 0, 0, fmt.Errorf("no shape")
}
