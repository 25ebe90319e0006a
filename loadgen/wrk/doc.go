// Package wrk runs the wrk load generator and reads its report.
package wrk
