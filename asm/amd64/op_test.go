package amd64_test

import (
	"flag"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/tools/txtar"

	"github.com/sparsegen/sparsegen/asm"
	"github.com/sparsegen/sparsegen/asm/amd64"
)

var update = flag.Bool("update", false, "rewrite the golden files")

var machines = []asm.Machine{amd64.AVX2, amd64.AVX512}

// opNames are the constants of asm.Op, by value, as asm.go declares them.
func opNames(t *testing.T) []string {
	f, err := parser.ParseFile(token.NewFileSet(), "../asm.go", nil, parser.SkipObjectResolution)
	require.NoError(t, err)
	for _, d := range f.Decls {
		g, ok := d.(*ast.GenDecl)
		if !ok || g.Tok != token.CONST {
			continue
		}
		first := g.Specs[0].(*ast.ValueSpec)
		if typ, ok := first.Type.(*ast.Ident); !ok || typ.Name != "Op" {
			continue
		}
		names := []string{""}
		for _, s := range g.Specs {
			names = append(names, s.(*ast.ValueSpec).Names[0].Name)
		}
		return names
	}
	t.Fatal("asm.go declares no constants of type Op")
	return nil
}

// program is one op, with the registers that it takes.
type program struct {
	name string // names the case where an op has several
	op   asm.Op
	with func(b *asm.Builder, p *operands)
}

// operands are registers of distinct values, all of them still needed after the
// op.
type operands struct {
	i, j asm.Reg // int
	d    asm.Reg // vector, the destination
	a, b asm.Reg
	k    asm.Reg   // mask
	vs   []asm.Reg // vectors, in the number that program.vectors says
}

// vectors is how many further vectors p takes on m.
func (p program) vectors(m asm.Machine) int {
	switch {
	case p.op == asm.OpTranspose && p.name == "":
		return m.Lanes
	case p.op == asm.OpTranspose:
		return 3
	case strings.HasSuffix(p.name, "of one"):
		return 1
	case strings.HasSuffix(p.name, "of two"):
		return 2
	case strings.HasSuffix(p.name, "of four") || p.name == "64":
		return 4
	}
	return 0
}

func three(f func(b *asm.Builder) func(d, x, y asm.Reg)) func(*asm.Builder, *operands) {
	return func(b *asm.Builder, p *operands) { f(b)(p.d, p.a, p.b) }
}

// half is f with a destination that is half a vector.
func half(f func(b *asm.Builder, p *operands)) func(*asm.Builder, *operands) {
	return func(b *asm.Builder, p *operands) {
		h := *p
		h.d = b.Half()
		b.Load(h.d, asm.At(p.i, 0))
		f(b, &h)
		b.Store(asm.At(p.i, 0), h.d)
	}
}

// programs has every op; the golden files say what each machine makes of it.
var programs = []program{
	{"", asm.OpArg, func(b *asm.Builder, p *operands) { b.Arg("n") }},
	{"", asm.OpSetArg, func(b *asm.Builder, p *operands) { b.SetArg("n", p.i) }},
	{"unknown", asm.OpArg, func(b *asm.Builder, p *operands) { b.Arg("m") }},
	{"unknown", asm.OpSetArg, func(b *asm.Builder, p *operands) { b.SetArg("m", p.i) }},
	{"", asm.OpMovI, func(b *asm.Builder, p *operands) { b.MovI(p.i, -7) }},
	{"", asm.OpMov, func(b *asm.Builder, p *operands) { b.Mov(p.i, p.j) }},
	{"", asm.OpAdd, func(b *asm.Builder, p *operands) { b.Add(p.i, p.j) }},
	{"", asm.OpAddI, func(b *asm.Builder, p *operands) { b.AddI(p.i, 4096) }},
	{"", asm.OpSub, func(b *asm.Builder, p *operands) { b.Sub(p.i, p.j) }},
	{"", asm.OpMul, func(b *asm.Builder, p *operands) { b.Mul(p.i, p.j) }},
	{"", asm.OpMulI, func(b *asm.Builder, p *operands) { b.MulI(p.i, p.j, 48) }},
	{"", asm.OpShlI, func(b *asm.Builder, p *operands) { b.ShlI(p.i, 6) }},
	{"", asm.OpShrI, func(b *asm.Builder, p *operands) { b.ShrI(p.i, 3) }},
	{"", asm.OpPopcnt, func(b *asm.Builder, p *operands) { b.Popcnt(p.i, p.j) }},
	{"", asm.OpCountByte, func(b *asm.Builder, p *operands) { b.CountByte(p.i, p.j) }},
	{"", asm.OpLowBits, func(b *asm.Builder, p *operands) { b.LowBits(p.i, p.j, 4) }},
	{"", asm.OpMin, func(b *asm.Builder, p *operands) { b.Min(p.i, p.j) }},
	{"", asm.OpMax, func(b *asm.Builder, p *operands) { b.Max(p.i, p.j) }},
	{"1", asm.OpLoadU, func(b *asm.Builder, p *operands) { b.LoadU(p.i, 1, asm.At(p.j, 5)) }},
	{"2", asm.OpLoadU, func(b *asm.Builder, p *operands) { b.LoadU(p.i, 2, asm.At(p.j, 6)) }},
	{"4", asm.OpLoadU, func(b *asm.Builder, p *operands) { b.LoadU(p.i, 4, asm.Mem{Base: p.j, Index: p.i, Scale: 4}) }},
	{"8", asm.OpLoadU, func(b *asm.Builder, p *operands) { b.LoadU(p.i, 8, asm.At(p.j, 8)) }},
	{"3", asm.OpLoadU, func(b *asm.Builder, p *operands) { b.LoadU(p.i, 3, asm.At(p.j, 0)) }},
	{"", asm.OpLea, func(b *asm.Builder, p *operands) { b.Lea(p.i, asm.Mem{Base: p.j, Index: p.i, Scale: 8, Disp: 64}) }},
	{"", asm.OpLabel, func(b *asm.Builder, p *operands) { b.Jump("here"); b.Zero(p.d); b.Label("here") }},
	{"", asm.OpJump, func(b *asm.Builder, p *operands) { b.Label("here"); b.Jump("here") }},
	{"nowhere", asm.OpJump, func(b *asm.Builder, p *operands) { b.Jump("nowhere") }},
	{"", asm.OpJumpZ, func(b *asm.Builder, p *operands) { b.Label("here"); b.JumpZ(p.i, "here") }},
	{"", asm.OpJumpLE, func(b *asm.Builder, p *operands) { b.Label("here"); b.JumpLE(p.i, -1, "here") }},
	{"", asm.OpDecJump, func(b *asm.Builder, p *operands) { b.Label("here"); b.DecJump(p.i, "here") }},
	{"", asm.OpAddJump, func(b *asm.Builder, p *operands) { b.Label("again"); b.AddJump(p.i, 8, "again") }},
	{"", asm.OpPrefetch, func(b *asm.Builder, p *operands) { b.Prefetch(asm.At(p.i, 2048)) }},
	{"", asm.OpPrefetchFar, func(b *asm.Builder, p *operands) { b.PrefetchFar(asm.At(p.i, 65536)) }},
	{"", asm.OpZero, func(b *asm.Builder, p *operands) { b.Zero(p.d) }},
	{"", asm.OpVMov, func(b *asm.Builder, p *operands) { b.VMov(p.d, p.a) }},
	{"", asm.OpLoad, func(b *asm.Builder, p *operands) { b.Load(p.d, asm.At(p.i, 64)) }},
	{"", asm.OpLoadMask, func(b *asm.Builder, p *operands) { b.LoadMask(p.d, asm.At(p.i, 64), p.k) }},
	{"", asm.OpStore, func(b *asm.Builder, p *operands) { b.Store(asm.Mem{Base: p.i, Index: p.j, Scale: 1}, p.a) }},
	{"", asm.OpStoreMask, func(b *asm.Builder, p *operands) { b.StoreMask(asm.At(p.i, 0), p.a, p.k) }},
	{"", asm.OpBcast, func(b *asm.Builder, p *operands) { b.Bcast(p.d, asm.At(p.i, 4)) }},
	{"", asm.OpBcastArg, func(b *asm.Builder, p *operands) { b.BcastArg(p.d, "lo") }},
	{"unknown", asm.OpBcastArg, func(b *asm.Builder, p *operands) { b.BcastArg(p.d, "hi") }},
	{"0", asm.OpLaneOf4, func(b *asm.Builder, p *operands) { b.LaneOf4(p.d, p.a, 0) }},
	{"3", asm.OpLaneOf4, func(b *asm.Builder, p *operands) { b.LaneOf4(p.d, p.a, 3) }},
	{"2", asm.OpBcastN, func(b *asm.Builder, p *operands) { b.BcastN(p.d, 2, asm.At(p.i, 8)) }},
	{"4", asm.OpBcastN, func(b *asm.Builder, p *operands) { b.BcastN(p.d, 4, asm.At(p.i, 16)) }},
	{"8", asm.OpBcastN, func(b *asm.Builder, p *operands) { b.BcastN(p.d, 8, asm.At(p.i, 32)) }},
	{"16", asm.OpBcastN, func(b *asm.Builder, p *operands) { b.BcastN(p.d, 16, asm.At(p.i, 64)) }},
	{"3", asm.OpBcastN, func(b *asm.Builder, p *operands) { b.BcastN(p.d, 3, asm.At(p.i, 0)) }},
	{"", asm.OpBcastConst, func(b *asm.Builder, p *operands) { b.BcastConst(p.d, 0x3f800000) }},
	{"", asm.OpFMA, three(func(b *asm.Builder) func(d, x, y asm.Reg) { return b.FMA })},
	{"", asm.OpFMAMem, func(b *asm.Builder, p *operands) { b.FMAMem(p.d, p.a, asm.At(p.i, 32)) }},
	{"", asm.OpFMABcast, func(b *asm.Builder, p *operands) { b.FMABcast(p.d, p.a, asm.At(p.i, 4)) }},
	{"", asm.OpFMA213, three(func(b *asm.Builder) func(d, x, y asm.Reg) { return b.FMA213 })},
	{"", asm.OpVAdd, three(func(b *asm.Builder) func(d, x, y asm.Reg) { return b.VAdd })},
	{"", asm.OpVSub, three(func(b *asm.Builder) func(d, x, y asm.Reg) { return b.VSub })},
	{"", asm.OpVMul, three(func(b *asm.Builder) func(d, x, y asm.Reg) { return b.VMul })},
	{"", asm.OpVDiv, three(func(b *asm.Builder) func(d, x, y asm.Reg) { return b.VDiv })},
	{"", asm.OpVMax, three(func(b *asm.Builder) func(d, x, y asm.Reg) { return b.VMax })},
	{"", asm.OpVMin, three(func(b *asm.Builder) func(d, x, y asm.Reg) { return b.VMin })},
	{"", asm.OpVAddI32, three(func(b *asm.Builder) func(d, x, y asm.Reg) { return b.VAddI32 })},
	{"", asm.OpVSubI32, three(func(b *asm.Builder) func(d, x, y asm.Reg) { return b.VSubI32 })},
	{"", asm.OpVAnd, three(func(b *asm.Builder) func(d, x, y asm.Reg) { return b.VAnd })},
	{"", asm.OpVShlI, func(b *asm.Builder, p *operands) { b.VShlI(p.d, p.a, 23) }},
	{"", asm.OpVShrI, func(b *asm.Builder, p *operands) { b.VShrI(p.d, p.a, 2) }},
	{"", asm.OpVSarI, func(b *asm.Builder, p *operands) { b.VSarI(p.d, p.a, 1) }},
	{"", asm.OpMaskFirst, func(b *asm.Builder, p *operands) { b.MaskFirst(p.k, p.i) }},
	{"2", asm.OpSelect, func(b *asm.Builder, p *operands) { b.Select(p.d, p.a, []asm.Reg{p.b}, 2) }},
	{"4", asm.OpSelect, func(b *asm.Builder, p *operands) { b.Select(p.d, p.a, []asm.Reg{p.b}, 4) }},
	{"8", asm.OpSelect, func(b *asm.Builder, p *operands) { b.Select(p.d, p.a, []asm.Reg{p.b}, 8) }},
	{"16 of one", asm.OpSelect, func(b *asm.Builder, p *operands) { b.Select(p.d, p.a, p.vs, 16) }},
	{"16 of two", asm.OpSelect, func(b *asm.Builder, p *operands) { b.Select(p.d, p.a, p.vs, 16) }},
	{"32 of two", asm.OpSelect, func(b *asm.Builder, p *operands) { b.Select(p.d, p.a, p.vs, 32) }},
	{"32 of four", asm.OpSelect, func(b *asm.Builder, p *operands) { b.Select(p.d, p.a, p.vs, 32) }},
	{"64", asm.OpSelect, func(b *asm.Builder, p *operands) { b.Select(p.d, p.a, p.vs, 64) }},
	{"", asm.OpExpandInit, func(b *asm.Builder, p *operands) { b.ExpandInit(1) }},
	{"", asm.OpExpand, func(b *asm.Builder, p *operands) {
		b.Expand(b.ExpandInit(0), p.d, asm.At(p.i, 0), p.j)
	}},
	{"", asm.OpExpandByte, func(b *asm.Builder, p *operands) {
		b.ExpandByte(b.ExpandInit(4), p.d, asm.At(p.i, 16), p.j, 2)
	}},
	{"", asm.OpLoadAfter, func(b *asm.Builder, p *operands) { b.LoadAfter(p.d, p.a, asm.At(p.i, 4)) }},
	{"", asm.OpLoadLow, func(b *asm.Builder, p *operands) { b.LoadLow(p.d, asm.At(p.i, 4)) }},
	{"", asm.OpStoreLow, func(b *asm.Builder, p *operands) { b.StoreLow(asm.At(p.i, 4), p.a) }},
	{"", asm.OpInsertLow, func(b *asm.Builder, p *operands) { b.InsertLow(p.d, 3, asm.At(p.i, 4)) }},
	{"", asm.OpJoin, func(b *asm.Builder, p *operands) { b.Join(p.d, p.a, p.b) }},
	{"", asm.OpSumLow, func(b *asm.Builder, p *operands) { b.SumLow(p.d, p.a) }},
	{"", asm.OpByteInit, func(b *asm.Builder, p *operands) { b.ByteInit() }},
	{"0", asm.OpByte, func(b *asm.Builder, p *operands) { b.Byte(b.ByteInit(), p.i, p.j, 0) }},
	{"1", asm.OpByte, func(b *asm.Builder, p *operands) { b.Byte(b.ByteInit(), p.i, p.j, 1) }},
	{"", asm.OpTranspose, func(b *asm.Builder, p *operands) { b.Transpose(p.vs) }},
	{"half", asm.OpZero, half(func(b *asm.Builder, p *operands) { b.Zero(p.d) })},
	{"half", asm.OpVMov, half(func(b *asm.Builder, p *operands) { b.VMov(p.d, p.a) })},
	{"half", asm.OpLoad, half(func(b *asm.Builder, p *operands) { b.Load(p.d, asm.At(p.i, 64)) })},
	{"half", asm.OpStore, half(func(b *asm.Builder, p *operands) { b.Store(asm.At(p.i, 64), p.d) })},
	{"half", asm.OpBcast, half(func(b *asm.Builder, p *operands) { b.Bcast(p.d, asm.At(p.i, 4)) })},
	{"half", asm.OpFMA, half(func(b *asm.Builder, p *operands) { b.FMA(p.d, p.a, p.b) })},
	{"half", asm.OpFMAMem, half(func(b *asm.Builder, p *operands) { b.FMAMem(p.d, p.a, asm.At(p.i, 32)) })},
	{"half", asm.OpFMABcast, half(func(b *asm.Builder, p *operands) { b.FMABcast(p.d, p.a, asm.At(p.i, 4)) })},
	{"half", asm.OpVMax, half(func(b *asm.Builder, p *operands) { b.VMax(p.d, p.a, p.b) })},
	{"half", asm.OpVMin, half(func(b *asm.Builder, p *operands) { b.VMin(p.d, p.a, p.b) })},
	{"half", asm.OpVAdd, half(func(b *asm.Builder, p *operands) { b.VAdd(p.d, p.a, p.b) })},
	{"of too few", asm.OpTranspose, func(b *asm.Builder, p *operands) { b.Transpose(p.vs) }},
}

// oneOp records p as a function of its own, between comments.
func oneOp(m asm.Machine, p program) *asm.Func {
	b := asm.New("f", m, []asm.Arg{{Name: "x", Type: "*float32"}, {Name: "n", Type: "int"}, {Name: "lo", Type: "float32"}}, "f has one op.")
	o := &operands{i: b.Arg("x"), j: b.Arg("n")}
	vector := func() asm.Reg { v := b.Vec(); b.Load(v, asm.At(o.i, 0)); return v }
	if p.op != asm.OpTranspose { // which leaves few registers
		o.d, o.a, o.b, o.k = vector(), vector(), vector(), b.Mask()
		b.MaskFirst(o.k, o.j)
	}
	for range p.vectors(m) {
		o.vs = append(o.vs, vector())
	}
	b.Comment(before)
	p.with(b, o)
	b.Comment(after)
	b.SetArg("x", o.i)
	b.SetArg("n", o.j)
	for _, v := range append(o.vs, o.d, o.a, o.b) {
		if !v.IsZero() {
			b.Store(asm.At(o.i, 0), v)
		}
	}
	if !o.k.IsZero() {
		b.StoreMask(asm.At(o.i, 0), o.d, o.k)
	}
	return b.Func()
}

// Comments around the op in what oneOp records.
const before, after = "op", "end of op"

// lowered is the instructions of p for m, or the error.
func lowered(m asm.Machine, p program) string {
	text, stubs, err := amd64.Emit([]*asm.Func{oneOp(m, p)}, amd64.Options{Package: "p", Header: "Test."})
	if err != nil {
		// An error that avo found has a place in this program's source.
		return "error: " + regexp.MustCompile(`\w+\.go:\d+: `).ReplaceAllString(err.Error(), "") + "\n"
	}
	if !strings.Contains(string(stubs), "\nfunc f(x *float32, n int, lo float32)\n") {
		return "no declaration\n" + string(stubs)
	}
	_, body, _ := strings.Cut(string(text), "// "+before+"\n")
	body, _, _ = strings.Cut(body, "\t// "+after+"\n")
	return strings.Trim(body, "\n") + "\n"
}

// TestOps compares what each machine makes of each op with testdata.
func TestOps(t *testing.T) {
	names := opNames(t)
	covered := map[asm.Op]bool{}
	for _, p := range programs {
		covered[p.op] = true
		require.True(t, slices.ContainsFunc(oneOp(amd64.AVX2, p).Insts, func(i asm.Inst) bool { return i.Op == p.op }), "%s is not in its program", names[p.op])
	}
	covered[asm.OpAddLanes], covered[asm.OpAddVectors] = true, true // constants here: lengths are known
	for op, name := range names {
		require.True(t, op == 0 || covered[asm.Op(op)], "programs has no case for %s", name)
	}
	for _, m := range machines {
		t.Run(m.Name, func(t *testing.T) {
			now := &txtar.Archive{Comment: []byte("What " + m.Name + " makes of each op of package asm; written by go test ./asm/amd64 -update.\n")}
			for _, p := range programs {
				now.Files = append(now.Files, txtar.File{Name: strings.TrimSpace(names[p.op] + " " + p.name), Data: []byte(lowered(m, p))})
			}
			file := "testdata/ops_" + m.Name + ".txtar"
			if *update {
				require.NoError(t, os.WriteFile(file, txtar.Format(now), 0o666))
			}
			want, err := txtar.ParseFile(file)
			require.NoError(t, err)
			text := func(a *txtar.Archive) map[string]string {
				m := map[string]string{}
				for _, f := range a.Files {
					require.NotContains(t, m, f.Name)
					m[f.Name] = string(f.Data)
				}
				return m
			}
			require.Equal(t, text(want), text(now))
		})
	}
}
