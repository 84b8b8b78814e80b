//! The parts of `insyn.toml` that the engine itself reads.

use std::path::PathBuf;

use chrono_tz::Tz;
use serde::Deserialize;

/// `[organisation]`: whose installation this is, and in which zone its people live.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Organisation {
    /// The organisation's id, e.g. `SE2321000016`.
    pub id: String,
    /// Its name, for people.
    pub name: String,
    /// The zone of local times and calendar days; `Europe/Stockholm` when not given.
    #[serde(default = "stockholm", deserialize_with = "zone")]
    pub timezone: Tz,
}

/// `[lake]`: where the Delta tables lie.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LakeConfig {
    /// A folder (relative to the folder of `insyn.toml`), or a bucket and a path in it, as `s3://bucket/lake`.
    pub url: String,
    /// So many MiB stay free on its disk: nothing is read or received below that. A bucket has no disk; what is
    /// received lies on that of the spool.
    #[serde(default = "least_free")]
    pub least_free_mb: u64,
    /// How the bucket is reached.
    #[serde(default)]
    pub s3: Option<S3Config>,
}

/// `[lake.s3]`: what the environment (`AWS_ENDPOINT`, `AWS_REGION` and so on) does not say of the bucket, or says otherwise.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct S3Config {
    /// Where the store is, as `https://s3.example.se`; Amazon's own when left out.
    pub endpoint: Option<String>,
    /// Its region; `us-east-1` when nobody says.
    pub region: Option<String>,
    /// Whether the endpoint may be `http:`.
    #[serde(default)]
    pub allow_http: bool,
    /// Who we are there. It is a name and no secret.
    pub access_key_id: Option<String>,
    /// The file with its secret, for the owner alone.
    pub secret_access_key_file: Option<PathBuf>,
}

impl From<&str> for LakeConfig {
    /// The lake at this url, with everything else as it is when nobody says.
    fn from(url: &str) -> LakeConfig {
        LakeConfig { url: url.to_owned(), least_free_mb: least_free(), s3: None }
    }
}

impl From<&LakeConfig> for LakeConfig {
    fn from(config: &LakeConfig) -> LakeConfig {
        config.clone()
    }
}

impl LakeConfig {
    /// The same in bytes.
    #[must_use]
    pub fn least_free(&self) -> u64 {
        self.least_free_mb.saturating_mul(1 << 20)
    }
}

fn least_free() -> u64 {
    512
}

/// `[context]`: where the context tables are delivered.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ContextConfig {
    /// The folder with `units.csv`, `staff.parquet` and the others.
    pub dir: PathBuf,
}

fn stockholm() -> Tz {
    Tz::Europe__Stockholm
}

fn zone<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Tz, D::Error> {
    let name = String::deserialize(deserializer)?;
    name.parse().map_err(|_| {
        serde::de::Error::custom(format!(
            "found \"{name}\", expected a zone of the IANA time zone database, as \"Europe/Stockholm\""
        ))
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    #[test]
    fn the_zone_is_stockholm_unless_said_otherwise() {
        let organisation: Organisation = serde_json::from_str(r#"{"id":"SE1","name":"Exempel"}"#).unwrap();
        assert_eq!(organisation.timezone, Tz::Europe__Stockholm);
        let organisation: Organisation =
            serde_json::from_str(r#"{"id":"SE1","name":"Exempel","timezone":"Europe/Helsinki"}"#).unwrap();
        assert_eq!(organisation.timezone, Tz::Europe__Helsinki);
    }

    #[test]
    fn a_wrong_zone_says_what_was_found_and_expected() {
        let error = serde_json::from_str::<Organisation>(r#"{"id":"SE1","name":"E","timezone":"Stockholm"}"#)
            .unwrap_err()
            .to_string();
        assert!(error.contains("\"Stockholm\"") && error.contains("Europe/Stockholm"), "{error}");
    }

    #[test]
    fn an_unknown_key_is_refused() {
        assert!(serde_json::from_str::<LakeConfig>(r#"{"url":"./lake","uri":"x"}"#).is_err());
    }
}
