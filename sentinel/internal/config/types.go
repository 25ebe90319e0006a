package config

import (
	"net/netip"
	"regexp"
	"time"
)

// Config is one complete, validated configuration: every setting has its effective value, every
// reference resolves. It is immutable once Load has returned it.
type Config struct {
	Path  string   // the file or directory it was read from; empty for text without a path
	Files []string // every file that was read, in reading order: what auto-reload has to watch

	System        System
	Listeners     []Listener
	Routes        []Route
	Upstreams     []Upstream
	Filters       []Filter
	Agents        []Agent
	Limits        Limits
	WAF           *WAF // nil: no block
	Observability Observability
	RateLimits    *RateLimits // nil: no block

	Settings []Setting // with Options.Settings: every effective value with its source, in reading order
}

// Setting is one effective value and where it came from.
type Setting struct {
	Path   string // `listeners.listener "main".request-timeout-secs`
	Value  string // as KDL would write it
	Source string // "default", "file:line", "env NAME"
}

// Pos is a place in a configuration file. Line and Col count from 1, Col in characters.
type Pos struct {
	File      string
	Line, Col int
}

// System is the block `system` (or `server`).
type System struct {
	WorkerThreads   int           // 0: leave GOMAXPROCS alone
	MaxConnections  int           // open client connections over all listeners
	ShutdownTimeout time.Duration // drain budget on SIGTERM
	ShutdownDelay   time.Duration // from not ready to the closing of listeners
	UpgradeTimeout  time.Duration // until the program that takes over must be ready
	ReloadDrain     time.Duration // for exchanges on what a reload dropped or changed
	TraceIDFormat   string        // "tinyflake" or "uuid"
	AdminSocket     string        // path of the Unix socket for `reload` and `status`; empty: none
	AutoReload      bool          // reload when a file of the configuration changes
	Daemon          bool
	PIDFile         string
	User, Group     string
	WorkingDir      string
	RouteCacheSize  int // parsed; the compiled index is the cache
}

// Listener is one address that accepts clients.
type Listener struct {
	Pos                  Pos
	ID                   string
	Address              netip.AddrPort // port 0: one the kernel picks
	Protocol             string         // "http", "https" or "h2"
	RequestTimeout       time.Duration  // from the first byte of a request head to its last
	KeepAliveTimeout     time.Duration
	KeepAliveMaxRequests int // 0: no bound
	MaxConcurrentStreams int
	BodyIdleTimeout      time.Duration // longest silence inside a request body
	MinBodyRate          int           // bytes per second averaged over the body after BodyIdleTimeout; 0: off
	DefaultRoute         string        // route id taken when nothing matches; empty: none
	TLS                  *TLS          // nil for "http"
}

// TLS is a listener's `tls` block.
type TLS struct {
	Pos               Pos
	CertFile, KeyFile string
	CAFile            string
	ClientAuth        bool
	MinVersion        uint16 // tls.VersionTLS12 or tls.VersionTLS13
	MaxVersion        uint16 // 0: newest
	CipherSuites      []uint16
	OCSPStapling      bool
	SessionResumption bool
	SNI               []SNICert
}

// SNICert is a certificate chosen by the server name a client asks for.
type SNICert struct {
	Pos               Pos
	Hostnames         []string // empty: the certificate's DNS names
	CertFile, KeyFile string
}

// Route is one `route`: what it matches and what happens then.
type Route struct {
	Pos            Pos
	ID             string
	Listeners      []string // empty: all listeners
	Matches        Matches
	Priority       int
	ServiceType    string // "web", "api", "static" or "builtin": the look of errors; what serves is the next three
	Upstream       string
	Builtin        string // builtin handler name; empty: none
	StaticFiles    *StaticFiles
	Filters        []string // in order, implicit agent filters included
	Policies       Policies
	Retry          *RetryPolicy
	CircuitBreaker *CircuitBreaker
	ErrorPages     *ErrorPages
	WAFEnabled     bool
	WebSocket      WebSocket
	EncodedSlash   string // "reject", "keep" or "decode"
}

// Matches is a route's conditions. Values of one kind are alternatives, different kinds must all hold.
type Matches struct {
	Paths, PathPrefixes []string // canonical (wire.CanonicalPath)
	PathRegexes         []*regexp.Regexp
	Hosts               []string // lower case, exact or `*.` and one label
	HostRegexes         []*regexp.Regexp
	Methods             []string // upper case
	Headers             []Condition
	Query               []Condition
}

// Condition is a named header field or query parameter: one of Values, or presence when there are none.
// The name of a header field is in lower case.
type Condition struct {
	Name   string
	Values []string
}

// StaticFiles is a route's `static-files` block.
type StaticFiles struct {
	Pos              Pos
	Root             string
	Index            string
	DirectoryListing bool
	CacheControl     string
	Compress         bool
	Fallback         string
	MIMETypes        map[string]string
}

// Policies is a route's `policies` block with its defaults applied.
type Policies struct {
	Timeout         time.Duration // until the response head; 0: the upstream's request timeout
	MaxBodySize     int64         // bytes; 0: Limits.MaxBodySize
	FailureMode     string        // "open", "closed" or empty when not written
	BufferRequests  bool
	BufferResponses bool
	RateLimit       *RateLimit
	RequestHeaders  HeaderEdits
	ResponseHeaders HeaderEdits
}

// HeaderEdits are applied in the order of the fields.
type HeaderEdits struct {
	Rename [][2]string // old, new
	Set    [][2]string
	Add    [][2]string
	Remove []string
}

// RetryPolicy is a route's `retry-policy` block.
type RetryPolicy struct {
	MaxAttempts     int
	Timeout         time.Duration
	BackoffBase     time.Duration
	BackoffMax      time.Duration
	BackoffJitter   bool // waits are up to 20 % shorter or longer
	StatusCodes     []int
	ConnectionError bool
	OnTimeout       bool
	On5xx           bool
}

// CircuitBreaker is a `circuit-breaker` block of a route, an upstream or an agent.
type CircuitBreaker struct {
	Written             bool // false: defaults, not in the file
	FailureThreshold    int
	SuccessThreshold    int
	Timeout             time.Duration
	HalfOpenMaxRequests int
}

// ErrorPages is a route's `error-pages` block.
type ErrorPages struct {
	DefaultFormat string // "json", "html", "text", "xml" or empty: by service type
	TemplateDir   string
	Pages         map[int]ErrorPage
}

// ErrorPage overrides what one status looks like.
type ErrorPage struct {
	Format   string
	Message  string
	Template string
	Headers  [][2]string
}

// WebSocket is a route's `websocket` setting.
type WebSocket struct {
	Enabled             bool
	PingInterval        time.Duration
	PingTimeout         time.Duration
	MaxMessageSize      int64
	MaxConnectionsPerIP int // 0: no bound
}

// Upstream is one pool of targets.
type Upstream struct {
	Pos            Pos
	ID             string
	Targets        []Target
	LoadBalancing  string // canonical name, e.g. "round_robin"
	Sticky         *Sticky
	HealthCheck    *HealthCheck // nil: none
	CircuitBreaker CircuitBreaker
	RecoveryRamp   time.Duration // from recovery to the full share; 0: at once
	RetryBudget    RetryBudget
	DNSRefresh     time.Duration // between look-ups of the targets' names
	Pool           ConnectionPool
	Timeouts       UpstreamTimeouts
	TLS            *UpstreamTLS // nil: plain text
	MinHTTPVersion int
	MaxHTTPVersion int
	H2PingInterval time.Duration
	MaxH2Streams   int
}

// Target is one address of an upstream.
type Target struct {
	Pos         Pos
	Address     string // host:port
	Weight      int    // 0: drained
	MaxRequests int    // requests in flight; 0: no bound
	Metadata    map[string]string
}

// Sticky is the cookie of `load-balancing "sticky"`.
type Sticky struct {
	CookieName, CookiePath, SameSite string
	TTL                              time.Duration
	Secure                           bool
	Fallback                         string
}

// HealthCheck is an upstream's active probe.
type HealthCheck struct {
	Type               string // "http", "tcp" or "grpc"
	Path, Host         string
	ExpectedStatus     []int // empty: any 2xx
	Service            string
	Interval, Timeout  time.Duration
	HealthyThreshold   int
	UnhealthyThreshold int
}

// RetryBudget bounds how much of an upstream's traffic may be repeats of requests that were sent before.
type RetryBudget struct {
	Percent    int // of the requests of the last ten seconds
	MinRetries int // always allowed in ten seconds
}

// ConnectionPool bounds the connections to each target of an upstream.
type ConnectionPool struct {
	MaxConnections int
	MaxPending     int // requests of the upstream that may wait for one
	MaxIdle        int
	IdleTimeout    time.Duration
	MaxLifetime    time.Duration // 0: no bound
}

// UpstreamTimeouts are never zero.
type UpstreamTimeouts struct {
	Connect, Request, Read, Write time.Duration
}

// UpstreamTLS is an upstream's `tls` block.
type UpstreamTLS struct {
	Pos                   Pos
	SNI                   string // empty: the host part of the target's address
	InsecureSkipVerify    bool
	ClientCert, ClientKey string
	CACert                string
}

// Filter is one entry of `filters`. Exactly the pointer that belongs to Type is set.
type Filter struct {
	Pos       Pos
	ID        string
	Type      string // "rate-limit", "headers", "cors", "compress", "timeout", "log", "agent"; empty: not built, does nothing
	RateLimit *RateLimit
	Headers   *HeadersFilter
	CORS      *CORS
	Compress  *Compress
	Timeout   *TimeoutFilter
	Log       *LogFilter
	Agent     *AgentFilter
}

// RateLimit is a token bucket of Burst tokens refilled at RPS per second, one per key.
type RateLimit struct {
	RPS, Burst int
	Key        string // "client-ip", "path", "route", "client-ip-and-path" or "header:<name>"
	OnLimit    string // "reject", "delay" or "log-only"
	Status     int
	Message    string
	MaxDelay   time.Duration
	MaxKeys    int
}

// HeadersFilter is a `headers` filter.
type HeadersFilter struct {
	Phase string // "request", "response" or "both"
	Edits HeaderEdits
}

// CORS is a `cors` filter.
type CORS struct {
	AllowedOrigins, AllowedMethods, AllowedHeaders, ExposedHeaders []string
	AllowCredentials                                               bool
	MaxAge                                                         time.Duration
}

// Compress is a `compress` filter.
type Compress struct {
	Algorithms   []string // "gzip", "br", "zstd"
	MinSize      int64
	Level        int
	ContentTypes []string
}

// TimeoutFilter overrides timeouts; 0 leaves the upstream's or the listener's.
type TimeoutFilter struct {
	Request, Upstream, Connect time.Duration
}

// LogFilter is a `log` filter.
type LogFilter struct {
	Request, Response, Body bool
	MaxBodySize             int64
	Level                   string
	Fields                  []string
}

// Limits is the block `limits`. Every bound is positive unless it says otherwise.
type Limits struct {
	MaxHeaderSize           int // sum of names and values of one head
	MaxHeaderCount          int
	MaxHeaderName           int
	MaxHeaderValue          int
	MaxBodySize             int64
	MaxBodyBuffer           int64
	MaxBodyInspection       int64
	MaxDecompressionRatio   float64
	MaxDecompressedSize     int64
	MaxConnectionsPerClient int
	MaxConnectionsPerRoute  int
	MaxTotalConnections     int
	MaxIdlePerUpstream      int
	MaxInFlight             int
	MaxQueued               int
	QueueTimeout            time.Duration // in the line for one of MaxInFlight
	MaxAgentQueue           int
	MaxAgentBody            int64
	MaxAgentResponse        int64 // bytes of a reply without a body; 0: what its protocol allows
	MaxRPSGlobal            int   // 0: no bound; likewise the next two
	MaxRPSPerClient         int
	MaxRPSPerRoute          int
	MaxMemory               int64   // bytes; 0: no bound
	MaxMemoryPercent        float64 // of the machine's memory; 0: no bound
}

// RateLimits is the block `rate-limits`: global first, then the default for routes without a limit of their own.
type RateLimits struct {
	Default *RateLimit
	Global  *RateLimit
}

// Observability is the block `observability`.
type Observability struct {
	Logging Logging
	Metrics Metrics
	Tracing *Tracing
}

// Logging is the block `logging`. A nil log is off.
type Logging struct {
	Level      string // "trace", "debug", "info", "warn" or "error"
	Format     string // "json" or "pretty"
	Timestamps bool
	File       string // empty: standard error
	Access     *AccessLog
	Error      *ErrorLog
	Audit      *AuditLog
}

// AccessLog is one line for each request.
type AccessLog struct {
	Pos                Pos
	File               string // "-": standard output
	Format             string // "json" or "combined"
	BufferSize         int
	IncludeTraceID     bool
	SampleRate         float64
	SampleErrorsAlways bool
}

// ErrorLog is one line for each failure.
type ErrorLog struct {
	Pos        Pos
	File       string
	Level      string // "warn" or "error"
	BufferSize int
}

// AuditLog is one line for each security decision.
type AuditLog struct {
	Pos                                    Pos
	File                                   string
	BufferSize                             int
	LogBlocked, LogDecisions, LogWAFEvents bool
}

// Metrics is the block `metrics`.
type Metrics struct {
	Enabled         bool // false when the block is absent
	Address         netip.AddrPort
	Path            string
	HighCardinality bool
}

// Tracing is the block `tracing`.
type Tracing struct {
	Backend, Endpoint string
	SamplingRate      float64
	ServiceName       string
}
