// Package probe holds small PTX programs that ask a GPU how it computes: where the
// tensor cores find the elements of their operands, how swizzles and tensor copies
// place bytes, how conversions round; and the kernels of ptx/kernels on small
// problems with tails. Their inputs are random by name. What a GPU answers is
// recorded in testdata; the simulator must give the same.
//
// This package is for tests and for the program that records. It must not import
// ptxsim, runtime/cuda, codegen, asm or ir.
package probe

import (
	"bytes"
	"compress/zlib"
	_ "embed"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"io"
	"math/rand/v2"

	"github.com/sparsegen/sparsegen/runtime/gpu"
)

// Program is one kernel, k, with its launch and its inputs. Its result is the
// buffer Y, which starts as bytes of Fill.
type Program struct {
	Name   string
	Entry  string
	PTX    string
	Launch gpu.Launch
	In     map[gpu.Buffer][]byte
	Near   *Near // nil where the result is defined bit by bit
	Family string
}

// Near says how far numbers of a result may be from those of a GPU.
type Near struct {
	DType    gpu.DType
	Relative float64 // of the larger of the two
	Absolute float64
}

// Fill is what every byte of Y is before a program runs.
const Fill = 0xEE

// All returns every program, in a fixed order.
func All() ([]Program, error) {
	var ps []Program
	ps = append(ps, arithmetic()...)
	ps = append(ps, warpPrograms()...)
	ps = append(ps, memoryPrograms()...)
	ps = append(ps, matrixPrograms()...)
	ps = append(ps, warpgroupPrograms()...)
	ps = append(ps, tensorPrograms()...)
	shipped, err := shippedPrograms()
	if err != nil {
		return nil, err
	}
	ps = append(ps, shipped...)
	seen := map[string]bool{}
	for _, p := range ps {
		if seen[p.Name] {
			return nil, fmt.Errorf("probe: two programs %q", p.Name)
		}
		seen[p.Name] = true
	}
	return ps, nil
}

// random is the source of a program's inputs.
func random(name string) *rand.Rand {
	h := fnv.New64a()
	h.Write([]byte(name))
	return rand.New(rand.NewPCG(h.Sum64(), 5))
}

// Memory returns the buffers of a run, by role: the inputs and Y.
func (p *Program) Memory() (map[gpu.Buffer][]byte, error) {
	need, err := p.Launch.Needs()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", p.Name, err)
	}
	mem := map[gpu.Buffer][]byte{}
	for role, n := range need {
		of := gpu.Buffer(role)
		b := make([]byte, n)
		if of == gpu.Y {
			for i := range b {
				b[i] = Fill
			}
		}
		if in := p.In[of]; uint64(len(in)) > n {
			return nil, fmt.Errorf("%s: %d bytes of %v, the launch reaches %d", p.Name, len(in), of, n)
		}
		copy(b, p.In[of])
		if n > 0 {
			mem[of] = b
		}
	}
	return mem, nil
}

// Record is what a GPU answered.
type Record struct {
	Device string            `json:"device"`
	Driver string            `json:"driver"`
	Result map[string]string `json:"result"` // by program: Y, by Encode
	Failed map[string]string `json:"failed,omitempty"`
}

// planes is how many bytes apart those lie that Encode puts side by side: words
// have their zeros in the same bytes.
const planes = 4

// Encode is a result as a Record holds it: the first bytes of all words, then the
// second and so on, in zlib and base64.
func Encode(y []byte) (string, error) {
	var b bytes.Buffer
	w, err := zlib.NewWriterLevel(&b, zlib.BestCompression)
	if err != nil {
		return "", err
	}
	var sorted []byte
	for p := range planes {
		for i := p; i < len(y); i += planes {
			sorted = append(sorted, y[i])
		}
	}
	if _, err := w.Write(sorted); err != nil {
		return "", err
	}
	if err := w.Close(); err != nil {
		return "", err
	}
	return base64.StdEncoding.EncodeToString(b.Bytes()), nil
}

// Decode is the inverse of Encode.
func Decode(s string) ([]byte, error) {
	raw, err := base64.StdEncoding.DecodeString(s)
	if err != nil {
		return nil, err
	}
	r, err := zlib.NewReader(bytes.NewReader(raw))
	if err != nil {
		return nil, err
	}
	sorted, err := io.ReadAll(r)
	if err != nil {
		return nil, err
	}
	y, from := make([]byte, len(sorted)), 0
	for p := range planes {
		for i := p; i < len(y); i += planes {
			y[i] = sorted[from]
			from++
		}
	}
	return y, nil
}

//go:embed testdata/recorded.json
var recorded []byte

// Recorded returns what a GPU answered.
func Recorded() (*Record, error) {
	var r Record
	if err := json.Unmarshal(recorded, &r); err != nil {
		return nil, fmt.Errorf("probe: recorded.json: %w", err)
	}
	return &r, nil
}
