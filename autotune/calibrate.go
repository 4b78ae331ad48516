package autotune

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"

	"github.com/sparsegen/sparsegen/autotune/worker"
	"github.com/sparsegen/sparsegen/codegen"
	"github.com/sparsegen/sparsegen/internal/atomicfile"
	"github.com/sparsegen/sparsegen/patterns"
	"github.com/sparsegen/sparsegen/runtime"
)

// Roofs are what one core reaches with dense kernels of ours: the roofs of the
// roofline model (S. Williams et al., 2009).
type Roofs struct {
	ISA    string  `json:"isa"`
	GFlops float64 `json:"gflops"` // multiply-adds count as two
	L2     float64 `json:"l2"`     // GB/s, weights from the second-level cache
	L3     float64 `json:"l3"`     // from the third-level cache
	Memory float64 `json:"memory"` // from memory
}

func roofsPath(dir, microarch string, isa runtime.ISA) string {
	return filepath.Join(dir, microarch, fmt.Sprintf("roofs-%v.json", isa))
}

// LoadRoofs reads the roofs of a kind of machine that a tuning measured.
func LoadRoofs(dir, microarch string, isa runtime.ISA) (Roofs, bool) {
	var r Roofs
	text, err := os.ReadFile(roofsPath(dir, microarch, isa))
	ok := err == nil && json.Unmarshal(text, &r) == nil && r.GFlops > 0 && r.L2 > 0 && r.L3 > 0 && r.Memory > 0
	return r, ok
}

// calibration is one dense layer whose time gives a roof.
type calibration struct {
	out, in, batch int
	cold           bool
	roof           *float64
	work           float64 // of a run: flops or bytes
}

// calibrate measures the roofs and keeps them beside the records.
func (t *tuner) calibrate(ctx context.Context) error {
	r := Roofs{ISA: t.ISA.String()}
	l2 := bytesOf(t.env.L2)
	if l2 == 0 {
		l2 = 512 << 10
	}
	// Half of the second-level cache; and an eighth of the third, but no less than
	// three times the second.
	half, eighth := l2/2/4/256, max(t.llc/8, 3*l2)/4/1024
	half, eighth = half/16*16, eighth/16*16
	for _, c := range []calibration{
		{48, 128, 96, false, &r.GFlops, 2 * 48 * 128 * 96},
		{96, 256, 96, false, &r.GFlops, 2 * 96 * 256 * 96},
		{half, 256, 1, false, &r.L2, float64(4 * half * 256)},
		{eighth, 1024, 1, false, &r.L3, float64(4 * eighth * 1024)},
		{eighth, 1024, 1, true, &r.Memory, float64(4 * eighth * 1024)},
	} {
		ns, err := t.fastest(ctx, c)
		if err != nil {
			return err
		}
		*c.roof = max(*c.roof, round1(c.work/ns))
	}
	path := roofsPath(t.Dir, t.env.Microarch, t.ISA)
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		return err
	}
	return atomicfile.Write(path, func(w io.Writer) error { return json.NewEncoder(w).Encode(r) })
}

// dense is a dense op with random weights.
func (c calibration) dense() Linear {
	rng := rand.New(rand.NewPCG(uint64(c.out), uint64(c.in)))
	m := patterns.NewMatrix(c.out, c.in)
	mask := patterns.NewMask(c.out, c.in)
	for i := range m.Data {
		m.Data[i] = float32(rng.NormFloat64())
		mask.Set(i/c.in, i%c.in)
	}
	return Linear{
		Layer: "calibration", Tensor: "calibration", Matrix: m, Mask: mask,
		Problem: codegen.Problem{
			Out: c.out, In: c.in, BatchMin: c.batch, BatchMax: c.batch, TokenMajor: true,
			Levels: []patterns.Level{
				{Kind: patterns.Dense, Axis: patterns.RowAxis, Size: c.out, Extent: c.out, Const: true},
				{Kind: patterns.Dense, Axis: patterns.ColAxis, Size: c.in, Extent: c.in, Const: true},
			},
		},
	}
}

// fastest is the time of the fastest dense candidate.
func (t *tuner) fastest(ctx context.Context, c calibration) (float64, error) {
	f, err := newField(ctx, c.dense(), t.ISA, t.temp, raced, nil)
	if err != nil {
		return 0, err
	}
	defer f.remove()
	j := job{batch: c.batch, problem: problemOf(f.linear.Problem, 1, c.batch, t.ISA)}
	j.problem.Weights = map[bool]string{false: "warm", true: "cold"}[c.cold]
	var files []worker.File
	var order []int
	bytes := 0
	for i, e := range f.at(c.batch, nil) {
		path, err := f.write(e)
		if err != nil {
			return 0, err
		}
		files, order, bytes = append(files, worker.File{ID: i, Path: path}), append(order, i), bytes+e.Bytes()
	}
	results, err := t.bench.open(ctx, worker.Open{Files: files, Batch: c.batch, ISA: t.ISA.String(), Block: int64(blockTime)})
	if err != nil {
		return 0, err
	}
	for _, r := range results {
		if r.Err != "" {
			return 0, fmt.Errorf("calibration: %s", r.Err)
		}
	}
	best := math.Inf(1)
	for range 30 {
		samples, err := t.round(ctx, j, order, bytes, fewestCopies)
		if err != nil {
			return 0, err
		}
		for _, s := range samples {
			best = min(best, s.NS)
		}
	}
	return best, nil
}
