// Package lua is the reference agent that asks a Lua script about requests.
//
// Every call of a script has a state of its own: nothing a script does is seen by another request. What
// bounds it is this:
//
//   - Instructions. The interpreter asks its context whether it is done before each instruction, so a context
//     that counts the questions counts instructions. Library functions that do more work pay for it.
//   - Time, looked at every few instructions.
//   - Strings. Every way to make one is ours, or pays for its result: library functions are, and the ..
//     operator is compiled into a call of one. Patterns are matched by a matcher that counts its steps.
//   - Calls and registers, by the sizes of the interpreter's stacks.
//   - Tables, by the instructions it takes to fill them. The interpreter would make room for a billion
//     elements in one instruction; its bound for that is set to 32,767,
//     which is also the most that # counts and t[#t + 1] fills.
//
// Scripts have no way out: no files, processes, modules, debugging, coroutines, loading of code or other
// requests' globals.
package lua
