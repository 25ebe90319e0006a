package config

// node is one KDL node with its place. Order is file order everywhere.
type node struct {
	name     string
	pos      Pos
	args     []value
	props    []prop
	children []*node
}

// value is one KDL scalar. data is string, int64, float64, bool or nil; an integer outside int64 is a
// float64. expandable marks a quoted string, in which ${NAME} is expanded; raw strings and bare words are not.
type value struct {
	pos        Pos
	data       any
	text       string // as written, for messages (at most 64 bytes, "…" marks a cut)
	expandable bool
}

// prop is one key=value of a node. A repeated key keeps its last value (KDL), at the first place.
type prop struct {
	key string
	value
}
