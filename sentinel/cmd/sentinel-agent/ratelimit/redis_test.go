package ratelimit

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/sentinel-proxy/sentinel-go/sentinel/agent"
)

// realRedis is a running redis-server, in the place of the one inside the test.
var realRedis = flag.String("redis", "", "address of a redis-server for the tests named Redis")

// redisAddress returns a Redis on the real clock.
func redisAddress(t *testing.T) string {
	t.Helper()
	if *realRedis != "" {
		return *realRedis
	}
	return miniredis.RunT(t).Addr()
}

// prefix keeps the keys of tests that share a server apart.
func prefix(t *testing.T) string {
	return fmt.Sprintf("%.20s:%d:", t.Name(), time.Now().UnixNano())
}

// pair returns two agents that share their limits.
func pair(t *testing.T, o Options) []*Limiter {
	t.Helper()
	a, _ := limiter(t, o)
	b, _ := limiter(t, o)
	return []*Limiter{a, b}
}

func onRedis(t *testing.T, address string, rate float64, burst int) Options {
	o := one(rate, burst, "")
	o.Redis = Redis{Address: address, Prefix: prefix(t), Timeout: 5 * time.Second, OnFailure: Fail}
	return o
}

// TestRedisSharesABurst has two agents admit, together, exactly what one may.
func TestRedisSharesABurst(t *testing.T) {
	t.Parallel()
	o := onRedis(t, redisAddress(t), 0.01, 100) // nothing comes back within the test
	agents := pair(t, o)
	if got := storm(t, agents, 400); got != 100 {
		t.Errorf("%d admitted, want 100", got)
	}
	for i, l := range agents {
		if s := l.Stats(); s != (Stats{}) {
			t.Errorf("agent %d: %+v, want nothing in memory and no failure", i, s)
		}
	}
}

// TestRedisGivesBack asks without a pause for a while: what is admitted is the burst and what came back
// meanwhile, on the server's clock.
func TestRedisGivesBack(t *testing.T) {
	t.Parallel()
	const rate, burst = 20, 20 // full again after 1 s without a question
	agents := pair(t, onRedis(t, redisAddress(t), rate, burst))
	begin, admitted := time.Now(), 0
	var first, last time.Time // between them, and not outside begin and the end, tokens came back
	for time.Since(begin) < time.Second {
		for _, l := range agents {
			last = time.Now()
			if l.RequestHeaders(t.Context(), from("192.0.2.1")).Decision == agent.Allowed {
				admitted++
			}
			if first.IsZero() {
				first = time.Now()
			}
		}
	}
	least := burst + int(last.Sub(first).Seconds()*rate) - 1
	most := burst + int(time.Since(begin).Seconds()*rate) + 1
	if admitted < least || admitted > most {
		t.Errorf("%d admitted, want %d to %d", admitted, least, most)
	}
}

// TestRedisHeaders compares what Redis and memory say.
func TestRedisHeaders(t *testing.T) {
	t.Parallel()
	shared, _ := limiter(t, onRedis(t, redisAddress(t), 0.01, 3))
	local, _ := limiter(t, one(0.01, 3, ""))
	for i := range 5 {
		a := shared.RequestHeaders(t.Context(), from("192.0.2.1"))
		b := local.RequestHeaders(t.Context(), from("192.0.2.1"))
		ha, hb := responseHeaders(a), responseHeaders(b)
		if a.Decision != b.Decision || ha["X-RateLimit-Remaining"] != hb["X-RateLimit-Remaining"] || len(ha) != len(hb) {
			t.Errorf("request %d: redis says %v %v, memory %v %v", i, a.Decision, ha, b.Decision, hb)
		}
	}
}

// TestRedisKeysExpire looks at what is left in the server.
func TestRedisKeysExpire(t *testing.T) {
	t.Parallel()
	o := onRedis(t, redisAddress(t), 2, 10)
	l, _ := limiter(t, o)
	l.RequestHeaders(t.Context(), from("192.0.2.1"))
	client := redis.NewClient(&redis.Options{Addr: o.Redis.Address})
	defer func() { _ = client.Close() }()
	keys, err := client.Keys(t.Context(), o.Redis.Prefix+"*").Result()
	if err != nil || len(keys) != 1 {
		t.Fatalf("keys %q, %v, want one", keys, err)
	}
	if ttl := client.PTTL(t.Context(), keys[0]).Val(); ttl <= 0 || ttl > 1600*time.Millisecond {
		t.Errorf("expires in %v, want it soon after the bucket is full in 0.5 s", ttl)
	}
}

// TestRedisHoldsNonsense has somebody else write to our keys.
func TestRedisHoldsNonsense(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		value string
		want  agent.Decision
	}{
		{"no number", "x", agent.Allowed},
		{"empty", "", agent.Allowed},
		{"long ago", "-1e300", agent.Allowed},
		{"far in the future", "900000000000000.5", agent.Blocked},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			o := onRedis(t, redisAddress(t), 1, 2)
			l, _ := limiter(t, o)
			client := redis.NewClient(&redis.Options{Addr: o.Redis.Address})
			defer func() { _ = client.Close() }()
			l.RequestHeaders(t.Context(), from("192.0.2.1"))
			keys := client.Keys(t.Context(), o.Redis.Prefix+"*").Val()
			if len(keys) != 1 || client.Set(t.Context(), keys[0], c.value, 0).Err() != nil {
				t.Fatalf("keys %q", keys)
			}
			if v := l.RequestHeaders(t.Context(), from("192.0.2.1")); v.Decision != c.want {
				t.Errorf("%v, want %v", v.Decision, c.want)
			}
		})
	}
}

// TestExactlyBurstAndRate moves the server's clock: two agents admit exactly burst + rate * time.
func TestExactlyBurstAndRate(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		rate  float64
		burst int
		after time.Duration
		want  int
	}{
		{10, 50, 2 * time.Second, 20},
		{10, 50, 99 * time.Millisecond, 0},
		{10, 50, 100 * time.Millisecond, 1},
		{3, 20, time.Second, 3},
		{7, 20, 2 * time.Second, 14},
		{0.2, 5, 14 * time.Second, 2},
		{10, 50, time.Hour, 50},
	} {
		t.Run(fmt.Sprint(c.rate, c.after), func(t *testing.T) {
			t.Parallel()
			server := miniredis.RunT(t)
			now := time.Unix(1_800_000_000, 0)
			server.SetTime(now)
			agents := pair(t, onRedis(t, server.Addr(), c.rate, c.burst))
			if got := storm(t, agents, 160); got != c.burst {
				t.Errorf("%d admitted at once, want %d", got, c.burst)
			}
			server.SetTime(now.Add(c.after))
			if got := storm(t, agents, 160); got != c.want {
				t.Errorf("%d admitted after %v, want %d", got, c.after, c.want)
			}
		})
	}
}

// server is a Redis that does as it likes with its connections, which it must leave when they end.
func server(t *testing.T, serve func(c net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer func() { _ = c.Close() }()
				serve(c)
			}()
		}
	}()
	t.Cleanup(func() { _ = l.Close(); <-ended })
	return l.Addr().String()
}

// says answers whatever comes with the same bytes.
func says(reply string) func(net.Conn) {
	return func(c net.Conn) {
		buffer := make([]byte, 4096)
		for {
			if _, err := c.Read(buffer); err != nil {
				return
			}
			if _, err := io.WriteString(c, reply); err != nil {
				return
			}
		}
	}
}

// TestRedisOutOfOrder has every way in which Redis may not decide: the fallback decides, in time.
func TestRedisOutOfOrder(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		address func(t *testing.T) string
	}{
		{"nobody listens", func(*testing.T) string { return "127.0.0.1:1" }},
		{"no socket", func(t *testing.T) string { return "unix://" + t.TempDir() + "/none" }},
		{"silent", func(t *testing.T) string {
			return server(t, func(c net.Conn) { _, _ = io.Copy(io.Discard, c) })
		}},
		{"hangs up", func(t *testing.T) string { return server(t, func(net.Conn) {}) }},
		{"speaks HTTP", func(t *testing.T) string { return server(t, says("HTTP/1.1 400 Bad Request\r\n\r\n")) }},
		{"noise", func(t *testing.T) string { return server(t, says("\x00\xff\x1b[31m\r\n\r\n")) }},
		{"half a reply", func(t *testing.T) string { return server(t, says("*2\r\n:1\r\n")) }},
		{"an error", func(t *testing.T) string { return server(t, says("-ERR no\r\n")) }},
		{"loading", func(t *testing.T) string { return server(t, says("-LOADING wait\r\n")) }},
		{"wants a password", func(t *testing.T) string { return server(t, says("-NOAUTH first\r\n")) }},
		{"a number", func(t *testing.T) string { return server(t, says(":1\r\n")) }},
		{"OK", func(t *testing.T) string { return server(t, says("+OK\r\n")) }},
		{"nil", func(t *testing.T) string { return server(t, says("*-1\r\n")) }},
		{"three numbers", func(t *testing.T) string { return server(t, says("*3\r\n:1\r\n:1\r\n:1\r\n")) }},
		{"admitted twice", func(t *testing.T) string { return server(t, says("*2\r\n:2\r\n:1\r\n")) }},
		{"a negative time", func(t *testing.T) string { return server(t, says("*2\r\n:1\r\n:-1\r\n")) }},
		{"more than the bucket has", func(t *testing.T) string { return server(t, says("*2\r\n:1\r\n:9999999999\r\n")) }},
		{"a giant list", func(t *testing.T) string { return server(t, says("*2000000000\r\n:1\r\n")) }},
		{"a giant string", func(t *testing.T) string { return server(t, says("$9000000000000000000\r\nx\r\n")) }},
		{"lists in lists", func(t *testing.T) string { return server(t, says("*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n")) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			o := one(1, 2, "")
			o.Redis = Redis{Address: c.address(t), Timeout: 20 * time.Millisecond}
			local, _ := limiter(t, o)
			o.Redis.OnFailure = Fail
			fail, _ := limiter(t, o)
			begin := time.Now()
			for i, want := range []agent.Decision{agent.Allowed, agent.Allowed, agent.Blocked, agent.Blocked} {
				if v := local.RequestHeaders(t.Context(), from("192.0.2.1")); v.Decision != want {
					t.Errorf("local, request %d: %v, want %v", i, v.Decision, want)
				}
				if v := fail.RequestHeaders(t.Context(), from("192.0.2.1")); v.Decision != agent.Undecided {
					t.Errorf("fail, request %d: %v, want none", i, v.Decision)
				}
			}
			if took := time.Since(begin); took > 3*time.Second { // 6 timeouts of 20 ms, and a busy machine
				t.Errorf("took %v", took)
			}
			if a, b := local.Stats().RedisFailures, fail.Stats().RedisFailures; a != 4 || b != 4 {
				t.Errorf("failures %d and %d, want 4", a, b)
			}
		})
	}
}

// TestRedisIsLeftAlone counts what reaches a Redis that fails: three questions, then one each second.
func TestRedisIsLeftAlone(t *testing.T) {
	t.Parallel()
	var asked atomic.Int64
	o := one(1, 2, "")
	o.Redis = Redis{Address: server(t, func(net.Conn) { asked.Add(1) })}
	l, c := limiter(t, o)
	for _, step := range []struct {
		after time.Duration
		want  int64
	}{{0, 3}, {999 * time.Millisecond, 3}, {2 * time.Second, 4}, {2 * time.Second, 5}} {
		c.advance(step.after)
		for range 10 {
			l.RequestHeaders(t.Context(), from("192.0.2.1"))
		}
		if got := asked.Load(); got != step.want {
			t.Errorf("after %v: %d questions, want %d", step.after, got, step.want)
		}
	}
}

// TestRedisComesBack has Redis go and return: limits are shared again.
func TestRedisComesBack(t *testing.T) {
	t.Parallel()
	redisServer := miniredis.RunT(t)
	l, c := limiter(t, onRedis(t, redisServer.Addr(), 1, 1000))
	decisions := func(n int) (last agent.Decision) {
		for range n {
			last = l.RequestHeaders(t.Context(), from("192.0.2.1")).Decision
		}
		return last
	}
	if got := decisions(1); got != agent.Allowed {
		t.Fatalf("%v, want allow", got)
	}
	redisServer.SetError("ERR out of order")
	if got := decisions(10); got != agent.Undecided {
		t.Fatalf("%v, want none", got)
	}
	redisServer.SetError("")
	if got := decisions(1); got != agent.Undecided {
		t.Errorf("%v at once, want none: it is being left alone", got)
	}
	c.advance(2 * time.Second)
	if got := decisions(1); got != agent.Allowed {
		t.Errorf("%v later, want allow", got)
	}
}

// TestTheCallerLeaves is no failure of Redis.
func TestTheCallerLeaves(t *testing.T) {
	t.Parallel()
	o := one(1, 2, "")
	o.Redis = Redis{Address: server(t, func(c net.Conn) { _, _ = io.Copy(io.Discard, c) }), Timeout: 10 * time.Second}
	l, c := limiter(t, o)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for range 10 {
		l.RequestHeaders(ctx, from("192.0.2.1"))
	}
	if _, err := l.shared.take(ctx, id{}, newBucket(1, 1), c.now()); !errors.Is(err, context.Canceled) {
		t.Errorf("%v, want that it is asked, and was canceled", err)
	}
}
