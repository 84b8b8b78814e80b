//! The cookie of a session, and what is derived from it.

use axum::http::{HeaderMap, HeaderValue, header};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use sha2::{Digest, Sha256};

use crate::lang;

/// With TLS the prefix makes browsers insist on `Secure`, `Path=/` and no `Domain`.
fn cookie_name(secure: bool) -> &'static str {
    if secure { "__Host-insyn" } else { "insyn_session" }
}

/// The session's token, as the browser sent it.
pub(crate) fn token(headers: &HeaderMap, secure: bool) -> Option<&str> {
    lang::cookie(headers, cookie_name(secure)).filter(|token| !token.is_empty())
}

/// Hands the token to the browser; it lasts as long as the browser's own session, and the server ends it earlier.
pub(crate) fn set(token: &str, secure: bool) -> Option<HeaderValue> {
    header_value(format!(
        "{}={token}; Path=/; HttpOnly; SameSite=Strict{}",
        cookie_name(secure),
        suffix(secure)
    ))
}

/// Takes it back.
pub(crate) fn clear(secure: bool) -> Option<HeaderValue> {
    header_value(format!(
        "{}=; Path=/; HttpOnly; SameSite=Strict; Max-Age=0{}",
        cookie_name(secure),
        suffix(secure)
    ))
}

/// Remembers the language for a year.
pub(crate) fn set_language(code: &str, secure: bool) -> Option<HeaderValue> {
    header_value(format!("{}={code}; Path=/; SameSite=Lax; Max-Age=31536000{}", lang::COOKIE, suffix(secure)))
}

/// What the forms of a session carry, so that no other site can post them. The token is 256 random bits, so its hash
/// neither reveals it nor can be guessed.
pub(crate) fn csrf(token: &str) -> String {
    derived("insyn form", token)
}

/// A name for the session that is safe to keep beside other things.
pub(crate) fn key(token: &str) -> String {
    derived("insyn session", token)
}

/// Compares without telling by its time how much was right.
pub(crate) fn same(a: &str, b: &str) -> bool {
    a.len() == b.len() && a.bytes().zip(b.bytes()).fold(0, |sum, (x, y)| sum | (x ^ y)) == 0
}

/// The token after `Bearer`.
pub(crate) fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    (scheme.eq_ignore_ascii_case("bearer") && !token.trim().is_empty()).then(|| token.trim())
}

fn derived(what: &str, token: &str) -> String {
    let mut hash = Sha256::new();
    hash.update(what.as_bytes());
    hash.update([0]);
    hash.update(token.as_bytes());
    URL_SAFE_NO_PAD.encode(&hash.finalize()[..24])
}

fn suffix(secure: bool) -> &'static str {
    if secure { "; Secure" } else { "" }
}

fn header_value(text: String) -> Option<HeaderValue> {
    HeaderValue::from_str(&text).ok()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn cookies_are_kept_from_scripts_and_other_sites() {
        for secure in [false, true] {
            let cookie = set("abc", secure).unwrap();
            let cookie = cookie.to_str().unwrap();
            assert!(
                cookie.contains("HttpOnly")
                    && cookie.contains("SameSite=Strict")
                    && cookie.contains("Path=/")
            );
            assert_eq!(cookie.contains("; Secure"), secure);
            let mut headers = HeaderMap::new();
            let sent = cookie.split(';').next().unwrap();
            headers.insert(header::COOKIE, format!("x=1; {sent}").parse().unwrap());
            assert_eq!(token(&headers, secure), Some("abc"));
        }
    }

    #[test]
    fn derived_values_differ_by_use_and_by_session() {
        assert_ne!(csrf("a"), csrf("b"));
        assert_ne!(csrf("a"), key("a"));
        assert!(same(&csrf("a"), &csrf("a")) && !same(&csrf("a"), &csrf("b")) && !same("", "a"));
    }

    #[test]
    fn a_bearer_token_is_read_whatever_the_case_of_its_scheme() {
        for (value, expected) in
            [("Bearer t", Some("t")), ("bearer  t ", Some("t")), ("Basic t", None), ("Bearer ", None)]
        {
            let mut headers = HeaderMap::new();
            headers.insert(header::AUTHORIZATION, value.parse().unwrap());
            assert_eq!(bearer(&headers), expected, "{value:?}");
        }
    }
}
