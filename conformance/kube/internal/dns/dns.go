// Package dns answers for the names of Services, as "Kubernetes DNS-Based Service Discovery" 1.1.0 describes them.
//
// It serves cluster.local alone, over UDP and TCP: A records of Services, addresses of headless ones, SRV records of
// named ports, and CNAME for ExternalName. Any other name does not exist: the test cluster has no way out.
package dns

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/net/dns/dnsmessage"
	"golang.org/x/sync/errgroup"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
)

const (
	// plainUDP is the answer size that every resolver takes; a larger one needs EDNS or TCP.
	plainUDP = 512
	// largestUDP bounds what a client may ask for by EDNS, so that no answer is fragmented.
	largestUDP = 1232
	// tcpIdle closes TCP connections on which nothing is asked.
	tcpIdle = 10 * time.Second
	// tcpConnections bounds the connections served at a time.
	tcpConnections = 256
)

// NewCommand is `kube dns`.
func NewCommand() *cobra.Command {
	var kubeconfig, listen string
	command := &cobra.Command{
		Use:          "dns",
		Short:        "Serve the cluster's DNS names",
		Args:         cobra.NoArgs,
		SilenceUsage: true,
		RunE: func(command *cobra.Command, _ []string) error {
			config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
			if err != nil {
				return err
			}
			client, err := kubernetes.NewForConfig(config)
			if err != nil {
				return err
			}
			return serve(command.Context(), client, listen)
		},
	}
	command.Flags().StringVar(&kubeconfig, "kubeconfig", "", "file with the credentials for the API server")
	command.Flags().StringVar(&listen, "listen", "", "address and port, UDP and TCP (172.30.0.11:53)")
	_ = command.MarkFlagRequired("listen")
	return command
}

func serve(ctx context.Context, client kubernetes.Interface, listen string) error {
	factory := informers.NewSharedInformerFactory(client, 0)
	zone := &zone{
		services: factory.Core().V1().Services().Lister(),
		slices:   factory.Discovery().V1().EndpointSlices().Lister(),
	}
	factory.Start(ctx.Done())
	for kind, synced := range factory.WaitForCacheSync(ctx.Done()) {
		if !synced {
			return fmt.Errorf("no list of %s", kind)
		}
	}
	packets, err := net.ListenPacket("udp", listen)
	if err != nil {
		return err
	}
	streams, err := net.Listen("tcp", listen)
	if err != nil {
		return err
	}
	slog.Info("serving", "address", listen)
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return zone.serveUDP(packets) })
	group.Go(func() error { return zone.serveTCP(streams) })
	group.Go(func() error {
		<-ctx.Done()
		return errors.Join(packets.Close(), streams.Close())
	})
	return group.Wait()
}

func (z *zone) serveUDP(packets net.PacketConn) error {
	buffer := make([]byte, 64*1024)
	for {
		n, client, err := packets.ReadFrom(buffer)
		if err != nil {
			return err
		}
		answer, err := z.reply(buffer[:n], true)
		if err != nil {
			slog.Warn("query not answered", "client", client.String(), "error", err)
			continue
		}
		if _, err := packets.WriteTo(answer, client); err != nil {
			slog.Warn("answer not sent", "client", client.String(), "error", err)
		}
	}
}

func (z *zone) serveTCP(streams net.Listener) error {
	slots := make(chan struct{}, tcpConnections)
	for {
		stream, err := streams.Accept()
		if err != nil {
			return err
		}
		slots <- struct{}{}
		go func() {
			defer func() {
				_ = stream.Close()
				<-slots
			}()
			if err := z.serveStream(stream); err != nil && !errors.Is(err, io.EOF) {
				slog.Warn("connection closed", "client", stream.RemoteAddr().String(), "error", err)
			}
		}()
	}
}

// serveStream answers the queries of one TCP connection (RFC 7766: each message has a length of two octets before it).
func (z *zone) serveStream(stream net.Conn) error {
	for {
		if err := stream.SetDeadline(time.Now().Add(tcpIdle)); err != nil {
			return err
		}
		var length uint16
		if err := binary.Read(stream, binary.BigEndian, &length); err != nil {
			return err
		}
		query := make([]byte, length)
		if _, err := io.ReadFull(stream, query); err != nil {
			return err
		}
		answer, err := z.reply(query, false)
		if err != nil {
			return err
		}
		framed := binary.BigEndian.AppendUint16(make([]byte, 0, 2+len(answer)), uint16(len(answer)))
		if _, err := stream.Write(append(framed, answer...)); err != nil {
			return err
		}
	}
}

// reply packs the answer to one query; an answer too large for UDP is cut and marked, so that the client asks by TCP.
func (z *zone) reply(query []byte, udp bool) ([]byte, error) {
	var message dnsmessage.Message
	if err := message.Unpack(query); err != nil {
		return nil, err
	}
	if message.Response {
		return nil, errors.New("a response, not a query")
	}
	limit := plainUDP
	var edns []dnsmessage.Resource
	for _, extra := range message.Additionals {
		if extra.Header.Type == dnsmessage.TypeOPT {
			limit = min(max(int(extra.Header.Class), plainUDP), largestUDP)
			header := dnsmessage.ResourceHeader{}
			if err := header.SetEDNS0(largestUDP, dnsmessage.RCodeSuccess, false); err != nil {
				return nil, err
			}
			edns = []dnsmessage.Resource{{Header: header, Body: &dnsmessage.OPTResource{}}}
		}
	}
	response := dnsmessage.Message{
		Header: dnsmessage.Header{
			ID: message.ID, Response: true, OpCode: message.OpCode, Authoritative: true,
			RecursionDesired: message.RecursionDesired, RecursionAvailable: true,
		},
		Questions:   message.Questions,
		Additionals: edns,
	}
	switch {
	case message.OpCode != 0:
		response.RCode = dnsmessage.RCodeNotImplemented
	case len(message.Questions) != 1:
		response.RCode = dnsmessage.RCodeFormatError
	default:
		response.RCode, response.Answers = z.answer(message.Questions[0])
		if len(response.Answers) == 0 && response.RCode != dnsmessage.RCodeRefused {
			response.Authorities = []dnsmessage.Resource{startOfAuthority}
		}
	}
	packed, err := response.Pack()
	if err == nil && udp && len(packed) > limit {
		response.Truncated, response.Answers = true, nil
		packed, err = response.Pack()
	}
	return packed, err
}
