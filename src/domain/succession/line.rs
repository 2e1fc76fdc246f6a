//! What follows from a set of statements: who led when, and whose snapshots are kept.
//!
//! It is a function of the *set*: whoever has the same statements, in whatever order they came, sees the same. Where two heirs took
//! over from the same predecessor, the earlier takeover counts (then the smaller id); the other heir's snapshots are kept, beside
//! the line.
//!
//! A statement that nobody was entitled to has no effect: a takeover counts only if the newest appointment of its predecessor
//! that is not later than it names the heir. An instance is the same under all its keys: as predecessor, as the one that appoints,
//! and as heir. Moments are those of the signers; what a liar can do with that stands in the threat model.
//!
//! Whose snapshots are *kept* is wider than who led, and only grows with the set: the [members](Succession::members), everybody to
//! whom renewals and takeovers lead from the founder, won or lost.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Former, Statement, Verified};
use crate::domain::id::{CollectionId, InstanceId, StatementId};

/// A time during which one instance led a collection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reign {
    /// Who.
    pub instance: InstanceId,
    /// Since when; the founder leads from the beginning.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// Number of its first snapshot that stands in the line; `None` if all do up to `until`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first: Option<u64>,
    /// Number of its last snapshot that stands in the line; `None` if all do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<u64>,
}

impl Reign {
    /// That of whoever made the first snapshot.
    pub fn founder(instance: InstanceId) -> Self {
        Self { instance, since: None, first: None, until: None }
    }

    fn covers(&self, sequence: u64) -> bool {
        self.first.is_none_or(|first| sequence >= first) && self.until.is_none_or(|until| sequence <= until)
    }
}

/// What follows from a set of statements for one collection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Succession {
    /// Who led, one after the other; the last one leads now. Never empty.
    pub line: Vec<Reign>,
    /// Whose snapshots are kept: everybody whom takeovers and renewals lead to from the founder, whether they counted or not.
    pub members: BTreeSet<InstanceId>,
    /// The statements on which the line rests.
    pub rests_on: BTreeSet<StatementId>,
    collection: CollectionId,
    /// Whom a member ever named, under all their keys.
    heirs: BTreeSet<InstanceId>,
}

impl Succession {
    /// Follows the statements.
    pub fn of<'a>(
        collection: &CollectionId,
        founder: InstanceId,
        statements: impl IntoIterator<Item = &'a Verified>,
    ) -> Self {
        let said = Said::new(collection, statements);
        let (line, rests_on) = said.line(founder);
        let members = said.members(founder);
        let mut heirs = BTreeSet::new();
        for appointment in said.appointments.iter().filter(|appointment| members.contains(&appointment.by)) {
            heirs.extend(appointment.heirs.iter().flat_map(|heir| said.later_keys(*heir)));
        }
        Self { line, members, rests_on, collection: *collection, heirs }
    }

    /// Whether a statement may matter to the collection, now or when others come: it is a member's, or renews the key of one or
    /// of an heir.
    pub fn concerns(&self, statement: &Statement) -> bool {
        match statement {
            Statement::Appointment { collection, by, .. } => {
                *collection == self.collection && self.members.contains(&by.instance())
            }
            Statement::Takeover { collection, from, by, .. } => {
                let by = by.instance();
                let known = self.heirs.contains(&by) || self.members.contains(&by);
                *collection == self.collection && self.members.contains(from) && known
            }
            Statement::Renewal { from, .. } => {
                self.members.contains(&from.instance()) || self.heirs.contains(&from.instance())
            }
        }
    }
}

struct Appointment<'a> {
    id: StatementId,
    by: InstanceId,
    heirs: &'a BTreeSet<InstanceId>,
    number: u64,
    at: Timestamp,
    former: Option<&'a Former>,
}

#[derive(Clone, Copy)]
struct Takeover {
    id: StatementId,
    from: InstanceId,
    by: InstanceId,
    after: u64,
    first: Option<u64>,
    at: Timestamp,
}

#[derive(Clone, Copy)]
struct Renewal {
    id: StatementId,
    from: InstanceId,
    to: InstanceId,
    at: Timestamp,
}

/// What was said about one collection, and all renewals; each kind by id, so that the order in which they came does not matter.
struct Said<'a> {
    appointments: Vec<Appointment<'a>>,
    takeovers: Vec<Takeover>,
    renewals: Vec<Renewal>,
}

/// Where the line goes on.
enum Step {
    Takeover(Takeover, StatementId),
    Renewal(Renewal),
}

impl<'a> Said<'a> {
    fn new(collection: &CollectionId, statements: impl IntoIterator<Item = &'a Verified>) -> Self {
        let about = |verified: &&Verified| verified.statement.collection().is_none_or(|about| about == *collection);
        let by_id: BTreeMap<StatementId, &Statement> =
            statements.into_iter().filter(about).map(|verified| (verified.id, &verified.statement)).collect();
        let mut said = Self { appointments: Vec::new(), takeovers: Vec::new(), renewals: Vec::new() };
        for (id, statement) in by_id {
            match statement {
                Statement::Appointment { by, heirs, number, at, former, .. } => said.appointments.push(Appointment {
                    id,
                    by: by.instance(),
                    heirs,
                    number: *number,
                    at: *at,
                    former: former.as_ref(),
                }),
                Statement::Takeover { from, by, after, first, at, .. } => said.takeovers.push(Takeover {
                    id,
                    from: *from,
                    by: by.instance(),
                    after: *after,
                    first: *first,
                    at: *at,
                }),
                Statement::Renewal { from, to, at, .. } => {
                    said.renewals.push(Renewal { id, from: from.instance(), to: to.instance(), at: *at });
                }
            }
        }
        said
    }

    /// An instance under this key and all that came after it.
    fn later_keys(&self, key: InstanceId) -> BTreeSet<InstanceId> {
        let mut keys = BTreeSet::from([key]);
        let mut left = vec![key];
        while let Some(key) = left.pop() {
            let next = self.renewals.iter().filter(|renewal| renewal.from == key).map(|renewal| renewal.to);
            left.extend(next.filter(|to| keys.insert(*to)));
        }
        keys
    }

    fn same_instance(&self, one: InstanceId, other: InstanceId) -> bool {
        self.later_keys(one).contains(&other) || self.later_keys(other).contains(&one)
    }

    /// Whether an instance is among these, under a later key, too.
    fn is_among(&self, heirs: &BTreeSet<InstanceId>, instance: &InstanceId) -> bool {
        heirs.contains(instance) || heirs.iter().any(|heir| self.later_keys(*heir).contains(instance))
    }

    /// What the key that came after `key` says of it; of several such keys the first one counts.
    fn former(&self, key: &InstanceId, seen: &mut Vec<InstanceId>) -> Option<&'a Former> {
        if seen.contains(key) {
            return None;
        }
        seen.push(*key);
        let renewals = self.renewals.iter().filter(|renewal| renewal.from == *key);
        let to = renewals.min_by_key(|renewal| (renewal.at, renewal.id))?.to;
        let later = self.former(&to, seen);
        let of_it = self.appointments.iter().filter(|a| a.by == to && stands(a, later) && a.former.is_some());
        of_it.min_by_key(|a| (a.number, a.at, a.id))?.former
    }

    /// The newest appointment until a moment, by the last of these keys that had made one.
    fn appointment(&self, chain: &[InstanceId], until: Timestamp) -> Option<&Appointment<'a>> {
        chain.iter().rev().find_map(|key| {
            let former = self.former(key, &mut Vec::new());
            let of_it = self.appointments.iter().filter(|a| a.by == *key && a.at <= until && stands(a, former));
            of_it.max_by_key(|a| (a.number, a.at, a.id))
        })
    }

    fn line(&self, founder: InstanceId) -> (Vec<Reign>, BTreeSet<StatementId>) {
        let mut reigns = vec![Reign::founder(founder)];
        let mut rests_on = BTreeSet::new();
        // The keys of whoever leads, one after the other.
        let mut chain = vec![founder];
        while let Some(step) = self.next(&reigns, &chain, &rests_on) {
            match step {
                Step::Renewal(renewal) => {
                    rests_on.insert(renewal.id);
                    let last = self.former(&renewal.from, &mut Vec::new()).map(|former| former.last);
                    end(&mut reigns, 1, last);
                    reigns.push(Reign { since: Some(renewal.at), ..Reign::founder(renewal.to) });
                    chain.push(renewal.to);
                }
                Step::Takeover(takeover, appointment) => {
                    rests_on.extend([takeover.id, appointment]);
                    end(&mut reigns, chain.len(), Some(takeover.after));
                    let behind = takeover.after.saturating_add(1);
                    let first = Some(takeover.first.map_or(behind, |first| first.max(behind)));
                    reigns.push(Reign { since: Some(takeover.at), first, ..Reign::founder(takeover.by) });
                    chain = vec![takeover.by];
                }
            }
        }
        (reigns, rests_on)
    }

    fn next(&self, reigns: &[Reign], chain: &[InstanceId], used: &BTreeSet<StatementId>) -> Option<Step> {
        let head = reigns.last()?;
        // What was said during an earlier reign of the same instance is settled.
        let open = |id: &StatementId, at: Timestamp| !used.contains(id) && head.since.is_none_or(|since| at >= since);
        let renewals = self.renewals.iter().filter(|r| r.from == head.instance && open(&r.id, r.at));
        let renewals = renewals.map(|renewal| ((renewal.at, renewal.id), Step::Renewal(*renewal)));
        let takeovers = self.takeovers.iter().filter(|t| chain.contains(&t.from) && open(&t.id, t.at));
        let takeovers = takeovers.filter(|takeover| !chain.contains(&takeover.by)).filter_map(|takeover| {
            let appointment = self.appointment(chain, takeover.at)?;
            let named = self.is_among(appointment.heirs, &takeover.by);
            named.then_some(((takeover.at, takeover.id), Step::Takeover(*takeover, appointment.id)))
        });
        renewals.chain(takeovers).min_by_key(|(order, _)| *order).map(|(_, step)| step)
    }

    /// Whether the predecessor ever named the heir, under whichever of their keys.
    fn ever_named(&self, takeover: &Takeover) -> bool {
        let by_it = self.appointments.iter().filter(|a| self.same_instance(a.by, takeover.from));
        by_it.into_iter().any(|appointment| self.is_among(appointment.heirs, &takeover.by))
    }

    /// From whom to whom renewals and takeovers lead, whether they counted or not.
    fn steps(&self) -> Vec<(InstanceId, InstanceId, (Timestamp, StatementId))> {
        let takeovers = self.takeovers.iter().filter(|takeover| self.ever_named(takeover));
        let takeovers = takeovers.map(|t| (t.from, t.by, (t.at, t.id)));
        takeovers.chain(self.renewals.iter().map(|r| (r.from, r.to, (r.at, r.id)))).collect()
    }

    fn members(&self, founder: InstanceId) -> BTreeSet<InstanceId> {
        let steps = self.steps();
        let mut members = BTreeSet::from([founder]);
        let mut left = vec![founder];
        while let Some(from) = left.pop() {
            let next = steps.iter().filter(|step| step.0 == from).map(|step| step.1);
            left.extend(next.filter(|to| members.insert(*to)));
        }
        members
    }

    fn founder(&self, maker: InstanceId) -> InstanceId {
        let steps = self.steps();
        let mut before = BTreeSet::from([maker]);
        let mut left = vec![maker];
        while let Some(to) = left.pop() {
            let earlier = steps.iter().filter(|step| step.1 == to).map(|step| step.0);
            left.extend(earlier.filter(|from| before.insert(*from)));
        }
        let has_predecessor = |instance: &InstanceId| steps.iter().any(|step| step.1 == *instance && step.0 != step.1);
        let roots: BTreeSet<InstanceId> = before.iter().copied().filter(|one| !has_predecessor(one)).collect();
        // If it went round and came back to the founder, everybody has a predecessor: the founder was the first one left.
        let among = if roots.is_empty() { &before } else { &roots };
        let leaving = steps.iter().filter(|step| among.contains(&step.0) && before.contains(&step.1));
        leaving.min_by_key(|step| step.2).map_or(maker, |step| step.0)
    }
}

/// Whether an appointment was made by the instance itself, as far as its later key says.
fn stands(appointment: &Appointment<'_>, former: Option<&Former>) -> bool {
    former.is_none_or(|former| former.appointments.contains(&appointment.id))
}

/// The last so many reigns end at a number, if they did not end before.
fn end(reigns: &mut [Reign], how_many: usize, at: Option<u64>) {
    for reign in reigns.iter_mut().rev().take(how_many) {
        reign.until = [reign.until, at].into_iter().flatten().min();
    }
}

/// Who founded a collection, as far as statements tell who only knows that `maker` made snapshots of it.
pub fn founder<'a>(
    collection: &CollectionId,
    maker: InstanceId,
    statements: impl IntoIterator<Item = &'a Verified>,
) -> InstanceId {
    Said::new(collection, statements).founder(maker)
}

/// The newest appointment that an instance made for a collection with this very key: its number and the heirs.
pub fn appointed<'a>(
    collection: &CollectionId,
    by: &InstanceId,
    statements: &'a [Verified],
) -> Option<(u64, &'a BTreeSet<InstanceId>)> {
    let said = Said::new(collection, statements);
    let of_it = said.appointments.iter().filter(|appointment| appointment.by == *by);
    of_it.max_by_key(|a| (a.number, a.at, a.id)).map(|a| (a.number, a.heirs))
}

/// Whom the leader of a collection has named, at the end of its line: what it said under a former key holds until it says something
/// under the one of now.
pub fn heirs_now<'a>(
    collection: &CollectionId,
    line: &[Reign],
    statements: &'a [Verified],
) -> Option<&'a BTreeSet<InstanceId>> {
    let said = Said::new(collection, statements);
    let mut chain = Vec::new();
    for reign in line.iter().rev() {
        let continues = |next: &InstanceId| {
            said.renewals.iter().any(|renewal| renewal.from == reign.instance && renewal.to == *next)
        };
        if chain.last().is_some_and(|next| !continues(next)) {
            break;
        }
        chain.push(reign.instance);
    }
    chain.reverse();
    said.appointment(&chain, Timestamp::MAX).map(|appointment| appointment.heirs)
}

/// Where a snapshot of a maker stands: `None` if it never led the collection; otherwise whether it stands beside the line, made
/// by a former leader who did not know yet.
pub fn stands_beside(line: &[Reign], maker: &InstanceId, sequence: u64) -> Option<bool> {
    let mut reigns = line.iter().filter(|reign| reign.instance == *maker).peekable();
    reigns.peek()?;
    Some(!reigns.any(|reign| reign.covers(sequence)))
}

/// The instance that a chain of renewals leads to, from `known` on.
pub fn renewed<'a>(known: InstanceId, statements: impl IntoIterator<Item = &'a Verified>) -> InstanceId {
    let said = of_renewals(statements);
    let (line, _) = said.line(known);
    line.last().expect("it has a founder").instance
}

/// Whether `later` is `known` under the same or a later key.
pub fn is_renewal_of<'a>(
    later: &InstanceId,
    known: InstanceId,
    statements: impl IntoIterator<Item = &'a Verified>,
) -> bool {
    of_renewals(statements).later_keys(known).contains(later)
}

fn of_renewals<'a>(statements: impl IntoIterator<Item = &'a Verified>) -> Said<'a> {
    let collection = CollectionId::from_slice(&[0; CollectionId::LEN]).expect("it has the right length");
    Said::new(&collection, statements.into_iter().filter(|verified| verified.statement.collection().is_none()))
}
