package driver

import "unsafe"

// Result is a CUresult.
type Result int32

// The results that somebody tells apart; the driver names the others itself.
const (
	Success                   Result = 0
	ErrInvalidValue           Result = 1
	ErrOutOfMemory            Result = 2
	ErrStubLibrary            Result = 34
	ErrNoDevice               Result = 100
	ErrInvalidDevice          Result = 101
	ErrInvalidImage           Result = 200
	ErrInvalidContext         Result = 201
	ErrNoBinaryForGPU         Result = 209
	ErrECCUncorrectable       Result = 214
	ErrInvalidPTX             Result = 218
	ErrNVLinkUncorrectable    Result = 220
	ErrUnsupportedPTXVersion  Result = 222
	ErrContained              Result = 226
	ErrInvalidHandle          Result = 400
	ErrNotFound               Result = 500
	ErrIllegalAddress         Result = 700
	ErrLaunchTimeout          Result = 702
	ErrContextIsDestroyed     Result = 709
	ErrAssert                 Result = 710
	ErrHardwareStack          Result = 714
	ErrIllegalInstruction     Result = 715
	ErrMisalignedAddress      Result = 716
	ErrInvalidAddressSpace    Result = 717
	ErrInvalidPC              Result = 718
	ErrLaunchFailed           Result = 719
	ErrStreamCaptureUnsupport Result = 900
	ErrStreamCaptureWrongThrd Result = 908
)

// EndsProcess says whether the driver refuses all work of the process from then
// on: "the process must be terminated and relaunched" (CUDA driver API,
// CUresult). Resetting the context does not help, nor after a failed assertion,
// of which the manual speaks more mildly.
func (r Result) EndsProcess() bool {
	switch r {
	case ErrECCUncorrectable, ErrNVLinkUncorrectable, ErrContained,
		ErrIllegalAddress, ErrLaunchTimeout, ErrAssert, ErrHardwareStack, ErrIllegalInstruction,
		ErrMisalignedAddress, ErrInvalidAddressSpace, ErrInvalidPC, ErrLaunchFailed:
		return true
	}
	return false
}

// DeviceAttr is a CUdevice_attribute.
type DeviceAttr int32

// The attributes that are asked for.
const (
	AttrSMs         DeviceAttr = 16
	AttrL2Bytes     DeviceAttr = 38
	AttrCCMajor     DeviceAttr = 75
	AttrCCMinor     DeviceAttr = 76
	AttrSharedOptin DeviceAttr = 97 // bytes of shared memory a block, after cuFuncSetAttribute
)

// FuncAttr is a CUfunction_attribute.
type FuncAttr int32

// The attributes that are read; FuncDynamicShared is written too.
const (
	FuncMaxThreads    FuncAttr = 0
	FuncStaticShared  FuncAttr = 1
	FuncLocalBytes    FuncAttr = 3
	FuncRegisters     FuncAttr = 4
	FuncBinaryVersion FuncAttr = 6
	FuncDynamicShared FuncAttr = 8
)

// JITOption is a CUjit_option.
type JITOption uint32

// The options that are set.
const (
	JITMaxRegisters JITOption = 0
	JITInfoLog      JITOption = 3
	JITInfoLogSize  JITOption = 4
	JITErrorLog     JITOption = 5
	JITErrorLogSize JITOption = 6
	JITLogVerbose   JITOption = 12
)

// JITInput is a CUjitInputType.
type JITInput uint32

// InputPTX says that the linker's input is PTX text.
const InputPTX JITInput = 1

// CaptureMode is a CUstreamCaptureMode.
type CaptureMode uint32

// CaptureThreadLocal refuses unsafe calls of the capturing thread only.
const CaptureThreadLocal CaptureMode = 1

// Flags of streams and events.
const (
	StreamNonBlocking uint32 = 1
	EventBlockingSync uint32 = 1
)

// TensorMap is a CUtensorMap: opaque, and to be aligned to 64 bytes.
type TensorMap [128]byte

// TensorMapType is a CUtensorMapDataType.
type TensorMapType uint32

// The types, of which 8-bit floats have none: TMA moves bytes.
const (
	MapU8   TensorMapType = 0
	MapU32  TensorMapType = 2
	MapS32  TensorMapType = 3
	MapF16  TensorMapType = 6
	MapF32  TensorMapType = 7
	MapBF16 TensorMapType = 9
)

// LaunchConfig is a CUlaunchConfig.
type LaunchConfig struct {
	Grid, Block [3]uint32
	Shared      uint32
	_           uint32
	Stream      uintptr
	Attrs       *LaunchAttr
	NumAttrs    uint32
	_           uint32
}

// LaunchAttr is a CUlaunchAttribute; Value is a union, of which the cluster's
// dimensions take three words and the switches one.
type LaunchAttr struct {
	ID    LaunchAttrID
	_     uint32
	Value [16]uint32
}

// LaunchAttrID is a CUlaunchAttributeID.
type LaunchAttrID uint32

// The attributes that are set.
const (
	AttrClusterDim LaunchAttrID = 4
	AttrPDL        LaunchAttrID = 6 // PROGRAMMATIC_STREAM_SERIALIZATION
)

// String copies a C string.
func String(p *byte) string {
	if p == nil {
		return ""
	}
	n := 0
	for *(*byte)(unsafe.Add(unsafe.Pointer(p), n)) != 0 {
		n++
	}
	return string(unsafe.Slice(p, n))
}
