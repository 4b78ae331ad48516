package arm64

// fields are the operands that forms have, by name. Numbers of registers are
// fields as well.
var fields = map[string]field{
	// Registers; e is one of the lower sixteen, g a predicate of the lower eight.
	"d": register(0), "n": register(5), "m": register(16), "a": register(10),
	"nn": {0, 31, 1, []part{{pos: 5, width: 5, mul: 1}, {pos: 16, width: 5, mul: 1}}}, // twice
	"e":  {0, 15, 1, []part{{pos: 16, width: 4, mul: 1}}},
	"g":  {0, 7, 1, []part{{pos: 10, width: 3, mul: 1}}},
	"z":  {0, 7, 1, []part{{pos: 16, width: 3, mul: 1}}},
	"p":  {0, 15, 1, []part{{pos: 0, width: 4, mul: 1}}},

	// Offsets in memory: unsigned in units of the access, or signed bytes.
	"u12": unsigned(10, 12, 1), "u12x2": unsigned(10, 12, 2), "u12x4": unsigned(10, 12, 4),
	"u12x8": unsigned(10, 12, 8), "u12x16": unsigned(10, 12, 16),
	"s9":    {-256, 255, 1, []part{{pos: 12, width: 9, mul: 1}}},
	"s7x16": {-1024, 1008, 16, []part{{pos: 15, width: 7, mul: 1}}},
	"s4vl":  {-8, 7, 1, []part{{pos: 16, width: 4, mul: 1}}}, // whole vectors, as s6vl and s9vl
	"s6vl":  {-32, 31, 1, []part{{pos: 5, width: 6, mul: 1}}},
	"s9vl":  {-256, 255, 1, []part{{pos: 16, width: 6, mul: 1, shift: 3}, {pos: 10, width: 3, mul: 1}}},
	"u6x4":  unsigned(16, 6, 4),
	"u6x8":  unsigned(16, 6, 8),
	"s4x16": {-128, 112, 16, []part{{pos: 16, width: 4, mul: 1}}},

	// Immediates: i12h is one of 12 bits, 12 bits up; i16h of 16 bits, 16 bits up;
	// i16n the complement of one of 16 bits.
	"i12h": {1 << 12, 4095 << 12, 1 << 12, []part{{pos: 10, width: 12, mul: 1}}},
	"i16":  {1, 0xffff, 1, []part{{pos: 5, width: 16, mul: 1}}},
	"i16h": {1 << 16, 0xffff << 16, 1 << 16, []part{{pos: 5, width: 16, mul: 1}}},
	// i8 is signed; times is how often the lanes of a vector are counted.
	"i8":    {-128, 127, 1, []part{{pos: 5, width: 8, mul: 1}}},
	"times": {1, 16, 1, []part{{pos: 16, width: 4, mul: 1, add: -1}}},
	"i16n":  {-1 << 16, -1, 1, []part{{pos: 5, width: 16, mul: -1, add: -1}}},

	// Shifts and runs of bits.
	"lsl":   {1, 63, 1, []part{{pos: 16, width: 6, mul: -1, add: 64}, {pos: 10, width: 6, mul: -1, add: 63}}},
	"lsr":   {1, 63, 1, []part{{pos: 16, width: 6, mul: 1}}},
	"by":    unsigned(10, 6, 1), // of a register operand
	"lsb8":  {0, 56, 1, []part{{pos: 16, width: 6, mul: 1}, {pos: 10, width: 6, mul: 1, add: 7}}},
	"low":   {1, 63, 1, []part{{pos: 10, width: 6, mul: 1, add: -1}}},
	"shl32": {0, 31, 1, []part{{pos: 16, width: 6, mul: 1, add: 32}}},
	"shr32": {1, 32, 1, []part{{pos: 16, width: 6, mul: -1, add: 64}}},
	"zshl":  {0, 31, 1, []part{{pos: 16, width: 5, mul: 1}}},
	"zshr":  {1, 32, 1, []part{{pos: 16, width: 5, mul: -1, add: 32}}},
	"ext":   {0, 15, 1, []part{{pos: 11, width: 4, mul: 1}}},

	// Lanes: of an element operand of 4 or 2 bytes, of a copied element, of a load.
	"l4":  {0, 3, 1, []part{{pos: 11, width: 1, mul: 1, shift: 1}, {pos: 21, width: 1, mul: 1}}},
	"l2":  {0, 7, 1, []part{{pos: 11, width: 1, mul: 1, shift: 2}, {pos: 21, width: 1, mul: 1, shift: 1}, {pos: 20, width: 1, mul: 1}}},
	"c4":  {0, 3, 1, []part{{pos: 19, width: 2, mul: 1}}},
	"c8":  {0, 1, 1, []part{{pos: 20, width: 1, mul: 1}}},
	"ld4": {0, 3, 1, []part{{pos: 30, width: 1, mul: 1, shift: 1}, {pos: 12, width: 1, mul: 1}}},
	"zl4": {0, 3, 1, []part{{pos: 19, width: 2, mul: 1}}},
	"zm":  {0, 7, 1, []part{{pos: 16, width: 3, mul: 1}}},

	// Places: labels as distances, and what only the assembler resolves.
	"label": {-1 << 20, 1<<20 - 4, 4, []part{{pos: 5, width: 19, mul: 1}}},
	"far":   {-1 << 27, 1<<27 - 4, 4, []part{{pos: 0, width: 26, mul: 1}}},
	"arg":   {}, "symbol": {},
}

func register(pos int) field { return field{0, 31, 1, []part{{pos: pos, width: 5, mul: 1}}} }

// unsigned is width bits that count in steps.
func unsigned(pos, width int, step int64) field {
	return field{0, (1<<width - 1) * step, step, []part{{pos: pos, width: width, mul: 1}}}
}
