//! Listening: plain or TLS, until told to stop.

use std::{
    io,
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    pin::Pin,
    sync::Arc,
    time::Duration,
};

use axum::Router;
use axum_server::{
    Handle,
    accept::Accept,
    tls_rustls::{RustlsAcceptor, RustlsConfig},
};
use insyn_receive::{
    PeerCertificate,
    tls::{self, Clients},
};
use serde::Deserialize;
use tokio::{net::TcpStream, sync::watch};
use tokio_rustls::server::TlsStream;
use tower_http::add_extension::AddExtension;

use crate::{app::App, routes::router};

/// How long answers that are on their way may take when the program is told to stop.
const LAST_ANSWERS: Duration = Duration::from_secs(5);

/// `[api]` of `insyn.toml`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApiConfig {
    /// Address and port; `127.0.0.1:8080` when not given. Port 0 takes a free one.
    #[serde(default = "default_listen")]
    pub listen: SocketAddr,
    /// Certificate chain, PEM.
    #[serde(default)]
    pub tls_cert: Option<PathBuf>,
    /// Its private key, PEM.
    #[serde(default)]
    pub tls_key: Option<PathBuf>,
    /// The authorities whose certificates senders of logs may show, PEM.
    #[serde(default)]
    pub tls_client_ca: Option<PathBuf>,
    /// TLS ends at a proxy before this: then plain HTTP may be served beyond loopback, and cookies are for TLS all the
    /// same.
    #[serde(default)]
    pub behind_proxy: bool,
}

impl Default for ApiConfig {
    fn default() -> ApiConfig {
        ApiConfig {
            listen: default_listen(),
            tls_cert: None,
            tls_key: None,
            tls_client_ca: None,
            behind_proxy: false,
        }
    }
}

impl ApiConfig {
    /// Whether people reach it through TLS.
    pub fn is_tls(&self) -> bool {
        self.behind_proxy || self.tls_cert.is_some() || self.tls_key.is_some()
    }

    /// Plain HTTP beyond this machine shows passwords and records to whoever listens on the way.
    ///
    /// # Errors
    /// [`ApiError::Plain`].
    pub fn check(&self) -> Result<(), ApiError> {
        if self.is_tls() || self.listen.ip().is_loopback() {
            return Ok(());
        }
        Err(ApiError::Plain { address: self.listen })
    }
}

fn default_listen() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 8080))
}

/// Why nothing is served.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    #[error(
        "api.listen: {address} is in use by another program; choose another port, or end the other program"
    )]
    InUse { address: SocketAddr },
    #[error("api.listen: {address} cannot be listened on: {what}")]
    Listen { address: SocketAddr, what: io::Error },
    #[error("api.tls_cert and api.tls_key: found only {found}, expected both or none")]
    HalfTls { found: &'static str },
    #[error(
        "{address} is reached from other machines and no TLS is configured; give api.tls_cert and api.tls_key, \
         or listen on loopback, or say api.behind_proxy = true where a proxy ends TLS"
    )]
    Plain { address: SocketAddr },
    #[error("api.tls_client_ca: found no tls_cert and tls_key beside it, expected both")]
    ClientsWithoutTls,
    #[error("api: expected a PEM certificate chain, its key, and authorities: {0}")]
    Tls(io::Error),
    #[error("serving {address} ended: {what}")]
    Ended { address: SocketAddr, what: io::Error },
}

/// Serves `app` until `stop` becomes true. `ready` is called once, with the address that is listened on.
///
/// # Errors
/// See [`ApiError`]; each is one sentence for the one who started the program.
pub async fn serve(
    app: App,
    config: ApiConfig,
    stop: watch::Receiver<bool>,
    ready: impl FnOnce(SocketAddr),
) -> Result<(), ApiError> {
    serve_router(with_receivers(app), config, stop, ready).await
}

/// All routes: ours, and where records are received.
fn with_receivers(app: App) -> Router {
    let receivers = insyn_receive::router(app.receivers.clone(), Arc::new(app.clone()));
    router(app).merge(receivers)
}

/// As [`serve`], for a router that more was merged into.
///
/// # Errors
/// As [`serve`].
pub async fn serve_router(
    router: Router,
    config: ApiConfig,
    stop: watch::Receiver<bool>,
    ready: impl FnOnce(SocketAddr),
) -> Result<(), ApiError> {
    config.check()?;
    let tls = match (&config.tls_cert, &config.tls_key) {
        (Some(cert), Some(key)) => Some(load(cert, key, config.tls_client_ca.as_deref())?),
        (None, None) if config.tls_client_ca.is_some() => return Err(ApiError::ClientsWithoutTls),
        (None, None) => None,
        (Some(_), None) => return Err(ApiError::HalfTls { found: "tls_cert" }),
        (None, Some(_)) => return Err(ApiError::HalfTls { found: "tls_key" }),
    };
    let asked = config.listen;
    let listener = listen(asked)?;
    let address = listener.local_addr().map_err(|what| ApiError::Listen { address: asked, what })?;
    let handle = Handle::new();
    tokio::spawn(end_on(stop, handle.clone()));
    ready(address);
    let service = router.into_make_service_with_connect_info::<SocketAddr>();
    let ended = |what| ApiError::Ended { address, what };
    match tls {
        Some(tls) => {
            let server = axum_server::from_tcp(listener).map_err(ended)?.acceptor(tls);
            server.handle(handle).serve(service).await.map_err(ended)
        }
        None => {
            let server = axum_server::from_tcp(listener).map_err(ended)?;
            server.handle(handle).serve(service).await.map_err(ended)
        }
    }
}

fn listen(address: SocketAddr) -> Result<TcpListener, ApiError> {
    let fault = |what: io::Error| match what.kind() {
        io::ErrorKind::AddrInUse => ApiError::InUse { address },
        _ => ApiError::Listen { address, what },
    };
    let listener = TcpListener::bind(address).map_err(fault)?;
    listener.set_nonblocking(true).map_err(fault)?;
    Ok(listener)
}

fn load(cert: &Path, key: &Path, authorities: Option<&Path>) -> Result<TlsDoor, ApiError> {
    let clients = authorities.map_or(Clients::Anonymous, Clients::MayShow);
    let mut config = tls::server(cert, key, clients).map_err(ApiError::Tls)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(TlsDoor(RustlsAcceptor::new(RustlsConfig::from_config(Arc::new(config)))))
}

/// Lets in over TLS, and notes which certificate the client showed.
#[derive(Clone)]
struct TlsDoor(RustlsAcceptor);

impl<S: Send + 'static> Accept<TcpStream, S> for TlsDoor {
    type Stream = TlsStream<TcpStream>;
    type Service = AddExtension<S, PeerCertificate>;
    type Future = Pin<Box<dyn Future<Output = io::Result<(Self::Stream, Self::Service)>> + Send>>;

    fn accept(&self, stream: TcpStream, service: S) -> Self::Future {
        let accepted = self.0.accept(stream, service);
        Box::pin(async move {
            let (stream, service) = accepted.await?;
            let shown = stream.get_ref().1.peer_certificates().and_then(<[_]>::first).cloned();
            Ok((stream, AddExtension::new(service, PeerCertificate(shown))))
        })
    }
}

async fn end_on(mut stop: watch::Receiver<bool>, handle: Handle<SocketAddr>) {
    // When the sender is gone nobody can tell us to stop any more, which means the same.
    let _ = stop.wait_for(|stop| *stop).await;
    handle.graceful_shutdown(Some(LAST_ANSWERS));
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_taken_port_is_one_clear_sentence() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let config = ApiConfig { listen: taken.local_addr().unwrap(), ..ApiConfig::default() };
        let (_stop, stopped) = watch::channel(false);
        let error = serve_router(Router::new(), config.clone(), stopped, |_| {}).await.unwrap_err();
        let text = error.to_string();
        assert!(matches!(error, ApiError::InUse { .. }), "{text}");
        assert!(text.contains(&config.listen.to_string()) && !text.contains('\n'), "{text}");
    }

    #[tokio::test]
    async fn it_says_when_it_is_ready_and_ends_when_told() {
        let config = ApiConfig { listen: "127.0.0.1:0".parse().unwrap(), ..ApiConfig::default() };
        let (stop, stopped) = watch::channel(false);
        let (said, ready) = tokio::sync::oneshot::channel();
        let serving = tokio::spawn(serve_router(Router::new(), config, stopped, move |address| {
            said.send(address).unwrap();
        }));
        assert_ne!(ready.await.unwrap().port(), 0);
        stop.send(true).unwrap();
        tokio::time::timeout(Duration::from_secs(20), serving).await.unwrap().unwrap().unwrap();
    }

    #[tokio::test]
    async fn half_a_tls_configuration_is_refused() {
        let config = ApiConfig { tls_cert: Some("c.pem".into()), ..ApiConfig::default() };
        let (_stop, stopped) = watch::channel(false);
        assert!(matches!(
            serve_router(Router::new(), config, stopped, |_| {}).await,
            Err(ApiError::HalfTls { found: "tls_cert" })
        ));
    }
}
