//! Applets back into a stopped Axon BBS: all of them in one transaction, after its database was copied beside itself.
//!
//! Order: nobody else has the database; it is copied; chunks are verified and written, never over other bytes; rows are inserted and
//! committed. Killed before the commit, the next one who opens the database finds it as it was; chunks that came before belong to
//! nothing, and are found there by the next try.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use jiff::tz::Offset;
use tokio::task::spawn_blocking;

use super::placing::{Placing, Ready};
use super::records;
use super::returning::Returning;
use super::rows::Rows;
use super::schema::Schema;
use super::{InstallError, Installation, Place};
use crate::domain::axon::private::PrivateKey;
use crate::domain::axon::uuid::Uuid;
use crate::domain::text::shown;
use crate::monitor::{Monitor, Problem};
use crate::store::Store;
use crate::store::foreign::{ForeignChange, ForeignError};

/// Where applets go back to.
pub struct PutBack<'a> {
    /// The repository.
    pub store: &'a Store,
    /// When it is.
    pub now: Timestamp,
    /// What could not be put back.
    pub monitor: &'a dyn Monitor,
    /// Do not look for programs that have the database open.
    pub force: bool,
    /// A key was given beside those of this instance and of the BBS.
    pub key_given: bool,
    /// Ids of applets that are this BBS's, as far as that is known: of several of one name these go back.
    pub own: BTreeSet<Uuid>,
}

/// What went back.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct PutReport {
    /// Names of applets that are there now.
    pub restored: Vec<String>,
    /// Names of applets that were there already, and stayed as they are.
    pub skipped: Vec<String>,
    /// Names of applets that were refused.
    pub refused: Vec<String>,
    /// Users' data.
    pub data: u64,
    /// Scores.
    pub scores: u64,
    /// Shared states.
    pub states: u64,
    /// Chunks that were written.
    pub chunks: u64,
    /// The copy of the database; `None` if nothing was changed.
    pub copy: Option<PathBuf>,
}

impl PutBack<'_> {
    /// Puts applets back.
    ///
    /// # Errors
    /// [`InstallError`]; nothing has changed then but chunks, which belong to nothing.
    pub async fn run(&self, from: Installation, applets: Vec<Returning>) -> Result<PutReport, InstallError> {
        let Installation { place, key, schema } = from;
        drop(schema);
        if !self.force
            && let Some((pid, name)) = who_has_open(&place.database)
        {
            return Err(InstallError::Running { pid, name });
        }
        let copy = copy_name(&place.database, self.now);
        let mut change = ForeignChange::begin(&place.database, &copy).await?;
        let done = self.change(&mut change, place, key, applets).await;
        match done {
            Ok(mut report) if !report.restored.is_empty() => {
                change.commit().await?;
                report.copy = Some(copy);
                Ok(report)
            }
            // Nothing was changed: nobody needs the copy.
            other => {
                let let_go = change.abandon().await;
                let report = other?;
                let_go?;
                Ok(report)
            }
        }
    }

    async fn change(
        &self,
        change: &mut ForeignChange,
        place: Place,
        key: PrivateKey,
        applets: Vec<Returning>,
    ) -> Result<PutReport, InstallError> {
        let schema = Schema { tables: change.tables(&records::is_kept).await? };
        let mut report = PutReport::default();
        let wanted = self.not_there(applets, &schema, &mut report);
        let (store, key_of, key_given) = (self.store.clone(), key, self.key_given);
        let work = move || {
            let mut placing = Placing::new(&store, &place, &schema, &key_of)?;
            placing.key_given = key_given;
            let ready: Result<Vec<Ready>, InstallError> =
                wanted.into_iter().filter_map(|applet| placing.ready(applet).transpose()).collect();
            Ok::<_, InstallError>((ready?, placing.told, placing.refused, placing.chunks, schema))
        };
        let (ready, told, refused, chunks, schema) = spawn_blocking(work).await.map_err(|_| InstallError::Died)??;
        report.chunks = chunks;
        report.refused = refused;
        let mut rows = Rows { schema, now: self.now, change, told };
        for ready in ready {
            let name = ready.applet.shown();
            let (before, mark) = (report.clone(), rows.mark().await?);
            match rows.applet(ready, &mut report).await {
                Ok(()) => rows.change.keep().await?,
                // Whoever wrote the backup may have put anything into it: no other applet suffers from that.
                Err(InstallError::Database(ForeignError::NotTaken { why, .. })) => {
                    rows.back(mark).await?;
                    report = before;
                    report.refused.push(name.clone());
                    rows.told.push((
                        name,
                        format!("not restored: the database does not take one of its rows: {}", shown(&why)),
                    ));
                }
                Err(error) => return Err(error),
            }
        }
        for (applet, message) in rows.told {
            self.monitor.problem(Problem { subject: format!("applet {applet}"), message });
        }
        Ok(report)
    }

    /// Those that were not there by id or name before this run. Of several of one name the BBS's own one, or none.
    fn not_there(&self, applets: Vec<Returning>, schema: &Schema, report: &mut PutReport) -> Vec<Returning> {
        let ids: BTreeSet<Uuid> = schema.rows("applet").filter_map(|row| row.uuid(&["id"])).collect();
        let names: BTreeSet<String> = schema.rows("applet").filter_map(|row| row.text(&["name"])).collect();
        let name_of = |it: &Returning| it.applet.metadata.name.to_string_lossy().into_owned();
        let is_there = |it: &Returning| ids.contains(&it.applet.metadata.id) || names.contains(&name_of(it));
        let (there, mut wanted): (Vec<Returning>, Vec<Returning>) = applets.into_iter().partition(is_there);
        report.skipped = there.iter().map(|it| it.applet.shown()).collect();
        let mut by_name: BTreeMap<String, Vec<Uuid>> = BTreeMap::new();
        wanted.iter().for_each(|it| by_name.entry(name_of(it)).or_default().push(it.applet.metadata.id.clone()));
        wanted.retain(|it| {
            let of_name = by_name.get(&name_of(it)).map_or(&[][..], Vec::as_slice);
            let own: Vec<&Uuid> = of_name.iter().filter(|id| self.own.contains(id)).collect();
            let (name, id) = (it.applet.shown(), &it.applet.metadata.id);
            match own.as_slice() {
                _ if of_name.len() == 1 => true,
                [one] if *one == id => true,
                [_] => {
                    self.monitor.notice(&format!(
                        "applet {name}: another one of this name, {id}, is not this BBS's and was left out; --applet {id} takes it"
                    ));
                    false
                }
                _ => {
                    let message = format!(
                        "not restored: there are several applets of this name, and it is not known which one is this BBS's; --applet {id} takes this one"
                    );
                    self.monitor.problem(Problem { subject: format!("applet {name}"), message });
                    report.refused.push(name);
                    false
                }
            }
        });
        wanted
    }
}

/// Where the database is copied to: beside itself, with the moment in its name.
fn copy_name(database: &Path, now: Timestamp) -> PathBuf {
    let at = Offset::UTC.to_datetime(now).strftime("%Y%m%d_%H%M%S").to_string();
    let name = |more: &str| {
        let mut name = database.as_os_str().to_owned();
        name.push(format!(".before_restore_{at}{more}"));
        PathBuf::from(name)
    };
    let numbered = (2..100).map(|n| name(&format!("_{n}")));
    std::iter::once(name("")).chain(numbered).find(|name| !name.exists()).unwrap_or_else(|| name(""))
}

/// A process that has a file open: its number and name. Those of other users cannot be looked at unless this one is root.
fn who_has_open(database: &Path) -> Option<(u32, String)> {
    let database = std::fs::canonicalize(database).ok()?;
    for process in std::fs::read_dir("/proc").ok()?.flatten() {
        let Some(pid) = process.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        if pid == std::process::id() {
            continue;
        }
        let Ok(open) = std::fs::read_dir(process.path().join("fd")) else { continue };
        let mut open = open.flatten().filter_map(|fd| std::fs::read_link(fd.path()).ok());
        if open.any(|path| path == database) {
            let name = std::fs::read_to_string(process.path().join("comm")).unwrap_or_default();
            return Some((pid, name.trim().to_owned()));
        }
    }
    None
}
