//! Whom a client trusts: for links to other relays.
use std::fmt;
use std::sync::Arc;

use rustls::ClientConfig;
use rustls::client::Resumption;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use crate::certificates::{CertificateError, HTTP, provider};
use crate::trust::Trust;

/// Roots, ready for handshakes. Servers have to prove the name that they are dialled by.
#[derive(Clone)]
pub struct ClientSettings {
    pub(crate) config: Arc<ClientConfig>,
}

impl ClientSettings {
    /// Trusts these certificates, in PEM; each text may have several. Those that cannot be read are left out, as systems'
    /// stores have odd ones.
    ///
    /// # Errors
    /// [`CertificateError::Chain`] if none is left.
    pub fn new<T: AsRef<str>>(roots: &[T]) -> Result<Self, CertificateError> {
        let readable = roots.iter().flat_map(|root| CertificateDer::pem_slice_iter(root.as_ref().as_bytes()));
        Self::trusting(readable.filter_map(Result::ok))
    }

    /// The same for certificates in DER.
    ///
    /// # Errors
    /// [`CertificateError::Chain`] if none is left.
    pub fn from_der(roots: impl IntoIterator<Item = Vec<u8>>) -> Result<Self, CertificateError> {
        Self::trusting(roots.into_iter().map(CertificateDer::from))
    }

    fn trusting<'a>(roots: impl Iterator<Item = CertificateDer<'a>>) -> Result<Self, CertificateError> {
        let provider = Arc::new(provider());
        let trusted = roots.map(CertificateDer::into_owned).collect();
        let trust = Trust::new(trusted, &provider).ok_or(CertificateError::Chain)?;
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("the provider has suites of both versions")
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(trust))
            .with_no_client_auth();
        config.alpn_protocols = vec![HTTP.to_vec()];
        config.resumption = Resumption::disabled();
        config.enable_secret_extraction = true;
        Ok(Self { config: Arc::new(config) })
    }
}

impl fmt::Debug for ClientSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClientSettings(..)")
    }
}
