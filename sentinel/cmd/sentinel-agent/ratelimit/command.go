package ratelimit

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sentinel-proxy/sentinel-go/sentinel/agent"
)

// flags are the command line.
type flags struct {
	options      Options
	one          Limit
	named        []string
	passwordFile string
	onFailure    string
}

// Command returns the subcommand. It calls serve with the agent, a *Limiter, once the flags are good; serve
// closes it.
func Command(serve func(ctx context.Context, h agent.Handler) error) *cobra.Command {
	var f flags
	cmd := &cobra.Command{
		Use: "ratelimit", Short: "Limit how many requests a client may make", Args: cobra.NoArgs,
		Example: "  sentinel-agent ratelimit --rps 10 --burst 20\n" +
			"  sentinel-agent ratelimit --limit name=all,rps=50 --limit name=login,path=/login,rps=0.2,burst=5 --redis 127.0.0.1:6379",
		RunE: func(cmd *cobra.Command, _ []string) error {
			o, err := f.read()
			if err != nil {
				return err
			}
			l, err := newLimiter(o)
			if err != nil {
				return err
			}
			return serve(cmd.Context(), l)
		},
	}
	f.register(cmd)
	return cmd
}

func (f *flags) register(cmd *cobra.Command) {
	flags, o := cmd.Flags(), &f.options
	flags.Float64Var(&f.one.Rate, "rps", 10, "requests per second for each key, without --limit")
	flags.IntVar(&f.one.Burst, "burst", 0, "requests at once, without --limit (default: one second's worth)")
	flags.StringVar(&f.one.Key, "key", "client-ip", "what tells clients apart: client-ip, path, route, header:NAME, or several with commas")
	flags.StringArrayVar(&f.named, "limit", nil, "a named limit, `name=N,rps=R[,burst=B][,path=/P][,key=K+K]`; may be repeated")
	flags.IntVar(&o.MaxKeys, "max-keys", 100_000, "buckets in memory")
	flags.IntVar(&o.IPv6Prefix, "ipv6-prefix", 64, "bits of an IPv6 address that make a client")
	flags.StringVar(&o.Redis.Address, "redis", "", "share limits over this redis: host:port or a URL")
	flags.StringVar(&f.passwordFile, "redis-password-file", "", "file with the password for redis")
	flags.StringVar(&o.Redis.Prefix, "redis-prefix", "sentinel:ratelimit:", "prefix of every key in redis")
	flags.DurationVar(&o.Redis.Timeout, "redis-timeout", 0, "for one question to redis (default 50ms)")
	flags.IntVar(&o.Redis.PoolSize, "redis-pool", 16, "connections to redis")
	flags.StringVar(&f.onFailure, "on-redis-failure", string(Local), "local: count in memory; fail: leave it to the proxy's failure mode")
}

// read turns the flags into options.
func (f *flags) read() (Options, error) {
	o := f.options
	o.Redis.OnFailure = OnFailure(f.onFailure)
	if f.passwordFile != "" {
		text, err := os.ReadFile(f.passwordFile)
		if err != nil {
			return o, fmt.Errorf("reading the password for redis: %w", err)
		}
		o.Redis.Password = strings.TrimRight(string(text), "\r\n")
	}
	if len(f.named) == 0 {
		f.one.Name = "default"
		o.Limits = []Limit{f.one}
		return o, nil
	}
	for _, text := range f.named {
		l, err := parseLimit(text)
		if err != nil {
			return o, fmt.Errorf("--limit %s: %w", text, err)
		}
		o.Limits = append(o.Limits, l)
	}
	return o, nil
}

// parseLimit reads name=value pairs separated by commas. A key's parts are separated by + there.
func parseLimit(text string) (l Limit, err error) {
	for pair := range strings.SplitSeq(text, ",") {
		name, value, _ := strings.Cut(pair, "=")
		switch name {
		case "name":
			l.Name = value
		case "path":
			l.Path = value
		case "key":
			l.Key = strings.ReplaceAll(value, "+", ",")
		case "rps":
			l.Rate, err = strconv.ParseFloat(value, 64)
		case "burst":
			l.Burst, err = strconv.Atoi(value)
		default:
			return l, fmt.Errorf("%q: want name, path, key, rps or burst", name)
		}
		if err != nil {
			return l, fmt.Errorf("%s: %w", name, err)
		}
	}
	return l, nil
}
