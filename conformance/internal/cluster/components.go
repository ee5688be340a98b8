package cluster

import (
	"os/exec"
	"path/filepath"
)

// component is one program on the node.
type component struct {
	name    string
	command []string
}

// componentNames are the programs that this cluster is made of, in the order in which they start.
func (c *Cluster) componentNames() []string {
	names := []string{"etcd", "kube-apiserver"}
	if !c.ControlPlaneOnly {
		names = append(names, "containerd")
	}
	names = append(names, "kube-controller-manager", "kube-scheduler")
	if !c.ControlPlaneOnly {
		names = append(names, "kubelet", "kube-proxy", "lb", "dns")
	}
	return names
}

func (c *Cluster) component(name string) component {
	kube := c.binary("kube")
	authority, private := c.path("pki", "ca.crt"), c.path("pki", "ca.key")
	certificate := func(name string) string { return c.path("pki", name+".crt") }
	key := func(name string) string { return c.path("pki", name+".key") }
	var arguments []string
	switch name {
	case "etcd":
		arguments = []string{
			"--name", "etcd", "--data-dir", c.path("etcd"), "--log-level", "warn",
			"--listen-client-urls", "http://127.0.0.1:2379", "--advertise-client-urls", "http://127.0.0.1:2379",
			"--listen-peer-urls", "http://127.0.0.1:2380", "--initial-advertise-peer-urls", "http://127.0.0.1:2380",
			"--initial-cluster", "etcd=http://127.0.0.1:2380",
			// The data need not outlive a power cut.
			"--unsafe-no-fsync",
		}
	case "kube-apiserver":
		arguments = []string{
			"--etcd-servers", "http://127.0.0.1:2379",
			"--advertise-address", c.NodeAddress(), "--bind-address", "0.0.0.0", "--secure-port", "6443",
			"--service-cluster-ip-range", serviceNetwork,
			"--client-ca-file", authority, "--tls-cert-file", certificate("apiserver"), "--tls-private-key-file", key("apiserver"),
			"--service-account-issuer", "https://kubernetes.default.svc." + clusterDomain,
			"--service-account-key-file", c.path("pki", "sa.pub"), "--service-account-signing-key-file", c.path("pki", "sa.key"),
			"--authorization-mode", "Node,RBAC", "--enable-admission-plugins", "NodeRestriction", "--allow-privileged",
			"--kubelet-client-certificate", certificate("apiserver-kubelet-client"), "--kubelet-client-key", key("apiserver-kubelet-client"),
			"--kubelet-certificate-authority", authority, "--kubelet-preferred-address-types", "InternalIP",
			"--requestheader-client-ca-file", authority, "--requestheader-allowed-names", "front-proxy-client",
			"--requestheader-username-headers", "X-Remote-User", "--requestheader-group-headers", "X-Remote-Group",
			"--requestheader-extra-headers-prefix", "X-Remote-Extra-",
			"--proxy-client-cert-file", certificate("front-proxy-client"), "--proxy-client-key-file", key("front-proxy-client"),
		}
	case "kube-controller-manager":
		access := c.kubeconfigOf("controller-manager")
		arguments = []string{
			"--kubeconfig", access, "--authentication-kubeconfig", access, "--authorization-kubeconfig", access,
			"--leader-elect=false", "--use-service-account-credentials",
			"--service-account-private-key-file", c.path("pki", "sa.key"), "--root-ca-file", authority,
			"--cluster-signing-cert-file", authority, "--cluster-signing-key-file", private,
			"--service-cluster-ip-range", serviceNetwork,
			"--flex-volume-plugin-dir", c.path("volume-plugins"),
			// A token per controller is asked for at the start: 4 seconds at the default of 20 requests a second.
			"--kube-api-qps", "500", "--kube-api-burst", "1000",
			"--allocate-node-cidrs", "--cluster-cidr", c.PodNetwork(), "--node-cidr-mask-size", "24",
		}
	case "kube-scheduler":
		access := c.kubeconfigOf("scheduler")
		arguments = []string{"--kubeconfig", access, "--authentication-kubeconfig", access, "--authorization-kubeconfig", access, "--leader-elect=false"}
	case "containerd":
		path, err := exec.LookPath("containerd")
		if err != nil {
			path = "containerd"
		}
		return component{name, []string{path, "--config", c.path("containerd.toml")}}
	case "kubelet":
		arguments = []string{
			"--config", c.path("kubelet.yaml"), "--kubeconfig", c.kubeconfigOf("kubelet"), "--root-dir", c.path("kubelet"),
			"--cert-dir", c.path("kubelet", "pki"), "--hostname-override", c.Name, "--node-ip", c.NodeAddress(),
		}
	case "kube-proxy":
		arguments = []string{"--config", c.path("kube-proxy.yaml")}
	case "lb":
		arguments = []string{"--kubeconfig", c.Kubeconfig(), "--range", c.LoadBalancerRange()}
	case "dns":
		arguments = []string{"--kubeconfig", c.Kubeconfig(), "--listen", c.NodeAddress() + ":53"}
	}
	return component{name, append([]string{kube, name}, arguments...)}
}

// kubeconfigOf is the access of one program; the administrator's is Kubeconfig.
func (c *Cluster) kubeconfigOf(program string) string {
	return filepath.Join(c.Directory(), "pki", program+".kubeconfig")
}
