package report

import (
	"encoding/xml"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sparsegen/sparsegen/autotune"
	"github.com/sparsegen/sparsegen/codegen"
	"github.com/sparsegen/sparsegen/patterns"
	"github.com/sparsegen/sparsegen/runtime"
)

// somePage is the page of a layer whose names would break a page that forgets to
// escape them, with a race.
func somePage(t *testing.T) string {
	pattern, err := patterns.Parse("unstructured(sparsity=0.8)")
	require.NoError(t, err)
	rng := rand.New(rand.NewPCG(1, 2))
	m := patterns.NewMatrix(64, 96)
	for i := range m.Data {
		m.Data[i] = float32(rng.NormFloat64())
	}
	mask, err := pattern.Prune(m)
	require.NoError(t, err)
	l := autotune.Linear{
		Layer: "ffn<script>", Tensor: `a"b&c</svg>`, Matrix: m, Mask: mask,
		Problem: codegen.Problem{Out: 64, In: 96, BatchMin: 1, BatchMax: 16, TokenMajor: true, Levels: pattern.Levels(64, 96)},
	}
	_, plan, err := codegen.Plan(l.Problem, m, mask, codegen.Builtin(runtime.AVX2), nil)
	require.NoError(t, err)
	r := &Report{Spec: "model.sg", ISA: runtime.AVX2, Machine: "test-1", Roofs: &autotune.Roofs{GFlops: 90, L2: 60, L3: 40, Memory: 20}}
	r.Add(l, "unstructured", plan, autotune.NewLookup(autotune.Load(t.TempDir()), "test-1"))
	r.Layers[0].Races = []Race{{
		Batch: 8, Config: "panelStep mr=4 kb=64", Default: "deltaTile s=8", Saves: "30.0 % less", Noise: 0.01, P: 1e-9, Raced: 30,
		entries: []autotune.Entry{{Config: "panelStep mr=4 kb=64", Min: 700, Median: 800, Samples: 58}, {Config: "deltaTile s=8", Min: 1000, Median: 1e5, Samples: 58}},
	}}
	r.Layers[0].points = []point{{8, 2, 40}, {16, 0.01, 0.2}, {64, 500, 300}}
	r.Records = 1
	var page strings.Builder
	require.NoError(t, r.WriteHTML(&page))
	return page.String()
}

// TestPageNeedsNothing: no script, nothing from a network, every drawing well-formed
// and within its frame.
func TestPageNeedsNothing(t *testing.T) {
	page := somePage(t)
	for _, word := range []string{"<script", "http:", "https:", " src=", "@import", "url(", "NaN", "Inf", "%!"} {
		require.NotContains(t, page, word)
	}
	for _, want := range []string{"ffn&lt;script&gt;", "30.0 % less time than", "orange the plan without records", "90 GFlop/s", "memory 20 GB/s"} {
		require.Contains(t, page, want)
	}
	drawings := regexp.MustCompile(`(?s)<svg .*?</svg>`).FindAllString(page, -1)
	require.Len(t, drawings, 3)
	for _, d := range drawings {
		dec := xml.NewDecoder(strings.NewReader(d))
		elements := 0
		for {
			token, err := dec.Token()
			if err == io.EOF {
				break
			}
			require.NoError(t, err)
			if e, ok := token.(xml.StartElement); ok && e.Name.Local != "svg" && e.Name.Local != "title" {
				elements++
			}
		}
		require.Greater(t, elements, 5)
	}
}

// TestPageInABrowser: a browser draws every chart and asks for nothing but the page.
// That it asks no other host for anything is what TestPageNeedsNothing says: the page
// names none.
func TestPageInABrowser(t *testing.T) {
	browser, err := exec.LookPath("chromium")
	if err != nil || testing.Short() {
		t.Skip("no chromium (Debian: chromium), or -short")
	}
	var mu sync.Mutex
	var asked []string
	page := somePage(t)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		asked = append(asked, r.URL.Path)
		_, _ = io.WriteString(w, page) // a browser that is gone shows below
	}))
	defer server.Close()
	dir := t.TempDir()
	cmd := exec.Command(browser, "--headless", "--no-sandbox", "--disable-gpu", "--user-data-dir="+filepath.Join(dir, "profile"),
		"--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1", "--dump-dom", server.URL+"/report.html")
	cmd.Env = append(os.Environ(), "HOME="+dir)
	dom, err := cmd.Output()
	require.NoError(t, err)
	mu.Lock()
	asked = slices.DeleteFunc(asked, func(path string) bool { return path == "/favicon.ico" }) // browsers do
	require.Equal(t, []string{"/report.html"}, asked)
	mu.Unlock()
	require.Equal(t, 3, strings.Count(string(dom), "</svg>"))
	require.Equal(t, 3, strings.Count(string(dom), `<circle class="point"`))
	require.Equal(t, 1, strings.Count(string(dom), `class="bar chosen"`))
	require.Equal(t, 1, strings.Count(string(dom), `class="bar default"`))
}
