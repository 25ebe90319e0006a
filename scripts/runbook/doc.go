// Command runbook writes docs/runbook.md: what each Reason means at night, and what to do about it. The Reasons
// come from the proxy, the advice from advice.txt; a Reason without advice, or advice without its Reason, is an error.
package main
