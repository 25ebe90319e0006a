package main

// limitMutants break what keeps too much of anything out.
var limitMutants = []mutant{
	{
		Name: "limits/client-over", File: "sentinel/internal/limit/clients.go", Tests: inLimits("TestClients"),
		Old:  "if c.n[who] >= most {",
		New:  "if c.n[who] > most {",
		Rule: "max-connections-per-client is a bound",
	},
	{
		Name: "limits/client-by-address", File: "sentinel/internal/limit/clients.go", Tests: inLimits("TestClient|TestClients"),
		Old:  "network, err := a.Prefix(64)",
		New:  "network, err := a.Prefix(128)",
		Rule: "one IPv6 host has 2^64 addresses to come from",
	},
	{
		Name: "limits/client-kept", File: "sentinel/conn.go", Tests: scenarios("TestClientConnectionLimit"),
		Old:  "\tc.closeAccount()\n\tc.p.closed()\n",
		New:  "\tc.p.closed()\n",
		Rule: "a connection that ended is nobody's",
	},
	{
		Name: "limits/burst-over", File: "sentinel/internal/limit/bucket.go", Tests: inLimits("TestBucketZero|TestBucketPromise"),
		Old:  "v.Wait = ceil(b.debt+token-room, r)",
		New:  "v.Wait = ceil(b.debt-room, r)",
		Rule: "config.md 8.2: a bucket has burst tokens",
	},
	{
		Name: "limits/refused-pays", File: "sentinel/rates.go", Tests: scenarios("TestRateTogether"),
		Old:  "\t\t\t\tx.unspend(rates[:i])\n",
		New:  "",
		Rule: "one client over its own limit must not use up what everybody shares",
	},
	{
		Name: "limits/keys-unbounded", File: "sentinel/internal/limit/keys.go", Tests: inLimits("TestKeysBounded|TestKeysModel"),
		Old:  "if evicted = len(s.index) >= s.max; evicted {",
		New:  "if evicted = len(s.index) > 2*s.max; evicted {",
		Rule: "clients make up keys: their number is bounded",
	},
	{
		Name: "limits/newest-evicted", File: "sentinel/internal/limit/keys.go", Tests: inLimits("TestKeysModel"),
		Old:  "s.drop(s.slots[0].newer)",
		New:  "s.drop(s.slots[0].older)",
		Rule: "a flood of new keys must not free the one that was just refused",
	},
	{
		Name: "limits/header-for-everybody", File: "sentinel/rates.go", Tests: scenarios("TestRateKeys"),
		Old:  "return limit.KeyOf(f.Value)",
		New:  "return l.fixed",
		Rule: "config.md 8.2: key header:<Name> is the header's value",
	},
	{
		Name: "limits/theirs-beside-ours", File: "sentinel/rates.go", Tests: scenarios("TestRateKeys"),
		Old:  "if !isQuota(f[i].Name) {",
		New:  "if true {",
		Rule: "a client must not read two limits in one answer",
	},
	{
		Name: "limits/drain-waits", File: "sentinel/rates.go", Tests: scenarios("TestRateDelayEnds"),
		Old:  "\t\tcase <-x.p.stopped:\n",
		New:  "",
		Rule: "a drain ends what a rate limit holds back",
	},
	{
		Name: "limits/default-beside-own", File: "sentinel/rates.go", Tests: inEngine("TestLimitsSurvive"),
		Old:  "if len(list) == common && c.Builtin",
		New:  "if len(list) >= common && c.Builtin",
		Rule: "config.md 8.2: the default is for routes without a limit of their own",
	},
	{
		Name: "limits/place-kept", File: "sentinel/limits.go", Tests: scenarios("TestRouteLimit"),
		Old:  "\tif x.places.route {\n\t\tx.route.use.requests.Leave()\n\t}\n",
		New:  "",
		Rule: "what an exchange takes is given back",
	},
	{
		Name: "limits/turn-lost", File: "sentinel/limits.go", Tests: scenarios("TestInFlightLine"),
		Old:  "x.places.request = err == nil\n\tswitch",
		New:  "x.places.request = false\n\tswitch",
		Rule: "who waited has a place, and gives it back",
	},
	{
		Name: "limits/jumps-the-line", File: "sentinel/internal/limit/gate.go", Tests: inLimits("TestGateInLine"),
		Old:  "return g.line.Present() == 0 && g.take()",
		New:  "return g.take()",
		Rule: "first come, first served",
	},
	{
		Name: "limits/memory-flaps", File: "sentinel/internal/limit/memory.go", Tests: inLimits("TestMemory"),
		Old:  "mark = calmAt",
		New:  "mark = shedAt",
		Rule: "shedding ends well below where it began",
	},
	{
		Name: "limits/memory-not-asked", File: "sentinel/limits.go", Tests: inEngine("TestMemoryShort"),
		Old:  "if x.route.use != nil && x.p.limits.memory.Short() {",
		New:  "if false {",
		Rule: "config.md 9: 503 above max-memory",
	},
	{
		Name: "limits/buffer-over", File: "sentinel/buffer.go", Tests: vectors("buffer/chunked-over"),
		Old:  "case int64(len(held)) > x.route.maxBuffer:\n\t\t\treturn bodyOverBuffer",
		New:  "case int64(len(held)) > 2*x.route.maxBuffer:\n\t\t\treturn bodyOverBuffer",
		Rule: "config.md 5.5: buffers are bounded, also when the body does not say how long it is",
	},
	{
		Name: "limits/held-by-length", File: "sentinel/screen.go", Tests: inEngine("TestHeldByCapacity"),
		Old:  "x.hold(int64(cap(held) - before))",
		New:  "x.hold(int64(len(piece) + 0*before))",
		Rule: "what is held counts as the memory it takes",
	},
}
