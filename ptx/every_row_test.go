package ptx

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// operandFor makes an operand that fits the slot, from registers that are
// defined before.
func operandFor(k *Kernel, s *slot) any {
	reg := func(t Type) Reg {
		switch {
		case !t.isReg() && t.Bits() <= 16:
			t = B16
		case !t.isReg():
			t = B32
		}
		r := k.Reg(t)
		if s.role != roleWrite {
			k.Mov(r, zeroOf(k, t))
		}
		return r
	}
	switch s.kind {
	case slotImm:
		if s.set != nil {
			return Int(s.set[len(s.set)-1])
		}
		return Int(s.lo - s.lo%8)
	case slotMem:
		switch s.space {
		case 'p':
			return AtParam(k.params[0], 0)
		case 's':
			return At(k.SharedAddr(Shared{k, "buffer"}), 0)
		case 't':
			coords := make([]any, s.dims)
			for i := range coords {
				coords[i] = i
			}
			return TMACoord(k.LoadParam(k.params[0]), coords...)
		}
		return At(k.LoadParam(k.params[0]), 0)
	}
	if s.n > 0 {
		regs := make([]Reg, s.n)
		for i := range regs {
			regs[i] = reg(s.typ)
		}
		return Vec(regs...)
	}
	return reg(s.typ)
}

func zeroOf(k *Kernel, t Type) any { return 0 }

// rowKernels builds kernels that hold every row legal on the target.
func rowModules(t *testing.T, target Target, perKernel int) []string {
	var texts []string
	var m *Module
	var k *Kernel
	n := 0
	flush := func() {
		if m != nil {
			text, err := m.Text()
			require.NoError(t, err)
			texts = append(texts, text)
		}
		m, n = nil, 0
	}
	tab := instructions()
	for _, form := range tab.forms {
		for _, r := range tab.rows[form] {
			if !target.Has(r.need.target) {
				continue
			}
			if m == nil {
				m = NewModule(target)
				k = m.Kernel("rows")
				k.ParamU64("p")
				k.Threads(128)
				k.MinCTAs(1)
				k.StaticShared("buffer", 128, 4096)
			}
			operands := make([]any, len(r.slots))
			for i := range r.slots {
				operands[i] = operandFor(k, &r.slots[i])
			}
			k.Emit(form, operands...)
			n++
			if n == perKernel {
				flush()
			}
		}
	}
	flush()
	return texts
}

func TestEveryRowBuilds(t *testing.T) {
	for _, target := range Targets() {
		t.Run(target.String(), func(t *testing.T) {
			texts := rowModules(t, target, 400)
			require.NotEmpty(t, texts)
			t.Log(len(texts), "modules")
		})
	}
	rows := 0
	for _, rs := range instructions().rows {
		rows += len(rs)
	}
	t.Log(rows, "rows", len(instructions().forms), "forms")
	fmt.Println(strings.Count("", ""))
}
