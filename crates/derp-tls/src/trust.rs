//! Whether a server is the one that a client means, by Go's rules, which derper follows: see [`crate::chain`]. webpki has the
//! last word where an authority has name constraints. It is not asked first: to it everything that is trusted may sign, also
//! the certificate of a server, with whose key one relay could then pass for any other.
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, verify_tls13_signature_with_raw_key};
use rustls::pki_types::{CertificateDer, ServerName, SubjectPublicKeyInfoDer, UnixTime};
use rustls::{
    CertificateError, DigitallySignedStruct, Error, OtherError, PeerMisbehaved, RootCertStore, SignatureScheme,
};
use webpki::RawPublicKeyEntity;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::chain::{Rules, Untrusted, check, may_vouch};

/// Checks servers' certificates for clients.
#[derive(Debug)]
pub(crate) struct Trust {
    /// Absent where nothing that is trusted may sign others.
    webpki: Option<Arc<WebPkiServerVerifier>>,
    trusted: Vec<CertificateDer<'static>>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl Trust {
    /// `None` where there is nothing that can be trusted.
    pub(crate) fn new(trusted: Vec<CertificateDer<'static>>, provider: &Arc<CryptoProvider>) -> Option<Self> {
        let trusted: Vec<_> = trusted.into_iter().filter(|der| key_of(der).is_ok()).collect();
        if trusted.is_empty() {
            return None;
        }
        let mut store = RootCertStore::empty();
        store.add_parsable_certificates(trusted.iter().filter(|der| may_vouch(der)).cloned());
        let webpki = WebPkiServerVerifier::builder_with_provider(Arc::new(store), provider.clone()).build().ok();
        Some(Self { webpki, trusted, algorithms: provider.signature_verification_algorithms })
    }
}

impl ServerCertVerifier for Trust {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let rules = Rules { trusted: &self.trusted, algorithms: self.algorithms.all, now };
        match (check(leaf, others, name, &rules), &self.webpki) {
            (Ok(()), _) => Ok(ServerCertVerified::assertion()),
            (Err(Untrusted::Constrained), Some(webpki)) => {
                webpki.verify_server_cert(leaf, others, name, ocsp, now).map_err(|_| untrusted(Untrusted::Issuer, name))
            }
            (Err(why), _) => Err(untrusted(why, name)),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let key = key_of(leaf)?;
        let key = RawPublicKeyEntity::try_from(&key).map_err(|_| CertificateError::BadEncoding)?;
        let (_, algorithms) = self
            .algorithms
            .mapping
            .iter()
            .find(|(scheme, _)| *scheme == signed.scheme)
            .ok_or(PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme)?;
        // TLS 1.2 leaves the curve open.
        let verifies = |algorithm: &&_| key.verify_signature(**algorithm, message, signed.signature()).is_ok();
        match algorithms.iter().find(|algorithm| verifies(algorithm)) {
            Some(_) => Ok(HandshakeSignatureValid::assertion()),
            None => Err(CertificateError::BadSignature.into()),
        }
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature_with_raw_key(message, &key_of(leaf)?, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// In rustls's terms, of which alerts are made.
fn untrusted(why: Untrusted, name: &ServerName<'_>) -> Error {
    let error = match why {
        Untrusted::Issuer | Untrusted::Constrained => CertificateError::UnknownIssuer,
        Untrusted::Expired => CertificateError::Expired,
        Untrusted::NotYet => CertificateError::NotValidYet,
        Untrusted::Unreadable => CertificateError::BadEncoding,
        Untrusted::Name(presented) => CertificateError::NotValidForNameContext { expected: name.to_owned(), presented },
        Untrusted::Usage | Untrusted::Extension(_) => CertificateError::Other(OtherError(Arc::new(why))),
    };
    error.into()
}

/// The public key of a certificate. Not by webpki's reader, which stops at extensions that it does not know.
pub(crate) fn key_of<'a>(leaf: &'a CertificateDer<'_>) -> Result<SubjectPublicKeyInfoDer<'a>, Error> {
    let (_, leaf) = X509Certificate::from_der(leaf).map_err(|_| CertificateError::BadEncoding)?;
    Ok(SubjectPublicKeyInfoDer::from(leaf.tbs_certificate.subject_pki.raw))
}
