package hopper

import (
	"github.com/sparsegen/sparsegen/ptx"
	"github.com/sparsegen/sparsegen/runtime/gpu"
)

// CTA is a kernel under construction: a block of consumer warpgroups and one
// producer warp, alone or in a cluster. First everything that the block shares
// is declared (parameters, tensor maps, rings, memory, barriers), then Run emits
// the prologue and the roles.
type CTA struct {
	K *ptx.Kernel

	consumers   int
	cluster     int
	threads     int
	plan        plan
	params      []gpu.Param
	maps        []*TensorMap
	barriers    []mbarrier
	nextBarrier int // named
	running     bool
	meetLate    bool // the cluster's blocks meet in an inbox, not in the prologue
	met         bool
	multicast   bool // a ring reaches into peers from the start

	dynamic ptx.Shared
	base    ptx.Reg // shared address of the block's dynamic shared memory
	rank    ptx.Reg // of the block in its cluster; none without clusters
	scratch Region  // where a store that never happens would go
	flights []*Group
}

// mbarrier is a row of barriers in shared memory that the prologue initialises.
type mbarrier struct {
	at       Region
	n        int
	arrivals int // that complete a phase
}

// New makes the block of a kernel: consumer warpgroups (1 to 3) and one producer
// warp, in clusters of 1, 2 or 4 blocks. Without setmaxnreg every thread has the
// registers that Registers tells.
func New(k *ptx.Kernel, consumers, cluster int) *CTA {
	c := &CTA{K: k, consumers: consumers, cluster: cluster, threads: 128*consumers + 32, nextBarrier: 1}
	if consumers < 1 || consumers > 3 {
		k.Errorf("%d consumer warpgroups, want 1 to 3", consumers)
	}
	k.Threads(c.threads)
	k.MinCTAs(1)
	switch cluster {
	case 1:
	case 2, 4:
		k.Cluster(cluster)
	default:
		k.Errorf("clusters of %d blocks, want 1, 2 or 4", cluster)
	}
	c.dynamic = k.DynamicShared("smem", sharedAlign)
	c.base = k.SharedAddr(c.dynamic)
	if cluster > 1 {
		c.rank = k.ClusterRank()
	}
	return c
}

// Threads is the number of threads of the block.
func (c *CTA) Threads() int { return c.threads }

// Consumers is the number of consumer warpgroups.
func (c *CTA) Consumers() int { return c.consumers }

// Cluster is the number of blocks in a cluster, 1 without clusters.
func (c *CTA) Cluster() int { return c.cluster }

// SharedBytes is the dynamic shared memory planned so far.
func (c *CTA) SharedBytes() int { return c.plan.used }

// Rank is the block's number in its cluster; it is no register without clusters.
func (c *CTA) Rank() ptx.Reg { return c.rank }

// Params are the kernel's parameters in their order, for the host.
func (c *CTA) Params() []gpu.Param { return c.params }

// Registers is how many registers a thread can have at most in a block of that
// many threads, alone on its multiprocessor: warps go to four schedulers of 16384
// registers each, and registers to a warp in units of eight a thread.
func Registers(threads int) int {
	warps := (threads + 31) / 32
	return min(255, 16384/((warps+3)/4)/32&^7)
}

// declaring checks that a declaration comes before Run.
func (c *CTA) declaring(what string) {
	if c.running {
		c.K.Errorf("%s declared after Run, which lays it out", what)
	}
}

// Pointer declares a parameter that is the address of a buffer of n elements;
// the packed weights have neither type nor number.
func (c *CTA) Pointer(name string, of gpu.Buffer, t gpu.DType, n gpu.Quantity) ptx.Reg {
	c.declaring("parameter " + name)
	c.params = append(c.params, gpu.Param{Name: name, Kind: gpu.ArgPtr, Of: of, DType: t, Len: n})
	return c.K.LoadParam(c.K.ParamU64(name))
}

// U32 declares a parameter that is a whole-numbered quantity of the problem.
func (c *CTA) U32(name string, q gpu.Quantity) ptx.Reg {
	c.declaring("parameter " + name)
	c.params = append(c.params, gpu.Param{Name: name, Kind: gpu.ArgU32, Value: q})
	return c.K.LoadParam(c.K.ParamU32(name))
}

// F32 declares a parameter that is a real quantity of the problem.
func (c *CTA) F32(name string, q gpu.Quantity) ptx.Reg {
	c.declaring("parameter " + name)
	c.params = append(c.params, gpu.Param{Name: name, Kind: gpu.ArgF32, Value: q})
	return c.K.LoadParam(c.K.ParamF32(name))
}

// mbarriers reserves n barriers, each completed by that many arrivals a phase.
func (c *CTA) mbarriers(name string, n, arrivals int) Region {
	r := c.Shared(name, 8*n, 8)
	c.barriers = append(c.barriers, mbarrier{r, n, arrivals})
	return r
}

// prologue makes the barriers ready for all threads of the cluster.
func (c *CTA) prologue() {
	k := c.K
	k.Comment("shared memory: %s", c.plan.String())
	k.If(k.SetP("eq", k.TidX(), 0), func() {
		for _, m := range c.maps {
			k.Emit("prefetch.tensormap", ptx.At(m.addr, 0))
		}
		for _, b := range c.barriers {
			for i := range b.n {
				k.Emit("mbarrier.init.shared::cta.b64", c.At(b.at, 8*i), ptx.Int(int64(b.arrivals)))
			}
		}
		k.Emit("fence.mbarrier_init.release.cluster")
	})
	if c.cluster > 1 {
		k.Emit("barrier.cluster.arrive.relaxed.aligned")
	}
	if c.cluster > 1 && !c.meetLate {
		k.Emit("barrier.cluster.wait.aligned")
	} else {
		k.Emit("bar.sync", ptx.Int(0))
	}
}

// wait spins until the phase of that parity of a barrier is complete. A fresh
// barrier counts as past parity 1.
func (c *CTA) wait(bar ptx.Mem, parity ptx.Reg) {
	k := c.K
	k.RepeatUntil(func() ptx.Reg {
		done := k.Reg(ptx.Pred)
		k.Emit("mbarrier.try_wait.parity.shared::cta.b64", done, bar, parity)
		return done
	})
}
