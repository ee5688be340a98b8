// Package xds checks the discovery server with a client that is not ours: go-control-plane's, state of the world.
//
//	AGENTGATEWAY_CONTROLPLANE=path/to/agentgateway-controlplane go test ./...
package xds

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	client "github.com/envoyproxy/go-control-plane/pkg/client/sotw/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/types/known/anypb"
)

const (
	types   = "type.googleapis.com/agentgateway.resource.v1."
	timeout = 10 * time.Second

	gateway = `
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: gw, namespace: infra}
spec:
  gatewayClassName: agentgateway
  listeners: [{name: http, port: %d, protocol: HTTP}]
`
)

type server struct {
	address, folder, token string
	logs                   chan string
}

func start(t *testing.T) server {
	t.Helper()
	program := os.Getenv("AGENTGATEWAY_CONTROLPLANE")
	if program == "" {
		t.Fatal("AGENTGATEWAY_CONTROLPLANE must name the built control plane")
	}
	s := server{address: freeAddress(t), folder: t.TempDir(), token: filepath.Join(t.TempDir(), "token"), logs: make(chan string, 1000)}
	s.write(t, "gateway.yaml", fmt.Sprintf(gateway, 8080))
	command := exec.Command(program, "--manifests", s.folder, "--token-file", s.token, "--xds-address", s.address,
		"--health-address", freeAddress(t), "--metrics-address", freeAddress(t))
	stderr, err := command.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		command.Process.Kill()
		command.Wait()
	})
	go func() {
		for lines := bufio.NewScanner(stderr); lines.Scan(); {
			s.logs <- lines.Text()
		}
	}()
	s.waitForLog(t, "discovery server listens")
	return s
}

func freeAddress(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().String()
}

func (s server) write(t *testing.T, name, content string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(s.folder, name), []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func (s server) waitForLog(t *testing.T, part string) {
	t.Helper()
	end := time.After(timeout)
	for {
		select {
		case line := <-s.logs:
			if strings.Contains(line, part) {
				return
			}
		case <-end:
			t.Fatalf("no log with %q", part)
		}
	}
}

type bearer string

func (b bearer) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	return map[string]string{"authorization": "Bearer " + string(b)}, nil
}

func (bearer) RequireTransportSecurity() bool { return false }

func (s server) subscribe(t *testing.T, token, kind string) client.ADSClient {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	t.Cleanup(cancel)
	connection, err := grpc.NewClient(s.address, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithPerRPCCredentials(bearer(token)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { connection.Close() })
	ads := client.NewADSClient(ctx, &core.Node{Id: "go", Cluster: "infra/gw"}, types+kind)
	if err := ads.InitConnect(connection); err != nil {
		t.Fatal(err)
	}
	return ads
}

func (s server) readToken(t *testing.T) string {
	t.Helper()
	token, err := os.ReadFile(s.token)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(token))
}

func fetch(t *testing.T, ads client.ADSClient) []*anypb.Any {
	t.Helper()
	response, err := ads.Fetch()
	if err != nil {
		t.Fatal(err)
	}
	return response.Resources
}

// key gives field 1 of a resource, which is its key in every kind.
func key(t *testing.T, resource *anypb.Any, kind string) string {
	t.Helper()
	if resource.TypeUrl != types+kind {
		t.Fatalf("type %q, not %s", resource.TypeUrl, kind)
	}
	number, _, length := protowire.ConsumeTag(resource.Value)
	if length < 0 || number != 1 {
		t.Fatalf("field %d is the first", number)
	}
	value, length := protowire.ConsumeString(resource.Value[length:])
	if length < 0 {
		t.Fatal("the key is no string")
	}
	return value
}

func TestEveryResponseHoldsAllResourcesOfItsKind(t *testing.T) {
	s := start(t)
	binds := s.subscribe(t, s.readToken(t), "Bind")
	resources := fetch(t, binds)
	if len(resources) != 1 || key(t, resources[0], "Bind") != "tcp/0.0.0.0/8080/infra/gw" {
		t.Fatalf("binds: %v", resources)
	}
	if err := binds.Ack(); err != nil {
		t.Fatal(err)
	}

	s.write(t, "gateway.yaml", fmt.Sprintf(gateway, 8081))
	resources = fetch(t, binds)
	if len(resources) != 1 || key(t, resources[0], "Bind") != "tcp/0.0.0.0/8081/infra/gw" {
		t.Fatalf("binds after the change: %v", resources)
	}
	if err := binds.Nack("the port is taken"); err != nil {
		t.Fatal(err)
	}
	s.waitForLog(t, "the port is taken")

	s.write(t, "gateway.yaml", fmt.Sprintf(gateway, 8082))
	if resources = fetch(t, binds); key(t, resources[0], "Bind") != "tcp/0.0.0.0/8082/infra/gw" {
		t.Fatalf("binds after a refusal: %v", resources)
	}
}

func TestAKindWithoutResourcesIsAnsweredToo(t *testing.T) {
	s := start(t)
	if resources := fetch(t, s.subscribe(t, s.readToken(t), "Route")); len(resources) != 0 {
		t.Fatalf("routes: %v", resources)
	}
}

func TestAWrongTokenIsRefused(t *testing.T) {
	s := start(t)
	_, err := s.subscribe(t, "guessed", "Bind").Fetch()
	if status.Code(err) != codes.Unauthenticated {
		t.Fatalf("answered with %v", err)
	}
}
