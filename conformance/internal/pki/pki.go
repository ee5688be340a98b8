// Package pki makes the certificates of one cluster: an authority, and keys signed by it.
package pki

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// lifetime outlives every test cluster; the start lies back so that a clock set right meanwhile does no harm.
const (
	lifetime = 10 * 365 * 24 * time.Hour
	backdate = time.Hour
)

// Authority signs the certificates of one cluster and writes them into one directory.
type Authority struct {
	directory   string
	key         *ecdsa.PrivateKey
	certificate *x509.Certificate
}

// Subject says whom a certificate is for: to Kubernetes, the name is the user and the organizations are its groups.
type Subject struct {
	Name          string
	Organizations []string
	DNSNames      []string
	IPs           []net.IP
}

// Pair names the files of a certificate and its key.
type Pair struct {
	Certificate, Key string
}

// Open loads the authority of a directory, or makes a new one there (ca.crt, ca.key).
func Open(directory string) (*Authority, error) {
	if err := os.MkdirAll(directory, 0o700); err != nil {
		return nil, err
	}
	a := &Authority{directory: directory}
	err := a.load()
	if errors.Is(err, os.ErrNotExist) {
		err = a.create()
	}
	if err != nil {
		return nil, fmt.Errorf("certificate authority in %s: %w", directory, err)
	}
	return a, nil
}

// Files gives the authority's own certificate and key.
func (a *Authority) Files() Pair { return a.files("ca") }

// CertificatePEM is the authority's certificate.
func (a *Authority) CertificatePEM() []byte { return encode("CERTIFICATE", a.certificate.Raw) }

// Pool trusts this authority alone.
func (a *Authority) Pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.certificate)
	return pool
}

// Issue makes NAME.crt and NAME.key, fit for servers and clients, unless both are there already.
func (a *Authority) Issue(name string, subject Subject) (Pair, error) {
	pair := a.files(name)
	if exists(pair.Certificate) && exists(pair.Key) {
		return pair, nil
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return Pair{}, err
	}
	template, err := newTemplate(pkix.Name{CommonName: subject.Name, Organization: subject.Organizations})
	if err != nil {
		return Pair{}, err
	}
	template.DNSNames, template.IPAddresses = subject.DNSNames, subject.IPs
	template.KeyUsage = x509.KeyUsageDigitalSignature
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	der, err := x509.CreateCertificate(rand.Reader, template, a.certificate, key.Public(), a.key)
	if err != nil {
		return Pair{}, err
	}
	return pair, writePair(pair, der, key)
}

// ServiceAccountKeys makes the pair that service account tokens are signed with (sa.key, sa.pub).
func (a *Authority) ServiceAccountKeys() (private, public string, err error) {
	private, public = filepath.Join(a.directory, "sa.key"), filepath.Join(a.directory, "sa.pub")
	if exists(private) && exists(public) {
		return private, public, nil
	}
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return "", "", err
	}
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return "", "", err
	}
	if err := os.WriteFile(public, encode("PUBLIC KEY", der), 0o644); err != nil {
		return "", "", err
	}
	return private, public, writeKey(private, key)
}

func (a *Authority) files(name string) Pair {
	return Pair{Certificate: filepath.Join(a.directory, name+".crt"), Key: filepath.Join(a.directory, name+".key")}
}

func (a *Authority) create() error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	template, err := newTemplate(pkix.Name{CommonName: "test cluster authority"})
	if err != nil {
		return err
	}
	template.IsCA, template.BasicConstraintsValid = true, true
	template.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageCRLSign | x509.KeyUsageDigitalSignature
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return err
	}
	if a.certificate, err = x509.ParseCertificate(der); err != nil {
		return err
	}
	a.key = key
	return writePair(a.Files(), der, key)
}

func (a *Authority) load() error {
	pair := a.Files()
	certificate, err := readPEM(pair.Certificate)
	if err != nil {
		return err
	}
	if a.certificate, err = x509.ParseCertificate(certificate); err != nil {
		return err
	}
	der, err := readPEM(pair.Key)
	if err != nil {
		return err
	}
	key, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return err
	}
	ec, ok := key.(*ecdsa.PrivateKey)
	if !ok {
		return fmt.Errorf("%s is no EC key", pair.Key)
	}
	a.key = ec
	return nil
}

func newTemplate(subject pkix.Name) (*x509.Certificate, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, err
	}
	now := time.Now()
	return &x509.Certificate{SerialNumber: serial, Subject: subject, NotBefore: now.Add(-backdate), NotAfter: now.Add(lifetime)}, nil
}

// writePair writes the certificate last: where it is, its key is too.
func writePair(pair Pair, der []byte, key crypto.PrivateKey) error {
	if err := writeKey(pair.Key, key); err != nil {
		return err
	}
	return os.WriteFile(pair.Certificate, encode("CERTIFICATE", der), 0o644)
}

func writeKey(path string, key crypto.PrivateKey) error {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	return os.WriteFile(path, encode("PRIVATE KEY", der), 0o600)
}

func encode(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

func readPEM(path string) ([]byte, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, fmt.Errorf("%s holds no PEM block", path)
	}
	return block.Bytes, nil
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
