//! Portable backups: export, import, have.

use std::path::PathBuf;

use clap::Args;

use super::target::BucketArgs;

/// `bulbil export`
#[derive(Debug, Args)]
pub struct ExportArgs {
    /// Where to: a portable backup that is gone on with, or a folder in which the newest one is, or a new one is made
    #[arg(short, long, value_name = "DIR")]
    pub output: PathBuf,
    /// Which collections [default: all]
    pub collections: Vec<String>,
    /// Only this snapshot: NAME, NAME@latest, NAME@NUMBER or an id; may be given several times
    #[arg(long, value_name = "SNAPSHOT", conflicts_with = "collections")]
    pub snapshot: Vec<String>,
    /// Leave out what the receiver has: a file that 'bulbil have' wrote there
    #[arg(long, value_name = "FILE")]
    pub since_have: Option<PathBuf>,
    /// Let this trusted peer read it, too: what it may see, under its key
    #[arg(long = "for", value_name = "PEER")]
    pub recipient: Option<String>,
    /// Begin a new folder, though there is one to go on with
    #[arg(long)]
    pub new: bool,
    /// Read every chunk that is in the folder already, and write anew what is not what it was
    #[arg(long)]
    pub verify: bool,
}

/// `bulbil import`
#[derive(Debug, Args)]
pub struct ImportArgs {
    /// A portable backup, or a folder with some; or s3://bucket/prefix
    pub dir: PathBuf,
    /// Which collections: names, or beginnings of ids [default: all]
    pub collections: Vec<String>,
    /// Manifests and keys only
    #[arg(long)]
    pub skip_chunks: bool,
    /// Open what our own key does not open with a recovery key, and keep it for this instance
    #[arg(long)]
    pub rekey: bool,
    /// A file with that recovery key [default: ask for it]
    #[arg(long, value_name = "FILE", requires = "rekey")]
    pub recovery_key_file: Option<PathBuf>,
    /// How a bucket is reached
    #[command(flatten)]
    pub bucket: BucketArgs,
}

/// `bulbil have`
#[derive(Debug, Args)]
pub struct HaveArgs {
    /// The file to write
    #[arg(short, long, value_name = "FILE")]
    pub output: PathBuf,
}

/// `bulbil import-tar`
#[derive(Debug, Args)]
pub struct ImportTarArgs {
    /// The archives
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Which collection they belong to, made if it is missing [default: what their names begin with]
    #[arg(long, value_name = "NAME")]
    pub collection: Option<String>,
    /// Which application's data a new collection is: 'bulbil preset list'
    #[arg(long, value_name = "NAME")]
    pub preset: Option<String>,
    /// When the archive was made, as 2026-11-26T02:00:00Z [default: as its name says, or the newest file in it]
    #[arg(long, value_name = "TIME")]
    pub date: Option<jiff::Timestamp>,
    /// A file whose first line is the passphrase of encrypted archives [default: gpg asks its agent]
    #[arg(long, value_name = "FILE")]
    pub archive_passphrase_file: Option<PathBuf>,
    /// Where an archive's content lies meanwhile, in a file without a name [default: the home]
    #[arg(long, value_name = "DIR")]
    pub scratch: Option<PathBuf>,
    /// Say which archive is of when, and do nothing
    #[arg(long)]
    pub dry_run: bool,
}
