"""How a real instance pulls (spec, section 8): one pass over all trusted peers.

What happens is noted in `events`, so that a test sees why something was not stored.
"""

import json
import re
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor

import keys
import seal
import storing
import times
from caller import Caller, CallFailed
from instance import manifest_field

ITEMS_AT_A_TIME = 3
CHUNKS_AT_A_TIME = 4


class PassAborted(Exception):
    """The whole pass ends, other peers included (sections 8.2 and 9)."""


class ItemAborted(Exception):
    """A non-200 chunk answer: an internal error for this item (section 8.4, step 5)."""


class Puller:
    def __init__(self, instance, socks=None):
        self.instance = instance
        self.caller = Caller(instance, socks)
        self.lock = threading.RLock()
        self.events = []

    def note(self, what, **details):
        with self.lock:
            self.events.append({"event": what, **details})

    def run(self, since=None):
        """One pass: incomplete rows, then each trusted peer (section 8.1). Saves the instance."""
        try:
            self.download(self.incomplete())
            for row in self.instance.trusted_peers():
                if row["url"]:
                    self.download(self.poll(row, since))
        except PassAborted as reason:
            self.note("pass aborted", reason=str(reason))
        finally:
            self.instance.save()
        return self.events

    def incomplete(self):
        """Files, messages and PMs in the database whose chunks are not all there; not applets."""
        return [
            row["manifest"] for table in ("files", "messages", "pms") for row in self.instance[table]
            if row["manifest"] and not self.instance.store.complete(row["manifest"])
        ]

    def poll(self, row, since=None):
        """Asks one peer for what is new (section 8.2); gives the manifests to download."""
        if since is None:
            last = row["last_synced_at"]
            since = times.earlier(last, 10) if last else times.FIRST_SINCE
        try:
            reply = self.caller.get(row["url"], f"/api/sync/?since={since}")
            if reply.status != 200:
                raise CallFailed(f"status {reply.status}")
            answer = json.loads(reply.body)
        except (CallFailed, ValueError) as error:
            # The mark moves although nothing came: what was missed is lost (16.1 no. 6)
            self.note("poll failed", url=row["url"], reason=str(error))
            row["last_synced_at"] = times.iso_now()
            return []
        wanted = self.handle_manifests(answer.get("manifests") or [])
        self.apply_actions(answer.get("federated_actions") or [])
        stamp = answer.get("server_timestamp")
        try:
            row["last_synced_at"] = times.iso(times.parse(stamp)) if stamp else times.iso_now()
        except (ValueError, TypeError) as error:
            raise PassAborted(f"server_timestamp is unreadable: {stamp!r}") from error
        self.note("polled", url=row["url"], since=since, manifests=len(answer.get("manifests") or []))
        return wanted

    def handle_manifests(self, manifests):
        """Sorts announcements into known, changed and unknown (section 8.3)."""
        wanted = {}
        for manifest in manifests:
            content_hash = manifest.get("content_hash")
            if not content_hash:
                continue
            found = self.instance.find(content_hash)
            if found is None:
                wanted.setdefault(content_hash, manifest)
                continue
            table, row = found
            stored = row[manifest_field(table)]
            if stored.get("encryption_iv") != manifest.get("encryption_iv"):
                self.note("deleted, the IV changed", content_hash=content_hash, table=table)
                self.instance.delete(table, row)
                wanted.setdefault(content_hash, manifest)
            elif not set(manifest.get("encrypted_aes_keys") or {}) <= set(stored.get("encrypted_aes_keys") or {}):
                self.replace_manifest(table, row, manifest)
        return list(wanted.values())

    def replace_manifest(self, table, row, manifest):
        """The incoming manifest, re-keyed for own peers, replaces the stored one (section 8.3)."""
        try:
            row[manifest_field(table)] = self.instance.rekey(manifest)
            self.instance.touch(table, row)
            self.note("manifest replaced", content_hash=manifest["content_hash"], table=table)
        except seal.NoEnvelope as error:
            self.note("manifest kept", content_hash=manifest["content_hash"], reason=str(error))

    def download(self, manifests):
        """Downloads items, three at a time, and stores what is complete."""
        with ThreadPoolExecutor(ITEMS_AT_A_TIME) as pool:
            list(pool.map(self.download_and_store, manifests))

    def download_and_store(self, manifest):
        content_hash = manifest["content_hash"]
        if not re.fullmatch(r"[0-9A-Za-z]+", content_hash):
            # A real instance would write there (16.3 no. 3); a test must not
            self.note("refused, unsafe content_hash", content_hash=content_hash)
            return
        try:
            if self.fetch(manifest):
                with self.lock:
                    storing.store(self, manifest)
        except ItemAborted as error:
            self.note("aborted", content_hash=content_hash, reason=str(error))
        except Exception as error:
            self.note("failed", content_hash=content_hash, reason=repr(error))

    def fetch(self, manifest):
        """Fetches the missing chunks of one item; True if it is complete (section 8.4)."""
        store, content_hash = self.instance.store, manifest["content_hash"]
        if store.forget_other_iv(manifest):
            self.note("chunks removed, the IV changed", content_hash=content_hash)
        if store.complete(manifest):
            store.remember(manifest)
            return True
        seeders = [row["url"] for row in self.instance.trusted_peers() if row["url"] and self.has_content(row["url"], content_hash)]
        if not seeders:
            self.note("no seeder", content_hash=content_hash)
            return False
        missing = [index for index in range(len(manifest["chunk_hashes"])) if not store.has(content_hash, index)]
        with ThreadPoolExecutor(CHUNKS_AT_A_TIME) as pool:
            tries = [pool.submit(self.fetch_chunk, seeders[at % len(seeders)], manifest, index) for at, index in enumerate(missing)]
        aborted = [it.exception() for it in tries if it.exception()]
        if aborted:
            raise aborted[0]
        if not store.complete(manifest):
            self.note("incomplete", content_hash=content_hash)
            return False
        store.remember(manifest)
        return True

    def has_content(self, url, content_hash):
        try:
            return self.caller.get(url, f"/api/bitsync/has_content/{content_hash}/", timeout=60).status == 200
        except CallFailed:
            return False

    def fetch_chunk(self, url, manifest, index):
        """One try for one chunk, checked and saved at once (section 8.4, step 4)."""
        content_hash = manifest["content_hash"]
        try:
            reply = self.caller.get(url, f"/api/bitsync/chunk/{content_hash}/{index}/")
        except CallFailed as error:
            self.note("chunk failed", content_hash=content_hash, index=index, reason=str(error))
            return
        if reply.status != 200:
            raise ItemAborted(f"chunk {index} is answered with {reply.status}")
        if seal.sha256(reply.body) != manifest["chunk_hashes"][index]:
            self.note("wrong chunk", content_hash=content_hash, index=index)
            return
        self.instance.store.write(content_hash, index, reply.body)

    def apply_actions(self, actions):
        """Applies each action once; unknown types are stored and passed on (section 9)."""
        for action in actions:
            try:
                action_id = str(uuid.UUID(str(action["id"])))
            except (ValueError, KeyError) as error:
                raise PassAborted(f"an action has no UUID: {action.get('id')!r}") from error
            if any(row["id"] == action_id for row in self.instance["actions"]):
                continue
            self.apply(action)
            self.instance["actions"].append({
                "id": action_id, "action_type": action.get("action_type"),
                "pubkey_target": action.get("pubkey_target"), "content_hash_target": action.get("content_hash_target"),
                "action_details": action.get("action_details") or {}, "created_at": times.iso_now(), "status": "approved",
            })
            self.note("action", id=action_id, type=action.get("action_type"))

    def apply(self, action):
        kind, details = action.get("action_type"), action.get("action_details") or {}
        target = action.get("content_hash_target")
        if kind == "ban_pubkey":
            hours = details.get("duration_hours") or 0
            until = times.earlier(times.iso_now(), -60 * hours) if details.get("is_temporary") else None
            self.instance["bans"].append({"pubkey": action.get("pubkey_target"), "expires_at": until})
        elif kind == "unpin_content":
            for row in self.instance["messages"] + self.instance["files"]:
                if row["manifest"] and row["manifest"]["content_hash"] == target:
                    row["is_pinned"] = False
        elif kind == "DELETE_CONTENT":
            self.instance.state["messages"] = [
                row for row in self.instance["messages"] if not row["manifest"] or row["manifest"]["content_hash"] != target]
        elif kind == "update_profile":
            user = self.instance.user_by_key(action.get("pubkey_target"))
            if user:
                user["nickname"] = str(details.get("nickname", user["nickname"])).lower()
                user["karma"] = details.get("karma", user["karma"])


def replace_peer_key(instance, row, caller):
    """The key endpoint's answer replaces the stored key of the peer (sections 7.1 and 13.1, step 1)."""
    reply = caller.get(row["url"], "/api/identity/public_key/", signed=False)
    row["pubkey"] = keys.stored_form(json.loads(reply.body)["public_key"])


