package wire

// ID names a field the proxy has a rule for; Other is every field it has none for.
type ID uint8

// The known fields.
const (
	Other ID = iota
	AcceptEncoding
	Connection
	ContentEncoding
	ContentLength
	ContentType
	Date
	Expect
	Forwarded
	HTTP2Settings
	Host
	KeepAlive
	Location
	MaxForwards
	ProxyAuthenticate
	ProxyAuthorization
	ProxyConnection
	Referer
	Server
	TE
	Trailer
	TransferEncoding
	Upgrade
	UserAgent
	Via
	XForwarded // every field whose name starts with "X-Forwarded-"
	XIdentity  // other names that speak for the client's identity: X-Real-IP, True-Client-IP, ...
	XOverride  // X-Original-URL, X-Rewrite-URL, X-HTTP-Method-Override, ...
	XInternal  // X-Internal-Token, Authorization-Internal
	XTraceID
	XCorrelationID
	XRequestID
	XPoweredBy
	XContentTypeOptions
	XFrameOptions
	XXSSProtection
	ReferrerPolicy
	Nominated // named by a Connection field: nobody's business beyond this hop
	NumIDs    // how many there are
)

// known lists the names in lower case by slot, so that a look-up compares at most a few strings.
var known = buildKnown(map[string]ID{
	"accept-encoding":        AcceptEncoding,
	"connection":             Connection,
	"content-encoding":       ContentEncoding,
	"content-length":         ContentLength,
	"content-type":           ContentType,
	"date":                   Date,
	"expect":                 Expect,
	"forwarded":              Forwarded,
	"http2-settings":         HTTP2Settings,
	"host":                   Host,
	"keep-alive":             KeepAlive,
	"location":               Location,
	"max-forwards":           MaxForwards,
	"proxy-authenticate":     ProxyAuthenticate,
	"proxy-authorization":    ProxyAuthorization,
	"proxy-connection":       ProxyConnection,
	"referer":                Referer,
	"server":                 Server,
	"te":                     TE,
	"trailer":                Trailer,
	"transfer-encoding":      TransferEncoding,
	"upgrade":                Upgrade,
	"user-agent":             UserAgent,
	"via":                    Via,
	"x-real-ip":              XIdentity,
	"true-client-ip":         XIdentity,
	"cf-connecting-ip":       XIdentity,
	"x-client-ip":            XIdentity,
	"x-cluster-client-ip":    XIdentity,
	"fastly-client-ip":       XIdentity,
	"x-original-url":         XOverride,
	"x-rewrite-url":          XOverride,
	"x-http-method-override": XOverride,
	"x-http-method":          XOverride,
	"x-method-override":      XOverride,
	"x-internal-token":       XInternal,
	"authorization-internal": XInternal,
	"x-trace-id":             XTraceID,
	"x-correlation-id":       XCorrelationID,
	"x-request-id":           XRequestID,
	"x-powered-by":           XPoweredBy,
	"x-content-type-options": XContentTypeOptions,
	"x-frame-options":        XFrameOptions,
	"x-xss-protection":       XXSSProtection,
	"referrer-policy":        ReferrerPolicy,
})

type knownName struct {
	name string
	id   ID
}

// slot tells names apart by length, first and last letter, without regard to case. The factors were
// searched for: only two known names share a slot, and the usual unknown names meet empty ones.
func slot(name []byte) uint8 {
	return 3*uint8(len(name)) + 9*(name[0]|0x20) + 13*(name[len(name)-1]|0x20)
}

func buildKnown(names map[string]ID) (t [256][]knownName) {
	for name, id := range names {
		i := slot([]byte(name))
		t[i] = append(t[i], knownName{name, id})
	}
	return t
}

// Identify returns the ID of a field name, in any case.
func Identify(name []byte) ID {
	if len(name) == 0 {
		return Other
	}
	for _, k := range known[slot(name)] {
		if EqualName(name, k.name) {
			return k.id
		}
	}
	const family = "x-forwarded-"
	if len(name) > len(family) && EqualName(name[:len(family)], family) {
		return XForwarded
	}
	return Other
}
