package arm64

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sparsegen/sparsegen/asm/verify"
)

// random is operands of f.
func random(f *form, rng *rand.Rand) []int64 {
	v := make([]int64, len(f.ops))
	for i, o := range f.ops {
		if o.step == 0 {
			continue // what only the assembler resolves
		}
		span := (o.max-o.min)/o.step + 1
		v[i] = o.min + rng.Int64N(span)*o.step
		if rng.IntN(8) == 0 {
			v[i] = []int64{o.min, o.max}[rng.IntN(2)]
		}
		if o.kind == 'X' { // 31 is the stack pointer here, zero there
			v[i] = integers[rng.IntN(len(integers))]
		}
		if o.name == "a" && v[i] == v[0] { // a pair of two
			v[i] = (v[i] + 1) % 32
		}
	}
	return v
}

// distance is a label's place from here, for assemblers that take one.
var distance = regexp.MustCompile(`\.([+-][0-9]+)`)

// TestEncodingsAgainstGNU: the GNU assembler makes the same words of each form's
// text, with random operands.
func TestEncodingsAgainstGNU(t *testing.T) {
	as, err := exec.LookPath("aarch64-linux-gnu-as")
	if err != nil {
		t.Skip("no aarch64-linux-gnu-as (Debian: binutils-aarch64-linux-gnu)")
	}
	rng := rand.New(rand.NewPCG(6, 0))
	var source strings.Builder
	source.WriteString(".arch armv8.6-a+sve2+bf16+i8mm+fp16\n")
	var words []uint32
	var texts []string
	for _, f := range forms.list {
		if f.gnu == "" {
			continue
		}
		for range 20 {
			v := random(f, rng)
			if f.name == "b" || f.jumps() && v[len(v)-1] == 0 {
				v[len(v)-1] = 4 * (1 + rng.Int64N(1000))
			}
			w, err := f.encode(v)
			require.NoError(t, err)
			text := distance.ReplaceAllString(f.render(f.gnu, v, ""), ". $1")
			words, texts = append(words, w), append(texts, text)
			fmt.Fprintln(&source, "\t"+text)
		}
	}
	dir := t.TempDir()
	file := filepath.Join(dir, "all.s")
	require.NoError(t, os.WriteFile(file, []byte(source.String()), 0o666))
	out, err := exec.CommandContext(t.Context(), as, "-o", filepath.Join(dir, "all.o"), file).CombinedOutput()
	require.NoError(t, err, "%s", out)
	got := textSection(t, filepath.Join(dir, "all.o"))
	require.Len(t, got, len(words))
	for i, w := range words {
		require.Equal(t, fmt.Sprintf("%08x", got[i]), fmt.Sprintf("%08x", w), "%s", texts[i])
	}
	t.Logf("%d forms, %d words", len(forms.list), len(words))
}

// TestEncodingsAgainstGo: Go's assembler makes the same words of the native texts.
func TestEncodingsAgainstGo(t *testing.T) {
	rng := rand.New(rand.NewPCG(6, 1))
	var source strings.Builder
	source.WriteString("TEXT ·f(SB), 4, $0-0\n")
	var words []uint32
	var texts []string
	for _, f := range forms.list {
		if f.native == "" || f.gnu == "" || f.jumps() {
			continue
		}
		for range 20 {
			v := random(f, rng)
			w, err := f.encode(v)
			require.NoError(t, err)
			line, err := f.line(v, "")
			require.NoError(t, err)
			words, texts = append(words, w), append(texts, line)
			fmt.Fprintln(&source, "\t"+line)

			g, values, _, err := parseLine(line)
			require.NoError(t, err, line)
			again, err := g.encode(values)
			require.NoError(t, err)
			require.Equal(t, w, again, line)
		}
	}
	dir := t.TempDir()
	file := filepath.Join(dir, "all_arm64.s")
	require.NoError(t, os.WriteFile(file, []byte(source.String()), 0o666))
	cmd := exec.CommandContext(t.Context(), "go", "tool", "asm", "-S", "-p", "p", "-o", filepath.Join(dir, "all.o"), file)
	cmd.Env = append(os.Environ(), "GOARCH=arm64", "GOOS=linux")
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	var got []byte
	for _, m := range regexp.MustCompile(`(?m)^\t0x[0-9a-f]+((?: [0-9a-f]{2})+) `).FindAllSubmatch(out, -1) {
		for _, b := range bytes.Fields(m[1]) {
			var x byte
			_, err := fmt.Sscanf(string(b), "%02x", &x)
			require.NoError(t, err)
			got = append(got, x)
		}
	}
	require.GreaterOrEqual(t, len(got), 4*len(words))
	for i, w := range words {
		have := uint32(got[4*i]) | uint32(got[4*i+1])<<8 | uint32(got[4*i+2])<<16 | uint32(got[4*i+3])<<24
		require.Equal(t, fmt.Sprintf("%08x", have), fmt.Sprintf("%08x", w), "%s", texts[i])
	}
}

// TestWordsDecode: what is emitted as a word is read back as what it was.
func TestWordsDecode(t *testing.T) {
	rng := rand.New(rand.NewPCG(6, 2))
	for _, f := range forms.list {
		if f.native != "" {
			continue
		}
		for range 50 {
			v := random(f, rng)
			line, err := f.line(v, "")
			require.NoError(t, err)
			code, comment, ok := strings.Cut(line, " // ")
			require.True(t, ok)
			require.Equal(t, f.render(f.gnu, v, ""), comment)
			g, values, _, err := parseLine(code)
			require.NoError(t, err, line)
			require.Equal(t, f.name, g.name, line)
			require.Equal(t, v, values, line)
		}
	}
}

func TestWhatCannotBeEncoded(t *testing.T) {
	for _, c := range []struct {
		form   string
		values []int64
		want   string
	}{
		{"ldr.q", []int64{1, 2, 8}, "u12x16 cannot be 8"},
		{"ldr.q", []int64{1, 2, 65536}, "u12x16 cannot be 65536"},
		{"ldur.q", []int64{1, 2, -257}, "s9 cannot be -257"},
		{"add.i", []int64{1, 2, 4096}, "u12 cannot be 4096"},
		{"fmla.4s[]", []int64{1, 2, 3, 4}, "l4 cannot be 4"},
		{"fmla.8h[]", []int64{1, 2, 16, 0}, "e cannot be 16"},
		{"fmla.4s", []int64{32, 2, 3}, "d cannot be 32"},
		{"fmla.4s", []int64{1, 2}, "2 operands, it has 3"},
		{"ushr.4s", []int64{1, 2, 0}, "shr32 cannot be 0"},
		{"ldr.arg", []int64{1, 0}, "the assembler resolves arg"},
	} {
		_, err := forms.byName[c.form].line(c.values, "")
		require.ErrorContains(t, err, c.want, c.form)
	}
	for _, line := range []string{"WORD $0x00000000", "WORD $x", "ADD R1, R2", "FMOVQ 8(R1), F2, F3", "NOP", "VTBL V1.B16, [V2.B16, V4.B16], V3.B16"} {
		_, _, _, err := parseLine(line)
		require.Error(t, err, line)
	}
}

// TestTable: forms are named apart, and have no bits where operands are.
func TestTable(t *testing.T) {
	require.Len(t, forms.byName, len(table), "two rows of one name")
	for _, f := range forms.list {
		require.Zero(t, f.word&^f.mask, "%s: its word has bits where operands are", f.name)
		d := &decoded{form: f, values: random(f, rand.New(rand.NewPCG(1, 1))), length: 32}
		if slices.ContainsFunc(f.ops, func(o operand) bool { return o.kind == 'S' || o.kind == 'L' }) {
			d.symbol = "x+8"
		}
		if in, err := d.meaning(); err == nil && f.does.op != verify.Return && f.does.op != verify.Hint {
			require.NotEmpty(t, in, f.name)
		}
	}
}
