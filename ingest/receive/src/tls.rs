//! TLS as a server, with or without certificates of clients.

use std::io;
use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};

/// Whether clients show certificates.
#[derive(Debug, Clone, Copy)]
pub enum Clients<'a> {
    /// Nobody is asked for one.
    Anonymous,
    /// They may; one that is shown must be issued by these authorities (PEM).
    MayShow(&'a Path),
    /// They must.
    MustShow(&'a Path),
}

/// Reads certificate chain and key (PEM).
///
/// # Errors
/// Names the file that cannot be used, and why.
pub fn server(cert: &Path, key: &Path, clients: Clients<'_>) -> io::Result<ServerConfig> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let chain = certificates(cert)?;
    let private = PrivateKeyDer::from_pem_file(key).map_err(|error| fault(key, &error))?;
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?;
    let builder = match clients {
        Clients::Anonymous => builder.with_no_client_auth(),
        Clients::MayShow(ca) | Clients::MustShow(ca) => {
            let mut roots = RootCertStore::empty();
            for certificate in certificates(ca)? {
                roots.add(certificate).map_err(|error| fault(ca, &error))?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            let verifier = match clients {
                Clients::MayShow(_) => verifier.allow_unauthenticated(),
                _ => verifier,
            };
            builder.with_client_cert_verifier(verifier.build().map_err(|error| fault(ca, &error))?)
        }
    };
    builder.with_single_cert(chain, private).map_err(|error| fault(cert, &error))
}

fn certificates(file: &Path) -> io::Result<Vec<CertificateDer<'static>>> {
    let all: Result<Vec<_>, _> =
        CertificateDer::pem_file_iter(file).map_err(|error| fault(file, &error))?.collect();
    let all = all.map_err(|error| fault(file, &error))?;
    if all.is_empty() {
        return Err(fault(file, &"there is no certificate in it"));
    }
    Ok(all)
}

fn fault(file: &Path, what: &dyn std::fmt::Display) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, format!("{}: {what}", file.display()))
}
