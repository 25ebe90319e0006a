package ratelimit

import (
	"container/list"
	"sync"
	"time"
)

// memory holds the buckets of the keys that were used last, at most max. Its methods may be called from any
// goroutine.
type memory struct {
	max int

	mu        sync.Mutex // guards the rest
	entries   map[id]*list.Element
	order     list.List // of *entry, the last used first
	forgotten uint64
}

type entry struct {
	id   id
	full time.Duration // when the bucket is full, on the caller's clock
}

func newMemory(limit int) *memory { return &memory{max: limit, entries: map[id]*list.Element{}} }

// take takes a token from a key's bucket. now is the time since any fixed moment and must not go back much.
func (m *memory) take(key id, b bucket, now time.Duration) outcome {
	m.mu.Lock()
	defer m.mu.Unlock()
	e := m.entryLocked(key, now)
	o := b.take(e.full - now)
	e.full = now + o.missing
	return o
}

// entryLocked returns the key's entry, which is then the one used last.
func (m *memory) entryLocked(key id, now time.Duration) *entry {
	if place := m.entries[key]; place != nil {
		m.order.MoveToFront(place)
		return place.Value.(*entry)
	}
	if m.order.Len() >= m.max {
		m.dropLocked(now)
	}
	e := &entry{id: key, full: now}
	m.entries[key] = m.order.PushFront(e)
	return e
}

// dropLocked drops the entry that was not used for the longest time. It counts only when that gives tokens
// away: a full bucket is no loss.
func (m *memory) dropLocked(now time.Duration) {
	e := m.order.Remove(m.order.Back()).(*entry)
	delete(m.entries, e.id)
	if e.full > now {
		m.forgotten++
	}
}

// stats returns the number of buckets, and how many were dropped before they were full.
func (m *memory) stats() (buckets int, forgotten uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.order.Len(), m.forgotten
}
