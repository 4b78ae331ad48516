package main

import (
	"fmt"
	"path/filepath"
	"slices"

	"github.com/sparsegen/sparsegen/internal/weights"
)

// Model is what the encoder needs of the model's files beside the matrices of
// its products: the tokenizer and the small vectors. It is immutable.
type Model struct {
	Tokenizer   *Tokenizer
	Embeddings  []float32 // [ids, 256]
	Frequencies []float32 // [128] of the timing signal, in radians a token
	Blocks      [2]Block
}

// Block is the part of a transformer block that is not a matrix product.
type Block struct {
	Width       int  // of the attention and its input
	Attention   Norm // [Width], in front of the attention
	FeedForward Norm // [512], in front of the feed-forward part
}

// Names of the model's tensors begin with one of these: constants that the
// converter to tf.js folded, and variables that it left alone.
const (
	folded   = "module_apply_default/Encoder_en/KonaTransformer/Encode/"
	variable = "module/Encoder_en/KonaTransformer/Encode/"
)

// ReadModel reads the model from a folder that holds model.json, its shards and
// vocab.json.
func ReadModel(dir string) (*Model, error) {
	tokenizer, err := ReadTokenizer(filepath.Join(dir, "vocab.json"))
	if err != nil {
		return nil, err
	}
	file, err := weights.Open(filepath.Join(dir, "model.json"))
	if err != nil {
		return nil, err
	}
	defer file.Close()

	m := &Model{Tokenizer: tokenizer}
	// vector reads a tensor of the given shape; after a fault it reads no more.
	vector := func(name string, shape ...int) []float32 {
		if err != nil {
			return nil
		}
		var info weights.Info
		if info, err = file.Tensor(name); err != nil {
			return nil
		}
		// Rows beyond the vocabulary are spare.
		fits := slices.Equal(info.Shape, shape) ||
			len(shape) == 2 && len(info.Shape) == 2 && info.Shape[0] >= shape[0] && info.Shape[1] == shape[1]
		if !fits {
			err = fmt.Errorf("%s: tensor %q has shape %v, want %v", file.Path, name, info.Shape, shape)
			return nil
		}
		var values []float32
		values, err = file.Float32(name)
		return values
	}
	layerNorm := func(prefix string, w int) Norm {
		prefix += "layer_prepostprocess/layer_norm/layer_norm_"
		return Norm{
			Scale: vector(prefix+"scale/ConcatPartitions/concat", w),
			Bias:  vector(prefix+"bias/ConcatPartitions/concat", w),
		}
	}

	m.Embeddings = vector("module/Embeddings_en", tokenizer.Size(), embedWidth)
	m.Frequencies = vector(folded+"TransformerStack/Layer_0/AddTimingSignal/TimingSignal/ExpandDims_1", 1, embedWidth/2)
	for b, w := range [2]int{embedWidth, width} {
		layer := fmt.Sprintf("%sLayer_%d/TransformerLayer/", folded, b)
		m.Blocks[b] = Block{
			Width:       w,
			Attention:   layerNorm(layer, w),
			FeedForward: layerNorm(layer+"FFN/", width),
		}
	}
	if err != nil {
		return nil, err
	}
	return m, nil
}
