package coding

import "sync"

// keptOutput is the largest output buffer that an idle encoder keeps, in bytes.
const keptOutput = 64 << 10

// Pool lends encoders. All of them together, in use or idle, take a bounded amount of memory. Its methods
// may be called from any goroutine.
type Pool struct {
	most int64 // bytes of memory

	mu    sync.Mutex // guards the rest
	taken int64      // bytes of all encoders
	idle  map[kind]*shelf
}

// shelf holds the idle encoders of one kind.
type shelf struct {
	free  []*Encoder
	least int // fewest since the last Trim: that many nobody needed
}

// NewPool returns a pool of at most most bytes, as Cost counts them.
func NewPool(most int64) *Pool { return &Pool{most: most, idle: map[kind]*shelf{}} }

// Cost returns the memory that one encoder takes at most, in bytes, its output buffer aside.
func Cost(c Coding, level int) int64 {
	row := costs[c]
	for _, step := range row {
		if level <= step.level {
			return step.bytes
		}
	}
	return row[len(row)-1].bytes
}

type costStep struct {
	level int // up to this one
	bytes int64
}

// costs is what was measured (TestCost), rounded up.
var costs = [codings][]costStep{
	Identity: {{9, 0}},
	Gzip:     {{9, 3 << 19}},
	Brotli:   {{3, 3 << 19}, {9, 7 << 20}},
	Zstd:     {{2, 5 << 18}, {5, 5 << 19}, {9, 11 << 19}},
}

// Get lends an encoder, ready for a new body; nil: there is no memory for one more. A level is from
// MinLevel to MaxLevel.
func (p *Pool) Get(c Coding, level int) *Encoder {
	k := kind{c, level}
	p.mu.Lock()
	s := p.shelf(k)
	if n := len(s.free); n > 0 {
		e := s.free[n-1]
		s.free[n-1], s.free = nil, s.free[:n-1]
		s.least = min(s.least, n-1)
		p.mu.Unlock()
		e.w.Reset(sink{e})
		return e
	}
	ok := p.makeRoom(Cost(c, level))
	p.mu.Unlock()
	if !ok {
		return nil
	}
	return newEncoder(k)
}

func (p *Pool) shelf(k kind) *shelf {
	s := p.idle[k]
	if s == nil {
		s = &shelf{}
		p.idle[k] = s
	}
	return s
}

// makeRoom takes the bytes of one more encoder off the pool's, and forgets idle ones of other kinds for it.
func (p *Pool) makeRoom(bytes int64) bool {
	for _, s := range p.idle {
		if p.taken+bytes <= p.most {
			break
		}
		for len(s.free) > 0 && p.taken+bytes > p.most {
			p.drop(s, 1)
		}
	}
	if p.taken+bytes > p.most {
		return false
	}
	p.taken += bytes
	return true
}

// drop forgets n idle encoders.
func (p *Pool) drop(s *shelf, n int) {
	for _, e := range s.free[len(s.free)-n:] {
		p.taken -= Cost(e.kind.coding, e.kind.level)
	}
	clear(s.free[len(s.free)-n:])
	s.free = s.free[:len(s.free)-n]
	s.least = min(s.least, len(s.free))
}

// Put takes an encoder back, whether its body was finished or not.
func (p *Pool) Put(e *Encoder) {
	e.held = false
	if cap(e.out) > keptOutput {
		e.out = nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.shelf(e.kind)
	s.free = append(s.free, e)
}

// Trim forgets the encoders that nobody needed since the last call.
func (p *Pool) Trim() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, s := range p.idle {
		p.drop(s, min(s.least, len(s.free)))
		s.least = len(s.free)
	}
}

// Taken returns the memory of all encoders, in bytes.
func (p *Pool) Taken() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.taken
}
