package tool

import (
	"os"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestCodesAreInTheManual(t *testing.T) {
	doc, err := os.ReadFile("../docs/errors.md")
	require.NoError(t, err)
	require.Contains(t, string(doc), "## Values outside the pattern: "+string(codeFit)+"\n")
	require.Contains(t, string(doc), "## No kernel: "+string(codeKernel)+"\n")
}
