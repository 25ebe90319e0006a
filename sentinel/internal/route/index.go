package route

import "slices"

// buckets holds one bucket per host, or per domain of wildcards.
type buckets struct {
	byName  map[string]*bucket
	lengths lengthSet
}

// of returns the bucket of that name, new if need be.
func (b *buckets) of(name string) *bucket {
	found := b.byName[name]
	if found == nil {
		found = &bucket{}
		b.byName[name] = found
		b.lengths.add(len(name))
	}
	return found
}

// find returns the bucket of that name, or nil.
func (b *buckets) find(name []byte) *bucket {
	if !b.lengths.mayHave(len(name)) {
		return nil
	}
	return b.byName[string(name)]
}

// lengthSet is the set of the lengths of a map's keys, modulo 64. It spares most look-ups of what is
// not there the cost of hashing.
type lengthSet uint64

func (s *lengthSet) add(n int) {
	*s |= 1 << (uint(n) % 64)
}

func (s lengthSet) mayHave(n int) bool {
	return s>>(uint(n)%64)&1 != 0
}

// bucket holds the rules of one host, each in one of three places. Every list is sorted by rank.
type bucket struct {
	paths       map[string][]entry
	pathLengths lengthSet
	prefixes    map[string][]entry
	prefixSizes []prefixSize // longest first
	rest        []entry
}

// prefixSize is a length that prefixes of a bucket have, and the lowest rank among those.
type prefixSize struct {
	n, first int
}

// entry is a rule in a list, with the kinds of condition that the place in the index does not
// already imply.
type entry struct {
	rank int
	need kinds
}

// insert lists a rule that still needs these kinds checked. Rules arrive by rising rank, which keeps
// the lists sorted.
func (b *bucket) insert(rank int, r *rule, need kinds) {
	switch {
	case len(r.Paths) > 0:
		for _, path := range r.Paths {
			b.insertPath(path, entry{rank, need &^ pathKind})
		}
	case len(r.Prefixes) > 0:
		for _, prefix := range r.Prefixes {
			b.insertPrefix(prefix, entry{rank, need &^ prefixKind})
		}
	default:
		b.rest = append(b.rest, entry{rank, need})
	}
}

func (b *bucket) insertPath(path string, e entry) {
	if b.paths == nil {
		b.paths = map[string][]entry{}
	}
	b.paths[path] = append(b.paths[path], e)
	b.pathLengths.add(len(path))
}

func (b *bucket) insertPrefix(prefix string, e entry) {
	if b.prefixes == nil {
		b.prefixes = map[string][]entry{}
	}
	b.prefixes[prefix] = append(b.prefixes[prefix], e)
	longestFirst := func(have prefixSize, n int) int { return n - have.n }
	if i, found := slices.BinarySearchFunc(b.prefixSizes, len(prefix), longestFirst); !found {
		b.prefixSizes = slices.Insert(b.prefixSizes, i, prefixSize{n: len(prefix), first: e.rank})
	}
}

// search is one look-up in a table.
type search struct {
	rules   []rule
	request *Request
	best    int // lowest rank known to hold; the number of rules while there is none
}

// bucket looks in the places of one host's rules that the path selects.
func (s *search) bucket(b *bucket) {
	path := s.request.Path
	if b.pathLengths.mayHave(len(path)) {
		s.list(b.paths[string(path)])
	}
	// Going by the lengths in use, not by the segments of the path, keeps the cost of a hostile path
	// with thousands of segments down to what the configuration asks for.
	for _, size := range b.prefixSizes {
		if size.first < s.best && size.n <= len(path) && endsSegment(path, size.n) {
			s.list(b.prefixes[string(path[:size.n])])
		}
	}
	s.list(b.rest)
}

// list takes the first rule of a list that holds, if it comes before the best one so far.
func (s *search) list(entries []entry) {
	for _, e := range entries {
		if e.rank >= s.best {
			return
		}
		if e.need == 0 || s.rules[e.rank].failing(s.request, e.need) == 0 {
			s.best = e.rank
			return
		}
	}
}

// endsSegment reports whether a prefix of n bytes ends where a segment of the path does. One that
// ends in a slash always does.
func endsSegment(path []byte, n int) bool {
	return n == len(path) || path[n] == '/' || path[n-1] == '/'
}
