//! Other places that hold copies of a repository: where they are, and what is kept there.
//!
//! A target is what its admin named, and nothing else leads to one: no peer does, and none stands in for a peer that is not reached.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, ZeroizeOnDrop};

use super::id::CollectionId;

/// Longest address, in bytes.
const MAX_ADDRESS: usize = 2048;

/// An address without what stands before an `@`: that may be a secret, and messages are kept.
fn without_user(address: &str) -> String {
    match address.rsplit_once('@') {
        Some((before, host)) => {
            let scheme = before.split_once("://").map_or("", |(scheme, _)| scheme);
            format!("{scheme}://…@{host}")
        }
        None => address.to_owned(),
    }
}

/// Why something is no address of a target.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    /// No address of a known kind.
    #[error("{:?} is no place for copies: give a folder, file:///a/folder, or s3://bucket/prefix", without_user(.0))]
    Kind(String),
    /// A folder that is not named from the root.
    #[error("{0:?} is not the whole path of a folder: begin it with /")]
    Relative(String),
    /// No bucket.
    #[error("{:?} names no bucket: it looks like s3://bucket or s3://bucket/prefix, of letters, digits and ._-/", without_user(.0))]
    Bucket(String),
    /// Not an endpoint.
    #[error("{:?} is no endpoint: it looks like https://s3.example.org or http://127.0.0.1:9000, without a path", without_user(.0))]
    Endpoint(String),
    /// An onion service as an endpoint.
    #[error("an endpoint in the Tor network is not supported: object stores are reached without Tor")]
    Onion,
}

/// A bucket of an S3-compatible store, and where in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BucketAddress {
    /// The bucket.
    pub bucket: String,
    /// What the names of objects begin with; empty, or without `/` at either end.
    #[serde(default)]
    pub prefix: String,
    /// Where the store answers; that of AWS for the region if it is not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// Its region; `us-east-1` if it is not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
}

impl fmt::Display for BucketAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "s3://{}", self.bucket)?;
        if self.prefix.is_empty() { Ok(()) } else { write!(f, "/{}", self.prefix) }
    }
}

impl BucketAddress {
    /// From `s3://bucket/prefix`, and where the store answers.
    ///
    /// # Errors
    /// [`TargetError`].
    pub fn parse(text: &str, endpoint: Option<&str>, region: Option<&str>) -> Result<Self, TargetError> {
        let wrong = || TargetError::Bucket(text.to_owned());
        let rest = text.strip_prefix("s3://").ok_or_else(wrong)?;
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        let prefix = prefix.trim_end_matches('/');
        let plain = |text: &str| text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
        let part_is_good = |part: &str| !part.is_empty() && part != "." && part != ".." && plain(part);
        let is_good = (3..=63).contains(&bucket.len())
            && part_is_good(bucket)
            && (prefix.is_empty() || prefix.split('/').all(part_is_good))
            && text.len() <= MAX_ADDRESS;
        if !is_good {
            return Err(wrong());
        }
        let endpoint = endpoint.map(endpoint_of).transpose()?;
        let region = region.map(str::to_owned).filter(|region| !region.is_empty());
        Ok(Self { bucket: bucket.to_owned(), prefix: prefix.to_owned(), endpoint, region })
    }
}

/// An endpoint without a `/` at its end.
fn endpoint_of(text: &str) -> Result<String, TargetError> {
    let wrong = || TargetError::Endpoint(text.to_owned());
    let host = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://")).ok_or_else(wrong)?;
    let host = host.trim_end_matches('/');
    let is_host = |b: u8| b.is_ascii_alphanumeric() || b"-.:[]_".contains(&b);
    if host.is_empty() || text.len() > MAX_ADDRESS || !host.bytes().all(is_host) {
        return Err(wrong());
    }
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    if name.trim_end_matches('.').to_ascii_lowercase().ends_with(".onion") {
        return Err(TargetError::Onion);
    }
    Ok(text.trim_end_matches('/').to_owned())
}

/// Where a target is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Location {
    /// A folder: a disk, a mounted share.
    Folder(PathBuf),
    /// Objects in a bucket.
    Bucket(BucketAddress),
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folder(path) => write!(f, "{}", path.display()),
            Self::Bucket(address) => address.fmt(f),
        }
    }
}

impl Location {
    /// From what somebody typed: `s3://…`, `file:///…`, or a whole path.
    ///
    /// # Errors
    /// [`TargetError`].
    pub fn parse(text: &str, endpoint: Option<&str>, region: Option<&str>) -> Result<Self, TargetError> {
        if text.starts_with("s3://") {
            return BucketAddress::parse(text, endpoint, region).map(Self::Bucket);
        }
        let path = match text.strip_prefix("file://") {
            Some(path) => path,
            None if text.contains("://") || text.is_empty() => return Err(TargetError::Kind(text.to_owned())),
            None => text,
        };
        let path = PathBuf::from(path);
        if path.is_absolute() { Ok(Self::Folder(path)) } else { Err(TargetError::Relative(text.to_owned())) }
    }
}

/// What a store asks for before it lets somebody in. Wiped when dropped, and shown by nothing.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Zeroize, ZeroizeOnDrop)]
pub struct BucketKey {
    /// Who.
    pub id: String,
    /// The secret to it.
    pub secret: String,
    /// For a key that holds for some hours only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
}

impl fmt::Debug for BucketKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BucketKey(…)")
    }
}

/// A file or a text that holds no credentials.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it has no lines aws_access_key_id = … and aws_secret_access_key = …")]
pub struct NoBucketKey;

impl FromStr for BucketKey {
    type Err = NoBucketKey;

    /// From lines `name = value` as in `~/.aws/credentials`: `aws_access_key_id`, `aws_secret_access_key`, `aws_session_token`, in
    /// either case. Of several sections the first one that has them.
    fn from_str(text: &str) -> Result<Self, NoBucketKey> {
        let value = |wanted: &str| {
            let of_line = |line: &str| {
                let (name, value) = line.split_once('=')?;
                let name = name.trim().trim_start_matches("export ").trim();
                let value = value.trim().trim_matches(['"', '\'']);
                (name.eq_ignore_ascii_case(wanted) && !value.is_empty()).then(|| value.to_owned())
            };
            text.lines().find_map(of_line)
        };
        let (id, secret) = (value("aws_access_key_id"), value("aws_secret_access_key"));
        let (id, secret) = id.zip(secret).ok_or(NoBucketKey)?;
        Ok(Self { id, secret, token: value("aws_session_token") })
    }
}

/// A place that holds copies.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    /// What its admin calls it.
    pub name: String,
    /// Where it is.
    pub location: Location,
    /// Which collections are copied; all, if there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub collections: Vec<CollectionId>,
    /// What lets us in, for a bucket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<BucketKey>,
}

impl Target {
    /// Whether a collection is copied there.
    pub fn takes(&self, collection: &CollectionId) -> bool {
        self.collections.is_empty() || self.collections.contains(collection)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_garbage_is_refused() {
        let bucket = |text: &str| BucketAddress::parse(text, Some("http://127.0.0.1:9000/"), None);
        let read = bucket("s3://backups/home/a/").unwrap();
        assert_eq!((read.bucket.as_str(), read.prefix.as_str()), ("backups", "home/a"));
        assert_eq!(read.endpoint.as_deref(), Some("http://127.0.0.1:9000"));
        assert_eq!(read.to_string(), "s3://backups/home/a");
        for bad in
            ["s3://", "s3:///a", "s3://ab", "s3://bucket/../x", "s3://bucket//x", "s3://bucket/a b", "s3://b\0cket"]
        {
            assert!(bucket(bad).is_err(), "{bad:?}");
        }
        for bad in
            ["127.0.0.1:9000", "https://", "https://host/path", "https://user:pass@host", "ftp://host", "http://a b"]
        {
            assert!(BucketAddress::parse("s3://backups", Some(bad), None).is_err(), "{bad}");
        }
        let onion = "http://pg6mmjiyjmcrsslvykfwnntlaru7p5svn6y2ymmju6nubxndf4pscryd.onion:80";
        assert_eq!(BucketAddress::parse("s3://backups", Some(onion), None), Err(TargetError::Onion));
        assert_eq!(Location::parse("file:///mnt/nas", None, None).unwrap(), Location::Folder("/mnt/nas".into()));
        for bad in ["", "nas", "file://nas", "ftp://host/x", "./x"] {
            assert!(Location::parse(bad, None, None).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn credentials_are_read_from_their_file_and_shown_by_nothing() {
        let text = "# ours\n[default]\naws_access_key_id = AKIA1\naws_secret_access_key = \"s3cr3t=/+\"\n[other]\naws_access_key_id = B\n";
        let key: BucketKey = text.parse().unwrap();
        assert_eq!((key.id.as_str(), key.secret.as_str(), &key.token), ("AKIA1", "s3cr3t=/+", &None));
        assert!(!format!("{key:?}").contains("s3cr3t") && !format!("{key:?}").contains("AKIA1"));
        let shell: BucketKey =
            "export AWS_ACCESS_KEY_ID=a\nexport AWS_SECRET_ACCESS_KEY='b'\nAWS_SESSION_TOKEN=c".parse().unwrap();
        assert_eq!(shell.token.as_deref(), Some("c"));
        assert!("aws_access_key_id = a".parse::<BucketKey>().is_err());
    }
}
