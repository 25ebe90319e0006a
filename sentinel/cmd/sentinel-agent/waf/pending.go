package waf

import (
	"container/list"
	"sync"
	"time"
)

// maxIdle is how long a body may stand still before it makes room. Proxies give up on one sooner.
const maxIdle = 5 * time.Minute

// pending keeps the inspections of requests whose body is not complete, a bounded number of them. Its methods
// may be called from any goroutine. One that was taken out belongs to the taker alone.
type pending struct {
	max  int
	mu   sync.Mutex               // guards the rest
	byID map[string]*list.Element // of *parked
	line list.List                // the same, by time
}

type parked struct {
	id    string
	in    *inspection
	since time.Time
}

func newPending(max int) *pending {
	return &pending{max: max, byID: map[string]*list.Element{}}
}

// take takes an inspection out; nil: it is not there.
func (p *pending) take(id string) *inspection {
	p.mu.Lock()
	defer p.mu.Unlock()
	e := p.byID[id]
	if e == nil {
		return nil
	}
	return p.removeLocked(e)
}

// put keeps an inspection under an id that has none. It closes those that stood still too long, and the oldest
// if there are too many.
func (p *pending) put(id string, in *inspection) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	for e := p.line.Front(); e != nil; e = p.line.Front() {
		if p.line.Len() < p.max && now.Sub(e.Value.(*parked).since) < maxIdle {
			break
		}
		p.removeLocked(e).close()
	}
	if e := p.byID[id]; e != nil {
		p.removeLocked(e).close() // two requests with one id at once: a broken proxy
	}
	p.byID[id] = p.line.PushBack(&parked{id, in, now})
}

func (p *pending) removeLocked(e *list.Element) *inspection {
	out := p.line.Remove(e).(*parked)
	delete(p.byID, out.id)
	return out.in
}

// close closes everything that is kept.
func (p *pending) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for e := p.line.Front(); e != nil; e = p.line.Front() {
		p.removeLocked(e).close()
	}
}

// len returns the number of inspections kept.
func (p *pending) len() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.line.Len()
}
