package load

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"path/filepath"
)

// TLS has certificates of both sides: ca.pem, both.pem and both.key of that directory.
func TLS(dir string) (*tls.Config, error) {
	authority, err := os.ReadFile(filepath.Join(dir, "ca.pem"))
	if err != nil {
		return nil, err
	}
	trust := x509.NewCertPool()
	if !trust.AppendCertsFromPEM(authority) {
		return nil, fmt.Errorf("no certificate in %s/ca.pem", dir)
	}
	own, err := tls.LoadX509KeyPair(filepath.Join(dir, "both.pem"), filepath.Join(dir, "both.key"))
	if err != nil {
		return nil, err
	}
	return &tls.Config{RootCAs: trust, Certificates: []tls.Certificate{own}, MinVersion: tls.VersionTLS13}, nil
}
