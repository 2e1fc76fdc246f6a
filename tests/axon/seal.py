"""Canonical JSON, encryption, manifests and envelopes (spec, sections 2, 3 and 4)."""

import base64
import hashlib
import json
import os

from cryptography.hazmat.primitives import padding
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

import keys

CHUNK_SIZE = 262144


class NoEnvelope(Exception):
    """The manifest has no envelope that the given key opens."""


def canonical(payload):
    """The exact plaintext bytes of a payload (section 4)."""
    return json.dumps(payload, sort_keys=True).encode()


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def encrypt(plaintext, aes_key, iv):
    padder = padding.PKCS7(128).padder()
    padded = padder.update(plaintext) + padder.finalize()
    encryptor = Cipher(algorithms.AES(aes_key), modes.CBC(iv)).encryptor()
    return encryptor.update(padded) + encryptor.finalize()


def decrypt(ciphertext, aes_key, iv):
    """The plaintext; ValueError if the padding or the length is wrong."""
    decryptor = Cipher(algorithms.AES(aes_key), modes.CBC(iv)).decryptor()
    padded = decryptor.update(ciphertext) + decryptor.finalize()
    unpadder = padding.PKCS7(128).unpadder()
    return unpadder.update(padded) + unpadder.finalize()


def seal(plaintext, recipients):
    """Encrypts for the recipients' PEM keys; gives (manifest, chunks) (section 3, steps 1 to 6)."""
    aes_key, iv = os.urandom(32), os.urandom(16)
    ciphertext = encrypt(plaintext, aes_key, iv)
    chunks = [ciphertext[at:at + CHUNK_SIZE] for at in range(0, len(ciphertext), CHUNK_SIZE)]
    manifest = {
        "content_hash": sha256(plaintext),
        "chunk_size": CHUNK_SIZE,
        "chunk_hashes": [sha256(chunk) for chunk in chunks],
        "encryption_iv": base64.b64encode(iv).decode(),
        "encrypted_aes_keys": envelopes(aes_key, recipients),
    }
    return manifest, chunks


def envelopes(aes_key, recipients):
    """An envelope for each PEM key, under its checksum."""
    return {keys.checksum(pem): keys.wrap(keys.load_public(pem), aes_key) for pem in recipients}


def open_key(manifest, private):
    """The AES key from the envelope for this private key. NoEnvelope if there is none that opens."""
    name = keys.checksum(keys.public_text(private))
    wrapped = (manifest.get("encrypted_aes_keys") or {}).get(name)
    if wrapped is None:
        raise NoEnvelope(f"no envelope for {name}")
    try:
        return keys.unwrap(private, wrapped)
    except ValueError as cause:
        raise NoEnvelope(f"the envelope for {name} does not open") from cause


def open_chunks(manifest, chunks, private):
    """The plaintext bytes. Like a real instance it does not compare them with `content_hash` (16.3)."""
    iv = base64.b64decode(manifest["encryption_iv"])
    return decrypt(b"".join(chunks), open_key(manifest, private), iv)


def rekeyed(manifest, private, recipients):
    """The manifest with envelopes for `recipients` only, made from the own one (section 3, re-key)."""
    aes_key = open_key(manifest, private)
    return {**manifest, "encrypted_aes_keys": envelopes(aes_key, recipients)}


def just_in_time(manifest, private, peer_pem):
    """A copy with an envelope for the asking peer, made now if it is missing (section 3)."""
    if keys.checksum(peer_pem) in (manifest.get("encrypted_aes_keys") or {}):
        return dict(manifest)
    aes_key = open_key(manifest, private)
    return {**manifest, "encrypted_aes_keys": {**manifest["encrypted_aes_keys"], **envelopes(aes_key, [peer_pem])}}
