//! The columns of `access_events`, stated once: struct, schema and documentation come from the same table.

use std::sync::{Arc, LazyLock};

use arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, AsArray, BooleanBuilder, Int32Builder, Int64Builder, RecordBatch,
    StringBuilder, TimestampMicrosecondBuilder,
};
use arrow::datatypes::{
    DataType, Field, Int32Type, Int64Type, Schema, SchemaRef, TimeUnit, TimestampMicrosecondType,
};
use arrow::error::ArrowError;

/// What a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// UTF-8 text.
    Text,
    /// Microseconds since 1970-01-01 in UTC.
    Time,
    /// True or false.
    Flag,
    /// A signed 64-bit number.
    Long,
    /// A signed 32-bit number.
    Int,
}

impl Kind {
    fn data_type(self) -> DataType {
        match self {
            Kind::Text => DataType::Utf8,
            Kind::Time => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            Kind::Flag => DataType::Boolean,
            Kind::Long => DataType::Int64,
            Kind::Int => DataType::Int32,
        }
    }
}

/// One column of `access_events`.
#[derive(Debug, Clone, Copy)]
pub struct Column {
    /// Its name, in the table, in the API and in reports.
    pub name: &'static str,
    /// Its type.
    pub kind: Kind,
    /// Whether a row may lack it.
    pub nullable: bool,
    /// What it means.
    pub meaning: &'static str,
    /// Where the meaning comes from: law, standard, or Insyn itself.
    pub origin: &'static str,
}

macro_rules! field_type {
    (text) => { Option<String> };
    (must_text) => { String };
    (time) => { Option<i64> };
    (must_time) => { i64 };
    (flag) => { Option<bool> };
    (long) => { Option<i64> };
    (must_long) => { i64 };
    (must_int) => { i32 };
}
macro_rules! field_kind {
    (text) => {
        (Kind::Text, true)
    };
    (must_text) => {
        (Kind::Text, false)
    };
    (time) => {
        (Kind::Time, true)
    };
    (must_time) => {
        (Kind::Time, false)
    };
    (flag) => {
        (Kind::Flag, true)
    };
    (long) => {
        (Kind::Long, true)
    };
    (must_long) => {
        (Kind::Long, false)
    };
    (must_int) => {
        (Kind::Int, false)
    };
}
macro_rules! builder_type {
    (text) => {
        StringBuilder
    };
    (must_text) => {
        StringBuilder
    };
    (time) => {
        TimestampMicrosecondBuilder
    };
    (must_time) => {
        TimestampMicrosecondBuilder
    };
    (flag) => {
        BooleanBuilder
    };
    (long) => {
        Int64Builder
    };
    (must_long) => {
        Int64Builder
    };
    (must_int) => {
        Int32Builder
    };
}
macro_rules! append {
    (text, $b:expr, $v:expr) => {
        $b.append_option($v.as_deref())
    };
    (must_text, $b:expr, $v:expr) => {
        $b.append_value(&$v)
    };
    (time, $b:expr, $v:expr) => {
        $b.append_option($v)
    };
    (must_time, $b:expr, $v:expr) => {
        $b.append_value($v)
    };
    (flag, $b:expr, $v:expr) => {
        $b.append_option($v)
    };
    (long, $b:expr, $v:expr) => {
        $b.append_option($v)
    };
    (must_long, $b:expr, $v:expr) => {
        $b.append_value($v)
    };
    (must_int, $b:expr, $v:expr) => {
        $b.append_value($v)
    };
}
macro_rules! finish {
    (time, $b:expr) => {
        Arc::new($b.finish().with_timezone("UTC")) as ArrayRef
    };
    (must_time, $b:expr) => {
        Arc::new($b.finish().with_timezone("UTC")) as ArrayRef
    };
    ($other:ident, $b:expr) => {
        Arc::new($b.finish()) as ArrayRef
    };
}

macro_rules! cell {
    (text, $v:expr) => {
        Cell::Text($v.as_deref())
    };
    (must_text, $v:expr) => {
        Cell::Text(Some($v.as_str()))
    };
    (time, $v:expr) => {
        Cell::Number($v)
    };
    (flag, $v:expr) => {
        Cell::Number($v.map(i64::from))
    };
    (long, $v:expr) => {
        Cell::Number($v)
    };
    ($must:ident, $v:expr) => {
        Cell::Number(Some(i64::from($v)))
    };
}
macro_rules! read {
    (text, $column:expr, $row:expr) => {
        $column.text($row)
    };
    (must_text, $column:expr, $row:expr) => {
        $column.text($row).unwrap_or_default()
    };
    (time, $column:expr, $row:expr) => {
        $column.time($row)
    };
    (must_time, $column:expr, $row:expr) => {
        $column.time($row).unwrap_or_default()
    };
    (flag, $column:expr, $row:expr) => {
        $column.flag($row)
    };
    (must_int, $column:expr, $row:expr) => {
        $column.int($row).unwrap_or_default()
    };
    (must_long, $column:expr, $row:expr) => {
        $column.long($row).unwrap_or_default()
    };
}

/// One value of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cell<'a> {
    /// Of a column of text.
    Text(Option<&'a str>),
    /// Of a column of times (µs), flags (0 or 1) or numbers.
    Number(Option<i64>),
}

macro_rules! access_event {
    ($($kind:ident $name:ident: $meaning:literal, $origin:literal;)*) => {
        /// One row of `access_events`: one log record, for one subject of care and one group of resources.
        #[derive(Debug, Clone, Default, PartialEq)]
        pub struct AccessEvent {
            $(#[doc = $meaning] #[doc = ""] #[doc = concat!("Source: ", $origin, ".")] pub $name: field_type!($kind),)*
        }

        impl AccessEvent {
            /// Its values, in the order of the table.
            pub fn cells(&self) -> impl Iterator<Item = (&'static str, Cell<'_>)> {
                [$((stringify!($name), cell!($kind, self.$name)),)*].into_iter()
            }

            /// The rows of a batch that has columns of `access_events`; what it has not is empty.
            pub fn rows_of(batch: &RecordBatch) -> Vec<AccessEvent> {
                $(let $name = Stored::of(batch, stringify!($name));)*
                (0..batch.num_rows())
                    .map(|row| AccessEvent { $($name: read!($kind, $name, row),)* })
                    .collect()
            }
        }

        /// Every column, in the order of the table.
        pub const COLUMNS: &[Column] = &[
            $(Column {
                name: stringify!($name),
                kind: field_kind!($kind).0,
                nullable: field_kind!($kind).1,
                meaning: $meaning,
                origin: $origin,
            },)*
        ];

        /// Rows on their way to becoming a record batch in [`schema`].
        #[derive(Default)]
        pub struct EventBatch {
            rows: usize,
            $($name: builder_type!($kind),)*
        }

        impl EventBatch {
            /// Adds a row.
            pub fn push(&mut self, event: &AccessEvent) {
                self.rows += 1;
                $(append!($kind, self.$name, event.$name);)*
            }

            /// How many rows were added since the last [`EventBatch::finish`].
            pub fn len(&self) -> usize {
                self.rows
            }

            /// True while no row was added.
            pub fn is_empty(&self) -> bool {
                self.rows == 0
            }

            /// The rows as one record batch; the builder is empty afterwards.
            ///
            /// # Errors
            /// None that a caller can cause: the arrays are built from the same table as the schema.
            pub fn finish(&mut self) -> Result<RecordBatch, ArrowError> {
                self.rows = 0;
                RecordBatch::try_new(schema(), vec![$(finish!($kind, self.$name),)*])
            }
        }
    };
}

access_event! {
    must_text event_id: "The source's own id of the record; else derived from source, file identity and offset, the same at every re-read", "FHIR AuditEvent.id; RIV-TA logId";
    must_text source: "The configured name of the log source", "Insyn configuration";
    must_text organisation_id: "Whose installation within this installation", "Insyn configuration";
    must_text controller_id: "Personuppgiftsansvarig: the board, region or company that answers for the record", "GDPR art. 4.7; Insyn configuration";
    text received_from: "The authenticated sender of a pushed record; null for files; `unauthenticated` for UDP", "Insyn; IHE ATNA node authentication";
    text system_id: "Reporting system, by id", "RIV-TA system/systemId; FHIR AuditEvent.source.observer; DICOM AuditSourceID";
    text system_name: "Reporting system, by name", "RIV-TA system/systemName; FHIR AuditEvent.source.observer.display";
    must_time occurred_at: "When it happened", "HSLF-FS 2016:40 chapter 4 (time); ISO 27789 event date and time; FHIR AuditEvent.recorded or occurred; RIV-TA activity/startDate";
    must_text year: "The UTC year of occurred_at: the partition", "Insyn lake layout";
    time ended_at: "When the look ended", "FHIR AuditEvent.period.end, occurredPeriod.end";
    time recorded_at: "When the system wrote the record, where that differs from when it happened", "FHIR AuditEvent.recorded";
    text occurred_at_raw: "The time as the record wrote it", "Insyn";
    flag time_ambiguous: "True whenever the instant is Insyn's reading: the doubled hour of October, the missing one of March", "Insyn";
    text action: "C R U D E: create, read, update, delete, execute", "ISO 27789; FHIR AuditEvent.action; DICOM EventActionCode";
    text activity: "The source's own word for what was done", "HSLF-FS 2016:40 chapter 4 (what was done); RIV-TA activity/activityType";
    text activity_level: "Which part of the record", "RIV-TA activity/activityLevel";
    text activity_args: "How it was asked for: search terms, parameters", "RIV-TA activity/activityArgs; FHIR AuditEvent.entity.query";
    text outcome: "success, minor-failure, serious-failure or major-failure", "FHIR AuditEvent.outcome; DICOM EventOutcomeIndicator";
    text purpose: "Why, as the user or the system stated", "RIV-TA activity/purpose; FHIR purposeOfUse; ISO 27789 purpose of use";
    flag emergency: "Nödöppning, break the glass", "FHIR v3-ActReason BTG; RIV-TA activityType Nödöppning";
    text user_kind: "staff, subject, representative, support, system or unknown", "Insyn; FHIR AuditEvent.agent.type";
    text user_id: "Who: HSA-id where there is one", "HSLF-FS 2016:40 chapter 4 (user's identity); RIV-TA user/userId; FHIR agent.who";
    text user_name: "Who, by name", "RIV-TA user/name; FHIR agent.name";
    text user_person_id: "Who, by personal identity number", "RIV-TA user/personId";
    text user_title: "Professional title", "RIV-TA user/title";
    text user_role: "Role in the system", "FHIR AuditEvent.agent.role; DICOM RoleIDCode";
    text user_assignment: "Medarbetaruppdrag", "RIV-TA user/assignment";
    text care_provider_id: "The care provider (vårdgivare, omsorgsgivare) from which the user acted", "HSLF-FS 2016:40 chapter 4; RIV-TA user/careProvider";
    text care_provider_name: "Its name", "RIV-TA user/careProvider/careProviderName";
    text care_unit_id: "The care unit from which the user acted", "HSLF-FS 2016:40 chapter 4; RIV-TA user/careUnit";
    text care_unit_name: "Its name", "RIV-TA user/careUnit/careUnitName";
    text care_process_id: "The care process from which the user acted, where there is one", "HSLF-FS 2016:40 chapter 4";
    text access_ground: "Ground or active choice as written: relation, consent, certificate, emergency", "Lag (2022:913) chapter 3; FHIR AuditEvent.authorization";
    text subject_id: "Whose record: personnummer and samordningsnummer as 12 digits; null when the record names no person", "HSLF-FS 2016:40 chapter 4 (the patient's identity); RIV-TA patientId; FHIR AuditEvent.patient";
    text subject_id_type: "The issuer's OID or name", "RIV-TA patientId/root; FHIR Identifier.system";
    text subject_name: "The person's name as written", "RIV-TA patient/patientName";
    text resource_type: "What was opened", "RIV-TA resource/resourceType; FHIR AuditEvent.entity";
    text resource_id: "Which of them", "FHIR AuditEvent.entity.what; DICOM ParticipantObjectID";
    text resource_care_provider_id: "Who owns what was opened; another than the user's means shared records", "RIV-TA resource/careProvider; lag (2022:913)";
    text resource_care_unit_id: "The unit that owns what was opened", "RIV-TA resource/careUnit";
    text data_category: "Category of the data", "Regulation (EU) 2025/327 annex II 3.2";
    text data_origin: "Origin of the data", "Regulation (EU) 2025/327 annex II 3.2";
    text session_id: "The user's session", "Insyn; source";
    text correlation_id: "A request id that joins the two sides' records of one look", "IHE BALP X-Request-Id";
    text client_address: "From which network address", "FHIR agent.network; DICOM NetworkAccessPointID";
    text record: "The record as it arrived, lossless in the source's encoding; on the first row only where copies pass 64 kB", "Insyn";
    must_text file_id: "Which file it arrived in; assigned once, no hash", "Insyn";
    must_long file_offset: "Where in the file it starts, in decompressed bytes", "Insyn";
    must_long file_length: "How many bytes it is", "Insyn";
    must_long segment: "Which batch of which source and year; unique in the lake", "Insyn";
    must_int seq: "Its place in the segment, from 0", "Insyn";
    must_time ingested_at: "When Insyn read it: one time for all rows of a pass", "Insyn";
}

/// A column as it is stored; it may not be there.
struct Stored<'a>(Option<&'a ArrayRef>);

impl Stored<'_> {
    fn of<'a>(batch: &'a RecordBatch, name: &str) -> Stored<'a> {
        Stored(batch.column_by_name(name))
    }

    fn text(&self, row: usize) -> Option<String> {
        let column = self.0?.as_string_opt::<i32>()?;
        column.is_valid(row).then(|| column.value(row).to_owned())
    }

    fn flag(&self, row: usize) -> Option<bool> {
        let column = self.0?.as_boolean_opt()?;
        column.is_valid(row).then(|| column.value(row))
    }

    fn time(&self, row: usize) -> Option<i64> {
        self.number::<TimestampMicrosecondType>(row)
    }

    fn long(&self, row: usize) -> Option<i64> {
        self.number::<Int64Type>(row)
    }

    fn int(&self, row: usize) -> Option<i32> {
        self.number::<Int32Type>(row)
    }

    fn number<T: ArrowPrimitiveType>(&self, row: usize) -> Option<T::Native> {
        let column = self.0?.as_primitive_opt::<T>()?;
        column.is_valid(row).then(|| column.value(row))
    }
}

/// The Arrow schema of `access_events`. Times are microseconds in UTC.
pub fn schema() -> SchemaRef {
    static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
        let fields = COLUMNS.iter().map(|c| Field::new(c.name, c.kind.data_type(), c.nullable));
        Arc::new(Schema::new(fields.collect::<Vec<_>>()))
    });
    Arc::clone(&SCHEMA)
}

#[cfg(test)]
#[allow(clippy::expect_used)]
mod tests {
    use super::*;

    #[test]
    fn a_row_comes_back_as_it_went_in() {
        let event = AccessEvent {
            event_id: "e1".into(),
            subject_id: Some("191212121212".into()),
            occurred_at: 1_756_616_857_000_000,
            emergency: Some(true),
            seq: 7,
            ..AccessEvent::default()
        };
        let mut batch = EventBatch::default();
        batch.push(&event);
        assert_eq!(batch.len(), 1);
        let rows = batch.finish().expect("schema and builders agree");
        assert_eq!(rows.schema(), schema());
        assert_eq!(AccessEvent::rows_of(&rows), std::slice::from_ref(&event));
        assert_eq!(event.cells().count(), COLUMNS.len());
        assert!(event.cells().any(|cell| cell == ("emergency", Cell::Number(Some(1)))));
        assert!(batch.is_empty());
        let some = rows.project(&[0]).expect("it has a first column");
        let expected = AccessEvent { event_id: "e1".into(), ..AccessEvent::default() };
        assert_eq!(AccessEvent::rows_of(&some), [expected]);
    }

    #[test]
    fn every_column_says_what_it_means_and_where_that_comes_from() {
        for column in COLUMNS {
            assert!(column.meaning.len() > 5, "{}", column.name);
            assert!(column.origin.len() > 4, "{}", column.name);
        }
    }
}
