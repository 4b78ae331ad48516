//go:build !amd64

package hwfma

// Available reports that there is no instruction to compare with here.
func Available() bool { return false }

func fma(_, _, _, _ *float32, _ int) { panic("hwfma: not on this architecture") }
