package autotune

import (
	"context"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sparsegen/sparsegen/codegen"
	"github.com/sparsegen/sparsegen/runtime"
)

// TestShelf: candidates wait for further sittings as long as there is room for them, the latest op's first, and as long as they
// race. What is missing is packed anew.
func TestShelf(t *testing.T) {
	ctx := context.Background()
	tn := newTuner(Options{ISA: runtime.AVX2})
	tn.temp = t.TempDir()
	tn.core = codegen.Builtin(runtime.AVX2)
	names := []string{"panelStep mr=4 kb=96", "panelStep mr=2 kb=96", "deltaTile s=8"}
	contestOf := func(layer string) *contest {
		l := linearOf(t, layer, "unstructured(sparsity=0.8)", 64, 96, 16, 16)
		return newContest(l, job{batch: 16}, names, 0, nil)
	}
	files := func() int {
		list, err := os.ReadDir(tn.temp)
		require.NoError(t, err)
		return len(list)
	}
	// sit takes a race's candidates off the shelf, writes them, and puts them back.
	sit := func(c *contest) []*candidate {
		f := tn.unshelve(c.linear)
		entrants, err := f.entrants(ctx, c)
		require.NoError(t, err)
		for e, x := range entrants {
			require.Equal(t, names[e], x.Config.String())
		}
		_, err = f.filesOf(entrants)
		require.NoError(t, err)
		tn.shelve(f)
		return entrants
	}
	a, b := contestOf("a"), contestOf("b")
	first := sit(a)
	require.Equal(t, 4, files(), "one has a twin")
	bytes := 0
	for i, again := range sit(a) {
		require.Same(t, first[i], again)
		bytes += again.Bytes()
	}
	require.Equal(t, 4, files())

	sit(b)
	require.Equal(t, 8, files())
	require.Same(t, first[0], sit(a)[0])
	tn.room = 2*bytes - 1
	other := sit(b) // whose room is that of a, which was used before
	require.Equal(t, 4, files())
	require.NotSame(t, first[0], sit(a)[0])
	require.NotSame(t, other[0], sit(b)[0])
	tn.room = 2 * bytes

	sit(a)
	a.race.Drop(1)
	tn.unsettled = []*contest{a}
	for _, f := range tn.shelf {
		tn.tidy(f)
	}
	require.Equal(t, 3, files(), "b's race is over, and so is one candidate's of a")
	tn.room = 0
	f := tn.unshelve(a.linear)
	entrants, err := f.entrants(ctx, a)
	require.NoError(t, err)
	require.Nil(t, entrants[1])
	tn.shelve(f)
	require.Empty(t, tn.shelf)
	require.Zero(t, files())
}
