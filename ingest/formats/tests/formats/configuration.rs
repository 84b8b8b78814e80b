use insyn_formats::{Format, FormatConfig, FormatError};

fn refused(text: &str) -> FormatError {
    let config: FormatConfig = toml::from_str(text).unwrap();
    Format::compile(&config, chrono_tz::Europe::Stockholm).unwrap_err()
}

#[track_caller]
fn check(text: &str, key: &str, parts: &[&str]) {
    let error = refused(text);
    assert_eq!(error.key, key, "{error}");
    for part in parts {
        assert!(error.to_string().contains(part), "{error}");
    }
}

#[test]
fn a_wrong_configuration_says_key_found_and_expected() {
    let delimited = |rest: &str| format!("format = \"delimited\"\n{rest}");
    let with_time = |rest: &str| delimited(&format!("fields.occurred_at = \"Tid\"\n{rest}"));
    check(&delimited(""), "fields.occurred_at", &["nothing"]);
    check(&with_time("fields.usre_id = \"U\""), "fields.usre_id", &["did you mean `user_id`?"]);
    check(
        &with_time("encoding = \"windows-1253\""),
        "encoding",
        &["`windows-1253`", "did you mean `windows-1252`?"],
    );
    check(&with_time("delimiter = \";;\""), "delimiter", &["`;;`", "one ASCII character"]);
    check(&with_time("quote = \",\""), "quote", &["another character"]);
    check(&with_time("time_format = \"%Q\""), "time_format", &["`%Q"]);
    check(&with_time("pattern = \"x\""), "pattern", &["format `delimited`", "only with format `pattern`"]);
    check(&with_time("constants = { year = \"2026\" }"), "constants.year", &["`year`"]);
    check(&with_time("constants = { emergency = \"ja\" }"), "constants.emergency", &["true or false"]);
    check(&with_time("constants = { user_kind = \"stab\" }"), "constants.user_kind", &["`stab`", "staff"]);
    check(&with_time("values.action.x = \"Read\""), "values.action.x", &["`Read`", "C, R, U, D or E"]);
    check(&with_time("values.outcome.x = \"ok\""), "values.outcome.x", &["minor-failure"]);
    check(&with_time("values.occurred_at.x = \"ok\""), "values.occurred_at.x", &["told by each record"]);
    let words = with_time("fields.user_id = { column = \"x\", true = [\"Ja\"] }");
    check(&words, "fields.user_id", &["only on a flag"]);
    let columns = delimited("columns = [\"Tidpunkt\"]\nfields.occurred_at = \"Tidpnkt\"");
    check(&columns, "fields", &["`Tidpnkt`", "did you mean `Tidpunkt`?"]);
    check("format = \"fhir-audit-event\"\nfields.user_id = \"x\"", "fields", &["fhir-audit-event"]);
    check("format = \"rivta-log\"\ntime_format = \"%Y\"", "time_format", &["rivta-log"]);
    check("format = \"dicom-audit\"\nvalues.emergency.x = true", "values.emergency", &["dicom-audit"]);
    check("format = \"pattern\"", "pattern", &["nothing"]);
    check("format = \"pattern\"\npattern = \"(?P<occurred_at>\"", "pattern", &["unclosed group"]);
    let group = "format = \"pattern\"\npattern = \"(?P<occurred_at>.)(?P<usr_id>.)\"";
    check(group, "fields.usr_id", &["did you mean `user_id`?"]);
    let missing = "format = \"pattern\"\npattern = \"(?P<occurred_at>.)\"\nfields.user_id = \"occured_at\"";
    check(missing, "fields.user_id", &["a group of the pattern", "did you mean `occurred_at`?"]);
    check(
        "format = \"json\"\nfields.occurred_at = \"at\"",
        "fields.occurred_at",
        &["`at`", "begins with `/`"],
    );
}

#[test]
fn a_field_takes_only_the_keys_that_it_knows() {
    let text = "format = \"delimited\"\nfields.emergency = { column = \"N\", ture = [\"Ja\"] }";
    let error = toml::from_str::<FormatConfig>(text).unwrap_err().to_string();
    assert!(error.contains("unknown key `ture`") && error.contains("did you mean `true`?"), "{error}");
    let text = "format = \"delimited\"\nfields.emergency = { true = [\"Ja\"] }";
    let error = toml::from_str::<FormatConfig>(text).unwrap_err().to_string();
    assert!(error.contains("column"), "{error}");
    let text = "format = \"delimeted\"";
    let error = toml::from_str::<FormatConfig>(text).unwrap_err().to_string();
    assert!(error.contains("delimeted") && error.contains("delimited"), "{error}");
}

#[test]
fn a_header_without_a_configured_column_refuses_the_file() {
    let format = crate::corpus::compile("format = \"delimited\"\nfields.occurred_at = \"Tidpunkt\"");
    let fault = format.open(b"Tidpunkten,Namn\n").unwrap_err();
    assert_eq!(fault.to_string(), "the header row has no column `Tidpunkt`; the nearest is `Tidpunkten`");
    let fault = format.open(b"194607222389,Tolvan Ek\n").unwrap_err();
    assert_eq!(fault.to_string(), "the header row has no column `Tidpunkt`");
    // Not whole yet: nothing to say.
    assert!(format.open(b"Tidpunkten,Na").is_ok());
    let fault = format.open(b"Tidpunkt,\"Namn\n2026-08-31,\"x\"\n").unwrap_err();
    assert_eq!(fault.to_string(), "the header row has a quoted field that is not closed");
    let fault = format.open(&[b'x'; 64 << 10]).unwrap_err();
    assert_eq!(fault.to_string(), "no header row ends within the first 32000 characters");
}

#[test]
fn a_file_of_another_kind_is_refused() {
    let open = |format: &str, head: &[u8]| {
        let config = FormatConfig::new(toml::from_str::<FormatConfig>(format).unwrap().format);
        Format::compile(&config, chrono_tz::UTC).unwrap().open(head).map(|_| ()).map_err(|f| f.to_string())
    };
    assert_eq!(
        open("format = \"fhir-audit-event\"", b"<AuditEvent xmlns=\"http://hl7.org/fhir\">"),
        Err("expected JSON, the file begins like XML".to_string())
    );
    assert_eq!(
        open("format = \"rivta-log\"", b"<html><body>404</body></html>"),
        Err("expected log elements, the file is an HTML page".to_string())
    );
    assert_eq!(open("format = \"dicom-audit\"", b"<85>1 - - - - - - x"), Ok(()));
}

#[test]
fn every_known_key_is_read() {
    let text = "format = \"delimited\"\nencoding = \"utf-8\"\ndelimiter = \";\"\nquote = \"\"\nskip_lines = 1\n\
                columns = []\ntime_format = \"x\"\npattern = \"x\"\nstart_pattern = \"x\"\nconstants = {}\nfields = {}\n\
                values = {}";
    let keys: Vec<String> = text.lines().map(|l| l.split(' ').next().unwrap().to_string()).collect();
    assert_eq!(keys, FormatConfig::known_keys());
    toml::from_str::<FormatConfig>(text).unwrap();
}
