//! RIV-TA StoreLog over SOAP.

use axum::http::StatusCode;

use crate::house::{Answer, House};

const XML: &str = "text/xml; charset=utf-8";

fn post(id: &str, system: &str, at: &str) -> String {
    format!(
        "<l:log><l:logId>{id}</l:logId><l:system><l:systemId>{system}</l:systemId></l:system><l:activity>\
         <l:activityType>Läsa</l:activityType><l:startDate>{at}</l:startDate><l:purpose>Vård och behandling</l:purpose>\
         </l:activity><l:user><l:userId>SE1-U1</l:userId><l:careProvider><l:careProviderId>P</l:careProviderId>\
         </l:careProvider><l:careUnit><l:careUnitId>U</l:careUnitId></l:careUnit></l:user><l:resources><l:resource>\
         <l:resourceType>Journal</l:resourceType><l:patient><l:patientId><l:root>1.2.752.129.2.1.3.1</l:root>\
         <l:extension>194607222389</l:extension></l:patientId></l:patient><l:careProvider><l:careProviderId>P\
         </l:careProviderId></l:careProvider></l:resource></l:resources></l:log>"
    )
}

fn call(posts: &[String]) -> String {
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?><soapenv:Envelope xmlns:soapenv=\"http://schemas.xmlsoap.org/soap/envelope/\" \
         xmlns:urn=\"urn:riv:itintegration:registry:1\" xmlns:l=\"urn:riv:informationsecurity:auditing:log:2\"><soapenv:Header>\
         <urn:LogicalAddress>SE165565594230-1000</urn:LogicalAddress></soapenv:Header><soapenv:Body>\
         <s:StoreLog xmlns:s=\"urn:riv:informationsecurity:auditing:log:StoreLogResponder:2\">{}</s:StoreLog>\
         </soapenv:Body></soapenv:Envelope>",
        posts.concat()
    )
}

fn code(answer: &Answer) -> &str {
    let text = answer.text.split("esultCode>").nth(1).unwrap_or("none");
    text.split('<').next().unwrap()
}

#[tokio::test]
async fn a_system_that_logs_nationally_logs_here_by_changing_an_address() {
    let house = House::new().await;
    let body = call(&[post("a", "SYS-A", "2026-08-31T07:07:37"), post("b", "SYS-A", "2026-08-31T07:08:00")]);
    let answer = house.post("cosmic", "/rivta/storelog/2", XML, body).await;
    assert_eq!((answer.status, code(&answer)), (StatusCode::OK, "OK"), "{}", answer.text);
    assert!(
        answer.text.contains(
            "StoreLogResponse xmlns=\"urn:riv:informationsecurity:auditing:log:StoreLogResponder:2\""
        )
    );
    let old = "<e:Envelope xmlns:e=\"http://schemas.xmlsoap.org/soap/envelope/\"><e:Body><s:StoreLogRequest xmlns:s=\"urn:riv:ehr:log:store:StoreLogResponder:1\" xmlns:t=\"urn:riv:ehr:log:1\"><s:Log><t:LogId>old</t:LogId><t:System><t:SystemId>SYS-A</t:SystemId></t:System><t:Activity><t:ActivityType>Utskrift</t:ActivityType><t:StartDate>2026-08-31T07:07:37</t:StartDate><t:Purpose>Statistik</t:Purpose></t:Activity><t:User><t:UserId>SE1-U1</t:UserId></t:User><t:Resources><t:Resource><t:ResourceType>Intyg</t:ResourceType><t:Patient><t:PatientId>194607222389</t:PatientId></t:Patient></t:Resource></t:Resources></s:Log></s:StoreLogRequest></e:Body></e:Envelope>";
    let answer = house.post("cosmic", "/rivta/storelog/1", XML, old).await;
    assert_eq!(code(&answer), "OK", "{}", answer.text);
    assert!(answer.text.contains("<ResultType><s:ResultCode>"), "{}", answer.text);
    assert_eq!(house.ingest().await.events, 3);
    let rows = house.rows("SELECT event_id, received_from, activity, subject_id, CAST(occurred_at AS VARCHAR) FROM access_events ORDER BY event_id").await;
    assert_eq!(rows[0], "a|cosmic|Läsa|194607222389|2026-08-31T05:07:37Z");
    assert!(rows[2].starts_with("old|cosmic|Utskrift|194607222389|"), "{}", rows[2]);
}

#[tokio::test]
async fn nothing_of_a_call_is_stored_when_something_in_it_is_wrong() {
    let house = House::new().await;
    let good = post("a", "SYS-A", "2026-08-31T07:07:37");
    let cases = [
        (call(&[good.clone(), post("b", "SYS-A", "i går")]), "log post 2: occurred_at"),
        (call(&[good.clone(), post("b", "SYS-B", "2026-08-31T07:07:37")]), "log post 2: system_id"),
        (call(&[]), "found no log post"),
        (call(&[good.clone(), "<l:log><l:logId>".to_owned()]), "after log post 1"),
    ];
    for (body, why) in &cases {
        let answer = house.post("cosmic", "/rivta/storelog/2", XML, body.clone()).await;
        assert_eq!((answer.status, code(&answer)), (StatusCode::OK, "VALIDATION_ERROR"), "{}", answer.text);
        assert!(answer.text.contains(why) && !answer.text.contains("går"), "{why}: {}", answer.text);
    }
    let answer = house.post("cosmic", "/rivta/storelog/2", XML, "hello").await;
    assert!(answer.text.contains("soap:Fault"), "{}", answer.text);
    let latin =
        call(&[good]).into_bytes().into_iter().map(|b| if b == b'L' { 0xe4 } else { b }).collect::<Vec<_>>();
    assert_eq!(code(&house.post("cosmic", "/rivta/storelog/2", XML, latin).await), "VALIDATION_ERROR");
    let report = house.ingest().await;
    assert_eq!((report.events, report.quarantined), (0, cases.len() as u64 + 2));
    let kept = house
        .rows("SELECT CAST(bytes AS VARCHAR) FROM quarantine WHERE reason LIKE 'log post 2: occ%'")
        .await;
    assert_eq!(kept, [cases[0].0.clone()]);
}

#[tokio::test]
async fn a_stranger_is_denied_in_the_contracts_own_words() {
    let house = House::new().await;
    let body = call(&[post("a", "SYS-A", "2026-08-31T07:07:37")]);
    for who in ["", "unknown", "reader", "other"] {
        let answer = house.post(who, "/rivta/storelog/2", XML, body.clone()).await;
        assert_eq!((answer.status, code(&answer)), (StatusCode::OK, "ACCESSDENIED"), "{who}");
    }
    assert_eq!(house.ingest().await.events, 0);
}
