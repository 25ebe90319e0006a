package sentinel

import "github.com/sentinel-proxy/sentinel-go/sentinel/internal/wire"

// Reason is why an exchange did not simply relay the upstream's answer. The set is closed; a Reason's
// word is spelled the same in the access log, the metrics, the audit log, the documentation and the
// conformance vectors. Clients never see it.
type Reason uint8

// Source is who caused a Reason.
type Source string

// The sources.
const (
	FromClient   Source = "client"
	FromPolicy   Source = "policy"
	FromAgent    Source = "agent"
	FromUpstream Source = "upstream"
	FromInternal Source = "internal"
)

// The reasons. Zero is none.
const (
	none Reason = iota
	badRequestLine
	badTarget
	badVersion
	badHeader
	badHost
	badPath
	framingConflict
	badContentLength
	badTransferCoding
	unknownTransferCoding
	badChunk
	badTrailer
	targetTooLong
	headerTooLarge
	truncated
	encodedSlash
	bodyTooLarge
	bodyOverBuffer
	methodRefused
	expectationFailed
	headTimeout
	bodyTimeout
	clientGone
	clientStalled
	noRoute
	notFound
	methodNotAllowed
	staticUnsupported
	connectionLimit
	clientConnectionLimit
	rateLimited
	routeLimit
	inFlightLimit
	websocketLimit
	memoryLimit
	proxyProtocol
	shuttingDown
	reloadDrained
	agentBlocked
	agentRedirected
	agentChallenged
	agentUnavailable
	agentTimeout
	agentBadReply
	agentBreakerOpen
	agentBusy
	agentBodyTooLarge
	agentEncoding
	agentResponseFailed
	noHealthyTarget
	breakerOpen
	upstreamBusy
	upstreamRefused
	upstreamUnreachable
	upstreamDNS
	upstreamTLS
	upstreamConnectTimeout
	upstreamTimeout
	upstreamReadTimeout
	upstreamWriteTimeout
	upstreamReset
	upstreamClosed
	upstreamStale
	upstreamStatus
	upstreamBadResponse
	upstreamTruncated
	tunnelIdle
	localResources
	internalError
	reasons
)

// ReasonInfo describes one Reason to the documentation and the test suite.
type ReasonInfo struct {
	Word   string
	Source Source
	Status int    // what the client gets if no response has begun; 0: nothing, the connection is cut
	Code   string // in JSON error bodies
	Retry  Retry
	Help   string // what it means and what to look at
}

// Retry says whether another attempt may be made after a Reason.
type Retry string

// The retry rules. None applies once response bytes reached the client.
const (
	RetryNo     Retry = "no"
	RetryUnsent Retry = "unsent" // nothing was sent: another target may be tried
	RetryStale  Retry = "stale"  // a reused connection had died: once more on a new one, if the method is idempotent
	RetrySent   Retry = "sent"   // by a retry-policy with connection_error, if the method is idempotent
	RetryLate   Retry = "late"   // by a retry-policy with timeout, if the method is idempotent
	RetryStatus Retry = "status" // by a retry-policy that lists the status, if the method is idempotent
)

var reasonTable = [reasons]ReasonInfo{
	badRequestLine:         {"bad_request_line", FromClient, 400, "BAD_REQUEST", RetryNo, "The request line is malformed: method, spacing or version token."},
	badTarget:              {"bad_target", FromClient, 400, "BAD_REQUEST", RetryNo, "The request target has a form or a byte no target may have."},
	badVersion:             {"bad_version", FromClient, 505, "BAD_REQUEST", RetryNo, "The request is in an HTTP version this listener does not speak."},
	badHeader:              {"bad_header", FromClient, 400, "BAD_REQUEST", RetryNo, "A header line is malformed: name, folding, bare CR or LF, control character."},
	badHost:                {"bad_host", FromClient, 400, "BAD_REQUEST", RetryNo, "Host is missing, repeated or malformed."},
	badPath:                {"bad_path", FromClient, 400, "BAD_REQUEST", RetryNo, "The path has a malformed escape or an escaped NUL."},
	framingConflict:        {"framing_conflict", FromClient, 400, "BAD_REQUEST", RetryNo, "Content-Length and Transfer-Encoding contradict: a request-smuggling attempt or a broken client."},
	badContentLength:       {"bad_content_length", FromClient, 400, "BAD_REQUEST", RetryNo, "Content-Length is repeated or not a plain number."},
	badTransferCoding:      {"bad_transfer_coding", FromClient, 400, "BAD_REQUEST", RetryNo, "Transfer-Encoding is not exactly chunked."},
	unknownTransferCoding:  {"unknown_transfer_coding", FromClient, 501, "BAD_REQUEST", RetryNo, "Transfer-Encoding lists codings besides chunked."},
	badChunk:               {"bad_chunk", FromClient, 400, "BAD_REQUEST", RetryNo, "The chunked request body is malformed."},
	badTrailer:             {"bad_trailer", FromClient, 400, "BAD_REQUEST", RetryNo, "A request trailer line is malformed."},
	targetTooLong:          {"target_too_long", FromClient, 414, "BAD_REQUEST", RetryNo, "The request line is over 8 KiB."},
	headerTooLarge:         {"header_too_large", FromClient, 431, "HEADERS_TOO_LARGE", RetryNo, "The header section is over a limit of the limits block."},
	truncated:              {"truncated", FromClient, 400, "BAD_REQUEST", RetryNo, "The client ended the connection inside a request."},
	encodedSlash:           {"encoded_slash", FromClient, 400, "BAD_REQUEST", RetryNo, "The path has %2F or %5C and the route's encoded-slash setting refuses it."},
	bodyTooLarge:           {"body_too_large", FromClient, 413, "PAYLOAD_TOO_LARGE", RetryNo, "The request body is over max-body-size."},
	bodyOverBuffer:         {"body_over_buffer", FromClient, 413, "PAYLOAD_TOO_LARGE", RetryNo, "The request body is over max-body-buffer-bytes, and the route has buffer-requests."},
	methodRefused:          {"method_refused", FromClient, 405, "METHOD_NOT_ALLOWED", RetryNo, "CONNECT and TRACE are never served."},
	expectationFailed:      {"expectation_failed", FromClient, 417, "BAD_REQUEST", RetryNo, "Expect asks for something other than 100-continue."},
	headTimeout:            {"head_timeout", FromClient, 408, "REQUEST_TIMEOUT", RetryNo, "The request head was not complete within request-timeout-secs."},
	bodyTimeout:            {"body_timeout", FromClient, 408, "REQUEST_TIMEOUT", RetryNo, "The request body paused for body-idle-timeout-secs or came slower than min-body-rate-bytes."},
	clientGone:             {"client_gone", FromClient, 499, "BAD_REQUEST", RetryNo, "The client closed the connection before its answer was complete."},
	clientStalled:          {"client_stalled", FromClient, 0, "", RetryNo, "The client did not read its answer for body-idle-timeout-secs."},
	noRoute:                {"no_route", FromPolicy, 404, "NOT_FOUND", RetryNo, "No route matches, and the listener has no default-route."},
	notFound:               {"not_found", FromPolicy, 404, "NOT_FOUND", RetryNo, "A route answered with the not-found handler."},
	methodNotAllowed:       {"method_not_allowed", FromPolicy, 405, "METHOD_NOT_ALLOWED", RetryNo, "A builtin handler answers GET and HEAD only."},
	staticUnsupported:      {"static_unsupported", FromPolicy, 503, "SERVICE_UNAVAILABLE", RetryNo, "The route serves static files, which this build cannot do yet."},
	connectionLimit:        {"connection_limit", FromPolicy, 0, "", RetryNo, "max-connections is reached: the connection is closed before it is read."},
	clientConnectionLimit:  {"client_connection_limit", FromPolicy, 0, "", RetryNo, "The client has max-connections-per-client open: the connection is closed before it is served. Behind a load balancer the client is the balancer, unless trusted-proxies or proxy-protocol say otherwise."},
	rateLimited:            {"rate_limited", FromPolicy, 429, "RATE_LIMIT_EXCEEDED", RetryNo, "A rate limit had no token left for the request: the audit entry names the limit. The status is the limit's."},
	routeLimit:             {"route_limit", FromPolicy, 503, "SERVICE_UNAVAILABLE", RetryNo, "max-connections-per-route requests of the route are under way: its upstream is slow, or it gets more than it can take."},
	inFlightLimit:          {"in_flight_limit", FromPolicy, 503, "SERVICE_UNAVAILABLE", RetryNo, "max-in-flight-requests are under way, and max-queued-requests wait already or queue-timeout-ms were waited."},
	websocketLimit:         {"websocket_limit", FromPolicy, 503, "SERVICE_UNAVAILABLE", RetryNo, "The client has max-connections-per-ip WebSockets of the route open."},
	memoryLimit:            {"memory_limit", FromPolicy, 503, "SERVICE_UNAVAILABLE", RetryNo, "Memory is short of max-memory-bytes or max-memory-percent, or buffered bodies take all they may."},
	proxyProtocol:          {"proxy_protocol", FromClient, 0, "", RetryNo, "A connection to a listener with proxy-protocol began without a well-formed header, or its peer is not in trusted-proxies: it is closed before it is served."},
	shuttingDown:           {"shutting_down", FromPolicy, 503, "SERVICE_UNAVAILABLE", RetryNo, "The exchange had not ended when graceful-shutdown-timeout-secs was over: it was cut."},
	reloadDrained:          {"reload_drained", FromPolicy, 503, "SERVICE_UNAVAILABLE", RetryNo, "A reload removed or changed what served the exchange, which had not ended when reload-drain-secs were over: it was cut."},
	agentBlocked:           {"agent_blocked", FromAgent, 403, "AGENT_BLOCKED", RetryNo, "An agent refused the request: the audit entry has its rules. The status is the agent's."},
	agentRedirected:        {"agent_redirected", FromAgent, 302, "AGENT_BLOCKED", RetryNo, "An agent sent the client elsewhere."},
	agentChallenged:        {"agent_challenged", FromAgent, 403, "AGENT_BLOCKED", RetryNo, "An agent wants the client to prove something first."},
	agentUnavailable:       {"agent_unavailable", FromAgent, 503, "AGENT_UNAVAILABLE", RetryNo, "An agent of the route cannot be reached, refused its config, or died while it was asked, and its failure mode is closed."},
	agentTimeout:           {"agent_timeout", FromAgent, 504, "GATEWAY_TIMEOUT", RetryNo, "An agent gave no verdict within timeout-ms, waiting for its turn included, and its failure mode is closed."},
	agentBadReply:          {"agent_bad_reply", FromAgent, 503, "AGENT_UNAVAILABLE", RetryNo, "An agent answered something that is no verdict, and its failure mode is closed."},
	agentBreakerOpen:       {"agent_breaker_open", FromAgent, 503, "AGENT_UNAVAILABLE", RetryNo, "An agent failed repeatedly and is left alone for a while, and its failure mode is closed."},
	agentBusy:              {"agent_busy", FromAgent, 503, "AGENT_UNAVAILABLE", RetryNo, "max-concurrent-calls are under way at an agent and max-agent-queue-depth wait, or the bodies held for agents take all the memory they may, and the failure mode is closed."},
	agentBodyTooLarge:      {"agent_body_too_large", FromAgent, 413, "PAYLOAD_TOO_LARGE", RetryNo, "The request body is over max-request-body-bytes of an agent that must see it, and its failure mode is closed."},
	agentEncoding:          {"agent_encoding", FromAgent, 400, "BAD_REQUEST", RetryNo, "The request body cannot be decoded for an agent: its Content-Encoding is unknown or broken, or it is a decompression bomb, and the failure mode is closed."},
	agentResponseFailed:    {"agent_response_failed", FromAgent, 502, "BAD_GATEWAY", RetryNo, "An agent that must see the response failed, and its failure mode is closed: the audit entry says how."},
	noHealthyTarget:        {"no_healthy_target", FromUpstream, 503, "NO_HEALTHY_UPSTREAM", RetryNo, "Every target of the upstream is unhealthy or has weight 0."},
	breakerOpen:            {"breaker_open", FromUpstream, 503, "CIRCUIT_BREAKER_OPEN", RetryNo, "The circuit breaker of the route, or of every healthy target, is open after repeated failures."},
	upstreamBusy:           {"upstream_busy", FromUpstream, 503, "SERVICE_UNAVAILABLE", RetryNo, "Every target has max-connections or max-requests in flight, and max-pending requests wait already or connect-secs were waited."},
	upstreamRefused:        {"upstream_refused", FromUpstream, 502, "BAD_GATEWAY", RetryUnsent, "The target refused the connection: nothing listens there."},
	upstreamUnreachable:    {"upstream_unreachable", FromUpstream, 502, "BAD_GATEWAY", RetryUnsent, "The target cannot be reached: routing, firewall or local descriptors."},
	upstreamDNS:            {"upstream_dns", FromUpstream, 502, "BAD_GATEWAY", RetryUnsent, "The target's name does not resolve."},
	upstreamTLS:            {"upstream_tls", FromUpstream, 502, "BAD_GATEWAY", RetryUnsent, "The TLS handshake with the target failed: certificate, name or version."},
	upstreamConnectTimeout: {"upstream_connect_timeout", FromUpstream, 504, "GATEWAY_TIMEOUT", RetryUnsent, "The target did not accept the connection within connect-secs."},
	upstreamTimeout:        {"upstream_timeout", FromUpstream, 504, "GATEWAY_TIMEOUT", RetryLate, "No response head within request-secs or the route's timeout-secs."},
	upstreamReadTimeout:    {"upstream_read_timeout", FromUpstream, 504, "GATEWAY_TIMEOUT", RetryNo, "The target was silent for read-secs."},
	upstreamWriteTimeout:   {"upstream_write_timeout", FromUpstream, 504, "GATEWAY_TIMEOUT", RetryNo, "The target did not take request bytes for write-secs."},
	upstreamReset:          {"upstream_reset", FromUpstream, 502, "BAD_GATEWAY", RetrySent, "The target reset the connection before a response head."},
	upstreamClosed:         {"upstream_closed", FromUpstream, 502, "BAD_GATEWAY", RetrySent, "The target closed the connection before a response head."},
	upstreamStale:          {"upstream_stale", FromUpstream, 502, "BAD_GATEWAY", RetryStale, "An idle connection died as the request was sent: keep idle-timeout-secs below the target's own keep-alive time."},
	upstreamStatus:         {"upstream_status", FromUpstream, 502, "BAD_GATEWAY", RetryStatus, "The target answered 500 or above, or a status of retryable-status-codes: the word of that attempt in metrics and breaker events. As an answer of ours: the attempt that was to replace it found no target."},
	upstreamBadResponse:    {"upstream_bad_response", FromUpstream, 502, "BAD_GATEWAY", RetryNo, "The target answered something that is no valid HTTP/1.1 response to the request."},
	upstreamTruncated:      {"upstream_truncated", FromUpstream, 502, "BAD_GATEWAY", RetryNo, "The target ended or broke off a response body: the client's copy was cut too."},
	tunnelIdle:             {"tunnel_idle", FromPolicy, 0, "", RetryNo, "An upgraded connection was silent for the route's timeout-secs."},
	localResources:         {"local_resources", FromInternal, 503, "SERVICE_UNAVAILABLE", RetryNo, "The proxy itself has no descriptor, port or memory left for a connection to the target."},
	internalError:          {"internal_error", FromInternal, 500, "INTERNAL_ERROR", RetryNo, "A bug in the proxy: the error log has the stack."},
}

// String returns the Reason's word; none has an empty one.
func (r Reason) String() string { return reasonTable[r].Word }

// Reasons lists every Reason, for the documentation and the test suite.
func Reasons() []ReasonInfo { return append([]ReasonInfo(nil), reasonTable[1:]...) }

var faultReasons = map[wire.Fault]Reason{
	wire.BadRequestLine:   badRequestLine,
	wire.BadTarget:        badTarget,
	wire.BadVersion:       badVersion,
	wire.BadHeader:        badHeader,
	wire.BadHost:          badHost,
	wire.BadPath:          badPath,
	wire.FramingConflict:  framingConflict,
	wire.BadContentLength: badContentLength,
	wire.BadCoding:        badTransferCoding,
	wire.UnknownCoding:    unknownTransferCoding,
	wire.BadChunk:         badChunk,
	wire.BadTrailer:       badTrailer,
	wire.TargetTooLong:    targetTooLong,
	wire.HeaderTooLarge:   headerTooLarge,
	wire.Truncated:        truncated,
}
