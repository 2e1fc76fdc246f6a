"""Fills an instance with content that the seed determines (spec, section 5; sizes as in section 17).

Names, ids, texts, bytes and sizes come from the seed. Keys, IVs and moments do not: they are fresh.
What is signed with a key's name (messages, PMs, applet data) has therefore another hash each time.
"""

import base64
import json
import os
from datetime import timedelta

import keys
import seal
import times
from instance import avatar_path, new_user, uuid_from

USERS = ["alice", "bob", "carol"]
BOARDS = ["general", "music", "dev talk", "Applet Events"]
CATEGORIES = ["Game", "Office", "Tools", "Multimedia"]
# Raw sizes in bytes: 6, 7, 6, 1, 1 and 2 chunks
APPLETS = [
    ("Star Miner", "Game", 1150000), ("Pixel Garden", "Game", 1300000), ("Board Viewer", "Office", 1048600),
    ("Notes", "Office", 18000), ("Tiny Clock", "Tools", 240), ("Wave Player", "Multimedia", 300000),
]
# 13, 19, 1 and 1 chunks
FILES = [
    ("tune.ogg", "audio/ogg", 2430000), ("assets.zip", "application/zip", 3700000),
    ("hello.txt", "text/plain", 6), ("empty.bin", "application/octet-stream", 0),
]
# Lengths of the bodies; the fourth is a message of three chunks
MESSAGES = [40, 120, 160, 700000, 30]


class Filler:
    """Adds content to one instance; each row is a little younger than the one before."""

    def __init__(self, instance, at=None):
        self.instance = instance
        self.moment = times.parse(at) if at else times.now()
        self.round = instance.state["fills"]
        instance.state["fills"] += 1

    def tick(self):
        self.moment += timedelta(microseconds=1000)
        return times.iso(self.moment)

    def rng(self, *purpose):
        return self.instance.rng("fill", self.round, *purpose)

    def fill(self, messages=5, files=4, applets=6, pms=2, users=3, actions=0):
        """The standard set of section 17: 20 items (26 manifests), 69 chunks, about 14 MB."""
        for name in BOARDS:
            self.instance.named("boards", name)
        for name in CATEGORIES:
            self.instance.named("categories", name)
        if not self.instance["filetypes"]:
            self.instance["filetypes"].append(
                {"pk": 1, "mime_type": "image/jpeg", "description": "JPEG", "is_enabled": True})
        self.users(users)
        uploads = [self.file(number) for number in range(files)]
        for number in range(applets):
            self.applet(number)
        for number in range(messages):
            self.message(number, uploads)
        for number in range(pms):
            self.pm(number)
        for number in range(actions):
            self.action(number)
        self.instance.save()

    def users(self, count):
        """Users with keys and avatar files, and one superuser without (sections 1.5, 5.2, 13.2)."""
        known = {user["username"] for user in self.instance["users"]}
        for number in range(count):
            name = USERS[number] if number < len(USERS) else f"user{number}"
            if name not in known:
                self.user(name)
                user = self.instance["users"][-1]
                png = b"\x89PNG\r\n\x1a\n" + self.rng("avatar", name).randbytes(1600)
                user["avatar"] = avatar_path(user)
                self.store_file(os.path.basename(user["avatar"]), "image/png", png, user, {
                    "pubkey": user["pubkey"], "nickname": user["nickname"], "username": name})
        if "root" not in known:
            self.user("root")
            self.instance["users"][-1].update(is_superuser=True, is_staff=True, email="root@peer.example")

    def user(self, name):
        private = keys.generate(2048)
        user = new_user(name, keys.public_text(private))
        user.update(pk=self.instance.next_pk("users"), private_key=keys.private_text(private), date_joined=self.tick())
        self.instance["users"].append(user)

    def author(self, number):
        people = [user for user in self.instance["users"] if not user["is_superuser"] and user["is_active"]]
        return people[number % len(people)] if people else None

    def store_file(self, filename, content_type, data, author, extra=None):
        payload = {
            "type": "file", "filename": filename, "content_type": content_type, "size": len(data),
            "data": base64.b64encode(data).decode(), **(extra or {}),
        }
        row = {
            "id": uuid_from(self.rng("file", filename)), "filename": filename, "content_type": content_type,
            "size": len(data), "author": author["pk"] if author else None, "created_at": self.tick(),
            "modified_at": times.iso(self.moment), "is_pinned": False, "manifest": self.instance.seal(payload),
        }
        self.instance["files"].append(row)
        return row

    def file(self, number):
        name, kind, size = FILES[number] if number < len(FILES) else (f"file{number}.bin", "application/octet-stream", 5000)
        if self.round:
            name = f"{self.round}-{name}"
        data = self.rng("data", number).randbytes(size) if name != "hello.txt" else b"hello\n"
        return self.store_file(name, kind, data, self.author(number))

    def message(self, number, uploads):
        """The second and the fifth of each five have an attachment, if files were made."""
        rng = self.rng("message", number)
        author = self.author(number)
        length = MESSAGES[number] if number < len(MESSAGES) else 200
        attached = [uploads[number % len(uploads)]] if uploads and number % 5 in (1, 4) else []
        body = f"é♫ {number} " + base64.b64encode(rng.randbytes(length * 3 // 4)).decode()
        board = self.instance.named("boards", BOARDS[number % len(BOARDS)])
        payload = {
            "type": "message", "subject": f"Subject {self.round}.{number}", "body": body, "board": board["name"],
            "pubkey": author["pubkey"] if author else None,
            "attachment_hashes": [row["manifest"]["content_hash"] for row in attached],
        }
        self.instance["messages"].append({
            "id": uuid_from(rng), "subject": payload["subject"], "body": body, "board": board["pk"],
            "author": author["pk"] if author else None, "pubkey": payload["pubkey"],
            "attachment_hashes": payload["attachment_hashes"], "created_at": self.tick(),
            "modified_at": times.iso(self.moment), "is_pinned": False, "manifest": self.instance.seal(payload),
        })

    def pm(self, number):
        """A private message: inner ciphertext for sender and recipient, metadata for peers (section 5.3)."""
        sender, recipient = self.author(number), self.author(number + 1)
        if sender is None:
            return
        inner = {
            "subject": f"Private {self.round}.{number}", "body": f"only for {recipient['username']}",
            "sender_pubkey": sender["pubkey"], "recipient_pubkey": recipient["pubkey"],
        }
        manifest, chunks = seal.seal(json.dumps(inner).encode(), [sender["pubkey"], recipient["pubkey"]])
        payload = {
            "type": "pm",
            "e2e_encrypted_content_b64": base64.b64encode(b"".join(chunks)).decode(),
            "e2e_manifest": {name: manifest[name] for name in ("encryption_iv", "encrypted_aes_keys")},
            "sender_pubkey": sender["pubkey"], "recipient_pubkey": recipient["pubkey"],
            "sender_pubkey_checksum": keys.checksum(sender["pubkey"]),
            "recipient_pubkey_checksum": keys.checksum(recipient["pubkey"]),
        }
        self.instance["pms"].append({
            "id": uuid_from(self.rng("pm", number)), "author": sender["pk"], "recipient": recipient["pk"],
            **{name: payload[name] for name in ("e2e_encrypted_content_b64", "sender_pubkey")},
            "created_at": self.tick(), "modified_at": times.iso(self.moment), "manifest": self.instance.seal(payload),
        })

    def applet(self, number):
        """An applet whose code is also a file, with data, scores and state for the first ones (5.4, 5.5)."""
        name, category, size = (
            APPLETS[number] if number < len(APPLETS) else (f"Ünï/code applet {number}", "Tools", 3000))
        if self.round:
            name = f"{name} {self.round}"
        rng = self.rng("applet", number)
        owner = self.author(0)
        script = b"// " + base64.b64encode(rng.randbytes(size * 3 // 4 - 3)) + b"\n"
        code = self.store_file(name.replace(" ", "").replace("/", "") + ".js", "application/javascript", script, owner)
        applet = {
            "id": uuid_from(rng), "name": name, "description": f"{name} demo",
            "owner": owner["pk"] if owner else None, "author_pubkey": owner["pubkey"] if owner else "",
            "code_manifest": dict(code["manifest"]), "parameters": {"n": 1.5, "u": "é♫"} if number == 5 else {},
            "is_local": False, "created_at": self.tick(),
            "category": self.instance.named("categories", category)["pk"], "is_debug_mode": number == 4,
            "event_board": self.instance.named("boards", "Applet Events")["pk"] if number == 0 else None,
            "handles_mime_types": "audio/ogg,audio/mpeg" if number == 5 else "",
        }
        self.instance["applets"].append(applet)
        people = [user for user in self.instance["users"] if not user["is_superuser"]][:3]
        if number == 0:
            for place, user in enumerate(people):
                self.applet_data(applet, user, {"score": 900 + 1100 * place, "level": place, "name": "café"})
                self.high_score(applet, user, 900 + 1100 * place)
            self.instance["shared_states"].append({
                "applet": applet["id"], "room_id": "star-room", "version": 3, "last_updated": self.tick(),
                "state_data": {"messages": [{"id": 1, "user": "alice", "text": "hi – café",
                                             "timestamp": "2026-11-20T10:11:12.345678+00:00"}],
                               "players": {"alice": {"x": 1.5, "y": -2}}, "seed": 9007199254740993}})
        elif number == 1 and people:
            self.applet_data(applet, people[0], {"score": 10, "map": base64.b64encode(rng.randbytes(148000)).decode()})
            self.high_score(applet, people[0], 10)
        elif number == 3:
            for user, value in zip(people[1:], ["plain string value", None]):
                self.applet_data(applet, user, value)

    def applet_data(self, applet, user, value):
        """Data of a user: envelopes for the local instance and that user only (section 3)."""
        payload = {"type": "applet_data", "applet_id": applet["id"], "owner_pubkey": user["pubkey"], "data": value}
        self.instance["applet_data"].append({
            "id": uuid_from(self.rng("data", applet["name"], user["username"])), "applet": applet["id"],
            "owner": user["pk"], "last_updated": self.tick(),
            "data_manifest": self.instance.seal(payload, [self.instance.pubkey, user["pubkey"]]),
        })

    def high_score(self, applet, user, score):
        self.instance["high_scores"].append({
            "applet": applet["id"], "owner_pubkey": user["pubkey"], "owner_nickname": user["nickname"],
            "score": score, "wins": score // 100, "losses": None, "kills": None, "deaths": None, "assists": None,
            "last_updated": self.tick(),
        })

    def action(self, number):
        """An approved action; a ban, which nothing reads (section 9)."""
        self.add_action("ban_pubkey", f"zz{number}", None, {"is_temporary": False})

    def add_action(self, kind, pubkey, content_hash, details):
        self.instance["actions"].append({
            "id": uuid_from(self.rng("action", kind, len(self.instance["actions"]))), "action_type": kind,
            "pubkey_target": pubkey, "content_hash_target": content_hash, "action_details": details,
            "created_at": self.tick(), "status": "approved",
        })


def reseal(instance, content_hash):
    """Encrypts an item again: other key, IV and chunks, same hash (section 3, last paragraph)."""
    table, row = instance.find(content_hash)
    field = "code_manifest" if table == "applets" else "manifest"
    plaintext = instance.store.open(row[field], instance.private)
    manifest, chunks = seal.seal(plaintext, instance.recipients_new())
    instance.store.write_all(content_hash, chunks)
    row[field] = manifest
    instance.touch(table, row)
    instance.save()
