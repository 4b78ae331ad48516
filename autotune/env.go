package autotune

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
)

// Environment is the machine that a record was measured on. What a system does not
// tell stays empty.
type Environment struct {
	Microarch string `json:"microarch"` // the name of the records' folder
	CPU       string `json:"cpu,omitempty"`
	Microcode string `json:"microcode,omitempty"`
	L1        string `json:"l1,omitempty"`
	L2        string `json:"l2,omitempty"`
	L3        string `json:"l3,omitempty"`
	Kernel    string `json:"kernel,omitempty"`
	Virtual   bool   `json:"virtual,omitempty"` // a hypervisor is between
	Governor  string `json:"governor,omitempty"`
	Go        string `json:"go"`
	Clock     string `json:"clock"`
}

// Conditions are what else went on while a race ran.
type Conditions struct {
	Pressure float64 `json:"pressure,omitempty"` // share of the last ten seconds in which something waited for a core (PSI), in %
	Steal    float64 `json:"steal,omitempty"`    // share of the time that a hypervisor kept, in %
	MHz      float64 `json:"mhz,omitempty"`
	Celsius  float64 `json:"celsius,omitempty"`
}

// Machine reads the environment of this process.
func Machine() Environment {
	info := cpuInfo()
	const cache = "/sys/devices/system/cpu/cpu0/cache/index"
	return Environment{
		Microarch: microarch(info), CPU: info["model name"], Microcode: info["microcode"],
		L1: firstLine(cache + "0/size"), L2: firstLine(cache + "2/size"), L3: firstLine(cache + "3/size"),
		Kernel: firstLine("/proc/sys/kernel/osrelease"), Virtual: strings.Contains(" "+info["flags"]+" ", " hypervisor "),
		Governor: firstLine("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"), Go: runtime.Version(),
	}
}

// microarch names the kind of core: vendor, family and model as the processor gives
// them, or the architecture where it does not.
func microarch(info map[string]string) string {
	vendor := map[string]string{"AuthenticAMD": "amd", "GenuineIntel": "intel"}[info["vendor_id"]]
	switch {
	case vendor != "":
		return fmt.Sprintf("%s-%s-%s", vendor, info["cpu family"], info["model"])
	case info["CPU implementer"] != "":
		return fmt.Sprintf("arm-%s-%s", info["CPU implementer"], info["CPU part"])
	}
	return runtime.GOARCH
}

// cpuInfo is what /proc/cpuinfo says of the first core.
func cpuInfo() map[string]string {
	info := map[string]string{}
	text, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return info
	}
	lines := bufio.NewScanner(bytes.NewReader(text))
	for lines.Scan() {
		name, value, ok := strings.Cut(lines.Text(), ":")
		if !ok {
			break // the next core
		}
		info[strings.TrimSpace(name)] = strings.TrimSpace(value)
	}
	return info
}

func firstLine(path string) string {
	text, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	line, _, _ := strings.Cut(string(text), "\n")
	return strings.TrimSpace(line)
}

// bytesOf reads a size as the system writes it, such as 512K; 0 if it cannot.
func bytesOf(size string) int {
	unit := 1
	switch {
	case strings.HasSuffix(size, "K"):
		unit = 1 << 10
	case strings.HasSuffix(size, "M"):
		unit = 1 << 20
	}
	n, err := strconv.Atoi(strings.TrimRight(size, "KM"))
	if err != nil || n < 0 || n > 1<<20 {
		return 0
	}
	return n * unit
}

// meter reads the load over a span of time.
type meter struct{ steal, all float64 }

func startMeter() meter {
	var m meter
	m.steal, m.all = stealTime()
	return m
}

// conditions since the meter started.
func (m meter) conditions() Conditions {
	var l Conditions
	if steal, all := stealTime(); all > m.all {
		l.Steal = twoDigits(100 * (steal - m.steal) / (all - m.all))
	}
	for _, f := range strings.Fields(firstLine("/proc/pressure/cpu")) {
		if v, ok := strings.CutPrefix(f, "avg10="); ok {
			l.Pressure = number(v)
		}
	}
	l.MHz = number(cpuInfo()["cpu MHz"])
	zones, err := filepath.Glob("/sys/class/thermal/thermal_zone*/temp")
	if err == nil && len(zones) > 0 {
		l.Celsius = number(firstLine(zones[0])) / 1000
	}
	return l
}

// worse is the load of two spans of time, the later one last.
func (l Conditions) worse(later Conditions) Conditions {
	later.Pressure, later.Steal = max(l.Pressure, later.Pressure), max(l.Steal, later.Steal)
	return later
}

// stealTime is the time that a hypervisor kept from all cores, and all time, in
// ticks.
func stealTime() (steal, all float64) {
	fields := strings.Fields(firstLine("/proc/stat"))
	for i, f := range fields {
		if i == 0 || i > 8 {
			continue // the name; time of guests, which is counted already
		}
		all += number(f)
		if i == 8 {
			steal = number(f)
		}
	}
	return steal, all
}

func number(s string) float64 {
	v, err := strconv.ParseFloat(s, 64)
	if err != nil {
		return 0
	}
	return v
}
