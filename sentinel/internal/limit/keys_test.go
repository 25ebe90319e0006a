package limit

import (
	"encoding/binary"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// lru is a set of buckets as one would explain it.
type lru struct {
	rate  Rate
	max   int
	order []Key // oldest first
	by    map[Key]*Bucket
}

func (l *lru) take(k Key, now, patience time.Duration) (v Verdict, evicted bool) {
	if i := slices.Index(l.order, k); i >= 0 {
		l.order = slices.Delete(l.order, i, i+1)
	} else {
		if evicted = len(l.order) == l.max; evicted {
			delete(l.by, l.order[0])
			l.order = l.order[1:]
		}
		l.by[k] = &Bucket{}
	}
	l.order = append(l.order, k)
	return l.by[k].Take(l.rate, now, patience), evicted
}

// trim drops the oldest while they are full.
func (l *lru) trim(now time.Duration) {
	for len(l.order) > 0 && l.by[l.order[0]].FullAt(l.rate, now) {
		delete(l.by, l.order[0])
		l.order = l.order[1:]
	}
}

func TestKeysModel(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		r := Rate{rapid.IntRange(1, 10).Draw(t, "rate"), rapid.IntRange(1, 5).Draw(t, "burst")}
		most := rapid.IntRange(1, 6).Draw(t, "max")
		k, model := NewKeys(r, most), &lru{rate: r, max: most, by: map[Key]*Bucket{}}
		now := time.Duration(0)
		for range rapid.IntRange(1, 100).Draw(t, "calls") {
			now += time.Duration(rapid.Int64Range(0, int64(time.Second)).Draw(t, "step"))
			key := Key(rapid.IntRange(1, 10).Draw(t, "key"))
			switch rapid.IntRange(0, 9).Draw(t, "what") {
			case 0:
				k.Trim(now)
				model.trim(now)
			case 1:
				k.Return(key)
				if b := model.by[key]; b != nil {
					b.Return()
				}
			default:
				patience := patiences.Draw(t, "patience")
				got, gone := k.Take(key, now, patience)
				want, wantGone := model.take(key, now, patience)
				if got != want || gone != wantGone {
					t.Fatalf("key %d: %+v %t, want %+v %t", key, got, gone, want, wantGone)
				}
			}
			if k.Len() != len(model.order) {
				t.Fatalf("%d keys, want %d", k.Len(), len(model.order))
			}
		}
	})
}

// TestKeysBounded sends more clients than may be held, as an attacker with many addresses would.
func TestKeysBounded(t *testing.T) {
	t.Parallel()
	for _, most := range []int{1, 100, 1024, 5000} {
		k, evictions := NewKeys(Rate{1, 1}, most), 0
		for i := range 4 * most {
			if v, gone := k.Take(number64(i), 0, 0); !v.OK {
				t.Fatalf("key %d, which is new, is refused", i)
			} else if gone {
				evictions++
			}
		}
		if n := k.Len(); n > most || n < most*9/10 || evictions != 4*most-n {
			t.Errorf("%d keys of at most %d, %d evictions", n, most, evictions)
		}
		for range 1 + most/trimAtOnce {
			k.Trim(time.Second)
		}
		if k.Len() != 0 {
			t.Errorf("%d keys are left whose bucket is full again", k.Len())
		}
		for i := range k.parts {
			if k.parts[i].slots != nil {
				t.Error("the memory of an empty set is kept")
			}
		}
	}
}

func number64(i int) Key {
	var b [8]byte
	binary.LittleEndian.PutUint64(b[:], uint64(i))
	return KeyOf(b[:])
}

func TestKeyOf(t *testing.T) {
	t.Parallel()
	if KeyOf([]byte("abc")) != KeyOfString("abc") {
		t.Error("the same bytes have two keys")
	}
	a, b := KeyOfString("a"), KeyOfString("b")
	if a == b || a.And(b) == b.And(a) || a.And(b) == a {
		t.Error("keys meet")
	}
}

// TestKeysTogether counts from many goroutines: no token is lost, and none is made up.
func TestKeysTogether(t *testing.T) {
	t.Parallel()
	const burst, workers, calls = 1000, 8, 2000
	k := NewKeys(Rate{1, burst}, 2000)
	var passed [4]int
	var mu sync.Mutex // guards passed
	var all sync.WaitGroup
	for range workers {
		all.Go(func() {
			var mine [4]int
			for i := range calls {
				if v, _ := k.Take(number64(i%4), 0, 0); v.OK {
					mine[i%4]++
				}
			}
			mu.Lock()
			defer mu.Unlock()
			for i := range mine {
				passed[i] += mine[i]
			}
		})
	}
	all.Wait()
	if passed != [4]int{burst, burst, burst, burst} {
		t.Errorf("%v passed, want %d of each key", passed, burst)
	}
}

func TestKeysHitAllocatesNothing(t *testing.T) {
	k := NewKeys(Rate{1000, 1000}, 100_000)
	ip := [16]byte{15: 1}
	now := time.Duration(0)
	k.Take(KeyOf(ip[:]), now, 0)
	if n := testing.AllocsPerRun(1000, func() {
		now += time.Microsecond
		k.Take(KeyOf(ip[:]).And(KeyOfString("/path")), now, 0)
		k.Take(KeyOf(ip[:]), now, 0)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkKeys(b *testing.B) {
	for _, held := range []int{1, 1000, 100_000} {
		b.Run("hit among "+strconv.Itoa(held), func(b *testing.B) {
			k := NewKeys(Rate{1 << 30, 1 << 30}, 2*held+shardFrom)
			for i := range held {
				k.Take(number64(i), 0, 0)
			}
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				k.Take(number64(i), time.Duration(i), 0)
				if i++; i == held {
					i = 0
				}
			}
		})
	}
	b.Run("parallel", func(b *testing.B) {
		k := NewKeys(Rate{1 << 30, 1 << 30}, 100_000)
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			for i := 0; pb.Next(); i++ {
				k.Take(number64(i&1023), time.Duration(i), 0)
			}
		})
	})
	b.Run("new keys for ever", func(b *testing.B) {
		k := NewKeys(Rate{1, 10}, 100_000)
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			k.Take(number64(i), 0, 0)
		}
	})
}
