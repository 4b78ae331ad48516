package main

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

const (
	// wordStart stands for a space in the vocabulary, as SentencePiece writes it.
	wordStart = "\u2581"
	// unknown is the id of every character that no piece begins with.
	unknown = 0
	// reserved is the number of ids at the head of the vocabulary that stand for
	// no text: unknown, begin, end and three spare ones.
	reserved = 6
)

// Tokenizer cuts text into the pieces of a unigram SentencePiece vocabulary
// (Kudo 2018, "Subword Regularization"): of all ways to cut, the one with the
// largest sum of piece scores. It is immutable and safe for concurrent use.
type Tokenizer struct {
	ids     map[string]int32
	scores  []float64 // by id: the log probability of the piece
	sizes   []int     // by id: characters in the piece
	longest int       // the largest of sizes
}

// ReadTokenizer reads a vocabulary: a JSON array of [piece, score], where a
// piece's place is its id.
func ReadTokenizer(path string) (*Tokenizer, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	t, err := parseVocabulary(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return t, nil
}

func parseVocabulary(data []byte) (*Tokenizer, error) {
	var rows [][]json.RawMessage
	if err := json.Unmarshal(data, &rows); err != nil {
		return nil, fmt.Errorf("vocabulary: %w", err)
	}
	if len(rows) <= reserved {
		return nil, fmt.Errorf("vocabulary: %d entries, want more than the %d reserved ones", len(rows), reserved)
	}
	t := &Tokenizer{
		ids:    make(map[string]int32, len(rows)),
		scores: make([]float64, len(rows)),
		sizes:  make([]int, len(rows)),
	}
	for id, row := range rows {
		if len(row) != 2 {
			return nil, fmt.Errorf("vocabulary: entry %d has %d fields, want [piece, score]", id, len(row))
		}
		var piece string
		if err := json.Unmarshal(row[0], &piece); err != nil {
			return nil, fmt.Errorf("vocabulary: piece of entry %d: %w", id, err)
		}
		// A few scores of the published file are null. The model's own tokenizer
		// counts them as 0, and so does decoding null into a float64.
		if err := json.Unmarshal(row[1], &t.scores[id]); err != nil {
			return nil, fmt.Errorf("vocabulary: score of entry %d: %w", id, err)
		}
		if piece == "" {
			return nil, fmt.Errorf("vocabulary: entry %d is empty", id)
		}
		t.sizes[id] = utf8.RuneCountInString(piece)
		if id >= reserved {
			t.ids[piece] = int32(id) // of two equal pieces the later one counts
			t.longest = max(t.longest, t.sizes[id])
		}
	}
	t.sizes[unknown] = 1
	return t, nil
}

// Size is the number of ids: Encode returns ids in [0, Size).
func (t *Tokenizer) Size() int { return len(t.scores) }

// Encode returns the ids of text's pieces, in order; none for an empty text.
//
// Text is put into Unicode form NFKC and every space becomes the word-start
// mark, also one in front. Neighbouring unknown characters become one id.
func (t *Tokenizer) Encode(text string) []int32 {
	text = norm.NFKC.String(text)
	if text == "" {
		return nil
	}
	text = wordStart + strings.ReplaceAll(text, " ", wordStart)
	at := make([]int, 0, len(text)+1) // byte offset of each character
	for i := range text {
		at = append(at, i)
	}
	at = append(at, len(text))
	n := len(at) - 1

	// best[i] is the score of the best cut of the first i characters and last[i]
	// its last piece, -1 where no cut ends. Starts ascend, so best[start] is final
	// when it is read; of equal cuts the one whose last piece is shorter wins.
	best := make([]float64, n+1)
	last := make([]int32, n+1)
	for i := range last {
		last[i] = -1
	}
	reach := func(start, end int, id int32) {
		score := best[start] + t.scores[id]
		// A cut that scores 0 gives way to every later one, because the model's own
		// tokenizer takes 0 for "no cut yet", and the ids must be the same.
		if last[end] < 0 || best[end] == 0 || score >= best[end] {
			best[end], last[end] = score, id
		}
	}
	for start := range n {
		if start > 0 && last[start] < 0 {
			continue
		}
		found := false
		for end := start + 1; end <= min(n, start+t.longest); end++ {
			if id, ok := t.ids[text[at[start]:at[end]]]; ok {
				reach(start, end, id)
				found = true
			}
		}
		if !found {
			reach(start, start+1, unknown)
		}
	}

	var ids []int32
	for end := n; end > 0; end -= t.sizes[last[end]] {
		if id := last[end]; id != unknown || len(ids) == 0 || ids[len(ids)-1] != unknown {
			ids = append(ids, id)
		}
	}
	slices.Reverse(ids)
	return ids
}
