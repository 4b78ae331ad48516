package arm64

import (
	"fmt"
	"slices"

	"github.com/sparsegen/sparsegen/asm/verify"
)

// vectorLengths are the bytes that a scalable vector may have: the powers of two
// from 128 to 2048 bits (Arm Architecture Reference Manual for A-profile, B1.2.2).
var vectorLengths = []int64{16, 32, 64, 128, 256}

// ParseListing reads the assembly that Emit prints; instruction words it decodes
// by the table. A function whose vectors have no fixed length is there once for each
// length. What it does not understand is an error with its line.
func ParseListing(text []byte) (*verify.Listing, error) {
	insts := map[*verify.Func][]listed{}
	known := map[string]decoded{} // by their text: kernels repeat themselves
	l, err := verify.ReadListing(text, func(f *verify.Func, n int, code, line string) error {
		d, ok := known[code]
		if !ok {
			var err error
			if d.form, d.values, d.symbol, err = parseLine(code); err != nil {
				return err
			}
			known[code] = d
		}
		insts[f] = append(insts[f], listed{d, n, line})
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("arm64: %w", err)
	}
	var funcs []*verify.Func
	seen := map[sighting][]verify.Inst{}
	for _, f := range l.Funcs {
		f.RegName, f.Reserved = regName, reserved
		atLengths, err := meaning(f, insts[f], seen)
		if err != nil {
			return nil, err
		}
		funcs = append(funcs, atLengths...)
	}
	l.Funcs = funcs
	return l, nil
}

// sighting is an instruction at a length of vectors.
type sighting struct {
	text   string
	length int64
}

// listed is an instruction with its place in the listing.
type listed struct {
	decoded
	line int
	text string
}

// meaning is what f does, which has the instructions insts: of a function with
// vectors of any length, what it does at each that there is. What was seen before is
// not made out again.
func meaning(f *verify.Func, insts []listed, seen map[sighting][]verify.Inst) ([]*verify.Func, error) {
	lengths := []int64{0}
	if slices.ContainsFunc(insts, func(i listed) bool { return i.scalable() }) {
		lengths = vectorLengths
	}
	var funcs []*verify.Func
	for _, length := range lengths {
		g := *f
		g.Bits, g.Labels = 8*length, map[string]int{}
		meanings := make([][]verify.Inst, len(insts))
		at := make([]int, len(insts)+1)
		for i, d := range insts {
			meaning, ok := seen[sighting{d.text, length}]
			if !ok {
				d.length = length
				var err error
				if meaning, err = d.meaning(); err != nil {
					return nil, fmt.Errorf("arm64: line %d: %s: %w", d.line, d.name, err)
				}
				seen[sighting{d.text, length}] = meaning
			}
			meanings[i], at[i+1] = meaning, at[i]+len(meaning)
		}
		g.Insts = make([]verify.Inst, 0, at[len(insts)])
		for i, d := range insts {
			for _, in := range meanings[i] {
				in.Line, in.Text = d.line, d.text
				g.Insts = append(g.Insts, in)
			}
		}
		for name, i := range f.Labels {
			g.Labels[name] = at[i]
		}
		funcs = append(funcs, &g)
	}
	return funcs, nil
}
