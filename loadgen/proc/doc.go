// Package proc reads what processes cost from Linux's /proc: processor time, memory, and how busy the whole machine is.
package proc
