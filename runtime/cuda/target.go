package cuda

import (
	"fmt"
	"regexp"
	"strconv"

	"github.com/sparsegen/sparsegen/runtime/gpu"
)

// ptxHeader is what PTX text says of itself in its first directives.
type ptxHeader struct {
	major, minor int // of .version
	sm           int // of .target: 90 for sm_90a
	suffix       string
}

var (
	versionLine = regexp.MustCompile(`(?m)^\s*\.version\s+(\d{1,2})\.(\d{1,2})\s*$`)
	targetLine  = regexp.MustCompile(`(?m)^\s*\.target\s+sm_(\d{2,3})([a-z]?)\b`)
)

func parseHeader(ptx string) (h ptxHeader, err error) {
	v, t := versionLine.FindStringSubmatch(ptx), targetLine.FindStringSubmatch(ptx)
	if v == nil || t == nil {
		return h, fmt.Errorf("cuda: %w: no .version or .target sm_… line", ErrCompile)
	}
	h.major, _ = strconv.Atoi(v[1])
	h.minor, _ = strconv.Atoi(v[2])
	h.sm, _ = strconv.Atoi(t[1])
	h.suffix = t[2]
	return h, nil
}

// fits says whether the driver may compile the text for the device (PTX ISA,
// ".target": plain targets run on all later devices, "a" on that very one, "f"
// on its family).
func (h ptxHeader) fits(d *gpu.Device) error {
	cc := 10*d.CC[0] + d.CC[1]
	ok := cc >= h.sm
	switch h.suffix {
	case "a":
		ok = cc == h.sm
	case "f":
		ok = ok && cc/10 == h.sm/10
	}
	if !ok {
		return fmt.Errorf("cuda: %w: it is for sm_%d%s, and %s has compute capability %d.%d", ErrIncompatible, h.sm, h.suffix, d.Name, d.CC[0], d.CC[1])
	}
	return nil
}
