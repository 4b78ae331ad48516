// Command mutate plants mistakes in Go source, one at a time, and counts those
// that tests find: a turned condition, another operator, a constant one too
// large, a statement left out, an error not returned. All mistakes of a package
// would take days, so it takes a random sample, by a seed: of n mutants, the
// share that is found is right within 1/√n or so.
//
//	go run ./internal/mutate [flags] package-dir...
//
// The source stays as it is (go test -overlay). The tests are those of the
// mutant's own package and of the packages that -with names, of which -run
// chooses; the fast ones first.
//
// It must not import anything of sparsegen.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// options are the flags.
type options struct {
	n       int
	seed    uint64
	timeout time.Duration
	run     string
	skip    string
	with    string
	floor   float64
}

func main() {
	var o options
	flag.IntVar(&o.n, "n", 150, "mutants to try")
	flag.Uint64Var(&o.seed, "seed", 1, "which ones")
	flag.DurationVar(&o.timeout, "timeout", time.Minute, "a mutant's tests that take longer have found it")
	flag.StringVar(&o.run, "run", "", "the tests, as a regular expression")
	flag.StringVar(&o.skip, "skip", "", "of these, those to leave out, as a regular expression")
	flag.StringVar(&o.with, "with", "", "more packages whose tests are run, apart by commas")
	flag.Float64Var(&o.floor, "floor", 0, "the least share in percent that tests must find")
	flag.Parse()
	if err := mutate(context.Background(), flag.Args(), o); err != nil {
		fmt.Fprintln(os.Stderr, "mutate:", err)
		os.Exit(1)
	}
}

// outcome is what became of a mutant.
type outcome int

const (
	found outcome = iota
	survived
	notBuilt
)

func mutate(ctx context.Context, dirs []string, o options) error {
	var all []site
	for _, dir := range dirs {
		s, err := sites(dir)
		if err != nil {
			return err
		}
		for i := range s {
			s[i].importPath = "./" + filepath.ToSlash(filepath.Clean(dir))
		}
		all = append(all, s...)
	}
	if len(all) == 0 {
		return errors.New("nothing to mutate: name folders of packages")
	}
	rng := rand.New(rand.NewPCG(o.seed, 0))
	rng.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	scratch, err := os.MkdirTemp("", "mutate")
	if err != nil {
		return err
	}
	defer os.RemoveAll(scratch)
	// Without a mistake the tests pass, and mutants need not be built anew each.
	if got, out, err := try(ctx, scratch, site{file: "", importPath: "./" + filepath.ToSlash(filepath.Clean(dirs[0]))}, o); err != nil || got != survived {
		return errors.Join(fmt.Errorf("the tests fail without a mistake:\n%s", out), err)
	}
	kinds := map[string][3]int{}
	sum := [3]int{}
	for _, s := range all {
		if sum[found]+sum[survived] == o.n {
			break
		}
		got, _, err := try(ctx, scratch, s, o)
		if err != nil {
			return err
		}
		sum[got]++
		k := kinds[s.kind]
		k[got]++
		kinds[s.kind] = k
		if got == survived {
			fmt.Printf("survived: %s:%d:%d: %s: %s: %q is %q\n", rel(s.file), s.pos.Line, s.pos.Column, s.in, s.kind, s.was, s.is)
		}
	}
	for kind, k := range kinds {
		fmt.Printf("%-10s %d of %d found\n", kind, k[found], k[found]+k[survived])
	}
	tried := sum[found] + sum[survived]
	score := 100 * float64(sum[found]) / float64(max(1, tried))
	fmt.Printf("%d of %d mutants found (%.1f %%), a sample of %d places in %s; %d more do not compile\n",
		sum[found], tried, score, len(all), strings.Join(dirs, ", "), sum[notBuilt])
	if score < o.floor {
		return fmt.Errorf("fewer than %.1f %% found", o.floor)
	}
	return nil
}

func rel(path string) string {
	if wd, err := os.Getwd(); err == nil {
		if r, err := filepath.Rel(wd, path); err == nil {
			return r
		}
	}
	return path
}

// try runs the tests with a mistake planted, or without one if s has no file.
func try(ctx context.Context, scratch string, s site, o options) (outcome, []byte, error) {
	overlay := filepath.Join(scratch, "overlay.json")
	replace := map[string]string{}
	if s.file != "" {
		text, err := os.ReadFile(s.file)
		if err != nil {
			return 0, nil, err
		}
		mutant := filepath.Join(scratch, "mutant.go")
		text = bytes.Join([][]byte{text[:s.from], []byte(s.is), text[s.to:]}, nil)
		if err := os.WriteFile(mutant, text, 0o666); err != nil {
			return 0, nil, err
		}
		replace[s.file] = mutant
	}
	data, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return 0, nil, err
	}
	if err := os.WriteFile(overlay, data, 0o666); err != nil {
		return 0, nil, err
	}
	packages := []string{s.importPath}
	if o.with != "" {
		packages = append(packages, strings.Split(o.with, ",")...)
	}
	for _, p := range packages {
		binary := filepath.Join(scratch, "tests")
		// Vet would refuse some mutants that tests should find.
		if out, err := exec.CommandContext(ctx, "go", "test", "-overlay", overlay, "-c", "-o", binary, p).CombinedOutput(); err != nil {
			return notBuilt, out, ctx.Err()
		}
		limit, stop := context.WithTimeout(ctx, o.timeout)
		cmd := exec.CommandContext(limit, binary, "-test.failfast", "-test.short", "-test.run="+o.run, "-test.skip="+o.skip)
		cmd.Dir = p
		cmd.WaitDelay = time.Second
		out, err := cmd.CombinedOutput()
		stop()
		if ctx.Err() != nil {
			return 0, nil, ctx.Err()
		}
		if err != nil {
			return found, out, nil
		}
	}
	return survived, nil, nil
}
