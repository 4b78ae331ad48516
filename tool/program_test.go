package tool

import (
	"go/format"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestProgramIsFormatted: the embedded program is no Go file to gofmt.
func TestProgramIsFormatted(t *testing.T) {
	files, err := programText.ReadDir("program")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, f := range files {
		text, err := programText.ReadFile("program/" + f.Name())
		require.NoError(t, err)
		formatted, err := format.Source(text)
		require.NoError(t, err, f.Name())
		require.Equal(t, string(formatted), string(text), f.Name())
	}
}
