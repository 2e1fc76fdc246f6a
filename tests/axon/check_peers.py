"""Checks of two peers against each other, over real sockets on the loopback interface."""

import http.client
import json
import os
import sqlite3
from datetime import timedelta

import clone
import content
import dump
import folder
import install
import keys
import seal
import times
from caller import Caller
from instance import Instance
from puller import Puller
from server import Server, authenticate


def pair(scratch, fill=None, defects=(), bits=2048):
    """A filled and serving A that trusts B, and a B that pulls from it."""
    a = Instance.create(os.path.join(scratch, "a"), seed=7)
    b = Instance.create(os.path.join(scratch, "b"), seed=8, bits=bits)
    a.trust(b.pubkey)
    content.Filler(a).fill(**(SMALL if fill is None else fill))
    server = Server(a.folder, defects=defects).start()
    b.trust(a.pubkey, f"http://127.0.0.1:{server.port}")
    b.save()
    return a, b, server


SMALL = {"messages": 2, "files": 0, "applets": 0, "pms": 0, "users": 1}
ONE_BIG = {"messages": 1, "files": 1, "applets": 0, "pms": 0, "users": 0}


def requests(a):
    with open(os.path.join(a.folder, "requests.jsonl"), encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def told(events, what):
    return [event for event in events if event["event"] == what]


def hashes(instance, table):
    return {row["manifest"]["content_hash"] for row in instance[table]}


def standard_set(scratch):
    """Section 17: 26 manifests, 20 items, 69 chunks, 90 requests, about 14 MB."""
    a, b, server = pair(scratch, fill={})
    Puller(b).run()
    lines = requests(a)
    assert len(lines) == 90, len(lines)
    assert sum("has_content" in line["path"] for line in lines) == 20
    assert sum("/chunk/" in line["path"] for line in lines) == 69
    assert len({line["connection"] for line in lines}) == 90
    assert 13_900_000 < sum(line["bytes"] for line in lines) < 14_200_000
    assert {line["status"] for line in lines} == {200}
    assert hashes(b, "files") == hashes(a, "files")
    assert not b["applets"] and not b["pms"]
    # Whatever waited for its attachments comes with the next announcement
    Puller(b).run()
    assert hashes(b, "messages") == hashes(a, "messages")
    for row in dump.dump(b)["files"]:
        assert row["content"]["plaintext_is_content_hash"] and row["content"]["chunks_good"]
        assert set(row["content"]["envelopes"]) == {keys.checksum(a.pubkey), keys.checksum(b.pubkey)}


def attachments_wait_and_are_lost(scratch):
    """16.1 no. 7: announced once, more than ten minutes old, a message with attachments is lost."""
    a = Instance.create(os.path.join(scratch, "a"))
    b = Instance.create(os.path.join(scratch, "b"))
    a.trust(b.pubkey)
    content.Filler(a, at=times.earlier(times.iso_now(), 60)).fill(messages=5, files=2, applets=0, pms=0, users=1)
    # The files are announced after the messages, and the message with attachment is small: it comes first
    server = Server(a.folder).start()
    b.trust(a.pubkey, f"http://127.0.0.1:{server.port}")
    puller = Puller(b)
    row = b["peers"][0]
    wanted = puller.poll(row)
    for manifest in wanted:
        puller.download_and_store(manifest)
    assert len(b["messages"]) == 3, len(b["messages"])
    assert len(told(puller.events, "not stored")) == 2
    Puller(b).run()
    assert len(b["messages"]) == 3
    row["last_synced_at"] = None
    Puller(b).run()
    assert len(b["messages"]) == 5


def get(server, target, headers=(), method="GET", body=None, host="127.0.0.1"):
    connection = http.client.HTTPConnection("127.0.0.1", server.port)
    connection.request(method, target, body, {"Host": host, **dict(headers)})
    response = connection.getresponse()
    result = response.status, response.read(), response.headers
    connection.close()
    return result


def refusals(scratch):
    """Sections 6 and 7: who is let in, and the exact answers for who is not."""
    a, b, server = pair(scratch)
    def signed(moment=None, **options):
        stamp = moment or times.iso_now()
        return dict(keys.auth_headers(b.private, stamp), **options)
    target = "/api/sync/?since=2099-01-01T00:00:00+00:00"
    def at(seconds):
        return times.iso(times.now() + timedelta(seconds=seconds))
    assert get(server, target, signed())[0] == 200
    # The borders with a clock that stands still
    clock = times.now()
    for seconds, good in ((-301, False), (-299, True), (299, True), (301, False)):
        headers = dict(keys.auth_headers(b.private, times.iso(clock + timedelta(seconds=seconds))))
        assert bool(authenticate(a, "GET", headers, b"", clock)) == good, seconds
    assert get(server, target, signed(times.iso_now().replace("+00:00", "Z")))[0] == 200
    assert get(server, target, signed(times.iso_now().replace("+00:00", "")))[0] == 200
    # The signature is over the text: the same headers open every path
    assert get(server, "/api/federation/export_config/", signed())[0] == 200
    for headers in (
        {}, signed(at(-400)), signed(at(900)), signed("1763757600"), signed("soon"),
        signed(Authorization="Bearer x"), signed(**{"X-Signature": "AAAA"}),
        dict(keys.auth_headers(keys.generate(), times.iso_now())),
    ):
        status, body, answered = get(server, target, headers)
        assert status == 401, headers
        assert body == b'{"detail":"Authentication credentials were not provided."}'
        assert answered["WWW-Authenticate"] == 'Bearer realm="api"'
    for salt in (0, 32):
        stamp = times.iso_now()
        assert get(server, target, signed(stamp, **{"X-Signature": keys.sign_timestamp(b.private, stamp, salt)}))[0] == 200
    assert get(server, "/api/identity/public_key/")[:2] == (200, json.dumps({"public_key": a.pubkey}).encode())
    status, body, answered = get(server, "/api/sync", signed())
    assert status == 500 and answered["Content-Type"].startswith("text/html")
    assert get(server, target, signed(), host="other.onion")[0] == 400
    assert get(server, "/api/sync/", signed())[0] == 400
    assert get(server, "/api/sync/?since=0001-01-01T00:00:00%2B01:00", signed())[0] == 500
    assert get(server, "/api/sync/?since=2099-01-01", signed())[0] == 200
    assert get(server, target, signed(), method="POST")[0] == 401
    assert get(server, target, signed(), method="HEAD")[0] == 401
    a.trust(b.pubkey, "http://twice.onion")
    a.save()
    assert get(server, target, signed())[0] == 500


def just_in_time(scratch):
    """A peer with a 4096 bit key, trusted after the content was made, gets its envelopes (section 3)."""
    a, _, server = pair(scratch)
    c = Instance.create(os.path.join(scratch, "c"), bits=4096)
    a.trust(c.pubkey)
    a.save()
    c.trust(a.pubkey, f"http://127.0.0.1:{server.port}")
    Puller(c).run()
    assert hashes(c, "messages") == hashes(a, "messages") and len(c["messages"]) == 2
    a = Instance.load(a.folder)
    assert keys.checksum(c.pubkey) not in a["messages"][0]["manifest"]["encrypted_aes_keys"]


def distrusted(scratch):
    """A row no longer trusted is refused, gets envelopes of new content, and loses them at a re-key (section 3)."""
    a, b, server = pair(scratch)
    a["peers"][0]["is_trusted_peer"] = False
    content.Filler(a).fill(**SMALL)
    target = "/api/sync/?since=2099-01-01T00:00:00+00:00"
    assert get(server, target, keys.auth_headers(b.private, times.iso_now()))[0] == 401
    name = keys.checksum(b.pubkey)
    assert all(name in row["manifest"]["encrypted_aes_keys"] for row in a["messages"])
    assert a.rekey_all() == []
    assert not any(name in row["manifest"]["encrypted_aes_keys"] for row in a["messages"])


def defect(scratch, name, fill=None):
    """What B makes of a pass over a defective A: (B, events)."""
    path = os.path.join(scratch, name.split("=")[0])
    os.mkdir(path)
    _, b, _ = pair(path, fill=fill or ONE_BIG, defects=[name])
    return b, Puller(b).run()


def defects_of_chunks(scratch):
    """What a live puller does with broken chunks (sections 8.4 and 16.1)."""
    b, events = defect(scratch, "missing-chunk")
    assert told(events, "aborted") and not b["files"] and len(b["messages"]) == 1
    b, events = defect(scratch, "corrupt-chunk")
    assert told(events, "wrong chunk") and told(events, "incomplete") and not b["files"]
    b, events = defect(scratch, "drop=5000")
    assert told(events, "chunk failed") and not b["files"]
    b, events = defect(scratch, "drop-once=5")
    assert len(told(events, "chunk failed")) == 1
    Puller(b).run()
    assert len(b["files"]) == 1 and len(b["messages"]) == 1


def defects_of_answers(scratch):
    """A failed poll moves the mark all the same (8.2, 16.1 no. 6)."""
    for name in ("no-envelope", "html-sync", "bad-json", "drop-sync=10"):
        b, events = defect(scratch, name)
        assert told(events, "poll failed") and not b["files"] and not b["messages"]
        assert b["peers"][0]["last_synced_at"] > times.earlier(times.iso_now(), 1)


def defects_of_manifests(scratch):
    """Nothing of a manifest is signed or compared (16.3)."""
    b, _ = defect(scratch, "flipped-iv")
    # One letter of the payload is another one: stored without complaint
    assert not dump.dump(b)["files"][0]["content"]["plaintext_is_content_hash"]
    b, _ = defect(scratch, "foreign-envelope")
    assert told(Puller(b).run(), "manifest replaced")
    b, _ = defect(scratch, "wrong-hash")
    assert seal.sha256(b"something else") in hashes(b, "messages")


def hostile_names(scratch):
    """A path as content_hash is refused by this puller, and served to whoever asks for it (16.3 no. 3)."""
    b, events = defect(scratch, "dots-hash")
    assert told(events, "refused, unsafe content_hash") and len(b["files"]) == 1
    for name, target in (("dots-hash=../x", "..%2Fx"), ("absolute-hash=/tmp/x", "/tmp/x")):
        path = os.path.join(scratch, name[:4] + "2")
        os.mkdir(path)
        _, b, server = pair(path, SMALL, [name])
        headers = keys.auth_headers(b.private, times.iso_now())
        assert get(server, f"/api/bitsync/has_content/{target}/", headers)[0] == 200
        assert get(server, f"/api/bitsync/chunk/{target}/0/", headers)[0] == 200
        assert get(server, f"/api/bitsync/chunk/{target}/1/", headers)[0] == 404


def server_timestamps(scratch):
    """Section 8.2: trusted when it reads, own clock when null, the pass ends when unreadable."""
    for name in ("timestamp-null", "timestamp-future", "timestamp-past", "timestamp-bad"):
        b, events = defect(scratch, name, SMALL)
        last = b["peers"][0]["last_synced_at"]
        if name == "timestamp-bad":
            assert last is None and told(events, "pass aborted")
            continue
        days = (times.parse(last) - times.now()) / timedelta(days=1)
        expected = {"timestamp-null": 0, "timestamp-future": 365, "timestamp-past": -1}[name]
        assert abs(days - expected) < 0.01, (name, days)


def changed_iv(scratch):
    """A re-sealed item is deleted and fetched again (section 8.3)."""
    a, b, _server = pair(scratch, fill=ONE_BIG)
    Puller(b).run()
    before = b["files"][0]["manifest"]
    b.store.remember(before)
    content.reseal(a, before["content_hash"])
    events = Puller(b).run()
    assert told(events, "deleted, the IV changed") and told(events, "chunks removed, the IV changed")
    assert b["files"][0]["manifest"]["encryption_iv"] != before["encryption_iv"]
    assert dump.dump(b)["files"][0]["content"]["plaintext_is_content_hash"]


def actions(scratch):
    """Section 9, each type."""
    a, b, _server = pair(scratch)
    Puller(b).run()
    filler = content.Filler(a)
    target = a["messages"][0]["manifest"]["content_hash"]
    filler.add_action("DELETE_CONTENT", None, target, {"reason": "test"})
    filler.add_action("update_profile", a["users"][0]["pubkey"], None, {"nickname": "Neu", "karma": 3, "avatar_hash": None})
    filler.add_action("ban_pubkey", "zz", None, {"is_temporary": True, "duration_hours": 2})
    filler.add_action("never_heard", None, None, {})
    a.save()
    b["peers"][0]["last_synced_at"] = times.iso(times.now() + timedelta(minutes=10, seconds=-1))
    since = times.earlier(a["actions"][0]["created_at"], 0.0001)
    puller = Puller(b)
    puller.apply_actions([dict(row) for row in a["actions"]])
    puller.apply_actions([dict(row) for row in a["actions"]])
    assert since and len(b["actions"]) == 4
    assert target not in hashes(b, "messages") and len(b["messages"]) == 1
    user = b.user_by_key(a["users"][0]["pubkey"])
    assert (user["nickname"], user["karma"]) == ("neu", 3)
    assert b["bans"][0]["expires_at"] > times.iso_now()


def clones(scratch):
    """Section 13: 32 requests for six applets of 23 chunks; no superuser; data is not cloned."""
    a, b, server = pair(scratch, fill={"messages": 0, "files": 0, "pms": 0})
    clone.clone(b, f"http://127.0.0.1:{server.port}")
    lines = requests(a)
    assert len(lines) == 32, len(lines)
    assert [line["path"].split("?")[0] for line in lines[:3]] == [
        "/api/identity/public_key/", "/api/federation/export_config/", "/api/sync/"]
    assert sorted(row["name"] for row in b["applets"]) == sorted(row["name"] for row in a["applets"])
    assert not any(user["is_superuser"] for user in b["users"]) and len(b["users"]) == 3
    for row in dump.dump(b)["applets"]:
        assert row["content"]["plaintext_is_content_hash"], row["name"]
    assert not b["applet_data"] and not b["high_scores"] and not b["shared_states"]
    # A second user of the same name under another pk: all or nothing
    other = Instance.create(os.path.join(scratch, "other"))
    other["users"].append({**a["users"][0], "pk": 77})
    before = json.dumps(other.state)
    try:
        clone.load_config(other, clone.superuser_filter(json.loads(json.dumps(_config(a)))))
        raise AssertionError("a conflict of usernames was loaded")
    except clone.CloneFailed:
        assert json.dumps(other.state) == before


def key_is_replaced(scratch):
    """16.2 no. 6: whatever the key endpoint shows becomes the peer's key at a clone."""
    a, b, server = pair(scratch, defects=["other-key", "admin-in-export"])
    clone.clone(b, f"http://127.0.0.1:{server.port}")
    assert b["peers"][0]["pubkey"] not in (a.pubkey, b.pubkey)
    # 16.2 no. 3: the filter compares the model name exactly, the loading does not
    assert [user["username"] for user in b["users"] if user["is_superuser"]] == ["intruder"]


def _config(instance):
    import answers
    return answers.config_objects(instance)


def backup_and_restore(scratch):
    """Sections 11 and 12 between two peers of this code."""
    a, b, _server = pair(scratch, fill={"messages": 0, "files": 0, "applets": 7, "pms": 0})
    made = folder.backup(a, os.path.join(scratch, "backups"))
    assert "Ünï_code_applet_6" in os.listdir(made)
    assert not open(os.path.join(made, "backup_manifest.json")).read().endswith("\n")
    report = folder.restore(b, made, rekey=True)
    assert all(line["result"] == "restored" for line in report) and len(report) == 7
    assert {name for line in report for name in line["unknown_owners"]} == {"alice", "bob", "carol"}
    assert not b["applet_data"] and len(b["high_scores"]) == 4 and len(b["shared_states"]) == 1
    for row in dump.dump(b)["applets"]:
        assert row["content"]["plaintext_is_content_hash"], row["name"]
        assert row["created_at"] > a["applets"][-1]["created_at"]
    assert {line["result"] for line in folder.restore(b, made)} == {"skipped, the name exists"}
    stranger = Instance.create(os.path.join(scratch, "stranger"))
    report = folder.restore(stranger, made, rekey=True)
    assert sum(line["result"] == "Failed to rekey" for line in report) == 7
    for call in (lambda: folder.backup(a, os.path.join(scratch, "head"), as_head=True),
                 lambda: folder.restore(Instance.create(os.path.join(scratch, "d")), made, as_head=True)):
        try:
            call()
            raise AssertionError("the real command fails here")
        except folder.FolderError:
            pass


def installation(scratch):
    """The database opens with the key that lies beside it, and its chunks with that (1.3)."""
    a, _, _server = pair(scratch, fill={"messages": 2, "files": 1, "applets": 1, "pms": 1})
    made = install.install(a, os.path.join(scratch, "out"))
    assert made["chunks"].endswith(os.path.join("out", "data", "bitsync_chunks"))
    with open(made["env"], encoding="utf-8") as file:
        secret = dict(line.strip().split("=", 1) for line in file)["SECRET_KEY"]
    rows = sqlite3.connect(made["database"])
    token, pubkey = rows.execute(
        "SELECT encrypted_private_key, pubkey FROM core_trustedinstance WHERE NOT is_trusted_peer").fetchone()
    private = keys.load_private(keys.fernet(secret).decrypt(token.encode()).decode())
    assert keys.public_text(private) == pubkey == a.pubkey
    assert rows.execute("PRAGMA foreign_key_check").fetchall() == []
    for table, column in (("messaging_message", "metadata_manifest"), ("core_fileattachment", "metadata_manifest"),
                          ("applets_applet", "code_manifest"), ("applets_appletdata", "data_manifest"),
                          ("messaging_privatemessage", "metadata_manifest")):
        found = rows.execute(f"SELECT {column} FROM {table}").fetchall()
        assert found, table
        for (text,) in found:
            manifest = json.loads(text)
            chunks = [open(os.path.join(made["chunks"], manifest["content_hash"], f"{index}.chunk"), "rb").read()
                      for index in range(len(manifest["chunk_hashes"]))]
            assert seal.sha256(seal.open_chunks(manifest, chunks, private)) == manifest["content_hash"]
    rows.close()


def chunk_borders(_scratch):
    """Section 3, step 4: 262143 bytes are one chunk, 262144 are two, nothing is 16 bytes."""
    private = keys.generate()
    for size, lengths in ((262143, [262144]), (262144, [262144, 16]), (0, [16])):
        manifest, chunks = seal.seal(b"x" * size, [keys.public_text(private)])
        assert [len(chunk) for chunk in chunks] == lengths
        assert seal.open_chunks(manifest, chunks, private) == b"x" * size


def keeps_connections(scratch):
    """HTTP/1.1 keep-alive: several requests on one connection (section 7)."""
    a, b, server = pair(scratch)
    connection = http.client.HTTPConnection("127.0.0.1", server.port)
    for _ in range(3):
        connection.request("GET", "/api/identity/public_key/")
        assert connection.getresponse().read()
    connection.close()
    assert [line["connection"] for line in requests(a)] == [1, 1, 1]
    assert Caller(b).get(f"http://127.0.0.1:{server.port}", "/api/identity/public_key/", signed=False).status == 200


CHECKS = [
    chunk_borders, keeps_connections, refusals, standard_set, attachments_wait_and_are_lost, just_in_time, distrusted,
    defects_of_chunks, defects_of_answers, defects_of_manifests, hostile_names, server_timestamps, changed_iv, actions, clones, key_is_replaced, backup_and_restore, installation,
]
