package runtime

import (
	"math/bits"
	"unsafe"
)

// genericSet makes kernels that are the loops of kernel.go, taken literally, for
// the given keys.
func genericSet(keys ...KernelKey) Set {
	var s Set
	for _, k := range keys {
		s.Kernels = append(s.Kernels, Kernel{Key: k, Fn: interpret(k)})
	}
	return s
}

// at is p[i]. Streams are walked to just behind their end, which checkptr would
// refuse.
//
//go:nocheckptr
func at[T any](p *T, i int) *T {
	var t T
	return (*T)(unsafe.Add(unsafe.Pointer(p), i*int(unsafe.Sizeof(t))))
}

// row is p moved by i rows of stride bytes.
//
//go:nocheckptr
func row(p *float32, i int, stride uintptr) *float32 {
	return (*float32)(unsafe.Add(unsafe.Pointer(p), uintptr(i)*stride))
}

func interpret(key KernelKey) any {
	switch key.Op {
	case PanelStep:
		return interpretPanelStep(key)
	case PanelGrouped, PanelBlock:
		return interpretPanel(key)
	case PanelDense:
		return interpretPanelDense(key)
	case DeltaTile:
		return interpretDeltaTile(key)
	case CopyTile, TransTile, UntransTile:
		return interpretTile(key)
	}
	return interpretLanes(key)
}

func interpretPanel(key KernelKey) PanelFunc {
	mr, t := int(key.MR), int(key.T)
	return func(y *float32, ldy uintptr, sums *float32, lds uintptr, rows *uint32, x *float32, ldx uintptr, w *float32, idx, runs *uint16, bias *float32, lo, hi float32, n int, _ *float32, _ uintptr) {
		acc := make([]float32, mr*t)
		for p := range n {
			openPanel(acc, mr, t, p, sums, lds, rows, bias)
			first := 1
			if key.Op == PanelBlock {
				first = 1<<mr - 1
			}
			for s := first; s < 1<<mr; s++ {
				for range *runs {
					k := int(*idx)
					idx = at(idx, 1)
					for i := range mr {
						if s>>i&1 == 0 {
							continue
						}
						for c := range t {
							acc[i*t+c] = FMA32(*w, *at(row(x, k, ldx), c), acc[i*t+c])
						}
						w = at(w, 1)
					}
				}
				runs = at(runs, 1)
			}
			closePanel(acc, mr, t, p, y, ldy, rows, lo, hi)
		}
	}
}

func interpretPanelStep(key KernelKey) PanelFunc {
	mr, t := int(key.MR), int(key.T)
	return func(y *float32, ldy uintptr, sums *float32, lds uintptr, rows *uint32, x *float32, ldx uintptr, w *float32, idx, runs *uint16, bias *float32, lo, hi float32, n int, _ *float32, _ uintptr) {
		acc := make([]float32, mr*t)
		entry := func(i int) {
			for c := range t {
				acc[i*t+c] = FMA32(*w, *at(row(x, int(*idx), ldx), c), acc[i*t+c])
			}
			idx, w = at(idx, 1), at(w, 1)
		}
		for p := range n {
			openPanel(acc, mr, t, p, sums, lds, rows, bias)
			for range *runs {
				for i := range mr {
					entry(i)
				}
			}
			for i := range mr {
				for range *at(runs, 1+i) {
					entry(i)
				}
			}
			runs = at(runs, 1+mr)
			closePanel(acc, mr, t, p, y, ldy, rows, lo, hi)
		}
	}
}

func openPanel(acc []float32, mr, t, p int, sums *float32, lds uintptr, rows *uint32, bias *float32) {
	for i := range mr {
		for c := range t {
			if bias != nil {
				acc[i*t+c] = *at(bias, p*mr+i)
			} else {
				acc[i*t+c] = *at(row(sums, int(*at(rows, p*mr+i)), lds), c)
			}
		}
	}
}

func closePanel(acc []float32, mr, t, p int, y *float32, ldy uintptr, rows *uint32, lo, hi float32) {
	for i := range mr {
		for c := range t {
			*at(row(y, int(*at(rows, p*mr+i)), ldy), c) = clamp(acc[i*t+c], lo, hi)
		}
	}
}

func interpretPanelDense(key KernelKey) PanelDenseFunc {
	mr, t := int(key.MR), int(key.T)
	return func(y *float32, ldy uintptr, sums *float32, lds uintptr, rows *uint32, x *float32, ldx uintptr, w, bias *float32, lo, hi float32, n, kb int, _ *float32, _ uintptr) {
		acc := make([]float32, mr*t)
		for p := range n {
			openPanel(acc, mr, t, p, sums, lds, rows, bias)
			for k := range kb {
				for i := range mr {
					for c := range t {
						acc[i*t+c] = FMA32(*at(w, (p*kb+k)*mr+i), *at(row(x, k, ldx), c), acc[i*t+c])
					}
				}
			}
			closePanel(acc, mr, t, p, y, ldy, rows, lo, hi)
		}
	}
}

func interpretDeltaTile(key KernelKey) DeltaTileFunc {
	s, t := int(key.S), int(key.T)
	return func(y *float32, ldy uintptr, x, w *float32, meta *byte, cnt *uint32, bias *float32, lo, hi float32, n int) {
		for j := range n {
			acc, c := make([]float32, s*t), make([]int, s)
			for l := range s {
				for b := range t {
					acc[l*t+b] = *at(bias, j*s+l)
				}
			}
			for range *at(cnt, j) {
				for l := range s {
					c[l] += int(*meta)
					for b := range t {
						acc[l*t+b] = FMA32(*w, *at(x, c[l]*t+b), acc[l*t+b])
					}
					meta, w = at(meta, 1), at(w, 1)
				}
			}
			for l := range s {
				for b := range t {
					*at(row(y, j*s+l, ldy), b) = clamp(acc[l*t+b], lo, hi)
				}
			}
		}
	}
}

func interpretTile(key KernelKey) TileFunc {
	return func(tile, m *float32, ld uintptr, t, rows, cols int) {
		for r := range rows {
			for c := range t {
				switch {
				case key.Op == TransTile:
					*at(tile, r*t+c) = *at(row(m, min(c, cols-1), ld), r)
				case key.Op == UntransTile && c < cols:
					*at(row(m, c, ld), r) = *at(tile, r*t+c)
				case key.Op == CopyTile && c < cols:
					*at(tile, r*t+c) = *at(row(m, r, ld), c)
				case key.Op == CopyTile:
					*at(tile, r*t+c) = 0
				}
			}
		}
	}
}

func interpretLanes(key KernelKey) LanesFunc {
	s, nb, n, m := int(key.S), max(1, int(key.NB)), int(key.N), int(key.M)
	return func(y *float32, ldy uintptr, x *float32, ldx uintptr, w *float32, meta *byte, cnt *uint32, k int, bias *float32, lo, hi float32, slabs int) {
		for j := range slabs {
			acc := make([]float32, nb*s)
			for b := range nb {
				for l := range s {
					acc[b*s+l] = *at(bias, j*s+l)
				}
			}
			step := func(l int, w float32, k int) {
				for b := range nb {
					acc[b*s+l] = FMA32(w, *at(row(x, b, ldx), k), acc[b*s+l])
				}
			}
			next := func() float32 { v := *w; w = at(w, 1); return v }
			switch key.Op {
			case LanesDense:
				for kk := range k {
					for l := range s {
						step(l, next(), kk)
					}
				}
			case LanesList:
				for range *at(cnt, j) {
					kk := int(*meta) | int(*at(meta, 1))<<8
					meta = at(meta, 2)
					for l := range s {
						step(l, next(), kk)
					}
				}
			case LanesNM:
				words := (*uint32)(unsafe.Pointer(meta))
				for g := range k / m {
					for q := range n {
						for l := range s {
							word, shift, _ := nmPlace(g, q, k, n, m)
							i := int(*at(words, word*s+l)>>shift) & (m - 1)
							step(l, next(), g*m+i)
						}
					}
				}
				_, _, each := nmPlace(0, 0, k, n, m)
				meta = at(meta, each*s*4)
			case LanesMask:
				if j == 0 {
					w = at(w, 4)
				}
				for kk := range k {
					for l := range s {
						v := float32(0)
						if *at(meta, l/8)>>(l%8)&1 != 0 {
							v = next()
						}
						step(l, v, kk)
					}
					meta = at(meta, s/8)
				}
			case LanesRow:
				for l := range s {
					part := [8]float32{acc[l]}
					c := 0
					for range *at(cnt, j*s+l) {
						for i := range part {
							part[i] = FMA32(next(), *at(x, c+int(*at(meta, i))), part[i])
						}
						c += int(*at(meta, 7))
						meta = at(meta, 8)
					}
					acc[l] = ((part[0] + part[4]) + (part[2] + part[6])) + ((part[1] + part[5]) + (part[3] + part[7]))
				}
			case LanesWindow:
				for u := range s / 8 {
					c := 0
					for range *at(cnt, j*s/8+u) {
						places := (*uint32)(unsafe.Pointer(meta))
						for q := range 8 {
							for l := range 8 {
								p, wl := int(*at(places, l))>>(4*q)&15, next()
								switch {
								case p < 8:
									step(8*u+l, wl, c+int(*at(meta, 32+q))+p)
								case p > 8:
									step(8*u+l, wl, c+int(*at(meta, 32+q))+p-1)
								}
							}
						}
						c += int(*at(meta, 39))
						meta = at(meta, 40)
					}
				}
			}
			for b := range nb {
				for l := range s {
					*at(row(y, b, ldy), j*s+l) = clamp(acc[b*s+l], lo, hi)
				}
			}
		}
	}
}

// nmPlace is where index q of group g lies in a lane's words, and their number.
func nmPlace(g, q, k, n, m int) (word, shift, words int) {
	b := bits.Len(uint(m - 1))
	per := 32 / b
	if n <= per {
		e := per / n
		return g / e, (g%e*n + q) * b, (k/m + e - 1) / e
	}
	each := (n + per - 1) / per
	return g*each + q/per, q % per * b, k / m * each
}
