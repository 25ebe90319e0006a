package config

import "strconv"

// targets reads an upstream's targets in every shape they are written in: `target` nodes, a block
// `targets` of them, a lone `address`, and `server` for `target`.
func (b *block) targets() (list []Target) {
	nodes := append(b.all("target"), b.all("server")...)
	for _, n := range b.all("targets") {
		c := b.r.open(n, b.pathOf("targets"), 0)
		c.strict = true
		nodes = append(nodes, c.all("target")...)
		c.done()
	}
	for _, n := range nodes {
		list = append(list, b.target(n))
	}
	if v, ok := b.lookup("address"); ok {
		if address, ok := b.hostPort("address", v); ok {
			b.note("address", kdlText(address), v.source())
			list = append(list, Target{Pos: v.pos, Address: address, Weight: 1})
		}
	}
	if len(list) == 0 && !b.written("address") {
		b.fail("", "the upstream has no target", `expected at least one target "HOST:PORT"`)
	}
	b.checkTargets(list)
	return list
}

func (b *block) target(n *node) Target {
	c := b.r.open(n, b.pathOf("target"), min(len(n.args), 1))
	c.lift("address") // target { address "h:p" weight=3 } means the target's weight
	t := Target{Pos: n.pos}
	v, ok := c.argOrProp(0, "address")
	if !ok {
		c.fail("", "the target has no address", `expected target "HOST:PORT"`)
	} else if t.Address, ok = c.hostPort("", v); ok {
		c.path += " " + kdlQuote(cut(t.Address))
	}
	t.Weight = c.integer("weight", 1, span{0, 65_535})
	t.MaxRequests = int(c.bound("max-requests", positive))
	t.Metadata = c.stringMap("metadata")
	c.done()
	return t
}

// checkTargets refuses one address twice: health, breaker and load are kept by address.
func (b *block) checkTargets(list []Target) {
	first := map[string]Pos{}
	total := 0
	for _, t := range list {
		total += t.Weight
		if pos, twice := first[t.Address]; twice && t.Address != "" {
			b.r.report(Problem{
				Pos: t.Pos, Path: b.path, Found: "duplicate target " + strconv.Quote(t.Address),
				Expected: "it is already listed at " + pos.String() + "; give it more weight instead",
			})
		}
		first[t.Address] = t.Pos
	}
	if total == 0 && len(list) > 0 {
		b.warn("", "every target is drained: its weight is 0", "all requests get 503")
	}
}

// stringMap reads a block of `name "value"` pairs.
func (b *block) stringMap(setting string) map[string]string {
	pairs := b.pairs(setting)
	if len(pairs) == 0 {
		return nil
	}
	m := make(map[string]string, len(pairs))
	for _, p := range pairs {
		if s, ok := b.textOf(setting, p.value); ok {
			m[p.name] = s
			b.note(setting, kdlQuote(p.name)+" "+kdlQuote(s), p.value.source())
		}
	}
	return m
}
