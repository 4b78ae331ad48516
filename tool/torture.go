package tool

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/sparsegen/sparsegen/torture"
)

// TortureOptions are the options of Torture.
type TortureOptions struct {
	torture.Options
	Program string // write the program to this file instead of running it
	Arch    string // of the program; "" is this machine's
	Exec    string // command that runs the program, an emulator with its arguments
}

// Torture compiles a program with every kernel and runs random cases on it. The
// error is Findings where a case failed.
func Torture(ctx context.Context, c Console, o TortureOptions) error {
	o.Out, o.Log, o.Live = c.Out, c.Log, c.Live
	if o.Arch != "" && o.Program == "" && o.Exec == "" {
		return errors.New("--arch is for a program that is carried elsewhere or emulated: it needs --program FILE or --exec EMULATOR")
	}
	if err := o.Validate(); err != nil { // before a minute of compiling
		return err
	}
	dir, err := os.MkdirTemp("", "sparsegen-*")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	binary := filepath.Join(dir, "torture")
	if o.Program != "" {
		binary = o.Program
	}
	p := newProgress(c, 0)
	p.step("compile every kernel")
	err = torture.Build(ctx, dir, o.Arch, binary)
	p.end()
	if err != nil {
		return err
	}
	if o.Program != "" {
		fmt.Fprintln(c.Out, "wrote", o.Program)
		return nil
	}
	err = torture.Run(ctx, append(strings.Fields(o.Exec), binary), o.Options)
	if errors.Is(err, torture.ErrFailed) {
		return &Findings{}
	}
	return err
}
