//go:build unix

package autotune

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	goruntime "runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sparsegen/sparsegen/autotune/worker"
	"github.com/sparsegen/sparsegen/codegen"
	"github.com/sparsegen/sparsegen/runtime"
)

// counted is a real worker. Each round that it is asked for is counted in a file
// first. What it measures is replaced by numbers as random, from which every race
// comes to a conclusion however busy the machine is.
type counted struct {
	*process
	count *os.File
}

func (c counted) round(ctx context.Context, r worker.Round) ([]worker.Sample, error) {
	if _, err := c.count.Write([]byte{'.'}); err != nil {
		return nil, err
	}
	samples, err := c.process.round(ctx, r)
	for i := range samples {
		samples[i].NS = 1000 + 3*rand.ExpFloat64()
	}
	time.Sleep(2 * time.Millisecond) // races last until somebody looks
	return samples, err
}

// bestLevel is this machine's.
func bestLevel() runtime.ISA {
	best := runtime.Generic
	for _, isa := range codegen.ISAs() {
		if isa.Available() {
			best = isa
		}
	}
	return best
}

// killable are the ops of the tuning that is killed.
func killable(t *testing.T) []Linear {
	return []Linear{linearOf(t, "ffn", "nm(2,4)", 48, 64, 1, 8)}
}

// tuneToBeKilled is the process that TestKilledTuningGoesOn kills.
func tuneToBeKilled(dir, cache, count string) error {
	isa := bestLevel()
	o := Options{Dir: dir, Cache: cache, ISA: isa, Levels: []runtime.ISA{isa}}
	o.Note = func(line string) { fmt.Fprintln(os.Stderr, line) }
	ctx, linears := context.Background(), killable(new(testing.T))
	unlock, err := Lock(ctx, o.note)
	if err != nil {
		return err
	}
	defer unlock()
	binary, err := Compile(ctx, linears, o)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(count, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o666)
	if err != nil {
		return err
	}
	tn := newTuner(o)
	tn.env.Microarch, tn.worker = "test-1", filepath.Base(binary)
	tn.bench = counted{newProcess(binary, filepath.Dir(count)), f}
	sum, err := tn.run(ctx, linears)
	if err == nil {
		err = json.NewEncoder(os.Stdout).Encode(sum)
	}
	return errors.Join(err, f.Close())
}

// TestKilledTuningGoesOn: kill -9 at any moment, of the tuning alone or with its
// worker, loses at most the round that was being measured. The next tuning goes on
// behind it, whole files are all that it finds, and no process or lock is left.
func TestKilledTuningGoesOn(t *testing.T) {
	if testing.Short() {
		t.Skip("compiles a worker")
	}
	if _, err := exec.LookPath("go"); err != nil {
		t.Skip("the worker is compiled by Go's tool chain, which is not here")
	}
	if bestLevel() == runtime.Generic {
		t.Skip("no kernels in assembly run on this machine")
	}
	self, err := os.Executable()
	require.NoError(t, err)
	root := t.TempDir()
	dir, cache, temp, count := filepath.Join(root, "tuned"), filepath.Join(root, "cache"), filepath.Join(root, "temp"), filepath.Join(root, "count")
	require.NoError(t, os.Mkdir(temp, 0o777))
	calibrated := &Calibration{ISA: bestLevel().String(), Clock: 2, Machine: Environment{Microarch: "test-1"}}
	require.NoError(t, calibrated.save(dir, bestLevel()))
	journalFile, recordFile := journalPath(dir, "test-1"), filepath.Join(dir, "test-1", "linear.jsonl")

	start := func() (*exec.Cmd, *strings.Builder) {
		cmd := exec.Command(self)
		cmd.Env = append(os.Environ(), "AUTOTUNE_TEST_WORKER=tune "+strings.Join([]string{dir, cache, count}, " "), "TMPDIR="+temp)
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
		out := &strings.Builder{}
		cmd.Stdout, cmd.Stderr = out, out
		require.NoError(t, cmd.Start())
		return cmd, out
	}
	// races are the rounds in the journal, by problem.
	races := func() map[Problem][][]Sample {
		text, err := os.ReadFile(journalFile)
		if !errors.Is(err, fs.ErrNotExist) {
			require.NoError(t, err)
		}
		copied := filepath.Join(t.TempDir(), "journal")
		require.NoError(t, os.WriteFile(copied, text, 0o666))
		j, err := openJournal(copied)
		require.NoError(t, err)
		require.NoError(t, j.close(true))
		all := map[Problem][][]Sample{}
		for p, r := range j.races {
			all[p] = r.rounds
		}
		return all
	}
	records := func() []Record {
		r := Load(dir)
		require.Empty(t, r.Notes)
		return r.All("test-1")
	}
	// A race counts as done once its record is there.
	running := func() (rounds int) {
		known := map[Problem]bool{}
		for _, r := range records() {
			known[r.Problem] = true
		}
		for p, r := range races() {
			if !known[p] {
				rounds = len(r)
			}
		}
		return rounds
	}

	// Rounds of records that are not confirmed yet, behind their first sittings.
	confirming := func() (n int) {
		all := races()
		for _, r := range records() {
			if r.Provisional {
				n += len(all[r.Problem]) - rounds(r)
			}
		}
		return n
	}

	kills := 0
	var before map[Problem][][]Sample
	for _, k := range []struct {
		records, rounds int // what is waited for
		confirmed       int // and so many rounds of second sittings
		alone           bool
	}{{0, 1, 0, false}, {0, 3, 0, true}, {0, 5, 0, false}, {1, 0, 0, true}, {1, 4, 0, false}, {2, 2, 0, true}, {4, 0, 0, true}, {4, 0, 3, false}} {
		cmd, out := start()
		for begin := time.Now(); len(records()) < k.records || running() < k.rounds || confirming() < k.confirmed; time.Sleep(5 * time.Millisecond) {
			if time.Since(begin) > 20*time.Second {
				_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // or it has ended
				require.Fail(t, "it does not get so far", "%+v: %v: %s", k, cmd.Wait(), out)
			}
		}
		target := -cmd.Process.Pid
		if k.alone {
			target = cmd.Process.Pid
		}
		require.NoError(t, syscall.Kill(target, syscall.SIGKILL))
		require.EqualError(t, cmd.Wait(), "signal: killed", "%s", out)
		kills++

		requireNoProcess(t, root)
		requireUnlocked(t, filepath.Join(temp, "sparsegen-tune.lock"))
		after := races()
		for p, rounds := range before {
			require.GreaterOrEqual(t, len(after[p]), len(rounds), "%v after kill %d", p, kills)
			for i, round := range rounds {
				require.Equal(t, round, after[p][i], "what was measured before kill %d is taken as it is", kills)
			}
		}
		before = after
	}
	require.GreaterOrEqual(t, len(records()), 2)

	cmd, out := start()
	require.NoError(t, cmd.Wait(), "%s", out)
	var sum Summary
	require.NoError(t, json.Unmarshal([]byte(out.String()), &sum), "%s", out)
	require.Equal(t, []int{len(killable(t)[0].Problem.Batches()), 0, 0}, []int{sum.Problems, sum.Refused, sum.Left})
	final := records()
	require.Len(t, final, sum.Problems)
	require.NoFileExists(t, journalFile)
	requireNoProcess(t, root)

	// Each record is what the rounds in the journal come to.
	used := 0
	for _, rec := range final {
		used += rounds(rec)
		race, ok := before[rec.Problem]
		if !ok || len(race) < rounds(rec) {
			continue // went on behind the last kill
		}
		minimum := map[int]float64{}
		for _, round := range race {
			for _, s := range round {
				if m, ok := minimum[s.Entrant]; !ok || s.NS < m {
					minimum[s.Entrant] = s.NS
				}
			}
		}
		var found []float64
		for _, m := range minimum {
			found = append(found, round1(m))
		}
		for _, e := range rec.Timings {
			require.Contains(t, found, e.Min)
		}
	}
	st, err := os.Stat(count)
	require.NoError(t, err)
	require.LessOrEqual(t, int(st.Size()), used+kills, "a kill costs at most the round at work")

	left, err := filepath.Glob(filepath.Join(dir, "test-1", "*"))
	require.NoError(t, err)
	require.ElementsMatch(t, []string{calibrationPath(dir, "test-1", bestLevel()), recordFile}, left)
	left, err = filepath.Glob(filepath.Join(temp, "*"))
	require.NoError(t, err)
	require.Equal(t, []string{filepath.Join(temp, "sparsegen-tune.lock")}, left)
}

// rounds is how many a race had whose record this is.
func rounds(r Record) int {
	return r.Timings[0].Samples - (stages[0].samples-1)*stages[0].until
}

// requireNoProcess waits until no process that names a folder is left.
func requireNoProcess(t *testing.T, folder string) {
	if goruntime.GOOS != "linux" {
		return // nobody says what runs
	}
	require.Eventually(t, func() bool {
		lines, err := filepath.Glob("/proc/[0-9]*/cmdline")
		require.NoError(t, err)
		for _, name := range lines {
			if text, err := os.ReadFile(name); err == nil && strings.Contains(string(text), folder) {
				return false
			}
		}
		return true
	}, 5*time.Second, time.Millisecond)
}

// requireUnlocked takes a lock at once.
func requireUnlocked(t *testing.T, path string) {
	f, err := os.Open(path)
	require.NoError(t, err)
	defer f.Close()
	require.NoError(t, syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB))
}
