//! From the configured url to the folder of the lake.

use std::path::{Path, PathBuf};

use url::Url;

use super::LakeError;

const EXPECTED: &str = "a folder, as \"./lake\", or a file url, as \"file:///srv/lake\"";

/// The folder that `url` names; relative ones lie under `base`.
pub(super) fn folder(url: &str, base: &Path) -> Result<PathBuf, LakeError> {
    let fault = |found: String| LakeError::Url { url: url.to_string(), found, expected: EXPECTED };
    if url.trim().is_empty() {
        return Err(fault("found nothing".into()));
    }
    let Some((scheme, _)) = url.split_once("://") else { return Ok(base.join(url)) };
    match scheme.to_ascii_lowercase().as_str() {
        "file" => {
            let parsed = Url::parse(url).map_err(|e| fault(format!("is no url ({e})")))?;
            parsed.to_file_path().map_err(|()| fault("names no folder of this machine".into()))
        }
        "s3" | "s3a" | "az" | "abfs" | "abfss" | "adl" | "gs" => {
            Err(fault(format!("object stores ({scheme}) are not supported yet")))
        }
        _ => Err(fault(format!("unknown kind of url \"{scheme}\""))),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    #[test]
    fn folders_relative_absolute_and_by_url() {
        let base = Path::new("/srv/insyn");
        for (url, expected) in [
            ("./lake", "/srv/insyn/./lake"),
            ("lake", "/srv/insyn/lake"),
            ("/data/lake", "/data/lake"),
            ("file:///data/my%20lake", "/data/my lake"),
        ] {
            assert_eq!(folder(url, base).unwrap(), Path::new(expected), "{url}");
        }
    }

    #[test]
    fn what_is_no_folder_is_refused_in_words() {
        for (url, says) in [
            ("s3://bucket/lake", "not supported yet"),
            ("gs://bucket", "not supported yet"),
            ("http://example.com/", "unknown kind of url \"http\""),
            (" ", "found nothing"),
        ] {
            let error = folder(url, Path::new("/")).unwrap_err().to_string();
            assert!(error.contains(says) && error.contains("expected a folder"), "{error}");
        }
    }
}
