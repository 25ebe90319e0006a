package ratelimit

import (
	"context"
	_ "embed"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"github.com/sentinel-proxy/sentinel-go/sentinel/internal/breaker"
)

//go:embed bucket.lua
var bucketScript string

// errPaused says that Redis is not asked, since it failed often lately.
var errPaused = errors.New("paused after failures")

// After three failures in a row Redis is left alone for a second, then one request tries it: a Redis that
// hangs costs few requests its timeout.
var pauses = breaker.Settings{FailureThreshold: 3, SuccessThreshold: 1, HalfOpenMaxRequests: 1, Timeout: time.Second}

// quiet drops what the client would write to standard error: every failure comes back as an error too.
type quiet struct{}

func (quiet) Printf(context.Context, string, ...any) {}

func init() { redis.SetLogger(quiet{}) }

// shared holds buckets in Redis. Its methods may be called from any goroutine.
type shared struct {
	options Redis
	client  *redis.Client
	script  *redis.Script
	breaker *breaker.Breaker
}

func newShared(r Redis) (*shared, error) {
	o, err := clientOptions(r)
	if err != nil {
		return nil, err
	}
	return &shared{
		options: r, client: redis.NewClient(o), script: redis.NewScript(bucketScript), breaker: breaker.New(pauses, nil),
	}, nil
}

// clientOptions bounds everything by the one timeout. Nothing is asked twice: a request must not pay twice.
func clientOptions(r Redis) (*redis.Options, error) {
	o := &redis.Options{Addr: r.Address}
	if strings.Contains(r.Address, "://") {
		parsed, err := redis.ParseURL(r.Address)
		if err != nil {
			return nil, errors.New("redis address: not a redis URL") // the error would show the password
		}
		o = parsed
	} else if _, _, err := net.SplitHostPort(r.Address); err != nil {
		return nil, fmt.Errorf("redis address: %w", err)
	}
	if r.Password != "" {
		o.Password = r.Password
	}
	o.DialTimeout, o.ReadTimeout, o.WriteTimeout, o.PoolTimeout = r.Timeout, r.Timeout, r.Timeout, r.Timeout
	o.ContextTimeoutEnabled = true
	o.MaxRetries, o.DialerRetries = -1, 1
	o.PoolSize, o.MaxActiveConns = r.PoolSize, r.PoolSize
	o.Protocol, o.DisableIdentity = 2, true
	o.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
	guard(o)
	return o, nil
}

func (s *shared) close() error {
	if err := s.client.Close(); err != nil {
		return fmt.Errorf("closing the redis client: %w", err)
	}
	return nil
}

// take takes a token from a key's bucket, on Redis' own clock.
func (s *shared) take(ctx context.Context, key id, b bucket, now time.Time) (outcome, error) {
	ticket, ok := s.breaker.Admit(now)
	if !ok {
		return outcome{}, errPaused
	}
	o, err := s.ask(ctx, key, b)
	switch {
	case err == nil:
		s.breaker.Success(ticket)
	case ctx.Err() != nil:
		s.breaker.Abandon(ticket) // the caller left: says nothing about Redis
	default:
		s.breaker.Failure(ticket, now, "")
	}
	return o, err
}

func (s *shared) ask(ctx context.Context, key id, b bucket) (outcome, error) {
	ctx, cancel := context.WithTimeout(ctx, s.options.Timeout)
	defer cancel()
	name := s.options.Prefix + hex.EncodeToString(key[:])
	reply, err := s.script.Run(ctx, s.client, []string{name}, micros(b.interval), micros(b.depth)).Int64Slice()
	if err != nil {
		return outcome{}, fmt.Errorf("asking redis: %w", err)
	}
	return b.parse(reply)
}

// parse reads the script's reply: whether the request is admitted, and the microseconds until the bucket is full.
func (b bucket) parse(reply []int64) (outcome, error) {
	if len(reply) != 2 || reply[0] != 0 && reply[0] != 1 || reply[1] < 0 || reply[1] > b.depth.Microseconds()+1 {
		return outcome{}, fmt.Errorf("redis replied %v: no reply of ours", reply)
	}
	missing := time.Duration(reply[1]) * time.Microsecond
	return outcome{admitted: reply[0] == 1, missing: min(missing, b.depth)}, nil
}

// micros writes a duration in microseconds for the script, fractions included.
func micros(d time.Duration) string {
	return strconv.FormatFloat(float64(d)/float64(time.Microsecond), 'f', 3, 64)
}
