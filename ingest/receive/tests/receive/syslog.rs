//! Syslog over TLS, TCP and UDP, on loopback.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use insyn_receive::syslog::{Listening, SyslogConfig, receive};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::sync::{oneshot, watch};
use tokio_rustls::TlsConnector;

use crate::house::House;

pub fn message(n: u32) -> String {
    format!(
        "<85>1 2026-08-31T07:07:37.000Z pacs app 1 IHE+RFC-3881 - <?xml version=\"1.0\"?>\n<AuditMessage>\
         <EventIdentification EventActionCode=\"R\" EventDateTime=\"2026-08-31T07:07:{:02}Z\" EventOutcomeIndicator=\"0\">\
         <EventID csd-code=\"110110\" codeSystemName=\"DCM\" originalText=\"Patient Record\"/></EventIdentification>\
         <ActiveParticipant UserID=\"SE1-U{n}\" UserIsRequestor=\"true\"/>\
         <AuditSourceIdentification AuditSourceID=\"SYS-P\"/>\
         <ParticipantObjectIdentification ParticipantObjectID=\"194607222389\" ParticipantObjectTypeCode=\"1\" \
         ParticipantObjectTypeCodeRole=\"1\"/></AuditMessage>",
        n % 60
    )
}

/// A certificate authority, and files as an operator would have them.
struct Tls {
    folder: tempfile::TempDir,
    issuer: Issuer<'static, KeyPair>,
}

impl Tls {
    fn new() -> Tls {
        let folder = tempfile::tempdir().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        std::fs::write(folder.path().join("ca.pem"), params.self_signed(&key).unwrap().pem()).unwrap();
        let tls = Tls { folder, issuer: Issuer::new(params, key) };
        tls.issue("localhost");
        tls
    }

    fn issue(&self, name: &str) {
        let key = KeyPair::generate().unwrap();
        let certificate =
            CertificateParams::new(vec![name.to_owned()]).unwrap().signed_by(&key, &self.issuer).unwrap();
        std::fs::write(self.path(&format!("{name}.pem")), certificate.pem()).unwrap();
        std::fs::write(self.path(&format!("{name}.key")), key.serialize_pem()).unwrap();
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(name)
    }

    fn connector(&self, name: Option<&str>) -> TlsConnector {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(self.path("ca.pem")).unwrap()).unwrap();
        let builder = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
        let config = match name {
            None => builder.with_no_client_auth(),
            Some(name) => {
                let chain = vec![CertificateDer::from_pem_file(self.path(&format!("{name}.pem"))).unwrap()];
                let key = PrivateKeyDer::from_pem_file(self.path(&format!("{name}.key"))).unwrap();
                builder.with_client_auth_cert(chain, key).unwrap()
            }
        };
        TlsConnector::from(Arc::new(config))
    }
}

pub struct Running {
    pub listening: Listening,
    stop: watch::Sender<bool>,
    task: tokio::task::JoinHandle<()>,
}

impl Running {
    pub async fn start(house: &House, config: SyslogConfig) -> Running {
        let (stop, stopped) = watch::channel(false);
        let (said, ready) = oneshot::channel();
        let receivers = house.receivers.clone();
        let task = tokio::spawn(async move {
            receive(receivers, &config, stopped, |listening| said.send(listening.clone()).unwrap())
                .await
                .unwrap();
        });
        Running { listening: ready.await.unwrap(), stop, task }
    }

    pub async fn stop(self) {
        self.stop.send(true).unwrap();
        tokio::time::timeout(Duration::from_secs(20), self.task).await.unwrap().unwrap();
    }
}

/// Until so many records of the sender `pacs` are on disk.
pub async fn stored(house: &House, records: u64) {
    for _ in 0..400 {
        let counted = house.receivers.counted();
        let pacs = counted.iter().find(|one| one.sender == "pacs").unwrap();
        if pacs.stored + pacs.refused >= records {
            return;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    panic!("found {:?}, expected {records}", house.receivers.counted());
}

pub fn any_port() -> Option<SocketAddr> {
    Some("127.0.0.1:0".parse().unwrap())
}

#[tokio::test]
async fn over_tls_the_certificate_says_who_sends() {
    let house = House::new().await;
    let tls = Tls::new();
    for name in ["pacs.example", "stranger.example"] {
        tls.issue(name);
    }
    let config = SyslogConfig {
        tls: any_port(),
        tls_cert: Some("localhost.pem".into()),
        tls_key: Some("localhost.key".into()),
        tls_client_ca: Some("ca.pem".into()),
        ..SyslogConfig::default()
    };
    let running = Running::start(&house, config.below(tls.folder.path())).await;
    let to = running.listening.tls.unwrap();
    let connect = async |name: Option<&str>| {
        let stream = TcpStream::connect(to).await.unwrap();
        let server = ServerName::try_from("localhost").unwrap();
        tls.connector(name).connect(server, stream).await
    };
    // In TLS 1.3 a client learns only by reading that its certificate was refused; nothing it says is kept.
    for name in [None, Some("stranger.example")] {
        if let Ok(mut stream) = connect(name).await {
            let text = message(9);
            let _ = stream.write_all(format!("{} {text}", text.len()).as_bytes()).await;
            let _ = stream.shutdown().await;
        }
    }
    let mut stream = connect(Some("pacs.example")).await.unwrap();
    let mut bytes = String::new();
    for n in 0..500 {
        let text = message(n);
        bytes.push_str(&format!("{} {text}", text.len()));
    }
    for part in bytes.as_bytes().chunks(4099) {
        stream.write_all(part).await.unwrap();
    }
    stream.write_all(b"99 <85>1 this one is never").await.unwrap();
    stream.shutdown().await.unwrap();
    stored(&house, 501).await;
    running.stop().await;
    let report = house.ingest().await;
    assert_eq!((report.events, report.quarantined), (500, 1));
    let rows = house
        .rows("SELECT received_from, subject_id, user_id, system_id, record FROM access_events ORDER BY file_offset")
        .await;
    assert_eq!(rows[7], format!("pacs|194607222389|SE1-U7|SYS-P|{}", message(7)));
    let rest = house.rows("SELECT reason, CAST(bytes AS VARCHAR) FROM quarantine").await;
    assert_eq!(rest, ["the connection ended inside a message|99 <85>1 this one is never"]);
}

#[tokio::test]
async fn without_tls_an_address_vouches_for_nothing() {
    let house = House::new().await;
    let config = SyslogConfig { tcp: any_port(), udp: any_port(), ..SyslogConfig::default() };
    let running = Running::start(&house, config).await;
    let mut stream = TcpStream::connect(running.listening.tcp.unwrap()).await.unwrap();
    let line = message(1).replace('\n', " ");
    stream.write_all(format!("{line}\n{line}\r\n").as_bytes()).await.unwrap();
    let socket = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    for n in 2..102 {
        socket.send_to(message(n).as_bytes(), running.listening.udp.unwrap()).await.unwrap();
    }
    stored(&house, 102).await;
    running.stop().await;
    assert_eq!(house.ingest().await.events, 102);
    let from = house.rows("SELECT received_from, count(*) FROM access_events GROUP BY received_from").await;
    assert_eq!(from, ["unauthenticated|102"]);
}

#[tokio::test]
async fn what_cannot_be_listened_on_is_one_sentence() {
    let house = House::new().await;
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let (_stop, stopped) = watch::channel(false);
    let config = SyslogConfig { tcp: taken.local_addr().ok(), ..SyslogConfig::default() };
    let error =
        receive(house.receivers.clone(), &config, stopped.clone(), |_| {}).await.unwrap_err().to_string();
    assert!(error.starts_with("syslog.tcp: 127.0.0.1:") && !error.contains('\n'), "{error}");
    let config = SyslogConfig { tls: any_port(), ..SyslogConfig::default() };
    let error =
        receive(house.receivers.clone(), &config, stopped.clone(), |_| {}).await.unwrap_err().to_string();
    assert!(error.contains("found no tls_cert"), "{error}");
    let missing = SyslogConfig {
        tls_cert: Some("c".into()),
        tls_key: Some("k".into()),
        tls_client_ca: Some("a".into()),
        ..config
    };
    let error =
        receive(house.receivers.clone(), &missing.below(Path::new("/nowhere")), stopped, |_| {}).await;
    assert!(error.unwrap_err().to_string().contains("/nowhere/c"));
}
