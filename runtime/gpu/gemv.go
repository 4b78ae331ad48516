package gpu

import (
	"fmt"
	"math"
)

// weightPitch returns the bytes from one row of ByInput weights to the next.
func (k *Kernel) weightPitch(p Problem) int { return ceilDiv(p.Out*k.DType.Size(), 16) * 16 }

// checkByInput says whether a kernel over ByInput weights can compute the problem.
// Its addresses of weights are 64 bits wide, but every pitch and every place in
// the workspace is counted in 32.
func (k *Kernel) checkByInput(p Problem) error {
	if p.Tokens != k.Tile.Tokens {
		return fmt.Errorf("kernel %s: %d tokens, it was made for %d", k.Name, p.Tokens, k.Tile.Tokens)
	}
	if k.DType.Size() == 0 {
		return fmt.Errorf("kernel %s: weights of unknown type %v", k.Name, k.DType)
	}
	for _, r := range []struct {
		name string
		n    int
	}{
		{"bytes in a row of weights", k.weightPitch(p)},
		{"activations", p.Tokens * p.xPitch()},
		{"results", p.Tokens * p.yPitch()},
		{"partial sums", k.workspaceSums(p)},
	} {
		if r.n > math.MaxInt32 {
			return fmt.Errorf("kernel %s: %d %s, at most 2^31 are allowed", k.Name, r.n, r.name)
		}
	}
	return nil
}

// workspaceBytes returns the size of the workspace of a kernel that splits tiles
// without clusters: a counter of 4 bytes for each tile, rounded up to 16, and the
// f32 sums of every slice of every tile. The counters must be zero before the
// first launch; each launch leaves them zero.
func (k *Kernel) workspaceBytes(p Problem) uint64 {
	tiles := uint64(ceilDiv(p.Out, k.Tile.Out)) * uint64(ceilDiv(p.Tokens, k.Tile.Tokens))
	return (4*tiles+15)/16*16 + 4*uint64(k.workspaceSums(p))
}

// workspaceSums returns the number of partial sums, 0 where a tile has one block.
func (k *Kernel) workspaceSums(p Problem) int {
	if k.Tile.Split == 1 || k.Cluster > 1 {
		return 0
	}
	tiles := ceilDiv(p.Out, k.Tile.Out) * ceilDiv(p.Tokens, k.Tile.Tokens)
	return tiles * k.Tile.Split * k.Tile.Out * k.Tile.Tokens
}
