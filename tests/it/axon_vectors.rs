//! Axon BBS formats against what a real instance made, `tests/data/axon/1/`, and against vectors made from the formats'
//! description by other code (`extra.json`). See the README there.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use bulbil::domain::axon::backup::{self, BackupManifest, DataRow, HighScore, Metadata, SharedState};
use bulbil::domain::axon::cipher::{self, Decryptor};
use bulbil::domain::axon::fernet::FernetKey;
use bulbil::domain::axon::json;
use bulbil::domain::axon::kept::Fields;
use bulbil::domain::axon::key::{KeyName, PublicKey, short_id};
use bulbil::domain::axon::manifest::Manifest;
use bulbil::domain::axon::payload::{Payload, Pm};
use bulbil::domain::axon::private::PrivateKey;
use bulbil::domain::axon::signature::{Claim, Headers};
use bulbil::domain::axon::{action, export, moment};
use bulbil::domain::id::{ChunkId, ContentHash};
use bulbil::store::entropy;
use serde_json::Value;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/axon/1")
}

fn backup_folder() -> PathBuf {
    folder().join("backup/backup_20261121_205042")
}

fn load(file: &str) -> Value {
    serde_json::from_slice(&std::fs::read(folder().join(file)).unwrap()).unwrap()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

fn base64(value: &Value) -> Vec<u8> {
    data_encoding::BASE64.decode(text(value).as_bytes()).unwrap()
}

fn key(file: &str) -> PrivateKey {
    PrivateKey::from_pem(&std::fs::read_to_string(folder().join("keys").join(file)).unwrap()).unwrap()
}

/// Every private key of the fixtures by its name in manifests.
fn keys() -> BTreeMap<String, PrivateKey> {
    let files = std::fs::read_dir(folder().join("keys")).unwrap().map(|entry| entry.unwrap().file_name());
    let files = files.map(|name| name.into_string().unwrap());
    let files = files.filter(|name| name.ends_with(".pem") && !name.ends_with(".pub.pem"));
    files.map(|name| key(&name)).map(|key| (key.public().name().to_string(), key)).collect()
}

fn manifest(value: &json::Value) -> Manifest {
    let json::Value::Object(object) = value else { panic!("a manifest is an object") };
    Manifest::from_object(object.clone()).unwrap()
}

/// The manifest inside `value`, read by our own reader, which keeps the order.
fn manifest_in(value: &Value) -> Manifest {
    manifest(&json::Value::parse(value.to_string().as_bytes()).unwrap())
}

// ------------------------------------------------------------------ keys

#[test]
fn keys_have_the_names_that_axon_gives_them() {
    let vectors = load("vectors.json");
    for case in vectors["checksums"].as_array().unwrap() {
        assert_eq!(KeyName::of(text(&case["input"])).as_str(), text(&case["md5"]), "{}", case["case"]);
    }
    for case in vectors["short_ids"].as_array().unwrap() {
        let digits = case["length"].as_u64().unwrap() as usize;
        assert_eq!(short_id(text(&case["input"]), digits), text(&case["short_id"]));
    }
    let stored = text(&vectors["checksums"][0]["input"]);
    for case in vectors["checksums"].as_array().unwrap() {
        match PublicKey::parse(text(&case["input"])) {
            Ok(key) => assert_eq!(key.as_str(), stored),
            Err(_) => assert_eq!(case["case"], "not a key"),
        }
    }
    for (name, md5) in load("expected.json")["key_md5"].as_object().unwrap() {
        let file = match name.as_str() {
            "alice" => "user_1.pem".to_owned(),
            "bob" => "user_2.pem".to_owned(),
            "carol" => "user_3.pem".to_owned(),
            instance => format!("{instance}.pem"),
        };
        assert_eq!(key(&file).public().name().as_str(), text(md5), "{name}");
    }
}

#[test]
fn larger_keys_are_read_from_all_forms() {
    for case in load("extra.json")["keys"].as_array().unwrap() {
        let private = PrivateKey::from_pem(text(&case["pkcs8"])).unwrap();
        assert_eq!(private.to_pkcs8_pem().as_str(), text(&case["pkcs8"]));
        assert_eq!(private.public().as_str(), text(&case["public"]));
        assert_eq!(private.public().name().as_str(), text(&case["md5"]));
        assert_eq!(PrivateKey::from_pem(text(&case["pkcs1"])).unwrap().pkcs8_der(), private.pkcs8_der());
        assert_eq!(&PublicKey::parse(text(&case["public_pkcs1"])).unwrap(), private.public());
        assert_eq!(format!("{private:?}"), "PrivateKey(…)");
    }
}

#[test]
fn the_instance_key_opens_under_its_secret_key() {
    let identity = &load("vectors.json")["identity"];
    let fernet = FernetKey::from_secret_key(text(&identity["secret_key"])).unwrap();
    let pem = fernet.open(text(&identity["encrypted_private_key"])).unwrap();
    assert_eq!(ContentHash::of(&pem).to_string(), text(&identity["private_key_pem_sha256"]));
    let private = PrivateKey::from_pem(std::str::from_utf8(&pem).unwrap()).unwrap();
    assert_eq!(private.public().as_str(), text(&identity["pubkey"]));
    assert_eq!(private.to_pkcs8_pem().as_bytes(), pem.as_slice());
    let again = fernet.seal(&pem, "2026-01-01T00:00:00Z".parse().unwrap(), &mut entropy());
    assert_eq!(fernet.open(&again).unwrap(), pem);

    let extra = &load("extra.json")["fernet"];
    let other = FernetKey::from_secret_key(text(&extra["secret_key"])).unwrap();
    assert_eq!(other.open(text(&extra["token"])).unwrap().as_slice(), text(&extra["plaintext"]).as_bytes());
    assert!(other.open(text(&identity["encrypted_private_key"])).is_err());
}

// ------------------------------------------------------------------ signatures

/// Checks the headers at the time that they name.
fn verifies(timestamp: &str, pubkey: &str, signature: &str) -> bool {
    let at = moment::parse(timestamp).unwrap();
    Claim::parse(timestamp, pubkey, signature).is_ok_and(|claim| claim.verify(at).is_ok())
}

#[test]
fn signatures_verify_or_not_as_they_should() {
    let vectors = load("vectors.json");
    for case in vectors["signatures"].as_array().unwrap() {
        let header = |name: &str| text(&case["headers"][name]);
        let valid = verifies(header("X-Timestamp"), header("X-Pubkey"), header("X-Signature"));
        assert_eq!(valid, case["valid"].as_bool().unwrap(), "{}", case["note"]);
    }
    for case in load("extra.json")["signatures"].as_array().unwrap() {
        let valid = verifies(text(&case["timestamp"]), text(&case["pubkey"]), text(&case["signature"]));
        assert_eq!(valid, case["valid"].as_bool().unwrap(), "{} of {} bits", case["case"], case["bits"]);
    }
}

#[test]
fn every_captured_request_verifies_if_it_was_let_in() {
    let mut seen = 0;
    for entry in std::fs::read_dir(folder().join("http")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        for exchange in load(&format!("http/{name}"))["exchanges"].as_array().unwrap() {
            let headers: BTreeMap<String, &str> = exchange["request"]["headers"]
                .as_array()
                .unwrap()
                .iter()
                .map(|pair| (text(&pair[0]).to_ascii_lowercase(), text(&pair[1])))
                .collect();
            let all = ["x-timestamp", "x-pubkey", "x-signature"].map(|name| headers.get(name).copied());
            let ([Some(timestamp), Some(pubkey), Some(signature)], Some(200 | 404)) =
                (all, exchange["response"]["status"].as_u64())
            else {
                continue;
            };
            assert!(verifies(timestamp, pubkey, signature), "{name}: {}", exchange["request"]["target"]);
            seen += 1;
        }
    }
    assert!(seen > 120, "only {seen} requests were looked at");
}

#[test]
fn what_we_sign_has_the_longest_salt_and_holds_for_five_minutes() {
    let now = "2026-11-21T20:47:37.062414Z".parse().unwrap();
    for case in load("extra.json")["keys"].as_array().unwrap() {
        let private = PrivateKey::from_pem(text(&case["pkcs8"])).unwrap();
        let headers = Headers::sign(&private, now);
        assert_eq!(headers.timestamp, "2026-11-21T20:47:37.062414+00:00");
        let claim = || Claim::parse(&headers.timestamp, &headers.pubkey, &headers.signature).unwrap();
        let second = jiff::SignedDuration::from_secs(1);
        for (offset, good) in [(-301, false), (-299, true), (0, true), (299, true), (301, false)] {
            assert_eq!(claim().verify(now + second * offset).is_ok(), good, "{offset} s");
        }
        // A verifier that takes the longest salt only takes it.
        use aws_lc_rs::signature::{RSA_PSS_2048_8192_SHA256, RsaParameters, RsaPssSaltLength, UnparsedPublicKey};
        static MAX: RsaParameters = RSA_PSS_2048_8192_SHA256.with_pss_salt_length(RsaPssSaltLength::Max);
        let pem = private.public().as_str().lines().filter(|line| !line.starts_with('-')).collect::<String>();
        let der = data_encoding::BASE64.decode(pem.as_bytes()).unwrap();
        let digest: [u8; 32] = *ContentHash::of(headers.timestamp.as_bytes()).as_bytes();
        let signature = data_encoding::BASE64.decode(headers.signature.as_bytes()).unwrap();
        UnparsedPublicKey::new(&MAX, &der).verify(&digest, &signature).unwrap();
    }
}

// ------------------------------------------------------------------ JSON

#[test]
fn json_is_written_as_python_writes_it() {
    for case in load("vectors.json")["canonical_json"].as_array().unwrap() {
        let canonical = json::Value::parse(text(&case["input_json"]).as_bytes()).unwrap().to_canonical();
        assert_eq!(canonical, text(&case["canonical"]));
        assert_eq!(ContentHash::of(canonical.as_bytes()).to_string(), text(&case["sha256"]));
    }
    let extra = load("extra.json");
    for case in extra["json"].as_array().unwrap() {
        let value = json::Value::parse(text(&case["input"]).as_bytes()).unwrap();
        assert_eq!(value.to_canonical(), text(&case["canonical"]));
        assert_eq!(value.to_line(), text(&case["line"]));
        assert_eq!(value.to_indented(), text(&case["indented"]));
        if let Some(raw) = case["raw"].as_str() {
            assert_eq!(value.to_raw_line(), raw);
        }
    }
    for case in extra["floats"].as_array().unwrap() {
        let number = f64::from_bits(u64::from_str_radix(text(&case["bits"]), 16).unwrap());
        assert_eq!(json::Value::Float(number).to_line(), text(&case["text"]));
    }
}

#[test]
fn every_captured_json_body_is_written_again_byte_for_byte() {
    let mut seen = 0;
    for entry in std::fs::read_dir(folder().join("http")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        for exchange in load(&format!("http/{name}"))["exchanges"].as_array().unwrap() {
            let target = text(&exchange["request"]["target"]);
            let Some(body) = exchange["response"]["body"]["text"].as_str() else { continue };
            let ok = exchange["response"]["status"] == 200;
            if ok && target.starts_with("/api/federation/export_config/") {
                let rows = export::parse(body.as_bytes()).unwrap();
                assert!(rows.len() > 10);
                assert_eq!(export::write(&rows), body);
                seen += 1;
            } else if ok && target.starts_with("/api/sync/") {
                let value = json::Value::parse(body.as_bytes()).unwrap();
                assert_eq!(value.to_line(), body);
                let object = value.into_object().unwrap();
                for item in object.need_list("manifests").unwrap() {
                    assert_eq!(&manifest(item).to_value(), item);
                    assert!(manifest(item).content_type().is_some());
                }
                for item in action::read_all(object.need("federated_actions").unwrap().clone()).unwrap() {
                    let item = item.unwrap();
                    assert_eq!(json::Value::Object(item.write()).to_line(), item.to_value().to_line());
                }
                seen += 1;
            }
        }
    }
    assert!(seen > 5, "only {seen} answers were looked at");
}

// ------------------------------------------------------------------ sealed items

#[test]
fn sealed_vectors_open_and_are_sealed_the_same() {
    let vectors = load("vectors.json");
    let extra = load("extra.json");
    let ours: Vec<_> = extra["keys"]
        .as_array()
        .unwrap()
        .iter()
        .map(|key| PrivateKey::from_pem(text(&key["pkcs8"])).unwrap())
        .collect();
    let instance = [key("instance_a.pem")];
    let cases = vectors["sealed"].as_array().unwrap().iter().map(|case| (case, instance.as_slice()));
    let cases = cases.chain(extra["sealed"].as_array().unwrap().iter().map(|case| (case, ours.as_slice())));
    for (case, keys) in cases {
        let manifest = manifest_in(&case["manifest"]);
        let chunks: Vec<_> = case["chunks_b64"].as_array().unwrap().iter().map(base64).collect();
        for private in keys {
            let key = manifest.unwrap_key(private).unwrap();
            assert_eq!(data_encoding::HEXLOWER.encode(key.expose()), text(&case["aes_key_hex"]));
            let plaintext = cipher::open(&key, &manifest, &chunks).unwrap();
            assert_eq!(plaintext, base64(&case["plaintext_b64"]));
            assert_eq!(Payload::parse(&plaintext).unwrap().to_plaintext(), plaintext);
        }
        assert!(manifest.unwrap_key(&key("instance_d.pem")).is_err());
    }
}

#[test]
fn an_item_that_we_seal_opens_for_its_recipients_only() {
    let (ours, peer, stranger) = (key("instance_a.pem"), key("instance_b.pem"), key("instance_c.pem"));
    let plaintext = vec![b'x'; cipher::CHUNK_SIZE];
    let sealed = cipher::seal(&plaintext, &mut entropy());
    let mut manifest = Manifest::of(&sealed);
    for recipient in [&ours, &peer] {
        manifest.add_envelope(&recipient.public().wrapper().unwrap(), &sealed.key).unwrap();
    }
    let manifest = Manifest::parse(manifest.to_value().to_line().as_bytes()).unwrap();
    for recipient in [&ours, &peer] {
        let key = manifest.unwrap_key(recipient).unwrap();
        assert_eq!(cipher::open(&key, &manifest, &sealed.chunks).unwrap(), plaintext);
    }
    assert!(manifest.unwrap_key(&stranger).is_err());
    let mut answer = manifest.clone();
    answer.keep_envelopes(&[&peer.public().name()]);
    assert_eq!(answer.envelope_names().collect::<Vec<_>>(), [peer.public().name().as_str()]);
}

#[test]
fn a_private_message_opens_for_both_and_nobody_else() {
    let (alice, bob, carol) = (key("user_1.pem"), key("user_2.pem"), key("user_3.pem"));
    let pm = Pm::seal("é", "hello", alice.public(), bob.public(), &mut entropy()).unwrap();
    let object = json::Value::Object(pm.write());
    let Payload::Pm(pm) = Payload::parse(object.to_canonical().as_bytes()).unwrap() else { panic!("it says pm") };
    for user in [&alice, &bob] {
        assert_eq!(pm.open(user).unwrap().subject, "é");
    }
    assert!(pm.open(&carol).is_err());
}

// ------------------------------------------------------------------ the backup directory

#[track_caller]
fn one<T: Fields>(path: &Path) -> bool {
    let Ok(bytes) = std::fs::read(path) else { return false };
    let kept = backup::parse_one::<T>(&bytes).unwrap();
    assert_eq!(backup::write_one(&kept).as_bytes(), bytes);
    // Our own writer makes the same fields in the same order.
    assert_eq!(json::Value::Object(kept.write()).to_indented().as_bytes(), bytes);
    true
}

#[track_caller]
fn rows<T: Fields>(path: &Path) -> usize {
    let Ok(bytes) = std::fs::read(path) else { return 0 };
    let rows: Vec<_> = backup::parse_rows::<T>(&bytes).unwrap().into_iter().map(Result::unwrap).collect();
    assert_eq!(backup::write_rows(&rows).as_bytes(), bytes);
    let again = rows.iter().map(|row| json::Value::Object(row.write())).collect();
    assert_eq!(json::Value::List(again).to_indented().as_bytes(), bytes);
    rows.len()
}

#[test]
fn every_json_file_of_the_backup_is_written_again_byte_for_byte() {
    assert!(one::<BackupManifest>(&backup_folder().join(backup::BACKUP_MANIFEST)));
    let manifest = std::fs::read(backup_folder().join(backup::BACKUP_MANIFEST)).unwrap();
    let (mut data, mut scores, mut states) = (0, 0, 0);
    for name in &backup::parse_one::<BackupManifest>(&manifest).unwrap().applets {
        let applet = backup_folder().join(backup::applet_folder(name.as_str().unwrap()).unwrap());
        assert!(one::<Metadata>(&applet.join(backup::METADATA)));
        data += rows::<DataRow>(&applet.join(backup::APPLET_DATA));
        scores += rows::<HighScore>(&applet.join(backup::HIGH_SCORES));
        states += usize::from(one::<SharedState>(&applet.join(backup::SHARED_STATE)));
    }
    assert_eq!((data, scores, states), (6, 4, 1));
}

/// Opens the chunks in a folder for every key that the manifest and the fixtures both have; none if they are not there.
fn open_folder(manifest: &Manifest, folder: &Path, keys: &BTreeMap<String, PrivateKey>) -> Option<Vec<u8>> {
    let chunks: Vec<_> = (0..manifest.chunk_hashes().len())
        .map(|index| std::fs::read(folder.join(backup::chunk_file(index))).ok())
        .collect::<Option<_>>()?;
    let mut plaintext = None;
    for name in manifest.envelope_names() {
        let key = manifest.unwrap_key(&keys[name]).unwrap();
        let mut decryptor = Decryptor::new(&key, manifest);
        let mut out = Vec::new();
        for (index, chunk) in chunks.iter().enumerate() {
            assert_eq!(ChunkId::of(chunk), manifest.chunk_hashes()[index]);
            let mut flipped = chunk.clone();
            flipped[chunk.len() / 2] ^= 1;
            assert!(decryptor.push(&flipped, &mut out).is_err(), "a flipped bit is refused");
            decryptor.push(chunk, &mut out).unwrap(); // and the right chunk taken after it
        }
        assert_eq!(decryptor.finish(&mut out).unwrap(), out.len() as u64);
        plaintext = Some(out);
    }
    plaintext
}

/// Opens everything in a backup folder; how many items it could open.
fn open_backup(folder: &Path) -> (usize, usize) {
    let (expected, keys) = (load("expected.json"), keys());
    let (mut codes, mut data) = (0, 0);
    for (applet, said) in expected["applets"].as_object().unwrap() {
        let applet = folder.join(applet);
        let metadata = std::fs::read(applet.join(backup::METADATA)).unwrap();
        let metadata = backup::parse_one::<Metadata>(&metadata).unwrap();
        let code = metadata.code_manifest.as_ref().unwrap();
        if let Some(plaintext) = open_folder(code, &applet.join(backup::CHUNKS), &keys) {
            assert_eq!(ContentHash::of(&plaintext).to_string(), text(&said["code"]["plaintext_sha256"]));
            let payload = Payload::parse(&plaintext).unwrap();
            assert_eq!(payload.to_plaintext(), plaintext);
            let Payload::File(file) = payload else { panic!("code is a file") };
            assert_eq!(ContentHash::of(&file.data).to_string(), text(&said["code"]["file_sha256"]));
            codes += 1;
        }
        let Ok(rows) = std::fs::read(applet.join(backup::APPLET_DATA)) else { continue };
        for row in backup::parse_rows::<DataRow>(&rows).unwrap() {
            let row = row.unwrap();
            let owner = backup::owner_folder(row.owner_username.as_str().unwrap()).unwrap();
            let chunks = applet.join(backup::DATA_CHUNKS).join(owner);
            let plaintext = open_folder(&row.data_manifest, &chunks, &keys).unwrap();
            let Payload::AppletData(payload) = Payload::parse(&plaintext).unwrap() else { panic!("it is data") };
            assert_eq!(payload.applet_id, metadata.id);
            data += 1;
        }
    }
    (codes, data)
}

#[test]
fn every_chunk_of_the_backup_opens_with_its_keys_and_hashes() {
    assert_eq!(open_backup(&backup_folder()), (3, 6));
}
