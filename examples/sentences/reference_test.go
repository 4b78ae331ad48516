package main

import (
	"context"
	"fmt"
	"math"
	"path/filepath"

	"github.com/sparsegen/sparsegen/internal/weights"
)

// product is one matrix product of the network as the model's file names it:
// y = activation(x W + bias).
type product struct {
	layer        string // the layer of use.sg that it belongs to
	kernel, bias string // tensors: [..., in, out] and [out]
	in, out      int
	activation   func(float64) float64 // nil for none
	pruned       bool                  // the matrix of a feed-forward part
}

// products lists the network's products with a weight matrix, in the order in
// which they run. The attention's products of queries with keys and of weights
// with values have no weight matrix.
func products() []product {
	const (
		stack0 = folded + "TransformerStack/Layer_0/TransformerLayer/"
		stack1 = folded + "TransformerStack/Layer_1/TransformerLayer/"
		const0 = folded + "Layer_0/TransformerLayer/"
		const1 = folded + "Layer_1/TransformerLayer/"
		var0   = variable + "Layer_0/TransformerLayer/MultiheadAttention/"
		var1   = variable + "Layer_1/TransformerLayer/MultiheadAttention/"
		concat = "/ConcatPartitions/concat"
		hidden = 3 * width
	)
	relu := func(v float64) float64 { return max(v, 0) }
	return []product{
		{"widen0", const0 + "dense/kernel" + concat, const0 + "dense/bias" + concat, embedWidth, width, nil, false},
		{"qkv0", var0 + "qkv_transform_single/kernel/part_0", const0 + "MultiheadAttention/qkv_transform_single/bias" + concat, embedWidth, 3 * embedWidth, nil, false},
		{"merge0", var0 + "output_transform_single/kernel/part_0", const0 + "MultiheadAttention/output_transform_single/bias" + concat, embedWidth, width, nil, false},
		{"ffn0", stack0 + "FFN/conv1/Tensordot/Reshape_1", const0 + "FFN/conv1/bias" + concat, width, hidden, relu, true},
		{"ffn0", stack0 + "FFN/conv2/Tensordot/Reshape_1", const0 + "FFN/conv2/bias" + concat, hidden, width, nil, true},
		{"qkv1", var1 + "qkv_transform_single/kernel/part_0", const1 + "MultiheadAttention/qkv_transform_single/bias" + concat, width, 3 * width, nil, false},
		{"merge1", var1 + "output_transform_single/kernel/part_0", const1 + "MultiheadAttention/output_transform_single/bias" + concat, width, width, nil, false},
		{"ffn1", stack1 + "FFN/conv1/Tensordot/Reshape_1", const1 + "FFN/conv1/bias" + concat, width, hidden, relu, true},
		{"ffn1", stack1 + "FFN/conv2/Tensordot/Reshape_1", const1 + "FFN/conv2/bias" + concat, hidden, width, nil, true},
		{"sentence", "module/Encoder_en/hidden_layers/tanh_layer_0/weights", "module/Encoder_en/hidden_layers/tanh_layer_0/bias", width, width, math.Tanh, false},
	}
}

// Reference runs the layers of use.sg in plain Go, on every machine and slowly:
// each output is a float64 sum over the inputs in ascending order, rounded once.
// It is what the generated kernels are compared with.
type Reference struct {
	layers map[string][]linear
}

// linear is a product with its weights, w [out, in].
type linear struct {
	product
	w, b []float32
}

// NewReference reads the matrices from a model's folder. Where prune is not nil
// it sets weights of the feed-forward parts to zero: w is [out, in], row-major.
func NewReference(dir string, prune func(w []float32, in int) error) (*Reference, error) {
	file, err := weights.Open(filepath.Join(dir, "model.json"))
	if err != nil {
		return nil, err
	}
	defer file.Close()
	r := &Reference{layers: make(map[string][]linear)}
	for _, p := range products() {
		view, w, err := file.Matrix(p.kernel, weights.InOut)
		if err != nil {
			return nil, err
		}
		if view.Rows != p.out || view.Cols != p.in {
			return nil, fmt.Errorf("%s: tensor %q is a matrix [in %d, out %d], want [in %d, out %d]", file.Path, p.kernel, view.Cols, view.Rows, p.in, p.out)
		}
		b, err := file.Float32(p.bias)
		if err != nil {
			return nil, err
		}
		if len(b) != p.out {
			return nil, fmt.Errorf("%s: tensor %q has %d values, want %d", file.Path, p.bias, len(b), p.out)
		}
		if p.pruned && prune != nil {
			if err := prune(w, p.in); err != nil {
				return nil, fmt.Errorf("prune %q: %w", p.kernel, err)
			}
		}
		r.layers[p.layer] = append(r.layers[p.layer], linear{p, w, b})
	}
	return r, nil
}

// Run computes a layer; see [Layers].
func (r *Reference) Run(ctx context.Context, layer string, x []float32, t int, y []float32) error {
	chain, ok := r.layers[layer]
	if !ok {
		return fmt.Errorf("no layer %q", layer)
	}
	if in, out := chain[0].in, chain[len(chain)-1].out; len(x) != t*in || len(y) != t*out {
		return fmt.Errorf("operands of %d and %d values, want [%d, %d] and [%d, %d]", len(x), len(y), t, in, t, out)
	}
	for i, l := range chain {
		out := y
		if i < len(chain)-1 {
			out = make([]float32, t*l.out)
		}
		for row := range t {
			if err := ctx.Err(); err != nil {
				return err
			}
			l.apply(out[row*l.out:(row+1)*l.out], x[row*l.in:(row+1)*l.in])
		}
		x = out
	}
	return nil
}

func (l linear) apply(y, x []float32) {
	for o := range y {
		sum := float64(l.b[o])
		for i, w := range l.w[o*l.in : (o+1)*l.in] {
			sum += float64(w) * float64(x[i])
		}
		if l.activation != nil {
			sum = l.activation(sum)
		}
		y[o] = float32(sum)
	}
}
