package layout

import (
	"math/rand/v2"
	"testing"
)

func BenchmarkPack(b *testing.B) {
	r := rand.New(rand.NewPCG(5, 1))
	const out, in = 1024, 4096
	w, mask := randomWeights(r, out, in, 2), randomMask(r, out, in)
	for _, f := range []Format{{2, true, Swizzled, 128, 64, 1, 1}, {2, true, FragmentMajor, 128, 64, 1, 1}, {2, false, Swizzled, 128, 128, 1, 1}} {
		b.Run(formatName(f), func(b *testing.B) {
			b.SetBytes(int64(len(w.Data)))
			for b.Loop() {
				m := mask
				if !f.Sparse {
					m = nil
				}
				if _, err := f.Pack(w, m); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
