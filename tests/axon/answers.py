"""What the endpoints for peers answer (spec, section 7), apart from HTTP itself."""

import json
import re
from urllib.parse import parse_qs

import seal
import times
from instance import CONTENT, CONTENT_TYPE, manifest_field

JSON = "application/json"
BINARY = "application/octet-stream"
HTML = "text/html; charset=utf-8"


class Answer:
    def __init__(self, status, body=b"", content_type=None, headers=(), cut=None):
        self.status, self.body, self.content_type = status, body, content_type
        self.headers = list(headers)
        self.cut = cut


def loose(value, status=200):
    """JSON with `", "` and `": "`, ASCII escapes: the sync answer and the key (section 7.2)."""
    return Answer(status, json.dumps(value).encode(), JSON)


def tight(value, status=200, headers=()):
    """JSON without spaces, raw UTF-8: errors and the live-room answers (section 7.2)."""
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    return Answer(status, text.encode(), JSON, headers)


def html(status):
    return Answer(status, b"<!DOCTYPE html>\n<html lang=\"en\">\n<head><title>Axon BBS</title></head>\n</html>\n", HTML)


def public_key(peer, _query, _asker):
    return loose({"public_key": peer.defects.public_key()})


def sync(peer, query, asker):
    """`GET /api/sync/?since=` (section 7.2)."""
    moment = times.now()
    since = parse_qs(query, keep_blank_values=True).get("since", [""])[-1].replace(" ", "+")
    if not since:
        return tight({"error": "'since' timestamp is required."}, 400)
    try:
        since = times.parse(since)
        manifests = [peer.defects.announced(it) for it in select(peer, since, asker)]
    except (ValueError, OverflowError, KeyError, seal.NoEnvelope):
        return tight({"error": "Failed to process sync request."}, 500)
    manifests += [peer.defects.announced(seal.just_in_time(it, peer.instance.private, asker)) for it, _ in peer.defects.extra]
    names = ["id", "action_type", "pubkey_target", "content_hash_target", "action_details", "created_at"]
    actions = [
        {name: row[name] for name in names} for row in peer.instance["actions"]
        if row["status"] == "approved" and times.parse(row["created_at"]) > since
    ]
    answer = loose({
        "manifests": manifests, "federated_actions": actions,
        "server_timestamp": peer.defects.server_timestamp(moment),
    })
    if "html-sync" in peer.defects:
        return html(200)
    if "bad-json" in peer.defects:
        answer.body = answer.body[:len(answer.body) // 2]
    if "drop-sync" in peer.defects:
        answer.cut = int(peer.defects.active["drop-sync"] or 1000)
    return answer


def select(peer, since, asker):
    """Messages, files, PMs, applets in this order, each with an envelope for the asker (section 7.2)."""
    chosen = []
    for table in CONTENT:
        for row in peer.instance[table]:
            manifest = row[manifest_field(table)]
            changed = row["created_at"] if table == "applets" else row["modified_at"]
            if times.parse(changed) <= since or manifest is None or row.get("is_local"):
                continue
            if not manifest:
                raise seal.NoEnvelope("an applet with an empty manifest")
            manifest = seal.just_in_time(peer.defects.stored_manifest(manifest), peer.instance.private, asker)
            manifest["content_type"] = CONTENT_TYPE[table]
            chosen.append(manifest)
    return chosen


def has_content(peer, _query, _asker, content_hash):
    """Only the database counts, not the disk (section 7.3)."""
    known = peer.instance.has_content(content_hash) or peer.defects.has_extra(content_hash)
    return Answer(200 if known else 404)


def chunk(peer, _query, _asker, content_hash, index):
    """Only the disk counts, not the database (section 7.4)."""
    if "chunk-error" in peer.defects:
        return tight({"error": "BitSync service not available"}, 503)
    index = int(index)
    data = peer.defects.extra_chunk(content_hash, index)
    if data is None and re.fullmatch(r"[0-9A-Za-z]+", content_hash):
        data = peer.defects.chunk(content_hash, index, peer.instance.store.read(content_hash, index))
    if data is None:
        return tight({"detail": "Chunk not found."}, 404)
    return Answer(200, data, BINARY, cut=peer.defects.cut())


def export_config(peer, _query, _asker):
    """A Django fixture on one line, raw UTF-8; nothing is filtered (section 13.2)."""
    objects = config_objects(peer.instance)
    if "admin-in-export" in peer.defects:
        admin = dict(peer.instance["users"][0]) if peer.instance["users"] else {}
        fields = {k: v for k, v in admin.items() if k not in ("pk", "private_key")}
        fields.update(username="intruder", nickname="intruder", is_superuser=True, is_staff=True, pubkey=None)
        objects.append({"model": "core.User", "pk": 1000009, "fields": fields})
    return Answer(200, json.dumps(objects, ensure_ascii=False).encode(), JSON)


def config_objects(instance):
    models = [
        ("core.user", "users"), ("core.validfiletype", "filetypes"), ("applets.applet", "applets"),
        ("applets.appletcategory", "categories"), ("messaging.messageboard", "boards"),
    ]
    objects = []
    for model, table in models:
        pk = "id" if table == "applets" else "pk"
        for row in sorted(instance[table], key=lambda row: row[pk]):
            fields = {name: value for name, value in row.items() if name not in (pk, "private_key")}
            for name in ("last_login", "date_joined", "created_at"):
                if fields.get(name):
                    fields[name] = times.fixture(fields[name])
            objects.append({"model": model, "pk": row[pk], "fields": fields})
    return objects


def room_messages(peer, query, _asker, room_id):
    """Plain messages of a live room (section 7.6)."""
    board = next((it for it in peer.instance["boards"] if it["federation_room_id"] == room_id), None)
    if board is None:
        return tight({"detail": "Real-time room not found"}, 404)
    rows = [row for row in peer.instance["messages"] if row["board"] == board["pk"]]
    since = parse_qs(query, keep_blank_values=True).get("since", [""])[-1]
    if since:
        try:
            after = times.parse(since)
        except (ValueError, OverflowError):
            return tight({"error": "Invalid 'since' timestamp format"}, 400)
        if " " in since:
            return tight({"error": "Invalid 'since' timestamp format"}, 400)
        rows = sorted((r for r in rows if times.parse(r["created_at"]) > after), key=lambda r: r["created_at"])[:100]
    else:
        rows = sorted(rows, key=lambda row: row["created_at"], reverse=True)[:50]
    users = {user["pk"]: user["username"] for user in peer.instance["users"]}
    messages = [{
        "id": row["id"], "subject": row["subject"], "body": row["body"], "author_username": users.get(row["author"]),
        "pubkey": row["pubkey"], "created_at": row["created_at"], "metadata_manifest": row["manifest"],
    } for row in rows]
    return tight({"room_id": room_id, "board_name": board["name"], "messages": messages})


def room_state(peer, _query, _asker, room_id):
    row = next((row for row in peer.instance["shared_states"] if row["room_id"] == room_id), None)
    if row is None:
        return tight({"room_id": room_id, "applet_id": None, "version": 0, "state_data": {"messages": []}, "last_updated": None})
    return tight({"room_id": room_id, **_state(row)})


def applet_state(peer, _query, _asker, applet_id):
    row = next((row for row in peer.instance["shared_states"] if row["applet"] == applet_id), None)
    if row is None:
        return tight({"detail": "Not found."}, 404)
    state = json.loads(json.dumps(_state(row)))
    for message in state["state_data"].get("messages", []):
        if "timestamp" in message:
            message["display_time"] = times.parse(message["timestamp"]).strftime("%I:%M:%S %p")
    return tight(state)


def applet_version(peer, _query, _asker, applet_id):
    row = next((row for row in peer.instance["shared_states"] if row["applet"] == applet_id), None)
    return loose({"version": row["version"]}) if row else tight({"detail": "Not found."}, 404)


def _state(row):
    moment = times.parse(row["last_updated"]).replace(tzinfo=None).isoformat() + "Z"
    return {"applet_id": row["applet"], "version": row["version"], "state_data": row["state_data"], "last_updated": moment}


UUID = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
# (path, whether the three headers are needed, answer)
ROUTES = [
    (re.compile(r"/api/identity/public_key/"), False, public_key),
    (re.compile(r"/api/sync/"), True, sync),
    (re.compile(r"/api/bitsync/has_content/([^/]+)/"), True, has_content),
    (re.compile(r"/api/bitsync/chunk/([^/]+)/([0-9]+)/"), True, chunk),
    (re.compile(r"/api/federation/export_config/"), True, export_config),
    (re.compile(r"/api/realtime/rooms/([^/]+)/messages/"), True, room_messages),
    (re.compile(r"/api/rooms/([^/]+)/shared_state/"), True, room_state),
    (re.compile(rf"/api/applets/({UUID})/shared_state/"), True, applet_state),
    (re.compile(rf"/api/applets/({UUID})/state_version/"), True, applet_version),
]
# With a defect that announces a path as content_hash, the path is served, as an attacker would
HOSTILE_ROUTES = [
    (re.compile(r"/api/bitsync/has_content/(.+)/"), True, has_content),
    (re.compile(r"/api/bitsync/chunk/(.+)/([0-9]+)/"), True, chunk),
]
