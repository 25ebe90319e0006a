package config

import (
	"reflect"
	"regexp"
)

var (
	posType    = reflect.TypeFor[Pos]()
	regexpType = reflect.TypeFor[*regexp.Regexp]()
)

// Same reports whether two values of one type mean the same, wherever they stand in their files. It compares
// exported fields, elements and what pointers lead to; a nil slice or map is one without elements.
func Same[T any](a, b *T) bool {
	return same(reflect.ValueOf(a), reflect.ValueOf(b))
}

func same(a, b reflect.Value) bool {
	switch a.Kind() {
	case reflect.Pointer:
		return samePointer(a, b)
	case reflect.Struct:
		return sameStruct(a, b)
	case reflect.Slice, reflect.Array:
		return sameList(a, b)
	case reflect.Map:
		return sameMap(a, b)
	default:
		return a.Equal(b)
	}
}

func samePointer(a, b reflect.Value) bool {
	if a.IsNil() || b.IsNil() {
		return a.IsNil() == b.IsNil()
	}
	if a.Type() == regexpType { // what it was compiled to follows from its text
		return a.Interface().(*regexp.Regexp).String() == b.Interface().(*regexp.Regexp).String()
	}
	return a.Pointer() == b.Pointer() || same(a.Elem(), b.Elem())
}

func sameStruct(a, b reflect.Value) bool {
	t := a.Type()
	if t == posType {
		return true
	}
	if t.Comparable() && t.NumField() > 0 && !t.Field(0).IsExported() { // netip.Addr and the like
		return a.Equal(b)
	}
	for i := range t.NumField() {
		if !same(a.Field(i), b.Field(i)) {
			return false
		}
	}
	return true
}

func sameList(a, b reflect.Value) bool {
	if a.Len() != b.Len() {
		return false
	}
	for i := range a.Len() {
		if !same(a.Index(i), b.Index(i)) {
			return false
		}
	}
	return true
}

func sameMap(a, b reflect.Value) bool {
	if a.Len() != b.Len() {
		return false
	}
	for each := a.MapRange(); each.Next(); {
		other := b.MapIndex(each.Key())
		if !other.IsValid() || !same(each.Value(), other) {
			return false
		}
	}
	return true
}
