package ir

// Code is the stable name of a kind of mistake; docs/errors.md explains each.
type Code string

// Codes below SG0100 are of the syntax, those above of the meaning.
const (
	codeChar       Code = "SG0001"
	codeString     Code = "SG0002"
	codeNumber     Code = "SG0003"
	codeSyntax     Code = "SG0004"
	codeHeader     Code = "SG0005"
	codeLimit      Code = "SG0006"
	codeUnclosed   Code = "SG0007"
	codeUnknown    Code = "SG0101"
	codeTwice      Code = "SG0102"
	codeOp         Code = "SG0103"
	codeArgs       Code = "SG0104"
	codeAttr       Code = "SG0105"
	codeShape      Code = "SG0106"
	codeDivide     Code = "SG0107"
	codePattern    Code = "SG0108"
	codeNoShape    Code = "SG0109"
	codeFileShape  Code = "SG0110"
	codeTensor     Code = "SG0111"
	codeDType      Code = "SG0112"
	codeRange      Code = "SG0113"
	codeOutput     Code = "SG0114"
	codeUnused     Code = "SG0115"
	codeTarget     Code = "SG0116"
	codeConstruct  Code = "SG0117"
	codeExtent     Code = "SG0118"
	codeEmpty      Code = "SG0119"
	codeWeightRole Code = "SG0120"
)

// Codes lists every code, in order, with its title.
func Codes() []struct {
	Code  Code
	Title string
} {
	return []struct {
		Code  Code
		Title string
	}{
		{codeChar, "unexpected character"},
		{codeString, "malformed string"},
		{codeNumber, "malformed number"},
		{codeSyntax, "syntax error"},
		{codeHeader, "missing or unknown header"},
		{codeLimit, "spec too large or too deep"},
		{codeUnclosed, "bracket is not closed"},
		{codeUnknown, "unknown name"},
		{codeTwice, "name is defined twice"},
		{codeOp, "unknown op"},
		{codeArgs, "wrong arguments"},
		{codeAttr, "bad attribute value"},
		{codeShape, "shapes disagree"},
		{codeDivide, "pattern does not cover the weight"},
		{codePattern, "malformed pattern"},
		{codeNoShape, "shape of a weight is unknown"},
		{codeFileShape, "shape of a weight disagrees with the file"},
		{codeTensor, "tensor is not in the weight file"},
		{codeDType, "wrong element type"},
		{codeRange, "bad range of an extent"},
		{codeOutput, "output is never computed"},
		{codeUnused, "name is never used"},
		{codeTarget, "unknown target"},
		{codeConstruct, "construct has no meaning here"},
		{codeExtent, "bad extent"},
		{codeEmpty, "spec has no layer"},
		{codeWeightRole, "weight and value confused"},
	}
}
