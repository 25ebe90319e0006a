package config

import (
	"path/filepath"
	"strconv"
)

var pageFormats = oneOf("json", "html", "text", "xml")

// errorPages reads a route's `error-pages`.
func (r *reader) errorPages(b *block) *ErrorPages {
	e := &ErrorPages{
		DefaultFormat: b.choice("default-format", "", pageFormats),
		TemplateDir:   b.text("template-dir", ""),
		Pages:         map[int]ErrorPage{},
	}
	b.ignored("include-stack-trace", "a client never sees one")
	list, _ := b.block("pages")
	for _, n := range list.node.children {
		list.use(n, usedAsBlock)
		list.asked(n.name)
		status, err := strconv.Atoi(n.name)
		if err != nil || status < 400 || status > 599 {
			r.report(Problem{
				Pos: n.pos, Path: list.path, Found: "found " + strconv.Quote(cut(n.name)),
				Expected: "expected a status from 400 to 599",
			})
			continue
		}
		if _, twice := e.Pages[status]; twice {
			r.report(Problem{Pos: n.pos, Path: list.path, Found: "duplicate page " + n.name})
		}
		e.Pages[status] = r.errorPage(r.open(n, list.pathOf(n.name), 0), e.TemplateDir)
	}
	list.done()
	b.done()
	return e
}

func (r *reader) errorPage(b *block, templates string) ErrorPage {
	p := ErrorPage{
		Format:   b.choice("format", "", pageFormats),
		Message:  b.text("message", ""),
		Template: b.text("template", ""),
		Headers:  b.headerValues("headers"),
	}
	b.needs("template", p.Template, readable(filepath.Join(templates, p.Template)), filepath.Join(templates, p.Template))
	b.done()
	return p
}
