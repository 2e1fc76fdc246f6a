//! The exported configuration of a peer: rows without superusers, and the applets in it.
//!
//! An instance exports everything to everybody whom it trusts, its superusers with their password hashes included. Here only
//! rows of the five known models are kept, and of those none of a superuser, however the model's name is written. Applets of a
//! superuser stay, with nobody as their owner: their code was announced to everybody.
//!
//! Primary keys of two instances collide, so the configuration is that of one peer: the one that was cloned, or the first one that
//! gave it. Applets have ids of their own and come from all.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use super::keep::keep;
use super::merge::fresh;
use super::{AxonPuller, PullError, address, called};
use crate::axon::library::{
    Applet, CONFIG, INSTALLATION, Library, LibraryError, SOURCE, applet_records, config_record, installation_key,
    source_of, source_record,
};
use crate::domain::axon::backup::Metadata;
use crate::domain::axon::export::{self, APPLET, BOARD, CATEGORY, FILE_TYPE, Row, USER, is_superuser};
use crate::domain::axon::json::{Object, ShapeError, Value};
use crate::domain::axon::kept::Kept;
use crate::domain::axon::manifest::{ContentType, Manifest};
use crate::domain::axon::moment;
use crate::store::axon::{AxonShelf, Change};
use crate::store::index::Collection;
use crate::store::index::axon::AxonPeer;

/// What is kept.
const MODELS: [&str; 5] = [USER, FILE_TYPE, APPLET, CATEGORY, BOARD];
/// Columns that name a user.
const OF_USERS: [&str; 3] = ["owner", "user", "author"];

/// What becomes of the rows of a configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rows {
    /// They are kept from now on, whosever were kept before.
    Claim,
    /// They are kept if this peer's are, or nobody's yet.
    Follow,
    /// They are not kept this time; if nobody's are kept yet, by later visits neither, until they are claimed.
    LeaveOut,
}

/// What a configuration brought.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct ConfigReport {
    /// Rows that are kept, by model.
    pub rows: BTreeMap<String, u64>,
    /// Superusers that were left out.
    pub superusers: u64,
    /// Rows of other models that were left out.
    pub other_models: u64,
    /// Applets that were new, or have changed.
    pub applets: u64,
    /// Whether something is kept that was not before.
    pub changed: bool,
    /// It is another peer's configuration that is kept; of this one the applets.
    pub of_another_peer: Option<String>,
    /// Its rows were left out, since that was said.
    pub left_out: bool,
}

/// Rows that may be kept, under the names of their models in lower case.
pub fn filter(rows: Vec<Kept<Row>>) -> (Vec<Kept<Row>>, ConfigReport) {
    let mut report = ConfigReport::default();
    let model = |row: &Row| row.model.trim().to_lowercase();
    let superusers: BTreeSet<String> =
        rows.iter().filter(|row| model(row) == USER && is_superuser(&row.fields)).map(|row| row.pk.to_line()).collect();
    let of_superuser = |value: Option<&Value>| {
        value.is_some_and(|pk| {
            let pk = pk.to_line();
            // A number may be written as text.
            superusers.iter().any(|known| known.trim_matches('"') == pk.trim_matches('"'))
        })
    };
    let mut kept = Vec::new();
    for row in rows {
        let model = model(&row);
        if !MODELS.contains(&model.as_str()) {
            report.other_models += 1;
            continue;
        }
        if model == USER && (is_superuser(&row.fields) || of_superuser(Some(&row.pk))) {
            report.superusers += 1;
            continue;
        }
        let mut fields = row.fields.clone();
        let owned: Vec<&str> = OF_USERS.into_iter().filter(|column| of_superuser(fields.get(column))).collect();
        if !owned.is_empty() && model != APPLET {
            continue;
        }
        owned.iter().for_each(|column| fields.set(*column, Value::Null));
        *report.rows.entry(model.clone()).or_default() += 1;
        let as_it_came = owned.is_empty() && model == row.model;
        kept.push(if as_it_came { row } else { Kept::new(Row { model, pk: row.pk.clone(), fields }) });
    }
    (kept, report)
}

impl AxonPuller {
    /// Fetches a peer's configuration: its rows, and the applets among them if `applets`.
    ///
    /// # Errors
    /// [`PullError`].
    pub async fn config(
        &self,
        collection: &Collection,
        peer: &AxonPeer,
        kept: Rows,
        applets: bool,
        cancel: &CancellationToken,
    ) -> Result<ConfigReport, PullError> {
        let address = address(peer)?;
        self.asked();
        let asking = self.caller.export_config(&address);
        let bytes = cancel.run_until_cancelled(asking).await.ok_or(PullError::Cancelled)?.map_err(called(peer))?;
        let parsed = tokio::task::spawn_blocking(move || export::parse(&bytes)).await.map_err(|_| PullError::Died)?;
        let (rows, mut report) = filter(parsed.map_err(|cause| PullError::Config { peer: peer.name.clone(), cause })?);
        let now = self.caller.now();
        let _changing = self.changing.lock().await;
        let shelf = self.store.axon(collection.id);
        let mut change = Change::default();
        if applets {
            self.applets(&rows, &shelf, &mut change, &mut report, now).await?;
        }
        let source = shelf.records(SOURCE).await?.pop();
        let of_installation = source.as_ref().and_then(installation_key);
        let source = source.map(|record| source_of(&record));
        match (kept, source) {
            // It has the tables of that BBS, too, and they would not fit.
            (Rows::Claim, _) if of_installation.is_some_and(|key| key != peer.public_key) => {
                report.of_another_peer = Some(INSTALLATION.to_owned());
            }
            (Rows::Claim | Rows::Follow, Some(Some(source))) if source == peer.name => {
                let known = known_rows(&shelf).await?;
                match keep(known, by_model(rows)) {
                    Some(rows) => self.rows(peer, rows, &mut change, now),
                    None => self.problem(
                        format!("peer {}", peer.name),
                        "its configuration was left as it was here: with what is known it has over 100,000 rows of a kind",
                    ),
                }
            }
            (Rows::Claim, _) | (Rows::Follow, None) => self.rows(peer, by_model(rows), &mut change, now),
            (_, Some(Some(other))) if other != peer.name => report.of_another_peer = Some(other),
            (_, Some(_)) => report.left_out = true,
            (Rows::LeaveOut, None) => {
                report.left_out = true;
                change.records.push(source_record(None, now));
            }
        }
        let known: BTreeMap<String, Vec<u8>> =
            shelf.records("").await?.into_iter().map(|record| (record.path, record.bytes)).collect();
        change.records.retain(|record| known.get(&record.path) != Some(&record.bytes));
        report.changed = !(change.records.is_empty() && change.items.is_empty());
        shelf.put(&change).await?;
        Ok(report)
    }

    /// The rows as records, and whose they are.
    fn rows(&self, peer: &AxonPeer, rows: BTreeMap<String, Vec<Kept<Row>>>, change: &mut Change, now: Timestamp) {
        let records = rows.iter().filter_map(|(model, rows)| config_record(model, rows, now));
        change.records.extend(records.chain([source_record(Some(&peer.name), now)]));
    }

    /// Applets as they stand in backups; data, scores and states that are known stay.
    async fn applets(
        &self,
        rows: &[Kept<Row>],
        shelf: &AxonShelf,
        change: &mut Change,
        report: &mut ConfigReport,
        now: Timestamp,
    ) -> Result<(), PullError> {
        let mut library = Library::load(shelf).await?;
        let own = self.caller.instance().wrapper()?;
        for row in rows.iter().filter(|row| row.model == APPLET) {
            let mut metadata = match metadata(row, rows) {
                Ok(metadata) => metadata,
                Err(cause) => {
                    let name = row.fields.get("name").map(Value::to_line).unwrap_or_default();
                    self.problem(
                        format!("applet {name}"),
                        format!("its row in the configuration was refused: {cause}"),
                    );
                    continue;
                }
            };
            if let Some(code) = &mut metadata.code_manifest {
                match library.items.get_mut(&code.content_hash()) {
                    Some(item) => {
                        let ours = Manifest::parse(item.manifest.as_bytes()).ok();
                        if let (Some(ours), Some(key)) = (ours, &item.key)
                            && ours.seals_the_same(code)
                            && !code.has_envelope(own.name())
                        {
                            code.add_envelope(&own, key)?;
                        }
                    }
                    // One that is never announced has been given to those who were trusted when it was made.
                    None => {
                        let (manifest, caller) = (code.clone(), self.caller.clone());
                        let open = move || manifest.unwrap_key(&caller.instance().private);
                        let key = tokio::task::spawn_blocking(open).await.map_err(|_| PullError::Died)?;
                        if let Ok(key) = key {
                            change.items.push(fresh(code, [ContentType::Applet].into(), Some(key), now));
                        }
                    }
                }
            }
            let id = metadata.id.clone();
            let known = library.applets.remove(id.as_str());
            if let Some(known) = &known {
                finer(&mut metadata, &known.metadata);
                if same_but_envelopes(&metadata, &known.metadata) {
                    continue;
                }
            }
            report.applets += 1;
            let metadata = Kept::new(metadata);
            let applet = match known {
                Some(known) => Applet { metadata, ..known },
                None => Applet { metadata, data: Vec::new(), scores: Vec::new(), state: None },
            };
            change.records.extend(applet_records(&id, &applet, now));
        }
        Ok(())
    }
}

fn by_model(rows: Vec<Kept<Row>>) -> BTreeMap<String, Vec<Kept<Row>>> {
    let mut by_model: BTreeMap<String, Vec<Kept<Row>>> = BTreeMap::new();
    rows.into_iter().for_each(|row| by_model.entry(row.model.clone()).or_default().push(row));
    by_model
}

/// The rows that are kept, by model.
async fn known_rows(shelf: &AxonShelf) -> Result<BTreeMap<String, Vec<Kept<Row>>>, PullError> {
    let mut rows = Vec::new();
    for record in shelf.records(CONFIG).await? {
        let malformed = |cause| LibraryError::Malformed { path: record.path.clone(), cause: Some(cause) };
        rows.extend(export::parse(&record.bytes).map_err(malformed)?);
    }
    Ok(by_model(rows))
}

/// An exported moment has milliseconds; one that is known more precisely stays.
pub(in crate::axon) fn finer(metadata: &mut Metadata, known: &Metadata) {
    if metadata.created_at.as_millisecond() == known.created_at.as_millisecond() {
        metadata.created_at = known.created_at;
    }
}

/// Envelopes come and go with those who are trusted, and say nothing of the applet.
pub(in crate::axon) fn same_but_envelopes(one: &Metadata, other: &Metadata) -> bool {
    let bare = |metadata: &Metadata| {
        let mut metadata = metadata.clone();
        if let Some(code) = &mut metadata.code_manifest {
            code.keep_envelopes(&[]);
            // The list of what is new says it, and the configuration need not.
            code.set_content_type(ContentType::Applet);
        }
        metadata
    };
    bare(one) == bare(other)
}

/// A row of the model `applets.applet` as it stands in backups, where names stand for keys.
pub(in crate::axon) fn metadata(row: &Row, rows: &[Kept<Row>]) -> Result<Metadata, ShapeError> {
    let wrong = |field, expected| ShapeError::Unexpected { field, expected };
    let fields = &row.fields;
    let name_of = |column: &str, model: &str| {
        let key = fields.get(column).filter(|key| **key != Value::Null)?;
        let named = rows.iter().find(|row| row.model == model && row.pk == *key)?;
        match named.fields.get("name") {
            Some(Value::Text(name)) => Some(name.clone()),
            _ => None,
        }
    };
    let id = match &row.pk {
        Value::Text(id) => id.as_str().and_then(|id| id.parse().ok()),
        _ => None,
    };
    let code_manifest = match fields.get("code_manifest") {
        None | Some(Value::Null) => None,
        Some(Value::Object(code)) if code.is_empty() => None,
        Some(Value::Object(code)) => Some(Manifest::from_object(code.clone())?),
        Some(_) => return Err(wrong("code_manifest", "an object")),
    };
    let text = |field: &'static str| Ok::<_, ShapeError>(fields.optional_text(field)?.cloned().unwrap_or_default());
    let flag = |field: &str| matches!(fields.get(field), Some(Value::Bool(true)));
    let created_at = fields.need_str("created_at")?;
    Ok(Metadata {
        id: id.ok_or(wrong("pk", "a UUID"))?,
        name: fields.need_text("name")?.clone(),
        description: text("description")?,
        author_pubkey: text("author_pubkey")?,
        code_manifest,
        parameters: match fields.get("parameters") {
            Some(Value::Object(parameters)) => parameters.clone(),
            _ => Object::new(),
        },
        is_local: flag("is_local"),
        created_at: moment::parse(created_at).ok_or(wrong("created_at", "a date and time"))?,
        category: name_of("category", CATEGORY),
        is_debug_mode: flag("is_debug_mode"),
        event_board: name_of("event_board", BOARD),
        handles_mime_types: text("handles_mime_types")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(text: &str) -> Vec<Kept<Row>> {
        export::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn no_superuser_passes_however_it_is_written() {
        let text = r#"[{"model": "core.user", "pk": 1, "fields": {"username": "root", "is_superuser": true}},
            {"model": "core.User", "pk": 2, "fields": {"username": "a", "is_superuser": true}},
            {"model": " CORE.USER ", "pk": 3, "fields": {"username": "b", "is_superuser": 1}},
            {"model": "core.user", "pk": 4, "fields": {"username": "c", "is_superuser": "yes"}},
            {"model": "core.user", "pk": "1", "fields": {"username": "d", "is_superuser": false}},
            {"model": "core.user", "pk": 5, "fields": {"username": "good", "is_superuser": false, "password": "x"}},
            {"model": "core.TrustedInstance", "pk": 1, "fields": {"encrypted_private_key": "x"}},
            {"model": "applets.applet", "pk": "u", "fields": {"name": "by root", "owner": 1}},
            {"model": "applets.applet", "pk": "v", "fields": {"name": "by good", "owner": 5}},
            {"model": "messaging.MessageBoard", "pk": 1, "fields": {"name": "general"}}]"#;
        let (kept, report) = filter(rows(text));
        let shown: Vec<String> = kept
            .iter()
            .map(|row| format!("{} {} {:?}", row.model, row.pk.to_line(), row.fields.get("owner")))
            .collect();
        assert_eq!(
            shown,
            [
                "core.user 5 None",
                "applets.applet \"u\" Some(Null)",
                "applets.applet \"v\" Some(Int(Int(\"5\")))",
                "messaging.messageboard 1 None",
            ]
        );
        assert_eq!((report.superusers, report.other_models), (5, 1));
    }
}
