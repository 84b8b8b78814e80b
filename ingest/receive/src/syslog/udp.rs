//! Syslog in datagrams. What the kernel had no room for is gone: it is counted where the kernel tells it.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use insyn_ingest::spool::Received;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::UdpSocket;
use tokio::sync::watch;

use crate::desk::{Desk, Receivers};

/// Asked of the kernel, which may give less.
const BUFFER: usize = 16 << 20;
/// A datagram is never longer.
const LONGEST: usize = 65_536;
/// So many datagrams become one write.
const TOGETHER: usize = 1000;
/// How often the kernel is asked what it dropped.
const ASK: Duration = Duration::from_secs(5);

pub(super) fn bind(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_nonblocking(true)?;
    socket.set_recv_buffer_size(BUFFER)?;
    socket.bind(&address.into())?;
    UdpSocket::from_std(socket.into())
}

/// Takes datagrams until told to stop.
pub(super) async fn take(socket: UdpSocket, receivers: Receivers, mut stop: watch::Receiver<bool>) {
    let mut buffer = vec![0; LONGEST];
    let mut ask = tokio::time::interval(ASK);
    let mut unknown: HashMap<IpAddr, Instant> = HashMap::new();
    loop {
        let received = tokio::select! {
            _ = stop.wait_for(|stop| *stop) => return,
            _ = ask.tick() => {
                told(&socket, &receivers);
                continue;
            }
            received = socket.recv_from(&mut buffer) => received,
        };
        let mut together: Vec<(IpAddr, Vec<u8>)> = Vec::new();
        let mut next = received;
        while let Ok((len, from)) = next {
            together.push((from.ip(), buffer.get(..len).unwrap_or_default().to_vec()));
            if together.len() >= TOGETHER {
                break;
            }
            next = socket.try_recv_from(&mut buffer);
        }
        store(&receivers, together, &mut unknown).await;
    }
}

async fn store(
    receivers: &Receivers,
    together: Vec<(IpAddr, Vec<u8>)>,
    unknown: &mut HashMap<IpAddr, Instant>,
) {
    let mut by_desk: Vec<(&Desk, Vec<Received>)> = Vec::new();
    for (from, record) in together {
        let Some(desk) = receivers.of_address(from) else {
            receivers.datagrams.unknown.fetch_add(1, Ordering::Relaxed);
            warn_of(from, unknown);
            continue;
        };
        let record = Received { record, refused: None };
        if record.record.is_empty() {
            continue;
        }
        match by_desk.iter_mut().find(|(known, _)| std::ptr::eq(*known, desk)) {
            Some((_, records)) => records.push(record),
            None => by_desk.push((desk, vec![record])),
        }
    }
    for (desk, records) in by_desk {
        let lost = records.len() as u64;
        // Nobody can be asked to send a datagram again, and others are waiting.
        if let Err(error) = desk.store(records, false).await {
            receivers.datagrams.lost.fetch_add(lost, Ordering::Relaxed);
            tracing::error!("{lost} datagrams of syslog are lost: {error}");
        }
    }
}

/// Says once a minute that an address is not known, for a few addresses.
fn warn_of(from: IpAddr, said: &mut HashMap<IpAddr, Instant>) {
    said.retain(|_, at| at.elapsed() < Duration::from_secs(60));
    if said.len() < 64 && !said.contains_key(&from) {
        said.insert(from, Instant::now());
        tracing::warn!("syslog from {from} is refused: no [[source.sender]] has this address");
    }
}

/// Notes what the kernel says it dropped at this socket.
fn told(socket: &UdpSocket, receivers: &Receivers) {
    let Some(dropped) = socket.local_addr().ok().and_then(dropped_at) else { return };
    let before = receivers.datagrams.dropped.swap(dropped, Ordering::Relaxed);
    if dropped > before {
        tracing::error!(
            "{} datagrams of syslog came faster than they were read, and are lost",
            dropped - before
        );
    }
}

/// The last column of the kernel's table of UDP sockets; none where there is no such table.
fn dropped_at(address: SocketAddr) -> Option<u64> {
    let table = if address.is_ipv4() { "/proc/net/udp" } else { "/proc/net/udp6" };
    drops_in(&std::fs::read_to_string(table).ok()?, address.port())
}

fn drops_in(table: &str, port: u16) -> Option<u64> {
    let port = format!("{port:04X}");
    let of = |line: &str| {
        let local = line.split_whitespace().nth(1)?;
        (local.rsplit(':').next() == Some(port.as_str()))
            .then(|| line.split_whitespace().last()?.parse().ok())?
    };
    table.lines().filter_map(of).reduce(|a: u64, b| a + b)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_tells_what_it_dropped() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops\n 171: 0100007F:0202 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 1 2 0 17\n 172: 0100007F:0203 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 1 2 0 4\n";
        assert_eq!(drops_in(table, 514), Some(17));
        assert_eq!(drops_in(table, 515), Some(4));
        assert_eq!(drops_in(table, 516), None);
    }

    #[tokio::test]
    async fn an_overflowing_socket_is_told_of() {
        let socket = bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let to = socket.local_addr().unwrap();
        let Some(before) = dropped_at(to) else { return };
        let sender = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        // Nobody reads.
        for _ in 0..20_000 {
            sender.send_to(&[b'x'; 60_000], to).unwrap();
            if dropped_at(to).unwrap() > before {
                return;
            }
        }
        panic!("nothing was dropped of more than a gigabyte");
    }
}
