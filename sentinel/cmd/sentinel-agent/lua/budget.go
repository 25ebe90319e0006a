package lua

import (
	"context"
	"errors"
	"time"

	lua "github.com/yuin/gopher-lua"
)

var (
	errSteps = errors.New("the script took too many instructions")
	errTime  = errors.New("the script took too long")
	errBytes = errors.New("the script made too many strings")
)

const (
	lookEvery = 8       // instructions between two looks at the clock
	maxString = 1 << 18 // bytes of one string
	maxBytes  = 1 << 22 // of all strings that one call makes
)

var ended = func() chan struct{} { c := make(chan struct{}); close(c); return c }()

// budget is the context of one call. The interpreter calls Done before each instruction, in its one
// goroutine; that is what counts instructions. A test notices if that ever changes.
type budget struct {
	context.Context
	left     int // instructions
	bytes    int // of strings
	look     int // instructions until the clock is looked at
	deadline time.Time
	err      error // why the call is over
}

func newBudget(ctx context.Context, steps int, limit time.Duration) *budget {
	return &budget{Context: ctx, left: steps, bytes: maxBytes, deadline: time.Now().Add(limit)}
}

// Done counts an instruction. Its channel is closed once the budget is spent.
func (b *budget) Done() <-chan struct{} {
	if b.spend(1); b.err != nil {
		return ended
	}
	return nil // never ready
}

// Err says why the call is over; nil before that.
func (b *budget) Err() error { return b.err }

func (b *budget) spend(steps int) {
	b.left -= steps
	b.look -= steps
	switch {
	case b.err != nil:
	case b.left < 0:
		b.err = errSteps
	case b.look <= 0:
		b.look = lookEvery
		if b.err = b.Context.Err(); b.err == nil && time.Now().After(b.deadline) {
			b.err = errTime
		}
	}
}

// pay is spend for a library function: it ends the script when the budget is spent.
func (b *budget) pay(l *lua.LState, steps int) {
	if b.spend(steps); b.err != nil {
		l.RaiseError("%s", b.err.Error())
	}
}

// payBytes pays for a string before it is made.
func (b *budget) payBytes(l *lua.LState, n int) {
	if n > maxString {
		l.RaiseError("a string of more than %d bytes", maxString)
	}
	if b.bytes -= n; b.bytes < 0 && b.err == nil {
		b.err = errBytes
	}
	b.pay(l, n/64)
}
