//! Who leads which collection: signed statements, and the lines that follow from them.
//!
//! Lines are derived: whenever a statement comes, all are followed anew, and a collection's origin becomes whoever leads it now.

use std::collections::{BTreeMap, BTreeSet};

use sqlx::{Row, SqliteConnection};

use super::collections::{self, Collection, NewCollection};
use super::{Index, IndexError, id, json, to_json};
use crate::domain::id::{CollectionId, FeedId, InstanceId, StatementId};
use crate::domain::manifest::SignedManifest;
use crate::domain::succession::{
    Reign, SignedStatement, Statement, Succession, Verified, founder as founder_of, stands_beside,
};
use crate::store::entropy;
use crate::store::index::CollectionSettings;

/// Most statements that are kept of one signer about one collection.
const MAX_OF_SIGNER: usize = 64;

/// Most statements that are kept of collections and instances that are not known here.
const MAX_STRANGE: usize = 128;

/// What peers tell each other now and then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Topic {
    /// Who leads which collection.
    Succession,
    /// That keys have changed.
    Keys,
}

impl Topic {
    fn word(self) -> &'static str {
        match self {
            Topic::Succession => "succession",
            Topic::Keys => "keys",
        }
    }
}

/// What changed because of new statements.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Succeeded {
    /// Statements that were new and matter.
    pub new: Vec<StatementId>,
    /// Collections that somebody else leads now, and who.
    pub led_by: Vec<(CollectionId, InstanceId)>,
}

impl Index {
    /// All statements that are kept, by id.
    ///
    /// # Errors
    /// [`IndexError`].
    pub async fn statements(&self) -> Result<Vec<Verified>, IndexError> {
        all(&mut *self.pool.acquire().await?).await
    }

    /// Takes statements over, as far as they are new and matter to a collection that is known here, and follows all lines anew;
    /// in one transaction, and the ledger knows it too.
    ///
    /// # Errors
    /// [`IndexError`].
    pub async fn add_statements(&self, statements: &[Verified]) -> Result<Succeeded, IndexError> {
        let known: BTreeSet<StatementId> = self.statements().await?.iter().map(|statement| statement.id).collect();
        if statements.iter().all(|statement| known.contains(&statement.id)) {
            return Ok(Succeeded::default());
        }
        let mut tx = self.begin().await?;
        let succeeded = add(&mut tx, statements).await?;
        self.commit_with_ledger(tx).await?;
        Ok(succeeded)
    }

    /// Takes over how this instance went on under its own keys. A renewal of one of them that it did not make itself is thrown out:
    /// somebody else has had that key.
    ///
    /// # Errors
    /// [`IndexError`].
    pub async fn add_own_renewals(&self, renewals: &[Verified]) -> Result<(), IndexError> {
        let ours: BTreeMap<InstanceId, StatementId> =
            renewals.iter().map(|renewal| (renewal.statement.signer(), renewal.id)).collect();
        let false_ones: Vec<Verified> =
            self.statements().await?.into_iter().filter(|kept| is_false(kept, &ours)).collect();
        if false_ones.is_empty() {
            return self.add_statements(renewals).await.map(drop);
        }
        tracing::warn!("somebody else said that this instance goes on under another key: that counts no more here");
        let mut tx = self.begin().await?;
        forget(&mut tx, false_ones.iter().map(|renewal| renewal.id)).await?;
        add(&mut tx, renewals).await?;
        self.commit_with_ledger(tx).await
    }

    /// This instance takes over: records its statement and how the collection is backed up from now on, and begins a new feed,
    /// in one transaction.
    ///
    /// # Errors
    /// [`IndexError::NoSuchCollection`]; [`IndexError::NotEntitled`] if the statement does not make it the leader: then nothing is
    /// changed.
    pub async fn take_over(
        &self,
        takeover: &Verified,
        settings: &CollectionSettings,
    ) -> Result<Collection, IndexError> {
        let Statement::Takeover { collection, by, .. } = &takeover.statement else {
            return Err(IndexError::NotEntitled);
        };
        let mut tx = self.begin().await?;
        add(&mut tx, std::slice::from_ref(takeover)).await?;
        let known = collections::by_id(&mut tx, collection).await?;
        let known = known.ok_or(IndexError::NoSuchCollection { id: *collection })?;
        if known.origin != by.instance() {
            return Err(IndexError::NotEntitled);
        }
        // Its folder is the application's now: nothing is laid out there any more.
        sqlx::query("UPDATE collection SET settings = ?2, standby = NULL, standby_record = NULL WHERE no = ?1")
            .bind(known.no)
            .bind(to_json(settings))
            .execute(&mut *tx)
            .await?;
        let feed = FeedId::random(&mut entropy());
        sqlx::query("UPDATE feed_name SET id = ?1").bind(feed.as_bytes().to_vec()).execute(&mut *tx).await?;
        self.commit_with_ledger(tx).await?;
        Ok(Collection { settings: Some(settings.clone()), standby: None, ..known })
    }

    /// What was remembered by [`note_told`](Self::note_told).
    ///
    /// # Errors
    /// [`IndexError`].
    pub async fn told(&self, peer: &InstanceId, topic: Topic) -> Result<Option<String>, IndexError> {
        let row = sqlx::query_scalar("SELECT what FROM told WHERE peer = ?1 AND topic = ?2");
        Ok(row.bind(peer.as_bytes().to_vec()).bind(topic.word()).fetch_optional(&self.pool).await?)
    }

    /// Forgets what was exchanged with a peer: it may not be what it was.
    ///
    /// # Errors
    /// [`IndexError`].
    pub async fn forget_told(&self, peer: &InstanceId) -> Result<(), IndexError> {
        sqlx::query("DELETE FROM told WHERE peer = ?1").bind(peer.as_bytes().to_vec()).execute(&self.pool).await?;
        Ok(())
    }

    /// Remembers what was exchanged with a peer, so that it is not done again before something changes.
    ///
    /// # Errors
    /// [`IndexError`].
    pub async fn note_told(&self, peer: &InstanceId, topic: Topic, what: &str) -> Result<(), IndexError> {
        sqlx::query(
            "INSERT INTO told (peer, topic, what) VALUES (?1, ?2, ?3) ON CONFLICT (peer, topic) DO UPDATE SET what = ?3",
        )
        .bind(peer.as_bytes().to_vec())
        .bind(topic.word())
        .bind(what.to_owned())
        .execute(&self.pool)
        .await?;
        Ok(())
    }
}

/// Whether it renews one of our keys and is not the renewal that we made.
fn is_false(statement: &Verified, ours: &BTreeMap<InstanceId, StatementId>) -> bool {
    let renews = statement.statement.collection().is_none();
    renews && ours.get(&statement.statement.signer()).is_some_and(|own| *own != statement.id)
}

/// Signatures were checked when they were taken over.
pub(super) async fn all(connection: &mut SqliteConnection) -> Result<Vec<Verified>, IndexError> {
    let rows = sqlx::query("SELECT text FROM statement ORDER BY id").fetch_all(connection).await?;
    let read = |row: &sqlx::sqlite::SqliteRow| {
        let signed: SignedStatement = json(row.try_get("text")?)?;
        signed.verified_before().map_err(|_| IndexError::Damaged(None))
    };
    rows.iter().map(read).collect()
}

async fn forget(
    connection: &mut SqliteConnection,
    statements: impl IntoIterator<Item = StatementId>,
) -> Result<(), IndexError> {
    for id in statements {
        sqlx::query("DELETE FROM statement WHERE id = ?1")
            .bind(id.as_bytes().to_vec())
            .execute(&mut *connection)
            .await?;
    }
    Ok(())
}

/// Adds what matters, and follows all lines anew.
pub(super) async fn add(connection: &mut SqliteConnection, new: &[Verified]) -> Result<Succeeded, IndexError> {
    let mut kept: BTreeMap<StatementId, Verified> =
        all(connection).await?.into_iter().map(|statement| (statement.id, statement)).collect();
    let known: BTreeSet<StatementId> = kept.keys().copied().collect();
    let collections = collections::all(connection).await?;
    let mut candidates = kept.clone();
    candidates.extend(new.iter().map(|statement| (statement.id, statement.clone())));
    let successions = successions(&collections, &candidates);
    let mut matters = strange(&successions, &known, &candidates);
    for succession in successions.values() {
        let concerns = |verified: &&Verified| succession.concerns(&verified.statement);
        matters.extend(candidates.values().filter(concerns).map(|verified| verified.id));
    }
    let mut succeeded = Succeeded::default();
    for (id, statement) in candidates {
        let (about, signer) = (statement.statement.collection(), statement.statement.signer());
        let of_signer = |other: &&Verified| other.statement.collection() == about && other.statement.signer() == signer;
        let alike = kept.values().filter(of_signer).count();
        // An instance goes on under one other key: whoever steals the old one comes too late.
        let most = if about.is_none() { 1 } else { MAX_OF_SIGNER };
        if known.contains(&id) || !matters.contains(&id) || alike >= most {
            continue;
        }
        sqlx::query("INSERT INTO statement (id, text) VALUES (?1, ?2)")
            .bind(id.as_bytes().to_vec())
            .bind(to_json(&statement.signed))
            .execute(&mut *connection)
            .await?;
        succeeded.new.push(id);
        kept.insert(id, statement);
    }
    // What was kept of a collection before it was known here is judged now.
    let judged = |verified: &&Verified| {
        let about = verified.statement.collection();
        about.is_some_and(|about| successions.contains_key(&about)) && !matters.contains(&verified.id)
    };
    let dropped: Vec<StatementId> = kept.values().filter(judged).map(|verified| verified.id).collect();
    kept.retain(|id, _| !dropped.contains(id));
    forget(connection, dropped).await?;
    succeeded.led_by = follow_all(connection, &collections, &kept).await?;
    if !succeeded.new.is_empty() {
        // Snapshots that were passed over before may have their place now.
        sqlx::query("UPDATE peer SET compared = NULL").execute(&mut *connection).await?;
    }
    Ok(succeeded)
}

/// Follows all lines anew. Answers which collections somebody else leads now.
async fn follow_all(
    connection: &mut SqliteConnection,
    collections: &[Collection],
    statements: &BTreeMap<StatementId, Verified>,
) -> Result<Vec<(CollectionId, InstanceId)>, IndexError> {
    let mut led_by = Vec::new();
    let successions = successions(collections, statements);
    for collection in collections {
        let reigns = &successions[&collection.id].line;
        if *reigns != collection.line {
            follow(connection, collection, reigns).await?;
            let head = reigns.last().expect("a line has a founder").instance;
            if head != collection.origin {
                led_by.push((collection.id, head));
            }
        }
    }
    Ok(led_by)
}

/// After an upgrade: what follows from the statements may be more than before.
pub(super) async fn follow_anew(connection: &mut SqliteConnection) -> Result<(), IndexError> {
    let statements = all(connection).await?.into_iter().map(|statement| (statement.id, statement)).collect();
    let collections = collections::all(connection).await?;
    follow_all(connection, &collections, &statements).await.map(drop)
}

/// What follows from these statements for each collection.
fn successions(
    collections: &[Collection],
    statements: &BTreeMap<StatementId, Verified>,
) -> BTreeMap<CollectionId, Succession> {
    let each = collections.iter().map(|collection| {
        let mut succession = Succession::of(&collection.id, founder(collection), statements.values());
        // Its first snapshot here may have been a later leader's, and came before the statements that say so. Nothing rests on it yet.
        if collection.line.len() <= 1 {
            let known = founder(collection);
            let earlier = founder_of(&collection.id, known, statements.values());
            let longer = Succession::of(&collection.id, earlier, statements.values());
            if !succession.members.contains(&earlier) && longer.line.iter().any(|reign| reign.instance == known) {
                succession = longer;
            }
        }
        (collection.id, succession)
    });
    each.collect()
}

/// Some statements about collections and instances that are not known here yet: their snapshots are about to come. So many are kept
/// and no more, so that nobody can crowd out what matters.
fn strange(
    successions: &BTreeMap<CollectionId, Succession>,
    known: &BTreeSet<StatementId>,
    statements: &BTreeMap<StatementId, Verified>,
) -> BTreeSet<StatementId> {
    let is_strange = |verified: &&Verified| match verified.statement.collection() {
        None => !successions.values().any(|succession| succession.concerns(&verified.statement)),
        Some(about) => !successions.contains_key(&about),
    };
    let (kept, new): (Vec<&Verified>, Vec<&Verified>) =
        statements.values().filter(is_strange).partition(|verified| known.contains(&verified.id));
    new.into_iter().take(MAX_STRANGE.saturating_sub(kept.len())).map(|verified| verified.id).collect()
}

/// Begins the line of a collection of which the first snapshot came, made by `maker`: it may be a later leader's.
pub(super) async fn begin(connection: &mut SqliteConnection, new: NewCollection) -> Result<Collection, IndexError> {
    let statements = all(connection).await?;
    let origin = founder_of(&new.id, new.origin, &statements);
    let collection = collections::insert(connection, &NewCollection { origin, ..new }).await?;
    if statements.is_empty() {
        return Ok(collection);
    }
    add(connection, &[]).await?;
    let again = collections::by_id(connection, &collection.id).await?;
    again.ok_or(IndexError::NoSuchCollection { id: collection.id })
}

/// Who made a collection's first snapshots.
pub(in crate::store) fn founder(collection: &Collection) -> InstanceId {
    collection.line.first().map_or(collection.origin, |reign| reign.instance)
}

/// Records a line: who leads now, and which snapshots stand beside it.
async fn follow(
    connection: &mut SqliteConnection,
    collection: &Collection,
    reigns: &[Reign],
) -> Result<(), IndexError> {
    let head = reigns.last().expect("a line has a founder").instance;
    sqlx::query("UPDATE collection SET origin = ?2 WHERE no = ?1")
        .bind(collection.no)
        .bind(head.as_bytes().to_vec())
        .execute(&mut *connection)
        .await?;
    sqlx::query(
        "INSERT INTO collection_line (collection_no, reigns) VALUES (?1, ?2)
         ON CONFLICT (collection_no) DO UPDATE SET reigns = ?2",
    )
    .bind(collection.no)
    .bind(to_json(&reigns))
    .execute(&mut *connection)
    .await?;
    let rows = sqlx::query("SELECT no, id, maker, sequence, beside FROM snapshot WHERE collection_no = ?1")
        .bind(collection.no)
        .fetch_all(&mut *connection)
        .await?;
    for row in &rows {
        let maker = id(row, "maker", InstanceId::from_slice)?;
        let sequence = row.try_get::<i64, _>("sequence")? as u64;
        // Of a maker that is not in the line any more (an earlier takeover came to light) all stand beside it.
        let beside = stands_beside(reigns, &maker, sequence).unwrap_or(true);
        if beside != row.try_get::<bool, _>("beside")? {
            sqlx::query("UPDATE snapshot SET beside = ?2 WHERE no = ?1")
                .bind(row.try_get::<i64, _>("no")?)
                .bind(beside)
                .execute(&mut *connection)
                .await?;
        }
    }
    Ok(())
}

/// Whether a snapshot stands beside the line. So do all of members that never led, like an heir who took over later than another
/// one: they are kept.
///
/// # Errors
/// [`IndexError::Foreign`] if its maker has no business in the collection.
pub(super) async fn place(
    connection: &mut SqliteConnection,
    collection: &Collection,
    signed: &SignedManifest,
) -> Result<bool, IndexError> {
    let maker = signed.manifest.instance;
    if let Some(beside) = stands_beside(&collection.line, &maker, signed.manifest.sequence) {
        return Ok(beside);
    }
    let statements = all(connection).await?;
    match Succession::of(&collection.id, founder(collection), &statements).members.contains(&maker) {
        true => Ok(true),
        false => Err(IndexError::Foreign { manifest: signed.id, collection: collection.id }),
    }
}

/// A collection's line as it is kept; one that never changed has only its founder.
pub(super) fn read_line(reigns: Option<&str>, origin: InstanceId) -> Result<Vec<Reign>, IndexError> {
    let reigns: Vec<Reign> = reigns.map(json).transpose()?.unwrap_or_default();
    Ok(if reigns.is_empty() { vec![Reign::founder(origin)] } else { reigns })
}
