package ptx

// Integer and floating-point arithmetic, comparisons and selection.

const (
	int16to64 = "{u16,s16,u32,s32,u64,s64}"
	int32to64 = "{u32,s32,u64,s64}"
)

var arithFamilies = []family{
	{"{add,sub}." + int16to64, "=$2 $2 $2", any80},
	{"{add,sub}.sat.s32", "=s32 s32 s32", any80},
	{"{add,sub}{,.cc}.{u32,s32,u64,s64}", "=$3 $3 $3", any80},
	{"{addc,subc}{,.cc}.{u32,s32,u64,s64}", "=$3 $3 $3", any80},
	{"mul.{lo,hi}." + int16to64, "=$2 $2 $2", any80},
	{"mul.wide.u16", "=u32 u16 u16", any80},
	{"mul.wide.s16", "=s32 s16 s16", any80},
	{"mul.wide.u32", "=u64 u32 u32", any80},
	{"mul.wide.s32", "=s64 s32 s32", any80},
	{"mad.{lo,hi}." + int16to64, "=$2 $2 $2 $2", any80},
	{"mad.wide.u16", "=u32 u16 u16 u32", any80},
	{"mad.wide.s16", "=s32 s16 s16 s32", any80},
	{"mad.wide.u32", "=u64 u32 u32 u64", any80},
	{"mad.wide.s32", "=s64 s32 s32 s64", any80},
	{"mul24.lo.{u32,s32}", "=$1 $1 $1", any80},
	{"mad24.lo.{u32,s32}", "=$1 $1 $1 $1", any80},
	{"{div,rem}." + int16to64, "=$2 $2 $2", any80},
	{"{min,max}." + int16to64, "=$2 $2 $2", any80},
	{"{abs,neg}.{s16,s32,s64}", "=$2 $2", any80},
	{"sad.{u16,s16,u32,s32,u64,s64}", "=$1 $1 $1 $1", any80},
	{"dp4a.u32.{u32,s32}", "=$1 b32 b32 $1", any80},
	{"dp4a.s32.{u32,s32}", "=s32 b32 b32 s32", any80},
	{"dp2a.{lo,hi}.{s32.s32,s32.u32,u32.s32}", "=s32 b32 b32 s32", any80},
	{"dp2a.{lo,hi}.u32.u32", "=u32 b32 b32 u32", any80},

	{"{add,sub,mul}{,.rn}{,.ftz}{,.sat}.f32", "=f32 f32 f32", any80},
	{"{add,sub,mul}{.rz,.rm,.rp}.f32", "=f32 f32 f32", any80},
	{"{add,sub,mul}{,.rn}.f64", "=f64 f64 f64", any80},
	{"fma.{rn,rz,rm,rp}{,.ftz}{,.sat}.f32", "=f32 f32 f32 f32", any80},
	{"fma.rn.f64", "=f64 f64 f64 f64", any80},
	{"div.{rn,full,approx}{,.ftz}.f32", "=f32 f32 f32", any80},
	{"div.rn.f64", "=f64 f64 f64", any80},
	{"{min,max}{,.ftz}{,.NaN}.f32", "=f32 f32 f32", any80},
	{"{min,max}.f64", "=f64 f64 f64", any80},
	{"{abs,neg}{,.ftz}.f32", "=f32 f32", any80},
	{"{abs,neg}.f64", "=f64 f64", any80},
	{"copysign.f32", "=f32 f32 f32", any80},
	{"testp.{finite,infinite,number,notanumber,normal,subnormal}.f32", "=pred f32", any80},

	{"setp.{eq,ne}.{b16,b32,b64}", "=pred|p $2 $2", any80},
	{"setp.{eq,ne,lt,le,gt,ge}." + int16to64, "=pred|p $2 $2", any80},
	{"setp.{lo,ls,hi,hs}.{u16,u32,u64}", "=pred|p $2 $2", any80},
	{"setp.{eq,ne,lt,le,gt,ge,equ,neu,ltu,leu,gtu,geu,num,nan}{,.ftz}.f32", "=pred|p f32 f32", any80},
	{"setp.{eq,ne,lt,le,gt,ge,equ,neu,ltu,leu,gtu,geu,num,nan}.f64", "=pred|p f64 f64", any80},
	{"setp.{eq,ne,lt,le,gt,ge}.{and,or,xor}." + int32to64, "=pred|p $3 $3 pred?", any80},
	{"setp.{eq,ne,lt,le,gt,ge}.{and,or,xor}{,.ftz}.f32", "=pred|p f32 f32 pred?", any80},
	{"setp.{eq,ne,lt,le,gt,ge}{,.ftz}.f16", "=pred f16! f16!", any80},
	{"setp.{eq,ne,lt,le,gt,ge}.bf16", "=pred bf16! bf16!", isa(78, 90)},
	{"set.{eq,ne,lt,le,gt,ge}.u32.{u32,s32}", "=u32 $2 $2", any80},
	{"set.{eq,ne,lt,le,gt,ge}.{u32,f32}.f32", "=$2 f32 f32", any80},
	{"selp.{b16,b32,b64,u16,s16,u32,s32,u64,s64,f32,f64}", "=$1 $1 $1 pred!", any80},
	{"slct.{b32,u32,s32,f32}.s32", "=$1 $1 $1 s32", any80},
}

// Half precision and the special functions.
var floatFamilies = []family{
	{"{add,sub,mul}{,.rn}{,.ftz}{,.sat}.{f16,f16x2}", "=$5 $5! $5!", any80},
	{"{add,sub,mul}{,.rn}.{bf16,bf16x2}", "=$3 $3! $3!", isa(78, 90)},
	{"fma.rn{,.ftz}{,.sat,.relu}.{f16,f16x2}", "=$3 $3! $3! $3!", any80},
	{"fma.rn{,.relu}.{bf16,bf16x2}", "=$2 $2! $2! $2!", any80},
	{"{min,max}{,.ftz}{,.NaN}.{f16,f16x2}", "=$4 $4! $4!", any80},
	{"{min,max}{,.NaN}.{bf16,bf16x2}", "=$3 $3! $3!", any80},
	{"{abs,neg}{,.ftz}.{f16,f16x2}", "=$3 $3!", any80},
	{"{abs,neg}.{bf16,bf16x2}", "=$2 $2!", any80},
	{"{ex2,rcp,sqrt,rsqrt,lg2,sin,cos}.approx{,.ftz}.f32", "=f32 f32", any80},
	{"{rcp,sqrt}.rn{,.ftz}.f32", "=f32 f32", any80},
	{"tanh.approx.f32", "=f32 f32", any80},
	{"tanh.approx.{f16,f16x2}", "=$1 $1!", any80},
	{"tanh.approx.{bf16,bf16x2}", "=$1 $1!", isa(78, 90)},
	{"ex2.approx.{f16,f16x2}", "=$1 $1!", any80},
	{"ex2.approx.ftz.{bf16,bf16x2}", "=$1 $1!", isa(78, 90)},
}

// Bits.
var bitFamilies = []family{
	{"{and,or,xor}.{b16,b32,b64}", "=$2 $2 $2", any80},
	{"{and,or,xor}.pred", "=pred pred! pred!", any80},
	{"not.{b16,b32,b64}", "=$1 $1", any80},
	{"not.pred", "=pred pred!", any80},
	{"cnot.{b16,b32,b64}", "=$1 $1", any80},
	{"shl.{b16,b32,b64}", "=$1 $1 u32", any80},
	{"shr.{b16,b32,b64,u16,s16,u32,s32,u64,s64}", "=$1 $1 u32", any80},
	{"shf.{l,r}.{wrap,clamp}.b32", "=b32 b32 b32 u32", any80},
	{"bfe.{u32,s32,u64,s64}", "=$1 $1 u32 u32", any80},
	{"bfi.{b32,b64}", "=$1 $1 $1 u32 u32", any80},
	{"bmsk.{clamp,wrap}.b32", "=b32 u32 u32", isa(76, 80)},
	{"szext.{clamp,wrap}.{u32,s32}", "=$2 $2 u32", isa(76, 80)},
	{"popc.{b32,b64}", "=u32 $1", any80},
	{"clz.{b32,b64}", "=u32 $1", any80},
	{"brev.{b32,b64}", "=$1 $1", any80},
	{"bfind{,.shiftamt}.{u32,s32,u64,s64}", "=u32 $2", any80},
	{"fns.b32", "=b32 b32 b32 s32", any80},
	{"lop3.b32", "=b32 b32 b32 b32 #0..255", any80},
	{"prmt.b32", "=b32 b32 b32 b32", any80},
	{"prmt.b32.{f4e,b4e,rc8,ecl,ecr,rc16}", "=b32 b32 b32 b32", any80},
}
