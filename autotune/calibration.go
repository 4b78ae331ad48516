package autotune

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"github.com/sparsegen/sparsegen/codegen"
	"github.com/sparsegen/sparsegen/internal/atomicfile"
	"github.com/sparsegen/sparsegen/runtime"
)

// Calibration is what was measured of one core of a kind of machine: the cost model's
// figures. It lies beside the records, and plans without records are made with it.
type Calibration struct {
	ISA   string  `json:"isa"`
	Clock float64 `json:"ghz"` // cycles a nanosecond
	codegen.Rates
	Date    string      `json:"date"`
	Machine Environment `json:"machine"`
}

// calibrationPath is where the calibration of a kind of machine is.
func calibrationPath(dir, microarch string, isa runtime.ISA) string {
	return filepath.Join(dir, microarch, fmt.Sprintf("core-%v.json", isa))
}

// LoadCalibration reads the calibration of a kind of machine in the folder of
// records, nil where there is none. An error says why one is left out.
func LoadCalibration(dir, microarch string, isa runtime.ISA) (*Calibration, error) {
	path := calibrationPath(dir, microarch, isa)
	text, err := os.ReadFile(path)
	if os.IsNotExist(err) {
		return nil, nil
	}
	var c Calibration
	if err == nil {
		if err = json.Unmarshal(text, &c); err != nil {
			err = fmt.Errorf("%s: not a calibration (%w)", path, err)
		} else if err = c.check(microarch, isa); err != nil {
			err = fmt.Errorf("%s: %w", path, err)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("%w; left out, the built-in figures count", err)
	}
	return &c, nil
}

// Calibrated are the kinds of machines of which a folder of records has calibrations,
// sorted.
func Calibrated(dir string) []string {
	files, err := filepath.Glob(filepath.Join(escape(dir), "*", "core-*.json"))
	if err != nil {
		return nil // the pattern is ours
	}
	var names []string
	for _, f := range files {
		names = append(names, filepath.Base(filepath.Dir(f)))
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// check reports what is wrong with a calibration.
func (c *Calibration) check(microarch string, isa runtime.ISA) error {
	switch {
	case c.ISA != isa.String():
		return fmt.Errorf("of level %q", c.ISA)
	case c.Machine.Microarch != microarch:
		return fmt.Errorf("measured on %q, which is not this folder's kind of machine", c.Machine.Microarch)
	case !(c.Clock >= 0.1 && c.Clock <= 20):
		return fmt.Errorf("a clock of %v GHz", c.Clock)
	}
	return c.Rates.Check()
}

// save writes the calibration in place of an earlier one, whole or not at all.
func (c *Calibration) save(dir string, isa runtime.ISA) error {
	path := calibrationPath(dir, c.Machine.Microarch, isa)
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		return err
	}
	return atomicfile.Write(path, func(w io.Writer) error {
		enc := json.NewEncoder(w)
		enc.SetIndent("", "  ")
		return enc.Encode(c)
	})
}

// Core is the core that plans for an instruction set level of a kind of machine are made
// for: the built-in one with what was measured of it. A nil calibration measured nothing.
func (c *Calibration) Core(isa runtime.ISA, machine string) codegen.Core {
	core := codegen.Builtin(isa).On(machine)
	if c == nil {
		return core
	}
	return core.With(c.Rates)
}

// Roofs are what one core reaches with dense kernels of ours: the roofs of the
// roofline model (S. Williams et al., 2009).
type Roofs struct {
	GFlops float64 // multiply-adds count as two
	L2     float64 // GB/s, weights from the second-level cache
	L3     float64 // from the third-level cache
	Memory float64 // from memory
}

// Roofs are those of the calibrated core.
func (c *Calibration) Roofs(isa runtime.ISA) Roofs {
	core := c.Core(isa, c.Machine.Microarch)
	return Roofs{round1(core.Flops() * c.Clock), round1(core.L2 * c.Clock), round1(cmp.Or(c.L3, core.L3) * c.Clock), round1(core.Memory * c.Clock)}
}
