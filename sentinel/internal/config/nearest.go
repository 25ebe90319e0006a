package config

// maxGuessed bounds the work of looking for the names that misspelt ones could mean.
const maxGuessed = 200_000_000

// nearest is the function nearest within the bound; beyond it there are no guesses.
func (r *reader) nearest(name string, candidates []string) string {
	if r.guessed += len(candidates) * len(name) * len(name); r.guessed > maxGuessed || r.guessed < 0 {
		return ""
	}
	return nearest(name, candidates)
}

// nearest returns the candidate a misspelt name most likely means, or "". Other spellings of a
// candidate win, then the fewest typing errors (at most one in three letters), then the longest common
// start.
func nearest(name string, candidates []string) string {
	name = spelling(name)
	best, fewest := "", max(1, len(name)/3)+1
	for _, c := range candidates {
		if n := typingErrors(name, spelling(c), fewest); n < fewest {
			best, fewest = c, n
		}
	}
	if best != "" {
		return best
	}
	longest := max(4, len(name)/2) - 1
	for _, c := range candidates {
		if n := commonStart(name, spelling(c)); n > longest {
			best, longest = c, n
		}
	}
	return best
}

func commonStart(a, b string) int {
	n := 0
	for n < len(a) && n < len(b) && a[n] == b[n] {
		n++
	}
	return n
}

// typingErrors returns how many insertions, deletions, substitutions and swaps of neighbours lead from
// a to b, or limit when they are not fewer than that.
func typingErrors(a, b string, limit int) int {
	if max(len(a), len(b))-min(len(a), len(b)) >= limit {
		return limit
	}
	before, above, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range above {
		above[j] = j
	}
	for i := range len(a) {
		row[0] = i + 1
		lowest := row[0]
		for j := range len(b) {
			cost := above[j]
			if a[i] != b[j] {
				cost++
			}
			cost = min(cost, row[j]+1, above[j+1]+1)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				cost = min(cost, before[j-1]+1)
			}
			row[j+1] = cost
			lowest = min(lowest, cost)
		}
		if lowest > limit { // hostile long names must not cost their product
			return limit
		}
		before, above, row = above, row, before
	}
	return min(above[len(b)], limit)
}
