// Sentences embeds sentences with Universal Sentence Encoder Lite and prints how
// near their meanings are.
//
// The network's matrix products with weights are the layers of use.sg; the rest
// (tokenizer, attention, normalisation, pooling) is the Go code of this folder.
// README.md says how to run it.
//
// This package must not import codegen, asm, ptx, autotune or avo; only its
// tests read the spec with package ir and pack the weights with package tool.
package main

//go:generate go tool sparsegen gen use.sg
