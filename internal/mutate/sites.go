package main

import (
	"fmt"
	"go/ast"
	"go/build"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strconv"
)

// A site is a place in a source file and the mistake that is planted there.
type site struct {
	file       string // absolute
	pos        token.Position
	from, to   int // bytes of the file
	kind       string
	was, is    string
	in         string // the function
	importPath string
}

// sites finds every place for a mistake in the files of the package in dir.
func sites(dir string) ([]site, error) {
	p, err := build.ImportDir(dir, 0)
	if err != nil {
		return nil, err
	}
	var all []site
	for _, name := range p.GoFiles {
		path, err := filepath.Abs(filepath.Join(dir, name))
		if err != nil {
			return nil, err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		found, err := sitesOf(path, text)
		if err != nil {
			return nil, err
		}
		all = append(all, found...)
	}
	return all, nil
}

// operators are what each operator becomes.
var operators = map[token.Token][]token.Token{
	token.EQL: {token.NEQ}, token.NEQ: {token.EQL},
	token.LSS: {token.LEQ, token.GEQ}, token.LEQ: {token.LSS, token.GTR},
	token.GTR: {token.GEQ, token.LEQ}, token.GEQ: {token.GTR, token.LSS},
	token.LAND: {token.LOR}, token.LOR: {token.LAND},
	token.ADD: {token.SUB}, token.SUB: {token.ADD}, token.MUL: {token.QUO}, token.QUO: {token.MUL}, token.REM: {token.MUL},
	token.AND: {token.OR}, token.OR: {token.AND}, token.AND_NOT: {token.AND}, token.SHL: {token.SHR}, token.SHR: {token.SHL},
	token.ADD_ASSIGN: {token.SUB_ASSIGN}, token.SUB_ASSIGN: {token.ADD_ASSIGN}, token.MUL_ASSIGN: {token.QUO_ASSIGN},
	token.INC: {token.DEC}, token.DEC: {token.INC},
	token.BREAK: {token.CONTINUE}, token.CONTINUE: {token.BREAK},
}

// sitesOf finds those of one file.
func sitesOf(path string, text []byte) ([]site, error) {
	set := token.NewFileSet()
	file, err := parser.ParseFile(set, path, text, 0)
	if err != nil {
		return nil, err
	}
	var all []site
	function := ""
	add := func(kind string, pos, end token.Pos, is string) {
		from, to := set.Position(pos).Offset, set.Position(end).Offset
		all = append(all, site{file: path, pos: set.Position(pos), from: from, to: to, kind: kind, was: string(text[from:to]), is: is, in: function})
	}
	operator := func(kind string, pos token.Pos, op token.Token) {
		for _, other := range operators[op] {
			add(kind, pos, pos+token.Pos(len(op.String())), other.String())
		}
	}
	source := func(n ast.Node) string {
		return string(text[set.Position(n.Pos()).Offset:set.Position(n.End()).Offset])
	}
	condition := func(e ast.Expr) {
		if e != nil {
			add("condition", e.Pos(), e.End(), "!("+source(e)+")")
		}
	}
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.FuncDecl:
			function = n.Name.Name
		case *ast.GenDecl:
			return n.Tok == token.VAR || n.Tok == token.CONST
		case *ast.BinaryExpr:
			operator("operator", n.OpPos, n.Op)
		case *ast.IncDecStmt:
			operator("operator", n.TokPos, n.Tok)
			add("statement", n.Pos(), n.End(), "")
		case *ast.AssignStmt:
			operator("operator", n.TokPos, n.Tok)
			if n.Tok != token.DEFINE {
				add("statement", n.Pos(), n.End(), "")
			}
		case *ast.ExprStmt:
			add("statement", n.Pos(), n.End(), "")
		case *ast.BranchStmt:
			if n.Label == nil {
				operator("branch", n.Pos(), n.Tok)
			}
		case *ast.IfStmt:
			condition(n.Cond)
		case *ast.ForStmt:
			condition(n.Cond)
		case *ast.BasicLit:
			if n.Kind == token.INT {
				if v, err := strconv.ParseInt(n.Value, 0, 64); err == nil {
					add("constant", n.Pos(), n.End(), fmt.Sprint(v+1))
				}
			}
		case *ast.ReturnStmt:
			for _, r := range n.Results {
				name, ok := r.(*ast.Ident)
				switch {
				case ok && name.Name == "true":
					add("return", r.Pos(), r.End(), "false")
				case ok && name.Name == "false":
					add("return", r.Pos(), r.End(), "true")
				case ok && name.Name == "err":
					add("return", r.Pos(), r.End(), "nil")
				}
			}
		}
		return true
	})
	return all, nil
}
