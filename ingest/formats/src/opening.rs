//! What a file's beginning says of the rest of it.

use serde::{Deserialize, Serialize};

use crate::encoding::Encoding;

/// Kept of a file, it lets records be read again when the file is gone.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Opening {
    /// What it was read as, as the setting `encoding` names it.
    pub encoding: String,
    /// The setting said so, not the file.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub configured: bool,
    /// The length of its byte order mark.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub mark: u8,
    /// Its header row.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub header: Option<String>,
    /// Its records were received one by one.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub received: bool,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference")]
fn is_zero(n: &u8) -> bool {
    *n == 0
}

impl Opening {
    /// The same, read with another setting: a byte order mark wins over it, it wins over all else.
    #[must_use]
    pub fn under(&self, setting: Option<&str>) -> Opening {
        let encoding = match setting {
            Some(setting) if self.mark == 0 => setting,
            _ if self.configured => Encoding::Utf8.name(),
            _ => &self.encoding,
        };
        Opening { encoding: encoding.to_owned(), ..self.clone() }
    }

    /// The bytes that a record had, of which this text was made; none where it cannot have been.
    #[must_use]
    pub fn bytes_of(&self, record: &str) -> Option<Vec<u8>> {
        self.encoding().encode(record)
    }

    /// A line feed, without and with the carriage return before it.
    #[must_use]
    pub fn line_ends(&self) -> [&'static [u8]; 2] {
        match self.encoding() {
            Encoding::Utf16Le => [b"\n\0", b"\r\0\n\0"],
            Encoding::Utf16Be => [b"\0\n", b"\0\r\0\n"],
            _ => [b"\n", b"\r\n"],
        }
    }

    pub(crate) fn encoding(&self) -> Encoding {
        Encoding::named(&self.encoding).unwrap_or(Encoding::Utf8)
    }
}
