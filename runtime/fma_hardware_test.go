package runtime

import (
	"flag"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sparsegen/sparsegen/internal/hwfma"
)

var fmaTriples = flag.Int("fma", 1_000_000, "triples for which TestFMA32Hardware compares FMA32 with the processor")

// fmaClasses are kinds of triples. Of those with ties, two roundings give
// another result than one now and then.
var fmaClasses = []struct {
	name string
	ties bool
	make func(r *fmaRand) (a, b, c float32)
}{
	{"any bits", false, func(r *fmaRand) (a, b, c float32) { return r.bits(), r.bits(), r.bits() }},
	{"numbers of like size", false, func(r *fmaRand) (a, b, c float32) { return r.near(0, 4), r.near(0, 4), r.near(0, 8) }},
	// a*b + c as close to half-way between two float32 as a float32 c allows.
	{"half-way sums", true, func(r *fmaRand) (a, b, c float32) {
		a, b = r.near(0, 30), r.near(0, 30)
		p := float64(a) * float64(b)
		c = float32(r.halfway(float32(p*math.Ldexp(1, r.IntN(6)-3))) - p)
		return a, b, r.ulps(c, 1)
	}},
	// A product that is half-way by itself, and an addend below its last place,
	// often below that of its float64.
	{"half-way products and small addends", true, func(r *fmaRand) (a, b, c float32) {
		e := r.IntN(60) - 30
		a = float32(math.Ldexp(float64(1<<11|r.IntN(1<<11)|1), e))
		b = float32(math.Ldexp(float64(1<<12|r.IntN(1<<12)|1), -r.IntN(30)))
		_, at := math.Frexp(float64(a) * float64(b))
		return a, b, r.near(at-24-r.IntN(130), 3)
	}},
	{"products of almost half of an addend's last place", true, func(r *fmaRand) (a, b, c float32) {
		c = r.near(0, 60)
		_, at := math.Frexp(float64(c))
		a, b = r.almost(at - 25)
		return a, b, c
	}},
	{"sums that cancel", false, func(r *fmaRand) (a, b, c float32) {
		a, b = r.near(0, 40), r.near(0, 40)
		return a, b, r.ulps(-float32(float64(a)*float64(b)), 3)
	}},
	{"denormal sums", false, func(r *fmaRand) (a, b, c float32) {
		e := r.IntN(80)
		return r.near(-e, 2), r.near(e-120-r.IntN(40), 2), r.near(-127-r.IntN(24), 3)
	}},
	// Half of the least float32 is the tie of all sums down there.
	{"denormal half-way sums", true, func(r *fmaRand) (a, b, c float32) {
		a, b = r.almost(-150)
		return a, b, r.sign(math.Float32frombits(uint32(r.IntN(1 << (1 + r.IntN(24))))))
	}},
	{"at the edge of overflow", true, func(r *fmaRand) (a, b, c float32) {
		if r.IntN(2) == 0 {
			a, b = r.almost(103) // half of the last place of the largest
			return a, b, r.sign(math.Float32frombits(math.Float32bits(math.MaxFloat32) - uint32(r.IntN(2))))
		}
		a = float32(math.Ldexp(1+float64(r.IntN(1<<23))/(1<<23), r.IntN(100)))
		b = r.ulps(float32(math.MaxFloat32/float64(a)), 2)
		return r.sign(a), r.sign(b), r.near(90+r.IntN(16), 3)
	}},
	{"the least normal number", false, func(r *fmaRand) (a, b, c float32) {
		e := r.IntN(60)
		return r.ulps(float32(math.Ldexp(1, -e)), 3), r.ulps(float32(math.Ldexp(1, e-126)), 3), r.sign(math.Float32frombits(uint32(r.IntN(4))))
	}},
	{"zeros, infinities and NaN", false, func(r *fmaRand) (a, b, c float32) {
		v := func() float32 { return fmaSpecial[r.IntN(len(fmaSpecial))] }
		if r.IntN(2) == 0 {
			return v(), v(), v()
		}
		return v(), v(), r.bits()
	}},
}

var fmaSpecial = []float32{
	0, float32(math.Copysign(0, -1)), float32(math.Inf(1)), float32(math.Inf(-1)), float32(math.NaN()),
	1, -1, 2, 0.5, 1 + 0x1p-23, 1 - 0x1p-24, -1 + 0x1p-24, math.MaxFloat32, -math.MaxFloat32, 0x1p-126, -0x1p-126,
	0x1p-126 - 0x1p-149, 0x1p-149, -0x1p-149, 0x1p-75, 0x1p-74, 0x1p127, 0x1p103, -0x1p103, 0x1p64, 3,
}

type fmaRand struct{ *rand.Rand }

func (r *fmaRand) bits() float32 { return math.Float32frombits(r.Uint32()) }

func (r *fmaRand) sign(f float32) float32 {
	return math.Float32frombits(math.Float32bits(f) ^ r.Uint32()&(1<<31))
}

// near is a number of either sign of about 2^e, by a factor of up to 2^spread.
func (r *fmaRand) near(e, spread int) float32 {
	f := math.Ldexp(1+float64(r.Uint32N(1<<23))/(1<<23), e+r.IntN(2*spread+1)-spread)
	return r.sign(float32(f))
}

// ulps moves f by up to n units in its last place.
func (r *fmaRand) ulps(f float32, n int) float32 {
	return math.Float32frombits(math.Float32bits(f) + uint32(r.IntN(2*n+1)-n))
}

// almost gives factors whose product is 2^e or differs from it by a few 2^-46 of
// it, which float64 loses when it adds something larger.
func (r *fmaRand) almost(e int) (a, b float32) {
	x := e/2 + r.IntN(21) - 10
	i := float64(r.IntN(4)) * 0x1p-23
	return r.sign(float32(math.Ldexp(1+i, x))), r.sign(float32(math.Ldexp(1-i, e-x)))
}

// halfway lies between f and the next larger magnitude.
func (r *fmaRand) halfway(f float32) float64 {
	next := math.Float32frombits(math.Float32bits(f) + 1)
	return (float64(f) + float64(next)) / 2
}

// TestFMA32Hardware compares FMA32 with VFMADD231SS, bit for bit but for what is
// in a NaN. go test ./runtime -run FMA32Hardware -fma 300000000 takes half a minute.
func TestFMA32Hardware(t *testing.T) {
	if !hwfma.Available() {
		t.Skip("no fused multiply-add of float32 to compare with")
	}
	for i, class := range fmaClasses {
		r := &fmaRand{rand.New(rand.NewPCG(uint64(i), 12))}
		const block = 4096
		var y, a, b, c [block]float32
		differ := 0 // two roundings would
		for n := *fmaTriples/len(fmaClasses) + 1; n > 0; n -= block {
			for j := range block {
				a[j], b[j], c[j] = class.make(r)
			}
			hwfma.FMA(y[:], a[:], b[:], c[:])
			for j, want := range y {
				got := FMA32(a[j], b[j], c[j])
				if math.Float32bits(got) != math.Float32bits(want) && (got == got || want == want) {
					t.Fatalf("%s: FMA32(%x, %x, %x) = %x, the processor's is %x", class.name, a[j], b[j], c[j], got, want)
				}
				if float32(math.FMA(float64(a[j]), float64(b[j]), float64(c[j]))) != want && want == want {
					differ++
				}
			}
		}
		t.Logf("%s: two roundings would differ %d times", class.name, differ)
		if class.ties && *fmaTriples >= 1_000_000 {
			require.NotZero(t, differ, "%s: the triples are not where it matters", class.name)
		}
	}
	for _, a := range fmaSpecial {
		for _, b := range fmaSpecial {
			for _, c := range fmaSpecial {
				var y [1]float32
				hwfma.FMA(y[:], []float32{a}, []float32{b}, []float32{c})
				if got := FMA32(a, b, c); math.Float32bits(got) != math.Float32bits(y[0]) && (got == got || y[0] == y[0]) {
					t.Fatalf("FMA32(%x, %x, %x) = %x, the processor's is %x", a, b, c, got, y[0])
				}
			}
		}
	}
}
