package codegen

import (
	"errors"
	"fmt"
	goruntime "runtime"
	"sync"
	"sync/atomic"

	"github.com/sparsegen/sparsegen/asm/verify"
	"github.com/sparsegen/sparsegen/runtime"
)

// prove proves the kernels of an emitted assembly file, read back: each stays
// within its arguments in every call that its Contract allows, ends, and leaves
// alone what is not its own (package verify). kernels are those of the file, in
// any order. The error names the kernel, the line and the instruction that could
// not be proved.
func prove(funcs []*verify.Func, tables []verify.Table, kernels []Kernel) ([]*verify.Proof, error) {
	keys := map[string]runtime.KernelKey{}
	for _, k := range kernels {
		if m, ok := machines[k.ISA]; ok {
			keys[functionName(k.Key, m)] = k.Key
		}
	}
	contracts := make([]*verify.Contract, len(funcs))
	of := make([]runtime.KernelKey, len(funcs))
	seen := map[string]map[int64]bool{}
	for i, f := range funcs {
		key, ok := keys[f.Name]
		if !ok || seen[f.Name][f.Bits] {
			return nil, fmt.Errorf("codegen: line %d: %s is none of the kernels", f.Line, f.Name)
		}
		if seen[f.Name] == nil {
			seen[f.Name] = map[int64]bool{}
		}
		seen[f.Name][f.Bits] = true
		c, err := Contract(key)
		if err != nil {
			return nil, err
		}
		contracts[i], of[i] = c, key
	}
	for name := range keys {
		if seen[name] == nil {
			return nil, fmt.Errorf("codegen: no kernel %s in the assembly", name)
		}
	}
	// A proof depends on nothing but its kernel: each processor takes the next one.
	proofs, errs := make([]*verify.Proof, len(funcs)), make([]error, len(funcs))
	var next atomic.Int64
	var wg sync.WaitGroup
	for range min(goruntime.GOMAXPROCS(0), len(funcs)) {
		wg.Go(func() {
			var prover verify.Prover
			for i := int(next.Add(1)) - 1; i < len(funcs); i = int(next.Add(1)) - 1 {
				proofs[i], errs[i] = prover.Check(funcs[i], contracts[i], tables)
			}
		})
	}
	wg.Wait()
	for i, err := range errs {
		if err != nil {
			return nil, notProved(of[i], err)
		}
	}
	return verify.Joined(proofs), nil
}

// notProved says which kernel it is about, and that the fault is the
// generator's, where it is.
func notProved(key runtime.KernelKey, err error) error {
	if e := (*verify.Error)(nil); errors.As(err, &e) {
		return fmt.Errorf("codegen: kernel %s is not proved safe and therefore not written (a bug of sparsegen): %w", key, err)
	}
	return err
}
