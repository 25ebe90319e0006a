package upstream

// maxRotation bounds the length of one round; larger weights are scaled down to it, each positive one
// keeping at least one turn.
const maxRotation = 10_000

// rotation lays out one round of smooth weighted round robin: each target as often as its weight says,
// spread as evenly as possible, so that no target gets a burst. A request costs one counter step then,
// whatever the weights.
func rotation(targets []TargetOptions) []int {
	weights, total := scaled(targets)
	current := make([]int, len(weights))
	order := make([]int, 0, total)
	for range total {
		best := -1
		for i, w := range weights {
			current[i] += w
			if w > 0 && (best < 0 || current[i] > current[best]) {
				best = i
			}
		}
		current[best] -= total
		order = append(order, best)
	}
	return order
}

// scaled returns the weights divided by what they have in common and cut to maxRotation in all.
func scaled(targets []TargetOptions) (weights []int, total int) {
	common := 0
	for _, t := range targets {
		common = gcd(common, t.Weight)
	}
	for _, t := range targets {
		w := t.Weight / max(common, 1)
		weights = append(weights, w)
		total += w
	}
	if total <= maxRotation {
		return weights, total
	}
	sum := 0
	for i, w := range weights {
		if w > 0 {
			weights[i] = max(1, w*maxRotation/total)
		}
		sum += weights[i]
	}
	return weights, sum
}

func gcd(a, b int) int {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}
