package agentv1

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
	"AddHeader": "1 name string, 2 value string",
	"AgentRequest": "1 version uint32, 2 event_type EventType, 10 request_headers RequestHeadersEvent of event, " +
		"11 request_body_chunk RequestBodyChunkEvent of event, " +
		"12 response_headers ResponseHeadersEvent of event, " +
		"13 response_body_chunk ResponseBodyChunkEvent of event, " +
		"14 request_complete RequestCompleteEvent of event, " +
		"15 websocket_frame WebSocketFrameEvent of event",
	"AgentResponse": "1 version uint32, 2 allow AllowDecision of decision, 3 block BlockDecision of decision, " +
		"4 redirect RedirectDecision of decision, 5 challenge ChallengeDecision of decision, " +
		"10 request_headers repeated HeaderOp, 11 response_headers repeated HeaderOp, " +
		"12 routing_metadata map<string,string>, 13 audit optional AuditMetadata, 20 needs_more bool, " +
		"21 request_body_mutation optional BodyMutation, " +
		"22 response_body_mutation optional BodyMutation, " +
		"30 websocket_allow WebSocketAllowDecision of websocket_decision, " +
		"31 websocket_drop WebSocketDropDecision of websocket_decision, " +
		"32 websocket_close WebSocketCloseDecision of websocket_decision",
	"AllowDecision": "",
	"AuditMetadata": "1 tags repeated string, 2 rule_ids repeated string, 3 confidence optional float, " +
		"4 reason_codes repeated string, 5 custom map<string,string>",
	"BlockDecision":     "1 status uint32, 2 body optional string, 3 headers map<string,string>",
	"BodyMutation":      "1 data optional bytes, 2 chunk_index uint32",
	"ChallengeDecision": "1 challenge_type string, 2 params map<string,string>",
	"HeaderOp":          "1 set SetHeader of operation, 2 add AddHeader of operation, 3 remove RemoveHeader of operation",
	"HeaderValues":      "1 values repeated string",
	"RedirectDecision":  "1 url string, 2 status uint32",
	"RemoveHeader":      "1 name string",
	"RequestBodyChunkEvent": "1 correlation_id string, 2 data bytes, 3 is_last bool, 4 total_size optional uint64, " +
		"5 chunk_index uint32, 6 bytes_received uint64",
	"RequestCompleteEvent": "1 correlation_id string, 2 status uint32, 3 duration_ms uint64, 4 request_body_size uint64, " +
		"5 response_body_size uint64, 6 upstream_attempts uint32, 7 error optional string",
	"RequestHeadersEvent": "1 metadata RequestMetadata, 2 method string, 3 uri string, 4 headers map<string,HeaderValues>",
	"RequestMetadata": "1 correlation_id string, 2 request_id string, 3 client_ip string, 4 client_port uint32, " +
		"5 server_name optional string, 6 protocol string, 7 tls_version optional string, " +
		"8 tls_cipher optional string, 9 route_id optional string, 10 upstream_id optional string, " +
		"11 timestamp string, 12 traceparent optional string",
	"ResponseBodyChunkEvent": "1 correlation_id string, 2 data bytes, 3 is_last bool, 4 total_size optional uint64, " +
		"5 chunk_index uint32, 6 bytes_sent uint64",
	"ResponseHeadersEvent":   "1 correlation_id string, 2 status uint32, 3 headers map<string,HeaderValues>",
	"SetHeader":              "1 name string, 2 value string",
	"WebSocketAllowDecision": "",
	"WebSocketCloseDecision": "1 code uint32, 2 reason string",
	"WebSocketDropDecision":  "",
	"WebSocketFrameEvent": "1 correlation_id string, 2 opcode string, 3 data bytes, 4 client_to_server bool, " +
		"5 frame_index uint64, 6 fin bool, 7 route_id optional string, 8 client_ip string",
}

func TestFields(t *testing.T) {
	t.Parallel()
	seen := 0
	messages := File_agentpb_v1_agent_proto.Messages()
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
