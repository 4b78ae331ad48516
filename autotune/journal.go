package autotune

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/sparsegen/sparsegen/autotune/internal/records"
)

// journal keeps the samples of races that are not over: a line for each round, on
// its way to the disk before the next one starts. What it holds is measured again by
// nobody; the last line may be torn, and is then left out.
type journal struct {
	f     *os.File
	races map[Problem]*journaled
}

// journaled is a race as far as it went.
type journaled struct {
	worker   string
	entrants []string
	rounds   [][]Sample
}

// entry is a line: the start of a race, or of its going on where worker and entrants are
// those of before, or a round of the race of the line before.
type entry struct {
	Problem  *Problem `json:"problem,omitempty"`
	Worker   string   `json:"worker,omitempty"` // the program: other kernels make another race
	Entrants []string `json:"entrants,omitempty"`
	Round    []Sample `json:"round,omitempty"`
}

func journalPath(dir, microarch string) string {
	return filepath.Join(dir, microarch, ".journal.jsonl")
}

// openJournal reads what a journal holds and opens it for more.
func openJournal(path string) (*journal, error) {
	j := &journal{races: map[Problem]*journaled{}}
	text, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	lines := bufio.NewScanner(bytes.NewReader(text))
	lines.Buffer(nil, records.MaxLine)
	var now *journaled
	whole := 0 // bytes up to the last line that can be read
	for lines.Scan() {
		var e entry
		if json.Unmarshal(lines.Bytes(), &e) != nil || len(e.Round) > 0 && !now.holds(e.Round) {
			break
		}
		whole += len(lines.Bytes()) + 1
		switch {
		case e.Problem != nil:
			if now = j.races[*e.Problem]; !now.is(e.Worker, e.Entrants) {
				now = &journaled{e.Worker, e.Entrants, nil}
				j.races[*e.Problem] = now
			}
		case len(e.Round) > 0:
			now.rounds = append(now.rounds, e.Round)
		}
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		return nil, err
	}
	if j.f, err = os.OpenFile(path, os.O_WRONLY|os.O_CREATE, 0o666); err != nil {
		return nil, err
	}
	whole = min(whole, len(text)) // the last line may lack its end
	if whole > 0 && text[whole-1] != '\n' {
		whole = bytes.LastIndexByte(text[:whole], '\n') + 1
		if now != nil && len(now.rounds) > 0 {
			now.rounds = now.rounds[:len(now.rounds)-1]
		}
	}
	err = j.f.Truncate(int64(whole))
	if err == nil {
		_, err = j.f.Seek(int64(whole), 0)
	}
	if err != nil {
		return nil, errors.Join(err, j.f.Close())
	}
	return j, nil
}

// holds reports whether samples are a round of the race.
func (r *journaled) holds(samples []Sample) bool {
	return r != nil && len(samples) > 0 && !slices.ContainsFunc(samples, func(s Sample) bool {
		return s.Entrant < 0 || s.Entrant > len(r.entrants) || !(s.NS > 0)
	})
}

// is reports whether the race is one by this worker among these entrants.
func (r *journaled) is(worker string, entrants []string) bool {
	return r != nil && r.worker == worker && slices.Equal(r.entrants, entrants)
}

// behind is the rounds that a race has behind it.
func (j *journal) behind(p Problem, worker string, entrants []string) [][]Sample {
	if old := j.races[p]; old.is(worker, entrants) {
		return old.rounds
	}
	return nil
}

// begin starts a race, or goes on with it.
func (j *journal) begin(p Problem, worker string, entrants []string) error {
	return j.write(entry{Problem: &p, Worker: worker, Entrants: entrants})
}

// forget has a race start anew.
func (j *journal) forget(p Problem) error {
	delete(j.races, p)
	return j.write(entry{Problem: &p})
}

func (j *journal) round(samples []Sample) error { return j.write(entry{Round: samples}) }

func (j *journal) write(e entry) error {
	line, err := json.Marshal(e)
	if err != nil {
		return err
	}
	_, err = j.f.Write(append(line, '\n'))
	return err
}

// close closes the journal; done removes it, since records hold all of it.
func (j *journal) close(done bool) error {
	err := j.f.Close()
	if done {
		err = errors.Join(err, os.Remove(j.f.Name()))
	}
	return err
}
