package vectors

import (
	"crypto/tls"
	"crypto/x509"
	"time"

	"derpkit.test/interop/cert"
)

// metaCert is what every meta certificate of the vectors' server key looks
// like. The certificate itself has a fresh key and dates each time.
func metaCert() object {
	s := newServer()
	defer s.Close()
	meta := must(x509.ParseCertificate(s.MetaCert()))
	check(meta.CheckSignature(meta.SignatureAlgorithm, meta.RawTBSCertificate, meta.Signature))
	extensions := object{}
	for _, e := range meta.Extensions {
		extensions = append(extensions, member{e.Id.String(), object{{"critical", e.Critical}, {"value", hexOf(e.Value)}}})
	}
	issued := must(must(cert.NewAuthority()).Issue("derp.test"))
	config := &tls.Config{GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
		return &issued, nil
	}}
	s.ModifyTLSConfigToAddMetaCert(config)
	chain := must(config.GetCertificate(nil)).Certificate
	position := -1
	for i, der := range chain {
		if string(der) == string(s.MetaCert()) {
			position = i - len(chain)
		}
	}
	return group("derpserver.Server.MetaCert and ModifyTLSConfigToAddMetaCert, parsed by crypto/x509", object{
		{"serverPublicKey", serverKey.Public().UntypedHexString()},
		{"version", meta.Version},
		{"serial", meta.SerialNumber.Int64()},
		{"commonName", meta.Subject.CommonName},
		{"subjectDer", hexOf(meta.RawSubject)},
		{"issuerDer", hexOf(meta.RawIssuer)},
		{"signatureAlgorithm", meta.SignatureAlgorithm.String()},
		{"publicKeyAlgorithm", meta.PublicKeyAlgorithm.String()},
		{"selfSigned", true},
		{"notBeforeDays", days(time.Until(meta.NotBefore))},
		{"notAfterDays", days(time.Until(meta.NotAfter))},
		{"isCA", meta.IsCA},
		{"extensions", extensions},
		{"indexFromEndOfChain", position},
	})
}

func days(d time.Duration) int { return int(d.Round(time.Hour).Hours()) / 24 }
