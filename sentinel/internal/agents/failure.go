package agents

import (
	"context"
	"errors"
	"fmt"
)

// FailureKind is why a call brought no verdict.
type FailureKind uint8

// The kinds.
const (
	Unavailable  FailureKind = iota // no connection: nothing listens, it refused the handshake or its config, or it died
	TimedOutCall                    // no verdict by the deadline, waiting for a slot and a connection included
	BadReply                        // what came is no verdict: garbage, a wrong id, a giant, a broken frame
	BreakerOpen                     // it failed too often lately; it was not asked
	Busy                            // its calls and the line for them are full
	Canceled                        // the caller's context ended first: nobody's fault
)

var failureWords = [...]string{
	Unavailable: "unavailable", TimedOutCall: "timeout", BadReply: "bad_reply", BreakerOpen: "breaker_open",
	Busy: "busy", Canceled: "canceled",
}

// String returns the kind's word in logs and metrics.
func (k FailureKind) String() string { return failureWords[k] }

// Failure is the error of a call that brought no verdict.
type Failure struct {
	Kind FailureKind
	Err  error // what happened, for the log: may hold an agent's words, which are not to be trusted
}

// Error says what happened.
func (f *Failure) Error() string {
	if f.Err == nil {
		return f.Kind.String()
	}
	return f.Kind.String() + ": " + f.Err.Error()
}

// Unwrap returns the cause.
func (f *Failure) Unwrap() error { return f.Err }

// unavailable, badReply and expired make failures. They are what links return.
func unavailable(err error) *Failure { return &Failure{Unavailable, err} }

func badReply(format string, a ...any) *Failure { return &Failure{BadReply, fmt.Errorf(format, a...)} }

// expired is the failure of a call whose context, which is done, ended while it waited for what.
func expired(ctx context.Context, what string) *Failure {
	kind := Canceled
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		kind = TimedOutCall
	}
	return &Failure{kind, fmt.Errorf("waiting for %s: %w", what, ctx.Err())}
}

// errTooLarge is the cause of a Failure whose event does not fit a frame: nobody's fault but the caller's.
var errTooLarge = errors.New("the event does not fit a frame of the agent's dialect")
