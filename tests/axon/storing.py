"""What a real instance stores of an item it has downloaded (spec, section 8.5)."""

import json
import uuid

import keys
import seal
import times


def store(puller, manifest):
    """Decrypts a complete item and stores it by the manifest's `content_type`."""
    instance, content_hash = puller.instance, manifest["content_hash"]
    if instance.find(content_hash):
        return
    try:
        plaintext = instance.store.open(manifest, instance.private)
        manifest = instance.rekey(manifest)
    except seal.NoEnvelope as error:
        puller.note("dropped", content_hash=content_hash, reason=str(error))
        return
    payload = json.loads(plaintext)
    kind = manifest.get("content_type")
    call = {"message": store_message, "file": store_file, "pm": store_pm}.get(kind)
    if call is None:
        # Applets are never made by sync; their chunks stay (section 8.5)
        puller.note("not stored", content_hash=content_hash, content_type=kind)
        return
    reason = call(instance, manifest, payload if isinstance(payload, dict) else {})
    if reason:
        puller.note("not stored", content_hash=content_hash, content_type=kind, reason=reason)
    else:
        puller.note("stored", content_hash=content_hash, content_type=kind)


def _row(manifest):
    moment = times.iso_now()
    return {"id": str(uuid.uuid4()), "created_at": moment, "modified_at": moment, "manifest": manifest}


def store_message(instance, manifest, payload):
    """Waits for attachments; makes board and author; the author link stays empty."""
    if payload.get("subject") is None or payload.get("body") is None:
        return "subject or body is missing"
    attached = payload.get("attachment_hashes") or []
    known = {row["manifest"]["content_hash"] for row in instance["files"] if row["manifest"]}
    if not set(attached) <= known:
        return "waits for attachments"
    board = instance.named("boards", payload.get("board") or "general")
    if payload.get("pubkey"):
        instance.federated_user(payload["pubkey"])
    instance["messages"].append({
        **_row(manifest), "subject": payload["subject"], "body": payload["body"], "board": board["pk"],
        "author": None, "pubkey": payload.get("pubkey"), "attachment_hashes": attached, "is_pinned": False,
    })
    return None


def store_file(instance, manifest, payload):
    """Stored even when size, type or base64 do not fit, or it is no file: `unknown`, size 0."""
    author = None
    if payload.get("pubkey"):
        author = instance.federated_user(payload["pubkey"], payload.get("nickname"))
        if str(payload.get("filename", "")).startswith("cow_"):
            author["avatar"] = f"avatars/{payload['filename']}"
    instance["files"].append({
        **_row(manifest), "filename": payload.get("filename", "unknown"),
        "content_type": payload.get("content_type", "application/octet-stream"), "size": payload.get("size", 0),
        "author": author["pk"] if author else None, "is_pinned": False,
    })
    return None


def store_pm(instance, manifest, payload):
    """Stored only for a recipient who is an active user here (section 5.3); chunks stay anyway."""
    wanted = payload.get("recipient_pubkey_checksum")
    recipient = next((user for user in instance["users"]
                      if user["is_active"] and user["pubkey"] and keys.checksum(user["pubkey"]) == wanted), None)
    if recipient is None:
        return "the recipient is no active user here"
    sender = instance.user_by_key(payload.get("sender_pubkey"))
    instance["pms"].append({
        **_row(manifest), "author": sender["pk"] if sender else None, "recipient": recipient["pk"],
        "e2e_encrypted_content_b64": payload.get("e2e_encrypted_content_b64"),
        "sender_pubkey": payload.get("sender_pubkey"),
    })
    return None
