//! A lake, a spool, sources with senders, and a gate that knows a few tokens.

use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Request, StatusCode};
use insyn_engine::config::Organisation;
use insyn_engine::lake::Lake;
use insyn_engine::session::{Scope, Session};
use insyn_ingest::{Ingest, Report, SourceConfig};
use insyn_receive::{Gate, PeerCertificate, Receivers, Token, router};
use tempfile::TempDir;
use tower::ServiceExt as _;

const SOURCES: &str = r#"
[[source]]
name = "journal"
format = "fhir-audit-event"
sender = [{ name = "cosmic", certificate = "cosmic.example", system_id = ["SYS-A"] }, { name = "other" }]

[[source]]
name = "npo"
format = "rivta-log"
sender = [{ name = "cosmic", system_id = ["SYS-A"] }]

[[source]]
name = "bild"
format = "dicom-audit"
sender = [{ name = "pacs", certificate = "pacs.example", address = ["127.0.0.0/8"] }]
"#;

/// Tokens are the names of their senders; `reader` may not send.
struct Names;

impl Gate for Names {
    fn token<'a>(
        &'a self,
        bearer: &'a str,
    ) -> Pin<Box<dyn Future<Output = Result<Token, String>> + Send + 'a>> {
        Box::pin(async move {
            Ok(match bearer {
                "cosmic" | "other" | "stranger" => Token::Sender(bearer.to_owned()),
                "reader" => Token::Other,
                _ => Token::Unknown,
            })
        })
    }
}

#[derive(serde::Deserialize)]
struct Sources {
    source: Vec<SourceConfig>,
}

pub struct House {
    pub folder: TempDir,
    pub receivers: Receivers,
    lake: Lake,
    organisation: Organisation,
    sources: Vec<SourceConfig>,
}

/// What came back.
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub text: String,
}

impl House {
    pub async fn new() -> House {
        let folder = tempfile::tempdir().unwrap();
        let lake = Lake::open("lake", folder.path()).await.unwrap();
        let organisation: Organisation =
            toml::from_str("id = \"SE1\"\nname = \"X\"\ntimezone = \"Europe/Stockholm\"").unwrap();
        let spool = folder.path().join("spool");
        let sources: Sources = toml::from_str(SOURCES).unwrap();
        let sources: Vec<SourceConfig> =
            sources.source.into_iter().map(|source| source.receiving_in(&spool)).collect();
        let receivers = Receivers::open(&sources, organisation.timezone, &spool, 0).unwrap();
        House { folder, receivers, lake, organisation, sources }
    }

    pub fn spool(&self) -> std::path::PathBuf {
        self.folder.path().join("spool")
    }

    /// As a program that was ended and started again.
    pub fn restart(&mut self) {
        self.restart_keeping(0);
    }

    pub fn restart_keeping(&mut self, least_free: u64) {
        let nobody = Receivers::open(&[], self.organisation.timezone, &self.spool(), 0).unwrap();
        drop(std::mem::replace(&mut self.receivers, nobody));
        let zone = self.organisation.timezone;
        self.receivers = Receivers::open(&self.sources, zone, &self.spool(), least_free).unwrap();
    }

    pub async fn post(&self, who: &str, path: &str, kind: &str, body: impl Into<Body>) -> Answer {
        let mut request = Request::post(path).header("content-type", kind);
        if !who.is_empty() {
            request = request.header("authorization", format!("Bearer {who}"));
        }
        self.ask(request.body(body.into()).unwrap()).await
    }

    /// A request over TLS with a certificate that the server found good.
    pub async fn post_with(&self, certificate: Vec<u8>, path: &str, body: String) -> Answer {
        let shown = PeerCertificate(Some(certificate.into()));
        self.ask(Request::post(path).extension(shown).body(Body::from(body)).unwrap()).await
    }

    async fn ask(&self, request: Request<Body>) -> Answer {
        let router: Router = router(self.receivers.clone(), Arc::new(Names));
        let response = router.oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let text = String::from_utf8(to_bytes(body, 1 << 20).await.unwrap().to_vec()).unwrap();
        Answer { status: parts.status, headers: parts.headers, text }
    }

    /// Reads what was received into the lake.
    pub async fn ingest(&self) -> Report {
        let (base, spool) = (self.folder.path(), self.spool());
        let ingest =
            Ingest::open(self.lake.clone(), &self.organisation, &self.sources, base, &spool).unwrap();
        ingest.once(&mut |_| {}).await.unwrap()
    }

    /// Rows of a query, columns joined by `|`.
    pub async fn rows(&self, query: &str) -> Vec<String> {
        let session = Session::open(&self.lake, self.organisation.timezone, Scope::All).await.unwrap();
        let answer = session.sql(query).await.unwrap();
        let mut rows = Vec::new();
        for batch in &answer.batches {
            for row in 0..batch.num_rows() {
                let cell = |n| {
                    let options = arrow::util::display::FormatOptions::default().with_null("-");
                    let column = arrow::util::display::ArrayFormatter::try_new(batch.column(n), &options);
                    column.unwrap().value(row).to_string()
                };
                rows.push((0..batch.num_columns()).map(cell).collect::<Vec<_>>().join("|"));
            }
        }
        rows
    }

    /// Files that lie in the spool.
    pub fn files(&self) -> usize {
        fn count(folder: &Path) -> usize {
            let entries = std::fs::read_dir(folder).unwrap().flatten();
            entries.map(|entry| if entry.path().is_dir() { count(&entry.path()) } else { 1 }).sum()
        }
        count(&self.spool().join("received"))
    }
}
