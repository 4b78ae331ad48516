package ptx

import "fmt"

// Target is a compilation target: a compute capability, and whether the text
// may use the features that only this very architecture has (the suffix "a").
type Target struct {
	SM   int  // compute capability times ten: 80, 89, 90
	Arch bool // arch-specific features: the "a" of sm_90a
}

// SM80 is the target sm_80: Ampere and, compiled forward, all later GPUs.
func SM80() Target { return Target{SM: 80} }

// SM89 is the target sm_89 (Ada), the first with e4m3 and e5m2 conversions.
func SM89() Target { return Target{SM: 89} }

// SM90 is the target sm_90: Hopper's portable features.
func SM90() Target { return Target{SM: 90} }

// SM90a is the target sm_90a: Hopper with wgmma and setmaxnreg; the text loads
// on compute capability 9.0 only.
func SM90a() Target { return Target{SM: 90, Arch: true} }

// ParseTarget reads a target's name, as in .target: "sm_80", "sm_90a".
func ParseTarget(name string) (Target, error) {
	for _, t := range Targets() {
		if t.String() == name {
			return t, nil
		}
	}
	return Target{}, fmt.Errorf("ptx: unknown target %q (known: %v)", name, Targets())
}

// Targets lists the targets that the instruction table covers.
func Targets() []Target { return []Target{SM80(), SM89(), SM90(), SM90a()} }

// String is the target's name as in .target.
func (t Target) String() string {
	if t.Arch {
		return fmt.Sprintf("sm_%da", t.SM)
	}
	return fmt.Sprintf("sm_%d", t.SM)
}

// Has reports whether code that needs the target need is legal on t.
func (t Target) Has(need Target) bool {
	if need.Arch {
		return t == need
	}
	return t.SM >= need.SM
}

// firstISA is the PTX ISA that brought the target.
func (t Target) firstISA() ISA {
	switch {
	case t.SM >= 90:
		return 80
	case t.SM >= 89:
		return 78
	}
	return 70
}

// ISA is a version of the PTX ISA times ten: 84 is 8.4.
type ISA int

// String is the version as in .version.
func (v ISA) String() string { return fmt.Sprintf("%d.%d", v/10, v%10) }

// DefaultISA is the .version of a module none of whose instructions needs a
// later one: drivers since 550 take it.
const DefaultISA ISA = 84
