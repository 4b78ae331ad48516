package ptx

import "strings"

// specialRegisters are the read-only registers that a mov may name.
var specialRegisters = func() map[string]bool {
	m := map[string]bool{}
	for r := range strings.FieldsSeq(`laneid warpid nwarpid smid nsmid gridid clock clock_hi clock64
		globaltimer globaltimer_lo globaltimer_hi lanemask_eq lanemask_le lanemask_lt lanemask_ge lanemask_gt
		cluster_ctarank cluster_nctarank is_explicit_cluster total_smem_size dynamic_smem_size`) {
		m["%"+r] = true
	}
	for r := range strings.FieldsSeq("tid ntid ctaid nctaid clusterid nclusterid cluster_ctaid cluster_nctaid") {
		for _, d := range "xyz" {
			m["%"+r+"."+string(d)] = true
		}
	}
	return m
}()

// suggest is a hint that names the nearest forms to one that is not there.
func (t *table) suggest(form string) string {
	op, _, _ := strings.Cut(form, ".")
	best, dist := "", 1<<30
	for _, f := range t.forms {
		if o, _, _ := strings.Cut(f, "."); o != op {
			continue
		}
		if d := distance(strings.Split(form, "."), strings.Split(f, ".")); d < dist {
			best, dist = f, d
		}
	}
	if best == "" {
		return ""
	}
	return "; the nearest is " + best
}

// distance is the edit distance of two lists of modifiers.
func distance(a, b []string) int {
	prev := make([]int, len(b)+1)
	for j := range prev {
		prev[j] = j
	}
	for i := range a {
		cur := make([]int, len(b)+1)
		cur[0] = i + 1
		for j := range b {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			cur[j+1] = min(prev[j]+cost, prev[j+1]+1, cur[j]+1)
		}
		prev = cur
	}
	return prev[len(b)]
}
