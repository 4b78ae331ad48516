package torture

import (
	"github.com/sparsegen/sparsegen/asm/goref/kerneltest"
)

// kernel calls the kernels of the case's key once each, at every level, with the
// same random arguments between inaccessible pages, and compares all that they
// write with the contract.
func (e *engine) kernel(c *Case) (proves bool, found []*finding, err error) {
	call, err := kerneltest.New(c.key, c.data, kerneltest.Rules{})
	if err != nil {
		return false, nil, err
	}
	want := call.Want()
	for _, k := range e.kernels[c.key] {
		if !e.runs(k.ISA) {
			continue
		}
		if err := call.Compare(k.Fn, want); err != nil {
			found = append(found, wrong(k.ISA, "%v", err))
		}
	}
	return call.DependsOnInput(want), found, nil
}
