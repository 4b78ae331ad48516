package runtime

import (
	"fmt"
	"os"
	goruntime "runtime"

	"golang.org/x/sys/cpu"
)

// isaVariable is the environment variable that caps the instruction set.
const isaVariable = "SPARSEGEN_ISA"

// hasAVX2 names all that comes with AVX2 in every processor that has it; a
// hypervisor may hide a part.
var hasAVX2 = cpu.X86.HasAVX2 && cpu.X86.HasFMA && cpu.X86.HasBMI1 && cpu.X86.HasBMI2 && cpu.X86.HasPOPCNT

// isas has a row for each level: its name, its architecture ("" for any) and
// whether this machine has it. The operating system's support is part of that.
var isas = [...]struct {
	name, arch string
	here       bool
}{
	Generic: {"generic", "", true},
	AVX2:    {"avx2", "amd64", hasAVX2},
	AVX512:  {"avx512", "amd64", hasAVX2 && cpu.X86.HasAVX512F && cpu.X86.HasAVX512BW && cpu.X86.HasAVX512DQ && cpu.X86.HasAVX512VL},
	NEON:    {"neon", "arm64", goruntime.GOARCH == "arm64"}, // part of the arm64 baseline
	SVE:     {"sve", "arm64", cpu.ARM64.HasSVE && scalableBits() != 0},
}

// String is the name that SPARSEGEN_ISA takes: generic, avx2, avx512, neon, sve.
func (i ISA) String() string {
	if int(i) >= len(isas) {
		return fmt.Sprintf("isa%d", uint8(i))
	}
	return isas[i].name
}

// Arch is the architecture that has level i, as in GOARCH; "" for Generic, which
// all have.
func (i ISA) Arch() string {
	if int(i) >= len(isas) {
		return ""
	}
	return isas[i].arch
}

// Available reports whether this machine can run kernels of level i.
func (i ISA) Available() bool { return int(i) < len(isas) && isas[i].here }

// ParseISA reads the name of an instruction set level of this architecture.
func ParseISA(name string) (ISA, error) {
	for i, row := range isas {
		if row.name == name && (row.arch == "" || row.arch == goruntime.GOARCH) {
			return ISA(i), nil
		}
	}
	return 0, fmt.Errorf("%q is no instruction set level of %s; there are %s", name, goruntime.GOARCH, levelNames())
}

func levelNames() string {
	s := ""
	for _, row := range isas {
		if row.arch == "" || row.arch == goruntime.GOARCH {
			if s != "" {
				s += ", "
			}
			s += row.name
		}
	}
	return s
}

// capFromEnvironment is the level of SPARSEGEN_ISA, or the highest one.
func capFromEnvironment() (ISA, error) {
	name := os.Getenv(isaVariable)
	if name == "" {
		return ISA(len(isas) - 1), nil
	}
	i, err := ParseISA(name)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", isaVariable, err)
	}
	return i, nil
}
