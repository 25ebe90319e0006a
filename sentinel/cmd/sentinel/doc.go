// Command sentinel is the proxy: flags, signals and exit codes around package sentinel.
package main
