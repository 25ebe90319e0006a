package ratelimit

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sentinel-proxy/sentinel-go/sentinel/agent"
)

func TestCommand(t *testing.T) {
	t.Parallel()
	password := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(password, []byte("secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		args []string
		err  string // in the error; empty: it serves
		want func(o Options, rules []*rule) bool
	}{
		{"nothing", nil, "", func(o Options, rules []*rule) bool {
			return len(rules) == 1 && rules[0].burst == 10 && o.Redis.Timeout == 50*time.Millisecond && o.Redis.OnFailure == Local
		}},
		{"one limit", []string{"--rps", "2", "--burst", "5", "--key", "client-ip,path"}, "", func(_ Options, rules []*rule) bool {
			return rules[0].burst == 5 && rules[0].bucket.interval == time.Second/2 && len(rules[0].key.parts) == 2
		}},
		{
			"named limits",
			[]string{"--limit", "name=all,rps=50", "--limit", "name=login,path=/login,rps=0.2,burst=5,key=route+header:x"},
			"",
			func(_ Options, rules []*rule) bool {
				return len(rules) == 2 && rules[0].name == "login" && rules[0].path == "/login" && len(rules[0].key.parts) == 2 && rules[1].burst == 50
			},
		},
		{
			"redis",
			[]string{"--redis", "127.0.0.1:1", "--redis-password-file", password, "--redis-timeout", "1s", "--on-redis-failure", "fail"},
			"",
			func(o Options, _ []*rule) bool {
				return o.Redis.Password == "secret" && o.Redis.Timeout == time.Second && o.Redis.OnFailure == Fail
			},
		},
		{"an unknown part of a limit", []string{"--limit", "name=a,rate=3"}, "want name, path", nil},
		{"a rate that is no number", []string{"--limit", "name=a,rps=x"}, "rps", nil},
		{"a burst that is no number", []string{"--limit", "name=a,rps=1,burst=1.5"}, "burst", nil},
		{"no password file", []string{"--redis-password-file", password + "x"}, "password", nil},
		{"an argument", []string{"x"}, "unknown command", nil},
		{"an unknown fallback", []string{"--on-redis-failure", "open"}, "failure", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			served := errors.New("served")
			cmd := Command(func(_ context.Context, h agent.Handler) error {
				l := h.(*Limiter)
				if c.want == nil || !c.want(l.options, *l.rules.Load()) {
					t.Errorf("%+v, %+v", l.options, *l.rules.Load())
				}
				return errors.Join(served, l.Close())
			})
			cmd.SetArgs(c.args)
			cmd.SetOut(&bytes.Buffer{})
			cmd.SetErr(&bytes.Buffer{})
			err := cmd.ExecuteContext(t.Context())
			if c.err == "" && !errors.Is(err, served) || c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)) {
				t.Errorf("%v, want %q", err, c.err)
			}
		})
	}
}
