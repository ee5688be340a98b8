package cluster

import (
	"encoding/base64"
	"fmt"
	"net"
	"os"

	"agentgateway/conformance/internal/pki"
)

// makeCredentials makes every key and kubeconfig that is not there yet.
func (c *Cluster) makeCredentials() (*pki.Authority, error) {
	authority, err := pki.Open(c.path("pki"))
	if err != nil {
		return nil, err
	}
	if _, _, err := authority.ServiceAccountKeys(); err != nil {
		return nil, err
	}
	address := net.ParseIP(c.NodeAddress())
	pairs := map[string]pki.Pair{}
	for name, subject := range map[string]pki.Subject{
		"apiserver": {
			Name: "kube-apiserver",
			DNSNames: []string{"localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc",
				"kubernetes.default.svc." + clusterDomain},
			IPs: []net.IP{net.IPv4(127, 0, 0, 1), net.ParseIP(apiAddress), address},
		},
		"kubelet": {
			Name: "system:node:" + c.Name, Organizations: []string{"system:nodes"},
			DNSNames: []string{c.Name}, IPs: []net.IP{address},
		},
		"apiserver-kubelet-client": {Name: "kube-apiserver-kubelet-client", Organizations: []string{"system:masters"}},
		"front-proxy-client":       {Name: "front-proxy-client"},
		"admin":                    {Name: "kubernetes-admin", Organizations: []string{"system:masters"}},
		"controller-manager":       {Name: "system:kube-controller-manager"},
		"scheduler":                {Name: "system:kube-scheduler"},
		"kube-proxy":               {Name: "system:kube-proxy"},
	} {
		if pairs[name], err = authority.Issue(name, subject); err != nil {
			return nil, err
		}
	}
	for path, name := range map[string]string{
		c.Kubeconfig():                       "admin",
		c.kubeconfigOf("controller-manager"): "controller-manager",
		c.kubeconfigOf("scheduler"):          "scheduler",
		c.kubeconfigOf("kube-proxy"):         "kube-proxy",
		c.kubeconfigOf("kubelet"):            "kubelet",
	} {
		if err := c.writeKubeconfig(authority, path, pairs[name]); err != nil {
			return nil, err
		}
	}
	return authority, nil
}

func (c *Cluster) writeKubeconfig(authority *pki.Authority, path string, user pki.Pair) error {
	certificate, err := os.ReadFile(user.Certificate)
	if err != nil {
		return err
	}
	key, err := os.ReadFile(user.Key)
	if err != nil {
		return err
	}
	text := fmt.Sprintf(`apiVersion: v1
kind: Config
clusters:
- name: %[1]s
  cluster:
    server: %[2]s
    certificate-authority-data: %[3]s
users:
- name: %[1]s
  user:
    client-certificate-data: %[4]s
    client-key-data: %[5]s
contexts:
- name: %[1]s
  context:
    cluster: %[1]s
    user: %[1]s
current-context: %[1]s
`, c.Name, c.server(), encode(authority.CertificatePEM()), encode(certificate), encode(key))
	return writeChanged(path, text, 0o600)
}

func encode(content []byte) string { return base64.StdEncoding.EncodeToString(content) }
