package cuda

// The form of the cache's entries, for tests.
var (
	EncodeEntry = encodeEntry
	DecodeEntry = decodeEntry
)
