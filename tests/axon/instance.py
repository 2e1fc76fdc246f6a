"""An instance: its key, its trusted instances, users and content, kept in one folder.

`state.json` holds what a real instance has in its database; the chunk store lies beside it, where
section 10 of the spec puts it. Rows are plain dictionaries; the names of their fields are those of
sections 5, 9, 11 and 13.2.
"""

import json
import os
import random
import uuid

import keys
import seal
import times
from chunkstore import ChunkStore

TABLES = [
    "peers", "users", "filetypes", "categories", "boards", "messages", "files", "pms", "applets",
    "applet_data", "high_scores", "shared_states", "actions", "bans",
]
CONTENT = ["messages", "files", "pms", "applets"]
CONTENT_TYPE = {"messages": "message", "files": "file", "pms": "pm", "applets": "applet"}


def manifest_field(table):
    return {"applets": "code_manifest", "applet_data": "data_manifest"}.get(table, "manifest")


class Instance:
    def __init__(self, folder, state):
        self.folder = folder
        self.state = state
        self.private = keys.load_private(state["private_key"])
        self.pubkey = keys.public_text(self.private)
        self.store = ChunkStore(os.path.join(folder, "data", "bitsync_chunks"))

    @classmethod
    def create(cls, folder, seed=1, bits=2048, private_key=None, onion=""):
        """A new instance without content. The seed is for the content; the key is always fresh."""
        os.makedirs(folder, exist_ok=True)
        private = keys.load_private(private_key) if private_key else keys.generate(bits)
        state = {
            "seed": seed,
            "fills": 0,
            "onion_address": onion,
            "secret_key": f"test-peer-{seed}-secret-key-0123456789abcdef0123456789abcdef",
            "private_key": keys.private_text(private),
            **{table: [] for table in TABLES},
        }
        instance = cls(folder, state)
        instance.save()
        return instance

    @classmethod
    def load(cls, folder):
        with open(os.path.join(folder, "state.json"), encoding="utf-8") as file:
            return cls(folder, json.load(file))

    def save(self):
        path = os.path.join(self.folder, "state.json")
        with open(path + ".new", "w", encoding="utf-8") as file:
            json.dump(self.state, file, indent=1)
        os.replace(path + ".new", path)

    def __getitem__(self, table):
        return self.state[table]

    def rng(self, *purpose):
        """Random numbers that depend on the seed and the purpose only."""
        return random.Random("/".join(str(part) for part in (self.state["seed"], *purpose)))

    # Peers

    def trust(self, pem, url="", trusted=True):
        """Adds a trusted-instance row, or changes the one with this URL."""
        row = next((row for row in self["peers"] if url and row["url"] == url), None)
        if row is None:
            row = {"url": url, "last_synced_at": None}
            self["peers"].append(row)
        row["pubkey"] = keys.stored_form(pem) if pem else ""
        row["is_trusted_peer"] = trusted

    def trusted_peers(self):
        return [row for row in self["peers"] if row["is_trusted_peer"]]

    def recipients_new(self):
        """Envelopes of new content: local, peers, and rows no longer trusted (section 3)."""
        return [self.pubkey] + [row["pubkey"] for row in self["peers"] if row["pubkey"]]

    def recipients_rekey(self):
        """Envelopes after a re-key: local and trusted peers only (section 3)."""
        return [self.pubkey] + [row["pubkey"] for row in self.trusted_peers() if row["pubkey"]]

    # Content

    def seal(self, payload, recipients=None):
        """Encrypts a payload, stores its chunks, gives its manifest."""
        manifest, chunks = seal.seal(seal.canonical(payload), recipients or self.recipients_new())
        self.store.write_all(manifest["content_hash"], chunks)
        return manifest

    def rekey(self, manifest):
        return seal.rekeyed(manifest, self.private, self.recipients_rekey())

    def rekey_all(self):
        """Re-keys everything (section 13.1, step 5); gives the hashes that do not open."""
        failed = []
        for table in CONTENT:
            for row in self[table]:
                manifest = row[manifest_field(table)]
                if not manifest:
                    continue
                try:
                    row[manifest_field(table)] = self.rekey(manifest)
                    self.touch(table, row)
                except seal.NoEnvelope:
                    failed.append(manifest["content_hash"])
        return failed

    def touch(self, table, row):
        """`modified_at` is set on every save (section 7.2); applets have only `created_at`."""
        if table != "applets":
            row["modified_at"] = times.iso_now()

    def find(self, content_hash):
        """(table, row) of the first message, file, PM or applet with this hash (section 8.3)."""
        for table in CONTENT:
            for row in self[table]:
                if (row[manifest_field(table)] or {}).get("content_hash") == content_hash:
                    return table, row
        return None

    def has_content(self, content_hash):
        """Whether any row has the hash in its manifest, applet data included (section 7.3)."""
        if self.find(content_hash):
            return True
        return any(row["data_manifest"]["content_hash"] == content_hash for row in self["applet_data"])

    def delete(self, table, row):
        """Removes a row; of an applet also data, scores and state (16.1 no. 11)."""
        self[table].remove(row)
        if table == "applets":
            for other in ("applet_data", "high_scores", "shared_states"):
                self.state[other] = [it for it in self[other] if it["applet"] != row["id"]]

    # Rows that others refer to

    def by_pk(self, table, pk):
        return next((row for row in self[table] if row["pk"] == pk), None)

    def next_pk(self, table):
        return max((row["pk"] for row in self[table]), default=0) + 1

    def user_by_key(self, pubkey):
        return next((user for user in self["users"] if pubkey and user["pubkey"] == pubkey), None)

    def named(self, table, name):
        """The board or category of this name, made if it is missing."""
        row = next((row for row in self[table] if row["name"] == name), None)
        if row is None:
            row = {"pk": self.next_pk(table), **(new_board(name) if table == "boards" else new_category(name))}
            self[table].append(row)
        return row

    def federated_user(self, pubkey, nickname=None):
        """The user with this key, made if it is not known (section 8.5)."""
        user = self.user_by_key(pubkey)
        if user is None:
            user = new_user(f"federated_{keys.short_id(pubkey)}", pubkey)
            user["nickname"] = (nickname or f"moo-{keys.short_id(pubkey)}").lower()
            user["is_active"] = False
            user["avatar"] = avatar_path(user)
            user["pk"] = self.next_pk("users")
            self["users"].append(user)
        return user


def avatar_path(user):
    name = keys.checksum(user["pubkey"])[:12] if user["pubkey"] else user["username"]
    return f"avatars/cow_{name}.png"


def new_user(username, pubkey):
    """A user with the fields of section 13.2 and their usual values."""
    salt = keys.short_id(username, 22)
    return {
        "password": f"pbkdf2_sha256$720000${salt}${'A' * 43}=", "last_login": None, "is_superuser": False,
        "username": username, "first_name": "", "last_name": "", "email": "", "is_staff": False,
        "is_active": True, "date_joined": times.iso_now(), "access_level": 10, "is_banned": False,
        "pubkey": pubkey, "nickname": username, "avatar": "", "is_agent": False, "agent_service_path": None,
        "agent_parameters": {}, "is_moderator": False, "karma": 10, "last_moderated_at": None,
        "timezone": None, "groups": [], "user_permissions": [],
    }


def new_board(name):
    return {
        "name": name, "description": "", "required_access_level": 10, "is_realtime": False,
        "local_poll_interval": 1.0, "federation_poll_interval": 5.0, "use_lan_federation": False,
        "federation_room_id": None, "trusted_peers": [], "message_retention_days": 30,
    }


def new_category(name):
    return {"name": name, "description": ""}


def uuid_from(rng):
    return str(uuid.UUID(int=rng.getrandbits(128), version=4))
