//! Cases as text: `sql/*.txt`. A case is a comment, a query in SQL or a trace (see [`crate::asked`]), `----`, and what comes back as CSV (or
//! `error: …`).
//! With `INSYN_UPDATE=1` the files are rewritten with what came back.

use std::fmt::Write as _;
use std::path::Path;

use insyn_engine::output::{self, Format};
use insyn_engine::session::{Limits, Session};

use crate::asked;
use crate::world::{self, ZONE};

#[tokio::test]
async fn functions() {
    run("functions", Limits::default()).await;
}

#[tokio::test]
async fn tables() {
    run("tables", Limits::default()).await;
}

#[tokio::test]
async fn mistakes() {
    run("mistakes", Limits::default()).await;
}

#[tokio::test]
async fn denied_columns() {
    let denied_columns = vec!["record".to_owned(), "user_name".to_owned()];
    run("denied", Limits { denied_columns, ..Limits::default() }).await;
}

#[tokio::test]
async fn whose_records_are_shown() {
    run("shown", Limits::default()).await;
}

#[tokio::test]
async fn traces() {
    run("traces", Limits::default()).await;
}

async fn run(name: &str, limits: Limits) {
    let path = Path::new(&std::env::var_os("CARGO_MANIFEST_DIR").unwrap())
        .join(format!("tests/engine/sql/{name}.txt"));
    let written = std::fs::read_to_string(&path).unwrap();
    let world = world::small().await;
    let session = world.session().await.with_limits(limits);
    let mut got = String::new();
    let mut cases = 0;
    for case in written.trim_end().split("\n\n") {
        let (question, _) = case.split_once("\n----").unwrap_or((case, ""));
        let query: String = question.lines().filter(|l| !l.starts_with('#')).collect::<Vec<_>>().join("\n");
        if !got.is_empty() {
            got.push('\n');
        }
        if query.trim().is_empty() {
            writeln!(got, "{question}").unwrap();
            continue;
        }
        cases += 1;
        write!(got, "{question}\n----\n{}", answer(&session, &query, name == "shown").await).unwrap();
    }
    assert!(cases > 0, "{name} has no cases");
    if std::env::var_os("INSYN_UPDATE").is_some() {
        std::fs::write(&path, &got).unwrap();
    }
    assert_eq!(got, written, "{name}: INSYN_UPDATE=1 rewrites the file");
}

async fn answer(session: &Session, query: &str, whose: bool) -> String {
    if let Some(traced) = asked::answer(session, query).await {
        return traced;
    }
    match session.sql(query).await {
        Ok(answer) => {
            let mut text = Vec::new();
            output::write(Format::Csv, &answer.schema, &answer.batches, ZONE, &mut text).unwrap();
            let rows = String::from_utf8(text).unwrap().replace("\r\n", "\n");
            if whose { format!("{rows}whose: {}\n", answer.subjects().join(" ")) } else { rows }
        }
        Err(e) => format!("error: {e}\n"),
    }
}
