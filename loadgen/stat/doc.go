// Package stat reduces the figures of repeated rounds to one: medians, spreads, and ratios taken round by round.
package stat
