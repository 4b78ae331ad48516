package weights

import (
	"embed"
	"io/fs"
)

//go:embed testdata/faceapi
var faceapi embed.FS

// Small is the folder of a small real model that comes with sparsegen: the age
// and gender net of face-api, quantised to uint8 (MIT, see its LICENSE). Open
// reads its age_gender_model-weights_manifest.json.
func Small() fs.FS {
	dir, err := fs.Sub(faceapi, "testdata/faceapi")
	if err != nil {
		panic(err) // the path is the one embedded above
	}
	return dir
}
