package ptx

import "strings"

// Loads, stores, reductions and atomics. The spaces differ in the address
// operand and in the qualifiers that they take; the types and vectors are one
// list.

type vecType struct{ vec, typ, sig string }

func vecTypes() []vecType {
	var out []vecType
	for _, t := range []string{"b8", "u8", "s8", "b16", "u16", "s16", "b32", "u32", "s32", "f32", "b64", "u64", "s64", "f64"} {
		ty, _ := typeByName(t)
		out = append(out, vecType{"", t, t + "<"}, vecType{".v2", t, t + "*2<"})
		if ty.Bits() <= 32 {
			out = append(out, vecType{".v4", t, t + "*4<"})
		}
	}
	return out
}

func memoryFamilies() []family {
	var fs []family
	add := func(form, sig string, n need) { fs = append(fs, family{form, sig, n}) }
	for _, v := range vecTypes() {
		tail := v.vec + "." + v.typ
		dst, src := "="+v.sig, v.sig
		// Generic and the near spaces.
		add("ld{,.volatile,.relaxed.cta,.relaxed.gpu,.acquire.cta,.acquire.gpu,.acquire.sys}"+tail, dst+" [g]", any80)
		add("st{,.volatile,.relaxed.cta,.relaxed.gpu,.release.cta,.release.gpu,.release.sys}"+tail, "[g] "+src, any80)
		add("ld{,.volatile}.shared{,::cta}"+tail, dst+" [s]", isa(78, 80))
		add("st{,.volatile}.shared{,::cta}"+tail, "[s] "+src, isa(78, 80))
		add("ld{,.relaxed.cluster,.acquire.cluster}.shared::cluster"+tail, dst+" [s]", hopper)
		add("st{,.relaxed.cluster,.release.cluster}.shared::cluster"+tail, "[s] "+src, hopper)
		add("ld.param"+tail, dst+" [p]", any80)
		// Global memory, with cache operators, eviction priorities and hints.
		add("ld.global{,.ca,.cg,.cs,.cv}{,.L2::64B,.L2::128B,.L2::256B}"+tail, dst+" [g]", isa(74, 80))
		add("ld.global{.ca,.cg,.cs}.nc{,.L2::128B,.L2::256B}"+tail, dst+" [g]", isa(74, 80))
		add("ld.global{,.nc}{.L1::no_allocate,.L1::evict_first,.L1::evict_last,.L1::evict_normal,.L1::evict_unchanged}{,.L2::128B,.L2::256B}"+tail, dst+" [g]", isa(74, 80))
		add("ld.global.nc{,.L2::64B,.L2::128B,.L2::256B}"+tail, dst+" [g]", isa(74, 80))
		add("ld.global{,.nc}{,.L1::no_allocate,.L1::evict_last}.L2::cache_hint{,.L2::128B,.L2::256B}"+tail, dst+" [g] b64!", isa(74, 80))
		add("ld{.volatile,.relaxed.gpu,.acquire.gpu,.acquire.sys}.global"+tail, dst+" [g]", any80)
		add("st.global{,.wb,.cg,.cs,.wt,.L1::no_allocate,.L1::evict_first,.L1::evict_last}"+tail, "[g] "+src, isa(74, 80))
		add("st.global{,.L1::no_allocate}.L2::cache_hint"+tail, "[g] "+src+" b64!", isa(74, 80))
		add("st{.volatile,.relaxed.gpu,.release.gpu,.release.sys}.global"+tail, "[g] "+src, any80)
	}
	// Scalar reductions and atomics; the scopes default to gpu.
	ops := []struct{ op, types string }{
		{"add", "u32,s32,u64,f32,f64"},
		{"{min,max}", "u32,s32,u64,s64"},
		{"{and,or,xor}", "b32,b64"},
		{"{inc,dec}", "u32"},
	}
	spaces := []struct {
		space, addr string
		need        need
	}{
		{"{,.relaxed.gpu,.relaxed.cta,.release.gpu,.acq_rel.gpu}", "[g]", any80},
		{"{,.relaxed.gpu,.relaxed.cta,.release.gpu}.global", "[g]", any80},
		{"{,.relaxed.cta}.shared{,::cta}", "[s]", isa(78, 80)},
		{"{,.relaxed.cluster}.shared::cluster", "[s]", hopper},
	}
	for _, s := range spaces {
		for _, o := range ops {
			for _, t := range strings.Split(o.types, ",") {
				tail := s.space + "." + o.op + "." + t
				add("atom"+tail, "="+t+" "+s.addr+" "+t, s.need)
				if !strings.Contains(o.op, "inc") {
					add("red"+strings.ReplaceAll(tail, ",.acq_rel.gpu", ""), s.addr+" "+t, s.need)
				}
			}
		}
		for _, t := range []string{"b32", "b64"} {
			add("atom"+s.space+".exch."+t, "="+t+" "+s.addr+" "+t, s.need)
			add("atom"+s.space+".cas."+t, "="+t+" "+s.addr+" "+t+" "+t, s.need)
		}
	}
	fs = append(fs, []family{
		{"red{,.relaxed.gpu}.global.add.noftz.{f16,f16x2}", "[g] $2!", any80},
		{"red{,.relaxed.gpu}.global.add.noftz.{bf16,bf16x2}", "[g] $2!", isa(78, 90)},
		{"red{,.relaxed.gpu}.global.add.v2.f32", "[g] f32*2", need{81, SM90()}},
		{"red{,.relaxed.gpu}.global.add.v4.f32", "[g] f32*4", need{81, SM90()}},
		{"red.global.add.noftz.v4.{f16x2,bf16x2}", "[g] $1*4", need{81, SM90()}},
		{"red.global.add.noftz.v2.{f16x2,bf16x2}", "[g] $1*2", need{81, SM90()}},
		{"red.async.relaxed.cluster.shared::cluster.mbarrier::complete_tx::bytes.{add.u32,add.s32,min.u32,max.u32}", "[s] b32 [s]", need{81, SM90()}},
		{"st.async.shared::cluster.mbarrier::complete_tx::bytes.{b32,u32,s32,f32,b64,u64,s64,f64}", "[s] $1 [s]", need{81, SM90()}},
		{"st.async.shared::cluster.mbarrier::complete_tx::bytes.v2.{b32,u32,s32,f32,b64,u64,s64,f64}", "[s] $1*2 [s]", need{81, SM90()}},
		{"st.async.shared::cluster.mbarrier::complete_tx::bytes.v4.{b32,u32,s32,f32}", "[s] $1*4 [s]", need{81, SM90()}},
		{"prefetch.global.{L1,L2}", "[g]", any80},
		{"prefetch.global.L2::{evict_last,evict_normal}", "[g]", isa(74, 80)},
		{"prefetch.tensormap", "[g]", hopper},
		{"discard.global.L2", "[g] #128", isa(74, 80)},
		{"applypriority.global.L2::evict_normal", "[g] #128", isa(74, 80)},
		{"createpolicy.fractional.{L2::evict_last,L2::evict_first,L2::evict_normal,L2::evict_unchanged}.b64", "=b64 / =b64 f32", isa(74, 80)},
		{"createpolicy.range.global.{L2::evict_last,L2::evict_first,L2::evict_normal}.L2::evict_unchanged.b64", "=b64 [g] u32 u32", isa(74, 80)},
	}...)
	return fs
}
