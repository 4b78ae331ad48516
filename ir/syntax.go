package ir

// The syntax tree. Every node holds the byte offset At of its first character
// (for a binary expression: of the operator), which File.Pos turns into a line
// and a column. Two trees mean the same when they differ in At alone.

// File is a parsed spec.
type File struct {
	Path     string
	Header   Comments // of the line `sparsegen 1`
	Version  int
	Decls    []Decl
	Trailing []string // comments after the last declaration

	src  *source
	errs ErrorList // what could not be parsed, and is missing from the tree
}

// Comments are the comments that belong to a declaration or a statement.
type Comments struct {
	Above []string // comment lines before it; "" is an empty line
	After string   // comment at the end of its line, or ""
}

// Decl is one of *WeightsDecl, *LayerDecl and *TargetDecl.
type Decl interface{ comments() *Comments }

// WeightsDecl is `weights "file"`.
type WeightsDecl struct {
	Comments
	At   int
	File string
}

// LayerDecl is `layer name(inputs) (outputs) where ranges { body }`.
type LayerDecl struct {
	Comments
	At      int // of the name
	Name    string
	Inputs  []*Param
	Outputs []*Param
	Where   []*Range
	Body    Block

	bad bool // the header could not be parsed in full
}

// Block is a list of statements in braces.
type Block struct {
	Open     string // comment after the opening brace, or ""
	Stmts    []*Stmt
	Trailing []string // comments before the closing brace
	Close    string   // comment after the closing brace, or ""
}

// TargetDecl is `target arch(isa, ...), ...`.
type TargetDecl struct {
	Comments
	At      int
	Targets []*TargetSpec
}

// TargetSpec is one architecture with its instruction sets.
type TargetSpec struct {
	Arch Ident
	ISAs []Ident
}

// Param is a group of names with one type: `q, k, v bf16[b, 32, t, 128]`.
type Param struct {
	Names []Ident
	Type  Type
}

// Type is an element type with a shape.
type Type struct {
	DType Ident
	Shape []Expr // *Number or *Name
}

// Range is `t in 1..128`, both ends included.
type Range struct {
	Dim      Ident
	Min, Max *Number
}

// Ident is a name that is declared or that stands for itself.
type Ident struct {
	At   int
	Name string
}

// Stmt is `names = value`, a bare `value`, or either followed by a block:
// `at(step < 3) { ... }`.
type Stmt struct {
	Comments
	At    int
	Names []Ident
	Value Expr
	Body  *Block // nil without a block

	bad bool // it could not be parsed; Names and Value may be missing
}

// Expr is one of *Name, *Number, *String, *WeightRef, *ListRef, *Call, *Index,
// *Slice, *Field, *Unary, *Binary and *Seq.
type Expr interface{ at() int }

type (
	// Name refers to a value, an op, or a word that an op knows.
	Name struct {
		At   int
		Name string
	}
	// Number keeps the text as it is written.
	Number struct {
		At   int
		Text string
	}
	// String is a quoted string.
	String struct {
		At    int
		Value string
	}
	// WeightRef is w"name": a tensor of the weight file.
	WeightRef struct {
		At     int
		Tensor string
	}
	// ListRef is @name: an index list that arrives at run time.
	ListRef struct {
		At   int
		Name string
	}
	// Call is fun(args). Fun may be any value: softmax(0.5)(x).
	Call struct {
		At   int // of fun
		Fun  Expr
		Args []*Arg
	}
	// Index is x[i, a:b, ...]; the items may be *Slice.
	Index struct {
		At    int // of the bracket
		X     Expr
		Items []Expr
	}
	// Slice is lo:hi inside an index; either may be nil.
	Slice struct {
		At     int
		Lo, Hi Expr
	}
	// Field is x.name.
	Field struct {
		At   int // of the name
		X    Expr
		Name string
	}
	// Unary is -x.
	Unary struct {
		At int
		X  Expr
	}
	// Binary is x op y with op one of | & == != < <= > >= + - * /.
	Binary struct {
		At   int // of the operator
		Op   string
		X, Y Expr
	}
	// Seq is [a, b, ...].
	Seq struct {
		At    int
		Items []Expr
	}
)

// Arg is one argument of a call: `value`, `name=value`, each with an optional
// `: pattern`. The pattern extends to the comma or parenthesis that ends the
// argument, so a | in it joins patterns and is no pipe.
type Arg struct {
	Name    Ident // Name.Name is "" for a positional argument
	Value   Expr
	Pattern Expr // nil without a pattern

	patAt, patEnd int // the pattern's bytes in the source
}

func (c *Comments) comments() *Comments { return c }

func (e *Name) at() int      { return e.At }
func (e *Number) at() int    { return e.At }
func (e *String) at() int    { return e.At }
func (e *WeightRef) at() int { return e.At }
func (e *ListRef) at() int   { return e.At }
func (e *Call) at() int      { return e.At }
func (e *Index) at() int     { return e.At }
func (e *Slice) at() int     { return e.At }
func (e *Field) at() int     { return e.At }
func (e *Unary) at() int     { return e.At }
func (e *Binary) at() int    { return e.At }
func (e *Seq) at() int       { return e.At }

// Pos is the place of a byte offset of the file's source. A file that was not
// parsed has no source; its places are line 1, column 1.
func (f *File) Pos(at int) Pos {
	if f.src == nil {
		return Pos{File: f.Path, Line: 1, Col: 1}
	}
	return f.src.pos(at)
}
