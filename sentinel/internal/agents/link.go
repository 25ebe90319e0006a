package agents

import (
	"context"

	"github.com/sentinel-proxy/sentinel-go/sentinel/agent"
)

// link is one connection to an agent, in one dialect. Its methods may be called from any goroutine.
type link interface {
	// ask sends an event and waits for the verdict on it. Its errors are *Failure: Unavailable, TimedOutCall
	// when ctx's deadline passed, Canceled when ctx was canceled, or BadReply. After one that leaves the
	// connection in doubt the link is dead. sent reports that the event must not be asked again on another
	// link: a byte of it may have left while other calls were under way, or an answer had begun. An event lost
	// on a link that stood idle is not sent, in this sense.
	ask(ctx context.Context, s *Session, e *Event) (v *agent.Verdict, sent bool, err error)
	// tell sends what needs no verdict: RequestComplete. It does not wait for the agent, and failing is nobody's business.
	tell(s *Session, e *Event)
	// cancel tells the agent to forget a request, where the dialect can say that. It does not wait.
	cancel(s *Session, why CancelReason)
	// ping asks whether the agent is still there; links of dialects without a ping return nil.
	ping(ctx context.Context) error
	// dead is closed when the link is of no more use, for whatever reason. Its agent redials.
	dead() <-chan struct{}
	// close ends the link. Calls under way fail.
	close()
	// greeting is what the agent said of itself when the link was made.
	greeting() Greeting
}

// Greeting is what is known of an agent once it is connected.
type Greeting struct {
	Dialect       Dialect
	Name, Version string // its own words: escape and cap them
	MaxConcurrent int    // requests in flight it wants at most, over all links; 0: it did not say
	Cancels       bool   // it takes cancellations
}

// Dialect is a variant of the agent protocol.
type Dialect uint8

// The dialects.
const (
	NoDialect Dialect = iota // not known yet
	V1                       // length and JSON envelope, one question at a time on a connection
	V2D                      // documented v2: framed JSON with request ids
	V2R                      // the Rust project's v2: the same frames, other types, correlation ids
	G1                       // gRPC, agent.v1: unary calls
	G2                       // gRPC, agent.v2: one stream for each connection
)

var dialectWords = [...]string{NoDialect: "unknown", V1: "v1", V2D: "v2d", V2R: "v2r", G1: "g1", G2: "g2"}

// String returns the dialect's word in logs and metrics.
func (d Dialect) String() string { return dialectWords[d] }
