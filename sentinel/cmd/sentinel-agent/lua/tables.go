package lua

import (
	"slices"
	"strings"

	lua "github.com/yuin/gopher-lua"
)

// join is table.concat.
func (c *call) join(l *lua.LState) int {
	t, separator := l.CheckTable(1), l.OptString(2, "")
	first, last := l.OptInt(3, 1), l.OptInt(4, t.Len())
	var b strings.Builder
	for i := first; i <= last; i++ {
		v := t.RawGetInt(i)
		if !lua.LVCanConvToString(v) {
			l.RaiseError("invalid value (%s) at index %d in table for 'concat'", v.Type(), i)
		}
		b.WriteString(lua.LVAsString(v))
		if i < last {
			b.WriteString(separator)
		}
		if c.budget.pay(l, 1); b.Len() > maxString {
			break
		}
	}
	c.budget.payBytes(l, b.Len())
	l.Push(lua.LString(b.String()))
	return 1
}

// sort is table.sort. It pays for comparisons; the table changes at the end only.
func (c *call) sort(l *lua.LState) int {
	t := l.CheckTable(1)
	less := func(a, b lua.LValue) bool { return l.LessThan(a, b) }
	if f := l.OptFunction(2, nil); f != nil {
		less = func(a, b lua.LValue) bool {
			l.Push(f)
			l.Push(a)
			l.Push(b)
			l.Call(2, 1)
			defer l.Pop(1)
			return l.ToBool(-1)
		}
	}
	values := make([]lua.LValue, t.Len())
	for i := range values {
		values[i] = t.RawGetInt(i + 1)
	}
	slices.SortFunc(values, func(a, b lua.LValue) int {
		c.budget.pay(l, 1+size(a)/16)
		switch {
		case less(a, b):
			return -1
		case less(b, a):
			return 1
		}
		return 0
	})
	for i, v := range values {
		t.RawSetInt(i+1, v)
	}
	return 0
}

// size returns a string's length.
func size(v lua.LValue) int {
	s, _ := v.(lua.LString)
	return len(s)
}
