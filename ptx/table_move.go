package ptx

import "fmt"

// Moves, packing and conversions.

func moveFamilies() []family {
	return []family{
		{"mov.{b16,u16,s16,b32,u32,s32,f32,b64,u64,s64,f64}", "=$1 $1", any80},
		{"mov.pred", "=pred pred!", any80},
		{"mov.b32", "=b32 b16*2 / =b16*2 b32!", any80},
		{"mov.b64", "=b64 b32*2 / =b32*2 b64! / =b64 b16*4 / =b16*4 b64!", any80},
		{"cvta{,.to}.{global,shared,local,const}.u64", "=u64 u64!", any80},
		{"cvta.param.u64", "=u64 u64!", isa(77, 80)},
		{"isspacep.{global,shared,local,const}", "=pred u64!", any80},
		{"mapa{,.shared::cluster}.u64", "=u64 u64! u32", hopper},
		{"mapa.shared::cluster.u32", "=u32 u32! u32", hopper},
		{"getctarank.shared::cluster.u32", "=u32 u32!", hopper},
		{"getctarank{,.shared::cluster}.u64", "=u32 u64!", hopper},
	}
}

func convertFamilies() []family {
	fs := []family{
		{"cvt.{u8,s8,u16,s16,u32,s32,u64,s64}.{u8,s8,u16,s16,u32,s32,u64,s64}", "=$1< $2<!", any80},
		{"cvt.{rn,rz,rm,rp}.{f32,f64}.{u8,s8,u16,s16,u32,s32,u64,s64}", "=$2 $3<!", any80},
		{"cvt.{rni,rzi,rmi,rpi}{,.ftz}{,.sat}.{u8,s8,u16,s16,u32,s32,u64,s64}.f32", "=$4< f32!", any80},
		{"cvt.{rni,rzi,rmi,rpi}.{s32,u32,s64,u64}.f64", "=$2 f64!", any80},
		{"cvt.{rni,rzi}.{u16,s16,u32,s32,u64,s64}.f16", "=$2 f16!", any80},
		{"cvt.{rni,rzi}.{u16,s16,u32,s32,u64,s64}.bf16", "=$2 bf16!", isa(78, 90)},
		{"cvt.rn.f16.{u8,s8,u16,s16,u32,s32,u64,s64}", "=f16 $1<!", any80},
		{"cvt.f64.f16", "=f64 f16!", any80},
		{"cvt.rn.f16.f64", "=f16 f64!", any80},
		{"cvt.f64.bf16", "=f64 bf16!", isa(78, 90)},
		{"cvt.rn.bf16.f64", "=bf16 f64!", isa(78, 90)},
		{"cvt.rn.bf16.{u16,s16,u32,s32}", "=bf16 $1<!", isa(78, 90)},
		{"cvt.{rni,rzi,rmi,rpi}{,.ftz}{,.sat}.f32.f32", "=f32 f32!", any80},
		{"cvt.f64.f32", "=f64 f32!", any80},
		{"cvt.{rn,rz}.f32.f64", "=f32 f64!", any80},
		{"cvt{,.ftz}.f32.f16", "=f32 f16!", any80},
		{"cvt{,.ftz}.f32.bf16", "=f32 bf16!", isa(78, 90)},
		{"cvt.{rn,rz}{,.ftz}{,.sat}.f16.f32", "=f16 f32!", any80},
		{"cvt.{rn,rz}{,.relu}.{f16,bf16}.f32", "=$3 f32!", any80},
		{"cvt.{rn,rz}{,.relu}.{f16x2,bf16x2}.f32", "=$3 f32! f32!", any80},
		{"cvt.rna.tf32.f32", "=b32 f32!", any80},
		{"cvt.rn.satfinite{,.relu}.{e4m3x2,e5m2x2}.f32", "=$2 f32! f32!", fp8},
		{"cvt.rn.satfinite{,.relu}.{e4m3x2,e5m2x2}.f16x2", "=$2 f16x2!", fp8},
		{"cvt.rn{,.relu}.f16x2.{e4m3x2,e5m2x2}", "=f16x2 $2!", fp8},
		{"cvt.pack.sat.{s16,u16}.s32", "=b32 s32 s32", any80},
		{"cvt.pack.sat.{s8,u8}.s32.b32", "=b32 s32 s32 b32", any80},
	}
	// .sat is legal only where the result's range does not hold the source's.
	ints := []Type{U8, S8, U16, S16, U32, S32, U64, S64}
	for _, d := range ints {
		for _, s := range ints {
			if d.Bits() < s.Bits() || s.isSigned() && !d.isSigned() || d.Bits() == s.Bits() && d.isSigned() != s.isSigned() {
				fs = append(fs, family{fmt.Sprintf("cvt.sat.%s.%s", d, s), fmt.Sprintf("=%s< %s<!", d, s), any80})
			}
		}
	}
	return fs
}
