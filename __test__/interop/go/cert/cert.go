// Package cert makes the certificates of the tests, so that nothing but Go is
// needed: a small authority, and certificates that it signed.
package cert

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// Authority signs certificates.
type Authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// NewAuthority makes one with a fresh key.
func NewAuthority() (*Authority, error) {
	template := base("derpkit test authority")
	template.IsCA = true
	template.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageCRLSign
	der, key, err := sign(template, nil)
	if err != nil {
		return nil, err
	}
	cert, err := x509.ParseCertificate(der)
	return &Authority{cert, key}, err
}

// Roots is a pool that trusts the authority.
func (a *Authority) Roots() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	return pool
}

// Issue returns a certificate for a host name, which is also good for
// loopback addresses.
func (a *Authority) Issue(host string) (tls.Certificate, error) {
	template := base(host)
	template.DNSNames = []string{host}
	template.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback}
	template.KeyUsage = x509.KeyUsageDigitalSignature
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	der, key, err := sign(template, a)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, err
}

// WriteFiles makes an authority and, for every host, the pair of files that a
// relay with a manual certificate looks for. The authority goes to ca.crt.
func WriteFiles(dir string, hosts []string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	a, err := NewAuthority()
	if err != nil {
		return err
	}
	if err := writePEM(filepath.Join(dir, "ca.crt"), "CERTIFICATE", a.cert.Raw, 0o644); err != nil {
		return err
	}
	for _, host := range hosts {
		cert, err := a.Issue(host)
		if err != nil {
			return err
		}
		if err := writePEM(filepath.Join(dir, host+".crt"), "CERTIFICATE", cert.Certificate[0], 0o644); err != nil {
			return err
		}
		key, err := x509.MarshalPKCS8PrivateKey(cert.PrivateKey)
		if err != nil {
			return err
		}
		if err := writePEM(filepath.Join(dir, host+".key"), "PRIVATE KEY", key, 0o600); err != nil {
			return err
		}
	}
	return nil
}

// base has what all certificates share. Thirty days, because derpprobe
// complains about certificates that end within a week.
func base(name string) *x509.Certificate {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		panic(err)
	}
	return &x509.Certificate{
		SerialNumber:          serial,
		Subject:               pkix.Name{CommonName: name},
		NotBefore:             time.Now().Add(-time.Hour),
		NotAfter:              time.Now().Add(30 * 24 * time.Hour),
		BasicConstraintsValid: true,
	}
}

// sign signs template with issuer's key, or with its own if there is none.
func sign(template *x509.Certificate, issuer *Authority) ([]byte, *ecdsa.PrivateKey, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	parent, signer := template, key
	if issuer != nil {
		parent, signer = issuer.cert, issuer.key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	return der, key, err
}

func writePEM(path, kind string, der []byte, mode os.FileMode) error {
	return os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), mode)
}
