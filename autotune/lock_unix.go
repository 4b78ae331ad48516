//go:build unix

package autotune

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// Lock waits until nobody else on this machine measures. The lock goes with
// the process, however that ends.
func Lock(ctx context.Context, note func(string, ...any)) (unlock func(), err error) {
	f, err := os.OpenFile(filepath.Join(os.TempDir(), "sparsegen-tune.lock"), os.O_CREATE|os.O_RDONLY, 0o644)
	if err != nil {
		return nil, err
	}
	for said := false; ; {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			left, _ := filepath.Glob(filepath.Join(escape(os.TempDir()), Scratch)) // the pattern is well-formed
			for _, dir := range left {
				_ = os.RemoveAll(dir) // unless it is another user's
			}
			return func() { _ = f.Close() }, nil // which unlocks
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR) {
			return nil, errors.Join(err, f.Close())
		}
		if !said {
			note("another tuning runs on this machine; waiting for it")
			said = true
		}
		select {
		case <-ctx.Done():
			return nil, errors.Join(context.Cause(ctx), f.Close())
		case <-time.After(200 * time.Millisecond):
		}
	}
}
