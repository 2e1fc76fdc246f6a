"""How a real instance clones another one (spec, section 13): the admin action "Clone full BBS"."""

import copy
import json

import folder
import times
from caller import CallFailed
from instance import avatar_path, new_board, new_category, new_user
from puller import Puller, replace_peer_key

APPLET_FIELDS = {
    "name": None, "description": "", "owner": None, "author_pubkey": "", "code_manifest": None, "parameters": {},
    "is_local": False, "created_at": None, "category": None, "is_debug_mode": False, "event_board": None,
    "handles_mime_types": "",
}
UNIQUE = {"users": ["username", "nickname"], "applets": ["name"], "categories": ["name"], "boards": ["name"]}


class CloneFailed(Exception):
    """A step of the clone failed; the text says which."""


def clone(instance, url, socks=None, backup_dir=None, skip_config=False, skip_applets=False):
    """Steps 0 to 5 of section 13.1; gives the puller's events."""
    row = next((row for row in instance.trusted_peers() if row["url"] == url), None)
    if row is None:
        raise CloneFailed(f"{url} is not the URL of a trusted peer")
    puller = Puller(instance, socks)
    try:
        replace_peer_key(instance, row, puller.caller)
    except (CallFailed, ValueError, KeyError) as error:
        # A real instance reports success here
        puller.note("peer key not replaced", reason=str(error))
    if not skip_config:
        load_config(instance, fetch_config(puller, url))
    if not skip_applets:
        if backup_dir:
            folder.restore(instance, backup_dir, skip_chunks=True, rekey=True)
        else:
            sync_applets(puller, url)
        for applet in instance["applets"]:
            if applet["code_manifest"]:
                puller.note("applet chunks", name=applet["name"], complete=_fetch(puller, applet))
    for content_hash in instance.rekey_all():
        puller.note("not re-keyed", content_hash=content_hash)
    instance.save()
    return puller.events


def _fetch(puller, applet):
    try:
        return puller.fetch(applet["code_manifest"])
    except Exception as error:
        puller.note("aborted", content_hash=applet["code_manifest"]["content_hash"], reason=str(error))
        return False


def fetch_config(puller, url):
    reply = puller.caller.get(url, "/api/federation/export_config/")
    if reply.status != 200:
        raise CloneFailed(f"export_config is answered with {reply.status}")
    return superuser_filter(json.loads(reply.body))


def superuser_filter(objects):
    """Drops superusers and what belongs to them; the model name is compared exactly (13.2, 16.2 no. 3)."""
    admins = {it["pk"] for it in objects if it.get("model") == "core.user" and it["fields"].get("is_superuser")}
    kept = []
    for it in objects:
        if it.get("model") == "core.user" and it["pk"] in admins:
            continue
        if any(it["fields"].get(name) in admins for name in ("owner", "user", "author")):
            continue
        kept.append(it)
    return kept


def load_config(instance, objects):
    """Loads by primary key, all or nothing (section 13.2, loading)."""
    before = copy.deepcopy(instance.state)
    try:
        for it in objects:
            load_object(instance, it)
        check_references(instance)
        check_unique(instance)
    except (CloneFailed, KeyError, TypeError, ValueError) as error:
        instance.state = before
        raise CloneFailed(f"loading the configuration: {error}") from error
    for user in instance["users"]:
        user["avatar"] = user["avatar"] or avatar_path(user)


def load_object(instance, it):
    """Model names are Django's: any case. Unknown models and fields are ignored."""
    model, fields = it["model"].lower(), it["fields"]
    if model == "core.user":
        put(instance, "users", "pk", it["pk"], new_user(fields["username"], None), fields)
    elif model == "core.validfiletype":
        put(instance, "filetypes", "pk", it["pk"], {"mime_type": "", "description": "", "is_enabled": True}, fields)
    elif model == "applets.appletcategory":
        put(instance, "categories", "pk", it["pk"], new_category(fields["name"]), fields)
    elif model == "messaging.messageboard":
        put(instance, "boards", "pk", it["pk"], new_board(fields["name"]), fields)
    elif model == "applets.applet":
        if not fields.get("created_at"):
            raise CloneFailed("an applet has no created_at")
        fields = {**fields, "created_at": times.iso(times.parse(fields["created_at"]))}
        put(instance, "applets", "id", it["pk"], {**APPLET_FIELDS, "name": fields["name"]}, fields)
    elif model == "core.trustedinstance":
        # Nothing stops a peer from making itself more friends (16.2 no. 3)
        instance.trust(fields["pubkey"], fields.get("web_ui_onion_url") or "", fields.get("is_trusted_peer", False))


def put(instance, table, pk_name, pk, defaults, fields):
    row = {pk_name: pk, **defaults, **{name: value for name, value in fields.items() if name in defaults}}
    instance.state[table] = [old for old in instance[table] if old[pk_name] != pk] + [row]


def check_references(instance):
    users, boards, categories = ({row["pk"] for row in instance[table]} for table in ("users", "boards", "categories"))
    for applet in instance["applets"]:
        for name, known in (("owner", users), ("event_board", boards), ("category", categories)):
            if applet[name] is not None and applet[name] not in known:
                raise CloneFailed(f"the {name} {applet[name]} of applet {applet['name']} does not exist")


def check_unique(instance):
    for table, names in UNIQUE.items():
        for name in names:
            values = [row[name] for row in instance[table] if row[name]]
            twice = {value for value in values if values.count(value) > 1}
            if twice:
                raise CloneFailed(f"{table}: the {name} {sorted(twice)[0]} exists twice")


def sync_applets(puller, url):
    """`sync_applets_from_peer`: manifests of applets already known by hash (section 12, Later)."""
    reply = puller.caller.get(url, "/api/sync/?since=2000-01-01T00:00:00+00:00")
    if reply.status != 200:
        puller.note("applets not synced", status=reply.status)
        return
    for manifest in json.loads(reply.body)["manifests"]:
        if manifest.get("content_type") != "applet":
            continue
        for applet in puller.instance["applets"]:
            stored = applet["code_manifest"] or {}
            if stored.get("content_hash") == manifest.get("content_hash"):
                applet["code_manifest"] = manifest


