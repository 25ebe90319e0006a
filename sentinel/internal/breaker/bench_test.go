package breaker

import (
	"testing"
	"time"
)

func BenchmarkClosed(b *testing.B) {
	k := New(settings(5, 2, 1), nil)
	now := time.Now()
	b.ReportAllocs()
	for b.Loop() {
		a, _ := k.Admit(now)
		k.Success(a)
	}
}

func BenchmarkClosedContended(b *testing.B) {
	k := New(settings(5, 2, 1), nil)
	now := time.Now()
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			a, _ := k.Admit(now)
			k.Success(a)
		}
	})
}

// BenchmarkClosedFailing has every second request fail, so that every outcome writes the word.
func BenchmarkClosedFailing(b *testing.B) {
	k := New(settings(5, 2, 1), nil)
	now := time.Now()
	b.ReportAllocs()
	for b.Loop() {
		a, _ := k.Admit(now)
		k.Failure(a, now, "failure")
		c, _ := k.Admit(now)
		k.Success(c)
	}
}

func BenchmarkReady(b *testing.B) {
	k := New(settings(5, 2, 1), nil)
	now := time.Now()
	b.ReportAllocs()
	for b.Loop() {
		if !k.Ready(now) {
			b.Fatal("not ready")
		}
	}
}

func BenchmarkOpen(b *testing.B) {
	k := New(settings(5, 2, 1), nil)
	now := time.Now()
	k.Trip(now, time.Hour, "trip")
	b.ReportAllocs()
	for b.Loop() {
		if _, ok := k.Admit(now); ok {
			b.Fatal("admitted")
		}
	}
}

func BenchmarkOpenContended(b *testing.B) {
	k := New(settings(5, 2, 1), nil)
	now := time.Now()
	k.Trip(now, time.Hour, "trip")
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, ok := k.Admit(now); ok {
				b.Error("admitted")
			}
		}
	})
}

func BenchmarkHalfOpen(b *testing.B) {
	k := New(settings(5, 2, 1), nil)
	now := time.Now()
	k.Trip(now, time.Hour, "trip")
	k.HalfOpen("evidence")
	b.ReportAllocs()
	for b.Loop() {
		p, ok := k.Admit(now)
		if !ok {
			b.Fatal("refused")
		}
		k.Abandon(p)
	}
}
