package pki

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"net"
	"os"
	"testing"
)

func TestIssuedCertificateIsTrustedForItsNamesOnly(t *testing.T) {
	authority, err := Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	pair, err := authority.Issue("apiserver", Subject{
		Name: "kube-apiserver", Organizations: []string{"system:masters"},
		DNSNames: []string{"kubernetes.default"}, IPs: []net.IP{net.IPv4(10, 96, 0, 1)},
	})
	if err != nil {
		t.Fatal(err)
	}
	loaded, err := tls.LoadX509KeyPair(pair.Certificate, pair.Key)
	if err != nil {
		t.Fatalf("certificate and key do not belong together: %v", err)
	}
	verify := func(name string, use x509.ExtKeyUsage) error {
		_, err := loaded.Leaf.Verify(x509.VerifyOptions{Roots: authority.Pool(), DNSName: name, KeyUsages: []x509.ExtKeyUsage{use}})
		return err
	}
	for _, name := range []string{"kubernetes.default", "10.96.0.1"} {
		if err := verify(name, x509.ExtKeyUsageServerAuth); err != nil {
			t.Errorf("as server %s: %v", name, err)
		}
	}
	if err := verify("", x509.ExtKeyUsageClientAuth); err != nil {
		t.Errorf("as client: %v", err)
	}
	if verify("10.96.0.2", x509.ExtKeyUsageServerAuth) == nil {
		t.Error("trusted for an address that it does not name")
	}
	if user := loaded.Leaf.Subject; user.CommonName != "kube-apiserver" || len(user.Organization) != 1 || user.Organization[0] != "system:masters" {
		t.Errorf("subject: %s", user)
	}
	other, err := Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := loaded.Leaf.Verify(x509.VerifyOptions{Roots: other.Pool(), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}}); err == nil {
		t.Error("another cluster's authority trusts it")
	}
}

func TestOpenAndIssueAgainKeepEverything(t *testing.T) {
	directory := t.TempDir()
	snapshot := func() map[string][]byte {
		authority, err := Open(directory)
		if err != nil {
			t.Fatal(err)
		}
		pair, err := authority.Issue("kubelet", Subject{Name: "system:node:n"})
		if err != nil {
			t.Fatal(err)
		}
		private, public, err := authority.ServiceAccountKeys()
		if err != nil {
			t.Fatal(err)
		}
		files := map[string][]byte{}
		for _, path := range []string{authority.Files().Certificate, authority.Files().Key, pair.Certificate, pair.Key, private, public} {
			content, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			files[path] = content
		}
		return files
	}
	first, second := snapshot(), snapshot()
	for path := range first {
		if !bytes.Equal(first[path], second[path]) {
			t.Errorf("%s changed", path)
		}
	}
}

func TestKeysAreReadableByTheOwnerAlone(t *testing.T) {
	authority, err := Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	private, _, err := authority.ServiceAccountKeys()
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{private, authority.Files().Key} {
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %o", path, info.Mode().Perm())
		}
	}
}
