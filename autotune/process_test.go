//go:build unix

package autotune

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sparsegen/sparsegen/autotune/worker"
)

// TestMain lets the test binary stand for a worker that misbehaves, and for a tuning.
func TestMain(m *testing.M) {
	mode := os.Getenv("AUTOTUNE_TEST_WORKER")
	if mode == "" {
		os.Exit(alone(m))
	}
	if where, ok := strings.CutPrefix(mode, "tune "); ok {
		var dir, cache, count string
		_, err := fmt.Sscan(where, &dir, &cache, &count)
		if err == nil {
			err = tuneToBeKilled(dir, cache, count)
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		fmt.Println(`{"result":{"id":1}}`)
		if err := os.WriteFile(os.Args[1], []byte("       2"), 0o600); err != nil {
			panic(err)
		}
		switch mode {
		case "crash":
			fmt.Fprintln(os.Stderr, "SIGILL: illegal instruction\nmore")
			os.Exit(3)
		case "kill":
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		case "hang":
			time.Sleep(time.Hour)
		case "torn":
			fmt.Print(`{"result":{"id`)
			os.Exit(0)
		case "well":
			if os.Getenv("SPARSEGEN_ISA") != "" {
				os.Exit(1)
			}
			fmt.Println(`{"end":true,"clock":"sundial","samples":[{"id":1,"ns":2,"runs":3}]}`)
		}
	}
	os.Exit(0)
}

// alone runs the tests with temporary files of their own: they tune without the lock, and
// who has it removes what is left of others.
func alone(m *testing.M) int {
	dir, err := os.MkdirTemp("", "sparsegen-test-*")
	if err == nil {
		defer os.RemoveAll(dir)
		err = os.Setenv("TMPDIR", dir)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

func startWorker(t *testing.T, mode string) *process {
	t.Setenv("AUTOTUNE_TEST_WORKER", mode)
	self, err := os.Executable()
	require.NoError(t, err)
	p := newProcess(self, t.TempDir())
	t.Cleanup(func() { require.NoError(t, p.close()) })
	return p
}

// TestWorkerThatEnds: whatever way a worker ends, the error names the candidate
// that was at work, what had been answered counts, and the next request gets a new
// one.
func TestWorkerThatEnds(t *testing.T) {
	for mode, msg := range map[string]string{
		"crash": "exit status 3: SIGILL: illegal instruction", "kill": "signal: killed", "hang": "no answer within 300ms", "torn": "it ended before it had answered",
	} {
		t.Run(mode, func(t *testing.T) {
			p := startWorker(t, mode)
			p.limit = 300 * time.Millisecond
			if mode != "hang" {
				p.limit = time.Minute
			}
			for range 2 {
				results, err := p.gate(context.Background(), worker.Gate{})
				var c *crash
				require.ErrorAs(t, err, &c)
				require.Equal(t, 2, c.ID)
				require.Equal(t, msg, c.Msg)
				require.Equal(t, []worker.Result{{ID: 1}}, results)
			}
		})
	}
}

func TestWorkerThatAnswers(t *testing.T) {
	t.Setenv("SPARSEGEN_ISA", "generic") // says what programs may use, not what is measured
	p := startWorker(t, "well")
	for range 3 {
		samples, err := p.round(context.Background(), worker.Round{Order: []int{1}})
		require.NoError(t, err)
		require.Equal(t, []worker.Sample{{ID: 1, NS: 2, Runs: 3}}, samples)
	}
	require.Equal(t, "sundial", p.clock)
}

func TestTuningStopsWithItsContext(t *testing.T) {
	p := startWorker(t, "hang")
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	_, err := p.round(ctx, worker.Round{Order: []int{1}})
	require.ErrorIs(t, err, context.DeadlineExceeded)
}
