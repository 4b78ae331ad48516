package patterns

import "strings"

// kind is what the rest of the package must know of one pattern.
type kind struct {
	name  string // as written; an operator for a combinator
	usage string
	parse func(c *call) Pattern
	// propose lists candidates for a matrix with zeros, of which Detect keeps
	// those that fit; nil where there are none to look for.
	propose func(p *profile) []Pattern
}

// kinds is the table of patterns, the most structured first: Detect prefers
// fits in this order. It is a function because the rows reach build, which
// reaches the table.
func kinds() []kind {
	return []kind{
		{"stripe", "stripe(A:B,...)", parseStripe, proposeStripe},
		{"channel", "channel(rows|cols[,sparsity=S])", parseChannel, proposeChannel},
		{"diag", "diag(O,...[,width=W])", parseDiag, proposeDiag},
		{"block", "block(R,C[,sparsity=S])", parseBlock, proposeBlock},
		{"nm", "nm(N,M)", parseNM, proposeNM},
		{"unstructured", "unstructured[(sparsity=S)]", parseUnstructured, proposeUnstructured},
		{"dense", "dense", parseDense, nil},
		{"perm", "perm(P,rows|cols,I0,I1,...) or perm(P,rows|cols,seed=S)", parsePerm, nil},
		{"|", "A | B", parseUnion, nil},
		{"&", "A & B", parseIntersect, nil},
	}
}

// kindNames lists the names that a pattern may start with.
func kindNames() string {
	var names []string
	for _, k := range kinds() {
		if k.name != "|" && k.name != "&" {
			names = append(names, k.name)
		}
	}
	return strings.Join(names, ", ")
}

// build turns what was written into a pattern; it fails as the parser does.
func build(n *node) Pattern {
	for _, k := range kinds() {
		if k.name == n.name {
			c := &call{node: n, usage: k.usage}
			p := k.parse(c)
			c.done()
			return p
		}
	}
	fail(n.pos, "unknown pattern %q; there are %s", n.name, kindNames())
	return nil
}
