package weights

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"strings"
)

// maxJSON bounds a tf.js manifest, which carries the model's topology too.
const maxJSON = 512 << 20

// tfGroup is one weight group of a TensorFlow.js manifest: its tensors lie one
// after the other in the concatenation of its shard files.
type tfGroup struct {
	Paths   []string  `json:"paths"`
	Weights []tfEntry `json:"weights"`
}

type tfEntry struct {
	Name         string `json:"name"`
	Shape        []int  `json:"shape"`
	DType        string `json:"dtype"`
	Quantization *struct {
		DType string   `json:"dtype"`
		Scale *float64 `json:"scale"`
		Min   *float64 `json:"min"`
	} `json:"quantization"`
}

// readTFJS reads a graph model's or layers model's model.json, or a bare
// manifest: a JSON array of groups.
func (f *File) readTFJS(b []byte) error {
	if len(b) > maxJSON {
		return fault(f.Path, 0, "%d bytes of JSON are above the limit of %d", len(b), maxJSON)
	}
	var model struct {
		WeightsManifest []tfGroup `json:"weightsManifest"`
	}
	into, root := any(&model), "weightsManifest"
	if bytes.HasPrefix(bytes.TrimLeft(b, " \t\r\n"), []byte("[")) {
		into, root = &model.WeightsManifest, ""
	}
	if err := json.Unmarshal(b, into); err != nil {
		return jsonFault(f.Path, err)
	}
	if len(model.WeightsManifest) == 0 {
		return faultAt(f.Path, "weightsManifest", "missing or empty: not a TensorFlow.js model with weights")
	}
	shards := map[string]bool{}
	for i, g := range model.WeightsManifest {
		if err := f.readGroup(g, fmt.Sprintf("%s[%d]", root, i), shards); err != nil {
			return err
		}
	}
	return nil
}

func jsonFault(path string, err error) error {
	var syntax *json.SyntaxError
	var typ *json.UnmarshalTypeError
	switch {
	case errors.As(err, &syntax):
		return fault(path, max(0, syntax.Offset-1), "%v", err) // Offset counts the bytes read
	case errors.As(err, &typ):
		return fault(path, typ.Offset, "%s: a JSON %s does not fit here", typ.Field, typ.Value)
	}
	return fault(path, 0, "%v", err)
}

func (f *File) readGroup(g tfGroup, at string, shards map[string]bool) error {
	var all blob
	for i, p := range g.Paths {
		data, err := f.shard(p, fmt.Sprintf("%s.paths[%d]", at, i), shards)
		if err != nil {
			return err
		}
		all.add(data)
	}
	off := int64(0)
	for i, e := range g.Weights {
		at := fmt.Sprintf("%s.weights[%d]", at, i)
		t, err := e.tensor()
		if err != nil {
			return faultAt(f.Path, at, "tensor %q: %v", e.Name, err)
		}
		if t.DType == String {
			t.Bytes, err = stringBytes(all, off, t.Shape)
		} else {
			t.Bytes, err = sizeOf(t.DType, t.Shape)
		}
		if err != nil {
			return faultAt(f.Path, at, "tensor %q: %v", e.Name, err)
		}
		if t.Bytes > all.size-off {
			return faultAt(f.Path, at, "tensor %q takes %d bytes at offset %d of the group, but its shards hold %d", e.Name, t.Bytes, off, all.size)
		}
		t.off = off
		off += t.Bytes
		t.data = all
		f.tensors = append(f.tensors, t)
	}
	if off != all.size {
		return faultAt(f.Path, at, "the shards hold %d bytes, but the tensors take %d", all.size, off)
	}
	return nil
}

// shard maps a file beside the manifest. A manifest may neither reach outside its
// own folder nor name a shard twice, which would make tensors larger than their
// files.
func (f *File) shard(p, at string, taken map[string]bool) ([]byte, error) {
	local := filepath.FromSlash(p)
	if !filepath.IsLocal(local) || strings.ContainsAny(p, "\\\x00") {
		return nil, faultAt(f.Path, at, "the path %q leaves the model's folder", p)
	}
	path := filepath.Join(filepath.Dir(f.Path), local)
	if taken[path] {
		return nil, faultAt(f.Path, at, "the shard %q is listed twice", p)
	}
	taken[path] = true
	m, err := mapFile(path)
	if err != nil {
		return nil, faultAt(f.Path, at, "%v", err)
	}
	f.maps = append(f.maps, m)
	return m.data, nil
}

// tensor is the entry without its place.
func (e tfEntry) tensor() (tensor, error) {
	t := tensor{Info: Info{Name: e.Name, Shape: e.Shape}}
	if t.Shape == nil {
		return t, errors.New("no shape")
	}
	stored := map[string]DType{"float32": F32, "int32": I32, "bool": Bool, "complex64": C64, "string": String}
	dt, ok := stored[e.DType]
	if !ok {
		return t, fmt.Errorf("unknown dtype %q", e.DType)
	}
	t.DType = dt
	q := e.Quantization
	if q == nil {
		return t, nil
	}
	if dt != F32 && dt != I32 {
		return t, fmt.Errorf("a quantised %s is unknown", e.DType)
	}
	switch {
	case q.DType == "float16" && dt == F32:
		t.DType = F16
		return t, nil
	case q.DType == "uint8":
		t.DType = U8
	case q.DType == "uint16":
		t.DType = U16
	default:
		return t, fmt.Errorf("unknown quantisation dtype %q", q.DType)
	}
	if q.Scale == nil || q.Min == nil {
		return t, errors.New("quantisation needs scale and min")
	}
	t.Quantisation = &Affine{Scale: *q.Scale, Min: *q.Min, Integer: dt == I32}
	return t, nil
}

// stringBytes measures a string tensor: each element is a u32 length and as
// many bytes.
func stringBytes(b blob, off int64, shape []int) (int64, error) {
	n, err := sizeOf(U8, shape)
	if err != nil {
		return 0, err
	}
	if n > (b.size-off)/4 {
		return 0, fmt.Errorf("%d strings do not fit the %d bytes left", n, b.size-off)
	}
	at := off
	for range n {
		if b.size-at < 4 {
			return 0, errors.New("the shards end inside a string")
		}
		at += 4 + int64(le32(b.slice(at, 4)))
		if at > b.size || at > math.MaxInt64/2 {
			return 0, errors.New("the shards end inside a string")
		}
	}
	return at - off, nil
}
