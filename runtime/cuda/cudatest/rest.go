package cudatest

// Rest returns device memory from an address to the end of its allocation, or nil
// where there is none.
func (l *Launch) Rest(addr uint64) []byte {
	for _, b := range l.ctx.memory {
		if off := addr - b.addr; addr >= b.addr && off < uint64(len(b.bytes)) {
			return b.bytes[off:]
		}
	}
	return nil
}
