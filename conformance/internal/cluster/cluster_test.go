package cluster

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func example(t *testing.T) *Cluster {
	return &Cluster{Name: "example", Index: 7, BuildDirectory: t.TempDir()}
}

func TestAddressesOfClustersAreApart(t *testing.T) {
	seen := map[netip.Prefix]int{}
	for index := 1; index <= largestIndex; index++ {
		c := &Cluster{Index: index}
		for _, text := range []string{c.NodeAddress() + "/32", c.PodNetwork(), c.LoadBalancerRange()} {
			network, err := netip.ParsePrefix(text)
			if err != nil {
				t.Fatal(err)
			}
			for other, owner := range seen {
				if network.Overlaps(other) {
					t.Fatalf("%s of %d and %s of %d overlap", network, index, other, owner)
				}
			}
			seen[network] = index
		}
		if !netip.MustParsePrefix(bridgeNetwork).Contains(netip.MustParseAddr(c.NodeAddress())) {
			t.Fatalf("node %s is not in %s", c.NodeAddress(), bridgeNetwork)
		}
	}
}

func TestConfigurationIsWrittenOnceOnly(t *testing.T) {
	c := example(t)
	if err := c.writeConfiguration(); err != nil {
		t.Fatal(err)
	}
	path := c.path("kube-proxy.yaml")
	long := time.Unix(1e9, 0)
	if err := os.Chtimes(path, long, long); err != nil {
		t.Fatal(err)
	}
	if err := c.writeConfiguration(); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if !info.ModTime().Equal(long) {
		t.Fatal("kube-proxy's configuration was written again: it ends when it sees that")
	}
}

func TestWhatProgramsWriteStaysInTheClustersFolder(t *testing.T) {
	c := example(t)
	for _, name := range c.componentNames() {
		for _, argument := range c.component(name).command[1:] {
			if strings.HasPrefix(argument, "/") && !strings.HasPrefix(argument, c.Directory()) {
				t.Errorf("%s: argument %s", name, argument)
			}
		}
	}
}

func TestKubeconfigsHoldTheirUsers(t *testing.T) {
	c := example(t)
	authority, err := c.makeCredentials()
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{c.Kubeconfig(), c.kubeconfigOf("kubelet"), c.kubeconfigOf("scheduler")} {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{"server: https://172.30.0.17:6443\n", encode(authority.CertificatePEM()), "current-context: example\n"} {
			if !strings.Contains(string(text), want) {
				t.Errorf("%s lacks %.40s", filepath.Base(path), want)
			}
		}
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", filepath.Base(path), info.Mode(), err)
		}
	}
}
