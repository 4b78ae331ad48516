package cudatest

import (
	"encoding/binary"
	"regexp"
	"strconv"
	"strings"
	"unsafe"

	"github.com/sparsegen/sparsegen/runtime/cuda/internal/driver"
)

// SyntaxError is text that the simulated compiler refuses wherever it is found.
const SyntaxError = "syntax error"

type module struct{ kernels map[string]*function }

type function struct {
	name    string
	params  []param
	dynamic int32 // bytes of dynamic shared memory that are allowed
}

type param struct{ offset, size int }

type link struct {
	ptx   string
	log   jitLog
	cubin []byte
}

// jitLog are the buffers that the options of a compilation name.
type jitLog struct{ info, err []byte }

func readOptions(n uint32, keys *driver.JITOption, values *uintptr) (l jitLog) {
	if n == 0 {
		return l
	}
	at := make(map[driver.JITOption]uintptr)
	vs := unsafe.Slice(values, n)
	for i, k := range unsafe.Slice(keys, n) {
		at[k] = vs[i]
	}
	buffer := func(addr, size driver.JITOption) []byte {
		if at[addr] == 0 {
			return nil
		}
		// The address of pinned memory, which the caller keeps.
		p := at[addr]
		return unsafe.Slice(*(**byte)(unsafe.Pointer(&p)), at[size])
	}
	return jitLog{info: buffer(driver.JITInfoLog, driver.JITInfoLogSize), err: buffer(driver.JITErrorLog, driver.JITErrorLogSize)}
}

func put(to []byte, s string) {
	if len(to) > 0 {
		to[copy(to[:len(to)-1], s)] = 0
	}
}

// cubinMagic starts the simulated machine code, which is the text again.
const cubinMagic = "\x7fELFfake"

func makeCubin(ptx string) []byte {
	b := append([]byte(cubinMagic), 0, 0, 0, 0, 0, 0, 0, 0)
	binary.LittleEndian.PutUint64(b[len(cubinMagic):], uint64(len(ptx)))
	return append(b, ptx...)
}

func (f *Fake) compile(ptx string, l jitLog) driver.Result {
	if i := strings.Index(ptx, SyntaxError); i >= 0 {
		put(l.err, "ptxas application ptx input, line "+strconv.Itoa(1+strings.Count(ptx[:i], "\n"))+"; fatal   : Parsing error near 'syntax'")
		return driver.ErrInvalidPTX
	}
	if m := regexp.MustCompile(`\.version (\d+)\.(\d+)`).FindStringSubmatch(ptx); m != nil {
		major, _ := strconv.Atoi(m[1])
		minor, _ := strconv.Atoi(m[2])
		// ISA 8.x came with CUDA 12.x.
		if 1000*(major+4)+10*minor > f.Version {
			return driver.ErrUnsupportedPTXVersion
		}
	}
	put(l.info, f.JITLog)
	return driver.Success
}

var (
	entryLine = regexp.MustCompile(`\.entry\s+(\w+)\s*(?:\(([^)]*)\))?`)
	paramDecl = regexp.MustCompile(`\.param\s+(?:\.align\s+(\d+)\s+)?\.[a-z](\d+)\s+\w+(?:\[(\d+)\])?`)
)

func (f *Fake) load(ptx string) *module {
	m := &module{kernels: make(map[string]*function)}
	for _, e := range entryLine.FindAllStringSubmatch(ptx, -1) {
		fn := &function{name: e[1], dynamic: 48 << 10}
		end := 0
		for _, p := range paramDecl.FindAllStringSubmatch(e[2], -1) {
			bits, _ := strconv.Atoi(p[2])
			size, align := bits/8, bits/8
			if p[3] != "" {
				n, _ := strconv.Atoi(p[3])
				size *= n
			}
			if p[1] != "" {
				align, _ = strconv.Atoi(p[1])
			}
			end = (end + align - 1) / align * align
			fn.params = append(fn.params, param{end, size})
			end += size
		}
		m.kernels[fn.name] = fn
	}
	return m
}

func (f *Fake) bindModules(d *driver.Driver) {
	d.LinkCreate = func(n uint32, keys *driver.JITOption, values, state *uintptr) driver.Result {
		return f.run("cuLinkCreate_v2", func(*context) driver.Result {
			*state = f.add(&link{log: readOptions(n, keys, values)})
			return driver.Success
		})
	}
	d.LinkAddData = func(state uintptr, typ driver.JITInput, data unsafe.Pointer, size uint64, name *byte, n uint32, keys *driver.JITOption, values *uintptr) driver.Result {
		return f.run("cuLinkAddData_v2", func(*context) driver.Result {
			l, r := find[*link](f, state)
			if r != driver.Success {
				return r
			}
			b := unsafe.Slice((*byte)(data), size)
			if typ != driver.InputPTX || size == 0 || b[size-1] != 0 || driver.String(name) == "" {
				return driver.ErrInvalidValue
			}
			l.ptx = string(b[:size-1])
			return f.compile(l.ptx, l.log)
		})
	}
	d.LinkComplete = func(state uintptr, cubin *unsafe.Pointer, size *uint64) driver.Result {
		return f.run("cuLinkComplete", func(*context) driver.Result {
			l, r := find[*link](f, state)
			if r != driver.Success {
				return r
			}
			l.cubin = makeCubin(l.ptx)
			*cubin, *size = unsafe.Pointer(&l.cubin[0]), uint64(len(l.cubin))
			return driver.Success
		})
	}
	d.LinkDestroy = func(state uintptr) driver.Result { return drop[*link](f, "cuLinkDestroy", state) }
	d.ModuleLoadData = func(mod *uintptr, image unsafe.Pointer, n uint32, keys *driver.JITOption, values *uintptr) driver.Result {
		return f.run("cuModuleLoadDataEx", func(*context) driver.Result {
			var ptx string
			if head := unsafe.Slice((*byte)(image), 4); string(head) == cubinMagic[:4] {
				whole := unsafe.Slice((*byte)(image), len(cubinMagic)+8)
				if !strings.HasPrefix(string(whole), cubinMagic) {
					return driver.ErrInvalidImage
				}
				size := binary.LittleEndian.Uint64(whole[len(cubinMagic):])
				ptx = string(unsafe.Slice((*byte)(image), uint64(len(whole))+size)[len(whole):])
			} else {
				ptx = driver.String((*byte)(image))
				if r := f.compile(ptx, readOptions(n, keys, values)); r != driver.Success {
					return r
				}
			}
			*mod = f.add(f.load(ptx))
			return driver.Success
		})
	}
	d.ModuleUnload = func(mod uintptr) driver.Result {
		return f.run("cuModuleUnload", func(*context) driver.Result {
			m, r := find[*module](f, mod)
			if r != driver.Success {
				return r
			}
			delete(f.handles, mod)
			for h, e := range f.handles {
				if fn, ok := e.x.(*function); ok && m.kernels[fn.name] == fn {
					delete(f.handles, h)
				}
			}
			return driver.Success
		})
	}
	d.ModuleGetFunction = func(fn *uintptr, mod uintptr, name *byte) driver.Result {
		return f.run("cuModuleGetFunction", func(*context) driver.Result {
			m, r := find[*module](f, mod)
			if r != driver.Success {
				return r
			}
			k := m.kernels[driver.String(name)]
			if k == nil {
				return driver.ErrNotFound
			}
			*fn = f.add(k)
			return driver.Success
		})
	}
	d.FuncGetAttr = func(v *int32, a driver.FuncAttr, fn uintptr) driver.Result {
		return f.run("cuFuncGetAttribute", func(c *context) driver.Result {
			if _, r := find[*function](f, fn); r != driver.Success {
				return r
			}
			values := map[driver.FuncAttr]int{
				driver.FuncMaxThreads: maxThreads, driver.FuncStaticShared: staticShared, driver.FuncLocalBytes: 0, driver.FuncRegisters: 64,
				driver.FuncBinaryVersion: 10*c.dev.CC[0] + c.dev.CC[1],
			}
			value, ok := values[a]
			if !ok {
				return driver.ErrInvalidValue
			}
			*v = int32(value)
			return driver.Success
		})
	}
	d.FuncSetAttr = func(fn uintptr, a driver.FuncAttr, v int32) driver.Result {
		return f.run("cuFuncSetAttribute", func(c *context) driver.Result {
			k, r := find[*function](f, fn)
			if r != driver.Success {
				return r
			}
			if a != driver.FuncDynamicShared || v < 0 || int(v) > c.dev.SharedMax-staticShared {
				return driver.ErrInvalidValue
			}
			k.dynamic = v
			return driver.Success
		})
	}
	d.FuncGetParamInfo = func(fn uintptr, i uint64, offset, size *uint64) driver.Result {
		return f.run("cuFuncGetParamInfo", func(*context) driver.Result {
			k, r := find[*function](f, fn)
			if r != driver.Success || i >= uint64(len(k.params)) {
				return driver.ErrInvalidValue
			}
			*offset, *size = uint64(k.params[i].offset), uint64(k.params[i].size)
			return driver.Success
		})
	}
}
