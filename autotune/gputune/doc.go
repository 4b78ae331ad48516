// Package gputune finds, by measurement on the GPU at hand, which kernel computes
// each linear step of a layer fastest at each number of tokens that the plan
// compares, and keeps what it found as records beside the spec, as package autotune
// does for CPUs: with its race, its stages and its guard.
//
// A sample is one replay of a captured launch between two CUDA events, behind a
// fill of more memory than the second-level cache holds: weights come from memory,
// as they do between the other layers of a model. Clocks are noted and left alone.
//
// It must not import inspect or tool, and nothing but tool imports it.
package gputune
