// Package cluster starts, describes and removes single-node Kubernetes clusters on this machine.
//
// A cluster N is a node (namespaces, see package node) behind the bridge agw0, with address 172.30.0.(10+N). The host
// has a route to its pods, 10.(100+N).0.0/16, and one to its LoadBalancer addresses, 172.31.N.0/24.
package cluster

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"agentgateway/conformance/internal/process"
)

const (
	bridge         = "agw0"
	bridgeAddress  = "172.30.0.1"
	bridgeNetwork  = "172.30.0.0/24"
	serviceNetwork = "10.96.0.0/16"
	apiAddress     = "10.96.0.1"
	dnsAddress     = "10.96.0.10"
	clusterDomain  = "cluster.local"
	// largestIndex keeps 10.(100+N) and 172.30.0.(10+N) in range.
	largestIndex = 99
)

// Cluster is what is known of one cluster; it is kept as a record in stateDirectory.
type Cluster struct {
	Name  string `json:"name"`
	Index int    `json:"index"`
	// BuildDirectory is the build folder of the copy of the project that owns the cluster.
	BuildDirectory   string `json:"buildDirectory"`
	ControlPlaneOnly bool   `json:"controlPlaneOnly"`
	// Node is the first process of the node, Components are the programs started on it.
	Node       process.ID            `json:"node"`
	Components map[string]process.ID `json:"components"`
	// Images are the loaded archives: the digest of each, and the names of its images.
	Images map[string]string `json:"images"`

	// watched are the components that must not end while `up` waits for something.
	watched []string
}

// BuildDirectory is the folder build/ that the running program lies in (as build/bin/testcluster).
func BuildDirectory() (string, error) {
	self, err := os.Executable()
	if err != nil {
		return "", err
	}
	if self, err = filepath.EvalSymlinks(self); err != nil {
		return "", err
	}
	if filepath.Base(filepath.Dir(self)) != "bin" {
		return "", fmt.Errorf("%s does not lie in a folder bin beside the other built programs: use conformance/build.sh", self)
	}
	return filepath.Dir(filepath.Dir(self)), nil
}

// Open returns the recorded cluster of that name.
func Open(name string) (*Cluster, error) {
	if err := CheckName(name); err != nil {
		return nil, err
	}
	c, err := read(recordPath(name))
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("no cluster %q is up: testcluster up %s", name, name)
	}
	return c, err
}

// All returns every recorded cluster of this machine, by index.
func All() ([]*Cluster, error) {
	paths, err := filepath.Glob(recordPath("*"))
	if err != nil {
		return nil, err
	}
	var all []*Cluster
	for _, path := range paths {
		c, err := read(path)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		all = append(all, c)
	}
	slices.SortFunc(all, func(a, b *Cluster) int { return a.Index - b.Index })
	return all, nil
}

// State is "up", "degraded: ..." with the programs that are missing, or "down".
func (c *Cluster) State() string {
	if !c.Node.Alive() {
		return "down"
	}
	var missing []string
	for _, component := range c.componentNames() {
		if !c.Components[component].Alive() {
			missing = append(missing, component)
		}
	}
	if len(missing) > 0 {
		return "degraded: no " + strings.Join(missing, ", ")
	}
	return "up"
}

// Kubeconfig is the file with the administrator's access.
func (c *Cluster) Kubeconfig() string { return filepath.Join(c.Directory(), "kubeconfig") }

// Directory holds everything the cluster writes: keys, configuration, logs, etcd's data, containers.
func (c *Cluster) Directory() string { return filepath.Join(c.BuildDirectory, "clusters", c.Name) }

// LogFile is where a component's output goes.
func (c *Cluster) LogFile(component string) string {
	return filepath.Join(c.Directory(), "log", component+".log")
}

// NodeAddress is the node's own address, LoadBalancerRange and PodNetwork are what is routed to it.
func (c *Cluster) NodeAddress() string { return fmt.Sprintf("172.30.0.%d", 10+c.Index) }

// LoadBalancerRange is where Services of type LoadBalancer get their addresses from.
func (c *Cluster) LoadBalancerRange() string { return fmt.Sprintf("172.31.%d.0/24", c.Index) }

// PodNetwork is the range of all pod addresses.
func (c *Cluster) PodNetwork() string { return fmt.Sprintf("10.%d.0.0/16", 100+c.Index) }

func (c *Cluster) nodePodNetwork() string { return fmt.Sprintf("10.%d.0.0/24", 100+c.Index) }

func (c *Cluster) server() string { return "https://" + c.NodeAddress() + ":6443" }

func (c *Cluster) hostInterface() string { return fmt.Sprintf("agw-v%d", c.Index) }

// socketDirectory is short because a socket's path may have 107 bytes at most.
func (c *Cluster) socketDirectory() string { return "/run/agw-" + c.Name }

func (c *Cluster) runtimeSocket() string {
	return filepath.Join(c.socketDirectory(), "containerd.sock")
}

// cgroup is the path of the node's control group below each hierarchy.
func (c *Cluster) cgroup() string { return "agw-" + c.Name }

func (c *Cluster) path(elements ...string) string {
	return filepath.Join(append([]string{c.Directory()}, elements...)...)
}

func (c *Cluster) binary(name string) string { return filepath.Join(c.BuildDirectory, "bin", name) }

func recordPath(name string) string { return filepath.Join(stateDirectory, name+".json") }

func read(path string) (*Cluster, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	c := &Cluster{}
	if err := json.Unmarshal(text, c); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return c, nil
}

// save replaces the record in one step, so that a reader never sees half of it.
func (c *Cluster) save() error {
	text, err := json.MarshalIndent(c, "", "  ")
	if err != nil {
		return err
	}
	path := recordPath(c.Name)
	if err := os.WriteFile(path+".new", append(text, '\n'), 0o600); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}
