// Package autotune finds, by measurement on the machine at hand, which
// configuration computes each layer fastest, and keeps what it found as records
// that are committed beside the spec.
//
// Candidates of all layers are compiled into one program (Build), which runs as a
// process of its own (package worker). Each must give the bits that the kernels in
// Go give before it is timed. Then they race: in rounds, in random order, scored by
// their times beside the others' of the same round, the slower ones leaving stage by
// stage (Race). The planner's choice is replaced only by what is faster beyond doubt (Verdict). A record is a
// hint: it is checked again whenever it is read (Lookup).
//
// A sample is the least of a few blocks, which is robust where delays only ever add to a run's time:
// J. Chen and J. Revels, Robust benchmarking in noisy environments, 2016 (arXiv
// 1608.04295).
//
// It must not import asm, ptx, inspect or tool, and nothing but tool, report, gputune and
// the benchmarks imports it.
package autotune
