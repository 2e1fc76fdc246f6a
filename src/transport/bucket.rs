//! Objects in a bucket of an S3-compatible store that an admin named: the names of objects, and their bytes.
//!
//! Reached without Tor, and by its name: so only what an admin named leads here, and nothing that a peer says does (R9). No redirect is
//! followed, and no proxy is taken from the environment. What is sent is signed with its SHA-256 (AWS Signature 4), so that a store
//! takes no other bytes; what is read is compared with its name by whoever reads.
//!
//! The functions wait, and may be called from any thread but one that runs futures. The work is done by threads of its own.

mod error;
mod uploads;

use std::future::Future;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures_util::StreamExt;
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::client::{HttpClient, HttpConnector};
use object_store::path::Path;
use object_store::{
    BackoffConfig, ClientOptions, ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload, RetryConfig,
};
use tokio::runtime::Runtime;

use crate::domain::target::{BucketAddress, BucketKey};

pub use error::BucketError;
pub use uploads::Uploads;

/// How long may be waited for a connection, and for more of an answer.
const CONNECT: Duration = Duration::from_secs(10);
const SILENCE: Duration = Duration::from_secs(30);
/// How long one request may take as a whole.
const LIMIT: Duration = Duration::from_secs(300);
/// What fails that may be tried again is, so often, with a longer pause each time.
const RETRIES: usize = 4;
/// No answer for longer than this is waited for by trying again.
const RETRY_FOR: Duration = Duration::from_secs(60);

/// Whether an object that is there already is replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Put {
    /// It is.
    Replace,
    /// It stays: the store is asked to write only what is not there.
    New,
}

/// What is in one place of a bucket: names without what they all begin with.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Listed {
    /// Objects.
    pub objects: Vec<String>,
    /// Beginnings of the names of further ones, up to the next `/`.
    pub folders: Vec<String>,
}

/// A bucket, and where in it. Cheap to clone.
#[derive(Clone)]
pub struct Bucket {
    store: Arc<AmazonS3>,
    address: BucketAddress,
}

impl std::fmt::Debug for Bucket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Bucket({})", self.address)
    }
}

impl Bucket {
    /// Gets ready. Nothing is dialled yet.
    ///
    /// # Errors
    /// [`BucketError::Address`].
    pub fn open(address: &BucketAddress, key: &BucketKey) -> Result<Self, BucketError> {
        let mut builder = AmazonS3Builder::new()
            .with_bucket_name(&address.bucket)
            .with_region(address.region.as_deref().unwrap_or("us-east-1"))
            .with_access_key_id(&key.id)
            .with_secret_access_key(&key.secret)
            .with_http_connector(Direct)
            .with_client_options(ClientOptions::new())
            .with_retry(RetryConfig {
                backoff: BackoffConfig {
                    init_backoff: Duration::from_millis(200),
                    max_backoff: Duration::from_secs(5),
                    base: 2.0,
                },
                max_retries: RETRIES,
                retry_timeout: RETRY_FOR,
            });
        if let Some(token) = &key.token {
            builder = builder.with_token(token);
        }
        if let Some(endpoint) = &address.endpoint {
            builder = builder.with_endpoint(endpoint).with_allow_http(endpoint.starts_with("http://"));
        }
        let store = builder.build().map_err(|error| BucketError::Address { cause: error.to_string() })?;
        Ok(Self { store: Arc::new(store), address: address.clone() })
    }

    /// Which one.
    pub fn address(&self) -> &BucketAddress {
        &self.address
    }

    /// Reads an object of at most `limit_bytes`; `None` if it is not there.
    ///
    /// # Errors
    /// [`BucketError`].
    pub fn get(&self, name: &str, limit_bytes: usize) -> Result<Option<Vec<u8>>, BucketError> {
        let (this, name) = (self.clone(), name.to_owned());
        wait(async move { this.get_object(&name, limit_bytes).await })?
    }

    async fn get_object(&self, name: &str, limit_bytes: usize) -> Result<Option<Vec<u8>>, BucketError> {
        let path = self.path(name)?;
        let got = match self.store.get(&path).await {
            Ok(got) => got,
            Err(error) => return self.missing_or(error),
        };
        let too_long = || BucketError::TooLong { name: name.to_owned(), limit_bytes };
        let size = usize::try_from(got.meta.size).map_err(|_| too_long())?;
        if size > limit_bytes {
            return Err(too_long());
        }
        let (mut bytes, mut stream) = (Vec::with_capacity(size), got.into_stream());
        while let Some(part) = stream.next().await {
            let part = part.map_err(|error| BucketError::of(&self.address, error))?;
            if bytes.len() + part.len() > limit_bytes {
                return Err(too_long());
            }
            bytes.extend_from_slice(&part);
        }
        Ok(Some(bytes))
    }

    /// The length of an object, `None` if it is not there.
    ///
    /// # Errors
    /// [`BucketError`].
    pub fn size(&self, name: &str) -> Result<Option<u64>, BucketError> {
        let (this, name) = (self.clone(), name.to_owned());
        wait(async move {
            match this.store.head(&this.path(&name)?).await {
                Ok(meta) => Ok(Some(meta.size)),
                Err(error) => this.missing_or(error),
            }
        })?
    }

    /// Writes an object. It is durable, and whole, on return.
    ///
    /// # Errors
    /// [`BucketError`].
    pub fn put(&self, name: &str, bytes: Vec<u8>, put: Put) -> Result<(), BucketError> {
        let (this, name) = (self.clone(), name.to_owned());
        wait(async move { this.put_object(&name, bytes, put).await })?
    }

    async fn put_object(&self, name: &str, bytes: Vec<u8>, put: Put) -> Result<(), BucketError> {
        use object_store::Error as E;
        let path = self.path(name)?;
        let payload = PutPayload::from(bytes);
        if put == Put::New {
            let options = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
            match self.store.put_opts(&path, payload.clone(), options).await {
                Ok(_) | Err(E::AlreadyExists { .. }) => return Ok(()),
                // A store that does not know conditions: what is written has the same bytes under the same name.
                Err(E::NotImplemented { .. } | E::NotSupported { .. }) => {}
                Err(error) if BucketError::is_not_implemented(&error) => {}
                Err(error) => return Err(BucketError::of(&self.address, error)),
            }
        }
        self.store.put(&path, payload).await.map_err(|error| BucketError::of(&self.address, error))?;
        Ok(())
    }

    /// Removes an object. What is not there is gone.
    ///
    /// # Errors
    /// [`BucketError`].
    pub fn remove(&self, name: &str) -> Result<(), BucketError> {
        let (this, name) = (self.clone(), name.to_owned());
        wait(async move {
            match this.store.delete(&this.path(&name)?).await {
                Ok(()) => Ok(()),
                Err(error) => this.missing_or::<()>(error).map(drop),
            }
        })?
    }

    /// Calls `each` with every object whose name begins with the folder `within`, and its length. Names are given without that.
    ///
    /// # Errors
    /// [`BucketError`].
    pub fn list(&self, within: &str, each: &mut dyn FnMut(&str, u64)) -> Result<(), BucketError> {
        let (this, prefix) = (self.clone(), self.path(within)?);
        let (send, receive) = std::sync::mpsc::sync_channel(1024);
        let (store, begin) = (this.store, prefix.clone());
        let listing = runtime()?.spawn(async move {
            let mut listed = store.list(Some(&begin));
            while let Some(next) = listed.next().await {
                let failed = next.is_err();
                // A thread of its own may wait here: there are two, and the other one goes on.
                if tokio::task::block_in_place(|| send.send(next)).is_err() || failed {
                    return;
                }
            }
        });
        for next in receive {
            let meta = next.map_err(|error| BucketError::of(&self.address, error))?;
            if let Some(name) = meta.location.as_ref().strip_prefix(prefix.as_ref()) {
                each(name.trim_start_matches('/'), meta.size);
            }
        }
        // What breaks off looks like the end: a list that is too short would make chunks count as lost.
        wait(listing)?.map_err(|_| BucketError::Broken)
    }

    /// What is in one place.
    ///
    /// # Errors
    /// [`BucketError`].
    pub fn names(&self, within: &str) -> Result<Listed, BucketError> {
        let (this, prefix) = (self.clone(), self.path(within)?);
        let listed = wait(async move {
            let listed = this.store.list_with_delimiter(Some(&prefix)).await;
            listed.map_err(|error| BucketError::of(&this.address, error))
        })??;
        let last = |path: &Path| path.as_ref().rsplit('/').next().unwrap_or_default().to_owned();
        let mut names = Listed {
            objects: listed.objects.iter().map(|meta| last(&meta.location)).collect(),
            folders: listed.common_prefixes.iter().map(last).collect(),
        };
        names.objects.sort();
        names.folders.sort();
        Ok(names)
    }

    /// Many writes at a time.
    pub fn uploads(&self) -> Uploads {
        Uploads::new(self.clone())
    }

    fn path(&self, name: &str) -> Result<Path, BucketError> {
        let whole = match (self.address.prefix.as_str(), name) {
            ("", name) => name.to_owned(),
            (prefix, "") => prefix.to_owned(),
            (prefix, name) => format!("{prefix}/{name}"),
        };
        Path::parse(&whole).map_err(|_| BucketError::Name(name.to_owned()))
    }

    fn missing_or<T>(&self, error: object_store::Error) -> Result<Option<T>, BucketError> {
        match BucketError::of(&self.address, error) {
            BucketError::Missing => Ok(None),
            error => Err(error),
        }
    }
}

/// Dials what the admin named, and nothing that an answer names.
#[derive(Debug)]
struct Direct;

impl HttpConnector for Direct {
    fn connect(&self, _: &ClientOptions) -> object_store::Result<HttpClient> {
        let client = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .referer(false)
            .connect_timeout(CONNECT)
            .read_timeout(SILENCE)
            .timeout(LIMIT)
            .http1_only()
            .build();
        let failed = |error| object_store::Error::Generic { store: "S3", source: Box::new(error) };
        client.map(HttpClient::new).map_err(failed)
    }
}

/// The threads on which requests are made.
fn runtime() -> Result<&'static Runtime, BucketError> {
    static RUNTIME: OnceLock<Result<Runtime, BucketError>> = OnceLock::new();
    let started = RUNTIME.get_or_init(|| {
        let mut threads = tokio::runtime::Builder::new_multi_thread();
        let built = threads.worker_threads(2).thread_name("bucket").enable_all().build();
        built.map_err(|cause| BucketError::Threads { cause: cause.to_string() })
    });
    started.as_ref().map_err(Clone::clone)
}

/// Waits for it on this thread, while those others work on it.
fn wait<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> Result<T, BucketError> {
    let (send, receive) = std::sync::mpsc::sync_channel(1);
    runtime()?.spawn(async move {
        let _ = send.send(work.await);
    });
    receive.recv().map_err(|_| BucketError::Broken)
}
