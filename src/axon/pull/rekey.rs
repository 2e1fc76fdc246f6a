//! Envelopes for this instance and for those who are trusted now; keys, IVs and chunks stay as they are.

use std::collections::BTreeSet;

use jiff::Timestamp;
use tokio::task::spawn_blocking;

use super::PullError;
use crate::axon::instance::AxonInstance;
use crate::axon::library::{Library, applet_records, with_code, with_data};
use crate::domain::axon::backup::{DataRow, Metadata};
use crate::domain::axon::key::{KeyError, KeyName, Wrapper};
use crate::domain::axon::manifest::{ContentType, Manifest};
use crate::domain::crypto::secret::Secret;
use crate::store::Store;
use crate::store::axon::{Change, Item};
use crate::store::index::Collection;
use crate::store::index::axon::AxonTrust;

/// What was done.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct RekeyReport {
    /// Items that are known.
    pub items: u64,
    /// Items whose envelopes have changed.
    pub rekeyed: u64,
    /// Items that cannot be opened here, and so not be given to anybody.
    pub without_key: u64,
    /// Those for whom envelopes are made: this instance and the trusted ones.
    pub recipients: u64,
}

/// Makes envelopes for this instance and for all trusted Axon instances, and drops all others. What belongs to a user keeps the
/// user's, and nobody gets one for it but this instance.
///
/// # Errors
/// [`PullError`].
pub async fn rekey(
    store: &Store,
    collection: &Collection,
    instance: &AxonInstance,
    now: Timestamp,
) -> Result<RekeyReport, PullError> {
    let own = instance.wrapper()?;
    let recipients = recipients(store, instance).await?;
    let shelf = store.axon(collection.id);
    let library = Library::load(&shelf).await?;
    let work = move || seal(library, &own, &recipients, now);
    let (change, report) = spawn_blocking(work).await.map_err(|_| PullError::Died)??;
    shelf.put(&change).await?;
    Ok(report)
}

/// Those who get envelopes: this instance first, then the trusted ones.
///
/// # Errors
/// [`PullError`].
pub async fn recipients(store: &Store, instance: &AxonInstance) -> Result<Vec<Wrapper>, PullError> {
    let mut recipients = vec![instance.wrapper()?];
    for peer in store.index.axon_peers().await? {
        if matches!(peer.trust, AxonTrust::Trusted(_)) {
            recipients.push(peer.public_key.wrapper()?);
        }
    }
    Ok(recipients)
}

fn seal(
    library: Library,
    own: &Wrapper,
    recipients: &[Wrapper],
    now: Timestamp,
) -> Result<(Change, RekeyReport), KeyError> {
    let mut report = RekeyReport {
        items: library.items.len() as u64,
        recipients: recipients.len() as u64,
        ..RekeyReport::default()
    };
    let mut change = Change::default();
    for (id, applet) in &library.applets {
        let mut applet = applet.clone();
        let mut changed = false;
        let mut metadata: Metadata = applet.metadata.clone().into_fields();
        if let Some(code) = &mut metadata.code_manifest
            && let Some(key) = library.key_of(code)
            && renew(code, key, recipients)?
        {
            (applet.metadata, changed) = (with_code(&applet.metadata, code), true);
        }
        for row in &mut applet.data {
            let mut data: DataRow = (*row).clone().into_fields();
            if let Some(key) = library.key_of(&data.data_manifest)
                && !data.data_manifest.has_envelope(own.name())
            {
                data.data_manifest.add_envelope(own, key)?;
                (*row, changed) = (with_data(row, &data.data_manifest), true);
            }
        }
        if changed && let Ok(id) = id.parse() {
            change.records.extend(applet_records(&id, &applet, now));
        }
    }
    for item in library.items.into_values() {
        let (Some(key), Ok(mut manifest)) = (&item.key, Manifest::parse(item.manifest.as_bytes())) else {
            report.without_key += 1;
            continue;
        };
        let of_a_user = item.kinds.iter().all(|kind| *kind == ContentType::AppletData);
        let changed = match of_a_user {
            true if manifest.has_envelope(own.name()) => false,
            true => manifest.add_envelope(own, key).map(|()| true)?,
            false => renew(&mut manifest, key, recipients)?,
        };
        if changed {
            report.rekeyed += 1;
            change.items.push(Item { manifest: manifest.to_value().to_line(), ..item });
        }
    }
    Ok((change, report))
}

/// Whether anything changed: envelopes that are there are not made anew.
fn renew(manifest: &mut Manifest, key: &Secret<32>, recipients: &[Wrapper]) -> Result<bool, KeyError> {
    let wanted: BTreeSet<&str> = recipients.iter().map(|recipient| recipient.name().as_str()).collect();
    let names: BTreeSet<&str> = manifest.envelope_names().collect();
    if names == wanted {
        return Ok(false);
    }
    let names: Vec<&KeyName> = recipients.iter().map(Wrapper::name).collect();
    manifest.keep_envelopes(&names);
    for recipient in recipients {
        if !manifest.has_envelope(recipient.name()) {
            manifest.add_envelope(recipient, key)?;
        }
    }
    Ok(true)
}
