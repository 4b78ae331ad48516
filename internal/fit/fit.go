// Package fit holds the coefficients of the minimax fits from which activations
// are computed. The pure-Go form (runtime/act.go) and the kernels (codegen) take
// them from here, so that both compute the same bits.
//
// It must not import anything of sparsegen.
package fit

import "math"

// exp(x), with n = round(x/ln 2) and r = x - n*ln 2, is 2^n times the minimax fit
// of 1 + r + r²q(r) to exp(r), relative, over |r| <= ln(2)/2: 2^-28.3. Below
// ExpMin the result is 0, above ExpMax it is +Inf.
const (
	ExpMin   = -104
	ExpMax   = 89
	ExpMagic = 0x1.8p23 // adding it rounds to an integer, ties to even
	ExpInvLn = 1 / math.Ln2
	ExpLn2Hi = 0x1.62e43p-1
	ExpLn2Lo = -0x1.05c610p-29
	ExpC2    = 0x1.fffffcp-2
	ExpC3    = 0x1.555492p-3
	ExpC4    = 0x1.5558f2p-5
	ExpC5    = 0x1.1239e2p-7
	ExpC6    = 0x1.6a2434p-10
)

// gelu(x) by tanh is x/(1+exp(z*x)) with z = GeluTanhC1 + GeluTanhC3*x².
const (
	GeluTanhC1 = -0x1.988454p0  // -2√(2/π)
	GeluTanhC3 = -0x1.2444f2p-4 // that times 0.044715
)

// tanh(x) is x*P(x²)/Q(x²), the minimax fit over |x| <= TanhMax: 2^-29.5
// relative. P0 and Q0 are 1.
const (
	TanhMax = 9.02

	TanhP1 = 0x1.182a24p-3
	TanhP2 = 0x1.fb0778p-9
	TanhP3 = 0x1.d5e2f0p-16
	TanhP4 = 0x1.06b8f8p-25
	TanhP5 = -0x1.ad5e7ep-37

	TanhQ1 = 0x1.e16a66p-2
	TanhQ2 = 0x1.be654cp-6
	TanhQ3 = 0x1.9cfebap-12
	TanhQ4 = 0x1.5992f8p-20
)

// erf(x/√2) is x*P(x²)/Q(x²), the minimax fit over |x| <= GeluMax: 2^-25.6
// relative. Q0 is 1.
const (
	GeluMax = 5.56

	GeluP0 = 0x1.988452p-1
	GeluP1 = 0x1.145deap-4
	GeluP2 = 0x1.31d490p-7
	GeluP3 = 0x1.5e7f34p-12
	GeluP4 = 0x1.a65452p-17
	GeluP5 = 0x1.835c38p-25

	GeluQ1 = 0x1.01428ep-2
	GeluQ2 = 0x1.d41728p-6
	GeluQ3 = 0x1.eb9354p-10
	GeluQ4 = 0x1.318f34p-14
	GeluQ5 = 0x1.3eb0dep-20
)
