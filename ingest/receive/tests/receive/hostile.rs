//! What is meant to hurt, through each door: refused in the protocol's own words, and kept to the byte.

use axum::http::StatusCode;
use insyn_receive::syslog::SyslogConfig;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use crate::house::House;
use crate::syslog::{Running, any_port, message, stored};

const JSON: &str = "application/fhir+json";
const XML: &str = "text/xml; charset=utf-8";

/// What lies in quarantine, in the order in which it came.
async fn quarantined(house: &House) -> Vec<String> {
    house.rows("SELECT bytes FROM quarantine ORDER BY file_offset").await
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn replaced(text: &str, from: &str, to: &[u8]) -> Vec<u8> {
    let (before, after) = text.split_once(from).unwrap();
    [before.as_bytes(), to, after.as_bytes()].concat()
}

#[tokio::test]
async fn fhir_that_is_meant_to_hurt_is_refused_and_kept() {
    let house = House::new().await;
    let event = "{\"resourceType\":\"AuditEvent\",\"id\":\"X\",\"recorded\":\"2026-08-31T05:07:37Z\",\
                 \"source\":{\"observer\":{\"identifier\":{\"value\":\"SYS-A\"}}}}";
    let deep = format!("{}{}", "[".repeat(200), "]".repeat(200));
    let bomb = "<!DOCTYPE a [<!ENTITY a \"aaaa\"><!ENTITY b \"&a;&a;\">]><AuditEvent><id value=\"&b;\"/></AuditEvent>";
    let cases: [(&str, Vec<u8>, u16); 9] = [
        (JSON, event.as_bytes()[..60].to_vec(), 400),
        (JSON, replaced(event, "\"X\"", deep.as_bytes()), 422),
        (JSON, replaced(event, "\"X\"", "{\"a\":".repeat(100_000).as_bytes()), 400),
        ("application/fhir+xml", bomb.into(), 415),
        (JSON, bomb.into(), 400),
        (JSON, replaced(event, "\"X\"", b"1e999"), 422),
        (JSON, replaced(event, "X", b"a\0b"), 400),
        (JSON, replaced(event, "X", b"\xc3\x28\xff"), 422),
        (JSON, replaced(event, "2026-08-31T05:07:37Z", b"+999999-01-01T00:00:00Z"), 422),
    ];
    for (kind, body, status) in &cases {
        let answer = house.post("cosmic", "/fhir/AuditEvent", kind, body.clone()).await;
        assert_eq!(answer.status.as_u16(), *status, "{}: {}", String::from_utf8_lossy(body), answer.text);
    }
    let report = house.ingest().await;
    assert_eq!((report.events, report.quarantined), (0, cases.len() as u64));
    assert_eq!(quarantined(&house).await, cases.map(|(_, body, _)| hex(&body)));
}

#[tokio::test]
async fn a_bundle_of_more_entries_than_a_log_sends_is_refused_whole() {
    let house = House::new().await;
    let bundle = |entries: usize| {
        let entries = vec!["1"; entries].join(",");
        format!("{{\"resourceType\":\"Bundle\",\"type\":\"batch\",\"entry\":[{entries}]}}").into_bytes()
    };
    let body = bundle(10_001);
    let answer = house.post("cosmic", "/fhir", JSON, body.clone()).await;
    assert_eq!(answer.status.as_u16(), 422);
    assert!(answer.text.contains("more than 10000 entries"), "{}", answer.text);
    let report = house.ingest().await;
    assert_eq!((report.events, report.quarantined), (0, 1));
    assert_eq!(quarantined(&house).await, [hex(&body)]);
    let answer = house.post("cosmic", "/fhir", JSON, bundle(3)).await;
    assert_eq!(answer.status.as_u16(), 200, "each is answered by itself");
}

#[tokio::test]
async fn soap_that_is_meant_to_hurt_is_refused_and_kept() {
    let house = House::new().await;
    let post = "<log><logId>X</logId><system><systemId>SYS-A</systemId></system><activity><startDate>\
                2026-08-31T07:07:37</startDate></activity></log>";
    let envelope = |post: &[u8]| [b"<Envelope><Body>", post, b"</Body></Envelope>"].concat();
    let entity = |declared: &str| {
        [
            format!("<!DOCTYPE a [<!ENTITY x {declared}>]>").into_bytes(),
            envelope(&replaced(post, "X", b"&x;")),
        ]
        .concat()
    };
    let deep = format!("{}{}", "<a>".repeat(100_000), "</a>".repeat(100_000));
    let cases = [
        envelope(&post.as_bytes()[..60]),
        envelope(&post.as_bytes()[20..]),
        envelope(&replaced(post, "X", deep.as_bytes())),
        entity("\"&x;&x;&x;\""),
        entity("SYSTEM \"file:///etc/passwd\""),
        envelope(&replaced(post, "X", b"&#x110000;")),
        envelope(&replaced(post, "X", b"\xc3\x28\xff")),
        envelope(&replaced(post, "<log>", b"<log\0>")),
        envelope(&[b"<m><![CDATA[", post.as_bytes(), b"]]></m>"].concat()),
        envelope(post.replace('<', "&lt;").as_bytes()),
    ];
    for body in &cases {
        let answer = house.post("cosmic", "/rivta/storelog/2", XML, body.clone()).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
        assert!(answer.text.contains("resultCode>VALIDATION_ERROR<"), "{}", answer.text);
    }
    let report = house.ingest().await;
    assert_eq!((report.events, report.quarantined), (0, cases.len() as u64));
    assert_eq!(quarantined(&house).await, cases.map(|body| hex(&body)));
}

#[tokio::test]
async fn syslog_that_is_meant_to_hurt_is_kept_and_hurts_no_other_connection() {
    let house = House::new().await;
    let config = SyslogConfig { tcp: any_port(), ..SyslogConfig::default() };
    let running = Running::start(&house, config).await;
    let counted = |bytes: &[u8]| [format!("{} ", bytes.len()).as_bytes(), bytes].concat();
    let good = message(1);
    let deep = format!("{}{}", "<a>".repeat(100_000), "</a>".repeat(100_000));
    let bad = [
        replaced(
            &good,
            "<AuditMessage>",
            b"<!DOCTYPE a [<!ENTITY b \"x\">]><AuditMessage a=\"&b;\"><b>&b;</b>",
        ),
        replaced(&good, "</AuditMessage>", deep.as_bytes()),
        replaced(&good, "pacs", b"p\xe5cs"),
        replaced(&good, "T07:07:01", b"T\0"),
        [good.as_bytes(), good.as_bytes()].concat(),
        good.as_bytes()[..300].to_vec(),
    ];
    let lost: [&[u8]; 4] =
        [b"99999999999 <85>1 x", b"16777217 <85>1 x", b"12x<85>1 x", b"500 <85>1 is never whole"];
    let mut expected = Vec::new();
    for (n, bytes) in bad.iter().map(|record| counted(record)).chain(lost.map(<[u8]>::to_vec)).enumerate() {
        let mut stream = TcpStream::connect(running.listening.tcp.unwrap()).await.unwrap();
        stream.write_all(&[counted(good.as_bytes()), bytes].concat()).await.unwrap();
        stream.shutdown().await.unwrap();
        // One after the other: what is kept is kept in this order.
        stored(&house, 2 * (n as u64 + 1)).await;
        expected.push(hex(bad.get(n).map_or_else(|| lost[n - bad.len()], Vec::as_slice)));
    }
    running.stop().await;
    let report = house.ingest().await;
    assert_eq!((report.events, report.quarantined), (expected.len() as u64, expected.len() as u64));
    assert_eq!(quarantined(&house).await, expected);
}
