package lua

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"reflect"

	lua "github.com/yuin/gopher-lua"
	"github.com/yuin/gopher-lua/ast"
	"github.com/yuin/gopher-lua/parse"
)

// maxScript bounds a script's file, in bytes.
const maxScript = 256 << 10

// concatName is the global that .. is compiled into. No script can write this name.
const concatName = "\x00concat"

func init() { lua.MaxArrayIndex = 1 << 15 } // see the package comment

// program is a compiled script. It is not changed, and used by many states.
type program struct {
	proto    *lua.FunctionProto
	handlers map[string]bool // which events it has a function for
}

// load reads and compiles a script. Its errors name the file and the line.
func load(path string) (*lua.FunctionProto, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading the script: %w", err)
	}
	if len(text) > maxScript {
		return nil, fmt.Errorf("%s: %d bytes, want at most %d", path, len(text), maxScript)
	}
	return compile(path, text)
}

func compile(name string, text []byte) (*lua.FunctionProto, error) {
	chunk, err := parse.Parse(bytes.NewReader(text), name)
	if err != nil {
		return nil, located(name, err)
	}
	boundConcat(reflect.ValueOf(chunk))
	proto, err := lua.Compile(chunk, name)
	if err != nil {
		return nil, located(name, err)
	}
	return proto, nil
}

// located writes an error of the compiler as file:line: what.
func located(name string, err error) error {
	var syntax *parse.Error
	var compiling *lua.CompileError
	switch {
	case errors.As(err, &syntax) && syntax.Pos.Line > 0:
		return fmt.Errorf("%s:%d:%d: %s near %q", name, syntax.Pos.Line, syntax.Pos.Column, syntax.Message, syntax.Token)
	case errors.As(err, &syntax):
		return fmt.Errorf("%s: at its end: %s", name, syntax.Message)
	case errors.As(err, &compiling):
		return fmt.Errorf("%s:%d: %s", name, compiling.Line, compiling.Message)
	}
	return fmt.Errorf("%s: %w", name, err)
}

// boundConcat replaces every .. below a node by a call. It walks by reflection, so that no kind of node, of
// this version of the library or a later one, can be forgotten.
func boundConcat(v reflect.Value) {
	switch v.Kind() {
	case reflect.Interface:
		if v.IsNil() {
			return
		}
		boundConcat(v.Elem())
		if e, ok := v.Interface().(*ast.StringConcatOpExpr); ok && v.CanSet() {
			v.Set(reflect.ValueOf(concatCall(e)))
		}
	case reflect.Pointer:
		if !v.IsNil() {
			boundConcat(v.Elem())
		}
	case reflect.Struct:
		for i := range v.NumField() {
			boundConcat(v.Field(i))
		}
	case reflect.Slice:
		for i := range v.Len() {
			boundConcat(v.Index(i))
		}
	default: // names, numbers, positions
	}
}

// concatCall returns the call for an expression whose operands have been seen to.
func concatCall(e *ast.StringConcatOpExpr) *ast.FuncCallExpr {
	name := &ast.IdentExpr{Value: concatName}
	name.SetLine(e.Line())
	name.SetLastLine(e.LastLine())
	// AdjustRet makes it one value wherever it stands, as .. is.
	call := &ast.FuncCallExpr{Func: name, Args: []ast.Expr{e.Lhs, e.Rhs}, AdjustRet: true}
	call.SetLine(e.Line())
	call.SetLastLine(e.LastLine())
	return call
}
