//! From the configured url to where the lake lies: a folder, or a path in a bucket.

use std::path::{Path as FsPath, PathBuf};

use object_store::path::Path;
use url::Url;

use super::LakeError;

const EXPECTED: &str =
    "a folder, as \"./lake\", a file url, as \"file:///srv/lake\", or a bucket, as \"s3://bucket/lake\"";

/// Where a lake lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Location {
    Folder(PathBuf),
    Bucket { bucket: String, within: Path },
}

impl Location {
    /// What `url` names; relative folders lie under `base`.
    pub(super) fn of(url: &str, base: &FsPath) -> Result<Location, LakeError> {
        let fault = |found: String| fault(url, found);
        if url.trim().is_empty() {
            return Err(fault("found nothing".into()));
        }
        let Some((scheme, _)) = url.split_once("://") else { return Ok(Location::Folder(base.join(url))) };
        let parsed = || Url::parse(url).map_err(|e| fault(format!("is no url ({e})")));
        match scheme.to_ascii_lowercase().as_str() {
            "file" => {
                let folder = parsed()?.to_file_path();
                folder.map(Location::Folder).map_err(|()| fault("names no folder of this machine".into()))
            }
            "s3" | "s3a" => {
                let parsed = parsed()?;
                let plain = parsed.username().is_empty() && parsed.password().is_none();
                if !plain {
                    let found =
                        "holds credentials; they stand in the environment, or in [lake.s3] and a file";
                    return Err(self::fault("s3://…", found.into()));
                }
                if parsed.port().is_some() || parsed.query().is_some() || parsed.fragment().is_some() {
                    return Err(fault(
                        "holds more than a bucket and a path; where the store is stands in [lake.s3]".into(),
                    ));
                }
                let bucket = parsed.host_str().unwrap_or_default().to_owned();
                if bucket.is_empty() {
                    return Err(fault("names no bucket".into()));
                }
                let within = Path::from_url_path(parsed.path());
                let within = within.map_err(|e| fault(format!("its path cannot be used ({e})")))?;
                Ok(Location::Bucket { bucket, within })
            }
            "az" | "azure" | "abfs" | "abfss" | "adl" | "gs" => Err(fault(format!(
                "stores of the kind \"{scheme}\" are not supported, only those that speak S3"
            ))),
            _ => Err(fault(format!("unknown kind of url \"{scheme}\""))),
        }
    }
}

/// What is wrong with `url`.
pub(super) fn fault(url: &str, found: String) -> LakeError {
    LakeError::Url { url: url.to_string(), found, expected: EXPECTED }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    #[test]
    fn folders_relative_absolute_and_by_url() {
        let base = FsPath::new("/srv/insyn");
        for (url, expected) in [
            ("./lake", "/srv/insyn/./lake"),
            ("lake", "/srv/insyn/lake"),
            ("/data/lake", "/data/lake"),
            ("file:///data/my%20lake", "/data/my lake"),
        ] {
            assert_eq!(Location::of(url, base).unwrap(), Location::Folder(expected.into()), "{url}");
        }
    }

    #[test]
    fn buckets_with_and_without_a_path() {
        for (url, bucket, within) in [
            ("s3://insyn", "insyn", ""),
            ("s3://insyn/", "insyn", ""),
            ("s3://insyn/region/lake/", "insyn", "region/lake"),
            ("S3://insyn/my%20lake", "insyn", "my lake"),
        ] {
            let found = Location::of(url, FsPath::new("/")).unwrap();
            assert_eq!(
                found,
                Location::Bucket { bucket: bucket.into(), within: Path::from(within) },
                "{url}"
            );
        }
    }

    #[test]
    fn what_is_neither_is_refused_in_words() {
        for (url, says) in [
            ("gs://bucket", "not supported"),
            ("az://container/lake", "not supported"),
            ("s3:///lake", "names no bucket"),
            ("s3://key:secret@bucket/lake", "holds credentials"),
            ("s3://bucket:9000/lake", "more than a bucket"),
            ("http://example.com/", "unknown kind of url \"http\""),
            (" ", "found nothing"),
        ] {
            let error = Location::of(url, FsPath::new("/")).unwrap_err().to_string();
            assert!(error.contains(says) && error.contains("expected a folder"), "{error}");
            assert!(!error.contains("secret"), "{error}");
        }
    }
}
