package ptxsim

import "fmt"

// Kind is what is wrong.
type Kind string

// The mistakes that a run can find.
const (
	OutOfBounds       Kind = "out of bounds"
	Misaligned        Kind = "misaligned access"
	Uninitialised     Kind = "uninitialised read"
	Race              Kind = "shared-memory race"
	StageOverwritten  Kind = "stage overwritten before its release"
	MissingProxyFence Kind = "missing proxy fence"
	MissingWGMMAFence Kind = "missing wgmma.fence"
	InFlight          Kind = "register of a wgmma in flight"
	Transactions      Kind = "transaction count"
	Barriers          Kind = "misused barrier"
	Deadlock          Kind = "deadlock"
	RegisterBudget    Kind = "register budget"
	SharedLimit       Kind = "shared memory over the limit"
	Divergence        Kind = "divergent warp"
	Metadata          Kind = "sparse metadata"
	BeforeGridWait    Kind = "access before griddepcontrol.wait"
	BlockLeft         Kind = "block has left"
	Trapped           Kind = "trap"
	Operands          Kind = "bad operands"
	Runaway           Kind = "no end"
)

// Fault is a mistake of a kernel and where it came to light.
type Fault struct {
	Kind   Kind
	Detail string
	Line   int    // of the text, from 1; 0 where no instruction is at fault
	Text   string // of the instruction
	Block  int    // of the grid
	Warp   int    // of the block
}

func (f *Fault) Error() string {
	if f.Line == 0 {
		return fmt.Sprintf("%s: %s", f.Kind, f.Detail)
	}
	return fmt.Sprintf("line %d: %s: %s: %s (block %d, warp %d)", f.Line, f.Text, f.Kind, f.Detail, f.Block, f.Warp)
}

// fail stops the run.
func fail(k Kind, format string, args ...any) {
	panic(&Fault{Kind: k, Detail: fmt.Sprintf(format, args...)})
}
