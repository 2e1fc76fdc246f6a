#!/usr/bin/env python3
"""Makes the test vectors in tests/data/format/1 from docs/format.md, and from nothing else.

This is a second implementation of the format's writing side. It shares no code with Bulbil, so that what both agree on is what the page says.
It is run by hand when a version of the format is made; the files that it wrote for a released version are never edited.

    pip install cryptography blake3 zstandard mnemonic
    python3 docs/vectors/make.py [FOLDER]

Everything that an implementation draws at random is fixed here, so that two runs write the same files. Never use a key from here.
"""

import base64
import hashlib
import hmac
import json
import struct
import sys
from pathlib import Path

import zstandard
from blake3 import blake3
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id
from mnemonic import Mnemonic

OUT = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parents[2] / "tests/data/format/1"


# -- conventions ------------------------------------------------------------------------------------------------------------------

def fixed(label, size=32):
    """Bytes that stand in for random ones."""
    return hashlib.shake_256(b"bulbil test vector " + label.encode()).digest(size)


def sha256(data):
    return hashlib.sha256(data).digest()


def b64(data):
    return base64.b64encode(data).decode()


def compact(value):
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def hkdf(secret, salt, info):
    prk = hmac.new(salt or bytes(32), secret, hashlib.sha256).digest()
    return hmac.new(prk, info + b"\x01", hashlib.sha256).digest()


def gcm(key, aad, plain):
    return AESGCM(key).encrypt(bytes(12), plain, aad)


def u32(n):
    return struct.pack(">I", n)


def u64(n):
    return struct.pack(">Q", n)


class Signer:
    def __init__(self, seed):
        self.seed = seed
        self.key = Ed25519PrivateKey.from_private_bytes(seed)
        self.public = self.key.public_key().public_bytes_raw()
        self.instance = sha256(self.public)

    def sign(self, purpose, message):
        return self.key.sign(purpose + b"\0" + message)


# -- vault ------------------------------------------------------------------------------------------------------------------------

def vault_seal(master, place, plain, salt):
    purpose = b"bulbil/vault/1\0"
    return b"\x01" + salt + gcm(hkdf(master, salt, purpose + place), purpose, plain)


def derived(master, purpose, place):
    return hkdf(master, b"", b"bulbil/master/1\0" + purpose + b"\0" + place)


# -- fragments and chunks ---------------------------------------------------------------------------------------------------------

def file_hash(content):
    return blake3(content).digest()


def lookup_name(key, content):
    return blake3(file_hash(content), key=key).digest()[:16]


def padme(length):
    e = length.bit_length() - 1
    s = e.bit_length()
    m = 2 ** (e - min(s, e)) - 1
    return (length + m) & ~m


def chunk(kind, collection, key, name_key, fragments, codec, padding):
    content = b"".join(fragments)
    content += b"".join(lookup_name(name_key, f) + u32(len(f)) for f in fragments)
    content += u32(len(fragments))
    payload = zstandard.ZstdCompressor(level=3).compress(content) if codec == 1 else content
    body = bytes([codec]) + u32(len(content)) + u32(len(payload)) + payload
    head = b"BLBC\x01"
    if padding == "padme":
        body += bytes(padme(len(head) + len(body) + 16) - len(head) - len(body) - 16)
    stored = head + gcm(key, head + bytes([kind]) + collection, body)
    return stored, content


def segment(entries):
    return b"BLBS\x01" + b"".join(chunk_id + u32(size) for chunk_id, size in entries)


# -- metadata ---------------------------------------------------------------------------------------------------------------------

def varint(n):
    n &= 2**64 - 1
    out = bytearray()
    while n >= 0x80:
        out.append(n & 0x7F | 0x80)
        n >>= 7
    out.append(n)
    return bytes(out)


def signed(n):
    n = (n + 2**63) % 2**64 - 2**63
    return varint((n << 1) ^ (n >> 63))


def lengthed(data):
    return varint(len(data)) + data


def front_coded(before, path):
    shared = 0
    while shared < min(len(before), len(path)) and before[shared] == path[shared]:
        shared += 1
    return varint(shared) + lengthed(path[shared:])


def order(path):
    return bytes(0 if b == 0x2F else b for b in path)


class Table:
    def __init__(self):
        self.rows = []

    def index(self, row):
        if row not in self.rows:
            self.rows.append(row)
        return self.rows.index(row)

    def node(self, kind, body):
        return bytes([1, kind]) + varint(len(self.rows)) + b"".join(i + k for i, k in self.rows) + body


def extents_form(extents, table):
    out = varint(len(extents))
    for extent in extents:
        if extent[0] == "hole":
            out += varint(0) + varint(extent[1])
        else:
            _, row, offset, length = extent
            out += varint(table.index(row) + 1) + varint(offset) + varint(length)
    return out


def place_form(place, table):
    row, offset, length = place
    return varint(table.index(row)) + varint(offset) + varint(length)


KINDS = ["file", "directory", "symlink", "hardlink", "fifo", "socket", "char-device", "block-device"]


def leaf(entries):
    table, out = Table(), varint(len(entries))
    path, mtime, inode = b"", 0, 0
    for e in entries:
        flags = KINDS.index(e["kind"])
        flags |= 0x10 if e["xattrs"] else 0
        flags |= 0x20 if e.get("changed") else 0
        flags |= 0x40 if "pages" in e else 0
        flags |= 0x80 if e["ctime"] == e["mtime"] else 0
        out += front_coded(path, e["path"]) + bytes([flags])
        out += varint(e["mode"]) + varint(e["uid"]) + varint(e["gid"])
        out += signed(e["mtime"][0] - mtime) + varint(e["mtime"][1])
        if e["ctime"] != e["mtime"]:
            out += signed(e["ctime"][0] - e["mtime"][0]) + varint(e["ctime"][1])
        out += signed(e["inode"] - inode)
        if e["xattrs"]:
            out += varint(len(e["xattrs"])) + b"".join(lengthed(n) + lengthed(v) for n, v in sorted(e["xattrs"]))
        if e["kind"] == "file":
            out += varint(e["size"])
            if e["size"]:
                out += e["hash"]
                if "pages" in e:
                    out += varint(len(e["pages"])) + b"".join(place_form(p, table) for p in e["pages"])
                else:
                    out += extents_form(e["extents"], table)
        elif e["kind"] in ("symlink", "hardlink"):
            out += lengthed(e["target"])
        elif e["kind"].endswith("device"):
            out += varint(e["rdev"])
        path, mtime, inode = e["path"], e["mtime"][0], e["inode"]
    return table.node(0, out)


def inner(level, children):
    table, out, path = Table(), bytes([level]) + varint(len(children)), b""
    for first, place, entries in children:
        out += front_coded(path, first) + place_form(place, table) + varint(entries)
        path = first
    return table.node(1, out)


def page(extents):
    table = Table()
    body = extents_form(extents, table)
    return table.node(2, body)


def path_hash(path, level):
    at = 4 * (level % 8)
    return struct.unpack("<I", blake3(path).digest()[at:at + 4])[0]


# -- envelopes --------------------------------------------------------------------------------------------------------------------

def mgf1(seed, length):
    out = b""
    for n in range((length + 31) // 32):
        out += sha256(seed + u32(n))
    return out[:length]


def xor(a, b):
    return bytes(x ^ y for x, y in zip(a, b))


def oaep(public, message, label, seed):
    """RSAES-OAEP (RFC 8017 §7.1.1) with a given seed."""
    k = (public.n.bit_length() + 7) // 8
    db = sha256(label) + bytes(k - len(message) - 66) + b"\x01" + message
    masked_db = xor(db, mgf1(seed, len(db)))
    masked_seed = xor(seed, mgf1(masked_db, 32))
    return pow(int.from_bytes(b"\0" + masked_seed + masked_db, "big"), public.e, public.n).to_bytes(k, "big")


def hpke_seal(recipient, ephemeral_secret, info, aad, plain):
    """HPKE base mode, single shot (RFC 9180 §6.1): X25519, HKDF-SHA256, AES-256-GCM, with a given ephemeral key."""
    def extract(salt, ikm):
        return hmac.new(salt or bytes(32), ikm, hashlib.sha256).digest()

    def expand(prk, info, length):
        out, block, n = b"", b"", 1
        while len(out) < length:
            block = hmac.new(prk, block + info + bytes([n]), hashlib.sha256).digest()
            out, n = out + block, n + 1
        return out[:length]

    def labeled_extract(suite, salt, label, ikm):
        return extract(salt, b"HPKE-v1" + suite + label + ikm)

    def labeled_expand(suite, prk, label, info, length):
        return expand(prk, struct.pack(">H", length) + b"HPKE-v1" + suite + label + info, length)

    ephemeral = X25519PrivateKey.from_private_bytes(ephemeral_secret)
    encapsulated = ephemeral.public_key().public_bytes_raw()
    shared = ephemeral.exchange(X25519PublicKey.from_public_bytes(recipient))
    kem = b"KEM" + struct.pack(">H", 0x0020)
    eae = labeled_extract(kem, b"", b"eae_prk", shared)
    secret = labeled_expand(kem, eae, b"shared_secret", encapsulated + recipient, 32)
    suite = b"HPKE" + struct.pack(">HHH", 0x0020, 0x0001, 0x0002)
    context = b"\0" + labeled_extract(suite, b"", b"psk_id_hash", b"") + labeled_extract(suite, b"", b"info_hash", info)
    prk = labeled_extract(suite, secret, b"secret", b"")
    key = labeled_expand(suite, prk, b"key", context, 32)
    nonce = labeled_expand(suite, prk, b"base_nonce", context, 12)
    return encapsulated + AESGCM(key).encrypt(nonce, plain, aad)


def test_rsa_key(bits=3072):
    """An RSA key that is the same each time."""
    def is_prime(n):
        if any(n % p == 0 for p in (3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53)):
            return False
        d, r = n - 1, 0
        while d % 2 == 0:
            d, r = d // 2, r + 1
        for round_ in range(24):
            x = pow(int.from_bytes(fixed(f"witness {round_}", 8), "big"), d, n)
            if x in (1, n - 1):
                continue
            for _ in range(r - 1):
                x = x * x % n
                if x == n - 1:
                    break
            else:
                return False
        return True

    def prime(label):
        n = int.from_bytes(fixed(label, bits // 16), "big") | 3 << (bits // 2 - 2) | 1
        while (n - 1) % 65537 == 0 or not is_prime(n):
            n += 2
        return n

    p, q = sorted((prime("rsa p"), prime("rsa q")), reverse=True)
    e, phi = 65537, (p - 1) * (q - 1)
    d = pow(e, -1, phi)
    public = rsa.RSAPublicNumbers(e, p * q)
    key = rsa.RSAPrivateNumbers(p, q, d, d % (p - 1), d % (q - 1), pow(q, -1, p), public).private_key()
    pkcs8 = key.private_bytes(serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    spki = key.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return public, pkcs8, spki


def label(manifest_id):
    return b"bulbil/envelope/1\0" + manifest_id


# -- text -------------------------------------------------------------------------------------------------------------------------

def digits_of(data, alphabet):
    bits = "".join(f"{b:08b}" for b in data)
    bits += "0" * (-len(bits) % 5)
    return "".join(alphabet[int(bits[at:at + 5], 2)] for at in range(0, len(bits), 5))


def recovery_text(secret):
    digits = digits_of(secret + sha256(b"bulbil/recovery/1" + secret)[:4], "0123456789ABCDEFGHJKMNPQRSTVWXYZ")
    return "-".join(["BULBIL-RECOVERY-1"] + [digits[at:at + 6] for at in range(0, len(digits), 6)])


def secret_codes(collection, secret, wrapped, sealed, size=440):
    data = collection + bytes([secret["form"] == "file"]) + bytes.fromhex(secret["fingerprint"]) + u64(1795392000)
    data += bytes([len(secret["name"])]) + secret["name"].encode() + wrapped + sealed
    alphabet = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
    check, digits = digits_of(sha256(b"bulbil/secret/1" + data)[:5], alphabet), digits_of(data, alphabet)
    parts = [digits[at:at + size] for at in range(0, len(digits), size)]
    return [f"BULBIL-SECRET-1:{check}:{at + 1}/{len(parts)}:{part}." for at, part in enumerate(parts)]


def escrow(collection, instance, master, recovery, recovery_public):
    fingerprint_key = fixed("fingerprint key")
    key_id = hkdf(fingerprint_key, b"", b"bulbil/escrow/1/fingerprint-key-id")[:4]

    def wrap(key, place, name):
        place = b"bulbil/escrow/1/key\0" + place
        return [
            {"algorithm": "HPKE-X25519-HKDF-SHA256-A256GCM", "recipient": sha256(recovery_public).hex(),
             "wrapped": b64(hpke_seal(recovery_public, fixed("ephemeral of " + name), b"bulbil/recovery/1", place, key))},
            {"algorithm": "BULBIL-VAULT-1", "recipient": "self", "wrapped": b64(vault_seal(master, place, key, fixed("salt of " + name, 24)))},
        ]

    secrets, codes, values = [], [], []
    for name, form, value in [("ENCRYPTION_MASTER_PEPPER", "variable", b"a pepper of more than thirty-two letters"),
                              ("quilltap.dbkey", "file", bytes(range(256)) * 2)]:
        fingerprint = blake3(name.encode() + b"\0" + value, key=fingerprint_key).digest()[:16] + key_id
        place = collection + bytes([form == "file"]) + fingerprint + name.encode()
        key, padded = fixed("key of " + name), value + b"\x80"
        sealed = gcm(key, b"bulbil/escrow/1/value\0" + place, padded + bytes(-len(padded) % 64))
        secret = {"name": name, "form": form, "fingerprint": fingerprint.hex(), "since": "2026-11-23T00:00:00Z",
                  "envelopes": wrap(key, place, name), "sealed": b64(sealed)}
        secrets.append(secret)
        values.append(value)
        codes.append(secret_codes(collection, secret, base64.b64decode(secret["envelopes"][0]["wrapped"]), sealed))
    document = {
        "format": "bulbil-escrow/1", "collection": collection.hex(), "name": "notes", "instance": instance.hex(),
        "fingerprint_key_id": key_id.hex(),
        "fingerprint_key": wrap(fingerprint_key, b"bulbil/escrow/1/fingerprints\0" + collection, "fingerprint key"),
        "elsewhere": ["NEXTAUTH_SECRET"], "secrets": secrets,
    }
    return {"master_key": master, "recovery_key": recovery, "fingerprint_key": fingerprint_key, "values": values,
            "document": compact(document).decode(), "codes": codes}


def invite_text(invite):
    text = compact(invite)
    return "bulbil:" + digits_of(text + sha256(text)[:4], "abcdefghijklmnopqrstuvwxyz234567")


def identity_document(signer, name, spki):
    text = compact({
        "format": "bulbil-identity/1", "instance": signer.instance.hex(), "name": name, "identity_key": b64(signer.public),
        "envelope_key": b64(spki), "key_version": 1, "features": [],
    })
    return {"document": text.decode(), "signature": b64(signer.sign(b"bulbil/identity/1", text))}


def pairing_proof(secret, purpose, inviter, joiner):
    """See docs/protocol.md, Pairing."""
    return blake3(purpose + b"\0" + inviter + joiner, key=secret).digest()


def words(instance):
    bits, english = int.from_bytes(instance[:11], "big"), Mnemonic("english").wordlist
    return " ".join(english[bits >> 77 - 11 * at & 0x7FF] for at in range(8))


# -- the files --------------------------------------------------------------------------------------------------------------------

def write(name, value):
    def plain(v):
        if isinstance(v, bytes):
            return v.hex()
        if isinstance(v, dict):
            return {k: plain(w) for k, w in v.items()}
        return [plain(w) for w in v] if isinstance(v, (list, tuple)) else v

    OUT.mkdir(parents=True, exist_ok=True)
    (OUT / name).write_text(json.dumps(plain(value), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def main():
    signer = Signer(fixed("identity seed"))
    master = fixed("master key")
    collection = fixed("collection", 16)
    name_key = derived(master, b"fragments", collection)
    node_key = derived(master, b"nodes", collection)

    write("fragments.json", {
        "master_key": master, "collection": collection, "fragments_key": name_key, "nodes_key": node_key,
        "cut_key": derived(master, b"cut", collection),
        "fragments": [{"content": c, "file_hash": file_hash(c), "lookup_name": lookup_name(name_key, c)}
                      for c in (b"", b"hello", bytes(range(256)))],
        "sparse": {"before": b"ab", "hole": 70000, "after": b"cd", "file_hash": file_hash(b"ab" + bytes(70000) + b"cd")},
    })

    texts = [b"hello", b"", b"hello " * 40, bytes(1000)]
    noise = [fixed("noise 1", 300), fixed("noise 2", 17)]
    chunks, by_name = [], {}
    for name, kind, fragments, codec, padding in [
        ("data", 1, noise, 0, "none"), ("compressed data", 1, texts, 1, "none"), ("padded data", 1, texts, 1, "padme"),
        ("metadata", 2, texts, 1, "none"), ("padded noise", 1, noise, 0, "padme"),
    ]:
        key = fixed(f"chunk key {name}")
        stored, content = chunk(kind, collection, key, name_key, fragments, codec, padding)
        by_name[name] = (stored, (sha256(stored), key))
        chunks.append({
            "name": name, "kind": kind, "key": key, "codec": codec, "padding": padding, "names_key": name_key,
            "fragments": fragments, "content": content, "stored": stored, "id": sha256(stored),
        })
    write("chunk.json", {"collection": collection, "chunks": chunks})

    entries = [(sha256(u32(n)), n + 100) for n in range(5000)]
    cuts, start = [], 0
    for at, (chunk_id, _) in enumerate(entries):
        if int.from_bytes(chunk_id[28:], "big") % 1024 == 0:
            cuts.append(at + 1 - start)
            start = at + 1
    cuts.append(len(entries) - start)
    small = entries[:3]
    write("segment.json", {
        "entries": [{"id": i, "size": s} for i, s in small], "stored": segment(small), "id": sha256(segment(small)),
        "cutting": {"note": "chunk n of 5000 has the id SHA-256(n as u32 BE) and the size n + 100", "lengths": cuts,
                    "first_segment": sha256(segment(entries[:cuts[0]]))},
    })

    row = by_name["compressed data"][1]
    other = by_name["data"][1]
    meta = by_name["metadata"][1]
    time = (1_700_000_000, 123_456_789)
    base = {"mode": 0o644, "uid": 1000, "gid": 1000, "mtime": time, "ctime": time, "inode": 77, "xattrs": []}
    content = texts[0] + texts[2]
    sparse = noise[0] + bytes(5000) + noise[1]
    acl = fixed("acl", 28)
    tree = [
        {**base, "path": b"notes", "kind": "directory", "mode": 0o2755, "mtime": (-86_400, 0), "ctime": (1_700_000_001, 5)},
        {**base, "path": b"notes/a", "kind": "file", "size": len(content), "hash": file_hash(content),
         "extents": [("data", row, 0, len(content))], "inode": 78},
        {**base, "path": b"notes/a/b", "kind": "fifo", "inode": 2**64 - 1},
        {**base, "path": b"notes/a-b", "kind": "file", "size": 0, "inode": 3, "changed": True},
        {**base, "path": b"notes/big", "kind": "file", "size": 9_000_000_000, "hash": fixed("big file"),
         "pages": [(meta, 0, 5), (meta, 5, 240)], "xattrs": [(b"system.posix_acl_access", acl), (b"user.b", b"")]},
        {**base, "path": b"notes/char", "kind": "char-device", "rdev": 0x0103},
        {**base, "path": b"notes/disk", "kind": "block-device", "rdev": 2**40 + 1, "mode": 0o7777, "uid": 2**32 - 1},
        {**base, "path": b"notes/hard", "kind": "hardlink", "target": b"notes/a"},
        {**base, "path": b"notes/link", "kind": "symlink", "target": b"../elsewhere", "mode": 0o777},
        {**base, "path": b"notes/n\xffme", "kind": "socket"},
        {**base, "path": b"notes/sparse", "kind": "file", "size": len(sparse), "hash": file_hash(sparse), "ctime": (time[0], 1),
         "extents": [("data", other, 0, 300), ("hole", 5000), ("data", other, 300, 17)]},
    ]
    # A walk would not find something below a file; the order of the two paths is what is shown.
    tree = sorted(tree, key=lambda e: order(e["path"]))
    paths = [b"a", b"a/b", b"a/b/c", b"a/b-", b"a ", b"a-b", b"a.txt", b"ab", b"b", b"\xc3\xa4"]
    paths = sorted(paths, key=order)
    big_extents = [("data", row if n % 3 else other, n, n + 1) for n in range(40)] + [("hole", 2**40)]
    children = [(b"notes", (meta, 0, 5), 512), (b"notes/m", (meta, 5, 240), 2**48), (b"notes0", (row, 1, 2), 1)]
    write("nodes.json", {
        "leaf": {"entries": tree, "node": leaf(tree)},
        "inner": {"level": 2, "children": children, "node": inner(2, children)},
        "page": {"extents": big_extents, "node": page(big_extents)},
        "empty": {"node": leaf([])},
        "numbers": [{"value": n, "varint": varint(n)} for n in (0, 1, 127, 128, 300, 2**32, 2**63)],
        "signed": [{"value": n, "varint": signed(n)} for n in (0, -1, 1, -64, 64, 2**62, -(2**63))],
        "paths_in_order": paths,
        "path_hashes": [{"path": p, "level": lv, "hash": path_hash(p, lv)} for p in paths[:4] for lv in (0, 1, 7, 8)],
    })

    snapshot_key = fixed("snapshot key")
    commitment = hkdf(snapshot_key, b"", b"bulbil/snapshot/1/commitment").hex()
    files = [e for e in tree if e["path"] in (b"notes", b"notes/a", b"notes/sparse")]
    bottom = leaf(files)
    meta_key = fixed("chunk key tree")
    meta_stored, _ = chunk(2, collection, meta_key, node_key, [b"another node", bottom], 1, "none")
    by_name["tree"] = (meta_stored, (sha256(meta_stored), meta_key))
    root = inner(1, [(b"notes", (by_name["tree"][1], len(b"another node"), len(bottom)), len(files))])
    used = ("compressed data", "data", "tree")
    private = {
        "name": "notes", "host": "alpha", "roots": [{"name": "notes", "path": "/home/ada/notes"}], "excludes": ["*.tmp"],
        "statistics": {"files": 2, "directories": 1, "others": 0, "bytes": len(content) + len(sparse), "files_read": 2,
                       "bytes_read": len(content) + len(sparse) - 5000, "new_chunks": len(used), "new_bytes": 0, "problems": 0},
        "padding": "none", "tree": b64(root),
    }
    listed = [(by_name[n][1][0], len(by_name[n][0])) for n in used]
    private["statistics"]["new_bytes"] = sum(size for _, size in listed)
    sequence = 7
    place = b"bulbil/manifest-private/1\0" + signer.instance + collection + u64(sequence)
    sealed = gcm(hkdf(snapshot_key, b"", b"bulbil/snapshot/1/private"), place, compact(private))
    manifest = {
        "format": "bulbil-manifest/1", "suite": "SHA256+A256GCM+HKDF-SHA256+BLAKE3+ZSTD", "instance": signer.instance.hex(),
        "collection": collection.hex(), "sequence": sequence, "parent": sha256(b"the snapshot before").hex(),
        "created_at": "2026-11-22T00:00:00.25Z", "commitment": commitment,
        "segments": [{"id": sha256(segment(listed)).hex(), "chunks": len(used), "bytes": sum(size for _, size in listed)}],
        "chunks": len(used), "chunk_bytes": sum(size for _, size in listed), "private": b64(sealed),
    }
    manifest_bytes = compact(manifest)
    manifest_id = sha256(manifest_bytes)
    signature = signer.sign(b"bulbil/manifest/1", manifest_bytes)

    public, pkcs8, spki = test_rsa_key()
    recovery = fixed("recovery key")
    recovery_public = X25519PrivateKey.from_private_bytes(recovery).public_key().public_bytes_raw()
    vault = vault_seal(master, b"snapshot/" + manifest_id, snapshot_key, fixed("vault salt", 24))
    envelopes = [
        {"algorithm": "BULBIL-VAULT-1", "recipient": "self", "wrapped": b64(vault)},
        {"algorithm": "RSA-OAEP-256", "recipient": sha256(spki).hex(),
         "wrapped": b64(oaep(public, snapshot_key, label(manifest_id), fixed("oaep seed")))},
        {"algorithm": "HPKE-X25519-HKDF-SHA256-A256GCM", "recipient": sha256(recovery_public).hex(),
         "wrapped": b64(hpke_seal(recovery_public, fixed("ephemeral"), b"bulbil/recovery/1", label(manifest_id), snapshot_key))},
    ]
    sidecar = {"format": "bulbil-sidecar/1", "signature": {"public_key": b64(signer.public), "signature": b64(signature)},
               "envelopes": envelopes}
    write("manifest.json", {
        "identity_seed": signer.seed, "public_key": signer.public, "instance": signer.instance, "snapshot_key": snapshot_key,
        "commitment": commitment, "private_part": compact(private).decode(), "manifest": manifest_bytes.decode(),
        "signature": signature, "id": manifest_id, "sidecar": compact(sidecar).decode(),
        "segment": segment(listed), "chunks": [by_name[n][0] for n in used],
        "files": [{"path": b"notes/a", "content": content}, {"path": b"notes/sparse", "content": sparse}],
    })
    write("envelopes.json", {
        "manifest_id": manifest_id, "commitment": commitment, "snapshot_key": snapshot_key, "master_key": master,
        "rsa_pkcs8": pkcs8, "rsa_spki": spki, "recovery_key": recovery, "recovery_public_key": recovery_public,
        "envelopes": envelopes, "other_manifest_id": sha256(b"another manifest"),
    })

    write("escrow.json", escrow(collection, signer.instance, master, recovery, recovery_public))

    salt = fixed("argon2 salt", 16)
    passphrase = "a long passphrase, ä".encode()
    stretched = Argon2id(salt=salt, length=32, iterations=1, lanes=2, memory_cost=8192).derive(passphrase)
    master_file = {"format": "bulbil-keys/1",
                   "passphrase": {"memory_kib": 8192, "passes": 1, "lanes": 2, "salt": salt.hex()},
                   "sealed": b64(vault_seal(stretched, b"key/master", master, fixed("master salt", 24)))}
    peer = Signer(fixed("peer seed"))
    identity, peer_identity = identity_document(signer, "alpha", spki), identity_document(peer, "beta", spki)
    ledger = {
        "format": "bulbil-ledger/1", "feed": fixed("feed", 16).hex(),
        "collections": [{"id": collection.hex(), "name": "notes", "origin": signer.instance.hex(), "settings": {
            "roots": [{"name": "notes", "path": "/home/ada/100%25/n%FFtes"}], "excludes": ["*.tmp"], "level": 3, "padding": "padme"}}],
        "peers": [{"id": peer.instance.hex(), "name": "beta", "address": "http://192.0.2.7:7001",
                   "trust": {"state": "trusted", "scope": {"only": [collection.hex()]}, "role": "mirror", "onward": False},
                   "identity": peer_identity, "follow": True,
                   "granted": {"role": "reader", "onward": True, "collections": ["notes"]}, "added_at": "2026-11-22T00:00:00Z"}],
    }
    things = [
        ("key/identity", b"key/identity", signer.seed), ("key/envelope", b"key/envelope", u64(1) + pkcs8),
        ("key/recovery", b"key/recovery", compact({"format": "bulbil-keys/1", "name": "alpha", "recovery": b64(recovery_public)})),
        ("ledger", b"ledger", compact(ledger)),
        ("chunk/…", b"chunk/" + row[0], row[1] + lookup_name(name_key, b"hello") + u32(5)),
        ("invite/…", b"invite/" + fixed("invite", 16), fixed("invite secret")),
    ]
    write("vault.json", {
        "master_key": master, "passphrase": passphrase.decode(), "master_file": compact(master_file).decode(),
        "things": [{"name": n, "place": p, "plain": d, "sealed": vault_seal(master, p, d, fixed("salt " + n, 24))}
                   for n, p, d in things],
        "instance": signer.instance, "collection": collection, "chunk": row[0], "ledger": compact(ledger).decode(),
    })

    invite = {"v": 1, "n": fixed("invite", 16).hex(), "a": "http://192.0.2.7:7001", "i": signer.instance.hex(),
              "s": fixed("invite secret").hex(), "e": 1795392000, "r": "reader"}
    write("text.json", {
        "recovery": {"key": recovery, "public_key": recovery_public, "text": recovery_text(recovery)},
        "invite": {"json": compact(invite).decode(), "text": invite_text(invite), "inviter": signer.instance, "joiner": peer.instance,
                   "joining_proof": pairing_proof(fixed("invite secret"), b"bulbil/invite/1/join", signer.instance, peer.instance),
                   "inviting_proof": pairing_proof(fixed("invite secret"), b"bulbil/invite/1/host", signer.instance, peer.instance)},
        "words": [{"instance": i, "words": words(i)} for i in (signer.instance, bytes(32), b"\xff" * 32, bytes(range(32)))],
        "identity": identity,
    })


if __name__ == "__main__":
    main()
