package sgp

import (
	"errors"
	"fmt"
)

func (f *Lanes) validate(lin *Linear) error {
	k, err := keptColumns(f.Cols, lin.In)
	if err != nil {
		return err
	}
	if f.S < 1 || f.S > 128 {
		return fmt.Errorf("slabs of %d rows are not in 1..128", f.S)
	}
	if f.Rows != nil {
		if len(f.Rows) == 0 {
			return errors.New("rows: no row kept")
		}
		if err := distinctRows(f.Rows, lin.Out); err != nil {
			return err
		}
	}
	slabs := f.Slabs(lin.Out)
	size := func(meta, w, cnt int, ok bool) error {
		if !ok || len(f.Meta) != meta || len(f.W) != w || len(f.Cnt) != cnt {
			return fmt.Errorf("%d bytes of metadata, %d weights, %d counts for %d slabs of %d, K = %d", len(f.Meta), len(f.W), len(f.Cnt), slabs, f.S, k)
		}
		return nil
	}
	switch f.Kind {
	case LanesDense:
		w, ok := mul(slabs, k, f.S)
		return size(0, w, 0, ok)
	case LanesNM:
		if f.M < 2 || f.M > 128 || f.M&(f.M-1) != 0 || f.N < 1 || f.N > f.M {
			return fmt.Errorf("%d:%d is no N:M with M a power of two in 2..128", f.N, f.M)
		}
		if k%f.M != 0 {
			return fmt.Errorf("a length K = %d is not a multiple of M = %d", k, f.M)
		}
		meta, ok1 := mul(slabs, NMWords(k, f.N, f.M), f.S, 4)
		w, ok2 := mul(slabs, k/f.M, f.N, f.S)
		return size(meta, w, 0, ok1 && ok2)
	case LanesMask:
		if f.S%8 != 0 {
			return fmt.Errorf("mask slabs of %d rows: not a multiple of 8", f.S)
		}
		meta, ok := mul(slabs, k, f.S/8)
		if err := size(meta, MaskHead+onesCount(f.Meta)+MaskTail, slabs, ok); err != nil {
			return err
		}
		return f.validateMask(k)
	case LanesWindow:
		if f.S != 16 {
			return fmt.Errorf("slabs of %d rows: 16 is the only one", f.S)
		}
		sum, err := f.sumCounts(slabs*2, len(f.W)/WindowW)
		if err != nil {
			return err
		}
		if err := size(sum*WindowMeta, sum*WindowW, slabs*2, true); err != nil {
			return err
		}
		return f.validateWindow(k)
	case LanesList, LanesRow, DeltaTile:
		counts, each := slabs, f.S // and stored elements that one counts
		if f.Kind == LanesRow {
			counts, each = slabs*f.S, 8
		}
		sum, err := f.sumCounts(counts, len(f.W))
		if err != nil {
			return err
		}
		w, ok := mul(sum, each)
		if f.Kind == LanesList {
			if err := size(2*sum, w, counts, ok); err != nil {
				return err
			}
			return f.validateList(k)
		}
		if f.S != 8 {
			return fmt.Errorf("slabs of %d rows: 8 is the only one", f.S)
		}
		if err := size(w, w, counts, ok); err != nil {
			return err
		}
		if f.Kind == LanesRow {
			return f.validateRow(k)
		}
		return f.validateDelta(k)
	}
	return fmt.Errorf("unknown kind %d", f.Kind)
}

// sumCounts adds up the counts, of which there must be so many, and at most most
// of what they count.
func (f *Lanes) sumCounts(counts, most int) (int, error) {
	if len(f.Cnt) != counts {
		return 0, fmt.Errorf("%d counts, %d are needed", len(f.Cnt), counts)
	}
	sum := 0
	for _, c := range f.Cnt {
		sum += int(c)
		if sum > most {
			return 0, fmt.Errorf("counts need more than the %d weights", len(f.W))
		}
	}
	return sum, nil
}

func (f *Lanes) validateMask(k int) error {
	bytes := k * f.S / 8
	for j, n := range f.Cnt {
		if stored := onesCount(f.Meta[j*bytes:][:bytes]); stored != int(n) {
			return fmt.Errorf("slab %d counts %d values where its mask has %d", j, n, stored)
		}
	}
	return nil
}

func (f *Lanes) validateList(k int) error {
	for i := 0; i < len(f.Meta); i += 2 {
		if c := int(f.Meta[i]) | int(f.Meta[i+1])<<8; c >= k {
			return fmt.Errorf("index %d = %d is not below %d", i/2, c, k)
		}
	}
	return nil
}

// validateRow follows each row's groups: an index counts from the last one of
// the group before.
func (f *Lanes) validateRow(k int) error {
	meta := f.Meta
	for row, n := range f.Cnt {
		c := 0
		for range n {
			group := meta[:8]
			meta = meta[8:]
			for _, d := range group {
				if c+int(d) >= k {
					return fmt.Errorf("row %d has an index %d, columns are %d", row, c+int(d), k)
				}
			}
			c += int(group[7])
		}
	}
	return nil
}

// validateWindow follows the windows of each eight rows: a step's begins as many
// columns behind the last window of the group before as its byte says.
func (f *Lanes) validateWindow(k int) error {
	meta := f.Meta
	for unit, n := range f.Cnt {
		begin := 0
		for range n {
			steps := meta[WindowMeta-WindowSteps : WindowMeta]
			meta = meta[WindowMeta:]
			for _, d := range steps {
				if end := begin + int(d) + WindowColumns; end > k {
					return fmt.Errorf("rows from %d on have a window up to column %d, columns are %d", unit*8, end, k)
				}
			}
			begin += int(steps[WindowSteps-1])
		}
	}
	return nil
}

// validateDelta follows each lane's column; it only ever grows.
func (f *Lanes) validateDelta(k int) error {
	at := 0
	for j, n := range f.Cnt {
		var c [8]int
		steps := f.Meta[at*8 : (at+int(n))*8]
		for i, d := range steps {
			c[i%8] += int(d)
		}
		for l := range c {
			if c[l] >= k && n > 0 {
				return fmt.Errorf("slab %d lane %d steps to column %d of %d", j, l, c[l], k)
			}
		}
		at += int(n)
	}
	return nil
}
