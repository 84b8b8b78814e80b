//! Syslog over connections, with TLS or without.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use insyn_formats::octets::{self, Piece};
use insyn_ingest::spool::Received;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio_rustls::TlsAcceptor;

use crate::desk::{Desk, Receivers, Way};
use crate::flight::LONGEST;

/// So many connections at once; more wait to be accepted.
const CONNECTIONS: usize = 256;
/// How long the two sides may take to agree on keys.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// While the disk refuses, nothing more is read from whoever sends, and it is tried again.
const AGAIN: Duration = Duration::from_secs(5);
/// A connection that holds more than this has taken its room among the bytes in flight.
const FREE: usize = 64 << 10;

/// Accepts until told to stop, and then lets what arrived get to disk.
pub(super) async fn accept(
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    receivers: Receivers,
    mut stop: watch::Receiver<bool>,
) {
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    let mut talks = tokio::task::JoinSet::new();
    loop {
        let accepted = tokio::select! {
            _ = stop.wait_for(|stop| *stop) => break,
            accepted = async {
                let permit = Arc::clone(&room).acquire_owned().await.ok();
                (permit, listener.accept().await)
            } => accepted,
        };
        match accepted {
            (permit, Ok((stream, peer))) => {
                let (tls, receivers, stop) = (tls.clone(), receivers.clone(), stop.clone());
                talks.spawn(async move {
                    let _permit = permit;
                    talk(stream, peer.ip(), tls, &receivers, stop).await;
                });
            }
            // Too many open files, say: whoever connects waits.
            (_, Err(error)) => {
                tracing::error!("syslog connections cannot be accepted: {error}");
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
        while talks.try_join_next().is_some() {}
    }
    while talks.join_next().await.is_some() {}
}

async fn talk(
    stream: TcpStream,
    peer: IpAddr,
    tls: Option<TlsAcceptor>,
    receivers: &Receivers,
    stop: watch::Receiver<bool>,
) {
    let Some(acceptor) = tls else {
        match receivers.of_address(peer) {
            Some(desk) => Talk { desk, receivers, proven: false }.listen(stream, stop).await,
            None => tracing::warn!("syslog from {peer} is refused: no [[source.sender]] has this address"),
        }
        return;
    };
    let stream = match tokio::time::timeout(HANDSHAKE, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return tracing::warn!("syslog over TLS from {peer} is refused: {error}"),
        Err(_) => {
            return tracing::warn!("syslog over TLS from {peer} is refused: no handshake in 10 seconds");
        }
    };
    let certificate = stream.get_ref().1.peer_certificates().and_then(<[_]>::first).cloned();
    match certificate.and_then(|certificate| receivers.of_certificate(&certificate, Way::Syslog)) {
        Some(desk) => Talk { desk, receivers, proven: true }.listen(stream, stop).await,
        None => {
            tracing::warn!("syslog over TLS from {peer} is refused: no [[source.sender]] has its certificate")
        }
    }
}

struct Talk<'a> {
    desk: &'a Desk,
    receivers: &'a Receivers,
    proven: bool,
}

impl Talk<'_> {
    /// Reads messages and puts them on disk before it reads more.
    async fn listen(&self, mut stream: impl AsyncRead + Unpin, mut stop: watch::Receiver<bool>) {
        let mut bytes = Vec::with_capacity(FREE);
        let mut room = None;
        loop {
            if bytes.len() >= FREE && room.is_none() {
                room = self.receivers.flight.take(LONGEST).await;
            }
            let read = tokio::select! {
                _ = stop.wait_for(|stop| *stop) => Ok(0),
                read = stream.read_buf(&mut bytes) => read,
            };
            let ended = !matches!(read, Ok(1..));
            let (mut records, lost) = messages(&mut bytes);
            if let Some(why) =
                lost.or((ended && !bytes.is_empty()).then_some("the connection ended inside a message"))
            {
                let record = std::mem::take(&mut bytes);
                records.push(Received { record, refused: Some(why.to_owned()) });
            }
            if !records.is_empty() && !self.store(records, &mut stop).await || ended || lost.is_some() {
                return;
            }
            if bytes.len() < FREE {
                room = None;
            }
        }
    }

    /// Tries until the disk takes them; false when it was told to stop before.
    async fn store(&self, records: Vec<Received>, stop: &mut watch::Receiver<bool>) -> bool {
        loop {
            let Err(error) = self.desk.store(records.clone(), self.proven).await else { return true };
            tracing::error!("syslog waits for the disk: {error}");
            tokio::select! {
                _ = stop.wait_for(|stop| *stop) => return false,
                () = tokio::time::sleep(AGAIN) => {}
            }
        }
    }
}

/// Takes the whole messages out of the bytes.
fn messages(bytes: &mut Vec<u8>) -> (Vec<Received>, Option<&'static str>) {
    let (mut at, mut records, mut lost) = (0, Vec::new(), None);
    loop {
        match octets::cut(bytes.get(at..).unwrap_or_default()) {
            Piece::Message { skip, len } => {
                let record = bytes.get(at + skip..at + skip + len).unwrap_or_default().to_vec();
                if !record.is_empty() {
                    records.push(Received { record, refused: None });
                }
                at += skip + len;
            }
            Piece::More => break,
            Piece::Lost(why) => {
                lost = Some(why);
                break;
            }
        }
    }
    bytes.drain(..at);
    if bytes.iter().all(|byte| byte.is_ascii_whitespace()) {
        bytes.clear();
    }
    (records, lost)
}
