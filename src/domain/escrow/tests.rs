use std::convert::Infallible;
use std::sync::atomic::{AtomicU64, Ordering};

use rand_core::{TryCryptoRng, TryRng};

use super::*;

/// Bytes that are different each time.
struct TestRng;

static DRAWN: AtomicU64 = AtomicU64::new(1);

impl TestRng {
    fn new() -> Self {
        Self
    }
}

impl TryRng for TestRng {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok(self.try_next_u64()? as u32)
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let mut bytes = [0; 8];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u64::from_be_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        let drawn = DRAWN.fetch_add(1, Ordering::Relaxed);
        let mut reader = blake3::Hasher::new().update(&drawn.to_be_bytes()).finalize_xof();
        reader.fill(bytes);
        Ok(())
    }
}

impl TryCryptoRng for TestRng {}

struct Party {
    master: MasterKey,
    recovery: RecoveryKey,
    recipient: RecoveryRecipient,
}

impl Party {
    fn new(rng: &mut dyn rand_core::CryptoRng) -> Self {
        let recovery = RecoveryKey::generate(rng);
        Self { master: MasterKey::new(Secret::random(rng)), recipient: recovery.recipient(), recovery }
    }

    fn keepers(&self) -> Keepers<'_> {
        Keepers { master: &self.master, recovery: &self.recipient }
    }
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn put(
    document: &mut EscrowDocument,
    key: &FingerprintKey,
    party: &Party,
    name: &str,
    value: &[u8],
    now: i64,
) -> Fingerprint {
    let rng = &mut TestRng::new();
    document.put(rng, (name, SecretForm::Variable, value), (key, at(now)), party.keepers()).unwrap().0
}

fn world() -> (Party, EscrowDocument, FingerprintKey) {
    let rng = &mut TestRng::new();
    let party = Party::new(rng);
    let collection = CollectionId::random(rng);
    let instance = InstanceId::of_public_key(&[7; 32]);
    let (document, key) = EscrowDocument::new(rng, (collection, "tales"), instance, party.keepers()).unwrap();
    (party, document, key)
}

#[test]
fn both_keepers_open_it_nobody_else_does_and_nothing_of_it_can_be_moved() {
    let (party, mut document, key) = world();
    put(&mut document, &key, &party, "PEPPER", b"first\0value", 1);
    put(&mut document, &key, &party, "OTHER", b"first\0value", 2);
    let [secret, other] = document.secrets.as_slice() else { panic!() };
    let collection = document.collection;
    assert_eq!(*secret.open_with_vault(&collection, &party.master).unwrap(), b"first\0value");
    assert_eq!(*secret.open_with_recovery(&collection, &party.recovery).unwrap(), b"first\0value");
    // The same value under another name does not show.
    assert_ne!(secret.fingerprint, other.fingerprint);
    let stranger = Party::new(&mut TestRng::new());
    assert!(matches!(secret.open_with_vault(&collection, &stranger.master), Err(EscrowError::NotOurs(_))));
    assert!(matches!(
        secret.open_with_recovery(&collection, &stranger.recovery),
        Err(EscrowError::WrongRecoveryKey(_))
    ));
    for moved in [
        EscrowedSecret { name: "OTHER".to_owned(), ..secret.clone() },
        EscrowedSecret { form: SecretForm::File, ..secret.clone() },
        EscrowedSecret { fingerprint: other.fingerprint, ..secret.clone() },
        EscrowedSecret { sealed: other.sealed.clone(), ..secret.clone() },
        EscrowedSecret { envelopes: other.envelopes.clone(), ..secret.clone() },
    ] {
        assert!(moved.open_with_vault(&collection, &party.master).is_err());
        assert!(moved.open_with_recovery(&collection, &party.recovery).is_err());
    }
    let elsewhere = CollectionId::random(&mut TestRng::new());
    assert!(secret.open_with_vault(&elsewhere, &party.master).is_err());
}

#[test]
fn lengths_of_short_secrets_are_not_told() {
    let (party, mut document, key) = world();
    put(&mut document, &key, &party, "A", b"x", 1);
    put(&mut document, &key, &party, "B", &[b'y'; 63], 1);
    assert_eq!(document.secrets[0].sealed.len(), document.secrets[1].sealed.len());
}

#[test]
fn what_was_in_use_before_stays_and_can_be_in_use_again() {
    let (party, mut document, key) = world();
    let first = put(&mut document, &key, &party, "PEPPER", b"one", 1);
    let second = put(&mut document, &key, &party, "PEPPER", b"two", 2);
    assert_eq!(document.current("PEPPER").unwrap().fingerprint, second);
    assert_eq!(put(&mut document, &key, &party, "PEPPER", b"two", 3), second);
    assert_eq!((document.secrets.len(), document.current("PEPPER").unwrap().since), (2, at(2)));
    assert_eq!(put(&mut document, &key, &party, "PEPPER", b"one", 4), first);
    assert_eq!((document.secrets.len(), document.current("PEPPER").unwrap().fingerprint), (2, first));
}

#[test]
fn row_17_what_is_empty_is_refused() {
    let (party, mut document, key) = world();
    let rng = &mut TestRng::new();
    for empty in [&b""[..], b" \r\n"] {
        let put = document.put(rng, ("PEPPER", SecretForm::Variable, empty), (&key, at(1)), party.keepers());
        assert_eq!(put, Err(EscrowError::Empty("PEPPER".to_owned())));
    }
    let long = vec![1; MAX_SECRET_BYTES + 1];
    assert!(document.put(rng, ("PEPPER", SecretForm::File, &long), (&key, at(1)), party.keepers()).is_err());
    assert!(document.put(rng, ("../x", SecretForm::File, b"x"), (&key, at(1)), party.keepers()).is_err());
    assert!(document.secrets.is_empty());
}

#[test]
fn what_leaves_opens_with_the_recovery_key_and_somebody_else_takes_it_over_with_it() {
    let (party, mut document, key) = world();
    put(&mut document, &key, &party, "PEPPER", b"one", 1);
    let sent = serde_json::to_vec(&document.for_recovery_alone()).unwrap();
    assert!(!String::from_utf8(sent.clone()).unwrap().contains(VAULT));
    let mut came = EscrowDocument::parse(&sent).unwrap();
    assert!(came.open_fingerprint_key(&party.master).is_err());
    let rng = &mut TestRng::new();
    let heir = Party::new(rng);
    let stranger = RecoveryKey::generate(rng);
    assert!(came.adopt(rng, &stranger, heir.keepers()).is_err());
    assert_eq!(came.adopt(rng, &party.recovery, heir.keepers()), Ok(1));
    let secret = came.current("PEPPER").unwrap();
    assert_eq!(*secret.open_with_vault(&came.collection, &heir.master).unwrap(), b"one");
    assert_eq!(*secret.open_with_recovery(&came.collection, &heir.recovery).unwrap(), b"one");
    assert_eq!(*secret.open_with_recovery(&came.collection, &party.recovery).unwrap(), b"one");
    let key = came.open_fingerprint_key(&heir.master).unwrap();
    assert_eq!(key.of("PEPPER", b"one"), secret.fingerprint);
    // And back: what the first one had stays, what it did not have comes.
    put(&mut came, &key, &heir, "PEPPER", b"two", 5);
    let mut home = document.clone();
    home.merge(came);
    assert_eq!(home.secrets.len(), 2);
    assert_eq!(*home.secrets[0].open_with_vault(&home.collection, &party.master).unwrap(), b"one");
    assert_eq!(*home.current("PEPPER").unwrap().open_with_recovery(&home.collection, &heir.recovery).unwrap(), b"two");
}

#[test]
fn on_paper_it_is_read_back_however_it_was_typed() {
    let (party, mut document, key) = world();
    put(&mut document, &key, &party, "PEPPER", b"a pepper of more than thirty-two letters", 1);
    put(&mut document, &key, &party, "LONG", &[b'k'; 1400], 2);
    let papers = papers(&document, &party.recipient.id());
    let codes: Vec<String> = papers.iter().flat_map(|(_, codes)| codes.clone()).collect();
    assert_eq!((papers[0].1.len(), papers.len()), (1, 2));
    assert!(papers[1].1.len() > 2, "a long one has several codes");
    let dense = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || "$%*+-./: ".contains(c);
    assert!(codes.iter().all(|code| code.chars().all(dense) && code.len() < 700));

    let mut typed = String::from("PEPPER, since yesterday:\n");
    for code in codes.iter().rev() {
        let (head, digits) = code.split_at(30);
        let grouped: Vec<String> =
            digits.as_bytes().chunks(8).map(|g| String::from_utf8(g.to_vec()).unwrap()).collect();
        typed.push_str(&format!("{head}\n{}\n and so on\n", grouped.join("\n").replace('0', "o").to_lowercase()));
    }
    let mut read = read_papers(&typed).unwrap();
    read.sort_by_key(|paper| paper.secret.since);
    assert_eq!(read[0].secret.name, "PEPPER");
    let opened = read[0].secret.open_with_recovery(&read[0].collection, &party.recovery).unwrap();
    assert_eq!(*opened, b"a pepper of more than thirty-two letters");
    assert_eq!(*read[1].secret.open_with_recovery(&read[1].collection, &party.recovery).unwrap(), [b'k'; 1400]);

    assert_eq!(
        read_papers(&codes[1..codes.len() - 1].join("\n")),
        Err(EscrowError::Incomplete { there: papers[1].1.len() - 1, of: papers[1].1.len() })
    );
    let last = codes[0].len() - 2;
    let mut wrong = codes[0].clone().into_bytes();
    wrong[last] = if wrong[last] == b'7' { b'8' } else { b'7' };
    assert_eq!(read_papers(&String::from_utf8(wrong).unwrap()), Err(EscrowError::Mistyped));
    assert_eq!(read_papers("hello"), Err(EscrowError::NotOne));
}

proptest::proptest! {
    #[test]
    fn no_text_makes_it_panic(text in "(BULBIL-SECRET-1:|[0-9A-Z:/.-]){0,6}", bytes: Vec<u8>) {
        let _ = read_papers(&text);
        let _ = EscrowDocument::parse(&bytes);
    }
}
