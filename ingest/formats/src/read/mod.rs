//! One module a format: a record's text becomes rows.

pub mod dicom;
pub mod fhir;
pub mod rivta;
pub mod table;
mod tape;
mod xml;
