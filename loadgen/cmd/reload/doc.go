// Command reload reloads Sentinel again and again under requests at a fixed rate, half of the times with a broken
// file, and fails when a request does, or when the slowest hundredth takes more than three times as long as before.
package main
