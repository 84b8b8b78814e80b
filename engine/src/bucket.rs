//! An object store on a bucket that speaks S3, which says "exists already" only when somebody else was first.
//!
//! A put that must not replace anything is sent with `If-None-Match: *`, one that replaces a known version with
//! `If-Match`. Where the answer is lost on its way, the client sends again and meets its own object: so a put that is
//! refused, or of which nobody can say how it went, is looked at before anything is concluded. Errors are sentences.

use std::error::Error as _;
use std::fmt;
use std::ops::Range;
use std::path::Path as FsPath;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{BoxStream, StreamExt};
use object_store::aws::{AmazonS3, AmazonS3Builder, AmazonS3ConfigKey};
use object_store::path::Path;
use object_store::{
    BackoffConfig, ClientConfigKey, CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload,
    ObjectMeta, ObjectStore, ObjectStoreExt, PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult,
    Result, RetryConfig, UpdateVersion,
};

use crate::config::S3Config;
use crate::failpoint::crash_at;

/// The name under which this store's errors travel inside [`object_store::Error::Generic`].
pub(crate) const BUCKET: &str = "bucket";

/// A request that finds nobody is tried so often again, and no longer than this.
const RETRIES: usize = 4;
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(20);
/// One request may take so long, where the environment does not say otherwise: files have some 24 MiB.
const REQUEST: &str = "120 seconds";

/// Where a put was refused and nothing is there, it is looked for so often again.
const LOOKS: usize = 10;
const LOOKS_EVERY: std::time::Duration = std::time::Duration::from_millis(200);

/// What lies where something was put.
enum There {
    /// What we put.
    Ours(PutResult),
    /// Something else.
    Others,
    Nothing,
}

/// What a bucket did not do, in a sentence for an operator.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct BucketError(pub(crate) String);

/// A bucket.
#[derive(Debug)]
pub(crate) struct Bucket {
    inner: AmazonS3,
    /// Which, and where: for people.
    name: String,
}

impl fmt::Display for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl Bucket {
    /// The bucket, by what the environment (`AWS_…`) and the configuration say; nothing is asked of it yet. Relative
    /// paths of the configuration lie under `base`.
    ///
    /// # Errors
    /// A sentence, when what is said does not suffice.
    pub(crate) fn of(bucket: &str, config: &S3Config, base: &FsPath) -> Result<Bucket, String> {
        let backoff = BackoffConfig { max_backoff: PATIENCE / 4, ..BackoffConfig::default() };
        let retry = RetryConfig { backoff, max_retries: RETRIES, retry_timeout: PATIENCE };
        let mut builder = AmazonS3Builder::from_env().with_bucket_name(bucket).with_retry(retry);
        if std::env::var_os("AWS_TIMEOUT").is_none() {
            builder = builder.with_config(AmazonS3ConfigKey::Client(ClientConfigKey::Timeout), REQUEST);
        }
        if let Some(endpoint) = &config.endpoint {
            builder = builder.with_endpoint(endpoint);
        }
        if let Some(region) = &config.region {
            builder = builder.with_region(region);
        }
        if config.allow_http {
            builder = builder.with_allow_http(true);
        }
        match (&config.access_key_id, &config.secret_access_key_file) {
            (None, None) => {}
            (Some(id), Some(file)) => {
                let secret = secret(&base.join(file))?;
                builder = builder.with_access_key_id(id).with_secret_access_key(secret);
            }
            _ => {
                return Err(
                    "found one of access_key_id and secret_access_key_file, expected both or neither".into(),
                );
            }
        }
        let endpoint = builder
            .get_config_value(&AmazonS3ConfigKey::Endpoint)
            .or_else(|| builder.get_config_value(&AmazonS3ConfigKey::S3Endpoint));
        let allows_http = AmazonS3ConfigKey::Client(ClientConfigKey::AllowHttp);
        let is_plain = endpoint.as_ref().is_some_and(|endpoint| endpoint.starts_with("http://"));
        if is_plain && builder.get_config_value(&allows_http).as_deref() != Some("true") {
            return Err("the endpoint is http: what is stored would travel in clear; expected https, or \
                        allow_http = true where nobody can listen"
                .into());
        }
        let name = match &endpoint {
            Some(endpoint) => format!("bucket \"{bucket}\" at {endpoint}"),
            None => format!("bucket \"{bucket}\""),
        };
        let inner = builder.build().map_err(|e| deepest(&e))?;
        Ok(Bucket { inner, name })
    }

    /// Proves that it is there, may be written, and refuses the second of two writers: Delta commits rest on it, and
    /// leases on the same of a known version. `mark` names an object for that alone.
    ///
    /// # Errors
    /// When it is not so.
    pub(crate) async fn prove(&self, mark: &Path) -> Result<()> {
        let ours = || PutPayload::from(format!("Insyn keeps its lake here. {}", uuid::Uuid::new_v4()));
        let lacks = |what: &str| {
            let why = format!(
                "{} does not refuse the second of two writers ({what} is ignored): commits would be lost; \
                 expected a store with conditional puts",
                self.name
            );
            Err(Error::Generic { store: BUCKET, source: Box::new(BucketError(why)) })
        };
        let mut refused = false;
        for _ in 0..2 {
            match self.inner.put_opts(mark, ours(), PutMode::Create.into()).await {
                Ok(_) => {}
                Err(Error::AlreadyExists { .. }) => refused = true,
                Err(error) => return Err(self.told(error)),
            }
            if refused {
                break;
            }
        }
        if !refused {
            return lacks("If-None-Match");
        }
        let never =
            UpdateVersion { e_tag: Some("\"00000000000000000000000000000000\"".into()), version: None };
        match self.inner.put_opts(mark, ours(), PutMode::Update(never).into()).await {
            Ok(_) => lacks("If-Match"),
            Err(Error::Precondition { .. } | Error::AlreadyExists { .. }) => Ok(()),
            Err(error) => Err(self.told(error)),
        }
    }

    /// What became of a put that must not replace anything and was not answered with success. "Exists already" is said
    /// only of what somebody else has written: whoever hears it takes his own files away.
    async fn looked_at(&self, error: Error, location: &Path, payload: &PutPayload) -> Result<PutResult> {
        let is_refused = matches!(error, Error::AlreadyExists { .. });
        for _ in 0..LOOKS {
            match self.at(location, payload).await {
                Ok(There::Ours(done)) => return Ok(done),
                Ok(There::Others) => {
                    let path = location.to_string();
                    return Err(Error::AlreadyExists { path, source: Box::new(error) });
                }
                // Two are at it in the same moment: one of them may be our own first attempt.
                Ok(There::Nothing) if is_refused => tokio::time::sleep(LOOKS_EVERY).await,
                Err(unseen) if is_refused => return Err(unseen),
                Ok(There::Nothing) | Err(_) => return Err(error),
            }
        }
        let why = format!("{}: nobody can say whether {location} was stored", self.name);
        Err(Error::Generic { store: BUCKET, source: Box::new(BucketError(why)) })
    }

    async fn at(&self, location: &Path, payload: &PutPayload) -> Result<There> {
        let found = match self.inner.get(location).await {
            Ok(found) => found,
            Err(Error::NotFound { .. }) => return Ok(There::Nothing),
            Err(error) => return Err(error),
        };
        let e_tag = found.meta.e_tag.clone();
        if found.meta.size != payload.content_length() as u64
            || found.bytes().await? != Bytes::from(payload.clone())
        {
            return Ok(There::Others);
        }
        Ok(There::Ours(PutResult { e_tag, version: None }))
    }

    fn told(&self, error: Error) -> Error {
        told(&self.name, error)
    }
}

#[async_trait]
impl ObjectStore for Bucket {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        crash_at("bucket-before-put");
        let mode = opts.mode.clone();
        let done = match (self.inner.put_opts(location, payload.clone(), opts).await, mode) {
            (Err(error), PutMode::Create) => self.looked_at(error, location, &payload).await,
            (Err(error), PutMode::Update(_)) => match self.at(location, &payload).await {
                Ok(There::Ours(done)) => Ok(done),
                _ => Err(error),
            },
            (done, _) => done,
        };
        crash_at("bucket-after-put");
        done.map_err(|e| self.told(e))
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        opts: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(location, opts).await.map_err(|e| self.told(e))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.inner.get_opts(location, options).await.map_err(|e| self.told(e))
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.inner.get_ranges(location, ranges).await.map_err(|e| self.told(e))
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let name = self.name.clone();
        self.inner.delete_stream(locations).map(move |gone| gone.map_err(|e| told(&name, e))).boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let name = self.name.clone();
        self.inner.list(prefix).map(move |found| found.map_err(|e| told(&name, e))).boxed()
    }

    fn list_with_offset(
        &self,
        prefix: Option<&Path>,
        offset: &Path,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        let name = self.name.clone();
        self.inner
            .list_with_offset(prefix, offset)
            .map(move |found| found.map_err(|e| told(&name, e)))
            .boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await.map_err(|e| self.told(e))
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await.map_err(|e| self.told(e))
    }
}

/// The error as a sentence, where it is none that code decides upon.
fn told(name: &str, error: Error) -> Error {
    let why = match &error {
        Error::NotFound { source, .. } if source.to_string().contains("NoSuchBucket") => {
            format!("there is no {}; make it first", name)
        }
        Error::NotFound { .. }
        | Error::AlreadyExists { .. }
        | Error::Precondition { .. }
        | Error::NotModified { .. } => return error,
        Error::PermissionDenied { .. } | Error::Unauthenticated { .. } => {
            format!("{} refuses these credentials: {}", name, deepest(&error))
        }
        Error::Generic { store: BUCKET, .. } => return error,
        error if error.to_string().contains("169.254.") => format!(
            "{}: no credentials are given (AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or access_key_id and \
             secret_access_key_file), and this machine has none of its cloud's: {}",
            name,
            deepest(error)
        ),
        error => format!("{} cannot be used: {}", name, deepest(error)),
    };
    Error::Generic { store: BUCKET, source: Box::new(BucketError(why)) }
}

/// The secret in a file, which is for its owner alone.
fn secret(file: &FsPath) -> Result<String, String> {
    let fault = |what: String| format!("secret_access_key_file {}: {what}", file.display());
    let text = std::fs::read_to_string(file).map_err(|e| fault(crate::store::explain(&e)))?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = std::fs::metadata(file).map_err(|e| fault(e.to_string()))?.permissions().mode();
        if mode & 0o007 != 0 {
            return Err(fault(format!("everybody may read it ({:o}), expected 600 or 640", mode & 0o777)));
        }
    }
    match text.trim() {
        "" => Err(fault("found nothing, expected the secret access key".into())),
        text => Ok(text.to_owned()),
    }
}

/// What the error says, and what lies at the bottom of it, on one line.
fn deepest(error: &Error) -> String {
    let text = error.to_string();
    let mut bottom = None;
    let mut source = error.source();
    while let Some(under) = source {
        bottom = Some(under.to_string());
        source = under.source();
    }
    let text = match bottom.filter(|bottom| !text.contains(bottom.as_str())) {
        Some(bottom) => format!("{text}: {bottom}"),
        None => text,
    };
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
