package agentv2

import (
	"fmt"
	"sort"
	"strings"
	"testing"

	"google.golang.org/protobuf/reflect/protoreflect"
)

// fields are the messages of the protocol as agents in the field have them: number, name, type, and the oneof
// that the field is of.
var fields = map[string]string{
	"AgentCapabilities": "1 protocol_version uint32, 2 agent_id string, 3 name string, 4 version string, " +
		"5 supported_events repeated int32, 6 features AgentFeatures, 7 limits AgentLimits, " +
		"8 health_config HealthConfig",
	"AgentControl": "1 health HealthStatus of message, 2 metrics MetricsReport of message, " +
		"3 config_update ConfigUpdateRequest of message, 4 log LogMessage of message",
	"AgentFeatures": "1 streaming_body bool, 2 websocket bool, 3 guardrails bool, 4 config_push bool, " +
		"5 metrics_export bool, 6 concurrent_requests uint32, 7 cancellation bool, 8 flow_control bool, " +
		"9 health_reporting bool",
	"AgentLimits": "1 max_body_size uint64, 2 max_concurrency uint32, 3 preferred_chunk_size uint64, " +
		"4 max_memory optional uint64, 5 max_processing_time_ms optional uint64",
	"AgentResponse": "1 correlation_id string, 2 allow AllowDecision of decision, 3 block BlockDecision of decision, " +
		"4 redirect RedirectDecision of decision, 5 challenge ChallengeDecision of decision, " +
		"10 request_headers repeated HeaderOp, 11 response_headers repeated HeaderOp, " +
		"12 audit optional AuditMetadata, 13 processing_time_ms optional uint64, 14 needs_more bool",
	"AgentToProxy": "1 handshake HandshakeResponse of message, 2 response AgentResponse of message, " +
		"3 health HealthStatus of message, 4 metrics MetricsReport of message, " +
		"5 config_update ConfigUpdateRequest of message, 6 flow_control FlowControlSignal of message, " +
		"7 pong Pong of message, 8 log LogMessage of message",
	"AllowDecision": "",
	"AuditMetadata": "1 tags repeated string, 2 rule_ids repeated string, 3 confidence optional float, " +
		"4 reason_codes repeated string, 5 custom map<string,string>",
	"BlockDecision": "1 status uint32, 2 body optional string, 3 headers repeated Header",
	"BodyChunkEvent": "1 correlation_id string, 2 chunk_index uint32, 3 data bytes, 4 is_last bool, " +
		"5 total_size optional uint64, 6 bytes_transferred uint64, 7 proxy_buffer_available uint64, " +
		"8 timestamp_ms uint64",
	"CancelRequest": "1 correlation_id string, 2 reason int32, 3 timestamp_ms uint64, " +
		"4 blocking_agent_id optional string, 5 manual_reason optional string",
	"ChallengeDecision": "1 challenge_type string, 2 params map<string,string>",
	"ConfigError":       "1 error string, 2 field optional string",
	"ConfigUpdateRequest": "1 request_id string, 2 timestamp_ms uint64, 10 request_reload RequestReload of update_type, " +
		"11 rule_update RuleUpdate of update_type, 12 list_update ListUpdate of update_type, " +
		"13 restart_required RestartRequired of update_type, 14 config_error ConfigError of update_type",
	"ConfigUpdateResponse": "1 request_id string, 2 accepted bool, 3 error optional string, 4 timestamp_ms uint64",
	"ConfigureEvent": "1 config_json string, 2 config_version optional string, 3 is_initial bool, " +
		"4 timestamp_ms uint64",
	"CounterMetric": "1 name string, 2 help optional string, 3 labels map<string,string>, 4 value uint64",
	"DrainRequest":  "1 duration_ms uint64, 2 reason int32, 3 timestamp_ms uint64",
	"FlowControlSignal": "1 correlation_id optional string, 2 action int32, 3 buffer_available optional uint64, " +
		"4 timestamp_ms uint64",
	"GaugeMetric": "1 name string, 2 help optional string, 3 labels map<string,string>, 4 value double",
	"GuardrailInspectEvent": "1 correlation_id string, 2 content string, 3 content_type int32, 4 model optional string, " +
		"5 context_json string",
	"HandshakeRequest": "1 supported_versions repeated uint32, 2 proxy_id string, 3 proxy_version string, " +
		"4 config_json string",
	"HandshakeResponse": "1 protocol_version uint32, 2 capabilities AgentCapabilities, 3 success bool, " +
		"4 error optional string",
	"Header":       "1 name string, 2 value string",
	"HeaderOp":     "1 set Header of operation, 2 add Header of operation, 3 remove string of operation",
	"HealthConfig": "1 report_interval_ms uint32, 2 include_load_metrics bool, 3 include_resource_metrics bool",
	"HealthStatus": "1 agent_id string, 2 state int32, 3 message optional string, 4 load optional LoadMetrics, " +
		"5 resources optional ResourceMetrics, 6 valid_until_ms optional uint64, 7 timestamp_ms uint64, " +
		"10 disabled_features repeated string, 11 timeout_multiplier float, " +
		"12 drain_eta_ms optional uint64, 13 unhealthy_reason optional string, 14 recoverable bool",
	"HistogramBucket": "1 le double, 2 count uint64",
	"HistogramMetric": "1 name string, 2 help optional string, 3 labels map<string,string>, 4 sum double, " +
		"5 count uint64, 6 buckets repeated HistogramBucket",
	"ListUpdate": "1 list_id string, 2 add repeated string, 3 remove repeated string",
	"LoadMetrics": "1 in_flight uint32, 2 queue_depth uint32, 3 avg_latency_ms float, 4 p50_latency_ms float, " +
		"5 p95_latency_ms float, 6 p99_latency_ms float, 7 requests_processed uint64, " +
		"8 requests_rejected uint64, 9 requests_timed_out uint64",
	"LogMessage": "1 level int32, 2 message string, 3 correlation_id optional string, " +
		"4 fields map<string,string>, 5 timestamp_ms uint64",
	"MetricsReport": "1 agent_id string, 2 timestamp_ms uint64, 3 interval_ms uint64, " +
		"4 counters repeated CounterMetric, 5 gauges repeated GaugeMetric, " +
		"6 histograms repeated HistogramMetric",
	"Ping": "1 sequence uint64, 2 timestamp_ms uint64",
	"Pong": "1 sequence uint64, 2 ping_timestamp_ms uint64, 3 timestamp_ms uint64",
	"ProxyControl": "1 configure ConfigureEvent of message, 2 shutdown ShutdownRequest of message, " +
		"3 drain DrainRequest of message, 4 config_response ConfigUpdateResponse of message",
	"ProxyToAgent": "1 handshake HandshakeRequest of message, 2 request_headers RequestHeadersEvent of message, " +
		"3 request_body_chunk BodyChunkEvent of message, " +
		"4 response_headers ResponseHeadersEvent of message, " +
		"5 response_body_chunk BodyChunkEvent of message, " +
		"6 websocket_frame WebSocketFrameEvent of message, " +
		"7 guardrail GuardrailInspectEvent of message, " +
		"8 request_complete RequestCompleteEvent of message, 9 cancel CancelRequest of message, " +
		"10 configure ConfigureEvent of message, 11 ping Ping of message",
	"RedirectDecision": "1 url string, 2 status uint32",
	"RequestCompleteEvent": "1 correlation_id string, 2 status_code uint32, 3 duration_ms uint64, 4 bytes_received uint64, " +
		"5 bytes_sent uint64, 6 upstream optional string, 7 from_cache bool, 8 error optional string",
	"RequestHeadersEvent": "1 metadata RequestMetadata, 2 method string, 3 uri string, 4 http_version string, " +
		"5 headers repeated Header",
	"RequestMetadata": "1 correlation_id string, 2 request_id string, 3 client_ip string, 4 client_port uint32, " +
		"5 server_name optional string, 6 protocol string, 7 tls_version optional string, " +
		"8 route_id optional string, 9 upstream_id optional string, 10 timestamp_ms uint64, " +
		"11 traceparent optional string",
	"RequestReload": "",
	"ResourceMetrics": "1 cpu_percent optional float, 2 memory_bytes optional uint64, 3 memory_limit optional uint64, " +
		"4 active_threads optional uint32, 5 open_fds optional uint32, 6 fd_limit optional uint32, " +
		"7 connections optional uint32",
	"ResponseHeadersEvent": "1 correlation_id string, 2 status_code uint32, 3 headers repeated Header",
	"RestartRequired":      "1 reason string, 2 grace_period_ms uint64",
	"RuleDefinition": "1 id string, 2 priority int32, 3 definition_json string, 4 enabled bool, " +
		"5 description optional string, 6 tags repeated string",
	"RuleUpdate":          "1 rule_set string, 2 rules repeated RuleDefinition, 3 remove_rules repeated string",
	"ShutdownRequest":     "1 reason int32, 2 grace_period_ms uint64, 3 timestamp_ms uint64",
	"WebSocketFrameEvent": "1 correlation_id string, 2 client_to_server bool, 3 frame_type int32, 4 payload bytes",
}

func TestFields(t *testing.T) {
	t.Parallel()
	seen := 0
	messages := File_agentpb_v2_agent_proto.Messages()
	for i := range messages.Len() {
		m := messages.Get(i)
		want, known := fields[string(m.Name())]
		if got := written(m); !known || got != want {
			t.Errorf("%s has\n%s, want\n%s", m.Name(), got, want)
		}
		seen++
	}
	if seen != len(fields) {
		t.Errorf("%d messages, want %d", seen, len(fields))
	}
}

// written is a message as fields has it.
func written(m protoreflect.MessageDescriptor) string {
	list := make([]protoreflect.FieldDescriptor, m.Fields().Len())
	for i := range list {
		list[i] = m.Fields().Get(i)
	}
	sort.Slice(list, func(i, j int) bool { return list[i].Number() < list[j].Number() })
	var words []string
	for _, f := range list {
		word := fmt.Sprintf("%d %s ", f.Number(), f.Name())
		oneof := f.ContainingOneof()
		switch {
		case f.IsMap():
			word += fmt.Sprintf("map<%s,%s>", kind(f.MapKey()), kind(f.MapValue()))
		case f.IsList():
			word += "repeated " + kind(f)
		case f.HasOptionalKeyword():
			word += "optional " + kind(f)
		case oneof != nil:
			word += kind(f) + " of " + string(oneof.Name())
		default:
			word += kind(f)
		}
		words = append(words, word)
	}
	return strings.Join(words, ", ")
}

func kind(f protoreflect.FieldDescriptor) string {
	switch {
	case f.Message() != nil:
		return string(f.Message().Name())
	case f.Enum() != nil:
		return string(f.Enum().Name())
	}
	return f.Kind().String()
}
