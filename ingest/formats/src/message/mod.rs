//! What a sender hands in at once, cut into records: a FHIR Bundle, or a SOAP message.

pub mod bundle;
pub mod soap;
