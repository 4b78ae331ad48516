package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/tools/txtar"

	"github.com/sparsegen/sparsegen/internal/weights"
)

var update = flag.Bool("update", false, "rewrite what the scripts' cmp lines expect of stdout and stderr")

// binary is the command under test, built once; root is the module's folder.
var binary, root string

func TestMain(m *testing.M) {
	flag.Parse()
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "sparsegen-test-*")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 2
		}
		defer os.RemoveAll(dir)
		binary = filepath.Join(dir, "sparsegen")
		if out, err := exec.Command("go", "build", "-o", binary, ".").CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "%s%v\n", out, err)
			return 2
		}
		if root, err = filepath.Abs("../.."); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 2
		}
		return m.Run()
	}())
}

// TestScripts runs testdata/*.txtar: a script, and the files it finds in its
// working folder. A line of a script is one of
//
//	sparsegen ARG...        run the command; it must exit with 0
//	exit N sparsegen ARG... the same, with exit status N
//	go ARG...               run the go command; it must succeed
//	stdout RE, stderr RE    the last command's output matches
//	! stdout RE             it does not
//	cmp FILE FILE           the files are equal; stdout and stderr are files too
//	exists FILE, ! exists FILE
//	cp FROM TO, rm FILE, append FILE TEXT, env KEY=VALUE, cd DIR
//	module PATH             write a go.mod and go.sum that have sparsegen as a tool
//	npy FILE ROWS COLS      write a random float32 matrix
//	needs slow              skip the rest under -short
//
// Words may be 'quoted'; $ROOT is the module's folder, $WORK the script's.
func TestScripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txtar")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			t.Parallel()
			runScript(t, file)
		})
	}
}

type script struct {
	t              *testing.T
	archive        *txtar.Archive
	work, dir      string
	env            []string
	stdout, stderr string
}

func runScript(t *testing.T, file string) {
	a, err := txtar.ParseFile(file)
	require.NoError(t, err)
	s := &script{t: t, archive: a, work: t.TempDir(), env: os.Environ()}
	s.dir = s.work
	for _, f := range a.Files {
		path := filepath.Join(s.work, filepath.FromSlash(f.Name))
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o777))
		data := bytes.ReplaceAll(f.Data, []byte("$ROOT"), []byte(root))
		require.NoError(t, os.WriteFile(path, data, 0o666))
	}
	before := txtar.Format(a)
	for i, line := range strings.Split(string(a.Comment), "\n") {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		words, err := split(os.Expand(line, s.expand))
		require.NoError(t, err, "%s:%d", file, i+1)
		if words[0] == "needs" {
			if testing.Short() {
				t.Skipf("%s needs more time", file)
			}
			continue
		}
		if err := s.do(words); err != nil {
			t.Fatalf("%s:%d: %s\n%v\nstdout:\n%s\nstderr:\n%s", file, i+1, line, err, s.stdout, s.stderr)
		}
	}
	if after := txtar.Format(a); *update && !bytes.Equal(before, after) {
		require.NoError(t, os.WriteFile(file, after, 0o666))
	}
}

func (s *script) expand(name string) string {
	switch name {
	case "ROOT":
		return root
	case "WORK":
		return s.work
	}
	return "$" + name // a regexp's end of line
}

// split cuts a line into words.
func split(line string) ([]string, error) {
	var words []string
	for line = strings.TrimSpace(line); line != ""; line = strings.TrimSpace(line) {
		if line[0] == '\'' {
			word, rest, ok := strings.Cut(line[1:], "'")
			if !ok {
				return nil, errors.New("a quote is not closed")
			}
			words, line = append(words, word), rest
			continue
		}
		i := strings.IndexAny(line, " \t")
		if i < 0 {
			i = len(line)
		}
		words, line = append(words, line[:i]), line[i:]
	}
	return words, nil
}

func (s *script) do(words []string) error {
	want := true
	if words[0] == "!" {
		want, words = false, words[1:]
	}
	name, args := words[0], words[1:]
	switch name {
	case "sparsegen":
		return s.run(binary, args, 0)
	case "exit":
		status := 0
		if _, err := fmt.Sscan(args[0], &status); err != nil || args[1] != "sparsegen" {
			return fmt.Errorf("malformed line: %w", err)
		}
		return s.run(binary, args[2:], status)
	case "go":
		return s.run("go", args, 0)
	case "stdout", "stderr":
		text := map[string]string{"stdout": s.stdout, "stderr": s.stderr}[name]
		re, err := regexp.Compile("(?m)" + args[0])
		if err != nil {
			return err
		}
		if re.MatchString(text) != want {
			return fmt.Errorf("%s matches: %v", name, !want)
		}
		return nil
	case "cmp":
		return s.cmp(args[0], args[1])
	case "exists":
		if _, err := os.Stat(s.path(args[0])); (err == nil) != want {
			return fmt.Errorf("%s exists: %v", args[0], !want)
		}
		return nil
	case "cp":
		data, err := os.ReadFile(s.path(args[0]))
		if err != nil {
			return err
		}
		return os.WriteFile(s.path(args[1]), data, 0o666)
	case "rm":
		return os.RemoveAll(s.path(args[0]))
	case "append":
		data, err := os.ReadFile(s.path(args[0]))
		if err != nil {
			return err
		}
		return os.WriteFile(s.path(args[0]), append(data, args[1]+"\n"...), 0o666)
	case "module":
		return s.module(args[0])
	case "npy":
		var rows, cols int
		if _, err := fmt.Sscan(args[1]+" "+args[2], &rows, &cols); err != nil {
			return err
		}
		x := make([]float32, rows*cols)
		for i := range x {
			x[i] = float32(rand.NormFloat64())
		}
		return weights.WriteNPY(s.path(args[0]), []int{rows, cols}, x)
	case "env":
		s.env = append(s.env, args[0])
		return nil
	case "cd":
		s.dir = s.path(args[0])
		return os.MkdirAll(s.dir, 0o777)
	}
	return fmt.Errorf("unknown command %q", name)
}

// module makes the script's folder a module as `go get -tool` would, with this
// checkout in place of a release and nothing to download.
func (s *script) module(path string) error {
	mod, err := os.ReadFile(filepath.Join(root, "go.mod"))
	if err != nil {
		return err
	}
	sum, err := os.ReadFile(filepath.Join(root, "go.sum"))
	if err != nil {
		return err
	}
	const self = "github.com/sparsegen/sparsegen"
	text := strings.Replace(string(mod), "module "+self, fmt.Sprintf(
		"module %s\n\ntool %s/cmd/sparsegen\n\nrequire %s v0.0.0\n\nreplace %s => %s", path, self, self, self, root), 1)
	return errors.Join(os.WriteFile(s.path("go.mod"), []byte(text), 0o666), os.WriteFile(s.path("go.sum"), sum, 0o666))
}

func (s *script) path(name string) string {
	if filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(s.dir, filepath.FromSlash(name))
}

func (s *script) run(program string, args []string, status int) error {
	var stdout, stderr bytes.Buffer
	cmd := exec.Command(program, args...)
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = s.dir, s.env, &stdout, &stderr
	err := cmd.Run()
	s.stdout, s.stderr = stdout.String(), stderr.String()
	if cmd.ProcessState == nil {
		return err
	}
	if got := cmd.ProcessState.ExitCode(); got != status {
		return fmt.Errorf("exit status %d, want %d", got, status)
	}
	return nil
}

func (s *script) cmp(got, want string) error {
	var text string
	switch got {
	case "stdout":
		text = s.stdout
	case "stderr":
		text = s.stderr
	default:
		data, err := os.ReadFile(s.path(got))
		if err != nil {
			return err
		}
		text = string(data)
	}
	expected, err := os.ReadFile(s.path(want))
	if err != nil {
		return err
	}
	text = strings.ReplaceAll(text, s.work, "$WORK")
	if text == string(expected) {
		return nil
	}
	if *update {
		for i, f := range s.archive.Files {
			if f.Name == want {
				s.archive.Files[i].Data = []byte(text)
				return nil
			}
		}
	}
	return fmt.Errorf("%s differs from %s:\n%s", got, want, text)
}
