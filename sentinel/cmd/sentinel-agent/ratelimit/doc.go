// Package ratelimit is the reference agent that limits how many requests a client may make.
//
// A limit is a token bucket for each key: so many requests at once, and so many more each second. Keys are
// taken from the request and hashed, so that a bucket costs the same however long a client makes its
// headers. Buckets are in memory, or in Redis for several proxies that share their limits.
package ratelimit
