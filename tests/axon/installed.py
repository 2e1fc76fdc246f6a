"""Reads an installation back into an instance, to see what is in it: the way back of install.py."""

import json
import os
import shutil
import sqlite3
import uuid

import install
import keys
from instance import Instance


def adopt(source, folder):
    """A new instance in `folder` with everything that the installation `source` holds."""
    database = os.path.join(source, "data", "axon_bbs.sqlite3")
    with open(os.path.join(source, ".env"), encoding="utf-8") as file:
        env = dict(line.rstrip("\n").split("=", 1) for line in file if "=" in line)
    connection = sqlite3.connect(f"file:{database}?mode=ro", uri=True)
    connection.row_factory = sqlite3.Row
    try:
        assert connection.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
        assert not connection.execute("PRAGMA foreign_key_check").fetchall()
        instances = list(connection.execute("SELECT * FROM core_trustedinstance ORDER BY id"))
        local = next(row for row in instances if not row["is_trusted_peer"] and row["encrypted_private_key"])
        private = keys.fernet(env["SECRET_KEY"]).decrypt(local["encrypted_private_key"].encode()).decode()
        instance = Instance.create(folder, private_key=private, onion=env.get("ONION_ADDRESS", ""))
        instance.state["secret_key"] = env["SECRET_KEY"]
        instance.state["peers"] = [
            {"url": row["web_ui_onion_url"], "pubkey": row["pubkey"], "is_trusted_peer": bool(row["is_trusted_peer"]),
             "last_synced_at": row["last_synced_at"]}
            for row in instances if not row["encrypted_private_key"]]
        for table, name, names in install.TABLES:
            back = {column: field for field, column in names.items()}
            columns = [(it[1], it[2]) for it in connection.execute(f"PRAGMA table_info({table})")]
            instance.state[name] = [
                {back.get(column, column): value(column, kind, row[column]) for column, kind in columns}
                for row in connection.execute(f"SELECT * FROM {table} ORDER BY rowid")]
        for message in instance["messages"]:
            rows = connection.execute(
                "SELECT f.metadata_manifest FROM messaging_message_attachments a JOIN core_fileattachment f"
                " ON f.id = a.fileattachment_id WHERE a.message_id = ? ORDER BY a.id", (uuid.UUID(message["id"]).hex,))
            message["attachment_hashes"] = [json.loads(row[0])["content_hash"] for row in rows]
    finally:
        connection.close()
    chunks = os.path.join(source, "data", "bitsync_chunks")
    if os.path.isdir(chunks):
        shutil.copytree(chunks, instance.store.root, dirs_exist_ok=True)
    instance.save()
    return instance


def value(column, kind, it):
    if it is None:
        return None
    if kind == "bool":
        return bool(it)
    if kind == "char(32)":
        return str(uuid.UUID(it))
    if kind == "datetime":
        return it.replace(" ", "T") + "+00:00"
    if column in ("metadata_manifest", "code_manifest", "data_manifest", "parameters", "agent_parameters", "state_data",
                  "action_details", "trusted_peers"):
        return json.loads(it)
    return it
