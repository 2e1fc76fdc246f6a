"""Defects that a serving peer shows when a test asks for them (spec, section 16).

A defect is named on the command line as `NAME` or `NAME=ARGUMENT`. Those that strike one item take the
start of its content hash as argument; without one they strike the item with the most chunks, or, for
`no-envelope`, the first message.
"""

import base64
import os
import time
from datetime import timedelta

import keys
import seal
import times

DEFECTS = {
    "no-envelope": "one item has no envelope at all: /api/sync/ answers 500 to everybody (16.1 no. 5)",
    "missing-chunk": "the last chunk of one item is 404 while has_content says 200 (7.3, 16.1 no. 14)",
    "chunk-error": "chunks answer 503, as under a WSGI server (16.1 no. 18)",
    "corrupt-chunk": "one byte of an item's first chunk is another one (16.1 no. 13)",
    "short-chunk": "an item's last chunk lacks its last 16 bytes",
    "slow": "each answer waits for the given milliseconds",
    "slow-sync": "the sync answer waits for the given milliseconds (16.1 no. 20)",
    "drop": "the connection is closed after the given number of bytes of each chunk body",
    "drop-sync": "the connection is closed after the given number of bytes of the sync answer",
    "drop-once": "the same, but only for the first chunk asked",
    "absolute-hash": "announces an item whose content_hash is the given absolute path (16.3 no. 3)",
    "dots-hash": "announces an item whose content_hash is ../../escape, or the argument (16.3 no. 3)",
    "upper-hash": "announces an item whose content_hash has capital letters",
    "flipped-iv": "announces an item with one bit of its IV changed (16.3 no. 2)",
    "wrong-hash": "announces a message whose content_hash is not that of its plaintext (16.3 no. 1)",
    "other-key": "the identity endpoint shows another key (16.2 no. 6)",
    "timestamp-null": "server_timestamp is null (8.2)",
    "timestamp-bad": "server_timestamp is no moment (8.2)",
    "timestamp-past": "server_timestamp is a day ago, or the given text (8.2)",
    "timestamp-future": "server_timestamp is in a year, or the given text (8.2)",
    "html-sync": "/api/sync/ answers 200 with an HTML page",
    "bad-json": "/api/sync/ answers 200 application/json with half of its body",
    "foreign-envelope": "each manifest has one more envelope, for a key that nobody knows (16.1 no. 22)",
    "admin-in-export": "export_config holds a user of model core.User that is a superuser (16.2 no. 3)",
}


class Defects:
    def __init__(self, instance, names):
        self.instance = instance
        self.active = {}
        for text in names:
            name, _, argument = text.partition("=")
            if name not in DEFECTS:
                raise ValueError(f"there is no defect named {name}; known: {', '.join(sorted(DEFECTS))}")
            self.active[name] = argument
        self.extra = []
        self.dropped = False
        self.stranger = keys.public_text(keys.generate()) if {"other-key", "foreign-envelope"} & set(self.active) else ""
        if "wrong-hash" in self.active:
            self._announce({"type": "message", "subject": "wrong hash", "body": "b", "board": "general",
                            "pubkey": None, "attachment_hashes": []}, seal.sha256(b"something else"))
        for name, default in (("absolute-hash", "/tmp/axon-peer-escape"), ("dots-hash", "../../escape"),
                              ("upper-hash", seal.sha256(b"upper").upper())):
            if name in self.active:
                self._announce({"type": "file", "filename": name, "content_type": "text/plain", "size": 1,
                                "data": "eA=="}, self.active[name] or default)

    def __contains__(self, name):
        return name in self.active

    def _announce(self, payload, content_hash):
        """An item that lies in memory only: its chunks are served under any name."""
        manifest, chunks = seal.seal(seal.canonical(payload), self.instance.recipients_new())
        manifest.update(content_hash=content_hash, content_type=payload["type"])
        self.extra.append((manifest, chunks))

    def extra_chunk(self, content_hash, index):
        for manifest, chunks in self.extra:
            if manifest["content_hash"] == content_hash and index < len(chunks):
                return chunks[index]
        return None

    def has_extra(self, content_hash):
        return any(manifest["content_hash"] == content_hash for manifest, _ in self.extra)

    def strikes(self, name, manifest):
        """Whether the named defect is on and meant for this item."""
        if name not in self.active or not manifest:
            return False
        return manifest["content_hash"] == self._target(name)

    def _target(self, name):
        rows = [row["manifest"] for table in ("messages", "files", "pms") for row in self.instance[table] if row["manifest"]]
        prefix = self.active[name]
        if prefix:
            return next((it["content_hash"] for it in rows if it["content_hash"].startswith(prefix)), None)
        if name == "no-envelope":
            return rows[0]["content_hash"] if rows else None
        return max(rows, key=lambda it: len(it["chunk_hashes"]), default={"content_hash": None})["content_hash"]

    # What the server asks

    def wait(self, path):
        """Waits as `slow` and `slow-sync` say."""
        delay = int(self.active.get("slow") or 0)
        if path == "/api/sync/":
            delay += int(self.active.get("slow-sync") or 0)
        time.sleep(delay / 1000)

    def stored_manifest(self, manifest):
        if self.strikes("no-envelope", manifest):
            return {**manifest, "encrypted_aes_keys": {}}
        return manifest

    def announced(self, manifest):
        """The manifest as the sync answer shows it."""
        if self.strikes("flipped-iv", manifest):
            iv = bytearray(base64.b64decode(manifest["encryption_iv"]))
            # Changes the sixth byte of the plaintext, within a field's name: it is still JSON
            iv[5] ^= 1
            manifest = {**manifest, "encryption_iv": base64.b64encode(iv).decode()}
        if "foreign-envelope" in self.active:
            more = {keys.checksum(self.stranger): base64.b64encode(os.urandom(256)).decode()}
            manifest = {**manifest, "encrypted_aes_keys": {**manifest["encrypted_aes_keys"], **more}}
        return manifest

    def chunk(self, content_hash, index, data):
        """The chunk as it is served: None is 404."""
        found = self.instance.find(content_hash)
        manifest = found and found[1].get("manifest", found[1].get("code_manifest"))
        last = len(manifest["chunk_hashes"]) - 1 if manifest else -1
        if self.strikes("missing-chunk", manifest) and index == last:
            return None
        if data and self.strikes("corrupt-chunk", manifest) and index == 0:
            return bytes([data[0] ^ 1]) + data[1:]
        if data and self.strikes("short-chunk", manifest) and index == last:
            return data[:-16]
        return data

    def cut(self):
        """After how many bytes of this chunk body the connection is closed, or None."""
        if "drop" in self.active:
            return int(self.active["drop"] or 1000)
        if "drop-once" in self.active and not self.dropped:
            self.dropped = True
            return int(self.active["drop-once"] or 1000)
        return None

    def server_timestamp(self, moment):
        if "timestamp-null" in self.active:
            return None
        if "timestamp-bad" in self.active:
            return "yesterday"
        for name, days in (("timestamp-past", -1), ("timestamp-future", 365)):
            if name in self.active:
                return self.active[name] or times.iso(moment + timedelta(days=days))
        return times.iso(moment)

    def public_key(self):
        return self.stranger if "other-key" in self.active else self.instance.pubkey
