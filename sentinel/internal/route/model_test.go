package route

import (
	"net/http"
	"regexp"
	"slices"
	"sort"
	"strconv"
	"strings"
)

// The model is the table as one would write it without a thought for speed: sort the rules, try them
// one after the other. It shares no code with the table.

// modelMatch is what Match must return.
func modelMatch(rules []Rule, q *Request) int {
	for _, i := range modelOrder(rules) {
		if modelHolds(rules[i], q) {
			return i
		}
	}
	return -1
}

func modelOrder(rules []Rule) []int {
	order := make([]int, len(rules))
	for i := range order {
		order[i] = i
	}
	sort.Slice(order, func(a, b int) bool {
		i, j := order[a], order[b]
		if rules[i].Priority != rules[j].Priority {
			return rules[i].Priority > rules[j].Priority
		}
		if si, sj := modelScore(rules[i]), modelScore(rules[j]); si != sj {
			return si > sj
		}
		return i < j
	})
	return order
}

func modelScore(r Rule) int {
	paths, hosts, rest := []int{0}, []int{0}, 0
	for range r.Paths {
		paths = append(paths, 10000)
	}
	for range r.PathRegexes {
		paths = append(paths, 5000)
	}
	for _, p := range r.Prefixes {
		paths = append(paths, 1000+len(p))
	}
	for _, h := range r.Hosts {
		hosts = append(hosts, map[bool]int{true: 50, false: 70}[h[0] == '*'])
	}
	for range r.HostRegexes {
		hosts = append(hosts, 60)
	}
	if len(r.Methods) > 0 {
		rest = 10
	}
	for _, alternatives := range modelGroups(r.Headers, http.CanonicalHeaderKey) {
		rest += modelConditionScore(alternatives, 30, 20)
	}
	for _, alternatives := range modelGroups(r.Query, strings.TrimSpace) {
		rest += modelConditionScore(alternatives, 25, 15)
	}
	return slices.Max(paths) + slices.Max(hosts) + rest
}

func modelConditionScore(alternatives []Condition, value, presence int) int {
	for _, c := range alternatives {
		if len(c.Values) > 0 {
			return value
		}
	}
	return presence
}

// modelGroups collects the conditions of each name.
func modelGroups(conditions []Condition, normal func(string) string) map[string][]Condition {
	groups := map[string][]Condition{}
	for _, c := range conditions {
		groups[normal(c.Name)] = append(groups[normal(c.Name)], c)
	}
	return groups
}

func modelHolds(r Rule, q *Request) bool {
	path, host := string(q.Path), string(q.Host)
	hostOK := len(r.Hosts)+len(r.HostRegexes) == 0 || anyOf(r.Hosts, modelHost, host) || anyOf(r.HostRegexes, modelRegex, host)
	return hostOK &&
		(len(r.Methods) == 0 || slices.Contains(r.Methods, string(q.Method))) &&
		(len(r.Paths) == 0 || slices.Contains(r.Paths, path)) &&
		(len(r.Prefixes) == 0 || anyOf(r.Prefixes, modelPrefix, path)) &&
		(len(r.PathRegexes) == 0 || anyOf(r.PathRegexes, modelRegex, path)) &&
		modelConditions(modelGroups(r.Headers, http.CanonicalHeaderKey), modelFields(q)) &&
		modelConditions(modelGroups(r.Query, strings.TrimSpace), modelParameters(q))
}

func anyOf[T any](alternatives []T, holds func(T, string) bool, got string) bool {
	for _, a := range alternatives {
		if holds(a, got) {
			return true
		}
	}
	return false
}

func modelRegex(re *regexp.Regexp, got string) bool { return re.MatchString(got) }

func modelPrefix(prefix, path string) bool {
	if prefix == "/" {
		return true
	}
	if strings.HasSuffix(prefix, "/") {
		return strings.HasPrefix(path, prefix)
	}
	return path == prefix || strings.HasPrefix(path, prefix+"/")
}

func modelHost(pattern, host string) bool {
	want, got := strings.Split(pattern, "."), strings.Split(host, ".")
	if want[0] == "*" && got[0] != "" {
		want[0] = got[0]
	}
	return slices.Equal(want, got)
}

// modelConditions reports whether every name has a value that one of its conditions takes.
func modelConditions(groups map[string][]Condition, got map[string][]string) bool {
	for name, alternatives := range groups {
		held := false
		for _, c := range alternatives {
			for _, value := range got[name] {
				held = held || len(c.Values) == 0 || slices.Contains(c.Values, value)
			}
		}
		if !held {
			return false
		}
	}
	return true
}

func modelFields(q *Request) map[string][]string {
	fields := http.Header{}
	for _, f := range q.Fields {
		fields.Add(string(f.Name), string(f.Value))
	}
	return fields
}

func modelParameters(q *Request) map[string][]string {
	parameters := map[string][]string{}
	for _, p := range strings.Split(string(q.Query), "&") {
		if p == "" {
			continue
		}
		words := append(strings.SplitN(p, "=", 2), "")
		name := modelDecode(words[0])
		parameters[name] = append(parameters[name], modelDecode(words[1]))
	}
	return parameters
}

var escape = regexp.MustCompile(`%[0-9A-Fa-f]{2}`)

func modelDecode(raw string) string {
	spaced := strings.ReplaceAll(raw, "+", " ")
	return escape.ReplaceAllStringFunc(spaced, func(e string) string {
		c, err := strconv.ParseUint(e[1:], 16, 8)
		if err != nil {
			panic(err) // the pattern admits hex digits only
		}
		return string([]byte{byte(c)})
	})
}
