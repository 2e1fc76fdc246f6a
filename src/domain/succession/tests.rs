//! Statements, and what follows from them.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::*;
use crate::domain::crypto::secret::Secret;
use crate::domain::crypto::sign::IdentityKey;
use crate::domain::id::{CollectionId, InstanceId};
use proptest::prelude::*;

fn key(n: u8) -> IdentityKey {
    IdentityKey::from_seed(&Secret::from_bytes([n; 32]))
}

fn id(n: u8) -> InstanceId {
    key(n).public().instance()
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

const NOTES: [u8; 16] = [5; 16];

fn notes() -> CollectionId {
    CollectionId::from_slice(&NOTES).unwrap()
}

fn appoints(by: u8, heirs: &[u8], number: u64, second: i64) -> Verified {
    speaks(by, heirs, number, second, None)
}

/// An appointment that says what the former key said and made.
fn appoints_after(by: u8, heirs: &[u8], second: i64, last: u64, appointments: &[&Verified]) -> Verified {
    let appointments = appointments.iter().map(|appointment| appointment.id).collect();
    speaks(by, heirs, 1, second, Some(Former { last, appointments }))
}

fn speaks(by: u8, heirs: &[u8], number: u64, second: i64, former: Option<Former>) -> Verified {
    let heirs = heirs.iter().map(|n| id(*n)).collect();
    let statement = Statement::appointment(notes(), key(by).public(), heirs, number, at(second), former);
    statement.sign(&key(by)).verify().unwrap()
}

fn takes(from: u8, by: u8, after: u64, second: i64) -> Verified {
    takes_from(from, by, after, second, after + 1)
}

fn takes_from(from: u8, by: u8, after: u64, second: i64, first: u64) -> Verified {
    let statement = Statement::takeover(notes(), id(from), key(by).public(), after, at(second), first);
    statement.sign(&key(by)).verify().unwrap()
}

fn renews(from: u8, to: u8, second: i64) -> Verified {
    renewal(&key(from), &key(to), at(second)).verify().unwrap()
}

fn leads(statements: &[Verified]) -> Vec<InstanceId> {
    reigns(statements).into_iter().map(|reign| reign.instance).collect()
}

fn reigns(statements: &[Verified]) -> Vec<Reign> {
    Succession::of(&notes(), id(1), statements).line
}

fn members(statements: &[Verified]) -> Vec<u8> {
    let members = Succession::of(&notes(), id(1), statements).members;
    (1..20).filter(|n| members.contains(&id(*n))).collect()
}

#[test]
fn an_heir_takes_over_and_nobody_else() {
    let (appointment, takeover) = (appoints(1, &[2], 1, 10), takes(1, 2, 7, 20));
    let line = reigns(&[takeover.clone(), appointment.clone()]);
    assert_eq!((line[0].until, line[1].instance, line[1].since), (Some(7), id(2), Some(at(20))));
    assert_eq!(stands_beside(&line, &id(1), 7), Some(false));
    assert_eq!(stands_beside(&line, &id(1), 8), Some(true));
    assert_eq!(stands_beside(&line, &id(2), 8), Some(false));
    assert_eq!(stands_beside(&line, &id(3), 8), None);
    // Not appointed; appointed by somebody without a say; appointed too late; withdrawn before.
    assert_eq!(leads(&[takes(1, 3, 7, 20), appointment.clone()]), [id(1)]);
    assert_eq!(leads(&[takes(1, 3, 7, 20), appoints(3, &[3], 1, 10)]), [id(1)]);
    assert_eq!(leads(&[takes(1, 2, 7, 9), appointment.clone()]), [id(1)]);
    assert_eq!(leads(&[takeover.clone(), appointment.clone(), appoints(1, &[], 2, 15)]), [id(1)]);
    // What a former leader says afterwards changes nothing.
    assert_eq!(leads(&[takeover, appointment, appoints(1, &[], 2, 21)]), [id(1), id(2)]);
}

#[test]
fn of_two_heirs_the_earlier_one_leads_and_a_return_is_possible() {
    let both = appoints(1, &[2, 3], 1, 10);
    let (second, third) = (takes(1, 2, 7, 21), takes(1, 3, 6, 20));
    assert_eq!(leads(&[second.clone(), third.clone(), both.clone()]), [id(1), id(3)]);
    let back = [appoints(3, &[1], 1, 30), takes(3, 1, 9, 40)];
    let all = [both, second, third, back[0].clone(), back[1].clone()];
    assert_eq!(leads(&all), [id(1), id(3), id(1)]);
}

#[test]
fn a_renewed_key_leads_on() {
    let statements = [renews(1, 4, 10), appoints(4, &[2], 1, 20), takes(4, 2, 3, 30)];
    assert_eq!(leads(&statements), [id(1), id(4), id(2)]);
    assert_eq!(renewed(id(1), &statements), id(4));
    let forged = SignedStatement { countersignature: None, ..statements[0].signed.clone() };
    assert!(forged.verify().is_err());
}

#[test]
fn any_changed_byte_is_refused() {
    let signed = takes(1, 2, 7, 20).signed;
    for at in 0..signed.statement.len() {
        let mut bytes = signed.statement.clone().into_bytes();
        bytes[at] ^= 1;
        let Ok(statement) = String::from_utf8(bytes) else { continue };
        assert!(SignedStatement { statement, ..signed.clone() }.verify().is_err());
    }
}

/// A former leader that renews its key before it hears, and the heir of an heir that lost: what they make is kept.
#[test]
fn whoever_is_led_to_from_the_founder_is_a_member_won_or_lost() {
    let both = appoints(1, &[2, 3], 1, 10);
    let heard_too_late = [both.clone(), takes(1, 2, 7, 20), renews(1, 4, 30)];
    assert_eq!((leads(&heard_too_late), members(&heard_too_late)), (vec![id(1), id(2)], vec![1, 2, 4]));
    let lost = [both.clone(), takes(1, 2, 7, 20), takes(1, 3, 7, 21), appoints(3, &[5], 1, 30), takes(3, 5, 9, 40)];
    assert_eq!((leads(&lost), members(&lost)), (vec![id(1), id(2)], vec![1, 2, 3, 5]));
    let concerns = |statement: &Verified| Succession::of(&notes(), id(1), &lost).concerns(&statement.statement);
    assert!(lost.iter().all(concerns));
    assert!(concerns(&renews(5, 6, 50)) && !concerns(&renews(9, 6, 50)) && !concerns(&takes(1, 9, 7, 20)));
    // Nobody becomes one by saying so; and nobody stops being one by what others say.
    let stranger = [both, takes(1, 9, 7, 20), takes(8, 3, 7, 20), appoints(8, &[3], 1, 10)];
    assert_eq!(members(&stranger), [1]);
    assert_eq!(members(&[&lost[..], &[appoints(1, &[], 2, 15)]].concat()), [1, 2, 3, 5]);
}

#[test]
fn a_takeover_holds_although_its_predecessor_dates_a_renewal_back() {
    let taken = [appoints(1, &[2], 1, 10), takes(1, 2, 7, 20)];
    for said in [&[renews(1, 4, 15)][..], &[renews(1, 4, 15), renews(4, 5, 16)], &[renews(1, 4, 25)]] {
        let all = [&taken[..], said].concat();
        assert_eq!(leads(&all).last(), Some(&id(2)));
        // Nor does what it made under the old key come back into the line.
        assert_eq!(stands_beside(&reigns(&all), &id(1), 8), Some(true));
        assert_eq!(stands_beside(&reigns(&all), &id(1), 7), Some(false));
    }
    // What the new key says counts as soon as it says something.
    let withdrawn = [renews(1, 4, 12), appoints(4, &[], 1, 13)];
    assert_eq!(leads(&[&taken[..], &withdrawn].concat()), [id(1), id(4)]);
}

#[test]
fn the_thief_of_a_replaced_key_cannot_date_anything_back() {
    let own = appoints(1, &[2], 1, 10);
    let renewal = renews(1, 4, 20);
    // Dated before the renewal, or among what the former key said, but not told by the new key.
    let stolen = [appoints(1, &[9], 7, 11), takes(1, 9, 7, 12), appoints(1, &[9], 1, 15), takes(1, 9, 7, 16)];
    let silent = [&[own.clone(), renewal.clone()][..], &stolen].concat();
    assert_eq!(leads(&silent), [id(1), id(9)]);
    let told = appoints_after(4, &[2], 21, 7, &[&own]);
    let all = [&silent[..], std::slice::from_ref(&told)].concat();
    assert_eq!(leads(&all), [id(1), id(4)]);
    assert_eq!(heirs_now(&notes(), &reigns(&all), &all), Some(&BTreeSet::from([id(2)])));
    // Nor is a snapshot that it makes the newest one.
    assert_eq!(stands_beside(&reigns(&all), &id(1), 7), Some(false));
    assert_eq!(stands_beside(&reigns(&all), &id(1), 8), Some(true));
    // The true heir, who has not heard of the new key yet, takes over all the same.
    assert_eq!(leads(&[&all[..], &[takes(1, 2, 7, 18)]].concat()), [id(1), id(2)]);
    assert_eq!(leads(&[&all[..], &[takes(1, 2, 7, 30)]].concat()), [id(1), id(4), id(2)]);
    // Twice replaced: the thief of the first key cannot speak for the second one.
    let twice = [&all[..], &[renews(4, 5, 40), appoints_after(5, &[], 41, 8, &[&told])]].concat();
    assert_eq!(leads(&twice), [id(1), id(4), id(5)]);
}

#[test]
fn an_heir_is_the_same_under_another_key() {
    let appointed = appoints(1, &[2], 1, 10);
    let all = [appointed.clone(), renews(2, 5, 15), renews(5, 6, 16), takes(1, 6, 7, 20)];
    assert_eq!((leads(&all), members(&all)), (vec![id(1), id(6)], vec![1, 6]));
    // Before it has taken over its new key matters, too.
    assert!(Succession::of(&notes(), id(1), &all[..1]).concerns(&all[1].statement));
    assert!(Succession::of(&notes(), id(1), &all[..2]).concerns(&all[2].statement));
    assert_eq!(leads(&[appointed, renews(3, 6, 15), takes(1, 6, 7, 20)]), [id(1)]);
}

#[test]
fn what_was_made_astray_stays_beside_the_line_when_its_maker_leads_again() {
    let (taken, named) = ([appoints(1, &[2], 1, 10), takes(1, 2, 7, 20)], appoints(2, &[1], 1, 30));
    // Meanwhile the first one made 8 to 20, and the second one 8 to 10.
    let back = [&taken[..], &[named.clone(), takes_from(2, 1, 10, 40, 21)]].concat();
    let beside = |statements: &[Verified], sequence| stands_beside(&reigns(statements), &id(1), sequence);
    let tell = |statements: &[Verified]| [7, 8, 10, 11, 20, 21].map(|n| beside(statements, n).unwrap());
    assert_eq!(tell(&back), [false, true, true, true, true, false]);
    // One of before, which does not say: what is behind its predecessor's last.
    let old = Statement::Takeover {
        format: FORMAT.to_owned(),
        collection: notes(),
        from: id(2),
        by: key(1).public(),
        after: 10,
        at: at(40),
        first: None,
    };
    let old = [&taken[..], &[named, old.sign(&key(1)).verify().unwrap()]].concat();
    assert_eq!(tell(&old), [false, true, true, false, false, false]);
}

#[test]
fn who_joins_late_finds_the_founder() {
    let mut all = vec![appoints(1, &[2], 1, 10), takes(1, 2, 7, 20), renews(2, 4, 30)];
    for maker in [1, 2, 4] {
        assert_eq!(founder(&notes(), id(maker), &all), id(1));
    }
    // Not appointed by whom it says that it took over from.
    assert_eq!(founder(&notes(), id(9), &[takes(1, 9, 7, 20), all[0].clone()]), id(9));
    // Once round.
    all.extend([appoints(4, &[1], 1, 40), takes(4, 1, 9, 50)]);
    for maker in [1, 2, 4] {
        assert_eq!(founder(&notes(), id(maker), &all), id(1));
    }
}

/// Texts as earlier versions wrote and signed them; to be read for ever.
#[test]
fn statements_of_before_stay_what_they_are() {
    for (text, signer) in [
        (
            r#"{"kind":"appointment","format":"bulbil-succession/1","collection":"05050505050505050505050505050505","by":"BY","heirs":[],"number":1,"at":"1970-01-01T00:00:10Z"}"#,
            1,
        ),
        (
            r#"{"kind":"takeover","format":"bulbil-succession/1","collection":"05050505050505050505050505050505","from":"FROM","by":"BY","after":7,"at":"1970-01-01T00:00:20Z"}"#,
            2,
        ),
    ] {
        let by = serde_json::to_string(&key(signer).public()).unwrap();
        let text = text.replace("BY", by.trim_matches('"')).replace("FROM", &id(1).to_string());
        let signature = key(signer).sign(PURPOSE, text.as_bytes());
        let signed = SignedStatement { statement: text.clone(), signature, countersignature: None };
        let verified = signed.verify().unwrap();
        assert_eq!((verified.id, &verified.statement.text()), (StatementId::of(text.as_bytes()), &text));
        assert_eq!(signed.verified_before().unwrap(), verified);
    }
}

proptest! {
    #[test]
    fn the_order_of_statements_does_not_matter(mut picks in proptest::collection::vec((0u8..3, 1u8..5, 1u8..5, 0i64..40), 0..12), seed: u64) {
        let make = |(kind, a, b, second): &(u8, u8, u8, i64)| match kind {
            0 => appoints(*a, &[*b], *second as u64 + 1, *second),
            1 => takes(*a, *b, *second as u64, *second),
            _ => renews(*a, *b, *second),
        };
        let forth = leads(&picks.iter().map(make).collect::<Vec<_>>());
        let len = picks.len();
        if len > 0 {
            picks.rotate_left(seed as usize % len);
        }
        picks.reverse();
        prop_assert_eq!(leads(&picks.iter().map(make).collect::<Vec<_>>()), forth);
    }

    #[test]
    fn members_only_become_more(picks in proptest::collection::vec((0u8..3, 1u8..6, 1u8..6, 0i64..40), 0..12)) {
        let make = |(kind, a, b, second): &(u8, u8, u8, i64)| match kind {
            0 => appoints(*a, &[*b], *second as u64 + 1, *second),
            1 => takes(*a, *b, *second as u64, *second),
            _ => renews(*a, *b, *second),
        };
        let all: Vec<Verified> = picks.iter().map(make).collect();
        let mut before = vec![1];
        for end in 0..=all.len() {
            let now = members(&all[..end]);
            prop_assert!(before.iter().all(|member| now.contains(member)));
            prop_assert!(leads(&all[..end]).iter().all(|leader| now.iter().any(|n| id(*n) == *leader)));
            before = now;
        }
    }

    #[test]
    fn no_text_makes_it_panic(statement: String) {
        let signature = key(1).sign("x", b"");
        let signed = SignedStatement { statement, signature, countersignature: None };
        prop_assert!(signed.verify().is_err());
    }
}
