package ptx

import (
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"strings"
)

// Error is one misuse of the builder, at the position of the Go code that
// caused it.
type Error struct {
	Kernel string // name of the kernel, if any
	Pos    string // file:line of the caller
	Msg    string
}

// Error formats e as file:line: kernel: message.
func (e *Error) Error() string {
	if e.Kernel == "" {
		return fmt.Sprintf("%s: %s", e.Pos, e.Msg)
	}
	return fmt.Sprintf("%s: kernel %s: %s", e.Pos, e.Kernel, e.Msg)
}

// maxErrors bounds the report: one misuse in an unrolled loop repeats.
const maxErrors = 20

// errorList collects misuses; the same message at the same place counts once.
type errorList struct {
	list []*Error
	seen map[Error]bool
}

func (l *errorList) add(pos string, format string, args ...any) {
	l.addError(&Error{Pos: pos, Msg: fmt.Sprintf(format, args...)})
}

func (l *errorList) addError(e *Error) {
	if l.seen == nil {
		l.seen = map[Error]bool{}
	}
	if !l.seen[*e] {
		l.seen[*e] = true
		l.list = append(l.list, e)
	}
}

func (l *errorList) err() error {
	var errs []error
	for i, e := range l.list {
		if i == maxErrors {
			errs = append(errs, fmt.Errorf("and %d more", len(l.list)-i))
			break
		}
		errs = append(errs, e)
	}
	return errors.Join(errs...)
}

// position is a call stack, resolved only when an error is reported: a kernel
// has thousands of instructions and seldom an error.
type position [12]uintptr

func here() position {
	var p position
	runtime.Callers(3, p[:])
	return p
}

func callerPos() string { return here().String() }

// sources is the folder of this package's files, as the compiler names it. A
// frame is told by its file: an inlined closure of ours has its caller's name.
var sources = func() string {
	_, file, _, _ := runtime.Caller(0)
	return filepath.Dir(file)
}()

// String is the innermost caller outside this package, as folder/file.go:line;
// if that is a package built on this one (ptx/...), the caller of that follows.
func (p position) String() string {
	n := 0
	for n < len(p) && p[n] != 0 {
		n++
	}
	if n == 0 {
		return "?"
	}
	out, last := "", ""
	frames := runtime.CallersFrames(p[:n])
	for {
		f, more := frames.Next()
		dir, file := filepath.Split(f.File)
		dir = filepath.Clean(dir)
		if inside := dir == sources && !strings.HasSuffix(file, "_test.go"); f.File != "" && !inside && dir != last {
			at := fmt.Sprintf("%s/%s:%d", filepath.Base(dir), file, f.Line)
			if out != "" && strings.HasPrefix(f.Function, "testing.") {
				return out
			} else if out != "" {
				return out + " (from " + at + ")"
			}
			out, last = at, dir
			if !strings.HasPrefix(dir, sources+string(filepath.Separator)) {
				return out
			}
		}
		if !more {
			break
		}
	}
	if out == "" {
		return "?"
	}
	return out
}
