package tool

import (
	"os"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestCodeIsInTheManual(t *testing.T) {
	doc, err := os.ReadFile("../docs/errors.md")
	require.NoError(t, err)
	require.Contains(t, string(doc), "## Values outside the pattern: "+string(codeFit)+"\n")
}
