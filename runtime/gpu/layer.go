package gpu

import (
	"fmt"
	"slices"
)

// Layer is a layer whose weights are packed for kernels: what a session on a GPU
// is made from. Its values are [tokens, features] in row-major order, each of
// DType, with rows that start Pitch elements apart.
type Layer struct {
	Name                 string
	DType                DType // BF16 or F16
	TokensMin, TokensMax int   // inclusive
	Values               []Value
	Inputs, Outputs      []int  // indices into Values, in the caller's order
	Steps                []Step // in the order in which they run
}

// Value is a tensor between steps.
type Value struct {
	Name     string // "" for none
	Features int
}

// Step is one launch:
//
//	y[t, o] = act(Σ_i x[t, i]·w[o, i] + bias[o]) + residual[t, o]
type Step struct {
	X, Y     int // indices into Layer.Values
	Residual int // the same, or NoValue
	Out, In  int
	Bias     []float32 // [Out], or nil
	Packings []Packing // for ranges of tokens: ascending, without a gap
}

// NoValue is the index of a value that a step does not have.
const NoValue = -1

// Packing is a step's weights as one kernel reads them.
type Packing struct {
	TokensMin, TokensMax int // inclusive
	Kernel               *Kernel
	Weights              []byte
	// Lists says which blocks of Tile.Out by Tile.In a Listed kernel's weights
	// have: for each tile of Out the number of its first block, then the number of
	// all; then the k-block of In of each, ascending in a tile. Of a Picked kernel it
	// is the input of each output, or NoInput.
	Lists []uint32
}

// blocks is the number of stored blocks, 0 where all are.
func (p *Packing) blocks(out int) int {
	if !p.Kernel.Listed {
		return 0
	}
	return max(0, len(p.Lists)-ceilDiv(out, max(1, p.Kernel.Tile.Out))-1)
}

// checkLists reports lists with which the kernel would read beyond its weights or
// activations, or never end.
func (p *Packing) checkLists(out, in int) error {
	k := p.Kernel
	if k.Form == Picked {
		if len(p.Lists) != out {
			return fmt.Errorf("kernel %s: %d indices for %d outputs", k.Name, len(p.Lists), out)
		}
		for i, at := range p.Lists {
			if at != NoInput && int64(at) >= int64(in) {
				return fmt.Errorf("kernel %s: output %d is input %d of %d", k.Name, i, at, in)
			}
		}
		return nil
	}
	if !k.Listed {
		if p.Lists != nil {
			return fmt.Errorf("kernel %s: lists of blocks, but it takes all", k.Name)
		}
		return nil
	}
	tiles, columns, n := ceilDiv(out, k.Tile.Out), ceilDiv(in, k.Tile.In), p.blocks(out)
	if n < tiles {
		return fmt.Errorf("kernel %s: lists of %d numbers for %d tiles", k.Name, len(p.Lists), tiles)
	}
	start, column := p.Lists[:tiles+1], p.Lists[tiles+1:]
	if start[0] != 0 || uint64(start[tiles]) != uint64(n) {
		return fmt.Errorf("kernel %s: lists from %d to %d of %d blocks", k.Name, start[0], start[tiles], n)
	}
	for t := range tiles {
		if start[t] >= start[t+1] || uint64(start[t+1]) > uint64(n) {
			return fmt.Errorf("kernel %s: lists give tile %d the blocks from %d to %d of %d", k.Name, t, start[t], start[t+1], n)
		}
		last := int64(-1)
		for _, c := range column[start[t]:start[t+1]] {
			if int64(c) <= last || int64(c) >= int64(columns) {
				return fmt.Errorf("kernel %s: lists name k-block %d after %d in tile %d, want ascending ones below %d", k.Name, c, last, t, columns)
			}
			last = int64(c)
		}
	}
	return nil
}

// Pitch is the distance between the rows of a value in device memory, in
// elements: its features, rounded up to 16 bytes as tensor maps want it.
func (l *Layer) Pitch(value int) int {
	size := max(1, l.DType.Size())
	return ceilDiv(l.Values[value].Features*size, 16) * 16 / size
}

// Problem is what a packing of a step computes for that many tokens.
func (l *Layer) Problem(s *Step, p *Packing, tokens int) Problem {
	return Problem{Out: s.Out, In: s.In, Tokens: tokens, Blocks: p.blocks(s.Out), XPitch: l.Pitch(s.X), YPitch: l.Pitch(s.Y)}
}

// Packing returns the index of a step's packing for that many tokens, which the
// layer takes.
func (s *Step) Packing(tokens int) int {
	return slices.IndexFunc(s.Packings, func(p Packing) bool { return tokens <= p.TokensMax })
}

// Check reports a kernel that cannot compute its step, or weights that are not
// what the kernel reads. The layer's own structure is whole.
func (l *Layer) Check() error {
	for i := range l.Steps {
		s := &l.Steps[i]
		for j := range s.Packings {
			p := &s.Packings[j]
			if err := l.checkPacking(s, p); err != nil {
				return fmt.Errorf("layer %q, step %d at %d to %d tokens: %w", l.Name, i, p.TokensMin, p.TokensMax, err)
			}
		}
	}
	return nil
}

func (l *Layer) checkPacking(s *Step, p *Packing) error {
	k := p.Kernel
	switch {
	case k.DType != l.DType || k.xType() != l.DType || k.Y != l.DType:
		return fmt.Errorf("kernel %s: computes %v from %v and %v, the layer is %v", k.Name, k.Y, k.DType, k.xType(), l.DType)
	case k.uses(Residual) != (s.Residual != NoValue):
		return fmt.Errorf("kernel %s: a residual belongs to one of kernel and step alone", k.Name)
	case k.uses(Bias) != (s.Bias != nil):
		return fmt.Errorf("kernel %s: a bias belongs to one of kernel and step alone", k.Name)
	}
	for _, q := range k.Params {
		switch of := q.buffer(); {
		case of == Bias && q.DType != F32:
			return fmt.Errorf("kernel %s: takes a bias of %v, want f32", k.Name, q.DType)
		case of == Meta && !k.Listed && k.Form != Picked || of == Scales || of == XScales:
			return fmt.Errorf("kernel %s: takes %v, which no layer has", k.Name, of)
		}
	}
	for _, tokens := range []int{p.TokensMin, p.TokensMax} {
		problem := l.Problem(s, p, tokens)
		if err := k.check(problem); err != nil {
			return err
		}
		if want := k.weightBytes(problem); want != int64(len(p.Weights)) {
			return fmt.Errorf("kernel %s: %d bytes of weights for [%d, %d], it reads %d", k.Name, len(p.Weights), s.Out, s.In, want)
		}
	}
	return p.checkLists(s.Out, s.In)
}

// uses reports whether the kernel reads or writes the buffer.
func (k *Kernel) uses(of Buffer) bool {
	return slices.ContainsFunc(k.Params, func(p Param) bool { return p.buffer() == of })
}

// buffer is the role that the parameter needs, 0 for a number.
func (p *Param) buffer() Buffer {
	switch p.Kind {
	case ArgMap:
		return p.Map.Of
	case ArgPtr:
		return p.Of
	}
	return 0
}
