"""An installation as it lies on a disk: `.env`, `data/axon_bbs.sqlite3`, `data/bitsync_chunks` (spec, 1.3, 10, 13.2).

The database follows Django's rules: tables `app_model`, foreign keys `name_id`, UUIDs as 32 hex digits,
JSON as text, moments in UTC without a zone. README.md says where its names come from.
"""

import json
import os
import shutil
import sqlite3
import uuid

import keys
import times

SCHEMA = """
CREATE TABLE core_user (id integer PRIMARY KEY AUTOINCREMENT, password varchar(128) NOT NULL, last_login datetime,
 is_superuser bool NOT NULL, username varchar(150) NOT NULL UNIQUE, first_name varchar(150) NOT NULL,
 last_name varchar(150) NOT NULL, email varchar(254) NOT NULL, is_staff bool NOT NULL, is_active bool NOT NULL,
 date_joined datetime NOT NULL, access_level integer NOT NULL, is_banned bool NOT NULL, pubkey text,
 nickname varchar(50) UNIQUE, avatar varchar(100), is_agent bool NOT NULL, agent_service_path varchar(255),
 agent_parameters text NOT NULL CHECK (JSON_VALID(agent_parameters)), is_moderator bool NOT NULL, karma integer NOT NULL, last_moderated_at datetime,
 timezone varchar(64));
CREATE TABLE core_trustedinstance (id integer PRIMARY KEY AUTOINCREMENT, web_ui_onion_url varchar(255),
 pubkey text, encrypted_private_key text, added_at datetime NOT NULL, last_synced_at datetime,
 is_trusted_peer bool NOT NULL);
CREATE TABLE core_validfiletype (id integer PRIMARY KEY AUTOINCREMENT, mime_type varchar(100) NOT NULL UNIQUE,
 description varchar(255) NOT NULL, is_enabled bool NOT NULL);
CREATE TABLE core_fileattachment (id char(32) PRIMARY KEY, author_id bigint REFERENCES core_user(id),
 filename varchar(255) NOT NULL, content_type varchar(100) NOT NULL, size integer NOT NULL, metadata_manifest text CHECK (metadata_manifest IS NULL OR JSON_VALID(metadata_manifest)),
 created_at datetime NOT NULL, modified_at datetime NOT NULL, expires_at datetime, is_pinned bool NOT NULL,
 pinned_by_id bigint REFERENCES core_user(id));
CREATE TABLE applets_appletcategory (id integer PRIMARY KEY AUTOINCREMENT, name varchar(50) NOT NULL UNIQUE,
 description text NOT NULL);
CREATE TABLE messaging_messageboard (id integer PRIMARY KEY AUTOINCREMENT, name varchar(100) NOT NULL,
 description text NOT NULL, required_access_level integer NOT NULL, is_realtime bool NOT NULL,
 local_poll_interval real NOT NULL, federation_poll_interval real NOT NULL, use_lan_federation bool NOT NULL,
 federation_room_id varchar(255) UNIQUE, trusted_peers text NOT NULL CHECK (JSON_VALID(trusted_peers)), message_retention_days integer unsigned NOT NULL CHECK (message_retention_days >= 0));
CREATE TABLE applets_applet (id char(32) PRIMARY KEY, name varchar(100) NOT NULL UNIQUE, description text NOT NULL,
 owner_id bigint REFERENCES core_user(id), author_pubkey text NOT NULL, code_manifest text CHECK (code_manifest IS NULL OR JSON_VALID(code_manifest)), parameters text NOT NULL CHECK (JSON_VALID(parameters)),
 is_local bool NOT NULL, created_at datetime NOT NULL, category_id bigint REFERENCES applets_appletcategory(id),
 is_debug_mode bool NOT NULL, event_board_id bigint REFERENCES messaging_messageboard(id),
 handles_mime_types varchar(255) NOT NULL);
CREATE TABLE applets_appletdata (id char(32) PRIMARY KEY, applet_id char(32) NOT NULL REFERENCES applets_applet(id),
 owner_id bigint NOT NULL REFERENCES core_user(id), data_manifest text NOT NULL CHECK (JSON_VALID(data_manifest)), last_updated datetime NOT NULL,
 UNIQUE (applet_id, owner_id));
CREATE TABLE applets_highscore (id integer PRIMARY KEY AUTOINCREMENT, applet_id char(32) NOT NULL
 REFERENCES applets_applet(id), owner_pubkey text NOT NULL, owner_nickname varchar(50) NOT NULL, score bigint NOT NULL,
 wins integer, losses integer, kills integer, deaths integer, assists integer, last_updated datetime NOT NULL,
 UNIQUE (applet_id, owner_pubkey));
CREATE TABLE applets_appletsharedstate (id char(32) PRIMARY KEY, applet_id varchar(100) NOT NULL,
 room_id varchar(100) NOT NULL UNIQUE, state_data text NOT NULL CHECK (JSON_VALID(state_data)), version integer unsigned NOT NULL CHECK (version >= 0), last_updated datetime NOT NULL);
CREATE TABLE messaging_message (id char(32) PRIMARY KEY, board_id bigint NOT NULL REFERENCES messaging_messageboard(id),
 author_id bigint REFERENCES core_user(id), subject varchar(255) NOT NULL, body text NOT NULL, pubkey text,
 metadata_manifest text CHECK (metadata_manifest IS NULL OR JSON_VALID(metadata_manifest)), created_at datetime NOT NULL, modified_at datetime NOT NULL, expires_at datetime, is_pinned bool NOT NULL,
 pinned_by_id bigint REFERENCES core_user(id), parent_id char(32) REFERENCES messaging_message(id), agent_status varchar(20) NOT NULL,
 last_moderated_at datetime);
CREATE TABLE messaging_message_attachments (id integer PRIMARY KEY AUTOINCREMENT,
 message_id char(32) NOT NULL REFERENCES messaging_message(id),
 fileattachment_id char(32) NOT NULL REFERENCES core_fileattachment(id));
CREATE TABLE messaging_privatemessage (id char(32) PRIMARY KEY, author_id bigint REFERENCES core_user(id),
 recipient_id bigint REFERENCES core_user(id), sender_pubkey text, e2e_encrypted_content text,
 metadata_manifest text CHECK (metadata_manifest IS NULL OR JSON_VALID(metadata_manifest)), created_at datetime NOT NULL, modified_at datetime NOT NULL, expires_at datetime,
 is_pinned bool NOT NULL, pinned_by_id bigint REFERENCES core_user(id), is_read bool NOT NULL);
CREATE TABLE federation_federatedaction (id char(32) PRIMARY KEY, action_type varchar(50) NOT NULL, pubkey_target text,
 content_hash_target varchar(64), action_details text NOT NULL CHECK (JSON_VALID(action_details)), created_at datetime NOT NULL, status varchar(20) NOT NULL,
 is_logged bool NOT NULL);
CREATE TABLE accounts_bannedpubkey (id integer PRIMARY KEY AUTOINCREMENT, pubkey text NOT NULL UNIQUE, is_temporary bool NOT NULL,
 expires_at datetime, federated_action_id char(32) UNIQUE);
CREATE TABLE django_session (session_key varchar(40) PRIMARY KEY, session_data text NOT NULL, expire_date datetime NOT NULL);
"""
MOMENTS = {"added_at", "last_login", "date_joined", "created_at", "modified_at", "last_updated", "last_synced_at", "expires_at", "last_moderated_at"}
UUIDS = {"id", "applet_id", "message_id", "fileattachment_id"}
# What a table has besides, and content has not
DEFAULTS = {
    "applets_appletsharedstate": {"applet_id": "", "room_id": ""},
    "core_trustedinstance": {"added_at": "2026-01-01T00:00:00+00:00"},
    "messaging_message": {"agent_status": "pending"},
    "messaging_messageboard": {"trusted_peers": []},
    "messaging_privatemessage": {"is_pinned": False, "is_read": False},
    "federation_federatedaction": {"is_logged": False},
    "accounts_bannedpubkey": {"is_temporary": False},
}
# Table, rows, our name of a field → column; fields that are no column are left out
TABLES = [
    ("core_user", "users", {"pk": "id"}),
    ("core_validfiletype", "filetypes", {"pk": "id"}),
    ("core_fileattachment", "files", {"manifest": "metadata_manifest", "author": "author_id"}),
    ("applets_appletcategory", "categories", {"pk": "id"}),
    ("messaging_messageboard", "boards", {"pk": "id"}),
    ("applets_applet", "applets", {"owner": "owner_id", "category": "category_id", "event_board": "event_board_id"}),
    ("applets_appletdata", "applet_data", {"applet": "applet_id", "owner": "owner_id"}),
    ("applets_highscore", "high_scores", {"applet": "applet_id"}),
    ("applets_appletsharedstate", "shared_states", {"applet": "applet_id"}),
    ("messaging_message", "messages", {"board": "board_id", "author": "author_id", "manifest": "metadata_manifest"}),
    ("messaging_privatemessage", "pms", {
        "author": "author_id", "recipient": "recipient_id", "manifest": "metadata_manifest",
        "e2e_encrypted_content_b64": "e2e_encrypted_content"}),
    ("federation_federatedaction", "actions", {}),
    ("accounts_bannedpubkey", "bans", {}),
]


def install(instance, out):
    """Writes the installation into `out`, which must not hold one yet; says where things are."""
    database = os.path.join(out, "data", "axon_bbs.sqlite3")
    if os.path.exists(database):
        raise FileExistsError(f"{out} already holds an installation")
    os.makedirs(os.path.join(out, "data"), exist_ok=True)
    with open(os.path.join(out, ".env"), "w", encoding="utf-8") as file:
        file.write(f"SECRET_KEY={instance.state['secret_key']}\nONION_ADDRESS={instance.state['onion_address']}\n")
    connection = sqlite3.connect(database)
    try:
        connection.executescript(SCHEMA)
        for table, rows, names in TABLES:
            for row in instance[rows]:
                insert(connection, table, {names.get(name, name): value for name, value in row.items()})
        link_attachments(connection, instance)
        insert_instances(connection, instance)
        connection.commit()
    finally:
        connection.close()
    chunks = os.path.join(out, "data", "bitsync_chunks")
    if os.path.isdir(instance.store.root):
        shutil.copytree(instance.store.root, chunks)
    return {"database": database, "env": os.path.join(out, ".env"), "chunks": chunks}


def insert(connection, table, row):
    known = [column[1] for column in connection.execute(f"PRAGMA table_info({table})")]
    row = {**DEFAULTS.get(table, {}), **{name: value for name, value in row.items() if value is not None}}
    if "id" in known and table == "applets_appletsharedstate":
        row.setdefault("id", str(uuid.uuid5(uuid.NAMESPACE_URL, row["room_id"] or row["applet_id"])))
    row = {name: convert(table, name, value) for name, value in row.items() if name in known}
    marks = ", ".join("?" for _ in row)
    connection.execute(f"INSERT INTO {table} ({', '.join(row)}) VALUES ({marks})", list(row.values()))


def convert(table, name, value):
    """A value as Django's SQLite backend writes it."""
    if table == "applets_appletsharedstate" and name == "applet_id":
        return value  # no foreign key, but a text
    if isinstance(value, (dict, list)):
        return json.dumps(value)
    if name in MOMENTS:
        return times.database(value)
    if name in UUIDS and isinstance(value, str):
        return uuid.UUID(value).hex
    return value


def link_attachments(connection, instance):
    ids = {row["manifest"]["content_hash"]: row["id"] for row in instance["files"] if row["manifest"]}
    for message in instance["messages"]:
        for content_hash in message["attachment_hashes"]:
            if content_hash in ids:
                insert(connection, "messaging_message_attachments",
                       {"message_id": message["id"], "fileattachment_id": ids[content_hash]})


def insert_instances(connection, instance):
    """The local instance is the one row that is no peer and has a private key (section 1.3)."""
    sealed = keys.fernet(instance.state["secret_key"]).encrypt(keys.private_text(instance.private).encode()).decode()
    onion = instance.state["onion_address"]
    insert(connection, "core_trustedinstance", {
        "web_ui_onion_url": f"http://{onion}" if onion else None, "pubkey": instance.pubkey,
        "encrypted_private_key": sealed, "is_trusted_peer": False, "last_synced_at": None})
    for row in instance["peers"]:
        insert(connection, "core_trustedinstance", {
            "web_ui_onion_url": row["url"], "pubkey": row["pubkey"], "encrypted_private_key": None,
            "is_trusted_peer": row["is_trusted_peer"], "last_synced_at": row["last_synced_at"]})
