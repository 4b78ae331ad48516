package runtime

import (
	"context"
	"errors"
	"math/rand/v2"
	"path/filepath"
	goruntime "runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/sparsegen/sparsegen/internal/sgp"
)

// TestManySessions runs sessions of one model in as many goroutines, with and
// without helpers, made and closed all the while, over every form.
func TestManySessions(t *testing.T) {
	const batchMax = 11
	for pi, p := range packings() {
		if pi%4 != 0 { // one of each kind of form
			continue
		}
		t.Run(p.name, func(t *testing.T) {
			t.Parallel()
			rng := rand.New(rand.NewPCG(uint64(pi), 21))
			d, v := p.make(rng)
			lin := &sgp.Linear{Out: d.out, In: d.in, Act: sgp.Gelu, Bias: randomFloats(rng, d.out)}
			v.BatchMin, v.BatchMax = 1, batchMax
			lin.Variants = []sgp.Variant{*v}
			m := openModel(t, linearLayer(lin, pi%8 == 0, batchMax))
			x := randomFloats(rng, d.in*batchMax)
			one, err := m.NewSession("l")
			require.NoError(t, err)
			want := map[int][]float32{}
			for batch := 1; batch <= batchMax; batch++ {
				want[batch] = make([]float32, d.out*batch)
				require.NoError(t, one.Run(t.Context(), [][]float32{x[:d.in*batch]}, [][]float32{want[batch]}))
			}
			var wg sync.WaitGroup
			for g := range 12 {
				wg.Go(func() {
					rng := rand.New(rand.NewPCG(uint64(g), 22))
					for range 3 {
						s, err := m.NewSession("l", Threads(1+g%4))
						if !assert.NoError(t, err) {
							return
						}
						s.control.share = 0
						for range 4 {
							batch := 1 + rng.IntN(batchMax)
							y := make([]float32, d.out*batch)
							assert.NoError(t, s.Run(t.Context(), [][]float32{x[:d.in*batch]}, [][]float32{y}))
							assert.Equal(t, want[batch], y)
						}
						assert.NoError(t, s.Close())
					}
				})
			}
			wg.Wait()
		})
	}
}

// TestCancelSharedRun ends the context in the middle of a run that helpers
// share: nobody begins another call, Run gives the context's error, and the next
// run is right.
func TestCancelSharedRun(t *testing.T) {
	const threads = 3
	rng := rand.New(rand.NewPCG(31, 32))
	d := randomDense(rng, 512, 600, 1)
	lin := &sgp.Linear{Out: d.out, In: d.in, Variants: []sgp.Variant{{BatchMin: 1, BatchMax: 8, Lanes: packLanes(d, sgp.LanesDense, 8, 0, 0, nil, nil)}}}
	key := KernelKey{Op: LanesDense, S: 8, NB: 1}
	inner := interpret(key).(LanesFunc)
	var calls, after atomic.Int32
	var stop atomic.Pointer[context.CancelCauseFunc]
	m := openModel(t, linearLayer(lin, false, 8), Set{Kernels: []Kernel{{Key: key, Fn: LanesFunc(
		func(y *float32, ldy uintptr, x *float32, ldx uintptr, w *float32, meta *byte, cnt *uint32, k int, bias *float32, lo, hi float32, n int) {
			if calls.Add(1) == 4 {
				if cancel := stop.Swap(nil); cancel != nil {
					(*cancel)(nil)
					after.Store(calls.Load())
				}
			}
			inner(y, ldy, x, ldx, w, meta, cnt, k, bias, lo, hi, n)
		})}}})
	s, err := m.NewSession("l", Threads(threads), MaxBatch(1))
	require.NoError(t, err)
	s.control.share = 0
	x, want, y := randomFloats(rng, d.in), make([]float32, d.out), make([]float32, d.out)
	require.NoError(t, s.Run(t.Context(), [][]float32{x}, [][]float32{want}))
	all := calls.Load()
	require.Greater(t, all, int32(4+threads), "too few calls to stop between")
	for range 20 {
		ctx, cancel := context.WithCancelCause(t.Context())
		calls.Store(0)
		stop.Store(&cancel)
		require.ErrorIs(t, s.Run(ctx, [][]float32{x}, [][]float32{y}), context.Canceled)
		require.LessOrEqual(t, calls.Load(), after.Load()+threads, "each worker may finish the call that it had begun")
		clear(y)
		require.NoError(t, s.Run(t.Context(), [][]float32{x}, [][]float32{y}))
		require.Equal(t, want, y)
	}
}

// counted is a job that counts how often each unit runs.
type counted struct {
	times []atomic.Int32
	do    func(worker, u int) error
}

func (c *counted) unit(worker, u int) error {
	c.times[u].Add(1)
	if c.do != nil {
		return c.do(worker, u)
	}
	return nil
}

// TestHelpersThatNeverRun: the caller does all the work, and never waits, where
// no helper gets a processor.
func TestHelpersThatNeverRun(t *testing.T) {
	lame := &team{helpers: 3, wake: make(chan struct{}, 3), done: make(chan struct{}, 1)} // as newTeam makes it, but for the goroutines
	for units := 1; units < 20; units++ {
		j := &counted{times: make([]atomic.Int32, units), do: func(worker, _ int) error {
			if worker != 0 {
				return errors.New("a helper")
			}
			return nil
		}}
		require.NoError(t, lame.run(j, units))
		for u := range j.times {
			require.Equal(t, int32(1), j.times[u].Load())
		}
	}
	defer goruntime.GOMAXPROCS(goruntime.GOMAXPROCS(1))
	one := newTeam(4)
	defer one.stop()
	for range 100 {
		j := &counted{times: make([]atomic.Int32, 50)}
		require.NoError(t, one.run(j, 50))
		for u := range j.times {
			require.Equal(t, int32(1), j.times[u].Load())
		}
	}
}

// TestHelpersThatComeLate: helpers that wake in the middle of a later job, or
// leave the processor anywhere, run each unit once and none twice; the first
// error is the job's.
func TestHelpersThatComeLate(t *testing.T) {
	team := newTeam(5)
	defer team.stop()
	rng := rand.New(rand.NewPCG(41, 42))
	fault := errors.New("unit 3")
	for round := range 2000 {
		units := 1 + rng.IntN(12)
		fails := round%7 == 0
		j := &counted{times: make([]atomic.Int32, units), do: func(worker, u int) error {
			switch (round + u) % 5 {
			case 0:
				goruntime.Gosched()
			case 1:
				if worker != 0 && round%50 == 0 {
					time.Sleep(time.Millisecond)
				}
			}
			if fails && u == 3 {
				return fault
			}
			return nil
		}}
		err := team.run(j, units)
		if fails && units > 3 {
			require.ErrorIs(t, err, fault)
			continue // the units after the failed one are left out
		}
		require.NoError(t, err)
		for u := range j.times {
			require.Equal(t, int32(1), j.times[u].Load(), "round %d unit %d", round, u)
		}
	}
}

func noContext() context.Context { return nil }

// TestMisusedSessions: what a caller does wrong is an error, never a panic.
func TestMisusedSessions(t *testing.T) {
	m, _ := tinyModel(t)
	s, err := m.NewSession("l")
	require.NoError(t, err)
	x, y := [][]float32{make([]float32, 16)}, [][]float32{make([]float32, 8)}
	ctx := t.Context()
	require.ErrorIs(t, s.Run(noContext(), x, y), ErrNoContext)
	require.NoError(t, s.Run(ctx, x, y), "as if nothing had been")
	for _, args := range [][2][][]float32{
		{nil, nil}, {nil, y}, {x, nil}, {{nil}, {nil}}, {x, {nil}}, {{nil}, y}, {{x[0], x[0]}, y}, {{x[0][:0]}, {y[0][:0]}}, {{x[0][:3]}, y}, {x, x},
	} {
		require.Error(t, s.Run(ctx, args[0], args[1]))
	}
	_, err = m.NewSession("l", nil)
	require.ErrorContains(t, err, "option 0 is nil")
	var none *Session
	require.ErrorIs(t, none.Run(ctx, x, y), ErrClosed)
	require.NoError(t, none.Close())
	require.ErrorIs(t, new(Session).Run(ctx, nil, nil), ErrClosed)
	require.NoError(t, new(Session).Close())
	var no *Model
	require.Nil(t, no.Layers())
	require.NoError(t, no.Close())
	for _, m := range []*Model{no, new(Model)} {
		_, err = m.NewSession("l")
		require.ErrorIs(t, err, ErrClosed)
	}
	require.NoError(t, s.Close())
	require.ErrorIs(t, s.Run(ctx, x, y), ErrClosed)

	// The same from many goroutines at once.
	s, err = m.NewSession("l", Threads(2))
	require.NoError(t, err)
	s.control.share = 0
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			own := make([]float32, 8)
			for i := range 200 {
				err := s.Run(ctx, x, [][]float32{own})
				if g == 7 && i == 100 {
					for errors.Is(s.Close(), ErrBusy) {
						goruntime.Gosched()
					}
				}
				if err != nil && !errors.Is(err, ErrBusy) {
					assert.ErrorIs(t, err, ErrClosed)
				}
			}
		})
	}
	wg.Wait()
	require.ErrorIs(t, s.Run(ctx, x, y), ErrClosed)
}

// TestOpenBindsEveryVariant: a kernel that only a later batch needs is missed
// when the file is opened; once it was when a session was made. And a file that
// states huge batches takes no memory for them.
func TestOpenBindsEveryVariant(t *testing.T) {
	rng := rand.New(rand.NewPCG(51, 52))
	d := randomDense(rng, 16, 16, 1)
	lin := &sgp.Linear{Out: 16, In: 16, Variants: []sgp.Variant{
		{BatchMin: 1, BatchMax: 4, Lanes: packLanes(d, sgp.LanesDense, 8, 0, 0, nil, nil)},
		{BatchMin: 5, BatchMax: 8, Lanes: packLanes(d, sgp.LanesMask, 8, 0, 0, nil, nil)},
	}}
	path := filepath.Join(t.TempDir(), "m.sgp")
	require.NoError(t, sgp.WriteFile(path, linearLayer(lin, false, 8)))
	_, err := Open(path, genericSet(KernelKey{Op: LanesDense, S: 8, NB: 1}))
	var missing *MissingKernelError
	require.ErrorAs(t, err, &missing)
	require.Equal(t, KernelKey{Op: LanesMask, S: 8}, missing.Key)

	rows, _ := d.kept()
	lin.Variants = []sgp.Variant{{BatchMin: 1 << 30, BatchMax: 1 << 30, Panel: packPanel(d, sgp.Dense, 4, 16, rows, nil)}}
	huge := linearLayer(lin, true, 1<<30)
	huge.Layers[0].BatchMin = 1 << 30
	require.NoError(t, sgp.WriteFile(path, huge))
	var before, after goruntime.MemStats
	set := testKernels()
	goruntime.ReadMemStats(&before)
	m, err := Open(path, set)
	require.NoError(t, err)
	goruntime.ReadMemStats(&after)
	require.NoError(t, m.Close())
	require.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(1<<24))
}
