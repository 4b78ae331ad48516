package tool

import (
	"bufio"
	"bytes"
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
)

// assemble runs the Go assembler for the architecture that the name of a file says
// and returns its listing.
func assemble(ctx context.Context, file, object string) ([]byte, error) {
	root, err := exec.CommandContext(ctx, "go", "env", "GOROOT").Output()
	if err != nil {
		return nil, fmt.Errorf("go env GOROOT: %w", err)
	}
	include := filepath.Join(strings.TrimSpace(string(root)), "pkg", "include")
	cmd := exec.CommandContext(ctx, "go", "tool", "asm", "-S", "-p", "kernels", "-I", include, "-o", object, file)
	arch := strings.TrimSuffix(file[strings.LastIndexByte(file, '_')+1:], ".s")
	cmd.Env = append(os.Environ(), "GOOS=linux", "GOARCH="+arch)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	listing, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("go tool asm: %w\n%s", err, strings.TrimSpace(stderr.String()))
	}
	return listing, nil
}

var (
	listedFunc  = regexp.MustCompile(`^kernels\.(\w+) STEXT .*size=(\d+)`)
	listedInstr = regexp.MustCompile(`^\t0x([0-9a-f]+) \d+ \([^)]*\)\t(.*)$`)
	listedBytes = regexp.MustCompile(`^\t0x[0-9a-f]+((?: [0-9a-f]{2})+)`)
)

// writeListing turns the assembler's listing, which has the bytes of a function
// after its instructions, into lines of an offset, the bytes and the instruction.
func writeListing(w io.Writer, listing []byte) error {
	type instr struct {
		at   int
		text string
	}
	out := bufio.NewWriter(w)
	var name string
	var instrs []instr
	var code []byte
	flush := func() {
		if name != "" {
			fmt.Fprintf(out, "%s: %d bytes\n", name, len(code))
		}
		for i, in := range instrs {
			end := len(code)
			if i+1 < len(instrs) {
				end = instrs[i+1].at
			}
			if end = min(end, len(code)); in.at < end { // a directive has no bytes
				fmt.Fprintf(out, "  %04x  %-30s  %s\n", in.at, hex.EncodeToString(code[in.at:end]), in.text)
			}
		}
		name, instrs, code = "", nil, nil
	}
	lines := bufio.NewScanner(bytes.NewReader(listing))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		line := lines.Text()
		if m := listedFunc.FindStringSubmatch(line); m != nil {
			flush()
			name = m[1]
		} else if m := listedInstr.FindStringSubmatch(line); m != nil {
			at, err := strconv.ParseInt(m[1], 16, 32)
			if err != nil {
				return err
			}
			instrs = append(instrs, instr{int(at), strings.ReplaceAll(m[2], "\t", " ")})
		} else if m := listedBytes.FindStringSubmatch(line); m != nil && name != "" {
			b, err := hex.DecodeString(strings.ReplaceAll(m[1], " ", ""))
			if err != nil {
				return err
			}
			code = append(code, b...)
		} else if line != "" && line[0] != '\t' {
			flush() // data
		}
	}
	flush()
	if err := lines.Err(); err != nil {
		return err
	}
	return out.Flush()
}
