package codegen

import (
	"errors"
	"fmt"

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
	var proofs []*verify.Proof
	for _, f := range funcs {
		key, ok := keys[f.Name]
		if !ok {
			return nil, fmt.Errorf("codegen: line %d: %s is none of the kernels", f.Line, f.Name)
		}
		delete(keys, f.Name)
		c, err := Contract(key)
		if err != nil {
			return nil, err
		}
		p, err := verify.Check(f, c, tables)
		if err != nil {
			return nil, notProved(key, err)
		}
		proofs = append(proofs, p)
	}
	for name := range keys {
		return nil, fmt.Errorf("codegen: no kernel %s in the assembly", name)
	}
	return proofs, nil
}

// notProved says which kernel it is about, and that the fault is the
// generator's, where it is.
func notProved(key runtime.KernelKey, err error) error {
	if e := (*verify.Error)(nil); errors.As(err, &e) {
		return fmt.Errorf("codegen: kernel %s is not proved safe and therefore not written (a bug of sparsegen): %w", key, err)
	}
	return err
}
