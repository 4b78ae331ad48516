// Problems writes the tuner's test: a spec of single matrix products, with their
// weights, that `sparsegen tune --oracle` judges it by.
//
//	go run ./problems -dlmc DIR -model DIR -o DIR
//
// The products are those of a sentence encoder (a folder with its model.json), of
// transformers and of ResNet-50 as the Deep Learning Matrix Collection pruned them
// (Gale et al. 2020), and the 1×1 convolutions of MobileNet v1 (Howard et al. 2017,
// table 1). Where a source has no values they are random.
//
// It must not import codegen, autotune or runtime: the spec is all that it makes.
package main

import (
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"

	"github.com/sparsegen/sparsegen/internal/atomicfile"
	"github.com/sparsegen/sparsegen/internal/weights"
	"github.com/sparsegen/sparsegen/patterns"
)

func main() {
	dlmc := flag.String("dlmc", os.Getenv("SPARSEGEN_DLMC"), "`folder` of the Deep Learning Matrix Collection")
	model := flag.String("model", "", "`folder` of the sentence encoder's model.json")
	out := flag.String("o", "problems", "`folder` to write problems.sg and problems.safetensors to")
	flag.Parse()
	if err := write(*dlmc, *model, *out); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// set is the problems so far.
type set struct {
	layers  strings.Builder
	tensors []weights.Entry
	count   int
}

func write(dlmc, model, out string) error {
	s := &set{}
	for _, add := range []func() error{
		func() error { return s.encoder(model) },
		func() error { return s.transformers(filepath.Join(dlmc, "transformer")) },
		func() error { return s.resnet(filepath.Join(dlmc, "rn50")) },
		s.mobileNet,
	} {
		if err := add(); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(out, 0o777); err != nil {
		return err
	}
	if err := weights.WriteSafetensors(filepath.Join(out, "problems.safetensors"), s.tensors, nil); err != nil {
		return err
	}
	err := atomicfile.Write(filepath.Join(out, "problems.sg"), func(w io.Writer) error {
		_, err := fmt.Fprintf(w, "sparsegen 1\n\nweights \"problems.safetensors\"\n\n%starget amd64(avx2, avx512)\n", s.layers.String())
		return err
	})
	if err == nil {
		fmt.Printf("%d problems in %s\n", s.count, out)
	}
	return err
}

// add makes a problem of a matrix at each of some batches.
func (s *set) add(name, pattern string, m patterns.Matrix, featureMajor bool, batches ...int) {
	s.tensors = append(s.tensors, weights.Float32Entry(name, []int{m.Rows, m.Cols}, m.Data))
	axis := ""
	if featureMajor {
		axis = ", axis=0"
	}
	shape := func(n int) string {
		if featureMajor {
			return fmt.Sprintf("f32[%d, t]", n)
		}
		return fmt.Sprintf("f32[t, %d]", n)
	}
	for _, b := range batches {
		fmt.Fprintf(&s.layers, "layer %s_b%d(x %s) (y %s) where t in %d..%d {\n    y = linear(x, w%q : %s%s)\n}\n\n",
			name, b, shape(m.Cols), shape(m.Rows), b, b, name, pattern, axis)
		s.count++
	}
}

// encoder adds matrices of the sentence encoder: dense, and with what a pattern
// keeps of them.
func (s *set) encoder(dir string) error {
	const stack = "module_apply_default/Encoder_en/KonaTransformer/Encode/TransformerStack/Layer_0/TransformerLayer/FFN/"
	f, err := weights.Open(filepath.Join(dir, "model.json"))
	if err != nil {
		return err
	}
	defer f.Close()
	for _, c := range []struct {
		name, tensor string
		out, in      int
		pattern      string
	}{
		{"widen", "module_apply_default/Encoder_en/KonaTransformer/Encode/Layer_0/TransformerLayer/dense/kernel/ConcatPartitions/concat", 512, 256, "dense"},
		{"qkv", "module/Encoder_en/KonaTransformer/Encode/Layer_1/TransformerLayer/MultiheadAttention/qkv_transform_single/kernel/part_0", 1536, 512, "dense"},
		{"up24", stack + "conv1/Tensordot/Reshape_1", 1536, 512, "nm(2,4)"},
		{"down24", stack + "conv2/Tensordot/Reshape_1", 512, 1536, "nm(2,4)"},
		{"uphalf", stack + "conv1/Tensordot/Reshape_1", 1536, 512, "unstructured(sparsity=0.5)"},
		{"downhalf", stack + "conv2/Tensordot/Reshape_1", 512, 1536, "unstructured(sparsity=0.5)"},
	} {
		values, err := f.Float32(c.tensor)
		if err != nil {
			return err
		}
		p, err := patterns.Parse(c.pattern)
		if err != nil {
			return err
		}
		m := patterns.Matrix{Rows: c.out, Cols: c.in, Stride: c.in, Data: weights.View{Rows: c.out, Cols: c.in, Transposed: true}.Apply(values)}
		mask, err := p.Prune(m)
		if err != nil {
			return err
		}
		apply(m, mask.At)
		spec, _, _ := strings.Cut(c.pattern, "(sparsity")
		s.add("encoder_"+c.name, spec, m, false, 1, 8, 32, 128)
	}
	return nil
}

// transformers adds pruned matrices of a transformer at a token, some, and many.
func (s *set) transformers(dir string) error {
	for _, c := range [][2]string{
		{"q90", "magnitude_pruning/0.9/body_decoder_layer_0_self_attention_multihead_attention_q_fully_connected"},
		{"q70", "magnitude_pruning/0.7/body_decoder_layer_0_self_attention_multihead_attention_q_fully_connected"},
		{"up90", "magnitude_pruning/0.9/body_decoder_layer_0_ffn_conv1_fully_connected"},
		{"up70", "magnitude_pruning/0.7/body_decoder_layer_0_ffn_conv1_fully_connected"},
		{"down90", "magnitude_pruning/0.9/body_decoder_layer_0_ffn_conv2_fully_connected"},
		{"dropout90", "variational_dropout/0.9/body_encoder_layer_0_ffn_conv1"},
	} {
		m, err := topology(filepath.Join(dir, c[1]+".smtx"))
		if err != nil {
			return err
		}
		s.add("transformer_"+c[0], "unstructured", m, false, 1, 16, 256)
	}
	return nil
}

// resnet adds pruned matrices of ResNet-50 at their numbers of pixels.
func (s *set) resnet(dir string) error {
	for _, c := range []struct {
		name, file string
		pixels     int
	}{
		{"in3_90", "0.9/bottleneck_1_block_group3_1_1", 196},
		{"in3_80", "0.8/bottleneck_1_block_group3_1_1", 196},
		{"in4_90", "0.9/bottleneck_1_block_group4_1_1", 49},
		{"out4_90", "0.9/bottleneck_3_block_group4_1_1", 49},
		{"out4_80", "0.8/bottleneck_3_block_group4_1_1", 49},
		{"in2_80", "0.8/bottleneck_1_block_group2_1_1", 784},
		{"out3_80", "0.8/bottleneck_3_block_group3_1_1", 196},
		{"final_80", "0.8/final_dense", 1},
	} {
		m, err := topology(filepath.Join(dir, "magnitude_pruning", filepath.FromSlash(c.file)+".smtx"))
		if err != nil {
			return err
		}
		s.add("resnet_"+c.name, "unstructured", m, true, c.pixels)
	}
	return nil
}

// mobileNet adds the 1×1 convolutions from 64 channels up, dense and with a tenth
// of the weights.
func (s *set) mobileNet() error {
	for i, c := range [][3]int{ // in, out, pixels
		{64, 128, 3136}, {128, 128, 3136}, {128, 256, 784}, {256, 256, 784},
		{256, 512, 196}, {512, 512, 196}, {512, 1024, 49}, {1024, 1024, 49},
	} {
		m := random(c[1], c[0])
		s.add(fmt.Sprintf("mobilenet_%d_dense", i+1), "dense", m, true, c[2])
		m = random(c[1], c[0])
		rng := rand.New(rand.NewPCG(uint64(c[0]), uint64(c[1])))
		apply(m, func(int, int) bool { return rng.Float64() < 0.1 })
		s.add(fmt.Sprintf("mobilenet_%d_90", i+1), "unstructured", m, true, c[2])
	}
	return nil
}

// topology is a matrix of the collection with random values.
func topology(path string) (patterns.Matrix, error) {
	f, err := weights.Open(path)
	if err != nil {
		return patterns.Matrix{}, err
	}
	defer f.Close()
	name := f.Names()[0] // it has one
	t, err := f.Topology(name)
	if err != nil {
		return patterns.Matrix{}, err
	}
	ones, err := f.Ones(name)
	if err != nil {
		return patterns.Matrix{}, err
	}
	m := random(t.Rows, t.Cols)
	apply(m, func(r, c int) bool { return ones[r*t.Cols+c] != 0 })
	return m, nil
}

// random is a matrix of values of few digits, so that the file compresses well, none
// of them zero.
func random(rows, cols int) patterns.Matrix {
	rng := rand.New(rand.NewPCG(uint64(rows), uint64(cols)))
	m := patterns.NewMatrix(rows, cols)
	for i := range m.Data {
		m.Data[i] = float32(1+rng.IntN(15)) / 16 * float32(1-2*rng.IntN(2))
	}
	return m
}

// apply zeroes what is not kept.
func apply(m patterns.Matrix, kept func(r, c int) bool) {
	for r := range m.Rows {
		for c := range m.Cols {
			if !kept(r, c) {
				m.Data[r*m.Stride+c] = 0
			}
		}
	}
}
