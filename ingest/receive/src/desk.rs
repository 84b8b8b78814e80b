//! Senders, each with the source that it writes to.

use std::collections::HashMap;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use chrono::Utc;
use chrono_tz::Tz;
use insyn_engine::disk::Room;
use insyn_formats::{Fault, Format, FormatName};
use insyn_ingest::spool::{Inbox, RECEIVED, Received, Stored};
use insyn_ingest::{IngestError, SenderConfig, SourceConfig, admit};
use rustls::pki_types::{CertificateDer, ServerName};

use crate::flight::Flight;

/// Where one sender's records for one source are handed in.
pub struct Desk {
    source: String,
    sender: SenderConfig,
    way: Way,
    format: Format,
    proven: Inbox,
    /// For what only an address vouches for.
    unproven: Option<Inbox>,
    room: Room,
    stored: AtomicU64,
    refused: AtomicU64,
}

/// What was received from one sender since the program began.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Counted {
    /// Its source.
    pub source: String,
    /// Its name.
    pub sender: String,
    /// Records on disk.
    pub stored: u64,
    /// Records on disk that will go to quarantine.
    pub refused: u64,
}

/// How records of a format come in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    Fhir,
    Rivta,
    Syslog,
}

impl Way {
    fn of(format: FormatName) -> Way {
        match format {
            FormatName::FhirAuditEvent => Way::Fhir,
            FormatName::RivtaLog => Way::Rivta,
            _ => Way::Syslog,
        }
    }
}

impl std::fmt::Display for Way {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Way::Fhir => "for FHIR",
            Way::Rivta => "for RIV-TA",
            Way::Syslog => "for syslog",
        })
    }
}

/// Every desk. Clones share them.
#[derive(Clone)]
pub struct Receivers {
    desks: Arc<Vec<Desk>>,
    pub(crate) flight: Arc<Flight>,
    pub(crate) datagrams: Arc<Datagrams>,
}

/// Datagrams of syslog that became no record, since the program began.
#[derive(Debug, Default)]
pub struct Datagrams {
    /// From an address that no sender has.
    pub unknown: AtomicU64,
    /// By the kernel, for want of room.
    pub dropped: AtomicU64,
    /// The disk refused them.
    pub lost: AtomicU64,
}

/// Why nothing can be received.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Two sources would have the same records.
    #[error("found {what} at {first} and again at {second}, expected it at one source")]
    Twice {
        /// A sender's name or a certificate's.
        what: String,
        /// One source.
        first: String,
        /// The other.
        second: String,
    },
    /// A source's format is wrong.
    #[error("source {name}: {fault}")]
    Format {
        /// Which source.
        name: String,
        /// What is wrong.
        fault: insyn_formats::FormatError,
    },
    /// The spool cannot be used.
    #[error(transparent)]
    Spool(#[from] IngestError),
}

impl Receivers {
    /// Opens a desk for each sender of each source; `spool` is the spool's folder. While fewer bytes than `least_free`
    /// are free on its disk, nothing is taken.
    ///
    /// # Errors
    /// When it cannot be told where a sender's records belong, or the spool cannot be written.
    pub fn open(
        sources: &[SourceConfig],
        zone: Tz,
        spool: &Path,
        least_free: u64,
    ) -> Result<Receivers, OpenError> {
        check(sources)?;
        let mut desks: Vec<Desk> = Vec::new();
        for source in sources {
            let format = Format::compile(&source.format, zone)
                .map_err(|fault| OpenError::Format { name: source.name.clone(), fault })?;
            for sender in &source.sender {
                let folder = spool.join(RECEIVED).join(&source.name);
                let name = format!("{}-{}", source.name, sender.name);
                let unproven = match sender.address.is_empty() {
                    true => None,
                    false => {
                        let name = format!("{name}-unauthenticated");
                        Some(Inbox::open(&folder.join(sender.folder(false)), &name)?)
                    }
                };
                desks.push(Desk {
                    source: source.name.clone(),
                    way: Way::of(source.format.format),
                    format: format.clone(),
                    proven: Inbox::open(&folder.join(sender.folder(true)), &name)?,
                    unproven,
                    sender: sender.clone(),
                    room: Room::keeping(spool, least_free),
                    stored: AtomicU64::new(0),
                    refused: AtomicU64::new(0),
                });
            }
        }
        Ok(Receivers { desks: Arc::new(desks), flight: Arc::default(), datagrams: Arc::default() })
    }

    /// Whether nobody may send anything.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.desks.is_empty()
    }

    /// The desk of the sender that holds a token of this name.
    pub(crate) fn of_token(&self, name: &str, way: Way) -> Option<&Desk> {
        self.desks.iter().find(|desk| desk.way == way && desk.sender.name == name)
    }

    /// The desk of the sender that this certificate is made out to.
    pub(crate) fn of_certificate(&self, certificate: &CertificateDer<'_>, way: Way) -> Option<&Desk> {
        let certificate = webpki::EndEntityCert::try_from(certificate).ok()?;
        let is_for = |name: &str| {
            ServerName::try_from(name)
                .is_ok_and(|name| certificate.verify_is_valid_for_subject_name(&name).is_ok())
        };
        self.desks
            .iter()
            .find(|desk| desk.way == way && desk.sender.certificate.as_deref().is_some_and(is_for))
    }

    /// The desk of the sender whose syslog comes from this address.
    pub(crate) fn of_address(&self, address: IpAddr) -> Option<&Desk> {
        let address = address.to_canonical();
        self.desks.iter().find(|desk| desk.sender.address.iter().any(|network| network.contains(&address)))
    }

    /// Datagrams that became no record.
    #[must_use]
    pub fn datagrams(&self) -> &Datagrams {
        &self.datagrams
    }

    /// What was received, by source and sender.
    #[must_use]
    pub fn counted(&self) -> Vec<Counted> {
        let counted = |desk: &Desk| Counted {
            source: desk.source.clone(),
            sender: desk.sender.name.clone(),
            stored: desk.stored.load(Ordering::Relaxed),
            refused: desk.refused.load(Ordering::Relaxed),
        };
        self.desks.iter().map(counted).collect()
    }
}

/// The first sender of which it cannot be told where its records belong.
///
/// # Errors
/// [`OpenError::Twice`].
pub fn check(sources: &[SourceConfig]) -> Result<(), OpenError> {
    let mut known: HashMap<String, &str> = HashMap::new();
    for source in sources {
        for sender in &source.sender {
            let way = Way::of(source.format.format);
            let name = format!("the sender \"{}\" {way}", sender.name);
            let certificate =
                sender.certificate.iter().map(|name| format!("the certificate \"{name}\" {way}"));
            let addresses = sender.address.iter().map(|network| format!("the address \"{network}\""));
            for what in std::iter::once(name).chain(certificate).chain(addresses) {
                if let Some(first) = known.insert(what.clone(), &source.name) {
                    let (first, second) = (first.to_owned(), source.name.clone());
                    return Err(OpenError::Twice { what, first, second });
                }
            }
        }
    }
    Ok(())
}

impl Desk {
    /// The id of the event that this record becomes, empty where it has none of its own.
    ///
    /// # Errors
    /// Why it will go to quarantine.
    pub(crate) fn judge(&self, record: &[u8]) -> Result<String, Fault> {
        let now = Utc::now().timestamp_micros();
        let rows = admit(&self.format.received(), Some(&self.sender), record, now)?;
        Ok(rows.into_iter().next().map(|row| row.event_id).unwrap_or_default())
    }

    /// The format, for whoever has to find the records in a body.
    pub(crate) fn format(&self) -> &Format {
        &self.format
    }

    /// Puts records on disk, all or none; records without a byte are none.
    ///
    /// # Errors
    /// When the disk refuses: then none of them is stored.
    pub(crate) async fn store(&self, records: Vec<Received>, proven: bool) -> Result<Stored, IngestError> {
        self.room.check()?;
        let refused = records.iter().filter(|received| received.refused.is_some()).count();
        let all = records.len();
        let inbox = match (proven, &self.unproven) {
            (false, Some(inbox)) => inbox,
            _ => &self.proven,
        };
        let stored = inbox.put(records).await?;
        self.stored.fetch_add((all - refused) as u64, Ordering::Relaxed);
        self.refused.fetch_add(refused as u64, Ordering::Relaxed);
        Ok(stored)
    }
}
