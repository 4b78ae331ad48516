package main

import (
	"fmt"
	"io/fs"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sort"
	"strings"

	"github.com/sparsegen/sparsegen/bench/peers"
	"github.com/sparsegen/sparsegen/internal/weights"
)

// Case is one row of the grid: a product y = x·wᵀ whose weights have zeros.
type Case struct {
	Family  string // mobilenet, linear, warm, dlmc
	Problem peers.Problem
	Pattern Pattern
	Cold    bool // weights come from memory, not from a cache
}

// Pattern is where the zeros of a case are.
type Pattern struct {
	Label string // unstructured@90
	Spec  string // as the language writes it: unstructured
	// Keep chooses the non-zeros of a [out, in] matrix.
	Keep func(rng *rand.Rand, out, in int) ([]bool, error)
}

// Name is what -run matches.
func (c Case) Name() string { return c.shape() + "/" + c.Pattern.Label }

func (c Case) shape() string {
	p := c.Problem
	if p.Layout == peers.FeatureMajor {
		return fmt.Sprintf("%s/%dx%d@%d", c.Family, p.In, p.Out, p.Batch)
	}
	s := fmt.Sprintf("%s/%dx%d/b%d", c.Family, p.In, p.Out, p.Batch)
	if c.Cold {
		s += "-cold"
	}
	return s
}

var (
	dense       = Pattern{"dense", "dense", keepAll}
	nm24        = Pattern{"nm(2,4)", "nm(2,4)", keepNM(2, 4)}
	nm14        = Pattern{"nm(1,4)", "nm(1,4)", keepNM(1, 4)}
	block41     = Pattern{"block(4,1)@90", "block(4,1)", keepBlocks(4, 1, 0.10)}
	channelHalf = Pattern{"channel(cols)@50", "channel(cols)", keepColumns(0.50)}
)

func unstructured(percent int) Pattern {
	return Pattern{fmt.Sprintf("unstructured@%d", percent), "unstructured", keepBlocks(1, 1, 1-float64(percent)/100)}
}

// The 1×1 convolutions of MobileNet v1 (Howard et al. 2017, table 1) from 64
// channels up: in, out, pixels.
var mobileNet = [][3]int{
	{64, 128, 3136}, {128, 128, 3136},
	{128, 256, 784}, {256, 256, 784},
	{256, 512, 196}, {512, 512, 196},
	{512, 1024, 49}, {1024, 1024, 49},
}

var mobileNetPatterns = []Pattern{dense, unstructured(70), unstructured(80), unstructured(90), unstructured(95)}

// Linears of transformers: in, out.
var linears = [][2]int{{384, 1536}, {768, 3072}, {4096, 4096}}

var linearBatches = []int{1, 8, 32, 128}

var linearPatterns = []Pattern{dense, nm24, nm14, block41, unstructured(70), unstructured(90), channelHalf}

// Linears at one token whose weights stay in a cache, as those of a small model
// do: in, out.
var warmLinears = [][2]int{{128, 512}, {384, 1536}, {1536, 384}, {768, 3072}}

var warmPatterns = []Pattern{dense, nm24, unstructured(50), unstructured(60), unstructured(70), unstructured(80), unstructured(90)}

// dlmcColumns is the batch at which the matrices of the Deep Learning Matrix
// Collection (Gale et al. 2020) are multiplied.
const dlmcColumns = 256

// grid lists every case; dlmc is the folder of .smtx files, skipped when it
// does not exist.
func grid(dlmc string) ([]Case, error) {
	var cases []Case
	for _, s := range mobileNet {
		for _, p := range mobileNetPatterns {
			cases = append(cases, Case{"mobilenet", peers.Problem{In: s[0], Out: s[1], Batch: s[2], Layout: peers.FeatureMajor}, p, false})
		}
	}
	for _, s := range linears {
		for _, b := range linearBatches {
			for _, p := range linearPatterns {
				cases = append(cases, Case{"linear", peers.Problem{In: s[0], Out: s[1], Batch: b}, p, b == 1})
			}
		}
	}
	for _, s := range warmLinears {
		for _, p := range warmPatterns {
			cases = append(cases, Case{"warm", peers.Problem{In: s[0], Out: s[1], Batch: 1}, p, false})
		}
	}
	more, err := dlmcCases(dlmc)
	return append(cases, more...), err
}

func dlmcCases(dir string) ([]Case, error) {
	if _, err := os.Stat(dir); os.IsNotExist(err) {
		return nil, nil
	}
	var files []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && strings.HasSuffix(path, ".smtx") {
			files = append(files, path)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	sort.Strings(files)
	var cases []Case
	for _, path := range files {
		t, err := topology(path)
		if err != nil {
			return nil, err
		}
		name, err := filepath.Rel(dir, path)
		if err != nil {
			return nil, err
		}
		p := Pattern{filepath.ToSlash(strings.TrimSuffix(name, ".smtx")), "unstructured",
			func(*rand.Rand, int, int) ([]bool, error) { return keepTopology(t), nil }}
		cases = append(cases, Case{"dlmc", peers.Problem{In: t.Cols, Out: t.Rows, Batch: dlmcColumns, Layout: peers.FeatureMajor}, p, false})
	}
	return cases, nil
}

// topology reads the one matrix of an .smtx file.
func topology(path string) (*weights.CSR, error) {
	f, err := weights.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return f.Topology(f.Names()[0])
}

func keepTopology(t *weights.CSR) []bool {
	keep := make([]bool, t.Rows*t.Cols)
	for r := range t.Rows {
		for _, c := range t.ColIndices[t.RowOffsets[r]:t.RowOffsets[r+1]] {
			keep[r*t.Cols+int(c)] = true
		}
	}
	return keep
}

func keepAll(_ *rand.Rand, out, in int) ([]bool, error) {
	keep := make([]bool, out*in)
	for i := range keep {
		keep[i] = true
	}
	return keep, nil
}

func keepNM(n, m int) func(*rand.Rand, int, int) ([]bool, error) {
	return func(rng *rand.Rand, out, in int) ([]bool, error) {
		if in%m != 0 {
			return nil, fmt.Errorf("%d does not divide %d inputs", m, in)
		}
		keep := make([]bool, out*in)
		for g := 0; g < len(keep); g += m {
			for _, i := range rng.Perm(m)[:n] {
				keep[g+i] = true
			}
		}
		return keep, nil
	}
}

// keepBlocks keeps a random share of the aligned blocks of r outputs × c
// inputs, each block with the same chance.
func keepBlocks(r, c int, share float64) func(*rand.Rand, int, int) ([]bool, error) {
	return func(rng *rand.Rand, out, in int) ([]bool, error) {
		if out%r != 0 || in%c != 0 {
			return nil, fmt.Errorf("blocks of %d×%d do not divide [%d, %d]", r, c, out, in)
		}
		keep := make([]bool, out*in)
		for o := 0; o < out; o += r {
			for k := 0; k < in; k += c {
				if rng.Float64() >= share {
					continue
				}
				for i := range r {
					for j := range c {
						keep[(o+i)*in+k+j] = true
					}
				}
			}
		}
		return keep, nil
	}
}

func keepColumns(share float64) func(*rand.Rand, int, int) ([]bool, error) {
	return func(rng *rand.Rand, out, in int) ([]bool, error) {
		kept := rng.Perm(in)[:int(math.Round(share*float64(in)))]
		keep := make([]bool, out*in)
		for o := range out {
			for _, k := range kept {
				keep[o*in+k] = true
			}
		}
		return keep, nil
	}
}

// values fills a slice with numbers of magnitude 2⁻¹⁰ to 1: never zero and
// never subnormal in a product.
func values(rng *rand.Rand, v []float32) {
	for i := range v {
		u := rng.Uint32()
		x := (float32(u>>9) + 1) / (1 << 23) // (0, 1]
		x = max(x, 1.0/1024)
		if u&1 != 0 {
			x = -x
		}
		v[i] = x
	}
}

// drawWeights draws the matrix of a case, [out, in], pruned to its pattern.
func drawWeights(rng *rand.Rand, p Pattern, out, in int) ([]float32, error) {
	keep, err := p.Keep(rng, out, in)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", p.Label, err)
	}
	w := make([]float32, out*in)
	values(rng, w)
	for i, k := range keep {
		if !k {
			w[i] = 0
		}
	}
	return w, nil
}
