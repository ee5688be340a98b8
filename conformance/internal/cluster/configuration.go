package cluster

import (
	"fmt"
	"os"
	"path/filepath"
)

// pauseImage is the image of every pod's first container, loaded from pauseArchive.
const pauseImage = "testcluster.local/pause:1"

func (c *Cluster) pauseArchive() string {
	return filepath.Join(c.BuildDirectory, "images", "pause.tar")
}

// writeConfiguration writes the files of the programs that are not configured by arguments alone.
func (c *Cluster) writeConfiguration() error {
	files := map[string]string{
		"resolv.conf":            "nameserver " + dnsAddress + "\n",
		"containerd.toml":        c.containerdConfiguration(),
		"cni/10-bridge.conflist": c.networkConfiguration(),
		"kubelet.yaml":           c.kubeletConfiguration(),
		"kube-proxy.yaml":        c.proxyConfiguration(),
	}
	for name, content := range files {
		path := c.path(name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := writeChanged(path, content, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// writeChanged leaves a file alone that has the content already: kube-proxy ends when its own is touched.
func writeChanged(path, content string, mode os.FileMode) error {
	if present, err := os.ReadFile(path); err == nil && string(present) == content {
		return nil
	}
	return os.WriteFile(path, []byte(content), mode)
}

// Without CAP_SYS_RESOURCE a lower oom_score_adj is refused and runc ends with "can't get final child's PID from pipe".
// AppArmor is off because its profile would stay loaded in the host's kernel.
func (c *Cluster) containerdConfiguration() string {
	return fmt.Sprintf(`version = 2
root = %[1]q
state = %[2]q
disabled_plugins = ["io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.zfs", "io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.devmapper"]

[grpc]
  address = %[3]q

[plugins."io.containerd.internal.v1.opt"]
  path = %[4]q

[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = %[5]q
  restrict_oom_score_adj = true
  disable_apparmor = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = %[6]q
    conf_dir = %[7]q
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        SystemdCgroup = false
`, c.path("containerd"), "/run/containerd-"+c.Name, c.runtimeSocket(), c.path("containerd", "opt"),
		pauseImage, pluginDirectory(), c.path("cni"))
}

// Addresses are not masqueraded: everything that pods can reach has a route back to them.
func (c *Cluster) networkConfiguration() string {
	return fmt.Sprintf(`{
  "cniVersion": "1.0.0",
  "name": "pods",
  "plugins": [
    {
      "type": "bridge", "bridge": "cni0", "isGateway": true, "hairpinMode": true,
      "ipam": {"type": "host-local", "dataDir": %q, "ranges": [[{"subnet": %q}]], "routes": [{"dst": "0.0.0.0/0"}]}
    },
    {"type": "portmap", "capabilities": {"portMappings": true}}
  ]
}
`, c.path("addresses"), c.nodePodNetwork())
}

// The node shares the host's disk and memory, so nothing is evicted or collected for lack of them.
func (c *Cluster) kubeletConfiguration() string {
	return fmt.Sprintf(`apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
containerRuntimeEndpoint: unix://%[1]s
failCgroupV1: false
cgroupDriver: cgroupfs
cgroupRoot: /%[2]s
enforceNodeAllocatable: []
failSwapOn: false
oomScoreAdj: 0
localStorageCapacityIsolation: false
imageGCHighThresholdPercent: 100
evictionHard:
  memory.available: "0%%"
  nodefs.available: "0%%"
  nodefs.inodesFree: "0%%"
  imagefs.available: "0%%"
clusterDomain: %[3]s
clusterDNS:
- %[4]s
resolvConf: %[5]s
podLogsDir: %[6]s
volumePluginDir: %[7]s
tlsCertFile: %[8]s
tlsPrivateKeyFile: %[9]s
authentication:
  anonymous:
    enabled: false
  webhook:
    enabled: true
  x509:
    clientCAFile: %[10]s
authorization:
  mode: Webhook
`, c.runtimeSocket(), c.cgroup(), clusterDomain, dnsAddress, c.path("resolv.conf"), c.path("pod-logs"),
		c.path("volume-plugins"), c.path("pki", "kubelet.crt"), c.path("pki", "kubelet.key"), c.path("pki", "ca.crt"))
}

// The limits of connection tracking belong to the host: a network namespace may not set them, and zero means "leave".
func (c *Cluster) proxyConfiguration() string {
	return fmt.Sprintf(`apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: nftables
hostnameOverride: %s
clusterCIDR: %s
oomScoreAdj: 0
clientConnection:
  kubeconfig: %s
conntrack:
  maxPerCore: 0
  min: 0
  tcpEstablishedTimeout: 0s
  tcpCloseWaitTimeout: 0s
`, c.Name, c.PodNetwork(), c.kubeconfigOf("kube-proxy"))
}
