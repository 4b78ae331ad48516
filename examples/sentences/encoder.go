package main

import (
	"context"
	"errors"
	"fmt"
	"math"
)

// Sizes of the network.
const (
	maxTokens  = 128  // what comes after is cut off
	embedWidth = 256  // an embedding, and the input of block 0
	width      = 512  // a block's output, and a sentence's embedding
	heads      = 4    // of each block's attention
	normEps    = 1e-6 // added to the variance
)

// Layers runs the network's matrix products: the layers of use.sg.
type Layers interface {
	// Run computes layer on the t rows of x, row-major float32 [t, in], and
	// writes y, row-major float32 [t, out], with 1 <= t <= 128. Bias and
	// activation are part of the layer.
	Run(ctx context.Context, layer string, x []float32, t int, y []float32) error
}

// Encoder turns a sentence into a vector of 512 float32 with length 1 whose dot
// product with another sentence's vector says how near their meanings are. The
// network is Universal Sentence Encoder Lite (Cer et al. 2018): two transformer
// blocks (Vaswani et al. 2017) with layer normalisation in front of attention
// and feed-forward part, the mean over the tokens, and a dense layer with tanh.
//
// An Encoder owns its scratch memory: one goroutine at a time may use it.
type Encoder struct {
	*Model
	layers Layers

	x       []float32 // [t, 512] the residual stream
	y       []float32 // [t, 512] what is added to it
	normed  []float32 // [t, 512]
	qkv     []float32 // [t, 3*512] queries, keys and values of all heads
	context []float32 // [t, 512]
	scores  []float32 // [t] one query's weight on each token
}

// NewEncoder makes an encoder of a model's parameters whose matrix products run
// on layers.
func NewEncoder(m *Model, layers Layers) *Encoder {
	rows := func(n int) []float32 { return make([]float32, maxTokens*n) }
	return &Encoder{
		Model: m, layers: layers,
		x: rows(width), y: rows(width), normed: rows(width),
		qkv: rows(3 * width), context: rows(width), scores: rows(1),
	}
}

// Encode returns the embedding of text, float32 [512]. Text beyond 128 pieces
// is cut off; text without any piece is an error.
func (e *Encoder) Encode(ctx context.Context, text string) ([]float32, error) {
	ids := e.Tokenizer.Encode(text)
	if len(ids) == 0 {
		return nil, errors.New("encode: the sentence is empty")
	}
	ids = ids[:min(len(ids), maxTokens)]
	t := len(ids)
	run := func(layer string, x []float32, rows int, y []float32) error {
		if err := e.layers.Run(ctx, layer, x, rows, y); err != nil {
			return fmt.Errorf("encode: layer %s: %w", layer, err)
		}
		return nil
	}

	in := e.y[:t*embedWidth]
	e.embed(in, ids)
	x := e.x[:t*width]
	// Block 0 widens 256 to 512, so its residual path goes through a matrix too.
	if err := run("widen0", in, t, x); err != nil {
		return nil, err
	}
	for b, block := range e.Blocks {
		if b > 0 {
			in = x
		}
		w := block.Width
		normed := e.normed[:t*w]
		block.Attention.apply(normed, in)
		if err := run(fmt.Sprintf("qkv%d", b), normed, t, e.qkv[:t*3*w]); err != nil {
			return nil, err
		}
		e.attend(e.context[:t*w], e.qkv[:t*3*w], t, w)
		y := e.y[:t*width]
		if err := run(fmt.Sprintf("merge%d", b), e.context[:t*w], t, y); err != nil {
			return nil, err
		}
		add(x, y)
		normed = e.normed[:t*width]
		block.FeedForward.apply(normed, x)
		if err := run(fmt.Sprintf("ffn%d", b), normed, t, y); err != nil {
			return nil, err
		}
		add(x, y)
	}

	mean := e.normed[:width]
	meanRows(mean, x)
	out := make([]float32, width)
	if err := run("sentence", mean, 1, out); err != nil {
		return nil, err
	}
	normalise(out)
	return out, nil
}

// embed writes twice the embedding of each id plus the timing signal of its
// place, x [len(ids), 256]. The signal is 128 sines, then 128 cosines (Vaswani et
// al. 2017, section 3.5). Twice, because the model's graph adds the embeddings
// once when it adds the signal and once more after that.
func (e *Encoder) embed(x []float32, ids []int32) {
	half := len(e.Frequencies)
	for i, id := range ids {
		row := x[i*embedWidth : (i+1)*embedWidth]
		for j, v := range e.Embeddings[int(id)*embedWidth:][:embedWidth] {
			row[j] = 2 * v
		}
		for j, f := range e.Frequencies {
			sin, cos := math.Sincos(float64(float32(i) * f))
			row[j] += float32(sin)
			row[half+j] += float32(cos)
		}
	}
}

// attend computes softmax(q kᵀ / sqrt(d)) v for each head of width d = w/heads.
// A row of qkv [t, 3w] holds the queries of all heads, then their keys, then
// their values; a row of y [t, w] the results of all heads.
func (e *Encoder) attend(y, qkv []float32, t, w int) {
	d := w / heads
	scale := float32(1 / math.Sqrt(float64(d)))
	at := func(token, part, head int) []float32 {
		return qkv[token*3*w+part*w+head*d:][:d]
	}
	scores := e.scores[:t]
	for head := range heads {
		for i := range t {
			q := at(i, 0, head)
			for j := range scores {
				scores[j] = scale * dot(q, at(j, 1, head))
			}
			softmax(scores)
			row := y[i*w+head*d:][:d]
			clear(row)
			for j, s := range scores {
				for c, v := range at(j, 2, head) {
					row[c] += s * v
				}
			}
		}
	}
}

// Norm is a layer normalisation over the features of a token.
type Norm struct {
	Scale, Bias []float32 // one value a feature
}

// apply writes (x - mean) / sqrt(variance + eps) * scale + bias of each row.
func (n Norm) apply(y, x []float32) {
	w := len(n.Scale)
	for i := 0; i < len(x); i += w {
		row := x[i : i+w]
		var mean, variance float64
		for _, v := range row {
			mean += float64(v)
		}
		mean /= float64(w)
		for _, v := range row {
			variance += (float64(v) - mean) * (float64(v) - mean)
		}
		variance /= float64(w)
		inverse := 1 / math.Sqrt(variance+normEps)
		for c, v := range row {
			y[i+c] = float32((float64(v)-mean)*inverse)*n.Scale[c] + n.Bias[c]
		}
	}
}

// softmax replaces the scores by their softmax.
func softmax(scores []float32) {
	top := scores[0]
	for _, s := range scores {
		top = max(top, s)
	}
	var sum float64
	for i, s := range scores {
		p := math.Exp(float64(s - top))
		scores[i] = float32(p)
		sum += p
	}
	for i := range scores {
		scores[i] = float32(float64(scores[i]) / sum)
	}
}

// meanRows writes the mean of x's rows, each as long as mean.
func meanRows(mean, x []float32) {
	clear(mean)
	for i, v := range x {
		mean[i%len(mean)] += v
	}
	t := float32(len(x) / len(mean))
	for i := range mean {
		mean[i] /= t
	}
}

// normalise scales x to length 1.
func normalise(x []float32) {
	scale := float32(1 / math.Sqrt(max(float64(dot(x, x)), 1e-12)))
	for i := range x {
		x[i] *= scale
	}
}

func dot(a, b []float32) float32 {
	var sum float32
	for i, v := range a {
		sum += v * b[i]
	}
	return sum
}

func add(x, y []float32) {
	for i, v := range y {
		x[i] += v
	}
}
