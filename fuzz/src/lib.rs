//! What must hold of every decoder, whatever bytes it is given: no panic, memory in proportion to the input, the same
//! records however the bytes arrive, and no byte gone that a record could have been made of.
//!
//! The fuzz targets run these bodies, and so does a test of `insyn-formats` over all seeds, on stable Rust. Hence no
//! path here begins with `crate`.

mod bodies;
mod envelope;
mod memory;
mod messages;
mod reading;

pub use envelope::gaps;
pub use memory::within;
pub use reading::{Piece, Source, cut_all};

/// What a target does with its input.
pub type Body = fn(&[u8]);

/// Every target.
pub const TARGETS: [(&str, Body); 15] = [
    ("fhir", bodies::fhir),
    ("rivta", bodies::rivta),
    ("dicom", bodies::dicom),
    ("delimited", bodies::delimited),
    ("pattern", bodies::pattern),
    ("json", bodies::json),
    ("bundle", messages::bundle),
    ("soap", messages::soap),
    ("workbook", messages::workbook),
    ("spool", bodies::spool),
    ("octets", bodies::octets),
    ("encoding", bodies::encoding),
    ("time", bodies::time),
    ("guess", bodies::guess_of),
    ("personal_number", bodies::personal_number),
];

/// One target's body.
pub fn body(target: &str) -> Body {
    let found = TARGETS.iter().find(|(name, _)| *name == target);
    found.expect("the target is listed").1
}
