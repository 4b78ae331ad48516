package driver

// NoLibraryError says that the driver's library cannot be loaded.
type NoLibraryError struct{ Err error }

func (e *NoLibraryError) Error() string { return e.Err.Error() }
func (e *NoLibraryError) Unwrap() error { return e.Err }

// NoSymbolError says that the driver's library is too old to have a function.
type NoSymbolError struct {
	Symbol string
	Err    error
}

func (e *NoSymbolError) Error() string { return "no function " + e.Symbol + ": " + e.Err.Error() }
func (e *NoSymbolError) Unwrap() error { return e.Err }
