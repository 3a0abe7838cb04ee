package cert

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"os"
	"time"

	"golang.org/x/crypto/acme"
	"golang.org/x/crypto/acme/autocert"
)

// Autocert fills a directory as derper does: with the account and the
// certificate that autocert gets for the name. The CA comes to httpAddress.
func Autocert(dir, directoryURL, caFile, name, httpAddress string) error {
	ca, err := os.ReadFile(caFile)
	if err != nil {
		return err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(ca) {
		return fmt.Errorf("no certificate in %s", caFile)
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}
	manager := &autocert.Manager{
		Prompt:     autocert.AcceptTOS,
		HostPolicy: func(context.Context, string) error { return nil },
		Cache:      autocert.DirCache(dir),
		Client:     &acme.Client{DirectoryURL: directoryURL, HTTPClient: &http.Client{Transport: transport}},
	}
	listener, err := net.Listen("tcp", httpAddress)
	if err != nil {
		return err
	}
	server := &http.Server{Handler: manager.HTTPHandler(nil), ReadTimeout: time.Minute}
	defer server.Close()
	go server.Serve(listener)
	_, err = manager.GetCertificate(&tls.ClientHelloInfo{
		ServerName:       name,
		SignatureSchemes: []tls.SignatureScheme{tls.ECDSAWithP256AndSHA256},
		CipherSuites:     []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256},
	})
	return err
}
