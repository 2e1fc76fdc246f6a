use proptest::prelude::*;

use super::*;
use crate::domain::crypto::secret::Secret;

/// A signed request as it arrives.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
struct Request {
    method: String,
    authority: String,
    path: String,
    query: Option<String>,
    content_digest: String,
    bulbil_instance: String,
    signature_input: String,
    signature: String,
    body: String,
}

impl Request {
    fn verify(
        &self,
        here: &InstanceId,
        key: Option<&PublicKey>,
        now: Timestamp,
    ) -> Result<VerifiedRequest, SignatureFault> {
        let parts = RequestParts {
            method: &self.method,
            authority: &self.authority,
            path: &self.path,
            query: self.query.as_deref(),
            addressee: here,
        };
        let headers = RequestHeaders {
            content_digest: &self.content_digest,
            addressee: &self.bulbil_instance,
            signature_input: &self.signature_input,
            signature: &self.signature,
        };
        RequestClaim::parse(&headers, &parts)?.verify(key, now)?.check_body(self.body.as_bytes())
    }

    fn fields(&mut self) -> [&mut String; 8] {
        [
            &mut self.method,
            &mut self.authority,
            &mut self.path,
            self.query.get_or_insert_default(),
            &mut self.content_digest,
            &mut self.bulbil_instance,
            &mut self.signature_input,
            &mut self.signature,
        ]
    }
}

fn key(n: u8) -> IdentityKey {
    IdentityKey::from_seed(&Secret::from_bytes([n; 32]))
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn now() -> Timestamp {
    at("2026-11-22T06:00:00Z")
}

fn request() -> Request {
    let (method, authority, path, query, body) =
        ("POST", "192.0.2.7:7001", "/peer/v1/chunks", "a=1&b=%20", "{\"ids\":[]}");
    let addressee = key(2).public().instance();
    let parts = RequestParts { method, authority, path, query: Some(query), addressee: &addressee };
    let headers = sign_request(&parts, body.as_bytes(), &key(1), now(), &[9; 16]);
    let value = |wanted: &str| headers.iter().find(|(name, _)| *name == wanted).unwrap().1.to_owned();
    Request {
        method: method.to_owned(),
        authority: authority.to_owned(),
        path: path.to_owned(),
        query: Some(query.to_owned()),
        content_digest: value(CONTENT_DIGEST),
        bulbil_instance: value(ADDRESSEE),
        signature_input: value(SIGNATURE_INPUT),
        signature: value(SIGNATURE),
        body: body.to_owned(),
    }
}

fn verify(request: &Request) -> Result<VerifiedRequest, SignatureFault> {
    request.verify(&key(2).public().instance(), Some(&key(1).public()), now())
}

#[test]
fn a_signed_request_is_verified() {
    let verified = verify(&request()).unwrap();
    assert_eq!(verified.caller, key(1).public().instance());
    assert_eq!(verified.nonce, [9; 16]);
    assert!(verified.remember_nonce_until > verified.expires);
}

#[test]
fn r10_a_request_for_another_peer_is_refused() {
    let elsewhere = key(3).public().instance();
    let result = request().verify(&elsewhere, Some(&key(1).public()), now());
    assert_eq!(result, Err(SignatureFault::OtherAddressee));
    // Naming the new addressee does not help: the old one was signed.
    let turned = Request { bulbil_instance: elsewhere.to_string(), ..request() };
    assert_eq!(turned.verify(&elsewhere, Some(&key(1).public()), now()), Err(SignatureFault::BadSignature));
}

#[test]
fn r12_an_unknown_caller_and_a_wrong_key_look_the_same() {
    let here = key(2).public().instance();
    assert_eq!(request().verify(&here, None, now()), Err(SignatureFault::BadSignature));
    assert_eq!(request().verify(&here, Some(&key(4).public()), now()), Err(SignatureFault::BadSignature));
}

#[test]
fn clocks_may_be_five_minutes_apart_and_no_more() {
    let here = key(2).public().instance();
    let verify =
        |seconds: i64| request().verify(&here, Some(&key(1).public()), now() + SignedDuration::from_secs(seconds));
    let skew = Err(SignatureFault::ClockSkew { their_clock: now() });
    assert!(verify(-300).is_ok());
    assert_eq!(verify(-301), skew);
    assert!(verify(LIFETIME_SECONDS + 300).is_ok());
    assert_eq!(verify(LIFETIME_SECONDS + 301), skew);
    // Only who holds the key learns about clocks.
    let result = request().verify(&here, None, now() + SignedDuration::from_hours(1));
    assert_eq!(result, Err(SignatureFault::BadSignature));
}

#[test]
fn a_nonce_is_remembered_for_as_long_as_the_request_would_be_accepted() {
    let here = key(2).public().instance();
    let until = verify(&request()).unwrap().remember_nonce_until;
    assert!(request().verify(&here, Some(&key(1).public()), until).is_err());
}

#[test]
fn a_lifetime_over_the_limit_is_refused() {
    let lifetimes = |seconds: i64| {
        let from = format!("expires={}", now().as_second() + LIFETIME_SECONDS);
        let to = format!("expires={}", now().as_second() + seconds);
        verify(&Request { signature_input: request().signature_input.replace(&from, &to), ..request() })
    };
    for seconds in [-1, 0, 301, 1_000_000] {
        assert_eq!(lifetimes(seconds), Err(SignatureFault::Malformed), "{seconds}");
    }
    assert_eq!(lifetimes(300), Err(SignatureFault::BadSignature));
}

#[test]
fn one_spelling_only() {
    let good = request().signature_input;
    for (from, to) in [
        ("sig1=", "sig2="),
        ("sig1=", "sig1= "),
        ("\"@method\" ", ""),
        ("\"@query\"", "\"@query\";req"),
        (";alg=\"ed25519\"", ""),
        ("bulbil-peer-1", "bulbil-peer-2"),
        (";created=", ";created=-"),
        (";created=", ";created=0000000"),
    ] {
        let changed = good.replacen(from, to, 1);
        assert_ne!(changed, good);
        assert_eq!(verify(&Request { signature_input: changed, ..request() }), Err(SignatureFault::Malformed), "{to}");
    }
    let two = format!("{good}, {good}");
    assert_eq!(verify(&Request { signature_input: two, ..request() }), Err(SignatureFault::Malformed));
}

#[test]
fn the_default_port_and_case_of_an_authority_do_not_matter() {
    let addressee = key(2).public().instance();
    let parts = |authority| RequestParts { method: "GET", authority, path: "/", query: None, addressee: &addressee };
    let base = |authority| request_base(&parts(authority), "", "");
    assert_eq!(base("ABC.onion:80"), base("abc.onion"));
    assert_ne!(base("abc.onion:81"), base("abc.onion"));
}

proptest! {
    #[test]
    fn r10_any_changed_byte_is_refused(field in 0usize..8, at in any::<prop::sample::Index>(), bit in 0u8..8) {
        let mut changed = request();
        let text = changed.fields()[field].clone();
        let mut bytes = text.into_bytes();
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        if let Ok(text) = String::from_utf8(bytes) {
            *changed.fields()[field] = text;
            prop_assert!(verify(&changed).is_err());
        }
    }

    #[test]
    fn r10_a_changed_body_is_refused(at in any::<prop::sample::Index>(), bit in 0u8..7) {
        let mut changed = request();
        let mut bytes = changed.body.into_bytes();
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        changed.body = String::from_utf8(bytes).unwrap();
        prop_assert_eq!(verify(&changed), Err(SignatureFault::BadBody));
    }

    #[test]
    fn no_input_makes_it_panic(field in 0usize..8, text in ".{0,300}", cut in any::<prop::sample::Index>()) {
        let mut changed = request();
        *changed.fields()[field] = text.clone();
        let _ = verify(&changed);
        let mut changed = request();
        let field = &mut changed.fields()[field];
        let at = cut.index(field.len() + 1);
        field.truncate(at);
        field.push_str(&text);
        let _ = verify(&changed);
    }

    #[test]
    fn any_changed_byte_of_an_answer_is_refused(field in 0usize..4, at in any::<prop::sample::Index>(), bit in 0u8..7) {
        let headers = sign_answer(200, b"{}", &key(2), now(), &[9; 16]);
        let mut values: Vec<String> = headers.iter().map(|(_, value)| value.to_owned()).collect();
        let mut bytes = values[field].clone().into_bytes();
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        values[field] = String::from_utf8(bytes).unwrap();
        let refused = answer(&values, 200, b"{}").is_err();
        prop_assert!(refused);
    }
}

fn answer(values: &[String], status: u16, body: &[u8]) -> Result<Timestamp, SignatureFault> {
    let headers = AnswerHeaders {
        content_digest: &values[0],
        nonce: &values[1],
        signature_input: &values[2],
        signature: &values[3],
    };
    verify_answer(&headers, status, body, &key(2).public(), &[9; 16])
}

#[test]
fn an_answer_belongs_to_its_request_status_body_and_server() {
    let sign = |key: &IdentityKey, nonce: &Nonce| -> Vec<String> {
        sign_answer(200, b"{}", key, now(), nonce).iter().map(|(_, value)| value.to_owned()).collect()
    };
    let good = sign(&key(2), &[9; 16]);
    assert_eq!(answer(&good, 200, b"{}"), Ok(now()));
    assert_eq!(answer(&good, 404, b"{}"), Err(SignatureFault::BadSignature));
    assert_eq!(answer(&good, 200, b"{ }"), Err(SignatureFault::BadBody));
    assert_eq!(answer(&sign(&key(3), &[9; 16]), 200, b"{}"), Err(SignatureFault::BadSignature));
    assert_eq!(answer(&sign(&key(2), &[8; 16]), 200, b"{}"), Err(SignatureFault::OtherRequest));
}

/// Version 1 as every later program must write and read it.
#[test]
fn golden_request_and_answer() {
    let text = include_str!("../../../tests/data/wire/1/request.json");
    assert_eq!(serde_json::to_string_pretty(&request()).unwrap(), text.trim());
    assert!(verify(&serde_json::from_str(text).unwrap()).is_ok());

    let text = include_str!("../../../tests/data/wire/1/answer.json");
    let values: Vec<String> = serde_json::from_str(text).unwrap();
    let made = sign_answer(200, b"{}", &key(2), now(), &[9; 16]);
    assert!(made.iter().map(|(_, value)| value).eq(values.iter().map(String::as_str)), "{made:#?}");
    assert_eq!(answer(&values, 200, b"{}"), Ok(now()));
}
