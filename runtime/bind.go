package runtime

import (
	"fmt"
	"reflect"
	"slices"
)

// MissingKernelError says that a layer of the file needs a kernel that the
// program's sets do not have.
type MissingKernelError struct {
	Layer string
	Key   KernelKey // T or NB is 0 where any would do
	ISA   ISA       // the cap under which it was looked for
}

func (e *MissingKernelError) Error() string {
	capped := ""
	if int(e.ISA) < len(isas)-1 {
		capped = fmt.Sprintf(" with the instruction set capped at %v", e.ISA)
	}
	return fmt.Sprintf("layer %q has no kernel for %s%s: the generated package and the packed file are not of one spec; run go generate (go tool sparsegen gen SPEC) and pack the file again (go tool sparsegen pack SPEC)",
		e.Layer, e.Key.words(), capped)
}

// words says what a kernel of this key computes.
func (k KernelKey) words() string {
	s := ""
	switch k.Op {
	case PanelGrouped:
		s = fmt.Sprintf("panels of %d output rows grouped by row set", k.MR)
	case PanelBlock:
		s = fmt.Sprintf("blocks of %d×1", k.MR)
	case PanelStep:
		s = fmt.Sprintf("panels of %d output rows in step", k.MR)
	case PanelDense:
		s = fmt.Sprintf("dense panels of %d output rows", k.MR)
	case LanesDense:
		s = fmt.Sprintf("dense slabs of %d output rows", k.S)
	case LanesList:
		s = fmt.Sprintf("column lists of slabs of %d output rows", k.S)
	case LanesNM:
		s = fmt.Sprintf("%d:%d in slabs of %d output rows", k.N, k.M, k.S)
	case LanesMask:
		s = fmt.Sprintf("bit masks of slabs of %d output rows", k.S)
	case LanesRow:
		s = fmt.Sprintf("groups of eight stored elements of each row, in slabs of %d output rows", k.S)
	case LanesWindow:
		s = fmt.Sprintf("elements within windows of columns, in slabs of %d output rows", k.S)
	case DeltaTile:
		s = fmt.Sprintf("byte deltas of slabs of %d output rows, lanes are batch columns", k.S)
	case CopyTile:
		s = "copying a feature-major tile"
	case TransTile:
		s = "transposing a token-major tile"
	case UntransTile:
		s = "transposing a tile back to token-major"
	default:
		s = k.Op.String()
	}
	if k.T != 0 {
		s += fmt.Sprintf(" %d wide", k.T)
	}
	return s + " [" + k.String() + "]"
}

// kernels is what a program offers under one ISA cap: for each key the kernel
// of the highest level.
type kernels struct {
	best  map[KernelKey]Kernel
	isa   ISA
	short *kernels // those with vectors of 32 bytes, where longer ones are within the cap
}

func newKernels(sets []Set, cap ISA) kernels {
	b := kernelsFrom(sets, Generic, cap)
	if cap == AVX512 {
		short := kernelsFrom(sets, AVX2, AVX2)
		b.short = &short
	}
	return b
}

// kernelsFrom are the kernels of levels from least to cap.
func kernelsFrom(sets []Set, least, cap ISA) kernels {
	b := kernels{best: make(map[KernelKey]Kernel), isa: cap}
	for _, set := range sets {
		for _, k := range set.Kernels {
			if !k.ISA.Available() || k.ISA < least || k.ISA > cap {
				continue
			}
			if have, ok := b.best[k.Key]; !ok || k.ISA > have.ISA {
				b.best[k.Key] = k
			}
		}
	}
	return b
}

// find gives key's function as an F.
func find[F any](b kernels, layer string, key KernelKey) (F, error) {
	var f F
	k, ok := b.best[key]
	if !ok {
		return f, &MissingKernelError{layer, key, b.isa}
	}
	v, want := reflect.ValueOf(k.Fn), reflect.TypeFor[F]()
	if !v.IsValid() || !v.CanConvert(want) || v.Kind() != reflect.Func || v.IsNil() {
		return f, fmt.Errorf("layer %q: the kernel for %s is a %T where a %v belongs", layer, key.words(), k.Fn, want)
	}
	return v.Convert(want).Interface().(F), nil
}

// ladder gives the values of one coordinate (T or NB) for which all of keys
// have a kernel, ascending. A value that only pure Go has is left out where
// others exist.
func (b kernels) ladder(layer string, keys []KernelKey, coordinate func(*KernelKey) *uint8) ([]int, error) {
	type step struct {
		value int
		isa   ISA
	}
	var steps []step
	best := Generic
	for k := range b.best {
		value := *coordinate(&k)
		*coordinate(&k) = 0
		if value == 0 || k != keys[0] {
			continue
		}
		s := step{int(value), ISA(len(isas) - 1)}
		for _, key := range keys {
			*coordinate(&key) = value
			k, ok := b.best[key]
			if !ok {
				s.value = 0
				break
			}
			s.isa = min(s.isa, k.ISA)
		}
		if s.value != 0 {
			steps = append(steps, s)
			best = max(best, s.isa)
		}
	}
	var values []int
	for _, s := range steps {
		if s.isa != Generic || best == Generic {
			values = append(values, s.value)
		}
	}
	if values == nil {
		return nil, &MissingKernelError{layer, b.firstMissing(keys, coordinate), b.isa}
	}
	slices.Sort(values)
	return values, nil
}

// lanes is the length in float32 of the vectors that key's kernels work with,
// whichever their T.
func (b kernels) lanes(key KernelKey) int {
	for k, kernel := range b.best {
		if k.T = 0; k == key && kernel.ISA == AVX512 {
			return 16
		}
	}
	return 8
}

// firstMissing is the key that has no kernel at any coordinate, or the last one
// when only no single coordinate has them all.
func (b kernels) firstMissing(keys []KernelKey, coordinate func(*KernelKey) *uint8) KernelKey {
	for _, key := range keys {
		found := false
		for k := range b.best {
			*coordinate(&k) = 0
			found = found || k == key
		}
		if !found {
			return key
		}
	}
	return keys[len(keys)-1]
}
