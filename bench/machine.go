package main

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"github.com/sparsegen/sparsegen/bench/peers"
)

// Machine is where the figures come from; ratios carry over, times do not.
type Machine struct {
	CPU      string   `json:"cpu"`
	Family   string   `json:"family"` // vendor's family, model, stepping
	Features []string `json:"features"`
	CPUs     int      `json:"cpus"`
	L2       string   `json:"l2,omitempty"`
	L3       string   `json:"l3,omitempty"`
	Kernel   string   `json:"kernel"`
	Go       string   `json:"go"`
	Load     string   `json:"load"`              // averages when the run began
	ISACap   string   `json:"isa_cap,omitempty"` // SPARSEGEN_ISA
}

// Library is one peer's entry in the report.
type Library struct {
	Name    string `json:"name"`
	Library string `json:"library"`
	Layout  string `json:"layout"`
	Note    string `json:"note,omitempty"`
}

func thisMachine() Machine {
	m := Machine{CPUs: runtime.NumCPU(), Go: runtime.Version(), ISACap: os.Getenv("SPARSEGEN_ISA")}
	info := cpuInfo()
	m.CPU = info["model name"]
	m.Family = fmt.Sprintf("%s family %s model %s stepping %s", info["vendor_id"], info["cpu family"], info["model"], info["stepping"])
	for _, f := range strings.Fields(info["flags"]) {
		if slices.Contains([]string{"avx2", "fma", "avx_vnni", "avx512f", "avx512bw", "avx512vl", "avx512_vnni", "avx512_bf16", "amx_tile"}, f) {
			m.Features = append(m.Features, f)
		}
	}
	cache := "/sys/devices/system/cpu/cpu0/cache/index"
	m.L2, m.L3 = firstLine(cache+"2/size"), firstLine(cache+"3/size")
	m.Kernel, m.Load = firstLine("/proc/sys/kernel/osrelease"), firstLine("/proc/loadavg")
	return m
}

func libraries(ours Ours) []Library {
	var all []Library
	for _, p := range peers.All() {
		all = append(all, Library{p.Name, p.Library, p.Layout.String(), p.Note})
	}
	if ours != nil {
		all = append(all, Library{oursName, ours.Library(), "both", "the planned kernel; ours-dense is our own dense kernel"})
	}
	return all
}

// cpuInfo is the first processor's block of /proc/cpuinfo.
func cpuInfo() map[string]string {
	info := map[string]string{}
	data, _ := os.ReadFile("/proc/cpuinfo") // absent: the report says nothing
	for s := bufio.NewScanner(bytes.NewReader(data)); s.Scan() && s.Text() != ""; {
		if key, value, ok := strings.Cut(s.Text(), ":"); ok {
			info[strings.TrimSpace(key)] = strings.TrimSpace(value)
		}
	}
	return info
}

func firstLine(path string) string {
	data, _ := os.ReadFile(path)
	line, _, _ := strings.Cut(string(data), "\n")
	return line
}

// poolFor limits the weights that a contender may hold so that ten of them
// take at most half of the free memory.
func poolFor(want int64) int64 {
	data, _ := os.ReadFile("/proc/meminfo")
	for line := range strings.Lines(string(data)) {
		if f := strings.Fields(line); len(f) > 1 && f[0] == "MemAvailable:" {
			if kb, err := strconv.ParseInt(f[1], 10, 64); err == nil {
				return min(want, kb*1024/20)
			}
		}
	}
	return want
}
