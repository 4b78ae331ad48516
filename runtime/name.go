package runtime

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
)

// kernelOps has a row for each op: the stem of its kernels' names, and the
// coordinates that its keys have.
var kernelOps = [...]struct{ stem, uses string }{
	PanelGrouped: {"panelGrouped", "MR T"},
	PanelBlock:   {"panelBlock", "MR T"},
	PanelStep:    {"panelStep", "MR T"},
	PanelDense:   {"panelDense", "MR T"},
	LanesDense:   {"lanesDense", "S NB"},
	LanesList:    {"lanesList", "S NB"},
	LanesNM:      {"lanesNM", "S NB N M"},
	LanesMask:    {"lanesMask", "S NB"},
	LanesRow:     {"lanesRow", "S"},
	LanesWindow:  {"lanesWindow", "S"},
	DeltaTile:    {"deltaTile", "S T"},
	CopyTile:     {"copyTile", ""},
	TransTile:    {"transTile", ""},
	UntransTile:  {"untransTile", ""},
	MapGelu:      {"mapGelu", ""},
	MapGeluTanh:  {"mapGeluTanh", ""},
	MapSilu:      {"mapSilu", ""},
	MapSigmoid:   {"mapSigmoid", ""},
	MapTanh:      {"mapTanh", ""},
}

// coordinate is one field of a key: its name in String, its letter in Name.
type coordinate struct {
	name, letter string
	value        *uint8
}

func (k *KernelKey) coordinates() [6]coordinate {
	return [...]coordinate{
		{"MR", "_m", &k.MR}, {"T", "_t", &k.T},
		{"S", "_s", &k.S}, {"NB", "_b", &k.NB},
		{"N", "_n", &k.N}, {"M", "m", &k.M},
	}
}

// String is the op's name in lower camel case, such as panelGrouped.
func (op KernelOp) String() string {
	if op == 0 || int(op) >= len(kernelOps) {
		return fmt.Sprintf("kernelOp%d", uint8(op))
	}
	return kernelOps[op].stem
}

// Name is the stem of the function names of k's kernels: the op, the element
// type and the coordinates, such as panelGrouped_f32_m4_t64 or
// lanesNM_f32_s32_b8_n2m4. A printer appends its target: _go, _avx2, _avx512,
// _neon, _sve. Different keys have different names.
func (k KernelKey) Name() string {
	var b strings.Builder
	b.WriteString(k.Op.String())
	b.WriteString("_f32")
	for _, c := range k.coordinates() {
		if *c.value != 0 {
			b.WriteString(c.letter)
			b.WriteString(strconv.Itoa(int(*c.value)))
		}
	}
	return b.String()
}

// String is k in the form that ParseKernelKey reads, such as
// "lanesNM S=32 NB=8 N=2 M=4".
func (k KernelKey) String() string {
	var b strings.Builder
	b.WriteString(k.Op.String())
	for _, c := range k.coordinates() {
		if *c.value != 0 {
			fmt.Fprintf(&b, " %s=%d", c.name, *c.value)
		}
	}
	return b.String()
}

// Compare orders keys by op, then by coordinates.
func (k KernelKey) Compare(o KernelKey) int {
	return cmp.Or(
		cmp.Compare(k.Op, o.Op),
		cmp.Compare(k.MR, o.MR), cmp.Compare(k.T, o.T),
		cmp.Compare(k.S, o.S), cmp.Compare(k.NB, o.NB),
		cmp.Compare(k.N, o.N), cmp.Compare(k.M, o.M),
	)
}

// ParseKernelKey reads what String prints and checks the key.
func ParseKernelKey(s string) (KernelKey, error) {
	fields := strings.Fields(s)
	if len(fields) == 0 {
		return KernelKey{}, fmt.Errorf("kernel key %q: empty", s)
	}
	var k KernelKey
	for op := PanelGrouped; int(op) < len(kernelOps); op++ {
		if kernelOps[op].stem == fields[0] {
			k.Op = op
		}
	}
	if k.Op == 0 {
		return KernelKey{}, fmt.Errorf("kernel key %q: no op %q", s, fields[0])
	}
	for _, field := range fields[1:] {
		name, value, _ := strings.Cut(field, "=")
		v, err := strconv.ParseUint(value, 10, 8)
		if err != nil {
			return KernelKey{}, fmt.Errorf("kernel key %q: %q is not a name=number with a number up to 255", s, field)
		}
		known := false
		for _, c := range k.coordinates() {
			if c.name == name && *c.value == 0 {
				*c.value, known = uint8(v), true
			}
		}
		if !known {
			return KernelKey{}, fmt.Errorf("kernel key %q: unknown or repeated coordinate %q", s, name)
		}
	}
	if err := k.Check(); err != nil {
		return KernelKey{}, err
	}
	return k, nil
}

// Check reports whether k names a kernel: a known op with each coordinate that
// the op uses, none that it does not, and each in the range that the contract
// of the op's function type gives.
func (k KernelKey) Check() error {
	if k.Op == 0 || int(k.Op) >= len(kernelOps) {
		return fmt.Errorf("kernel key %v: unknown op", k)
	}
	uses := strings.Fields(kernelOps[k.Op].uses)
	for _, c := range k.coordinates() {
		used := false
		for _, u := range uses {
			used = used || u == c.name
		}
		if used && *c.value == 0 {
			return fmt.Errorf("kernel key %v: %v needs %s", k, k.Op, c.name)
		}
		if !used && *c.value != 0 {
			return fmt.Errorf("kernel key %v: %v has no %s", k, k.Op, c.name)
		}
	}
	switch {
	case k.T%8 != 0:
		return fmt.Errorf("kernel key %v: T is not a multiple of 8", k)
	case k.M&(k.M-1) != 0 || k.M == 1:
		return fmt.Errorf("kernel key %v: M is not a power of two from 2 up", k)
	case k.N > k.M:
		return fmt.Errorf("kernel key %v: N is above M", k)
	case k.Op == PanelGrouped && k.MR > 8:
		return fmt.Errorf("kernel key %v: MR is above 8, which needs more than 255 runs a panel", k)
	case k.Op == LanesMask && k.S%8 != 0:
		return fmt.Errorf("kernel key %v: S is not a multiple of 8, so masks are not whole bytes", k)
	case (k.Op == LanesRow || k.Op == DeltaTile) && k.S != 8:
		return fmt.Errorf("kernel key %v: S is not 8", k)
	case k.Op == LanesWindow && k.S != 16:
		return fmt.Errorf("kernel key %v: S is not 16", k)
	}
	return nil
}
