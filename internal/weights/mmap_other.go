//go:build !unix

package weights

import (
	"io"
	"os"
)

func mapContent(f *os.File, _ int64) (*mapping, error) {
	b, err := io.ReadAll(f)
	if err != nil {
		return nil, err
	}
	return &mapping{data: b}, nil
}
