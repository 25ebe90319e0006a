package limit

import (
	"encoding/binary"
	"hash/maphash"
	"sync"
	"sync/atomic"
	"time"
)

// Key stands for whoever a bucket counts. It is a hash with a secret of the process: keys are small however
// long what they stand for is, and nobody outside can choose two that meet.
type Key uint64

var secret = maphash.MakeSeed()

// KeyOf returns the key of some bytes.
func KeyOf(b []byte) Key { return Key(maphash.Bytes(secret, b)) }

// KeyOfString returns the key of a text; that of the same bytes is the same.
func KeyOfString(s string) Key { return Key(maphash.String(secret, s)) }

// And returns the key of a pair.
func (k Key) And(other Key) Key {
	var pair [16]byte
	binary.LittleEndian.PutUint64(pair[:], uint64(k))
	binary.LittleEndian.PutUint64(pair[8:], uint64(other))
	return KeyOf(pair[:])
}

const (
	shards     = 16
	shardFrom  = 1024 // fewer keys are held in one shard, whose order is exact
	trimAtOnce = 1024 // keys of a shard that one Trim drops at most
)

// Keys is a set of buckets of one Rate, one for each key. It holds a bounded number of them: the key that was
// not seen for the longest time goes for a new one, and begins with a full bucket when it comes back. All
// methods are safe for concurrent use; a key that is there costs no allocation.
type Keys struct {
	rate  Rate
	held  atomic.Int64
	parts []shard
}

// NewKeys returns an empty set for up to max keys, at least 1.
func NewKeys(rate Rate, max int) *Keys {
	n := 1
	if max >= shardFrom {
		n = shards
	}
	k := &Keys{rate: rate, parts: make([]shard, n)}
	for i := range k.parts {
		k.parts[i].max = max / n
	}
	return k
}

// Rate returns what fills the buckets.
func (k *Keys) Rate() Rate { return k.rate }

// Len returns the number of keys held.
func (k *Keys) Len() int { return int(k.held.Load()) }

// Take is Bucket.Take on the bucket of a key. evicted says that another key had to go for it.
func (k *Keys) Take(key Key, now, patience time.Duration) (v Verdict, evicted bool) {
	s := k.shard(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	i, held := s.index[key]
	if held {
		s.unlink(i)
	} else {
		if evicted = len(s.index) >= s.max; evicted {
			s.drop(s.slots[0].newer)
		} else {
			k.held.Add(1)
		}
		i = s.add(key)
	}
	s.link(i)
	return s.slots[i].Take(k.rate, now, patience), evicted
}

// Return gives back a token of a key.
func (k *Keys) Return(key Key) {
	s := k.shard(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	if i, held := s.index[key]; held {
		s.slots[i].Return()
	}
}

// Trim drops keys whose bucket is full, which is as if they had never been seen, and with the last one the
// memory. It does so a part at a time: call it now and then.
func (k *Keys) Trim(now time.Duration) {
	for i := range k.parts {
		k.held.Add(-int64(k.parts[i].trim(k.rate, now)))
	}
}

func (k *Keys) shard(key Key) *shard { return &k.parts[int(uint64(key)>>32)%len(k.parts)] }

// shard is a part of the keys, in a ring by use.
type shard struct {
	mu    sync.Mutex // guards the rest
	max   int
	index map[Key]int32
	slots []slot // 0 is the ring's clasp, between the newest and the oldest
	free  int32  // first of the unused slots, linked by newer; 0: none
}

// slot is a key's bucket and its place in the ring.
type slot struct {
	Bucket
	key          Key
	newer, older int32
}

// add takes a slot for a key.
func (s *shard) add(key Key) (i int32) {
	if s.index == nil {
		s.index, s.slots = make(map[Key]int32), make([]slot, 1, 16)
	}
	if i = s.free; i != 0 {
		s.free = s.slots[i].newer
	} else {
		i = int32(len(s.slots))
		s.slots = append(s.slots, slot{})
	}
	s.slots[i] = slot{key: key}
	s.index[key] = i
	return i
}

// drop gives up a slot.
func (s *shard) drop(i int32) {
	s.unlink(i)
	delete(s.index, s.slots[i].key)
	s.slots[i].newer, s.free = s.free, i
}

// link makes a slot the newest.
func (s *shard) link(i int32) {
	was := s.slots[0].older
	s.slots[i].older, s.slots[i].newer = was, 0
	s.slots[was].newer, s.slots[0].older = i, i
}

func (s *shard) unlink(i int32) {
	newer, older := s.slots[i].newer, s.slots[i].older
	s.slots[newer].older, s.slots[older].newer = older, newer
}

func (s *shard) trim(r Rate, now time.Duration) (dropped int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.index) > 0 && dropped < trimAtOnce {
		oldest := s.slots[0].newer
		if !s.slots[oldest].FullAt(r, now) {
			return dropped
		}
		s.drop(oldest)
		dropped++
	}
	if len(s.index) == 0 {
		s.index, s.slots, s.free = nil, nil, 0
	}
	return dropped
}
