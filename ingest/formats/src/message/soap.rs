//! The log posts of a StoreLog call over SOAP.

use crate::error::Fault;
use crate::format::{Cut, Format};

/// The log posts in an envelope, in order; `judge` says of each whether it can be stored.
///
/// # Errors
/// When one of them cannot, what stands between them is not as it should be, or there is none.
pub fn posts<'a>(
    format: &Format,
    body: &'a [u8],
    judge: impl Fn(&[u8]) -> Result<(), Fault>,
) -> Result<Vec<&'a [u8]>, String> {
    if std::str::from_utf8(body).is_err() {
        return Err("the message is not in UTF-8, which RIV-TA asks for".to_owned());
    }
    let mut reader =
        format.open(body.get(..Format::HEAD).unwrap_or(body)).map_err(|fault| fault.to_string())?;
    let (mut posts, mut at) = (Vec::new(), 0);
    while let Some(rest) = body.get(at..).filter(|rest| !rest.is_empty()) {
        match reader.cut(rest, at as u64, true) {
            Cut::Skip { len } => at += len,
            Cut::Record { skip, len } => {
                let post = rest.get(skip..skip + len).unwrap_or_default();
                judge(post).map_err(|fault| format!("log post {}: {fault}", posts.len() + 1))?;
                posts.push(post);
                at += skip + len;
            }
            Cut::Bad { fault, .. } => return Err(format!("after log post {}: {fault}", posts.len())),
            Cut::Refused { reason, .. } => return Err(reason),
            Cut::More => break,
        }
    }
    if posts.is_empty() {
        return Err("found no log post, expected at least one".to_owned());
    }
    Ok(posts)
}
