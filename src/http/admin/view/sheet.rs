//! The recovery sheet as a resource: all that stands on paper but the recovery key.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::backup::sheet::{self, OfCollection, OfSecret, Sheet};

/// The recovery sheet. Secrets are on it as text that the recovery key opens; the recovery key is not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SheetView {
    /// What the instance is called.
    pub name: String,
    /// Which instance.
    pub instance: String,
    /// Eight words that stand for it.
    pub fingerprint: String,
    /// The machine.
    pub host: String,
    /// Where the home is on it.
    pub home: String,
    /// When this was put together.
    #[schema(value_type = String, format = DateTime)]
    pub made_at: Timestamp,
    /// The beginning of the name of the recovery key.
    pub recovery_key_id: String,
    /// What is backed up.
    pub collections: Vec<CollectionOnPaper>,
    /// Who else may have copies.
    pub peers: Vec<String>,
    /// Where copies go.
    pub targets: Vec<String>,
    /// What to do when the machine is gone.
    pub steps: Vec<StepView>,
}

/// What stands there of a collection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CollectionOnPaper {
    /// What it is called.
    pub name: String,
    /// What it is.
    pub about: Option<String>,
    /// Where its folders are.
    pub folders: Vec<String>,
    /// The newest snapshot, in words.
    pub newest: Option<String>,
    /// Secrets of the application, sealed.
    pub secrets: Vec<SecretOnPaper>,
    /// Secrets of which nothing can be printed: a sentence each, with why.
    pub without: Vec<String>,
}

/// A secret, sealed for the recovery key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SecretOnPaper {
    /// What it is called.
    pub name: String,
    /// What it is for.
    pub what: Option<String>,
    /// Where the application looks for it.
    pub place: Option<String>,
    /// Since when it is in use.
    #[schema(value_type = String, format = DateTime)]
    pub since: Timestamp,
    /// The beginning of its fingerprint.
    pub fingerprint: String,
    /// Its text in pieces, each for one QR code. `bulbil secret show --document` reads them.
    pub codes: Vec<String>,
}

/// Something to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StepView {
    /// What.
    pub what: String,
    /// The commands that do it.
    pub commands: Vec<String>,
}

impl From<&Sheet> for SheetView {
    fn from(sheet: &Sheet) -> Self {
        let steps = sheet::steps(sheet).into_iter();
        Self {
            name: sheet.name.clone(),
            instance: sheet.instance.clone(),
            fingerprint: sheet.fingerprint.clone(),
            host: sheet.host.clone(),
            home: sheet.home.clone(),
            made_at: sheet.made,
            recovery_key_id: sheet.key_id.clone(),
            collections: sheet.collections.iter().map(CollectionOnPaper::from).collect(),
            peers: sheet.peers.clone(),
            targets: sheet.targets.clone(),
            steps: steps.map(|step| StepView { what: step.what, commands: step.commands }).collect(),
        }
    }
}

impl From<&OfCollection> for CollectionOnPaper {
    fn from(of: &OfCollection) -> Self {
        Self {
            name: of.name.clone(),
            about: of.about.clone(),
            folders: of.folders.clone(),
            newest: of.newest.clone(),
            secrets: of.secrets.iter().map(SecretOnPaper::from).collect(),
            without: of.without.clone(),
        }
    }
}

impl From<&OfSecret> for SecretOnPaper {
    fn from(secret: &OfSecret) -> Self {
        Self {
            name: secret.name.clone(),
            what: secret.what.clone(),
            place: secret.place.clone(),
            since: secret.since,
            fingerprint: secret.fingerprint.clone(),
            codes: secret.codes.clone(),
        }
    }
}
