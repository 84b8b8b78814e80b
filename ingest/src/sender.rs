//! `[[source.sender]]`: who may send records to a source, and what for.

use std::net::IpAddr;
use std::path::Path;

use ipnet::IpNet;
use serde::{Deserialize, Deserializer};

use crate::config::{SourceConfig, SourceFault};

/// What `received_from` says of a record whose sender only an address vouches for.
pub const UNAUTHENTICATED: &str = "unauthenticated";
/// Behind a sender's name: the folder of what came from its address, unproven.
const UNPROVEN: &str = "@unauthenticated";

/// One system that sends. Nobody may plant evidence against a colleague: what it sends goes to this source only, and
/// only in the name of its own systems.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SenderConfig {
    /// What `received_from` says; also the name of its token (`insyn token create --name`).
    pub name: String,
    /// A name that its TLS certificate is made out to (a DNS name among its subject alternative names).
    #[serde(default)]
    pub certificate: Option<String>,
    /// Addresses or networks that its syslog comes from without TLS. Anyone can write an address on a datagram: such
    /// records are marked `unauthenticated`.
    #[serde(default, deserialize_with = "networks")]
    pub address: Vec<IpNet>,
    /// The systems in whose name it may speak (`system_id`); any when empty.
    #[serde(default)]
    pub system_id: Vec<String>,
}

impl SenderConfig {
    pub(crate) fn check(&self) -> Result<(), SourceFault> {
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        if self.name.is_empty() || !self.name.chars().all(plain) || self.name == UNAUTHENTICATED {
            return Err(SourceFault {
                key: "sender".into(),
                found: format!("the name \"{}\"", self.name),
                expected: "a name of letters, digits, `-`, `_` and `.`, and not `unauthenticated`".into(),
            });
        }
        Ok(())
    }

    /// Whether a record that names this system may come from here.
    #[must_use]
    pub fn speaks_for(&self, system_id: Option<&str>) -> bool {
        self.system_id.is_empty() || system_id.is_none_or(|id| self.system_id.iter().any(|own| own == id))
    }

    /// The folder of its records, below its source's.
    #[must_use]
    pub fn folder(&self, proven: bool) -> String {
        format!("{}{}", self.name, if proven { "" } else { UNPROVEN })
    }
}

/// Where a file's records came from, when they were received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Origin<'a> {
    /// What `received_from` says.
    pub received_from: String,
    /// None when the sender is not configured any more.
    pub sender: Option<&'a SenderConfig>,
}

impl SourceConfig {
    /// Who sent what says so in `received_from`.
    pub(crate) fn origin(&self, received_from: &str) -> Origin<'_> {
        let sender = self.sender.iter().find(|sender| sender.name == received_from);
        Origin { received_from: received_from.to_owned(), sender }
    }

    /// Who sent the records of this file; none for a file that nobody sent.
    pub(crate) fn sender_of(&self, path: &Path) -> Option<Origin<'_>> {
        let folder = path.strip_prefix(self.spool.as_ref()?).ok()?.components().next()?;
        let folder = folder.as_os_str().to_string_lossy();
        let (name, proven) = match folder.strip_suffix(UNPROVEN) {
            Some(name) => (name, false),
            None => (&*folder, true),
        };
        let received_from = if proven { name } else { UNAUTHENTICATED }.to_owned();
        Some(Origin { received_from, sender: self.sender.iter().find(|sender| sender.name == name) })
    }
}

fn networks<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<IpNet>, D::Error> {
    let texts = Vec::<String>::deserialize(deserializer)?;
    let network = |text: &String| {
        let address = text.parse::<IpAddr>().map(IpNet::from);
        address.or_else(|_| text.parse()).map_err(|_| {
            let expected = "an address or a network, as \"10.0.0.7\" or \"10.0.0.0/8\"";
            serde::de::Error::invalid_value(serde::de::Unexpected::Str(text), &expected)
        })
    };
    texts.iter().map(network).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const SOURCE: &str = "name = \"s\"\nformat = \"dicom-audit\"\n[[sender]]\nname = \"pacs\"\naddress = [\"10.0.0.0/8\", \"::1\"]\nsystem_id = [\"A\"]\n";

    #[test]
    fn a_file_of_the_spool_tells_its_sender() {
        let source: SourceConfig = toml::from_str(SOURCE).unwrap();
        source.check().unwrap();
        let source = source.receiving_in(Path::new("/spool"));
        let of = |path: &str| {
            source.sender_of(Path::new(path)).map(|from| (from.received_from, from.sender.is_some()))
        };
        assert_eq!(of("/spool/received/s/pacs/x.spool"), Some(("pacs".into(), true)));
        assert_eq!(
            of("/spool/received/s/pacs@unauthenticated/x.spool"),
            Some(("unauthenticated".into(), true))
        );
        assert_eq!(of("/spool/received/s/old/x.spool"), Some(("old".into(), false)));
        assert_eq!(of("/logs/pacs/x.log"), None);
        assert!(source.sender[0].speaks_for(Some("A")) && source.sender[0].speaks_for(None));
        assert!(!source.sender[0].speaks_for(Some("B")));
        assert!(source.sender[0].address[1].contains(&"::1".parse::<IpAddr>().unwrap()));
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (wrong, names) in [
            ("address = [\"10.0.0/8\"]", "10.0.0/8"),
            ("addres = []", "addres"),
            ("certificate = 7", "invalid type"),
        ] {
            let text = format!("name = \"s\"\nformat = \"json\"\n[[sender]]\nname = \"a\"\n{wrong}\n");
            let error = toml::from_str::<SourceConfig>(&text).unwrap_err().to_string();
            assert!(error.contains(names), "{error}");
        }
        for wrong in ["a b", "", "unauthenticated", "a@b"] {
            let text =
                format!("name = \"s\"\nformat = \"fhir-audit-event\"\n[[sender]]\nname = \"{wrong}\"\n");
            assert_eq!(toml::from_str::<SourceConfig>(&text).unwrap().check().unwrap_err().key, "sender");
        }
    }
}
