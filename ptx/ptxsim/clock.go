package ptxsim

// clock is a vector clock: for each agent of a cluster, up to which of its steps
// everything has happened before. Agents are warps, the asynchronous units that
// work for a warp, and mbarriers, for what the copies do that they count.
type clock []uint32

func (c clock) at(agent int) uint32 {
	if agent < len(c) {
		return c[agent]
	}
	return 0
}

func (c *clock) set(agent int, v uint32) {
	for len(*c) <= agent {
		*c = append(*c, 0)
	}
	(*c)[agent] = max((*c)[agent], v)
}

func (c *clock) join(other clock) {
	for len(*c) < len(other) {
		*c = append(*c, 0)
	}
	for i, v := range other {
		(*c)[i] = max((*c)[i], v)
	}
}

// view is what an agent knows of the others: what has happened before its next
// step, and which of that the asynchronous proxy sees, because a proxy fence lay
// between.
type view struct{ happened, proxied clock }

func (v *view) join(other view) {
	v.happened.join(other.happened)
	v.proxied.join(other.proxied)
}

func (v view) clone() view {
	return view{append(clock(nil), v.happened...), append(clock(nil), v.proxied...)}
}

// epoch is one step of one agent.
type epoch struct {
	agent int32
	at    uint32
}

func (e epoch) before(c clock) bool { return e.at <= c.at(int(e.agent)) }

// release returns what a warp hands on, and begins its next step.
func (w *warp) release() view {
	v := w.view.clone()
	w.view.happened.set(w.agent, w.view.happened.at(w.agent)+1)
	return v
}

// fence makes what happened before visible to the asynchronous proxy.
func (w *warp) fence() {
	w.view.proxied.join(w.view.happened)
	w.view.happened.set(w.agent, w.view.happened.at(w.agent)+1)
	for _, b := range w.inits {
		b.fenced = true
	}
	w.inits = w.inits[:0]
}

func (w *warp) now() epoch { return epoch{int32(w.agent), w.view.happened.at(w.agent)} }
