package cluster

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// claim returns the cluster's record, or makes one with a free index, under the machine's lock.
func claim(name, buildDirectory string) (*Cluster, error) {
	unlock, err := lock(hostLock())
	if err != nil {
		return nil, err
	}
	defer unlock()
	c, err := read(recordPath(name))
	switch {
	case err == nil && c.BuildDirectory != buildDirectory:
		return nil, fmt.Errorf("a cluster %q is up for %s: choose another name, or remove it with testcluster down %s", name, c.BuildDirectory, name)
	case err == nil:
		return c, nil
	case !errors.Is(err, os.ErrNotExist):
		return nil, err
	}
	all, err := All()
	if err != nil {
		return nil, err
	}
	used := map[int]bool{}
	for _, other := range all {
		used[other.Index] = true
	}
	foreign, err := hostNetworks()
	if err != nil {
		return nil, err
	}
	if shared := netip.MustParsePrefix(bridgeNetwork); slices.ContainsFunc(foreign, shared.Overlaps) {
		return nil, fmt.Errorf("this machine uses %s, which the nodes of clusters need", bridgeNetwork)
	}
	index, err := freeIndex(used, foreign)
	if err != nil {
		return nil, err
	}
	c = &Cluster{Name: name, Index: index, BuildDirectory: buildDirectory}
	// Without a record, what lies there is from before a restart of the machine.
	if err := removeTree(c.Directory()); err != nil {
		return nil, err
	}
	return c, c.save()
}

// freeIndex is the lowest one whose ranges meet no network of the host.
func freeIndex(used map[int]bool, foreign []netip.Prefix) (int, error) {
	for index := 1; index <= largestIndex; index++ {
		c := &Cluster{Index: index}
		wanted := []netip.Prefix{netip.MustParsePrefix(c.PodNetwork()), netip.MustParsePrefix(c.LoadBalancerRange())}
		if !used[index] && !slices.ContainsFunc(foreign, func(network netip.Prefix) bool {
			return slices.ContainsFunc(wanted, network.Overlaps)
		}) {
			return index, nil
		}
	}
	return 0, fmt.Errorf("all %d cluster numbers are taken, or their networks (10.101.0.0/16 and up, 172.31.1.0/24 and up) are in use on this machine", largestIndex)
}

// hostNetworks lists the destinations of the host's routes that do not belong to clusters. The default route is no
// obstacle: more specific ones win.
func hostNetworks() ([]netip.Prefix, error) {
	text, err := output("ip", "-4", "-json", "route", "show")
	if err != nil {
		return nil, err
	}
	return parseRoutes([]byte(text))
}

func parseRoutes(text []byte) ([]netip.Prefix, error) {
	if len(strings.TrimSpace(string(text))) == 0 {
		return nil, nil
	}
	var routes []struct {
		Destination string `json:"dst"`
		Device      string `json:"dev"`
	}
	if err := json.Unmarshal(text, &routes); err != nil {
		return nil, fmt.Errorf("answer of ip route: %w", err)
	}
	var networks []netip.Prefix
	for _, route := range routes {
		if route.Destination == "default" || route.Device == bridge {
			continue
		}
		destination := route.Destination
		if !strings.Contains(destination, "/") {
			destination += "/32"
		}
		network, err := netip.ParsePrefix(destination)
		if err != nil {
			return nil, fmt.Errorf("answer of ip route: %w", err)
		}
		networks = append(networks, network)
	}
	return networks, nil
}

// removeTree refuses anything but a cluster's own folder.
func removeTree(directory string) error {
	if filepath.Base(filepath.Dir(directory)) != "clusters" {
		return fmt.Errorf("%s is no cluster's folder", directory)
	}
	return os.RemoveAll(directory)
}
