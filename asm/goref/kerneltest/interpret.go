package kerneltest

import (
	"encoding/binary"
	"math"
	"math/big"
	"slices"

	"github.com/sparsegen/sparsegen/runtime"
)

// Want is the memory that holds the output after a right kernel ran: the loop of
// the contract, taken literally, with a multiply-add of its own. An activation
// is what the runtime's function of its name gives.
func (c *Call) Want() []float32 {
	out := slices.Clone(c.out)
	y := out[c.at:]
	switch op := c.key.Op; op {
	case runtime.PanelGrouped, runtime.PanelBlock, runtime.PanelStep, runtime.PanelDense:
		c.wantPanel(y)
	case runtime.DeltaTile:
		c.wantDeltaTile(y)
	case runtime.CopyTile:
		for k := range c.n {
			for col := range c.t {
				y[k*c.ldout+col] = 0
				if col < c.k {
					y[k*c.ldout+col] = c.x[k*c.ldx+col]
				}
			}
		}
	case runtime.TransTile:
		for k := range c.n {
			for col := range c.t {
				y[k*c.ldout+col] = c.x[min(col, c.k-1)*c.ldx+k]
			}
		}
	case runtime.UntransTile:
		for col := range c.k {
			for r := range c.n {
				y[col*c.ldout+r] = c.x[r*c.t+col]
			}
		}
	case runtime.LanesDense, runtime.LanesList, runtime.LanesNM, runtime.LanesMask, runtime.LanesRow, runtime.LanesWindow:
		for b := range max(1, int(c.key.NB)) {
			for l := range int(c.key.S) {
				c.wantLane(y, b, l)
			}
		}
	case runtime.MapGelu:
		runtime.Gelu(y[:c.n])
	case runtime.MapGeluTanh:
		runtime.GeluTanh(y[:c.n])
	case runtime.MapSilu:
		runtime.Silu(y[:c.n])
	case runtime.MapSigmoid:
		runtime.Sigmoid(y[:c.n])
	case runtime.MapTanh:
		runtime.Tanh(y[:c.n])
	}
	return out
}

// wantPanel computes one output after the other: for each it walks all entries
// and takes those of its row.
func (c *Call) wantPanel(y []float32) {
	mr, t := int(c.key.MR), int(c.key.T)
	for i := range mr {
		for l := range t {
			entry, value := 0, 0
			for p := range c.n {
				at := int(c.rows[p*mr+i])*c.ldout + l
				acc := y[at]
				if c.sums != nil {
					acc = c.sums[int(c.rows[p*mr+i])*c.lds+l]
				}
				if c.bias != nil {
					acc = c.bias[p*mr+i]
				}
				switch c.key.Op {
				case runtime.PanelDense:
					for k := range c.k {
						acc = fma(c.w[(p*c.k+k)*mr+i], c.x[k*c.ldx+l], acc)
					}
				case runtime.PanelBlock:
					for range c.runs[p] {
						acc = fma(c.w[entry*mr+i], c.x[int(c.idx[entry])*c.ldx+l], acc)
						entry++
					}
				case runtime.PanelStep:
					runs := c.runs[p*(1+mr):][:1+mr]
					for range runs[0] {
						acc = fma(c.w[entry+i], c.x[int(c.idx[entry+i])*c.ldx+l], acc)
						entry += mr
					}
					for row, run := range runs[1:] {
						for range run {
							if row == i {
								acc = fma(c.w[entry], c.x[int(c.idx[entry])*c.ldx+l], acc)
							}
							entry++
						}
					}
				case runtime.PanelGrouped:
					for s := 1; s < 1<<mr; s++ {
						for range c.runs[p*(1<<mr-1)+s-1] {
							for row := range mr {
								if s&(1<<row) == 0 {
									continue
								}
								if row == i {
									acc = fma(c.w[value], c.x[int(c.idx[entry])*c.ldx+l], acc)
								}
								value++
							}
							entry++
						}
					}
				}
				y[at] = c.clamp(acc)
			}
		}
	}
}

// wantLane computes lane l of every slab for token b.
func (c *Call) wantLane(y []float32, b, l int) {
	s := int(c.key.S)
	x := c.x[min(b*c.ldx, len(c.x)):]
	entry, value := 0, 0
	for j := range c.n {
		acc := c.bias[j*s+l]
		switch c.key.Op {
		case runtime.LanesDense:
			for kk := range c.k {
				acc = fma(c.w[(j*c.k+kk)*s+l], x[kk], acc)
			}
		case runtime.LanesList:
			for range c.cnt[j] {
				acc = fma(c.w[entry*s+l], x[binary.NativeEndian.Uint16(c.meta[entry*2:])], acc)
				entry++
			}
		case runtime.LanesNM:
			n, m := int(c.key.N), int(c.key.M)
			for g := range c.k / m {
				for q := range n {
					acc = fma(c.w[((j*(c.k/m)+g)*n+q)*s+l], x[g*m+c.index(j, g, q, l)], acc)
				}
			}
		case runtime.LanesMask:
			for kk := range c.k {
				var mine float32
				for lane := range s {
					bit := (j*c.k+kk)*s + lane // s is a multiple of 8
					if c.meta[bit/8]&(1<<(bit%8)) == 0 {
						continue
					}
					if lane == l {
						mine = c.w[4+value]
					}
					value++
				}
				acc = fma(mine, x[kk], acc)
			}
		case runtime.LanesRow:
			acc = c.rowSum(x, j*s+l)
		case runtime.LanesWindow:
			acc = c.windowSum(x, j*s+l)
		}
		y[b*c.ldout+j*s+l] = c.clamp(acc)
	}
}

// rowSum computes a row of LanesRow.
func (c *Call) rowSum(x []float32, row int) float32 {
	first := 0
	for _, groups := range c.cnt[:row] {
		first += int(groups)
	}
	var part [8]float32
	part[0] = c.bias[row]
	for i := range part {
		col := 0
		for g := first; g < first+int(c.cnt[row]); g++ {
			part[i] = fma(c.w[g*8+i], x[col+int(c.meta[g*8+i])], part[i])
			col += int(c.meta[g*8+7])
		}
	}
	for half := 4; half > 0; half /= 2 {
		for i := range half {
			part[i] += part[i+half]
		}
	}
	return part[0]
}

// windowSum computes a row of LanesWindow.
func (c *Call) windowSum(x []float32, row int) float32 {
	first := 0
	for _, groups := range c.cnt[:row/8] {
		first += int(groups)
	}
	acc, begin := c.bias[row], 0
	for g := first; g < first+int(c.cnt[row/8]); g++ {
		meta := c.meta[g*40:][:40]
		for q := range 8 {
			window := slices.Insert(slices.Clone(x[begin+int(meta[32+q]):][:15]), 8, 0)
			place := binary.LittleEndian.Uint32(meta[row%8*4:]) >> (4 * q) % 16
			acc = fma(c.w[g*64+q*8+row%8], window[place], acc)
		}
		begin += int(meta[39])
	}
	return acc
}

// index is i(j, g, q, l) of LanesNM.
func (c *Call) index(j, g, q, l int) int {
	n, m, s, groups := int(c.key.N), int(c.key.M), int(c.key.S), c.k/int(c.key.M)
	b := 1
	for 1<<b < m {
		b++
	}
	p := 32 / b
	var words, word, bit int
	if n <= p {
		e := p / n
		words = (groups + e - 1) / e
		word, bit = g/e, (g%e*n+q)*b
	} else {
		each := (n + p - 1) / p
		words = groups * each
		word, bit = g*each+q/p, q%p*b
	}
	v := binary.NativeEndian.Uint32(c.meta[((j*words+word)*s+l)*4:])
	return int((v >> bit) % uint32(m))
}

func (c *Call) wantDeltaTile(y []float32) {
	s, t := int(c.key.S), int(c.key.T)
	for l := range s {
		for lane := range t {
			entry := 0
			for j := range c.n {
				acc, col := c.bias[j*s+l], 0
				for range c.cnt[j] {
					col += int(c.meta[entry*s+l])
					acc = fma(c.w[entry*s+l], c.x[col*t+lane], acc)
					entry++
				}
				y[(j*s+l)*c.ldout+lane] = c.clamp(acc)
			}
		}
	}
}

func (c *Call) clamp(a float32) float32 {
	if c.lo > a {
		a = c.lo
	}
	if a > c.hi {
		a = c.hi
	}
	return a
}

// fma is a*b+c rounded once to float32. In float64 the product is exact and the
// sum is rounded; rounding that again is right unless it lies half-way between
// two float32, or below their normal range. There math/big decides.
func fma(a, b, c float32) float32 {
	sum := float64(a)*float64(b) + float64(c)
	if math.IsNaN(sum) || math.IsInf(sum, 0) || sum == 0 && (a == 0 || b == 0) {
		return float32(sum)
	}
	const below = 1<<29 - 1 // mantissa bits that float32 does not have
	if math.Float64bits(sum)&below != 1<<28 && math.Abs(sum) >= 0x1p-125 {
		return float32(sum)
	}
	exact := new(big.Float).SetPrec(700).Mul(big.NewFloat(float64(a)), big.NewFloat(float64(b)))
	rounded, _ := exact.Add(exact, big.NewFloat(float64(c))).Float32()
	return rounded
}
