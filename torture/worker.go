package torture

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/sparsegen/sparsegen/runtime"
)

// outcome is what a worker says of one case, in one line of JSON.
type outcome struct {
	Case     uint64
	Family   string
	Covers   []string // the configurations that it forced
	Kernel   string   // of familyKernel
	Verdicts map[string]Verdict
	Failures []Failure
}

// Failure is a case that failed at one instruction set level.
type Failure struct {
	Case    uint64 `json:"case"`
	Family  string `json:"family"`
	ISA     string `json:"isa"`
	What    string `json:"what"`    // the first thing that is wrong
	Explain string `json:"explain"` // the case: its spec and configuration
	Smaller string `json:"smaller"` // a smaller case that is wrong there as well, and what is wrong; or ""
	Repro   string `json:"repro"`   // the command that runs the case again
}

// reproduce is the command that runs a case again.
func reproduce(seed, number uint64, isa string) string {
	return fmt.Sprintf("sparsegen torture --seed %d --case %d --isa %s", seed, number, isa)
}

// work runs the cases whose numbers come in lines on in, and writes one outcome for
// each as soon as it is known. Whoever reads them knows in which case the process
// died, if it does.
func (e *engine) work(seed uint64, in io.Reader, out io.Writer) error {
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, 1<<20)
	enc := json.NewEncoder(out)
	for lines.Scan() {
		for _, word := range strings.Fields(lines.Text()) {
			number, err := strconv.ParseUint(word, 10, 64)
			if err != nil {
				return err
			}
			if err := enc.Encode(e.outcome(e.space.draw(seed, number))); err != nil {
				return err
			}
		}
	}
	return lines.Err()
}

// outcome runs a case.
func (e *engine) outcome(c *Case) outcome {
	o := outcome{Case: c.Number, Family: c.Family, Verdicts: map[string]Verdict{}}
	for _, config := range c.configs {
		o.Covers = append(o.Covers, covers(config))
	}
	if c.Family == familyKernel {
		o.Kernel = c.key.Name()
	}
	proves, found, err := e.run(c)
	if err != nil {
		found = []*finding{wrong(runtime.Generic, "before any kernel ran: %v", err)}
	}
	verdict := Mistrusted
	if proves {
		verdict = Passed
	}
	for _, isa := range append([]runtime.ISA{runtime.Generic}, e.levels...) {
		if e.covers(c, isa) {
			o.Verdicts[isa.String()] = verdict
		}
	}
	for _, f := range found {
		o.Verdicts[f.isa.String()] = Failed
		failure := Failure{
			Case: c.Number, Family: c.Family, ISA: f.isa.String(), What: f.what, Explain: c.String(),
			Repro: reproduce(c.Seed, c.Number, f.isa.String()),
		}
		if err == nil {
			if smaller, still := e.shrink(c, f); smaller != c {
				failure.Smaller = still.what + "\n" + smaller.String()
			}
		}
		o.Failures = append(o.Failures, failure)
	}
	return o
}

// covers reports whether a case says something of a level: a kernel may have none
// there, and refusing a file has no level.
func (e *engine) covers(c *Case, isa runtime.ISA) bool {
	switch c.Family {
	case familyRefused:
		return isa == runtime.Generic
	case familyKernel:
		for _, k := range e.kernels[c.key] {
			if k.ISA == isa {
				return true
			}
		}
		return false
	}
	return true
}
