package lua

import (
	"testing"
)

// TestPatterns compares the library with the answers of the reference implementation of Lua 5.1.
func TestPatterns(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ expression, want string }{
		{`("hello world"):find("o w")`, "5,7"},
		{`("hello"):find("l", 4)`, "4,4"},
		{`("hello"):find("l", -1)`, "nil"},
		{`("a.b"):find(".", 1, true)`, "2,2"},
		{`("abc"):find("")`, "1,0"},
		{`("abc"):find("", 10)`, "4,3"},
		{`("key = value"):match("^(%w+)%s*=%s*(%w+)$")`, "key,value"},
		{`("hello"):match("()ll()")`, "3,5"},
		{`("hello"):match("^ello")`, "nil"},
		{`("[[x]]"):match("%b[]")`, "[[x]]"},
		{`("THE (quick) fox"):find("%((%a+)%)")`, "5,11,quick"},
		{`("abcabc"):match("(abc)%1")`, "abc"},
		{`("a-b"):match("[a%-]+")`, "a-"},
		{`("a]b"):match("[]]")`, "]"},
		{`("x^y"):match("[x^]+")`, "x^"},
		{`("0x1F"):match("%x+$")`, "1F"},
		{`("THE end"):gsub("%f[%a]%a+", "w")`, "w w,2"},
		{`("<a><b>"):match("<(.-)>")`, "a"},
		{`("<a><b>"):match("<(.*)>")`, "a><b"},
		{`("hello world"):gsub("o", "0", 1)`, "hell0 world,1"},
		{`("hello"):gsub("", "-")`, "-h-e-l-l-o-,6"},
		{`("abc"):gsub("%w", "%0%0")`, "aabbcc,3"},
		{`("hello world"):gsub("(%w+) (%w+)", "%2 %1")`, "world hello,1"},
		{`("$a $b"):gsub("%$(%w+)", {a = "1"})`, "1 $b,2"},
		{`("abc"):gsub(".", function(c) if c == "b" then return "B" end end)`, "aBc,3"},
		{`("abc"):gsub("^a", "x")`, "xbc,1"},
		{`("aaa"):gsub("^a", "x")`, "xaa,1"},
		{`("50%"):gsub("%%", "%%%%")`, "50%%,1"},
		{`("äö"):gsub("[\128-\255]", "?")`, "????,4"},
		{`string.format("%5.1f|%-4s|%03d|%x|%q|%%", 3.14159, "ab", 7, 255, "q")`, `  3.1|ab  |007|ff|"q"|%`},
		{`("x"):rep(3)`, "xxx"},
		{`("x"):rep(-1)`, ""},
		{`table.concat({1, 2, 3}, ", ")`, "1, 2, 3"},
		{`table.concat({"a", "b", "c"}, "", 2, 3)`, "bc"},
		{`(function() local t = {3, 1, 2} table.sort(t) return unpack(t) end)()`, "1,2,3"},
		{`(function() local t = {3, 1, 2} table.sort(t, function(a, b) return a > b end) return unpack(t) end)()`, "3,2,1"},
		{`(function() local r = "" for k, v in ("a=1, b=2"):gmatch("(%w+)=(%w+)") do r = r .. k .. v end return r end)()`, "a1b2"},
		{`(function() local r = 0 for _ in ("abc"):gmatch("") do r = r + 1 end return r end)()`, "4"},
		{`(function() local r = "" for i, v in ipairs({"a", "b", nil, "d"}) do r = r .. i .. v end return r end)()`, "1a2b"},
		{`(function() local n = 0 for k, v in pairs({1, 2, x = 3}) do n = n + v end return n end)()`, "6"},
		{`1 .. 2 .. "c"`, "12c"},
		{`setmetatable({}, {__concat = function(a, b) return "meta" end}) .. "x"`, "meta"},
		{`"x" .. setmetatable({}, {__concat = function(a, b) return a end})`, "x"},
		{`("a" .. "b"):upper() .. ("C"):lower()`, "ABc"},
		{`pcall(string.find, "a", "[a")`, "false,malformed pattern (missing ']')"},
		{`pcall(string.find, "a", "%")`, "false,malformed pattern (ends with '%')"},
		{`pcall(string.find, "a", "(a")`, "false,unfinished capture"},
		{`pcall(string.find, "a", "a)")`, "false,invalid pattern capture"},
		{`pcall(string.gsub, "a", "a", "%2")`, "false,invalid capture index"},
		{`pcall(function() return {} .. "x" end)`, "false,attempt to concatenate a table and a string value"},
	} {
		s := script(t, body(`local r = {} for i, v in ipairs({(function(...) local t = {...} for i = 1, select("#", ...) do t[i] = tostring(t[i]) end return unpack(t) end)(`+
			c.expression+`)}) do r[i] = v:gsub("^s.lua:%d+: ", ""):gsub("^.*/s.lua:%d+: ", "") end return block(400, table.concat(r, ","))`))
		if v := s.RequestHeaders(t.Context(), request()); v.Status != 400 || v.Body != c.want {
			t.Errorf("%s: %q (status %d), want %q", c.expression, v.Body, v.Status, c.want)
		}
	}
}
