use jiff::civil::{Date, date};
use jiff::{ToSpan, Unit};
use proptest::prelude::*;

use super::*;

fn at(n: u64, made_at: Timestamp) -> Candidate {
    let id = ManifestId::of(&n.to_le_bytes());
    let (extent, tags) = (Extent::Whole, BTreeSet::new());
    Candidate {
        id,
        sequence: n,
        made_at,
        extent,
        verified_at: None,
        pinned: false,
        flagged: false,
        beside: false,
        tags,
    }
}

fn on(n: u64, text: &str) -> Candidate {
    at(n, text.parse().unwrap())
}

fn kept(snapshots: &[Candidate], policy: &Policy) -> Vec<u64> {
    kept_in(snapshots, policy, &TimeZone::UTC)
}

fn kept_in(snapshots: &[Candidate], policy: &Policy, zone: &TimeZone) -> Vec<u64> {
    let now = "2100-01-01T00:00:00Z".parse().unwrap();
    let verdicts = decide(snapshots, Some(policy), zone, now);
    assert_eq!(verdicts.len(), snapshots.len());
    let stays = |verdict: &Verdict| matches!(verdict, Verdict::Keep(_));
    let both = snapshots.iter().zip(&verdicts);
    both.filter(|(_, verdict)| stays(verdict)).map(|(snapshot, _)| snapshot.sequence).collect()
}

/// What 7 daily, 4 weekly and 12 monthly ones are, counted back from a day on which a backup is made each day since `first`: by the
/// calendar alone, without a list of snapshots.
fn expected(first: Date, today: Date) -> BTreeSet<Date> {
    let mut days = BTreeSet::new();
    for back in 0..7 {
        days.insert(today.checked_sub(back.days()).unwrap().max(first));
    }
    let monday = today.checked_sub(i32::from(today.weekday().to_monday_zero_offset()).days()).unwrap();
    for back in 0..4 {
        let (begin, end) = (monday.checked_sub((7 * back).days()).unwrap(), 6.days());
        if begin.checked_add(end).unwrap() >= first {
            days.insert(begin.max(first));
        }
    }
    for back in 0..12 {
        let begin = today.first_of_month().checked_sub(back.months()).unwrap();
        if begin.last_of_month() >= first {
            days.insert(begin.max(first));
        }
    }
    days
}

#[test]
fn row_25_five_hundred_days_leave_exactly_the_expected_ones_each_day() {
    let first = date(2025, 11, 24);
    let mut live: Vec<Candidate> = Vec::new();
    let mut survived_a_year = false;
    for n in 0..500i32 {
        let today = first.checked_add(n.days()).unwrap();
        let made_at = today.at(2, 0, 0, 0).to_zoned(TimeZone::UTC).unwrap().timestamp();
        live.push(at(n as u64 + 1, made_at));
        let stays = kept(&live, &Policy::default());
        live.retain(|snapshot| stays.contains(&snapshot.sequence));
        let days: BTreeSet<Date> =
            live.iter().map(|snapshot| snapshot.made_at.to_zoned(TimeZone::UTC).date()).collect();
        assert_eq!(days, expected(first, today), "on day {n}, {today}");
        let oldest = today.since((Unit::Day, *days.first().unwrap())).unwrap().get_days();
        survived_a_year |= oldest >= 334;
        assert!(live.len() <= 7 + 4 + 12);
    }
    assert!(survived_a_year, "no monthly one lived for eleven months and more");
}

#[test]
fn row_25_a_year_without_backups_leaves_what_there_was() {
    let first = date(2026, 1, 1);
    let made = |n: i32| first.checked_add(n.days()).unwrap().at(2, 0, 0, 0).to_zoned(TimeZone::UTC).unwrap();
    let mut live: Vec<Candidate> = (0..100).map(|n| at(n as u64 + 1, made(n).timestamp())).collect();
    let mut last = Vec::new();
    for later in 0..365 {
        let now = made(100 + later).timestamp();
        let verdicts = decide(&live, Some(&Policy::default()), &TimeZone::UTC, now);
        let mut verdicts = verdicts.iter();
        live.retain(|_| *verdicts.next().unwrap() != Verdict::Remove);
        let now_kept: Vec<u64> = live.iter().map(|snapshot| snapshot.sequence).collect();
        assert!(later == 0 || now_kept == last, "time alone removed something on day {later}");
        last = now_kept;
    }
    assert!(last.contains(&100), "the last good one is gone");
}

#[test]
fn the_oldest_of_a_bucket_stays_so_that_it_can_grow_old() {
    let hourly: Vec<Candidate> =
        (0..72u64).map(|n| on(n + 1, &format!("2026-05-{:02}T{:02}:00:00Z", 11 + n / 24, n % 24))).collect();
    let policy = Policy { daily: 2, ..Policy::none() };
    // The first of each of two days, and the newest.
    assert_eq!(kept(&hourly, &policy), [25, 49, 72]);
}

#[test]
fn a_rule_counts_only_those_that_have_one() {
    let rare = [on(1, "2020-01-01T00:00:00Z"), on(2, "2022-06-01T00:00:00Z"), on(3, "2026-01-01T00:00:00Z")];
    assert_eq!(kept(&rare, &Policy { daily: 3, ..Policy::none() }), [1, 2, 3]);
    assert_eq!(kept(&rare, &Policy { yearly: 2, ..Policy::none() }), [2, 3]);
}

#[test]
fn weeks_are_those_of_iso_8601() {
    // Thursday 31 December 2026 and Friday 1 January 2027 are in the 53rd week of 2026; Monday the 4th begins the first of 2027.
    let days = [on(1, "2026-12-31T12:00:00Z"), on(2, "2027-01-01T12:00:00Z"), on(3, "2027-01-04T12:00:00Z")];
    assert_eq!(kept(&days, &Policy { weekly: 9, ..Policy::none() }), [1, 3]);
}

#[test]
fn days_begin_where_the_zone_says() {
    let zone = TimeZone::fixed(jiff::tz::offset(2));
    let days = [on(1, "2026-05-01T21:30:00Z"), on(2, "2026-05-01T22:30:00Z"), on(3, "2026-05-01T23:30:00Z")];
    let policy = Policy { daily: 9, ..Policy::none() };
    assert_eq!(kept(&days, &policy), [1, 3]);
    assert_eq!(kept_in(&days, &policy, &zone), [1, 2, 3]);
}

#[test]
fn an_hour_that_comes_twice_is_two() {
    let zone = TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap();
    let night = [on(1, "2026-10-25T00:30:00Z"), on(2, "2026-10-25T01:30:00Z"), on(3, "2026-10-25T02:30:00Z")];
    assert_eq!(kept_in(&night, &Policy { hourly: 2, ..Policy::none() }, &zone), [2, 3]);
    assert_eq!(kept_in(&night, &Policy { hourly: 3, ..Policy::none() }, &zone), [1, 2, 3]);
}

#[test]
fn partial_ones_go_once_a_whole_one_came() {
    let partial = |n, text| Candidate { extent: Extent::Partial, ..on(n, text) };
    let policy = Policy::default();
    let mut snapshots = vec![partial(1, "2026-05-01T00:00:00Z"), partial(2, "2026-05-02T00:00:00Z")];
    assert_eq!(kept(&snapshots, &policy), [1, 2]);
    snapshots.push(on(3, "2026-05-03T00:00:00Z"));
    snapshots.push(partial(4, "2026-05-04T00:00:00Z"));
    assert_eq!(kept(&snapshots, &policy), [3, 4]);
}

#[test]
fn row_7_what_is_pinned_stays() {
    let mut snapshots: Vec<Candidate> = (1..30).map(|n| on(n, &format!("2026-05-{n:02}T00:00:00Z"))).collect();
    let policy = Policy { keep_last: 1, ..Policy::none() };
    assert_eq!(kept(&snapshots, &policy), [29]);
    snapshots[3].pinned = true;
    snapshots[4].tags.insert("before-upgrade".parse().unwrap());
    assert_eq!(kept(&snapshots, &policy), [4, 29]);
    let tags = BTreeSet::from(["before-upgrade".parse().unwrap()]);
    assert_eq!(kept(&snapshots, &Policy { tags, ..policy }), [4, 5, 29]);
}

#[test]
fn the_last_verified_one_stays() {
    let mut snapshots: Vec<Candidate> = (1..30).map(|n| on(n, &format!("2026-05-{n:02}T00:00:00Z"))).collect();
    for n in [2, 7] {
        snapshots[n].verified_at = Some(snapshots[n].made_at);
    }
    assert_eq!(kept(&snapshots, &Policy { keep_last: 1, ..Policy::none() }), [8, 29]);
}

#[test]
fn row_25a_the_one_before_a_flagged_one_stays() {
    let mut snapshots: Vec<Candidate> = (1..30).map(|n| on(n, &format!("2026-05-{n:02}T00:00:00Z"))).collect();
    for n in [10, 11] {
        snapshots[n].flagged = true;
    }
    // Both were flagged against number 10, the last one that is above suspicion.
    assert_eq!(kept(&snapshots, &Policy { keep_last: 1, ..Policy::none() }), [10, 11, 12, 29]);
}

#[test]
fn of_many_flagged_ones_in_a_row_the_first_and_the_last_stay_and_the_good_one_before_them() {
    let mut snapshots: Vec<Candidate> = (1..30).map(|n| on(n, &format!("2026-05-{n:02}T00:00:00Z"))).collect();
    for snapshot in &mut snapshots[10..29] {
        snapshot.flagged = true;
        // That all bytes are there says nothing of what is in them.
        snapshot.verified_at = Some(snapshot.made_at);
    }
    snapshots[5].verified_at = Some(snapshots[5].made_at);
    assert_eq!(kept(&snapshots, &Policy { keep_last: 1, ..Policy::none() }), [6, 10, 11, 29]);
}

#[test]
fn recent_ones_are_counted_from_the_newest_and_no_wrong_clock_changes_that() {
    let mut snapshots: Vec<Candidate> = (1..30).map(|n| on(n, &format!("2026-05-{n:02}T00:00:00Z"))).collect();
    let policy = Policy { within_hours: 72, ..Policy::none() };
    assert_eq!(kept(&snapshots, &policy), [26, 27, 28, 29]);
    snapshots.insert(0, on(30, "2222-01-01T00:00:00Z"));
    assert_eq!(kept(&snapshots, &policy), [30, 26, 27, 28, 29]);
}

#[test]
fn of_two_the_one_with_missing_chunks_does_not_push_the_whole_one_out() {
    let lacking = Candidate { extent: Extent::Incomplete, ..on(1, "2026-05-01T01:00:00Z") };
    let snapshots = [lacking, on(2, "2026-05-01T02:00:00Z"), on(3, "2026-05-02T02:00:00Z")];
    assert_eq!(kept(&snapshots, &Policy { daily: 2, ..Policy::none() }), [1, 2, 3]);
}

#[test]
fn without_a_policy_everything_stays() {
    let snapshots = [on(1, "2020-01-01T00:00:00Z"), on(2, "2020-01-01T00:00:01Z")];
    let verdicts = decide(&snapshots, None, &TimeZone::UTC, snapshots[0].made_at);
    assert_eq!(verdicts, vec![Verdict::Keep(vec![Reason::NoPolicy]); 2]);
}

#[test]
fn tags_are_plain_words() {
    for good in ["before-upgrade", "v1.2", "größer", "4.9.0-dev"] {
        assert_eq!(good.parse::<Tag>().unwrap().to_string(), good);
    }
    for bad in ["", "a b", "-x", "latest", "12", "a@b", "a:b", "a/b", &"x".repeat(65)] {
        assert!(bad.parse::<Tag>().is_err(), "{bad:?}");
    }
}

fn policy() -> impl Strategy<Value = Policy> {
    (0u32..4, 0u32..6, 0u32..5, 0u32..4, 0u32..4, 0u32..3, 0u32..100).prop_map(
        |(keep_last, hourly, daily, weekly, monthly, yearly, within_hours)| Policy {
            keep_last,
            hourly,
            daily,
            weekly,
            monthly,
            yearly,
            within_hours,
            tags: BTreeSet::new(),
        },
    )
}

/// Hours between a snapshot and the one before, and what is special about it.
fn history() -> impl Strategy<Value = Vec<Candidate>> {
    prop::collection::vec((1i64..900, 0u8..20), 0..60).prop_map(|steps| {
        let mut hours = 0;
        let of = |(n, (step, what)): (usize, (i64, u8))| {
            hours += step;
            let start: Timestamp = "2024-01-01T00:00:00Z".parse().unwrap();
            let mut snapshot = at(n as u64 + 1, start + SignedDuration::from_hours(hours));
            match what {
                0 | 1 => snapshot.extent = Extent::Partial,
                2 => snapshot.pinned = true,
                3 => snapshot.flagged = true,
                4 | 5 => snapshot.verified_at = Some(snapshot.made_at),
                6 => snapshot.extent = Extent::Incomplete,
                _ => {}
            }
            snapshot
        };
        steps.into_iter().enumerate().map(of).collect()
    })
}

proptest! {
    #[test]
    fn what_must_never_go_stays(history in history(), policy in policy()) {
        let kept = kept(&history, &policy);
        let newest = |fits: &dyn Fn(&&Candidate) -> bool| history.iter().rfind(fits);
        let whole = newest(&|s| s.extent == Extent::Whole);
        let verified = newest(&|s| s.extent == Extent::Whole && !s.flagged && s.verified_at.is_some());
        let pinned = history.iter().filter(|s| s.pinned);
        for must in whole.into_iter().chain(verified).chain(pinned) {
            prop_assert!(kept.contains(&must.sequence), "{must:?}");
        }
        prop_assert!(history.is_empty() || !kept.is_empty());
    }

    #[test]
    fn a_second_time_changes_nothing(history in history(), policy in policy()) {
        let once = kept(&history, &policy);
        let left: Vec<_> = history.into_iter().filter(|s| once.contains(&s.sequence)).collect();
        prop_assert_eq!(kept(&left, &policy), once);
    }

    /// Removing as one goes leaves what removing once at the end leaves: no rule starves another.
    #[test]
    fn each_day_or_once_comes_to_the_same(steps in prop::collection::vec(1i64..900, 0..60), policy in policy()) {
        let mut hours = 0;
        let start: Timestamp = "2024-01-01T00:00:00Z".parse().unwrap();
        let (mut all, mut live) = (Vec::new(), Vec::new());
        for (n, step) in steps.into_iter().enumerate() {
            hours += step;
            let made = at(n as u64 + 1, start + SignedDuration::from_hours(hours));
            all.push(made.clone());
            live.push(made);
            let stays = kept(&live, &policy);
            live.retain(|s| stays.contains(&s.sequence));
        }
        let live: Vec<u64> = live.iter().map(|s| s.sequence).collect();
        prop_assert_eq!(live, kept(&all, &policy));
    }

    #[test]
    fn a_wider_policy_keeps_no_less(history in history(), policy in policy(), rule in 0usize..6) {
        let mut wider = policy.clone();
        let rules = [&mut wider.keep_last, &mut wider.hourly, &mut wider.daily, &mut wider.weekly, &mut wider.monthly,
            &mut wider.yearly];
        *rules.into_iter().nth(rule).unwrap() += 1;
        let (less, more) = (kept(&history, &policy), kept(&history, &wider));
        prop_assert!(less.iter().all(|sequence| more.contains(sequence)));
    }
}
