//! Which language a page speaks, and how it writes times and numbers.

use axum::http::{HeaderMap, header};
use chrono::{DateTime, Datelike, TimeZone, Timelike, Utc};
use chrono_tz::Tz;
use insyn_rules::Text;

use crate::texts::{EN, SV, Texts};

/// The cookie that remembers a choice of language.
pub(crate) const COOKIE: &str = "insyn_lang";

/// A language of the pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lang {
    Sv,
    En,
}

impl Lang {
    /// `sv` or `en`; `None` for anything else.
    pub(crate) fn parse(code: &str) -> Option<Lang> {
        match code {
            "sv" => Some(Lang::Sv),
            "en" => Some(Lang::En),
            _ => None,
        }
    }

    /// By choice (`?lang=`), else by memory (cookie), else by what the browser asks for, else Swedish.
    pub(crate) fn choose(query: Option<&str>, headers: &HeaderMap) -> Lang {
        let asked = query.and_then(|query| parameter(query, "lang")).and_then(Lang::parse);
        asked
            .or_else(|| cookie(headers, COOKIE).and_then(Lang::parse))
            .or_else(|| headers.get(header::ACCEPT_LANGUAGE)?.to_str().ok().and_then(preferred))
            .unwrap_or(Lang::Sv)
    }

    pub(crate) fn code(self) -> &'static str {
        match self {
            Lang::Sv => "sv",
            Lang::En => "en",
        }
    }

    /// The language's own name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Lang::Sv => "Svenska",
            Lang::En => "English",
        }
    }

    pub(crate) fn other(self) -> Lang {
        match self {
            Lang::Sv => Lang::En,
            Lang::En => Lang::Sv,
        }
    }

    pub(crate) fn texts(self) -> &'static Texts {
        match self {
            Lang::Sv => &SV,
            Lang::En => &EN,
        }
    }

    /// The rule's text in this language.
    pub(crate) fn of(self, text: &Text) -> &str {
        match self {
            Lang::Sv => &text.sv,
            Lang::En => &text.en,
        }
    }

    /// A part of one, as percent with one decimal.
    pub(crate) fn share(self, part: f64) -> String {
        match self {
            Lang::Sv => format!("{}\u{a0}%", self.decimal(part * 100.0)),
            Lang::En => format!("{}%", self.decimal(part * 100.0)),
        }
    }

    /// Digits in groups of three: by a no-break space in Swedish, a comma in English.
    pub(crate) fn number(self, number: u64) -> String {
        let digits = number.to_string();
        let separator = if self == Lang::Sv { '\u{a0}' } else { ',' };
        let mut grouped = String::new();
        for (i, digit) in digits.chars().enumerate() {
            if i > 0 && (digits.len() - i).is_multiple_of(3) {
                grouped.push(separator);
            }
            grouped.push(digit);
        }
        grouped
    }

    /// With one decimal.
    pub(crate) fn decimal(self, number: f64) -> String {
        let text = format!("{number:.1}");
        if self == Lang::Sv { text.replace('.', ",") } else { text }
    }

    /// A share as percent with one decimal.
    pub(crate) fn percent(self, part: u64, whole: u64) -> String {
        if whole == 0 {
            return "–".into();
        }
        let tenths = (part as f64 * 1000.0 / whole as f64).round() / 10.0;
        match self {
            Lang::Sv => format!("{tenths:.1}\u{a0}%").replace('.', ","),
            Lang::En => format!("{tenths:.1}%"),
        }
    }

    /// `mån 31 aug. 2026`, `Mon 31 Aug 2026`.
    pub(crate) fn day(self, zone: Tz, micros: i64) -> String {
        let Some(t) = local(zone, micros) else { return String::new() };
        const SV_DAYS: [&str; 7] = ["mån", "tis", "ons", "tors", "fre", "lör", "sön"];
        const EN_DAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
        const SV_MONTHS: [&str; 12] =
            ["jan.", "feb.", "mars", "apr.", "maj", "juni", "juli", "aug.", "sep.", "okt.", "nov.", "dec."];
        const EN_MONTHS: [&str; 12] =
            ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
        let (days, months) = match self {
            Lang::Sv => (SV_DAYS, SV_MONTHS),
            Lang::En => (EN_DAYS, EN_MONTHS),
        };
        let day = days[t.weekday().num_days_from_monday() as usize];
        format!("{day} {} {} {}", t.day(), months[t.month0() as usize], t.year())
    }
}

/// `2026-08-31 07:07` in the zone.
pub(crate) fn minute(zone: Tz, micros: i64) -> String {
    local(zone, micros).map(|t| t.format("%Y-%m-%d %H:%M").to_string()).unwrap_or_default()
}

/// `07:07:37` in the zone.
pub(crate) fn second(zone: Tz, micros: i64) -> String {
    local(zone, micros)
        .map(|t| format!("{:02}:{:02}:{:02}", t.hour(), t.minute(), t.second()))
        .unwrap_or_default()
}

/// `2026-08-31` in the zone.
pub(crate) fn date(zone: Tz, micros: i64) -> String {
    local(zone, micros).map(|t| t.format("%Y-%m-%d").to_string()).unwrap_or_default()
}

/// RFC 3339 in UTC, with a fraction only when there is one.
pub(crate) fn rfc3339(micros: i64) -> String {
    let format = if micros.rem_euclid(1_000_000) == 0 {
        chrono::SecondsFormat::Secs
    } else {
        chrono::SecondsFormat::Micros
    };
    DateTime::from_timestamp_micros(micros).map(|t| t.to_rfc3339_opts(format, true)).unwrap_or_default()
}

fn local(zone: Tz, micros: i64) -> Option<DateTime<Tz>> {
    DateTime::<Utc>::from_timestamp_micros(micros).map(|t| zone.from_utc_datetime(&t.naive_utc()))
}

/// The value of a cookie.
pub(crate) fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find(|(key, _)| *key == name)
        .map(|(_, value)| value)
}

/// The first value of a parameter of the query, as it stands there.
pub(crate) fn parameter<'a>(query: &'a str, name: &str) -> Option<&'a str> {
    query
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .find(|(key, _)| *key == name)
        .map(|(_, value)| value)
}

/// The better liked of our languages in an `Accept-Language`.
fn preferred(accept: &str) -> Option<Lang> {
    let mut best: Option<(f32, Lang)> = None;
    for part in accept.split(',') {
        let mut pieces = part.split(';');
        let tag = pieces.next().unwrap_or_default().trim().to_ascii_lowercase();
        let weight = pieces.find_map(|p| p.trim().strip_prefix("q=")?.parse::<f32>().ok()).unwrap_or(1.0);
        let Some(lang) = Lang::parse(tag.split('-').next().unwrap_or_default()) else { continue };
        if weight > 0.0 && best.is_none_or(|(most, _)| weight > most) {
            best = Some((weight, lang));
        }
    }
    best.map(|(_, lang)| lang)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn choice_beats_memory_beats_browser_beats_swedish() {
        let headers = |cookie: &str, accept: &str| {
            let mut headers = HeaderMap::new();
            if !cookie.is_empty() {
                headers.insert(header::COOKIE, cookie.parse().unwrap());
            }
            if !accept.is_empty() {
                headers.insert(header::ACCEPT_LANGUAGE, accept.parse().unwrap());
            }
            headers
        };
        for (query, cookie, accept, expected) in [
            (None, "", "", Lang::Sv),
            (None, "", "en-GB,en;q=0.9,sv;q=0.8", Lang::En),
            (None, "", "de, sv;q=0.5, en;q=0.4", Lang::Sv),
            (None, "", "de, fr", Lang::Sv),
            (None, "", "en;q=0, sv;q=0.1", Lang::Sv),
            (None, "a=b; insyn_lang=sv", "en", Lang::Sv),
            (Some("lang=en"), "insyn_lang=sv", "sv", Lang::En),
            (Some("x=1&lang=xx"), "insyn_lang=en", "sv", Lang::En),
        ] {
            assert_eq!(
                Lang::choose(query, &headers(cookie, accept)),
                expected,
                "{query:?} {cookie} {accept}"
            );
        }
    }

    #[test]
    fn times_are_local_and_numbers_grouped() {
        let zone = Tz::Europe__Stockholm;
        let t = 1_788_152_857_000_000;
        assert_eq!(rfc3339(t), "2026-08-31T05:07:37Z");
        assert_eq!(minute(zone, t), "2026-08-31 07:07");
        assert_eq!(second(zone, t), "07:07:37");
        assert_eq!(Lang::Sv.day(zone, t), "mån 31 aug. 2026");
        assert_eq!(Lang::En.day(zone, t), "Mon 31 Aug 2026");
        assert_eq!(Lang::Sv.number(1_234_567), "1\u{a0}234\u{a0}567");
        assert_eq!(Lang::En.number(123), "123");
        assert_eq!(Lang::Sv.percent(1, 8), "12,5\u{a0}%");
        assert_eq!(Lang::En.percent(0, 0), "–");
    }
}
