//go:build !linux || !arm64

package runtime

// scalableBits is 0: there are no scalable vectors here, or none that the operating
// system tells of.
func scalableBits() int { return 0 }
