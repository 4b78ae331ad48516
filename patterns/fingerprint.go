package patterns

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"math"
)

// Fingerprint is a hash of what Pack makes of a fixed pseudo-random matrix of
// shape [rows, cols] pruned to p. It changes when the layout does, and so says
// whether packed data that an earlier version wrote can still be read.
func Fingerprint(p Pattern, rows, cols int) (string, error) {
	if err := p.Validate(rows, cols); err != nil {
		return "", err
	}
	m := NewMatrix(rows, cols)
	rng := splitmix(1)
	for i := range m.Data {
		// 24 bits, so that the value in [-1, 1) is exact; never zero.
		m.Data[i] = float32(int32(rng.next()>>32)>>8|1) / (1 << 23)
	}
	mask, err := p.Prune(m)
	if err != nil {
		return "", err
	}
	k, err := Pack(p, m, mask)
	if err != nil {
		return "", err
	}
	return k.fingerprint(), nil
}

func (p *Packed) fingerprint() string {
	h := sha256.New()
	put := func(v ...uint64) {
		for _, x := range v {
			h.Write(binary.LittleEndian.AppendUint64(nil, x))
		}
	}
	index := func(x *Index) {
		put(uint64(x.Width), uint64(x.Len))
		put(x.Words...)
	}
	put(uint64(p.Rows), uint64(p.Cols), uint64(len(p.Levels)))
	for i := range p.Levels {
		l := &p.Levels[i]
		put(uint64(l.Kind), uint64(l.Axis), uint64(l.Size), uint64(l.Extent), uint64(l.N), uint64(l.M), bit(l.Shared), bit(l.Const))
		for _, list := range [][]int32{l.Coords, l.Perm} {
			put(uint64(len(list)))
			for _, c := range list {
				put(uint64(c))
			}
		}
		index(&l.Pos)
		index(&l.Crd)
	}
	put(uint64(len(p.Values)))
	for _, v := range p.Values {
		put(uint64(math.Float32bits(v)))
	}
	put(p.Pads...)
	return hex.EncodeToString(h.Sum(nil)[:8])
}

func bit(b bool) uint64 {
	if b {
		return 1
	}
	return 0
}
