package autotune

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sparsegen/sparsegen/autotune/worker"
)

// bench is what times candidates: a process, or a stand-in in tests.
type bench interface {
	// gate compares candidates with the kernels in Go; open makes them ready to be
	// timed. Both answer for each file.
	gate(ctx context.Context, g worker.Gate) ([]worker.Result, error)
	open(ctx context.Context, o worker.Open) ([]worker.Result, error)
	round(ctx context.Context, r worker.Round) ([]worker.Sample, error)
	cycle(ctx context.Context) (float64, error) // of the core, in ns
	close() error
}

// crash is the error of a worker that ended, or was stopped, with a candidate at
// work.
type crash struct {
	ID  int // -1: between two candidates
	Msg string
}

func (c *crash) Error() string { return "the worker process: " + c.Msg }

// process is a running worker. It is started at the first request and after each
// crash.
type process struct {
	binary string
	marker string
	limit  time.Duration // for one candidate's answer, or a round

	cmd     *exec.Cmd
	in      io.WriteCloser
	answers chan worker.Answer
	ended   chan error
	stderr  *bytes.Buffer
	clock   string
}

// newProcess is a worker that keeps its marker in the folder dir.
func newProcess(binary, dir string) *process {
	return &process{binary: binary, marker: filepath.Join(dir, "marker"), limit: 60 * time.Second}
}

func (p *process) start() error {
	p.cmd = exec.Command(p.binary, p.marker)
	p.cmd.Env = slices.DeleteFunc(os.Environ(), func(v string) bool { // a cap would have other kernels timed
		return strings.HasPrefix(v, "SPARSEGEN_ISA=")
	})
	p.stderr = &bytes.Buffer{}
	p.cmd.Stderr = p.stderr
	in, err := p.cmd.StdinPipe()
	if err != nil {
		return err
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := os.WriteFile(p.marker, []byte("      -1"), 0o600); err != nil {
		return err
	}
	if err := p.cmd.Start(); err != nil {
		return err
	}
	p.in, p.answers, p.ended = in, make(chan worker.Answer), make(chan error, 1)
	go func(cmd *exec.Cmd, answers chan<- worker.Answer, ended chan<- error) {
		lines := bufio.NewScanner(out)
		lines.Buffer(nil, 1<<24)
		for lines.Scan() {
			var a worker.Answer
			if json.Unmarshal(lines.Bytes(), &a) != nil {
				break // a torn line: it ends
			}
			answers <- a
		}
		ended <- cmd.Wait()
	}(p.cmd, p.answers, p.ended)
	return nil
}

// do sends a request and hands over the answers up to the last.
func (p *process) do(ctx context.Context, r worker.Request, each func(worker.Answer)) error {
	if p.cmd == nil {
		if err := p.start(); err != nil {
			return err
		}
	}
	line, err := json.Marshal(r)
	if err != nil {
		return err
	}
	sent := make(chan struct{})
	go func(in io.Writer) {
		defer close(sent)
		_, _ = in.Write(append(line, '\n')) // a worker that is gone says so below
	}(p.in)
	defer func() { <-sent }()
	timer := time.NewTimer(p.limit)
	defer timer.Stop()
	for {
		select {
		case a := <-p.answers:
			if a.Err != "" {
				return errors.New(a.Err)
			}
			if each(a); a.End {
				p.clock = a.Clock
				return nil
			}
			timer.Reset(p.limit)
		case err := <-p.ended:
			return p.crashed(err)
		case <-timer.C:
			p.kill()
			return p.crashed(fmt.Errorf("no answer within %v", p.limit))
		case <-ctx.Done():
			p.kill()
			_ = p.in.Close() // of a process that is gone
			p.cmd = nil
			return context.Cause(ctx)
		}
	}
}

// kill ends the worker.
func (p *process) kill() {
	_ = p.cmd.Process.Kill() // it may be gone
	for {
		select {
		case <-p.answers:
		case <-p.ended:
			return
		}
	}
}

// crashed is the error of a worker that is gone. The next request starts another.
func (p *process) crashed(cause error) error {
	c := &crash{ID: -1, Msg: "it ended before it had answered"}
	if cause != nil {
		c.Msg = cause.Error()
	}
	if text, err := os.ReadFile(p.marker); err == nil {
		if id, err := strconv.Atoi(strings.TrimSpace(string(text))); err == nil {
			c.ID = id
		}
	}
	if line, _, _ := strings.Cut(strings.TrimSpace(p.stderr.String()), "\n"); line != "" {
		c.Msg += ": " + line
	}
	_ = p.in.Close() // of a process that is gone
	p.cmd = nil
	return c
}

func (p *process) results(ctx context.Context, r worker.Request) ([]worker.Result, error) {
	var rs []worker.Result
	err := p.do(ctx, r, func(a worker.Answer) {
		if a.Result != nil {
			rs = append(rs, *a.Result)
		}
	})
	return rs, err
}

func (p *process) gate(ctx context.Context, g worker.Gate) ([]worker.Result, error) {
	return p.results(ctx, worker.Request{Gate: &g})
}

func (p *process) open(ctx context.Context, o worker.Open) ([]worker.Result, error) {
	return p.results(ctx, worker.Request{Open: &o})
}

func (p *process) round(ctx context.Context, r worker.Round) (samples []worker.Sample, err error) {
	err = p.do(ctx, worker.Request{Round: &r}, func(a worker.Answer) { samples = a.Samples })
	return samples, err
}

func (p *process) cycle(ctx context.Context) (ns float64, err error) {
	err = p.do(ctx, worker.Request{Cycle: true}, func(a worker.Answer) { ns = a.Cycle })
	return ns, err
}

// close ends the worker.
func (p *process) close() error {
	if p.cmd != nil {
		_ = p.in.Close() // it ends by itself, or below
		select {
		case <-p.ended:
		case <-time.After(5 * time.Second):
			p.kill()
		}
		p.cmd = nil
	}
	return nil
}
