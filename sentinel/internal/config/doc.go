// Package config turns KDL text into a typed, validated Config, or into every problem it has,
// each with file, line and column.
package config
