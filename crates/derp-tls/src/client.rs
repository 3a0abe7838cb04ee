//! Whom a client trusts: for links to other relays.
use std::fmt;
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

use crate::certificates::{CertificateError, HTTP, provider};

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
        let mut store = RootCertStore::empty();
        for root in roots {
            let readable = CertificateDer::pem_slice_iter(root.as_ref().as_bytes()).filter_map(Result::ok);
            store.add_parsable_certificates(readable);
        }
        if store.is_empty() {
            return Err(CertificateError::Chain);
        }
        let mut config = ClientConfig::builder_with_provider(Arc::new(provider()))
            .with_safe_default_protocol_versions()
            .expect("the provider has suites of both versions")
            .with_root_certificates(store)
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
