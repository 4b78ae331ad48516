// Package runtime is what ships in a user's program: it opens a packed model
// (.sgp), binds generated kernels by CPU feature, and runs layers.
//
// It must not import ir, codegen, asm, ptx, autotune or avo, nor runtime/cuda.
package runtime

import "github.com/sparsegen/sparsegen/runtime/gpu"

// Kernels are generated into the user's package and handed over as a Set. The
// types below are the whole contract between a generated kernel and the code
// that drives it. Common to all of them:
//
//   - T is the width in float32 of one tile row, a multiple of 8; a tile is
//     [K, T], contiguous, 64-byte aligned.
//   - n, k, kb and the counts of a TileFunc are at least 1.
//   - Strides (ldx, ldy, lds, lda) are in bytes.
//   - fma(a, b, c) is the exactly rounded float32 fused multiply-add; each
//     output is one chain of them, or a fixed sum of eight, in the order of the
//     loops below, so every ISA and the pure-Go fallback give the same bits.
//   - clamp(a) = min(max(a, lo), hi) as: if lo > a {a = lo}; if a > hi {a = hi},
//     so a NaN stays. lo = -Inf, hi = +Inf leaves a as it is.
//   - A kernel reads and writes exactly what its loop names: full tiles and
//     full slabs only. The driver gives tails a scratch tile.

// PanelFunc computes n panels of MR output rows over one K-block; lanes are
// batch columns. Ops PanelGrouped, PanelBlock, PanelStep.
//
//	for p := range n {
//		acc[i][:] = bias != nil ? bias[p*MR+i] : sums[rows[p*MR+i]][:]   // i < MR
//		for s := 1; s < 1<<MR; s++ {           // PanelBlock: only s = 1<<MR - 1
//			for range runs[next] {
//				k := idx[next]
//				for each set bit i of s, ascending {
//					acc[i][:] = fma(w[next], x[k][:], acc[i][:])   // T lanes
//				}
//			}
//		}
//		y[rows[p*MR+i]][:] = clamp(acc[i][:])
//	}
//
// y row r begins at y + r*ldy, row r of sums at sums + r*lds, x row k at x + k*ldx. sums may be y. ahead is a hint: for each
// panel row, T float32 there will be read soon, and then those lda bytes further, which
// PanelDense and PanelGrouped with MR = 1 prefetch; with lda = 0 it means nothing. runs has 1<<MR - 1 counts a panel (PanelBlock:
// one), in the order of s. A kernel may load four idx beyond the last; the packer
// appends them.
//
// PanelStep has a list of columns for each row, and 1 + MR counts a panel: the
// rows go in step through what the shortest list is long, then each goes on
// alone:
//
//	for range runs[next] { for i := range MR { acc[i][:] = fma(w[next], x[idx[next]][:], acc[i][:]) }}
//	for i := range MR { for range runs[next] { acc[i][:] = fma(w[next], x[idx[next]][:], acc[i][:]) }}
type PanelFunc func(y *float32, ldy uintptr, sums *float32, lds uintptr, rows *uint32, x *float32, ldx uintptr, w *float32, idx, runs *uint16, bias *float32, lo, hi float32, n int, ahead *float32, lda uintptr)

// PanelDenseFunc is PanelFunc with every element stored: w is [n, kb, MR].
//
//	for k := range kb { acc[i][:] = fma(w[p][k][i], x[k][:], acc[i][:]) }
type PanelDenseFunc func(y *float32, ldy uintptr, sums *float32, lds uintptr, rows *uint32, x *float32, ldx uintptr, w, bias *float32, lo, hi float32, n, kb int, ahead *float32, lda uintptr)

// LanesFunc computes n slabs of S output rows for NB tokens; lanes are output
// rows. x is token-major, token b at x + b*ldx; y likewise, slab j of token b
// at y + b*ldy + j*S*4. bias is [n, S], never nil. Each format walks w and its
// metadata as one stream over the slabs:
//
//	for j := range n {
//		acc[b][l] = bias[j][l]                       // b < NB, l < S
//		LanesDense: for kk := range k { acc[b][l] = fma(w[j][kk][l], x[b][kk], acc[b][l]) }
//		LanesList:  for range cnt[j] { kk := uint16 meta[next]; acc[b][l] = fma(w[next S][l], x[b][kk], acc[b][l]) }
//		LanesNM:    for g := range k/M { for q := range N {          // stored ascending in each lane
//		                acc[b][l] = fma(w[next S][l], x[b][g*M+i(j,g,q,l)], acc[b][l]) }}
//		LanesMask:  for kk := range k { bits := S bits of meta[next S/8 bytes];
//		                wl := bits>>l&1 != 0 ? w[next] : +0; acc[b][l] = fma(wl, x[b][kk], acc[b][l]) }
//		LanesRow:   for l < S { part[0] = bias[j][l]; part[1…7] = 0; c := 0
//		                for range cnt[j][l] { for i < 8 { part[i] = fma(w[next], x[b][c+meta[next]], part[i]) }
//		                    c += the eighth of those bytes }
//		                acc[b][l] = ((part[0]+part[4])+(part[2]+part[6])) + ((part[1]+part[5])+(part[3]+part[7])) }
//		LanesWindow: for u < S/8 { c := 0
//		                for range cnt[j][u] { for q < 8 { for l < 8 {   // 15 columns from c+step[q] on, or +0
//		                        p := place[l] >> 4q & 15
//		                        v := p == 8 ? +0 : x[b][c + step[q] + (p > 8 ? p-1 : p)]
//		                        acc[b][8u+l] = fma(w[next], v, acc[b][8u+l]) }}
//		                    c += step[7] }}
//		y[b][j][l] = clamp(acc[b][l])
//	}
//
// LanesNM, M a power of two, B = log2 M (at least 1), P = 32/B indices a word:
// meta is uint32 [words, S] a slab; lane l reads its own words. With N <= P one
// word holds P/N groups, index q of the e-th group in it at bit (e*N+q)*B;
// otherwise a group takes ceil(N/P) words, index q in word q/P at bit (q%P)*B.
// Every bit pattern is a valid index.
//
// The first value of LanesMask is w[4]; its kernels may read the 4 before it and 32
// behind the last one, which mean nothing. cnt [n] counts the values of each slab.
// LanesRow is for NB = 1; S = 8: its lanes are eight stored elements of one
// row, of which cnt [n, S] counts the groups. LanesWindow is for NB = 1 and S = 16
// too; meta is for each group 8 uint32, place, and then 8 bytes, step. cnt [n, S/8]
// counts the groups of each eight rows.
type LanesFunc func(y *float32, ldy uintptr, x *float32, ldx uintptr, w *float32, meta *byte, cnt *uint32, k int, bias *float32, lo, hi float32, n int)

// DeltaTileFunc computes n slabs of S = 8 output rows; lanes are batch columns: x
// is a tile [K, T], y row j*S+l begins at y + (j*S+l)*ldy.
//
//	for j := range n {
//		acc[l][:] = bias[j][l]; c[l] = 0             // l < S
//		for range cnt[j] {
//			c[l] += meta[next S bytes][l]
//			acc[l][:] = fma(w[next S][l], x[c[l]][:], acc[l][:])           // T lanes
//		}
//		y[j*S+l][:] = clamp(acc[l][:])
//	}
type DeltaTileFunc func(y *float32, ldy uintptr, x, w *float32, meta *byte, cnt *uint32, bias *float32, lo, hi float32, n int)

// TileFunc moves a tile between a matrix m with row stride ld and a [rows, t]
// scratch tile; t is a multiple of 8 and cols at most t.
//
//	CopyTile:    tile[k][c] = c < cols ? m[k][c] : 0            m is [rows, cols]
//	TransTile:   tile[k][c] = m[min(c, cols-1)][k]              m is [cols, rows]
//	UntransTile: m[c][r] = tile[r][c] for c < cols, r < rows    m is [cols, rows]
//
// TransTile may write and UntransTile may read tile rows up to the next multiple
// of 16.
type TileFunc func(tile, m *float32, ld uintptr, t, rows, cols int)

// MapFunc applies an activation to n float32 in place. Ops Gelu… (see act.go).
type MapFunc func(y *float32, n int)

// KernelOp names what a kernel computes.
type KernelOp uint8

// The kernel ops, with the coordinates that each uses.
const (
	PanelGrouped KernelOp = iota + 1 // MR, T
	PanelBlock                       // MR, T
	PanelStep                        // MR, T
	PanelDense                       // MR, T
	LanesDense                       // S, NB
	LanesList                        // S, NB
	LanesNM                          // S, NB, N, M
	LanesMask                        // S, NB
	LanesRow                         // S
	LanesWindow                      // S
	DeltaTile                        // S, T
	CopyTile                         // none
	TransTile                        // none
	UntransTile                      // none
	MapGelu                          // none
	MapGeluTanh
	MapSilu
	MapSigmoid
	MapTanh
)

// KernelKey is a kernel's place: its op and the coordinates that the op uses;
// the others are 0.
type KernelKey struct {
	Op    KernelOp
	MR, T uint8
	S, NB uint8
	N, M  uint8
}

// ISA is an instruction set level that a kernel needs.
type ISA uint8

// Instruction set levels, ascending within an architecture.
const (
	Generic ISA = iota // pure Go
	AVX2               // AVX2 and FMA
	AVX512             // F, BW, DQ, VL
	NEON
	SVE // vectors of 128, 256, 512, 1024 or 2048 bits
)

// Set is the kernels that one generated package offers.
type Set struct {
	// Packing is the fingerprint of the packer that these kernels were generated
	// with. Open refuses a file of another packing.
	Packing uint64
	Kernels []Kernel
	// GPUPacking and GPU are the same for layers that are packed for a GPU.
	GPUPacking uint64
	GPU        []gpu.Kernel
}

// Kernel is one generated function with its place.
type Kernel struct {
	Key KernelKey
	ISA ISA
	Fn  any // PanelFunc, PanelDenseFunc, LanesFunc, DeltaTileFunc, TileFunc or MapFunc
}
