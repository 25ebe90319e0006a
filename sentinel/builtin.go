package sentinel

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"runtime"
	"strings"
	"time"

	"github.com/sentinel-proxy/sentinel-go/sentinel/internal/telemetry"
	"github.com/sentinel-proxy/sentinel-go/sentinel/internal/wire"
)

// builtinHandler answers a request by itself.
type builtinHandler func(x *exchange) Reason

// builtins are the handlers a route may name.
var builtins = map[string]builtinHandler{
	"health":    readOnly(answerHealth),
	"ready":     readOnly(answerReady),
	"status":    readOnly(answerStatus),
	"version":   readOnly(answerVersion),
	"metrics":   readOnly(answerMetrics),
	"config":    readOnly(answerConfig),
	"upstreams": readOnly(answerUpstreams),
	"agents":    readOnly(answerAgents),
	"not-found": func(*exchange) Reason { return notFound },
}

func (x *exchange) builtin() Reason { return x.route.builtin(x) }

// readOnly lets GET and HEAD through.
func readOnly(h builtinHandler) builtinHandler {
	return func(x *exchange) Reason {
		if m := string(x.req.Method); m != http.MethodGet && m != http.MethodHead {
			return methodNotAllowed
		}
		return h(x)
	}
}

// answerOptions answers an OPTIONS that may not travel further.
func answerOptions(x *exchange) Reason {
	if string(x.req.Method) != http.MethodOptions {
		return methodNotAllowed
	}
	x.localReply(http.StatusNoContent)
	x.fields = append(x.fields, field(wire.Other, "Allow", allowed(none)))
	return x.sendLocal(nil)
}

// answerJSON sends v, freshly made for every request.
func (x *exchange) answerJSON(status int, v any) Reason {
	body, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		x.cause = err.Error()
		return internalError
	}
	x.localReply(status)
	x.fields = append(x.fields,
		field(wire.ContentType, "Content-Type", "application/json; charset=utf-8"),
		field(wire.Other, "Cache-Control", "no-cache, no-store, must-revalidate"))
	return x.sendLocal(append(body, '\n'))
}

func timestamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

func answerHealth(x *exchange) Reason {
	return x.answerJSON(http.StatusOK, map[string]string{"status": "healthy", "timestamp": timestamp(x.started)})
}

// answerReady says whether new traffic should be sent here: not while draining.
func answerReady(x *exchange) Reason {
	status, word := http.StatusOK, "ready"
	if x.p.draining.Load() {
		status, word = http.StatusServiceUnavailable, "not_ready"
	}
	return x.answerJSON(status, map[string]any{
		"status": word, "timestamp": timestamp(x.started), "checks": map[string]bool{"accepting": status == http.StatusOK},
	})
}

func answerStatus(x *exchange) Reason {
	up := x.started.Sub(x.p.began)
	st := Status{}
	x.p.reloads.tell(&st)
	return x.answerJSON(http.StatusOK, map[string]any{
		"status": "ok", "version": Version, "uptime": spell(up), "uptime_secs": int(up.Seconds()), "uptime_seconds": int(up.Seconds()),
		"instance_id": x.p.instance, "timestamp": timestamp(x.started), "start_time": timestamp(x.p.began),
		"config_generation": x.generation, "config_reload_count": st.ReloadsOK + st.ReloadsFailed, "last_config_reload": st.LastReload, "active_requests": x.p.metrics.ActiveRequests.Value(),
		"open_connections": x.p.metrics.OpenConnections.Value(),
	})
}

// spell writes a duration as "1d 2h 3m 4s" without leading zero units.
func spell(d time.Duration) string {
	s := int(d.Seconds())
	var parts []string
	for _, unit := range []struct {
		seconds int
		name    string
	}{{86400, "d"}, {3600, "h"}, {60, "m"}, {1, "s"}} {
		if n := s / unit.seconds; n > 0 || len(parts) > 0 || unit.seconds == 1 {
			parts = append(parts, fmt.Sprintf("%d%s", n, unit.name))
		}
		s %= unit.seconds
	}
	return strings.Join(parts, " ")
}

func answerVersion(x *exchange) Reason {
	return x.answerJSON(http.StatusOK, map[string]string{
		"version": Version, "release": Release, "commit": Commit, "go_version": runtime.Version(),
	})
}

func answerMetrics(x *exchange) Reason {
	var text bytes.Buffer
	if err := x.p.metrics.WriteText(&text); err != nil {
		x.cause = err.Error()
		return internalError
	}
	x.localReply(http.StatusOK)
	x.fields = append(x.fields, field(wire.ContentType, "Content-Type", telemetry.TextContentType))
	return x.sendLocal(text.Bytes())
}
