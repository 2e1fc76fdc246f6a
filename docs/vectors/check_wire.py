#!/usr/bin/env python3
"""Checks tests/data/wire/1 against docs/protocol.md, and against nothing else: the signed request, the signed answer, the stream of chunks.

    pip install cryptography
    python3 docs/vectors/check_wire.py
"""

import base64
import hashlib
import json
import struct
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

DATA = Path(__file__).parents[2] / "tests/data/wire/1"


def b64(data):
    return base64.b64encode(data).decode()


def key(n):
    return Ed25519PrivateKey.from_private_bytes(bytes([n]) * 32)


def instance(n):
    return hashlib.sha256(key(n).public_key().public_bytes_raw()).hexdigest()


def digest(body):
    return f"sha-256=:{b64(hashlib.sha256(body).digest())}:"


def request():
    made = json.loads((DATA / "request.json").read_text())
    body, nonce, created = made["body"].encode(), b64(b"\x09" * 16), 1795327200
    params = (
        '("@method" "@authority" "@path" "@query" "content-digest" "bulbil-instance")'
        f';created={created};expires={created + 120};nonce="{nonce}";keyid="{instance(1)}";alg="ed25519";tag="bulbil-peer-1"'
    )
    base = "\n".join([
        f'"@method": {made["method"]}', f'"@authority": {made["authority"]}', f'"@path": {made["path"]}', f'"@query": ?{made["query"]}',
        f'"content-digest": {digest(body)}', f'"bulbil-instance": {instance(2)}', f'"@signature-params": {params}',
    ])
    assert made["content_digest"] == digest(body)
    assert made["bulbil_instance"] == instance(2)
    assert made["signature_input"] == f"sig1={params}"
    assert made["signature"] == f"sig1=:{b64(key(1).sign(base.encode()))}:"


def answer():
    made, body, nonce = json.loads((DATA / "answer.json").read_text()), b"{}", b64(b"\x09" * 16)
    params = (
        '("@status" "content-digest" "bulbil-nonce")'
        f';created=1795327200;keyid="{instance(2)}";alg="ed25519";tag="bulbil-peer-1-response"'
    )
    base = "\n".join(['"@status": 200', f'"content-digest": {digest(body)}', f'"bulbil-nonce": {nonce}', f'"@signature-params": {params}'])
    assert made == [digest(body), nonce, f"sig1={params}", f"sig1=:{b64(key(2).sign(base.encode()))}:"]


def frames():
    heads, stream = b"", b"BLBF\x01"
    for kind, name, content in [(1, b"chunk", b"chunk"), (2, struct.pack(">Q", 1), b""), (1, b"", b"")]:
        head = bytes([kind]) + hashlib.sha256(name).digest() + struct.pack(">I", len(content))
        heads += head
        stream += head + content
    stream += b"\x03" + hashlib.sha256(heads).digest() + struct.pack(">I", 3)
    assert stream.hex() == (DATA / "frames.hex").read_text().strip()


if __name__ == "__main__":
    request()
    answer()
    frames()
    print("the wire's golden files are what docs/protocol.md says")
