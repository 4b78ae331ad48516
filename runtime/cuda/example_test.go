package cuda_test

import (
	"context"
	"log"

	"github.com/sparsegen/sparsegen/runtime"
	"github.com/sparsegen/sparsegen/runtime/cuda"
)

// kernels stands for the package that sparsegen gen writes.
func kernels() runtime.Set { return runtime.Set{} }

// A layer runs on a GPU as it does on a CPU.
func ExampleOn() {
	dev, err := cuda.Open(0)
	if err != nil {
		log.Fatal(err) // no driver, no GPU, or a driver that is too old
	}
	defer dev.Close()
	model, err := runtime.Open("model.sgp", kernels())
	if err != nil {
		log.Fatal(err)
	}
	defer model.Close()
	session, err := model.NewSession("ffn", cuda.On(dev), runtime.MaxBatch(64))
	if err != nil {
		log.Fatal(err)
	}
	x, y := make([]float32, 64*4096), make([]float32, 64*4096)
	if err := session.Run(context.Background(), [][]float32{x}, [][]float32{y}); err != nil {
		log.Fatal(err)
	}
}

// Inputs and outputs that stay in device memory, in a graph.
func ExampleNewSession() {
	run := func(dev *cuda.Device, model *runtime.Model) error {
		session, err := cuda.NewSession(model, "ffn", dev, runtime.MaxBatch(64))
		if err != nil {
			return err
		}
		defer session.Close()
		const tokens = 64
		x, err := dev.Alloc(session.Inputs()[0].Bytes(tokens))
		if err != nil {
			return err
		}
		y, err := dev.Alloc(session.Outputs()[0].Bytes(tokens))
		if err != nil {
			return err
		}
		layer, err := session.Bind(tokens, []*cuda.Buffer{x}, []*cuda.Buffer{y})
		if err != nil {
			return err
		}
		graph, err := dev.Stream().Capture(func() error { return layer.Launch(dev.Stream()) })
		if err != nil {
			return err
		}
		defer graph.Close()
		return graph.Launch(dev.Stream())
	}
	_ = run
}
