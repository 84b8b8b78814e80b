//! Syslog, for IHE ATNA and whatever else logs so: over TLS with certificates on both sides (RFC 5425), over TCP
//! (RFC 6587) and UDP (RFC 5426). What comes without TLS is known by its address alone and marked `unauthenticated`.

mod stream;
mod udp;

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Deserialize;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

use crate::desk::Receivers;
use crate::tls::{Clients, server};

/// `[syslog]`: where to listen; nowhere when a key is not given.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SyslogConfig {
    /// Address and port for TLS (port 6514 by custom).
    #[serde(default)]
    pub tls: Option<SocketAddr>,
    /// Our certificate chain, PEM.
    #[serde(default)]
    pub tls_cert: Option<PathBuf>,
    /// Its private key, PEM.
    #[serde(default)]
    pub tls_key: Option<PathBuf>,
    /// The authorities that issue the senders' certificates, PEM.
    #[serde(default)]
    pub tls_client_ca: Option<PathBuf>,
    /// Address and port for plain TCP (port 601 by custom).
    #[serde(default)]
    pub tcp: Option<SocketAddr>,
    /// Address and port for UDP (port 514 by custom).
    #[serde(default)]
    pub udp: Option<SocketAddr>,
}

/// What is listened on; port 0 was replaced by the one that was taken.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Listening {
    pub tls: Option<SocketAddr>,
    pub tcp: Option<SocketAddr>,
    pub udp: Option<SocketAddr>,
}

/// Why no syslog is received; one sentence.
#[derive(Debug, thiserror::Error)]
pub enum SyslogError {
    /// A port is taken, or may not be listened on.
    #[error("syslog.{key}: {address} cannot be listened on: {what}")]
    Listen { key: &'static str, address: SocketAddr, what: io::Error },
    /// TLS without what it takes.
    #[error("syslog.tls: found no {missing}, expected tls_cert, tls_key and tls_client_ca beside it")]
    Half { missing: &'static str },
    /// A certificate or key cannot be used.
    #[error("syslog.tls: {0}")]
    Tls(io::Error),
}

/// Receives until `stop` becomes true. `ready` is called once, when all is listened on.
///
/// # Errors
/// See [`SyslogError`].
pub async fn receive(
    receivers: Receivers,
    config: &SyslogConfig,
    mut stop: watch::Receiver<bool>,
    ready: impl FnOnce(&Listening),
) -> Result<(), SyslogError> {
    let mut listening = Listening::default();
    let mut tasks = tokio::task::JoinSet::new();
    if let Some(address) = config.tls {
        let acceptor = acceptor(config)?;
        let listener = listen("tls", address).await?;
        listening.tls = listener.local_addr().ok();
        tasks.spawn(stream::accept(listener, Some(acceptor), receivers.clone(), stop.clone()));
    }
    if let Some(address) = config.tcp {
        let listener = listen("tcp", address).await?;
        listening.tcp = listener.local_addr().ok();
        tasks.spawn(stream::accept(listener, None, receivers.clone(), stop.clone()));
    }
    if let Some(address) = config.udp {
        let socket = udp::bind(address).map_err(|what| SyslogError::Listen { key: "udp", address, what })?;
        listening.udp = socket.local_addr().ok();
        tasks.spawn(udp::take(socket, receivers.clone(), stop.clone()));
    }
    ready(&listening);
    // Whoever could tell us to stop being gone means the same.
    let _ = stop.wait_for(|stop| *stop).await;
    while tasks.join_next().await.is_some() {}
    Ok(())
}

async fn listen(key: &'static str, address: SocketAddr) -> Result<TcpListener, SyslogError> {
    TcpListener::bind(address).await.map_err(|what| SyslogError::Listen { key, address, what })
}

fn acceptor(config: &SyslogConfig) -> Result<TlsAcceptor, SyslogError> {
    let needed = |path: &'static str, value: &Option<PathBuf>| {
        value.clone().ok_or(SyslogError::Half { missing: path })
    };
    let cert = needed("tls_cert", &config.tls_cert)?;
    let key = needed("tls_key", &config.tls_key)?;
    let authorities = needed("tls_client_ca", &config.tls_client_ca)?;
    let config = server(&cert, &key, Clients::MustShow(&authorities)).map_err(SyslogError::Tls)?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

impl SyslogConfig {
    /// With the paths of its files below `base`.
    #[must_use]
    pub fn below(mut self, base: &Path) -> SyslogConfig {
        for path in [&mut self.tls_cert, &mut self.tls_key, &mut self.tls_client_ca].into_iter().flatten() {
            *path = base.join(&*path);
        }
        self
    }
}
