"""Checks against what the real system wrote and answered (`shared/fixtures/axon`)."""

import base64
import glob
import json
import os

import answers
import folder
import keys
import seal
import server
import times
from instance import Instance, new_user


def read(fixtures, *path):
    with open(os.path.join(fixtures, *path), encoding="utf-8") as file:
        return file.read()


def vectors(fixtures):
    return json.loads(read(fixtures, "vectors.json"))


def instance_from(scratch, fixtures, name, trusted=()):
    instance = Instance.create(os.path.join(scratch, name), private_key=read(fixtures, "keys", f"{name}.pem"))
    for other in trusted:
        instance.trust(read(fixtures, "keys", f"{other}.pub.pem"), f"http://{other}.onion")
    return instance


def fixture_backup(fixtures):
    return glob.glob(os.path.join(fixtures, "backup", "backup_*"))[0]


def tree(path):
    """Each file of a folder with its bytes."""
    return {
        os.path.relpath(os.path.join(at, name), path): open(os.path.join(at, name), "rb").read()
        for at, _, names in os.walk(path) for name in names
    }


def names_of_keys(_scratch, fixtures):
    for case in vectors(fixtures)["checksums"]:
        assert keys.checksum(case["input"]) == case["md5"], case["case"]
    for case in vectors(fixtures)["short_ids"]:
        assert keys.short_id(case["input"], case["length"]) == case["short_id"]
    for name, md5 in json.loads(read(fixtures, "expected.json"))["key_md5"].items():
        if name.startswith("instance_"):
            private = keys.load_private(read(fixtures, "keys", f"{name}.pem"))
            assert keys.checksum(keys.public_text(private)) == md5
            assert keys.public_text(private) == read(fixtures, "keys", f"{name}.pub.pem")


def sealed_identity(_scratch, fixtures):
    case = vectors(fixtures)["identity"]
    pem = keys.fernet(case["secret_key"]).decrypt(case["encrypted_private_key"].encode())
    assert seal.sha256(pem) == case["private_key_pem_sha256"]
    assert keys.private_text(keys.load_private(pem.decode())).encode() == pem
    assert keys.public_text(keys.load_private(pem.decode())) == case["pubkey"]


def canonical_bytes(_scratch, fixtures):
    for case in vectors(fixtures)["canonical_json"]:
        data = seal.canonical(json.loads(case["input_json"]))
        assert data == case["canonical"].encode(), case["input_json"]
        assert seal.sha256(data) == case["sha256"]


def sealed_items(_scratch, fixtures):
    private = keys.load_private(read(fixtures, "keys", "instance_a.pem"))
    for case in vectors(fixtures)["sealed"]:
        chunks = [base64.b64decode(chunk) for chunk in case["chunks_b64"]]
        plaintext = base64.b64decode(case["plaintext_b64"])
        assert seal.open_chunks(case["manifest"], chunks, private) == plaintext
        assert seal.open_key(case["manifest"], private).hex() == case["aes_key_hex"]
        again = seal.encrypt(plaintext, bytes.fromhex(case["aes_key_hex"]), base64.b64decode(case["manifest"]["encryption_iv"]))
        assert again == b"".join(chunks)
        made, cut = seal.seal(plaintext, [keys.public_text(private)])
        assert list(made) == list(case["manifest"]) and made["content_hash"] == case["manifest"]["content_hash"]
        assert [len(chunk) for chunk in cut] == [len(chunk) for chunk in chunks]


def signatures(scratch, fixtures):
    instance = Instance.create(scratch)
    cases = vectors(fixtures)["signatures"]
    instance.trust(base64.b64decode(cases[0]["headers"]["X-Pubkey"]).decode())
    for case in cases:
        clock = times.parse(case["headers"]["X-Timestamp"])
        accepted = server.authenticate(instance, "GET", case["headers"], b"", clock)
        assert bool(accepted) == case["valid"], case["note"]
    assert {case["valid"] for case in cases} == {True, False}


def captured_requests(scratch, fixtures):
    """Each captured request is accepted or refused as the real instance did it, at the time it had."""
    instance = Instance.create(scratch)
    for name in glob.glob(os.path.join(fixtures, "keys", "instance_*.pub.pem")):
        with open(name, encoding="utf-8") as file:
            instance.trust(file.read(), name)
    seen = set()
    for path in sorted(glob.glob(os.path.join(fixtures, "http", "*.json"))):
        for exchange in json.loads(read(path))["exchanges"]:
            request, response = exchange["request"], exchange["response"]
            headers = dict(request["headers"])
            if response["status"] in (404, 406) or "X-Pubkey" not in headers or "text_start" in response["body"]:
                continue
            clock = dict(response["headers"])["Date"]
            clock = times.now().strptime(clock, "%a, %d %b %Y %H:%M:%S GMT").replace(tzinfo=times.timezone.utc)
            accepted = server.authenticate(instance, request["method"], headers, b"", clock)
            assert bool(accepted) == (response["status"] != 401), (path, exchange.get("name"), request["target"])
            seen.add((response["status"], bool(accepted)))
    assert (200, True) in seen and (401, False) in seen


def failure_answers(scratch, fixtures):
    """Status, body and headers of single answers are those of the real instance A, to the byte."""
    a = instance_from(scratch, fixtures, "instance_a", ["instance_b"])
    a.state["onion_address"] = "axona.onion"
    a.save()
    b = keys.load_private(read(fixtures, "keys", "instance_b.pem"))
    peer = server.Peer(a.folder)
    compared = 0
    for exchange in json.loads(read(fixtures, "http", "05_single_requests_to_a.json"))["exchanges"]:
        request, response = exchange["request"], exchange["response"]
        if response["status"] == 200 and "unknown room" not in exchange["name"]:
            continue
        headers = dict(request["headers"])
        if response["status"] not in (401, 406):
            headers.update(keys.auth_headers(b, times.iso_now()))
        answer = peer.answer(request["method"], request["target"], headers, b"")
        assert answer.status == response["status"], exchange["name"]
        if "text" in response["body"]:
            assert answer.body.decode() == response["body"]["text"], exchange["name"]
        theirs = dict(response["headers"])
        assert answer.content_type == theirs.get("Content-Type"), exchange["name"]
        assert dict(answer.headers).get("WWW-Authenticate") == theirs.get("WWW-Authenticate")
        compared += 1
    assert compared > 12


def captured_sync(scratch, fixtures):
    """The captured sync answer opens with B's key, chunk by chunk as far as the bodies were kept."""
    exchanges = json.loads(read(fixtures, "http", "02_first_sync_b_from_a.json"))["exchanges"]
    answer = json.loads(exchanges[0]["response"]["body"]["text"])
    assert json.dumps(answer) == exchanges[0]["response"]["body"]["text"]
    assert answers.loose(answer).body.decode() == exchanges[0]["response"]["body"]["text"]
    b = keys.load_private(read(fixtures, "keys", "instance_b.pem"))
    bodies = {}
    for exchange in exchanges:
        body, target = exchange["response"]["body"], exchange["request"]["target"].split("/")
        if target[3:4] == ["chunk"] and ("base64" in body or "file" in body):
            data = base64.b64decode(body["base64"]) if "base64" in body else open(os.path.join(fixtures, body["file"]), "rb").read()
            bodies[target[4], int(target[5])] = data
    opened = 0
    for manifest in answer["manifests"]:
        chunks = [bodies.get((manifest["content_hash"], index)) for index in range(len(manifest["chunk_hashes"]))]
        if None not in chunks:
            assert seal.sha256(seal.open_chunks(manifest, chunks, b)) == manifest["content_hash"]
            opened += 1
    assert opened > 15, opened


def backup_again(scratch, fixtures):
    """Restored into A and written again, the real backup is the same byte for byte.

    Users, creation times and row times come from the files, since a restore does not keep them."""
    source = fixture_backup(fixtures)
    a = instance_from(scratch, fixtures, "instance_a")
    for number, user in enumerate(json.loads(read(fixtures, "keys", "users.json"))):
        a["users"].append({"pk": number + 1, **new_user(user["username"], user["pubkey"])})
    folder.restore(a, source)
    order = folder.read_json(os.path.join(source, "backup_manifest.json"))
    a["applets"].sort(key=lambda row: order["applets"].index(row["name"]))
    for applet in a["applets"]:
        path = os.path.join(source, folder.applet_dir(applet["name"]))
        applet["created_at"] = folder.read_json(os.path.join(path, "metadata.json"))["created_at"]
        kept = {row["id"]: row["last_updated"] for row in folder.read_optional(os.path.join(path, "applet_data.json"))}
        for row in a["applet_data"]:
            row["last_updated"] = kept.get(row["id"], row["last_updated"])
    written = folder.backup(a, os.path.join(scratch, "out"), date=order["backup_date"])
    ours, theirs = tree(written), tree(source)
    assert sorted(ours) == sorted(theirs)
    different = [name for name in theirs if ours[name] != theirs[name]]
    assert not different, different
    for name, about in json.loads(read(fixtures, "expected.json"))["files"].items():
        assert seal.sha256(ours[name]) == about["sha256"], name


def restore_into_b(scratch, fixtures):
    """The real restore with --rekey on B: same owners, envelopes, data, scores, states."""
    b = instance_from(scratch, fixtures, "instance_b", ["instance_a"])
    for user in json.loads(read(fixtures, "keys", "users.json")):
        b.federated_user(user["pubkey"])
    folder.restore(b, fixture_backup(fixtures), rekey=True)
    expected = json.loads(read(fixtures, "expected.json"))["restore_into_b"]
    users = {user["pk"]: user["username"] for user in b["users"]}
    applets = {row["name"]: row for row in b["applets"]}
    assert sorted(applets) == sorted(row["name"] for row in expected["applets"])
    for row in expected["applets"]:
        ours = applets[row["name"]]
        for name in ("id", "description", "parameters", "is_local", "is_debug_mode", "handles_mime_types"):
            assert ours[name] == row[name], (row["name"], name)
        assert users[ours["owner"]] == row["owner"]
        assert sorted(ours["code_manifest"]["encrypted_aes_keys"]) == row["envelopes"]
        board = b.by_pk("boards", ours["event_board"])
        assert (board and board["name"]) == row["event_board"]
        assert b.by_pk("categories", ours["category"])["name"] == row["category"]
        plaintext = b.store.open(ours["code_manifest"], b.private)
        assert seal.sha256(plaintext) == ours["code_manifest"]["content_hash"]
    data = {row["id"]: row for row in b["applet_data"]}
    assert sorted(data) == sorted(row["id"] for row in expected["applet_data"])
    for row in expected["applet_data"]:
        assert users[data[row["id"]]["owner"]] == row["owner"]
        assert sorted(data[row["id"]]["data_manifest"]["encrypted_aes_keys"]) == row["envelopes"]
    scores = sorted((row["owner_nickname"], row["score"], row["last_updated"]) for row in b["high_scores"])
    assert scores == sorted((row["owner_nickname"], row["score"], row["last_updated"]) for row in expected["high_scores"])
    assert [row["state_data"] for row in b["shared_states"]] == [row["state_data"] for row in expected["shared_states"]]
    assert sorted(row["name"] for row in b["categories"]) == expected["categories"]


def export_form(scratch, fixtures):
    """The captured export_config, loaded and exported again, is the same byte for byte."""
    import clone
    exchange = json.loads(read(fixtures, "http", "04_clone_c_from_a.json"))["exchanges"][1]
    text = exchange["response"]["body"]["text"]
    instance = Instance.create(scratch)
    clone.load_config(instance, json.loads(text))
    for user in instance["users"]:
        # The clone made an avatar for the superuser, who had none
        user["avatar"] = "" if user["is_superuser"] else user["avatar"]
    assert answers.export_config(server.Peer(_saved(instance)), "", None).body.decode() == text
    kept = clone.superuser_filter(json.loads(text))
    assert {it["pk"] for it in kept if it["model"] == "core.user"} == {1, 2, 3}


def _saved(instance):
    instance.save()
    return instance.folder


CHECKS = [
    names_of_keys, sealed_identity, canonical_bytes, sealed_items, signatures, captured_requests, failure_answers,
    captured_sync, backup_again, restore_into_b, export_form,
]
