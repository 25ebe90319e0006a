// Package report writes figures down for people: aligned text tables, and one HTML page that needs no other file.
package report
