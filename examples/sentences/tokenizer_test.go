package main

import (
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/text/unicode/norm"
)

// vocabulary makes a tokenizer of the given pieces behind the reserved ones;
// their ids begin at 6.
func vocabulary(t testing.TB, pieces []string, scores []float64) *Tokenizer {
	t.Helper()
	rows := [][]any{{"\ufffd", 0}, {"<s>", 0}, {"</s>", 0}, {"x1", 0}, {"x2", 0}, {"x3", 0}}
	for i, p := range pieces {
		rows = append(rows, []any{p, scores[i]})
	}
	data, err := json.Marshal(rows)
	require.NoError(t, err)
	tok, err := parseVocabulary(data)
	require.NoError(t, err)
	return tok
}

func TestEncode(t *testing.T) {
	tok := vocabulary(t,
		[]string{"\u2581", "a", "b", "ab", "\u2581a", "fi"},
		[]float64{-2, -3, -3, -5, -4, -1})
	for _, c := range []struct {
		text string
		want []int32
	}{
		{"", nil},
		{"a", []int32{10}},
		{"b", []int32{6, 8}},
		{"ab", []int32{10, 8}},            // -4-3 equals -2-5: the shorter last piece wins
		{"bab", []int32{6, 8, 9}},         // -5 beats -6
		{"ﬁ", []int32{6, 11}},             // NFKC takes the ligature apart
		{" a", []int32{6, 10}},            // every space counts
		{"b??a?", []int32{6, 8, 0, 7, 0}}, // neighbouring unknown characters are one
		{"<s>", []int32{6, 0}},            // reserved pieces match no text
		{"\xff", []int32{6, 0}},
	} {
		require.Equal(t, c.want, tok.Encode(c.text), "%q", c.text)
	}
}

// The best cut is found among all of them.
func TestEncodeFindsTheBestCut(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	letters := []string{"\u2581", "a", "b", "c"}
	for range 300 {
		pieces, scores := append([]string(nil), letters...), []float64{}
		for range 12 {
			var p strings.Builder
			for range 2 + rng.IntN(3) {
				p.WriteString(letters[rng.IntN(len(letters))])
			}
			pieces = append(pieces, p.String())
		}
		score := map[string]float64{}
		for _, p := range pieces {
			scores = append(scores, -1-10*rng.Float64())
			score[p] = scores[len(scores)-1] // of equal pieces the later one counts
		}
		tok := vocabulary(t, pieces, scores)
		var text strings.Builder
		for range 1 + rng.IntN(9) {
			text.WriteString(strings.ReplaceAll(letters[rng.IntN(len(letters))], "\u2581", " "))
		}

		var best func(rest string) float64
		best = func(rest string) float64 {
			if rest == "" {
				return 0
			}
			top := math.Inf(-1)
			for p, s := range score {
				if after, ok := strings.CutPrefix(rest, p); ok {
					top = max(top, s+best(after))
				}
			}
			return top
		}
		var got float64
		for _, id := range tok.Encode(text.String()) {
			got += tok.scores[id]
		}
		want := best("\u2581" + strings.ReplaceAll(text.String(), " ", "\u2581"))
		require.InDelta(t, want, got, 1e-9, "%q in %q", text.String(), pieces)
	}
}

func FuzzEncode(f *testing.F) {
	pieces := []string{"\u2581", "a", "b", "ab", "\u2581a", "é", "☃", "☃☃a"}
	scores := []float64{-2, -3, -3, -5, -4, -6, -7, -1}
	for _, s := range []string{"", "a b", "☃☃ab", "e\u0301", "\xff\xfe", "ﬁ\u2581\n😀"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		tok := vocabulary(t, pieces, scores)
		ids := tok.Encode(text)
		var back strings.Builder
		for _, id := range ids {
			require.Less(t, int(id), tok.Size())
			if id == unknown {
				return // its text is not in the ids
			}
			require.GreaterOrEqual(t, int(id), reserved)
			back.WriteString(pieces[id-reserved])
		}
		if text = norm.NFKC.String(text); text != "" {
			text = wordStart + strings.ReplaceAll(text, " ", wordStart)
		}
		require.Equal(t, text, back.String())
	})
}

func TestVocabularyErrors(t *testing.T) {
	head := `["?",0],["<s>",0],["</s>",0],["1",0],["2",0],["3",0]`
	for _, c := range []struct{ data, want string }{
		{`{"a": 1}`, "cannot unmarshal object"},
		{`[["a",0]`, "unexpected end of JSON input"},
		{`[` + head + `]`, "6 entries, want more than the 6 reserved ones"},
		{`[` + head + `,["a"]]`, "entry 6 has 1 fields, want [piece, score]"},
		{`[` + head + `,[1,0]]`, "piece of entry 6"},
		{`[` + head + `,["a","b"]]`, "score of entry 6"},
		{`[` + head + `,["",0]]`, "entry 6 is empty"},
	} {
		_, err := parseVocabulary([]byte(c.data))
		require.ErrorContains(t, err, c.want, c.data)
	}
	_, err := ReadTokenizer("nowhere.json")
	require.ErrorContains(t, err, "nowhere.json")
}

// Published vocabularies hold a null where a score was lost; it counts as 0.
func TestNullScoreIsZero(t *testing.T) {
	head := `["?",0],["<s>",0],["</s>",0],["1",0],["2",0],["3",0]`
	tok, err := parseVocabulary(fmt.Appendf(nil, `[%s,["\u2581",-2],[":",null]]`, head))
	require.NoError(t, err)
	require.Equal(t, []int32{6, 7}, tok.Encode(":"))
	require.Zero(t, tok.scores[7])
}
