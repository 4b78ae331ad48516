package tool

import (
	"errors"
	"fmt"
	"go/build"
	"go/token"
	"path/filepath"
	"strings"
	"unicode"
)

// packageName is the name that the folder's Go files agree on, or else the
// fallback, or else the folder's name with what an identifier cannot hold left
// out.
func packageName(dir, fallback string) (string, error) {
	p, err := build.ImportDir(dir, 0)
	var several *build.MultiplePackageError
	switch {
	case errors.As(err, &several):
		return "", fmt.Errorf("%s: the folder holds packages %s; give --pkg", dir, strings.Join(several.Packages, " and "))
	case p.Name != "":
		return p.Name, nil
	case fallback != "":
		return fallback, nil
	}
	abs, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	return identifier(filepath.Base(abs)), nil
}

// identifier is the Go identifier, in lower case, that a name suggests.
func identifier(name string) string {
	id := strings.Map(func(r rune) rune {
		if unicode.IsLetter(r) || unicode.IsDigit(r) {
			return unicode.ToLower(r)
		}
		return -1
	}, name)
	if !token.IsIdentifier(id) {
		return "kernels"
	}
	return id
}
