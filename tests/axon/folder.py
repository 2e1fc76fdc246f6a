"""Backup directories: `backup_applets` and `restore_applets` (spec, sections 11 and 12)."""

import json
import os
import shutil
import uuid
from datetime import datetime

import seal
import times

SCORE_FIELDS = ["owner_pubkey", "owner_nickname", "score", "wins", "losses", "kills", "deaths", "assists", "last_updated"]


class FolderError(Exception):
    """The directory is no backup, or the real command would have failed here."""


def write_json(path, value):
    """The form of all five files: indent 2, ASCII escapes, not sorted, no final newline (section 11)."""
    with open(path, "w", encoding="utf-8") as file:
        json.dump(value, file, indent=2)


def read_json(path):
    with open(path, encoding="utf-8") as file:
        return json.load(file)


def applet_dir(name):
    """Every `/` and every space becomes `_`; nothing else changes (section 11, names)."""
    return name.replace("/", "_").replace(" ", "_")


def backup(instance, output, applet=None, date=None, as_head=False):
    """Writes `output/backup_<date>/`; gives its path.

    As the real command with the one-line fix. With `as_head` it fails on the first applet after its
    parts, before `backup_manifest.json`, as the real one does (16.1 no. 1)."""
    date = date or datetime.now().strftime("%Y%m%d_%H%M%S")
    target = os.path.join(output, f"backup_{date}")
    os.makedirs(target, exist_ok=True)
    totals = {"total_applets": 0, "total_chunks": 0, "total_data_instances": 0, "total_high_scores": 0}
    names = []
    for row in instance["applets"]:
        if applet is not None and row["name"] != applet:
            continue
        chunks, data, scores = backup_applet(instance, row, os.path.join(target, applet_dir(row["name"])), as_head)
        if as_head:
            raise FolderError("the shared state is looked up by a field that no longer exists")
        names.append(row["name"])
        for name, count in zip(totals, (1, chunks, data, scores)):
            totals[name] += count
    write_json(os.path.join(target, "backup_manifest.json"), {"backup_date": date, **totals, "applets": names})
    return target


def backup_applet(instance, applet, target, as_head):
    """One applet's directory; gives the numbers of code chunks, data rows and scores."""
    os.makedirs(target, exist_ok=True)
    category = instance.by_pk("categories", applet["category"])
    board = instance.by_pk("boards", applet["event_board"])
    write_json(os.path.join(target, "metadata.json"), {
        "id": applet["id"], "name": applet["name"], "description": applet["description"],
        "author_pubkey": applet["author_pubkey"], "code_manifest": applet["code_manifest"],
        "parameters": applet["parameters"], "is_local": applet["is_local"], "created_at": applet["created_at"],
        "category": category and category["name"], "is_debug_mode": applet["is_debug_mode"],
        "event_board": board and board["name"], "handles_mime_types": applet["handles_mime_types"],
    })
    chunks = copy_chunks(instance, applet["code_manifest"], os.path.join(target, "chunks"))
    data = [row for row in instance["applet_data"] if row["applet"] == applet["id"]]
    entries = []
    for row in data:
        owner = instance.by_pk("users", row["owner"])
        entries.append({
            "id": row["id"], "owner_username": owner["username"], "owner_pubkey": owner["pubkey"],
            "data_manifest": row["data_manifest"], "last_updated": row["last_updated"],
        })
        copy_chunks(instance, row["data_manifest"], os.path.join(target, "data_chunks", owner["username"]))
    if entries:
        write_json(os.path.join(target, "applet_data.json"), entries)
    scores = [row for row in instance["high_scores"] if row["applet"] == applet["id"]]
    scores.sort(key=lambda row: row["score"], reverse=True)
    if scores:
        write_json(os.path.join(target, "high_scores.json"), [{name: row[name] for name in SCORE_FIELDS} for row in scores])
    state = next((row for row in instance["shared_states"] if row["applet"] == applet["id"]), None)
    if state and not as_head:
        write_json(os.path.join(target, "shared_state.json"), {name: state[name] for name in ("state_data", "version", "last_updated")})
    return chunks, len(data), len(scores)


def copy_chunks(instance, manifest, target):
    """A copy of the chunk directory, `.manifest` included; absent if it does not exist."""
    source = instance.store.folder(manifest["content_hash"]) if manifest else ""
    if not os.path.isdir(source):
        return 0
    shutil.copytree(source, target, dirs_exist_ok=True)
    return sum(name.endswith(".chunk") for name in os.listdir(target))


def restore(instance, source, applet=None, skip_chunks=False, rekey=False, as_head=False):
    """Restores as section 12 says; gives what it did, applet by applet.

    With `as_head` it fails on the first applet with a shared state, as the real one (16.1 no. 2)."""
    manifest = os.path.join(source, "backup_manifest.json")
    if not os.path.isfile(manifest) or "backup_date" not in read_json(manifest):
        raise FolderError(f"{source} has no backup_manifest.json with a backup_date")
    report, names = [], []
    for entry in os.listdir(source):
        path = os.path.join(source, entry)
        if not os.path.isfile(os.path.join(path, "metadata.json")):
            continue
        if applet is not None and applet not in (entry, entry.replace("_", " ")):
            continue
        names.append(read_json(os.path.join(path, "metadata.json"))["name"])
        report.append(restore_applet(instance, path, skip_chunks, as_head))
        instance.save()
    if rekey:
        for row in instance["applets"]:
            if row["name"] not in names or not row["code_manifest"]:
                continue
            try:
                row["code_manifest"] = instance.rekey(row["code_manifest"])
            except seal.NoEnvelope:
                report.append({"applet": row["name"], "result": "Failed to rekey"})
        instance.save()
    return report


def restore_applet(instance, path, skip_chunks, as_head):
    metadata = read_json(os.path.join(path, "metadata.json"))
    if any(row["name"] == metadata["name"] for row in instance["applets"]):
        return {"applet": metadata["name"], "result": "skipped, the name exists"}
    owner = instance.user_by_key(metadata["author_pubkey"])
    applet = {
        "id": metadata["id"], "name": metadata["name"], "description": metadata["description"],
        "owner": owner and owner["pk"], "author_pubkey": metadata["author_pubkey"],
        "code_manifest": metadata["code_manifest"], "parameters": metadata["parameters"],
        "is_local": metadata["is_local"], "created_at": times.iso_now(),
        "category": _named(instance, "categories", metadata.get("category")), "is_debug_mode": metadata["is_debug_mode"],
        "event_board": _named(instance, "boards", metadata.get("event_board")),
        "handles_mime_types": metadata["handles_mime_types"],
    }
    instance["applets"].append(applet)
    if not skip_chunks:
        take_chunks(instance, applet["code_manifest"], os.path.join(path, "chunks"))
    left_out = restore_data(instance, applet, path, skip_chunks)
    for row in read_optional(os.path.join(path, "high_scores.json")):
        instance["high_scores"].append({"applet": applet["id"], **{name: row.get(name) for name in SCORE_FIELDS}})
    state = read_optional(os.path.join(path, "shared_state.json"))
    if state:
        if as_head:
            instance.save()
            raise FolderError("the shared state cannot be restored")
        instance["shared_states"].append({
            "applet": applet["id"], "room_id": str(uuid.uuid4()), "state_data": state["state_data"],
            "version": state["version"], "last_updated": state["last_updated"]})
    return {"applet": applet["name"], "result": "restored", "unknown_owners": left_out}


def restore_data(instance, applet, path, skip_chunks):
    """Data rows by the owner's exact key; gives the usernames of unknown owners. No re-key."""
    left_out = []
    for row in read_optional(os.path.join(path, "applet_data.json")):
        owner = instance.user_by_key(row["owner_pubkey"])
        if owner is None:
            left_out.append(row["owner_username"])
            continue
        instance["applet_data"].append({
            "id": row["id"], "applet": applet["id"], "owner": owner["pk"], "last_updated": times.iso_now(),
            "data_manifest": row["data_manifest"]})
        if not skip_chunks:
            take_chunks(instance, row["data_manifest"], os.path.join(path, "data_chunks", row["owner_username"]))
    return left_out


def read_optional(path):
    return read_json(path) if os.path.exists(path) else []


def _named(instance, table, name):
    return instance.named(table, name)["pk"] if name else None


def take_chunks(instance, manifest, source):
    """Copies chunks into the store without a look at their hashes (section 12, step 7; 16.3 no. 4)."""
    if manifest and os.path.isdir(source):
        target = instance.store.folder(manifest["content_hash"])
        if os.path.dirname(target) != instance.store.root:
            raise FolderError("content_hash is a path; a real instance would write there (16.3 no. 5)")
        shutil.copytree(source, target, dirs_exist_ok=True)
