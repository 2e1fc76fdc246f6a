"""Everything an instance stores as JSON, with hashes of the plaintexts, for tests to compare."""

import base64
import json

import keys
import seal
from instance import CONTENT, manifest_field


def dump(instance):
    boards = {row["pk"]: row["name"] for row in instance["boards"]}
    result = {
        "pubkey": instance.pubkey,
        "checksum": keys.checksum(instance.pubkey),
        "onion_address": instance.state["onion_address"],
        "chunk_folders": instance.store.count(),
        "boards": instance["boards"],
    }
    for table in ("peers", "filetypes", "categories", "high_scores", "shared_states", "actions", "bans"):
        result[table] = instance[table]
    result["users"] = [{name: value for name, value in user.items() if name != "private_key"} for user in instance["users"]]
    for table in CONTENT + ["applet_data"]:
        result[table] = []
        for row in instance[table]:
            entry = {**row, "content": describe(instance, row[manifest_field(table)])}
            if table == "messages":
                entry["body_sha256"] = seal.sha256(entry.pop("body").encode(errors="surrogatepass"))
                entry["board_name"] = boards.get(row["board"])
            entry.pop("e2e_encrypted_content_b64", None)
            result[table].append(entry)
    return result


def describe(instance, manifest):
    """What can be said of the item behind a manifest; `problem` if it does not open."""
    if not manifest:
        return None
    about = {
        "content_hash": manifest["content_hash"], "chunks": len(manifest["chunk_hashes"]),
        "envelopes": sorted(manifest["encrypted_aes_keys"]),
    }
    try:
        chunks = instance.store.ciphertext(manifest)
        about["ciphertext_length"] = sum(map(len, chunks))
        about["chunks_good"] = [seal.sha256(chunk) for chunk in chunks] == manifest["chunk_hashes"]
        plaintext = seal.open_chunks(manifest, chunks, instance.private)
    except (FileNotFoundError, ValueError, seal.NoEnvelope) as error:
        return {**about, "problem": f"{type(error).__name__}: {error}"}
    about.update(plaintext_length=len(plaintext), plaintext_sha256=seal.sha256(plaintext))
    about["plaintext_is_content_hash"] = about["plaintext_sha256"] == manifest["content_hash"]
    try:
        payload = json.loads(plaintext)
        about["type"] = payload.get("type")
        if payload.get("type") == "file":
            data = base64.b64decode(payload["data"])
            about.update(file_length=len(data), file_sha256=seal.sha256(data))
    except (ValueError, AttributeError, KeyError) as error:
        about["problem"] = f"payload: {error}"
    return about
