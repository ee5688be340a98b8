// Servers for Envoy's external processing and external authorization, on the messages that Envoy publishes.
//
// A test says how they answer by a script, PUT to the control address as JSON, and GETs there what they were asked, as JSON of
// the messages themselves:
//
//	{"process": {"request_headers": [{"send": {...}}, {"sleep": 100}], "request_body": [{"upper": true}]},
//	 "check": {...}}
//
// What a script does not name is answered by CONTINUE, and a check by OK.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	procv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	rpcstatus "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
)

// One thing that is done when a message comes; the first field that is set counts.
type step struct {
	// A ProcessingResponse.
	Send json.RawMessage `json:"send"`
	// So many times.
	Times int `json:"times"`
	// Milliseconds.
	Sleep int `json:"sleep"`
	// Ends the call with this gRPC code; 0 is OK.
	End *int `json:"end"`
	// Answers a piece of a body, or trailers, in upper case.
	Upper bool `json:"upper"`
	// The same with a streamed_response.
	Stream bool `json:"stream"`
	// Gives a piece of a body back as it came, with a streamed_response.
	Give bool `json:"give"`
	// Keeps the piece; with the last, answers all that is kept, cut into pieces of so many bytes.
	Hold int `json:"hold"`
	// Answers nothing.
	Silent bool `json:"silent"`
}

type script struct {
	Process map[string][]step `json:"process"`
	// A CheckResponse.
	Check json.RawMessage `json:"check"`
}

// What came in one call.
type call struct {
	Authority string            `json:"authority"`
	Messages  []json.RawMessage `json:"messages"`
	// How it ended: "EOF" where the client ended it, or its error.
	End string `json:"end"`
}

type server struct {
	procv3.UnimplementedExternalProcessorServer
	authv3.UnimplementedAuthorizationServer
	mutex  sync.Mutex
	script script
	calls  []*call
	checks []json.RawMessage
}

func main() {
	if err := run(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(address, control string) error {
	services := &server{}
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	grpcServer := grpc.NewServer(grpc.MaxRecvMsgSize(64 << 20))
	procv3.RegisterExternalProcessorServer(grpcServer, services)
	authv3.RegisterAuthorizationServer(grpcServer, services)
	go func() { _ = grpcServer.Serve(listener) }()
	return http.ListenAndServe(control, http.HandlerFunc(services.control))
}

func (s *server) control(w http.ResponseWriter, r *http.Request) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if r.Method == http.MethodPut {
		var next script
		if err := json.NewDecoder(r.Body).Decode(&next); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		s.script, s.calls, s.checks = next, nil, nil
		return
	}
	_ = json.NewEncoder(w).Encode(map[string]any{"calls": s.calls, "checks": s.checks})
}

// Check implements external authorization.
func (s *server) Check(_ context.Context, request *authv3.CheckRequest) (*authv3.CheckResponse, error) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	s.checks = append(s.checks, printed(request))
	answer := &authv3.CheckResponse{Status: &rpcstatus.Status{}}
	if s.script.Check != nil {
		answer = &authv3.CheckResponse{}
		if err := protojson.Unmarshal(s.script.Check, answer); err != nil {
			return nil, status.Error(codes.Internal, err.Error())
		}
	}
	return answer, nil
}

// Process implements external processing.
func (s *server) Process(stream procv3.ExternalProcessor_ProcessServer) error {
	s.mutex.Lock()
	steps, this := s.script.Process, &call{}
	if md, ok := metadata.FromIncomingContext(stream.Context()); ok && len(md[":authority"]) > 0 {
		this.Authority = md[":authority"][0]
	}
	s.calls = append(s.calls, this)
	s.mutex.Unlock()
	held := map[string][]byte{}
	for {
		request, err := stream.Recv()
		if err != nil {
			s.mutex.Lock()
			this.End = err.Error()
			s.mutex.Unlock()
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
		s.mutex.Lock()
		this.Messages = append(this.Messages, printed(request))
		s.mutex.Unlock()
		todo, named := steps[kind(request)]
		if request.ObservabilityMode {
			continue
		}
		if !named {
			todo = []step{{}}
		}
		for _, next := range todo {
			if ended, err := do(stream, request, next, held); ended || err != nil {
				return err
			}
		}
	}
}

func do(stream procv3.ExternalProcessor_ProcessServer, request *procv3.ProcessingRequest, next step, held map[string][]byte) (bool, error) {
	switch {
	case next.Silent:
		return false, nil
	case next.End != nil:
		return true, status.Error(codes.Code(*next.End), "the script says so")
	case next.Sleep > 0:
		time.Sleep(time.Duration(next.Sleep) * time.Millisecond)
		return false, nil
	case next.Send != nil:
		answer := &procv3.ProcessingResponse{}
		if err := protojson.Unmarshal(next.Send, answer); err != nil {
			return true, status.Error(codes.Internal, err.Error())
		}
		for range max(next.Times, 1) {
			if err := stream.Send(answer); err != nil {
				return true, err
			}
		}
		return false, nil
	case next.Hold > 0:
		return false, hold(stream, request, next.Hold, held)
	default:
		return false, stream.Send(answer(request, next))
	}
}

func hold(stream procv3.ExternalProcessor_ProcessServer, request *procv3.ProcessingRequest, size int, held map[string][]byte) error {
	body := bodyOf(request)
	name := kind(request)
	held[name] = append(held[name], body.GetBody()...)
	if !body.GetEndOfStream() {
		return nil
	}
	headers := &procv3.HeadersResponse{}
	first := &procv3.ProcessingResponse{Response: &procv3.ProcessingResponse_RequestHeaders{RequestHeaders: headers}}
	if request.GetResponseBody() != nil {
		first.Response = &procv3.ProcessingResponse_ResponseHeaders{ResponseHeaders: headers}
	}
	if err := stream.Send(first); err != nil {
		return err
	}
	for rest := held[name]; ; {
		piece := rest[:min(size, len(rest))]
		rest = rest[len(piece):]
		if err := stream.Send(bodyAnswer(request, streamed(bytes.ToUpper(piece), len(rest) == 0))); err != nil {
			return err
		}
		if len(rest) == 0 {
			return nil
		}
	}
}

func streamed(body []byte, end bool) *procv3.BodyMutation {
	piece := &procv3.StreamedBodyResponse{Body: body, EndOfStream: end}
	return &procv3.BodyMutation{Mutation: &procv3.BodyMutation_StreamedResponse{StreamedResponse: piece}}
}

func bodyOf(request *procv3.ProcessingRequest) *procv3.HttpBody {
	if body := request.GetRequestBody(); body != nil {
		return body
	}
	return request.GetResponseBody()
}

func bodyAnswer(request *procv3.ProcessingRequest, mutation *procv3.BodyMutation) *procv3.ProcessingResponse {
	answer := &procv3.BodyResponse{Response: &procv3.CommonResponse{BodyMutation: mutation}}
	if request.GetRequestBody() != nil {
		return &procv3.ProcessingResponse{Response: &procv3.ProcessingResponse_RequestBody{RequestBody: answer}}
	}
	return &procv3.ProcessingResponse{Response: &procv3.ProcessingResponse_ResponseBody{ResponseBody: answer}}
}

// The answer that changes nothing, or bodies to upper case.
func answer(request *procv3.ProcessingRequest, how step) *procv3.ProcessingResponse {
	if body := bodyOf(request); body != nil {
		upper := bytes.ToUpper(body.Body)
		switch {
		case how.Give:
			return bodyAnswer(request, streamed(body.Body, body.EndOfStream))
		case how.Stream:
			return bodyAnswer(request, streamed(upper, body.EndOfStream))
		case how.Upper:
			return bodyAnswer(request, &procv3.BodyMutation{Mutation: &procv3.BodyMutation_Body{Body: upper}})
		}
		return bodyAnswer(request, nil)
	}
	switch request.Request.(type) {
	case *procv3.ProcessingRequest_RequestHeaders:
		return &procv3.ProcessingResponse{Response: &procv3.ProcessingResponse_RequestHeaders{RequestHeaders: &procv3.HeadersResponse{}}}
	case *procv3.ProcessingRequest_ResponseHeaders:
		return &procv3.ProcessingResponse{Response: &procv3.ProcessingResponse_ResponseHeaders{ResponseHeaders: &procv3.HeadersResponse{}}}
	case *procv3.ProcessingRequest_RequestTrailers:
		return &procv3.ProcessingResponse{Response: &procv3.ProcessingResponse_RequestTrailers{RequestTrailers: &procv3.TrailersResponse{}}}
	default:
		return &procv3.ProcessingResponse{Response: &procv3.ProcessingResponse_ResponseTrailers{ResponseTrailers: &procv3.TrailersResponse{}}}
	}
}

func kind(request *procv3.ProcessingRequest) string {
	switch request.Request.(type) {
	case *procv3.ProcessingRequest_RequestHeaders:
		return "request_headers"
	case *procv3.ProcessingRequest_ResponseHeaders:
		return "response_headers"
	case *procv3.ProcessingRequest_RequestBody:
		return "request_body"
	case *procv3.ProcessingRequest_ResponseBody:
		return "response_body"
	case *procv3.ProcessingRequest_RequestTrailers:
		return "request_trailers"
	default:
		return "response_trailers"
	}
}

func printed(message proto.Message) json.RawMessage {
	text, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(message)
	if err != nil {
		text, _ = json.Marshal(err.Error())
	}
	return text
}
