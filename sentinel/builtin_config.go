package sentinel

import (
	"net/http"

	"github.com/sentinel-proxy/sentinel-go/sentinel/internal/config"
)

// answerConfig shows the running configuration without what is secret or about this machine: keys,
// certificate paths, agents' own settings.
func answerConfig(x *exchange) Reason {
	c := x.snap.cfg
	return x.answerJSON(http.StatusOK, map[string]any{
		"timestamp": timestamp(x.started), "request_id": string(x.trace),
		"config": map[string]any{
			"server": map[string]any{
				"worker_threads": c.System.WorkerThreads, "max_connections": c.System.MaxConnections,
				"graceful_shutdown_timeout_secs": c.System.ShutdownTimeout.Seconds(),
				"shutdown_delay_secs":            c.System.ShutdownDelay.Seconds(), "trace_id_format": c.System.TraceIDFormat,
			},
			"listeners": each(c.Listeners, showListener),
			"routes":    each(c.Routes, showRoute),
			"upstreams": each(c.Upstreams, showUpstream),
			"agents": each(c.Agents, func(a *config.Agent) any {
				return map[string]any{"id": a.ID, "agent_type": a.Type, "timeout_ms": a.Timeout.Milliseconds()}
			}),
			"filters": each(c.Filters, func(f *config.Filter) any { return f.ID }),
			"waf":     nil,
			"limits": map[string]any{
				"max_header_size_bytes": c.Limits.MaxHeaderSize, "max_header_count": c.Limits.MaxHeaderCount,
				"max_body_size_bytes": c.Limits.MaxBodySize, "max_total_connections": c.Limits.MaxTotalConnections,
			},
		},
	})
}

func each[T any](list []T, show func(*T) any) []any {
	out := make([]any, 0, len(list))
	for i := range list {
		out = append(out, show(&list[i]))
	}
	return out
}

func showListener(l *config.Listener) any {
	return map[string]any{
		"id": l.ID, "address": l.Address.String(), "protocol": l.Protocol, "default_route": orNull(l.DefaultRoute),
		"request_timeout_secs": l.RequestTimeout.Seconds(), "keepalive_timeout_secs": l.KeepAliveTimeout.Seconds(),
		"tls_enabled": l.TLS != nil,
	}
}

func showRoute(r *config.Route) any {
	m := &r.Matches
	regexes := []string{}
	for _, re := range m.PathRegexes {
		regexes = append(regexes, re.String())
	}
	return map[string]any{
		"id": r.ID, "priority": r.Priority, "upstream": orNull(r.Upstream), "service_type": r.ServiceType,
		"builtin_handler": orNull(r.Builtin), "filters": r.Filters, "waf_enabled": r.WAFEnabled,
		"matches": map[string]any{
			"path": m.Paths, "path_prefix": m.PathPrefixes, "path_regex": regexes, "host": m.Hosts, "method": m.Methods,
		},
	}
}

func showUpstream(u *config.Upstream) any {
	var check any
	if h := u.HealthCheck; h != nil {
		check = map[string]any{
			"interval_secs": h.Interval.Seconds(), "timeout_secs": h.Timeout.Seconds(),
			"healthy_threshold": h.HealthyThreshold, "unhealthy_threshold": h.UnhealthyThreshold,
		}
	}
	return map[string]any{
		"id": u.ID, "load_balancing": u.LoadBalancing, "tls_enabled": u.TLS != nil, "health_check": check,
		"targets": each(u.Targets, func(t *config.Target) any { return map[string]any{"address": t.Address, "weight": t.Weight} }),
	}
}

func orNull(s string) any {
	if s == "" {
		return nil
	}
	return s
}
