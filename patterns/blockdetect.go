package patterns

import "math/bits"

// blockSides are the side lengths of blocks that Detect looks for.
var blockSides = [...]int{1, 2, 4, 8, 16, 32, 64}

// proposeBlock looks for blocks that are full where they are not empty, and
// keeps the largest: a block that divides another and stores as much is left out.
func proposeBlock(p *profile) []Pattern {
	var found []block
	var shares []share
	for _, r := range blockSides {
		if p.m.Rows%r != 0 {
			continue
		}
		for i, n := range usedBlocks(p.mask, r) {
			c := blockSides[i]
			if r*c == 1 || p.m.Cols%c != 0 {
				continue
			}
			total := p.m.Rows * p.m.Cols / (r * c)
			s := share{n.some, total, p.nnz, n.some * r * c}
			sparsity, ok := p.candidate(s)
			if !ok && float64(n.all*r*c) >= (1-2*nearLoss)*float64(p.nnz) {
				s = halfFull(p.mask, r, c)
				sparsity, ok = p.candidate(s)
			}
			if ok {
				found, shares = append(found, block{r, c, sparsity}), append(shares, s)
			}
		}
	}
	var out []Pattern
	for i, b := range found {
		largest := true
		for j, o := range found {
			if i != j && o.r%b.r == 0 && o.c%b.c == 0 && float64(shares[j].room)*0.98 <= float64(shares[i].room) {
				largest = false
			}
		}
		if largest {
			out = append(out, b)
		}
	}
	return out
}

// used is how many blocks hold some kept element, and only kept elements.
type used struct{ some, all int }

// usedBlocks counts blocks of r rows and blockSides[i] columns, a word of 64
// columns at a time: the rows of a block are joined by OR and AND, and then its
// columns by folding the word in halves.
func usedBlocks(mask *Mask, r int) (n [len(blockSides)]used) {
	for r0 := 0; r0 < mask.Rows; r0 += r {
		for i := range mask.words {
			some, all := uint64(0), ^uint64(0)
			for d := range r {
				w := mask.bits[(r0+d)*mask.words+i]
				some |= w
				all &= w
			}
			if some == 0 {
				continue
			}
			for k, c := range blockSides {
				some |= some >> (c / 2)
				all &= all >> (c / 2)
				n[k].some += bits.OnesCount64(some & firstOfEach[k])
				n[k].all += bits.OnesCount64(all & firstOfEach[k])
			}
		}
	}
	return n
}

// firstOfEach has the lowest bit of each run of blockSides[k] bits set.
var firstOfEach = [len(blockSides)]uint64{
	^uint64(0), 0x5555555555555555, 0x1111111111111111, 0x0101010101010101, 0x0001000100010001, 0x0000000100000001, 1,
}

// halfFull is the blocks of which at least half is kept.
func halfFull(mask *Mask, r, c int) share {
	s := share{total: mask.Rows / r * (mask.Cols / c)}
	for r0 := 0; r0 < mask.Rows; r0 += r {
		for c0 := 0; c0 < mask.Cols; c0 += c {
			if n := mask.countIn(r0, r0+r, c0, c0+c); 2*n >= r*c {
				s.stored++
				s.inside += n
			}
		}
	}
	s.room = s.stored * r * c
	return s
}
