package config

import (
	"encoding/json"
	"math"
)

// agentConfig turns an agent's `config` block into the JSON it is sent: a node without anything is
// true, one argument a scalar, several an array, properties and children an object in which the last
// of a name wins. Arguments beside those stand under "_args".
func (r *reader) agentConfig(n *node, path string) []byte {
	b := r.open(n, path, 0)
	object := map[string]any{}
	for _, c := range n.children {
		b.use(c, usedAsBlock)
		b.asked(c.name)
		object[c.name] = r.jsonNode(c, b.pathOf(cut(c.name)))
	}
	b.done()
	text, err := json.Marshal(object)
	if err != nil {
		panic("config: agent config that is no JSON: " + err.Error()) // jsonValue lets only JSON pass
	}
	b.note("", kdlQuote(string(text)), value{pos: n.pos}.source())
	return text
}

func (r *reader) jsonNode(n *node, path string) any {
	args := make([]any, len(n.args))
	for i, v := range n.args {
		args[i] = r.jsonValue(v, path)
	}
	if len(n.props)+len(n.children) > 0 {
		return r.jsonObject(n, args, path)
	}
	switch len(args) {
	case 0:
		return true
	case 1:
		return args[0]
	}
	return args
}

func (r *reader) jsonObject(n *node, args []any, path string) any {
	object := map[string]any{}
	if len(args) > 0 {
		object["_args"] = args
		r.report(Problem{
			Pos: n.args[0].pos, Severity: Warning, Path: path, Found: "arguments beside properties or children",
			Expected: `the agent gets them as "_args"`,
		})
	}
	for _, p := range n.props {
		object[p.key] = r.jsonValue(p.value, path)
	}
	for _, c := range n.children {
		object[c.name] = r.jsonNode(c, path+"."+cut(c.name))
	}
	return object
}

// jsonValue returns a scalar that JSON can hold.
func (r *reader) jsonValue(v value, path string) any {
	b := r.absent(v.pos, path)
	switch d := v.data.(type) {
	case defect:
		b.wrong("", v, "")
		return nil
	case float64:
		if math.IsNaN(d) || math.IsInf(d, 0) {
			b.wrong("", v, "expected a number that JSON can hold")
			return nil
		}
	}
	return v.data
}
