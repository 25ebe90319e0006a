package waf

import (
	"fmt"
	"net"
	"strings"

	coreruleset "github.com/corazawaf/coraza-coreruleset/v4"
	"github.com/corazawaf/coraza/v3"
	"github.com/corazawaf/coraza/v3/debuglog"
	"github.com/corazawaf/coraza/v3/experimental"
	"github.com/corazawaf/coraza/v3/types"

	"github.com/sentinel-proxy/sentinel-go/sentinel/agent"
)

// engine is a compiled rule set. It may be used by any goroutine.
type engine struct {
	options Options
	waf     coraza.WAF
}

func newEngine(o Options) (*engine, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	rules, err := readRules(o.RulesFile)
	if err != nil {
		return nil, err
	}
	config := coraza.NewWAFConfig().
		WithRootFS(coreruleset.FS).
		WithDebugLogger(debuglog.Noop()). // its messages quote requests
		WithDirectives(base(o) + setup(o))
	if rules != "" {
		config = config.WithDirectives(rules)
	}
	waf, err := coraza.NewWAF(config.WithDirectives("Include @owasp_crs/REQUEST-*.conf\nSecMarker END-REQUEST-RULES"))
	if err != nil {
		return nil, fmt.Errorf("compile the rules (rules file %q): %w", o.RulesFile, err)
	}
	return &engine{options: o, waf: waf}, nil
}

// close gives back the compiled expressions, which Coraza keeps for all engines together. Inspections under way
// are not disturbed.
func (e *engine) close() error {
	return e.waf.(experimental.WAFCloser).Close() // as all engines of Coraza are
}

// inspection is one evaluation of the rules on one request. One goroutine at a time uses it, and closes it. The
// nil inspection can be closed.
type inspection struct {
	engine *engine
	tx     types.Transaction
	chunks int // parts of the body so far
	size   int // their bytes
	limit  int // of size
}

// inspect begins an evaluation with the head of a request. A request that a rule of phase 1 refuses is told so
// by add or finish.
func (e *engine) inspect(r *agent.Request) *inspection {
	tx := e.waf.NewTransaction()
	tx.ProcessConnection(r.ClientIP, r.ClientPort, "", 0)
	protocol := r.Protocol
	if protocol == "" {
		protocol = "HTTP/1.1" // not every dialect says
	}
	tx.ProcessURI(r.URI, r.Method, protocol)
	for name, values := range r.Headers {
		for _, value := range values {
			tx.AddRequestHeader(name, value)
		}
	}
	tx.SetServerName(hostname(r.Headers.Get("host")))
	tx.ProcessRequestHeaders()
	return &inspection{engine: e, tx: tx, limit: e.limit(r.Headers.Get("content-type"))}
}

// limit is that of a body of some type. Every rule reads all of an XML document, which is no argument to CRS.
func (e *engine) limit(contentType string) int {
	if strings.Contains(strings.ToLower(contentType), "xml") {
		return min(e.options.MaxFields, e.options.MaxBody)
	}
	return e.options.MaxBody
}

// hostname returns a host without its port.
func hostname(host string) string {
	if name, _, err := net.SplitHostPort(host); err == nil {
		return name
	}
	return host
}

// add gives the evaluation the next part of the body. It returns a verdict if nothing that follows can change it.
func (in *inspection) add(data []byte) *agent.Verdict {
	in.chunks++
	in.size += len(data)
	if in.tx.IsInterrupted() {
		return in.verdict()
	}
	if in.size > in.limit {
		return in.overLimit()
	}
	if _, _, err := in.tx.WriteRequestBody(data); err != nil {
		return &agent.Verdict{} // undecided: the body could not be kept
	}
	return nil
}

// finish evaluates what there is and returns the verdict.
func (in *inspection) finish() *agent.Verdict {
	if _, err := in.tx.ProcessRequestBody(); err != nil {
		return &agent.Verdict{}
	}
	return in.verdict()
}

// close gives back what the evaluation holds. It must not be used afterwards.
func (in *inspection) close() {
	if in != nil {
		_ = in.tx.Close() // what fails is the removal of a temporary file that is gone
	}
}
