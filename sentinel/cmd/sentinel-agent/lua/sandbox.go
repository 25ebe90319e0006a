package lua

import (
	lua "github.com/yuin/gopher-lua"
)

// functions are library functions by name.
type functions map[string]lua.LGFunction

// library holds the interpreter's own functions that scripts may have. The rest are ours, or missing.
var library = struct{ base, strings, tables, math functions }{
	base: pick(lua.OpenBase, lua.BaseLibName, "assert", "error", "getmetatable", "next", "pcall", "rawequal", "rawget",
		"rawset", "select", "setmetatable", "tonumber", "tostring", "type", "unpack", "xpcall"),
	strings: pick(lua.OpenString, lua.StringLibName, "byte", "char", "format", "len", "lower", "reverse", "sub", "upper"),
	tables:  pick(lua.OpenTable, lua.TabLibName, "getn", "insert", "maxn", "remove"),
	math: pick(lua.OpenMath, lua.MathLibName, "abs", "acos", "asin", "atan", "atan2", "ceil", "cos", "cosh", "deg", "exp",
		"floor", "fmod", "frexp", "ldexp", "log", "log10", "max", "min", "mod", "modf", "pow", "rad", "random", "sin", "sinh",
		"sqrt", "tan", "tanh"),
}

// pick opens a library in a state of its own and takes functions from it.
func pick(open lua.LGFunction, name string, wanted ...string) functions {
	l := lua.NewState(lua.Options{SkipOpenLibs: true})
	defer l.Close()
	l.Push(l.NewFunction(open))
	l.Push(lua.LString(name))
	l.Call(1, 1)
	table := l.CheckTable(-1)
	picked := functions{}
	for _, w := range wanted {
		picked[w] = table.RawGetString(w).(*lua.LFunction).GFunction
	}
	return picked
}

// Sizes of a state's stacks: nested calls, and values.
const (
	maxCalls     = 100
	registers    = 512
	maxRegisters = 1 << 14
)

// newState returns an interpreter with nothing in it but what scripts may use.
func (c *call) newState() *lua.LState {
	l := lua.NewState(lua.Options{
		SkipOpenLibs: true, CallStackSize: maxCalls, MinimizeStackMemory: true,
		RegistrySize: registers, RegistryMaxSize: maxRegisters, RegistryGrowStep: registers,
	})
	l.SetContext(c.budget)
	globals := l.G.Global
	fill(l, globals, library.base)
	fill(l, globals, functions{
		"pairs": pairs, "ipairs": ipairs, "setmetatable": setMetatable, concatName: c.concat,
		"pcall": c.costly(library.base["pcall"]), "xpcall": c.costly(library.base["xpcall"]),
	})
	strings := l.NewTable()
	for name, f := range library.strings {
		strings.RawSetString(name, l.NewFunction(c.paid(f)))
	}
	fill(l, strings, functions{
		"find": c.find, "match": c.match, "gmatch": c.gmatch, "gsub": c.gsub, "rep": c.rep, "format": c.format,
	})
	meta := l.NewTable()
	meta.RawSetString("__index", strings)
	meta.RawSetString("__metatable", lua.LFalse)
	l.SetMetatable(lua.LString(""), meta)
	globals.RawSetString("string", strings)
	tables := fill(l, l.NewTable(), library.tables)
	globals.RawSetString("table", fill(l, tables, functions{"concat": c.join, "sort": c.sort}))
	globals.RawSetString("math", fill(l, l.NewTable(), library.math))
	return l
}

func fill(l *lua.LState, t *lua.LTable, fs functions) *lua.LTable {
	for name, f := range fs {
		t.RawSetString(name, l.NewFunction(f))
	}
	return t
}

// paid is a string function whose result is no longer than its argument, and paid for.
func (c *call) paid(f lua.LGFunction) lua.LGFunction {
	return func(l *lua.LState) int {
		n := f(l)
		for i := 1; i <= n; i++ {
			if s, ok := l.Get(-i).(lua.LString); ok {
				c.budget.payBytes(l, len(s))
			}
		}
		return n
	}
}

// costly is a function that catches errors: the interpreter writes a stack trace for each, which takes as long
// as a hundred instructions.
func (c *call) costly(f lua.LGFunction) lua.LGFunction {
	return func(l *lua.LState) int {
		c.budget.pay(l, 100)
		return f(l)
	}
}

func pairs(l *lua.LState) int {
	t := l.CheckTable(1)
	l.Push(l.NewFunction(library.base["next"]))
	l.Push(t)
	l.Push(lua.LNil)
	return 3
}

func ipairs(l *lua.LState) int {
	t := l.CheckTable(1)
	l.Push(l.NewFunction(func(l *lua.LState) int {
		i := l.CheckInt(2) + 1
		v := t.RawGetInt(i)
		if v == lua.LNil {
			return 0
		}
		l.Push(lua.LNumber(i))
		l.Push(v)
		return 2
	}))
	l.Push(t)
	l.Push(lua.LNumber(0))
	return 3
}

// setMetatable is for tables only, as in Lua: the interpreter's would change every string's.
func setMetatable(l *lua.LState) int {
	l.CheckTable(1)
	return library.base["setmetatable"](l)
}
