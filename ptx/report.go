package ptx

// Errorf reports a misuse of what a package builds on this one, at the position
// of that package's caller.
func (k *Kernel) Errorf(format string, args ...any) { k.errorAt(here(), format, args...) }
