//! The bearer token of the admin plane: `HOME/keys/admin-token`, readable by the owner alone. Who can read it may open the
//! keys beside it, too, so it gives nobody more than he has.

use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use http::HeaderMap;
use http::header::AUTHORIZATION;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::store::{Home, entropy};

const FILE: &str = "admin-token";
const BYTES: usize = 32;
/// A longer file is no token.
const MAX_TEXT: u64 = 256;

/// Why there is no token.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// The file cannot be read or written.
    #[error("cannot {what} {}", path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// Which file.
        path: PathBuf,
        /// What the system said.
        #[source]
        cause: io::Error,
    },
    /// Others can read it.
    #[error("{} can be reached by others than its owner (mode {mode:03o}): delete it and start 'bulbil serve' again, which makes a new one", path.display())]
    Readable {
        /// Which file.
        path: PathBuf,
        /// Its mode now.
        mode: u32,
    },
    /// It holds no token.
    #[error("{} holds no token: delete it and start 'bulbil serve' again, which makes a new one", path.display())]
    Damaged {
        /// Which file.
        path: PathBuf,
    },
}

/// The token. Wiped when dropped, never shown.
#[derive(Clone)]
pub struct AdminToken(Zeroizing<String>);

impl std::fmt::Debug for AdminToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("AdminToken(…)")
    }
}

impl AdminToken {
    /// The home's token; a fresh one is drawn and written if there is none.
    ///
    /// # Errors
    /// [`TokenError`].
    pub fn load_or_create(home: &Home) -> Result<Self, TokenError> {
        let path = home.keys().join(FILE);
        match Self::load(home) {
            Err(TokenError::Io { cause, .. }) if cause.kind() == ErrorKind::NotFound => {}
            found => return found,
        }
        let mut bytes = Zeroizing::new([0u8; BYTES]);
        rand_core::Rng::fill_bytes(&mut entropy(), &mut *bytes);
        let token = Self(Zeroizing::new(data_encoding::BASE64URL_NOPAD.encode(&*bytes)));
        // Under another name until it is whole; only the one server of a home gets here.
        let fresh = home.keys().join(format!("{FILE}.new"));
        let written = (|| {
            let mut options = OpenOptions::new();
            let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&fresh)?;
            file.set_permissions(fs::Permissions::from_mode(0o600))?;
            writeln!(file, "{}", *token.0)?;
            file.sync_all()?;
            fs::rename(&fresh, &path)
        })();
        written.map_err(|cause| TokenError::Io { what: "write", path, cause })?;
        Ok(token)
    }

    /// The home's token, which is there since a server ran the first time.
    ///
    /// # Errors
    /// [`TokenError`].
    pub fn load(home: &Home) -> Result<Self, TokenError> {
        let path = home.keys().join(FILE);
        let read = |path: &Path| -> io::Result<(u32, Option<String>)> {
            let metadata = fs::metadata(path)?;
            let text = (metadata.len() <= MAX_TEXT).then(|| fs::read_to_string(path)).transpose()?;
            Ok((metadata.permissions().mode() & 0o777, text))
        };
        let (mode, text) = read(&path).map_err(|cause| TokenError::Io { what: "read", path: path.clone(), cause })?;
        if mode & 0o077 != 0 {
            return Err(TokenError::Readable { path, mode });
        }
        let text = Zeroizing::new(text.unwrap_or_default());
        let token = text.trim();
        match data_encoding::BASE64URL_NOPAD.decode(token.as_bytes()).map(Zeroizing::new) {
            Ok(bytes) if bytes.len() == BYTES => Ok(Self(Zeroizing::new(token.to_owned()))),
            _ => Err(TokenError::Damaged { path }),
        }
    }

    /// The value of the `Authorization` header.
    pub fn header(&self) -> Zeroizing<String> {
        Zeroizing::new(format!("Bearer {}", *self.0))
    }

    /// Whether a request shows the token, in constant time.
    pub(super) fn is_shown(&self, headers: &HeaderMap) -> bool {
        let mut values = headers.get_all(AUTHORIZATION).iter();
        match (values.next(), values.next()) {
            (Some(shown), None) => {
                let (wanted, shown) = (self.header(), shown.as_bytes());
                let scheme = "Bearer ".len();
                let (Some(said), Some(token)) = (shown.get(..scheme), shown.get(scheme..)) else { return false };
                let is_token: bool = token.ct_eq(&wanted.as_bytes()[scheme..]).into();
                said.eq_ignore_ascii_case(b"Bearer ") && is_token
            }
            _ => false,
        }
    }
}
