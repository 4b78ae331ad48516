package patterns

import (
	"flag"
	"fmt"
	"math"
	"math/bits"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// sameBits requires equal elements, bit for bit, where k keeps, and +0 in got
// elsewhere.
func sameBits(t *testing.T, want, got Matrix, k *Mask) {
	t.Helper()
	for r := range want.Rows {
		for c := range want.Cols {
			w := uint32(0)
			if k.At(r, c) {
				w = math.Float32bits(want.Row(r)[c])
			}
			if g := math.Float32bits(got.Row(r)[c]); g != w {
				t.Fatalf("element (%d, %d) is %#x, want %#x", r, c, g, w)
			}
		}
	}
}

// What is packed comes back bit for bit, and so does the mask: for the mask that
// Prune chooses and for a part of it, which leaves pads.
func TestPackUnpack(t *testing.T) {
	each(t, func(t *testing.T, p Pattern, m Matrix) {
		full, err := p.Prune(m)
		require.NoError(t, err)
		part, none := full.Clone(), NewMask(m.Rows, m.Cols)
		for r, c := range full.All() {
			if (r*7+c*5)%3 == 0 {
				part.Clear(r, c)
			}
		}
		for _, k := range []*Mask{full, part, none} {
			packed, err := Pack(p, m, k)
			require.NoError(t, err)
			got, mask := packed.Unpack()
			require.True(t, k.Equal(mask))
			sameBits(t, m, got, k)

			slots, kept := 0, 0
			for i, s := range packed.Iterate() {
				require.Equal(t, slots, i)
				slots++
				if !s.Pad {
					kept++
				} else {
					require.Zero(t, math.Float32bits(s.Value))
				}
			}
			require.Equal(t, len(packed.Values), slots)
			require.Equal(t, k.Count(), kept)
			require.Equal(t, kept != slots, packed.Pads != nil)
			require.GreaterOrEqual(t, packed.Bytes(), 4*slots)
		}
	})
}

// The order of storage is lexicographic in the levels, so within one row of an
// unpermuted pattern the columns ascend: kernels accumulate over k ascending.
func TestStorageOrderAscendsInEachRow(t *testing.T) {
	each(t, func(t *testing.T, p Pattern, m Matrix) {
		if strings.Contains(p.String(), "perm") {
			return
		}
		k, err := p.Prune(m)
		require.NoError(t, err)
		packed, err := Pack(p, m, k)
		require.NoError(t, err)
		last := map[int]int{}
		for _, s := range packed.Iterate() {
			prev, seen := last[s.Row]
			require.True(t, !seen || prev < s.Col)
			last[s.Row] = s.Col
		}
	})
}

// Levels whose coordinates are all Const enumerate exactly the pattern's mask,
// and what a level declares is what it enumerates.
func TestLevelsAreTruthful(t *testing.T) {
	each(t, func(t *testing.T, p Pattern, m Matrix) {
		levels := p.Levels(m.Rows, m.Cols)
		extent := [2]int{1, 1}
		allConst := true
		for _, l := range levels {
			allConst = allConst && l.Const
			if l.Kind == Offset {
				extent[l.Axis] = l.Extent
			} else {
				extent[l.Axis] *= l.Extent
			}
			require.False(t, l.Kind == List && l.Const)
			if c := l.Coordinates(); c != nil {
				require.Len(t, c, l.Size)
				require.True(t, c[0] >= 0 && c[len(c)-1] < l.Extent)
			}
			if l.Kind == NofM {
				require.Equal(t, l.N, l.Size)
				require.Equal(t, l.M, l.Extent)
			}
		}
		require.Equal(t, [2]int{m.Rows, m.Cols}, extent)

		k, err := p.Prune(m)
		require.NoError(t, err)
		packed, err := Pack(p, m, k)
		require.NoError(t, err)
		for i, l := range packed.Levels {
			require.Equal(t, levels[i], l.Level)
			if l.Shared || l.Const {
				require.Zero(t, l.Pos.Len)
			}
			if l.Const {
				require.Zero(t, l.Crd.Len)
			}
		}
		if allConst {
			require.True(t, isConstant(p))
			got := NewMask(m.Rows, m.Cols)
			view := newView(packed.Levels)
			walk(newPacked(levels, m.Rows, m.Cols).Levels, func(r, c int) bool {
				r, c = view.place(r, c)
				require.False(t, got.At(r, c), "enumerated twice")
				got.Set(r, c)
				return true
			})
			require.True(t, k.Equal(got))
		}
	})
}

// Levels compose where the parts limit different axes.
func TestLevelsCompose(t *testing.T) {
	for s, want := range map[string]string{
		"dense":                             "rows dense; cols dense",
		"nm(2,4)":                           "rows dense; cols dense; cols n-of-m",
		"block(4,1)":                        "rows dense; cols list; rows dense; cols dense",
		"channel(rows) & channel(cols)":     "rows list shared; cols list shared",
		"channel(rows) & nm(2,4)":           "rows list shared; cols dense; cols n-of-m",
		"channel(rows) & stripe(0:9)":       "rows list shared; cols run shared",
		"channel(cols) & stripe(0:9)":       "rows dense; cols list shared",
		"channel(rows) & block(4,1)":        "rows list shared; cols list",
		"nm(2,4) & stripe(0:8)":             "rows dense; cols list",
		"stripe(0:8) | stripe(8:12)":        "rows dense; cols run shared",
		"stripe(0:8) | stripe(8:24)":        "rows dense; cols dense",
		"stripe(0:8) | nm(2,4)":             "rows dense; cols list",
		"diag(0) & dense":                   "rows dense; cols offset",
		"diag(0) & stripe(0:8)":             "rows dense; cols list",
		"dense & channel(cols)":             "rows dense; cols list shared",
		"perm(channel(cols),cols,seed=1)":   "rows dense; cols list shared perm",
		"perm(diag(0,width=2),rows,seed=1)": "rows dense perm; cols offset",
	} {
		var got []string
		for _, l := range MustParse(s).Levels(16, 24) {
			text := fmt.Sprint(l.Axis, " ", l.Kind)
			if l.Shared {
				text += " shared"
			}
			if l.Perm != nil {
				text += " perm"
			}
			got = append(got, text)
		}
		require.Equal(t, want, strings.Join(got, "; "), s)
	}
}

func TestPackRejects(t *testing.T) {
	m := NewMatrix(4, 8)
	full := dense{}.fixed(4, 8)
	for s, msg := range map[string]string{
		"nm(2,4)":                    "does not allow",
		"nm(2,5)":                    "do not divide",
		"unstructured(sparsity=0.5)": "does not allow",
		"stripe(0:4)":                "does not allow",
		"stripe(0:9)":                "leaves a matrix",
		"diag(0)":                    "does not allow",
		"perm(dense,rows,1,0)":       "does not cover",
	} {
		_, err := Pack(MustParse(s), m, full)
		require.ErrorContains(t, err, msg, s)
	}
	_, err := Pack(dense{}, m, NewMask(4, 9))
	require.ErrorContains(t, err, "mask [4, 9]")
	_, err = dense{}.Prune(Matrix{4, 8, 8, make([]float32, 31)})
	require.ErrorContains(t, err, "does not fit into 31")
	_, err = dense{}.Prune(Matrix{4, 8, 7, make([]float32, 32)})
	require.ErrorContains(t, err, "stride 7")
}

// An index whose M is a power of two has no invalid bit pattern.
func TestIndexWidth(t *testing.T) {
	for m := 2; m <= maxM; m++ {
		l := newPacked(nm{1, m}.Levels(1, m), 1, m).Levels[2]
		require.Equal(t, bits.Len(uint(m-1)), l.Crd.Width)
	}
	for width := 1; width <= 32; width++ {
		x := Index{Width: width}
		rng := splitmix(uint64(width))
		var want []int
		for range 200 {
			v := int(rng.next() >> (64 - width))
			want = append(want, v)
			x.add(v)
		}
		for i, v := range want {
			require.Equal(t, v, x.At(i))
		}
		require.Equal(t, (200*width+7)/8, x.Bytes())
	}
}

// update rewrites testdata/fingerprints.txt: go test ./patterns -update. A
// changed line means that files packed before cannot be read any more.
var update = flag.Bool("update", false, "rewrite the pinned fingerprints")

func TestFingerprints(t *testing.T) {
	var b strings.Builder
	for _, s := range shaped {
		for _, shape := range s.shapes {
			f, err := Fingerprint(MustParse(s.pattern), shape[0], shape[1])
			require.NoError(t, err)
			fmt.Fprintf(&b, "%s %dx%d %s\n", f, shape[0], shape[1], s.pattern)
		}
	}
	const file = "testdata/fingerprints.txt"
	if *update {
		require.NoError(t, os.MkdirAll("testdata", 0o777))
		require.NoError(t, os.WriteFile(file, []byte(b.String()), 0o666))
	}
	want, err := os.ReadFile(file)
	require.NoError(t, err)
	require.Equal(t, string(want), b.String(), "the packed layout has changed; see the comment on update")
}
