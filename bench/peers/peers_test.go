package peers

import (
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// problem draws operands; a share of the weights is zero.
func problem(t *testing.T, p Problem, zeros float64) (w, x []float32) {
	t.Helper()
	rng := rand.New(rand.NewPCG(uint64(p.Out*p.In), uint64(p.Batch)))
	draw := func(n int) []float32 {
		b, err := NewBuffer(n)
		require.NoError(t, err)
		t.Cleanup(b.Free)
		for i := range b.Data {
			b.Data[i] = rng.Float32()*2 - 1
		}
		return b.Data
	}
	w, x = draw(p.Out*p.In), draw(p.In*p.Batch)
	for i := range w {
		if rng.Float64() < zeros {
			w[i] = 0
		}
	}
	return w, x
}

// requireProduct compares y with the product in float64 within 2·γ_K·Σ|w||x|.
func requireProduct(t *testing.T, w, x, y []float32, p Problem) {
	t.Helper()
	u := math.Ldexp(1, -24)
	gamma := float64(p.In) * u / (1 - float64(p.In)*u)
	for o := range p.Out {
		for b := range p.Batch {
			sum, size := 0.0, 0.0
			for k := range p.In {
				xi := b*p.In + k
				if p.Layout == FeatureMajor {
					xi = k*p.Batch + b
				}
				v := float64(w[o*p.In+k]) * float64(x[xi])
				sum, size = sum+v, size+math.Abs(v)
			}
			yi := b*p.Out + o
			if p.Layout == FeatureMajor {
				yi = o*p.Batch + b
			}
			require.LessOrEqual(t, math.Abs(float64(y[yi])-sum), 2*gamma*size, "feature %d, batch %d", o, b)
		}
	}
}

func TestPeersComputeTheProduct(t *testing.T) {
	require.NoError(t, Pin())
	for _, peer := range All() {
		for _, shape := range [][3]int{{16, 16, 1}, {48, 33, 8}, {64, 128, 49}, {100, 68, 196}, {33, 17, 5}} {
			for _, zeros := range []float64{0, 0.9} {
				p := Problem{Out: shape[0], In: shape[1], Batch: shape[2], Layout: peer.Layout}
				t.Run(fmt.Sprintf("%s/%s/%v/%v", peer.Name, peer.Layout, shape, zeros), func(t *testing.T) {
					w, x := problem(t, p, zeros)
					r, err := peer.Prepare(w, p)
					require.NoError(t, err)
					defer r.Close()
					require.Positive(t, r.Bytes())
					require.NotEmpty(t, r.Describe())
					out, err := NewBuffer(p.Out * p.Batch)
					require.NoError(t, err)
					defer out.Free()
					for range 2 { // a second run must not depend on what the first left
						for i := range out.Data {
							out.Data[i] = float32(math.NaN())
						}
						r.Run(x, out.Data)
						if q, ok := r.(Reweighted); ok {
							requireProduct(t, q.Weights(), x, out.Data, p)
						} else {
							requireProduct(t, w, x, out.Data, p)
						}
					}
				})
			}
		}
	}
}

// XNNPACK's convolution must be the sparse kernel: an infinite input whose
// weight is zero leaves the output finite.
func TestXNNPACKConvolutionSkipsZeros(t *testing.T) {
	require.NoError(t, Pin())
	p := Problem{Out: 64, In: 32, Batch: 49, Layout: FeatureMajor}
	w, x := problem(t, p, 0.5)
	for i := range p.Batch {
		x[3*p.Batch+i] = float32(math.Inf(1))
	}
	y, err := NewBuffer(p.Out * p.Batch)
	require.NoError(t, err)
	defer y.Free()
	r, err := xnnpackSpMM().Prepare(w, p)
	require.NoError(t, err)
	defer r.Close()
	r.Run(x, y.Data)
	for o := range p.Out {
		v := float64(y.Data[o*p.Batch])
		require.Equal(t, w[o*p.In+3] == 0, !math.IsNaN(v) && !math.IsInf(v, 0), "feature %d", o)
	}
}

func TestRoundToLevels(t *testing.T) {
	w, _ := problem(t, Problem{Out: 64, In: 64, Batch: 1}, 0.5)
	q, nonZeros := roundToLevels(w)
	distinct := map[float32]bool{}
	n := 0
	for i := range w {
		require.Equal(t, w[i] == 0, q[i] == 0)
		require.InDelta(t, w[i], q[i], 1.0/63)
		distinct[q[i]] = true
		if q[i] != 0 {
			n++
		}
	}
	require.Equal(t, n, nonZeros)
	require.LessOrEqual(t, len(distinct), 127)
}

func TestTranspose(t *testing.T) {
	w, _ := problem(t, Problem{Out: 37, In: 70, Batch: 1}, 0)
	got := make([]float32, len(w))
	transpose(got, w, 37, 70)
	for r := range 37 {
		for c := range 70 {
			require.Equal(t, w[r*70+c], got[c*37+r])
		}
	}
}

func TestBufferRejectsEmpty(t *testing.T) {
	_, err := NewBuffer(0)
	require.ErrorContains(t, err, "buffer of 0 values")
}

// TestPinnedAlone: no other thread may run where the pinned one does, those to come included.
func TestPinnedAlone(t *testing.T) {
	if runtime.NumCPU() == 1 {
		t.Skip("one processor")
	}
	require.NoError(t, Pin())
	var own, other unix.CPUSet
	require.NoError(t, unix.SchedGetaffinity(0, &own))
	require.Equal(t, 1, own.Count())
	others := make(chan unix.CPUSet)
	go func() {
		runtime.LockOSThread()
		var set unix.CPUSet
		_ = unix.SchedGetaffinity(0, &set)
		others <- set
	}()
	other = <-others
	require.Equal(t, runtime.NumCPU()-1, other.Count())
	for i := range 64 * len(own) {
		require.False(t, own.IsSet(i) && other.IsSet(i))
	}
}
