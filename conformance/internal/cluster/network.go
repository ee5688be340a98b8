package cluster

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"agentgateway/conformance/internal/node"
)

// hostChanges is what the first cluster changes on the host and the last one takes back.
type hostChanges struct {
	// Forwarding is net.ipv4.ip_forward as it was.
	Forwarding string `json:"forwarding"`
	// Directories were made as places for private mounts.
	Directories []string `json:"directories"`
}

const forwardingFile = "/proc/sys/net/ipv4/ip_forward"

func hostChangesPath() string { return filepath.Join(stateDirectory, "host.changes") }

// prepareHost makes the bridge and what else all clusters share. It may run any number of times.
func prepareHost() error {
	unlock, err := lock(hostLock())
	if err != nil {
		return err
	}
	defer unlock()
	if err := rememberHost(); err != nil {
		return err
	}
	for _, directory := range node.PrivateDirectories {
		if err := os.MkdirAll(directory, 0o755); err != nil {
			return err
		}
	}
	if err := os.WriteFile(forwardingFile, []byte("1"), 0o644); err != nil {
		return fmt.Errorf("forwarding between clusters: %w", err)
	}
	if !interfaceExists(bridge) {
		if err := ip("link", "add", bridge, "type", "bridge"); err != nil {
			return err
		}
	}
	if err := ip("addr", "replace", bridgeAddress+"/24", "dev", bridge); err != nil {
		return err
	}
	return ip("link", "set", bridge, "up")
}

// rememberHost writes down, once, what the host was like before the first cluster.
func rememberHost() error {
	if _, err := os.Stat(hostChangesPath()); err == nil {
		return nil
	}
	forwarding, err := os.ReadFile(forwardingFile)
	if err != nil {
		return err
	}
	changes := hostChanges{Forwarding: strings.TrimSpace(string(forwarding))}
	for _, directory := range node.PrivateDirectories {
		if _, err := os.Stat(directory); errors.Is(err, os.ErrNotExist) {
			changes.Directories = append(changes.Directories, directory)
		}
	}
	text, err := json.Marshal(changes)
	if err != nil {
		return err
	}
	return os.WriteFile(hostChangesPath(), text, 0o600)
}

// restoreHost undoes prepareHost after the last cluster. The caller holds the machine's lock.
func restoreHost() error {
	var problems []error
	if interfaceExists(bridge) {
		problems = append(problems, ip("link", "del", bridge))
	}
	if text, err := os.ReadFile(hostChangesPath()); err == nil {
		var changes hostChanges
		if err := json.Unmarshal(text, &changes); err != nil {
			return fmt.Errorf("%s: %w", hostChangesPath(), err)
		}
		problems = append(problems, os.WriteFile(forwardingFile, []byte(changes.Forwarding), 0o644))
		for _, directory := range changes.Directories {
			// Removed only when empty: something else may have begun to use it.
			_ = os.Remove(directory)
		}
	}
	for _, path := range []string{hostChangesPath(), hostLock()} {
		if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
			problems = append(problems, err)
		}
	}
	// Not empty when somebody waits to start a cluster.
	_ = os.Remove(stateDirectory)
	return errors.Join(problems...)
}

// connect joins the node to the bridge and routes its ranges to it.
func (c *Cluster) connect() error {
	if !interfaceExists(c.hostInterface()) {
		if err := ip("link", "add", c.hostInterface(), "type", "veth", "peer", "name", "eth0", "netns", fmt.Sprint(c.Node.PID)); err != nil {
			return err
		}
	}
	if err := ip("link", "set", c.hostInterface(), "master", bridge, "up"); err != nil {
		return err
	}
	if err := node.Inside(c.Node, c.configureNode); err != nil {
		return err
	}
	for _, network := range []string{c.PodNetwork(), c.LoadBalancerRange()} {
		if err := ip("route", "replace", network, "via", c.NodeAddress()); err != nil {
			return err
		}
	}
	return nil
}

// configureNode runs in the node's namespaces.
func (c *Cluster) configureNode() error {
	for _, arguments := range [][]string{
		{"link", "set", "lo", "up"},
		{"addr", "replace", c.NodeAddress() + "/24", "dev", "eth0"},
		{"link", "set", "eth0", "up"},
		{"route", "replace", "default", "via", bridgeAddress},
	} {
		if err := ip(arguments...); err != nil {
			return err
		}
	}
	settings := map[string]string{"ipv4/ip_forward": "1", "ipv4/conf/all/route_localnet": "1"}
	// Without it a pod that reaches another pod of its bridge by a ClusterIP gets the answer from an address it never
	// asked. The file is there once the module is.
	if _, err := os.Stat("/proc/sys/net/bridge"); err == nil {
		settings["bridge/bridge-nf-call-iptables"] = "1"
	} else if err := exec.Command("modprobe", "br_netfilter").Run(); err == nil {
		settings["bridge/bridge-nf-call-iptables"] = "1"
	}
	for name, value := range settings {
		if err := os.WriteFile(filepath.Join("/proc/sys/net", name), []byte(value), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// disconnect removes the host's end. Routes go with the bridge or here.
func (c *Cluster) disconnect() error {
	var problems []error
	for _, network := range []string{c.PodNetwork(), c.LoadBalancerRange()} {
		if found, err := output("ip", "-4", "route", "show", network, "via", c.NodeAddress()); err == nil && found != "" {
			problems = append(problems, ip("route", "del", network, "via", c.NodeAddress()))
		}
	}
	// The kernel removes the pair some time after the node's last process; two removals may meet.
	if interfaceExists(c.hostInterface()) {
		if err := ip("link", "del", c.hostInterface()); err != nil && interfaceExists(c.hostInterface()) {
			problems = append(problems, err)
		}
	}
	return errors.Join(problems...)
}

func interfaceExists(name string) bool {
	_, err := os.Stat("/sys/class/net/" + name)
	return err == nil
}

func ip(arguments ...string) error {
	_, err := output("ip", arguments...)
	return err
}

// output runs a command and puts what it says into the error.
func output(name string, arguments ...string) (string, error) {
	var stdout, stderr bytes.Buffer
	command := exec.Command(name, arguments...)
	command.Stdout, command.Stderr = &stdout, &stderr
	if err := command.Run(); err != nil {
		return "", fmt.Errorf("%s %s: %w: %s", name, strings.Join(arguments, " "), err, strings.TrimSpace(stderr.String()))
	}
	return stdout.String(), nil
}
