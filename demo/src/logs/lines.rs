//! Two plain line formats: the social system's CSV export and the portal's web server log.

use chrono::Datelike;

use super::{Line, put};
use crate::access::{Activity, parts};
use crate::clock::digits;

pub(super) const SOCIAL_HEADER: &str = "LoggId;Tidpunkt;Användare;Namn;Yrkesroll;Enhet;Enhetsnamn;Åtgärd;Syfte;\
Personnummer;Klient;Del;Nödöppning;IP\r\n";

pub(super) fn social(line: &Line<'_>, out: &mut String) {
    put!(out; &line.event_id, ";");
    line.wall.put_date(out);
    out.push(' ');
    line.wall.put_time(out);
    line.wall.put_offset(out, false);
    put!(out; ";", line.user.account(line.access.source), ";", &line.user_name, ";", line.user.title, ";", line.unit.id, ";",
        line.unit.name, ";", line.access.activity.word(), ";", line.purpose, ";");
    put_number(line, out);
    put!(out; ";", &line.subject_name, ";", parts(line.access.source)[usize::from(line.access.part)], ";",
        if line.access.emergency { "Ja" } else { "Nej" }, ";", &line.address, "\r\n");
}

/// As people write them: with a dash, at times without the century, with a plus from the year one turns a hundred.
fn put_number(line: &Line<'_>, out: &mut String) {
    let number = line.subject_id;
    if number.len() != 12 || !number.bytes().all(|byte| byte.is_ascii_digit()) {
        out.push_str(number);
    } else if line.access.number % 9 == 4 {
        let hundred = line.wall.year - line.subject.born.year() >= 100;
        put!(out; &number[2..8], if hundred { "+" } else { "-" }, &number[8..]);
    } else {
        put!(out; &number[..8], "-", &number[8..]);
    }
}

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

pub(super) fn portal(line: &Line<'_>, out: &mut String) {
    put!(out; &line.address, " - ", line.user.account(line.access.source), " [");
    digits(out, line.wall.day, 2);
    put!(out; "/", MONTHS[(line.wall.month as usize + 11) % 12], "/");
    digits(out, line.wall.year.unsigned_abs(), 4);
    out.push(':');
    line.wall.put_time(out);
    out.push(' ');
    line.wall.put_offset(out, false);
    let verb = match line.access.activity {
        Activity::Read | Activity::Print => "GET",
        Activity::Write => "POST",
        Activity::Sign => "PUT",
    };
    put!(out; "] \"", verb, " /journal/", line.subject_id, "/", parts(line.access.source)[usize::from(line.access.part)],
        "?unit=", line.unit.id, "&eid=", &line.event_id);
    if line.access.emergency {
        out.push_str("&btg=1");
    }
    let mut size = String::with_capacity(5);
    digits(&mut size, 2_000 + line.access.number * 31 % 7_000, 4);
    put!(out; " HTTP/1.1\" ", if line.access.refused { "403" } else { "200" }, " ", &size,
        " \"https://portal.granvik.example/\" \"Mozilla/5.0 (Windows NT 10.0; Win64; x64)\"\n");
}
