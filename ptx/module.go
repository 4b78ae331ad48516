package ptx

import (
	"fmt"
	"slices"
)

// Module is a PTX translation unit: kernels for one target.
type Module struct {
	target  Target
	pinned  ISA // 0: chosen from what the instructions need
	isa     ISA // the latest ISA an instruction needed
	kernels []*Kernel
	shared  []*sharedVar // dynamic arrays, module scope
	errs    errorList
}

type sharedVar struct {
	name  string
	align int
	bytes int // 0: dynamic
}

// NewModule starts a module for a target.
func NewModule(t Target) *Module {
	m := &Module{target: t, isa: DefaultISA}
	if !slices.Contains(Targets(), t) {
		m.errs.add(callerPos(), "target %s is not one of %v", t, Targets())
	}
	return m
}

// Target is the module's target.
func (m *Module) Target() Target { return m.target }

// PinISA fixes .version: an instruction that needs a later one is then an error
// instead of raising it.
func (m *Module) PinISA(v ISA) {
	if v < m.target.firstISA() {
		m.errs.add(callerPos(), "PTX ISA %s does not have the target %s, which came with %s", v, m.target, m.target.firstISA())
		return
	}
	m.pinned = v
}

// ISA is the .version that the module has so far.
func (m *Module) ISA() ISA {
	if m.pinned != 0 {
		return m.pinned
	}
	return m.isa
}

// Kernel starts a kernel, which is its own instruction builder.
func (m *Module) Kernel(name string) *Kernel {
	k := &Kernel{m: m, name: name, cache: map[string]Reg{}, scopes: []int{-1}, regs: make([]regInfo, 1)}
	if !validName(name) {
		k.errorf("kernel name %q is not a PTX identifier", name)
	}
	for _, o := range m.kernels {
		if o.name == name {
			k.errorf("second kernel of the name %q", name)
		}
	}
	m.kernels = append(m.kernels, k)
	return k
}

// require notes what an instruction needs and reports whether it is legal.
func (k *Kernel) require(what string, n need) bool {
	if !k.m.target.Has(n.target) {
		k.errorf("%s needs the target %s; this module is for %s", what, n.target, k.m.target)
		return false
	}
	if k.m.pinned != 0 && n.isa > k.m.pinned {
		k.errorf("%s needs PTX ISA %s; this module is pinned to %s", what, n.isa, k.m.pinned)
		return false
	}
	k.m.isa = max(k.m.isa, n.isa)
	return true
}

func validName(s string) bool {
	for i, c := range []byte(s) {
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '_' || c == '$'
		if !letter && (i == 0 || c < '0' || c > '9') {
			return false
		}
	}
	return s != "" && s != "_"
}

func (k *Kernel) sharedVar(name string, align, bytes int) Shared {
	if !validName(name) {
		k.errorf("name %q of a shared array is not a PTX identifier", name)
	}
	if align <= 0 || align&(align-1) != 0 || align > 1<<16 {
		k.errorf("alignment %d of %s is not a power of two up to 65536", align, name)
		align = 1
	}
	v := &sharedVar{name: name, align: align, bytes: bytes}
	for _, list := range [][]*sharedVar{k.m.shared, k.shared} {
		for _, o := range list {
			switch {
			case o.name != name:
			case o.bytes == 0 && bytes == 0:
				o.align = max(o.align, align)
				return Shared{k, name}
			default:
				k.errorf("second shared array of the name %s", name)
			}
		}
	}
	if bytes == 0 {
		k.m.shared = append(k.m.shared, v)
	} else {
		k.shared = append(k.shared, v)
	}
	return Shared{k, name}
}

// DynamicShared declares the dynamically sized shared array of the launch
// (.extern .shared), aligned to align bytes. Kernels of a module may share the
// name.
func (k *Kernel) DynamicShared(name string, align int) Shared { return k.sharedVar(name, align, 0) }

// StaticShared declares a shared array of a fixed size in bytes.
func (k *Kernel) StaticShared(name string, align, bytes int) Shared {
	if bytes <= 0 {
		k.errorf("shared array %s of %d bytes", name, bytes)
		bytes = 1
	}
	return k.sharedVar(name, align, bytes)
}

// Shared is a shared-memory array.
type Shared struct {
	k    *Kernel
	name string
}

// Name is the array's name in the text.
func (s Shared) Name() string { return s.name }

// Param is a kernel parameter.
type Param struct {
	k    *Kernel
	name string
	typ  Type // 0 for a tensor map
}

// Name is the parameter's name in the text.
func (p Param) Name() string { return p.name }

// TensorMapBytes is the size of a tensor map parameter (CUtensorMap).
const TensorMapBytes = 128

func (k *Kernel) param(name string, t Type) Param {
	if !validName(name) {
		k.errorf("parameter name %q is not a PTX identifier", name)
	}
	for _, p := range k.params {
		if p.name == name {
			k.errorf("second parameter of the name %s", name)
		}
	}
	p := Param{k, name, t}
	k.params = append(k.params, p)
	return p
}

// ParamTensorMap adds a parameter that is a tensor map, by value.
func (k *Kernel) ParamTensorMap(name string) Param {
	k.require("a tensor map parameter", hopper)
	return k.param(name, 0)
}

// ParamU64 adds a parameter of 64 bits, such as a device pointer.
func (k *Kernel) ParamU64(name string) Param { return k.param(name, U64) }

// ParamU32 adds a parameter of 32 bits.
func (k *Kernel) ParamU32(name string) Param { return k.param(name, U32) }

// ParamF32 adds a float parameter.
func (k *Kernel) ParamF32(name string) Param { return k.param(name, F32) }

// Threads sets the block's size (.reqntid): up to three dimensions, 1024
// threads.
func (k *Kernel) Threads(dims ...int) {
	if d, ok := k.dims3("Threads", dims, 1024); ok {
		k.threads = d
	}
}

// Cluster sets the cluster's size in blocks (.explicitcluster and
// .reqnctapercluster): up to 8 in all.
func (k *Kernel) Cluster(dims ...int) {
	if !k.require(".reqnctapercluster", hopper) {
		return
	}
	if d, ok := k.dims3("Cluster", dims, 8); ok {
		k.cluster = d
	}
}

func (k *Kernel) dims3(what string, dims []int, limit int) ([3]int, bool) {
	d, n := [3]int{1, 1, 1}, 1
	if len(dims) < 1 || len(dims) > 3 {
		k.errorf("%s takes one to three dimensions, not %d", what, len(dims))
		return d, false
	}
	for i, v := range dims {
		if v < 1 || v > limit {
			k.errorf("%s%v: each dimension is in 1..%d", what, dims, limit)
			return d, false
		}
		d[i], n = v, n*v
	}
	if n > limit {
		k.errorf("%s%v is %d in all, more than %d", what, dims, n, limit)
		return d, false
	}
	return d, true
}

// MinCTAs sets .minnctapersm, which with Threads fixes the registers a thread
// has at entry (setmaxnreg needs that).
func (k *Kernel) MinCTAs(n int) {
	if n < 1 || n > 32 {
		k.errorf("MinCTAs(%d): want 1..32", n)
		return
	}
	k.minCTAs = n
}

// MaxRegs sets .maxnreg: registers a thread.
func (k *Kernel) MaxRegs(n int) {
	if n < 16 || n > 255 {
		k.errorf("MaxRegs(%d): want 16..255", n)
		return
	}
	k.maxRegs = n
}

// LoadParam is the value of a scalar parameter, read once at the kernel's
// entry.
func (k *Kernel) LoadParam(p Param) Reg {
	if p.typ == 0 || p.k != k {
		k.errorf("LoadParam(%s): not a scalar parameter of the kernel %s", p.name, k.name)
		return k.poison(U64)
	}
	return k.atEntry("param "+p.name, p.typ, func(r Reg) {
		k.emit(Reg{}, false, "ld.param."+p.typ.String(), r, AtParam(p, 0))
	})
}

// ParamAddr is the generic address of a parameter: of a tensor map, for
// TMACoord and prefetch.tensormap.
func (k *Kernel) ParamAddr(p Param) Reg {
	if p.k != k {
		k.errorf("ParamAddr(%s): not a parameter of the kernel %s", p.name, k.name)
		return k.poison(U64)
	}
	return k.atEntry("address "+p.name, U64, func(r Reg) {
		k.emit(Reg{}, false, "mov.b64", r, symbol(p.name))
		k.emit(Reg{}, false, "cvta.param.u64", r, r)
	})
}

// SharedAddr is the 32-bit shared-space address of an array.
func (k *Kernel) SharedAddr(s Shared) Reg {
	if s.k == nil || s.k.m != k.m {
		k.errorf("SharedAddr(%s): an array of another module", s.name)
		return k.poison(U32)
	}
	return k.atEntry("shared "+s.name, U32, func(r Reg) {
		k.emit(Reg{}, false, "mov.u32", r, symbol(s.name))
	})
}

type symbol string

// atEntry is the value that code computes, put at the kernel's entry (where it
// dominates every use) the first time it is asked for.
func (k *Kernel) atEntry(key string, t Type, code func(Reg)) Reg {
	if r, ok := k.cache[key]; ok {
		return r
	}
	body, depth, scope := k.code, k.scopes, k.pragma
	k.code, k.scopes, k.pragma = k.entry, k.scopes[:1], false
	r := k.newReg(t, regValue)
	k.inHelper++
	code(r)
	k.inHelper--
	k.entry = k.code
	k.code, k.scopes, k.pragma = body, depth, scope
	k.cache[key] = r
	return r
}

// special is a special register, read once at entry.
func (k *Kernel) special(name string, need need) Reg {
	if !k.require(name, need) {
		return k.poison(U32)
	}
	return k.atEntry(name, U32, func(r Reg) { k.emit(Reg{}, false, "mov.u32", r, Special(name)) })
}

// The special registers; each is read once, at the kernel's entry.
func (k *Kernel) TidX() Reg         { return k.special("%tid.x", any80) }
func (k *Kernel) TidY() Reg         { return k.special("%tid.y", any80) }
func (k *Kernel) NTidX() Reg        { return k.special("%ntid.x", any80) }
func (k *Kernel) CtaX() Reg         { return k.special("%ctaid.x", any80) }
func (k *Kernel) CtaY() Reg         { return k.special("%ctaid.y", any80) }
func (k *Kernel) CtaZ() Reg         { return k.special("%ctaid.z", any80) }
func (k *Kernel) NCtaX() Reg        { return k.special("%nctaid.x", any80) }
func (k *Kernel) NCtaY() Reg        { return k.special("%nctaid.y", any80) }
func (k *Kernel) NCtaZ() Reg        { return k.special("%nctaid.z", any80) }
func (k *Kernel) LaneID() Reg       { return k.special("%laneid", any80) }
func (k *Kernel) SMID() Reg         { return k.special("%smid", any80) }
func (k *Kernel) ClusterRank() Reg  { return k.special("%cluster_ctarank", hopper) }
func (k *Kernel) ClusterX() Reg     { return k.special("%clusterid.x", hopper) }
func (k *Kernel) ClusterY() Reg     { return k.special("%clusterid.y", hopper) }
func (k *Kernel) NClusterX() Reg    { return k.special("%nclusterid.x", hopper) }
func (k *Kernel) ClusterCtaX() Reg  { return k.special("%cluster_ctaid.x", hopper) }
func (k *Kernel) ClusterNCtas() Reg { return k.special("%cluster_nctarank", hopper) }
func (k *Kernel) DynamicBytes() Reg { return k.special("%dynamic_smem_size", any80) }

// Clock64 reads the cycle counter here (each call is a new read).
func (k *Kernel) Clock64() Reg { return k.readNow("%clock64", U64) }

// GlobalTimer reads the nanosecond timer here (each call is a new read).
func (k *Kernel) GlobalTimer() Reg { return k.readNow("%globaltimer", U64) }

func (k *Kernel) readNow(name string, t Type) Reg {
	return k.value(t, func(r Reg) { k.emit(Reg{}, false, fmt.Sprintf("mov.%s", t), r, Special(name)) })
}
