package telemetry

import (
	"strconv"
	"sync/atomic"
	"time"
)

// MethodLabel is a request method as a metric label. The zero value is OTHER.
type MethodLabel uint8

const methodLabels = 10

var methodNames = [methodLabels]string{
	"OTHER", "GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH",
}

// MethodOf returns the label of a method: one of the standard nine, else OTHER. A client can send
// any token for a method, so its own word must not become a label.
func MethodOf(method []byte) MethodLabel {
	for i := 1; i < methodLabels; i++ {
		if string(method) == methodNames[i] {
			return MethodLabel(i)
		}
	}
	return 0
}

// String returns the label value.
func (m MethodLabel) String() string { return methodNames[m] }

// statuses are the status codes with a label of their own: the registered ones, 499, and some that
// well-known servers use. An origin may send any number, so others are counted by class: "5xx".
var statuses = [...]int{
	100, 101, 102, 103,
	200, 201, 202, 203, 204, 205, 206, 207, 208, 226,
	300, 301, 302, 303, 304, 305, 307, 308,
	400, 401, 402, 403, 404, 405, 406, 407, 408, 409, 410, 411, 412, 413, 414, 415, 416, 417, 418, 421, 422,
	423, 424, 425, 426, 428, 429, 431, 444, 451, 499,
	500, 501, 502, 503, 504, 505, 506, 507, 508, 510, 511, 520, 521, 522, 523, 524, 525, 526, 529, 530,
}

const (
	classes     = 6 // "other" and 1xx to 5xx
	statusSlots = classes + len(statuses)
)

// slotOf is the counter of each status, statusNames the label of each counter.
var slotOf, statusNames = func() (slots [600]uint8, names [statusSlots]string) {
	names[0] = other
	for class := 1; class < classes; class++ {
		names[class] = strconv.Itoa(class) + "xx"
		for status := 100 * class; status < 100*class+100; status++ {
			slots[status] = uint8(class)
		}
	}
	for i, status := range statuses {
		slots[status] = uint8(classes + i)
		names[classes+i] = strconv.Itoa(status)
	}
	return slots, names
}()

// RouteMetrics counts the exchanges of one route.
type RouteMetrics struct {
	id            string
	methods       [methodLabels]atomic.Pointer[methodMetrics] // made when first seen: most routes see two
	requestSizes  sizes
	responseSizes sizes
}

// methodMetrics counts the exchanges of one route and method.
type methodMetrics struct {
	statuses [statusSlots]atomic.Uint64
	times    durations
}

// Observe counts one finished exchange: the status sent, how long it took, and the bytes of both
// bodies. A message without a body is no observation of the size histograms.
func (r *RouteMetrics) Observe(method MethodLabel, status int, d time.Duration, requestBytes, responseBytes int64) {
	m := r.methods[method].Load()
	if m == nil {
		r.methods[method].CompareAndSwap(nil, new(methodMetrics))
		m = r.methods[method].Load()
	}
	slot := uint8(0)
	if 0 < status && status < len(slotOf) {
		slot = slotOf[status]
	}
	m.statuses[slot].Add(1)
	m.times.observe(d)
	if requestBytes > 0 {
		r.requestSizes.observe(requestBytes)
	}
	if responseBytes > 0 {
		r.responseSizes.observe(responseBytes)
	}
}
