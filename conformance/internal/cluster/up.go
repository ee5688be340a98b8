package cluster

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"agentgateway/conformance/internal/kubeapi"
	"agentgateway/conformance/internal/node"
	"agentgateway/conformance/internal/process"
)

// poll is how often a condition outside this process is looked at; none of them has an event to wait for.
const poll = 20 * time.Millisecond

// Options of Up.
type Options struct {
	// ControlPlaneOnly leaves out the container runtime, kubelet, proxy and DNS: objects, but no pods.
	ControlPlaneOnly bool
	// Progress is told each step that is done.
	Progress func(format string, arguments ...any)
}

// Up starts a cluster, or what is missing of one that is there, and returns when pods can be created in it. A cluster
// that was started whole stays whole.
func Up(ctx context.Context, name, buildDirectory string, options Options) (*Cluster, error) {
	if err := CheckName(name); err != nil {
		return nil, err
	}
	if err := preflight(&Cluster{Name: name, BuildDirectory: buildDirectory, ControlPlaneOnly: options.ControlPlaneOnly}); err != nil {
		return nil, err
	}
	unlock, err := lock(clusterLock(name))
	if err != nil {
		return nil, err
	}
	defer unlock()
	c, err := claim(name, buildDirectory)
	if err != nil {
		return nil, err
	}
	c.ControlPlaneOnly = options.ControlPlaneOnly && (c.ControlPlaneOnly || c.Node.PID == 0)
	return c, c.start(ctx, options.Progress)
}

func (c *Cluster) start(ctx context.Context, progress func(string, ...any)) error {
	for _, directory := range []string{c.path("log"), c.path("pki"), c.socketDirectory()} {
		if err := os.MkdirAll(directory, 0o755); err != nil {
			return err
		}
	}
	authority, err := c.makeCredentials()
	if err != nil {
		return err
	}
	if err := c.writeConfiguration(); err != nil {
		return err
	}
	if err := c.startNode(); err != nil {
		return err
	}
	progress("node %s, pods %s, LoadBalancer addresses %s", c.NodeAddress(), c.PodNetwork(), c.LoadBalancerRange())

	admin, err := kubeapi.New(c.server(), authority.Pool(), c.path("pki", "admin.crt"), c.path("pki", "admin.key"))
	if err != nil {
		return err
	}
	first, rest := c.componentNames()[:2], c.componentNames()[2:]
	if !c.ControlPlaneOnly {
		first, rest = c.componentNames()[:3], c.componentNames()[3:]
		if err := c.makeCgroups(); err != nil {
			return err
		}
	}
	if err := c.ensure("etcd"); err != nil {
		return err
	}
	// An API server that finds no etcd tries again only a second later.
	if err := c.wait(ctx, "etcd", func(context.Context) error { return c.listens("127.0.0.1:2379") }); err != nil {
		return err
	}
	if err := c.ensure(first...); err != nil {
		return err
	}
	if !c.ControlPlaneOnly {
		if err := c.wait(ctx, "containerd", func(ctx context.Context) error {
			_, err := c.ctr(ctx, "version")
			return err
		}); err != nil {
			return err
		}
		if _, err := c.loadArchive(ctx, c.pauseArchive()); err != nil {
			return err
		}
		progress("container runtime ready")
	}
	if err := c.wait(ctx, "the API server", func(ctx context.Context) error { return admin.Get(ctx, "/readyz", nil) }); err != nil {
		return err
	}
	progress("API server ready")
	if err := c.ensure(rest...); err != nil {
		return err
	}
	if err := c.wait(ctx, "the default service account", func(ctx context.Context) error {
		return admin.Get(ctx, "/api/v1/namespaces/default/serviceaccounts/default", nil)
	}); err != nil {
		return err
	}
	if c.ControlPlaneOnly {
		progress("control plane ready")
		return nil
	}
	if err := c.applyDNS(ctx, admin); err != nil {
		return err
	}
	if err := c.wait(ctx, "the node", func(ctx context.Context) error { return nodeReady(ctx, admin, c.Name) }); err != nil {
		return err
	}
	progress("node ready")
	if err := c.wait(ctx, "cluster DNS", func(ctx context.Context) error { return c.resolves(ctx) }); err != nil {
		return err
	}
	progress("cluster DNS answers")
	return nil
}

// startNode makes the namespaces and the network, unless they are there. What ran on a node that is gone is gone too.
func (c *Cluster) startNode() error {
	if c.Node.Alive() {
		return c.connect()
	}
	c.Components, c.Images = map[string]process.ID{}, map[string]string{}
	if err := prepareHost(); err != nil {
		return err
	}
	_, err := node.Start(c.socketDirectory(), c.LogFile("node"), func(id process.ID) error {
		c.Node = id
		return c.save()
	})
	if err != nil {
		return err
	}
	return c.connect()
}

// ensure starts the programs that do not run.
func (c *Cluster) ensure(names ...string) error {
	for _, name := range names {
		c.watched = append(c.watched, name)
		if c.Components[name].Alive() {
			continue
		}
		id, err := node.Daemon(c.Node, c.LogFile(name), c.component(name).command...)
		if err != nil {
			return fmt.Errorf("%s: %w%s", name, err, c.lastLines(name))
		}
		c.Components[name] = id
		if err := c.save(); err != nil {
			return err
		}
	}
	return nil
}

// wait repeats a check until it succeeds, a program of the cluster ends, or the context does.
func (c *Cluster) wait(ctx context.Context, what string, check func(context.Context) error) error {
	for {
		attempt, cancel := context.WithTimeout(ctx, 5*time.Second)
		err := check(attempt)
		cancel()
		if err == nil {
			return nil
		}
		for _, name := range c.watched {
			if !c.Components[name].Alive() {
				return fmt.Errorf("%s ended while waiting for %s%s", name, what, c.lastLines(name))
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s is not ready (%w): %w", what, ctx.Err(), err)
		case <-time.After(poll):
		}
	}
}

// lastLines is the end of a program's log, for an error message.
func (c *Cluster) lastLines(name string) string {
	text, err := os.ReadFile(c.LogFile(name))
	if err != nil {
		return ""
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	return fmt.Sprintf("; %s ends:\n  %s", filepath.Base(c.LogFile(name)), strings.Join(lines[max(0, len(lines)-5):], "\n  "))
}

func nodeReady(ctx context.Context, admin *kubeapi.Client, name string) error {
	var answer struct {
		Status struct {
			Conditions []struct{ Type, Status, Message string }
		}
	}
	if err := admin.Get(ctx, "/api/v1/nodes/"+name, &answer); err != nil {
		return err
	}
	for _, condition := range answer.Status.Conditions {
		if condition.Type == "Ready" {
			if condition.Status == "True" {
				return nil
			}
			return errors.New(condition.Message)
		}
	}
	return errors.New("the kubelet has not reported yet")
}

// applyDNS makes the Service that pods have as their name server. Its endpoint is a program on the node, not a pod.
func (c *Cluster) applyDNS(ctx context.Context, admin *kubeapi.Client) error {
	type object map[string]any
	ports := []object{{"name": "dns", "port": 53, "protocol": "UDP"}, {"name": "dns-tcp", "port": 53, "protocol": "TCP"}}
	if err := admin.Apply(ctx, "/api/v1/namespaces/kube-system/services/kube-dns", object{
		"apiVersion": "v1", "kind": "Service", "metadata": object{"name": "kube-dns", "namespace": "kube-system"},
		"spec": object{"clusterIP": dnsAddress, "ports": ports},
	}); err != nil {
		return err
	}
	return admin.Apply(ctx, "/apis/discovery.k8s.io/v1/namespaces/kube-system/endpointslices/kube-dns", object{
		"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4", "ports": ports,
		"metadata":  object{"name": "kube-dns", "namespace": "kube-system", "labels": object{"kubernetes.io/service-name": "kube-dns"}},
		"endpoints": []object{{"addresses": []string{c.NodeAddress()}}},
	})
}

// listens reports whether a TCP port of the node takes connections.
func (c *Cluster) listens(address string) error {
	return node.Inside(c.Node, func() error {
		connection, err := net.DialTimeout("tcp", address, time.Second)
		if err != nil {
			return err
		}
		return connection.Close()
	})
}

// resolves asks for a name by the address that pods use, from inside the node: that the answer comes shows that
// kube-proxy works, too.
func (c *Cluster) resolves(ctx context.Context) error {
	return node.Inside(c.Node, func() error {
		connection, err := net.DialTimeout("udp", dnsAddress+":53", time.Second)
		if err != nil {
			return err
		}
		defer func() { _ = connection.Close() }()
		deadline, _ := ctx.Deadline()
		if soon := time.Now().Add(300 * time.Millisecond); soon.Before(deadline) {
			deadline = soon
		}
		if err := connection.SetDeadline(deadline); err != nil {
			return err
		}
		if _, err := connection.Write(addressQuery("kubernetes.default.svc." + clusterDomain)); err != nil {
			return err
		}
		answer := make([]byte, 512)
		n, err := connection.Read(answer)
		if err != nil {
			return err
		}
		// Octet 3: return code; octets 6 and 7: number of answers (RFC 1035 §4.1.1).
		if n < 12 || answer[3]&0x0f != 0 || answer[6] == 0 && answer[7] == 0 {
			return fmt.Errorf("no address for kubernetes.default: % x", answer[:n])
		}
		return nil
	})
}

// addressQuery is a question for the A records of a name (RFC 1035 §4.1).
func addressQuery(name string) []byte {
	query := []byte{0x61, 0x67, 0x01, 0x00, 0, 1, 0, 0, 0, 0, 0, 0}
	for label := range strings.SplitSeq(name, ".") {
		query = append(append(query, byte(len(label))), label...)
	}
	return append(query, 0, 0, 1, 0, 1)
}
