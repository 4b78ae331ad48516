package records

import (
	"cmp"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

type record struct {
	Key   int    `json:"key"`
	Value string `json:"value"`
}

func list() *List[record] {
	return New(func(a, b record) int { return cmp.Compare(a.Key, b.Key) })
}

func check(r record) error {
	if r.Key < 0 {
		return errors.New("a negative key")
	}
	return nil
}

// TestReadAndWrite: of equal records the later counts, what cannot be used is named
// with its line, and what is written in order is read again as it was.
func TestReadAndWrite(t *testing.T) {
	l := list()
	notes := l.Read("f", []byte(`{"key":7,"value":"<a>"}
{"key":3,"value":"b"}

{"key":-1}
{"key":
{"key":7,"value":"c"}`), check)
	require.Equal(t, []record{{3, "b"}, {7, "c"}}, l.Records)
	require.Len(t, notes, 2)
	require.Equal(t, "f:4: a negative key; left out", notes[0])
	require.Contains(t, notes[1], "f:5: not a record (")

	r, found := l.Find(record{Key: 7})
	require.True(t, found)
	require.Equal(t, "c", r.Value)
	_, found = l.Find(record{Key: 5})
	require.False(t, found)
	_, found = (*List[record])(nil).Find(record{Key: 5})
	require.False(t, found)

	file := filepath.Join(t.TempDir(), "folder", "records.jsonl")
	l.Put(record{5, "<d>"})
	require.NoError(t, Write(file, l.Records))
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	require.Equal(t, "{\"key\":3,\"value\":\"b\"}\n{\"key\":5,\"value\":\"<d>\"}\n{\"key\":7,\"value\":\"c\"}\n", string(text))
	again := list()
	require.Empty(t, again.Read(file, text, check))
	require.Equal(t, l.Records, again.Records)
}

// TestEndlessLine: it ends the reading with a note.
func TestEndlessLine(t *testing.T) {
	l := list()
	notes := l.Read("f", []byte("{\"key\":1}\n"+strings.Repeat(" ", MaxLine+1)), check)
	require.Len(t, notes, 1)
	require.Contains(t, notes[0], "f:2: ")
	require.Contains(t, notes[0], "the rest is left out")
	require.Len(t, l.Records, 1)
}
