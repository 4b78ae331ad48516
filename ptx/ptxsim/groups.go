package ptxsim

// groups is asynchronous work in groups, done when a wait asks for it.
type groups struct {
	open   []func()
	queue  [][]func()
	closed int // groups committed
	done   int // groups of them that are retired
}

// next is the number of the group that work added now belongs to, from 1.
func (g *groups) next() int { return g.closed + 1 }

func (g *groups) add(f func()) { g.open = append(g.open, f) }

func (g *groups) commit() {
	g.queue, g.open = append(g.queue, g.open), nil
	g.closed++
}

// wait retires all but the last groups.
func (g *groups) wait(left int) {
	for len(g.queue) > left {
		group := g.queue[0]
		g.queue = g.queue[1:]
		for _, f := range group {
			f()
		}
		g.done++
	}
}

// flush does all work, also that of no group.
func (g *groups) flush() {
	for n, group := range g.queue {
		for _, f := range group {
			f()
		}
		g.queue[n] = nil
	}
	for _, f := range g.open {
		f()
	}
	g.open = nil
}

func (g *groups) pending() bool { return len(g.open) > 0 || len(g.queue) > 0 }
