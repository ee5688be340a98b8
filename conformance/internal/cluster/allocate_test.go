package cluster

import (
	"net/netip"
	"testing"
)

func TestFreeIndexAvoidsClustersAndForeignNetworks(t *testing.T) {
	foreign := []netip.Prefix{
		netip.MustParsePrefix("10.102.3.0/24"),  // inside the pods of 2
		netip.MustParsePrefix("172.31.3.77/32"), // inside the LoadBalancer addresses of 3
		netip.MustParsePrefix("172.31.4.0/23"),  // 4 and 5
		netip.MustParsePrefix("192.168.0.0/16"),
	}
	index, err := freeIndex(map[int]bool{1: true}, foreign)
	if err != nil || index != 6 {
		t.Fatalf("index %d, error %v", index, err)
	}
	if _, err := freeIndex(nil, []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}); err == nil {
		t.Fatal("an index although the host uses all of 10.0.0.0/8")
	}
}

func TestParseRoutesLeavesOutDefaultAndOwnBridge(t *testing.T) {
	networks, err := parseRoutes([]byte(`[{"dst":"default","gateway":"10.0.2.2","dev":"eth0"},{"dst":"10.101.0.0/16","dev":"agw0"},{"dst":"10.0.2.0/24","dev":"eth0"},{"dst":"10.0.9.9","dev":"eth0"}]`))
	if err != nil {
		t.Fatal(err)
	}
	if len(networks) != 2 || networks[0].String() != "10.0.2.0/24" || networks[1].String() != "10.0.9.9/32" {
		t.Fatalf("networks: %v", networks)
	}
	if networks, err := parseRoutes(nil); err != nil || networks != nil {
		t.Fatalf("no routes at all: %v, %v", networks, err)
	}
}

func TestNamesThatBecomePaths(t *testing.T) {
	for name, ok := range map[string]bool{"e2e": true, "a": true, "a-b-1": true, "": false, "-a": false, "a-": false, "A": false, "a/b": false, "..": false, "a123456789012345678901234567890123": false} {
		if (CheckName(name) == nil) != ok {
			t.Errorf("%q: %v", name, CheckName(name))
		}
	}
}

func TestRemoveTreeRefusesOtherFolders(t *testing.T) {
	if removeTree(t.TempDir()) == nil {
		t.Fatal("removed a folder that is no cluster's")
	}
}
