//go:build !unix

package autotune

import "context"

// Lock does nothing where files cannot be locked: two tunings at once are then
// noisy, which the races find out.
func Lock(context.Context, func(string, ...any)) (unlock func(), err error) {
	return func() {}, nil
}
