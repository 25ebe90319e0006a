package sentinel

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// BenchmarkReload reads and builds a configuration of a thousand routes of which one has changed.
func BenchmarkReload(b *testing.B) {
	var text strings.Builder
	text.WriteString("system { }\nlistener \"main\" { address \"127.0.0.1:0\" }\nupstream \"u\" { target \"127.0.0.1:1\" }\nroutes {\n")
	for i := range 1000 {
		fmt.Fprintf(&text, "\troute \"r%[1]d\" { matches { host \"h%[2]d.example\"; path-prefix \"/api/%[1]d\" }; upstream \"u\" }\n", i, i%100)
	}
	file := filepath.Join(b.TempDir(), "sentinel.kdl")
	write := func(n int) {
		last := fmt.Sprintf("\troute \"last\" { matches { path-prefix \"/%d\" }; upstream \"u\" }\n}\n", n)
		if err := os.WriteFile(file, []byte(text.String()+last), 0o600); err != nil {
			b.Fatal(err)
		}
	}
	write(0)
	p, err := New(Options{Path: file, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		b.Fatal(err)
	}
	ctx, stop := context.WithCancel(b.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		p.Run(ctx)
	}()
	defer func() {
		stop()
		<-ended
	}()
	b.ReportAllocs()
	for n := 1; b.Loop(); n++ {
		write(n)
		if _, err := p.Reload(b.Context(), "benchmark"); err != nil {
			b.Fatal(err)
		}
	}
}
