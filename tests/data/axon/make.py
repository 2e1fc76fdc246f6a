"""Makes 1/extra.json: further vectors for Axon BBS formats, from their description alone (cryptography and json of Python).

    python3 make.py > 1/extra.json

Keys and envelopes are drawn anew at each run, so the file differs each time; the one that is kept is never edited. Made with
Python 3.11 and cryptography 48.
"""

import base64
import hashlib
import json
import os
import random
import struct
import sys

from cryptography.fernet import Fernet
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.padding import PKCS7

b64 = lambda b: base64.b64encode(b).decode()
sha = lambda b: hashlib.sha256(b).hexdigest()
SPKI = serialization.PublicFormat.SubjectPublicKeyInfo
PEM = serialization.Encoding.PEM


def stored(public):
    return public.public_bytes(PEM, SPKI).decode().strip()


def private_pem(key, form):
    return key.private_bytes(PEM, form, serialization.NoEncryption()).decode()


def signature(key, text, salt, once=False):
    digest = hashlib.sha256(text.encode()).digest()
    message = text.encode() if once else digest
    pss = padding.PSS(mgf=padding.MGF1(hashes.SHA256()), salt_length=salt)
    return key.sign(message, pss, hashes.SHA256())


def seal(payload, keys):
    plain = json.dumps(payload, sort_keys=True).encode()
    aes, iv = os.urandom(32), os.urandom(16)
    padder = PKCS7(128).padder()
    padded = padder.update(plain) + padder.finalize()
    enc = Cipher(algorithms.AES(aes), modes.CBC(iv)).encryptor()
    cipher = enc.update(padded) + enc.finalize()
    chunks = [cipher[i:i + 262144] for i in range(0, len(cipher), 262144)]
    oaep = padding.OAEP(mgf=padding.MGF1(hashes.SHA256()), algorithm=hashes.SHA256(), label=None)
    wrapped = {
        hashlib.md5(stored(k.public_key()).encode()).hexdigest(): b64(k.public_key().encrypt(aes, oaep)) for k in keys
    }
    return {
        "manifest": {
            "content_hash": sha(plain), "chunk_size": 262144, "chunk_hashes": [sha(c) for c in chunks],
            "encryption_iv": b64(iv), "encrypted_aes_keys": wrapped,
        },
        "chunks_b64": [b64(c) for c in chunks],
        "aes_key_hex": aes.hex(),
        "plaintext_b64": b64(plain),
    }


def forms(text):
    value = json.loads(text)
    out = {
        "input": text, "canonical": json.dumps(value, sort_keys=True), "line": json.dumps(value),
        "indented": json.dumps(value, indent=2),
    }
    try:
        raw = json.dumps(value, ensure_ascii=False)
        raw.encode()
        out["raw"] = raw
    except UnicodeEncodeError:
        pass  # a lone surrogate has no UTF-8
    return out


def main():
    rng = random.Random(20261121)
    keys = [rsa.generate_private_key(65537, bits) for bits in (2048, 3072, 4096)]
    text = "2026-03-04T05:06:07.000008+00:00"
    out = {"keys": [], "signatures": [], "sealed": [], "json": [], "floats": []}
    for key in keys:
        public = stored(key.public_key())
        out["keys"].append({
            "bits": key.key_size,
            "pkcs8": private_pem(key, serialization.PrivateFormat.PKCS8),
            "pkcs1": private_pem(key, serialization.PrivateFormat.TraditionalOpenSSL),
            "public": public,
            "public_pkcs1": key.public_key().public_bytes(PEM, serialization.PublicFormat.PKCS1).decode(),
            "md5": hashlib.md5(public.encode()).hexdigest(),
        })
        maximum = key.key_size // 8 - 34
        cases = [(f"salt {salt}", signature(key, text, salt), True) for salt in (0, 1, 20, 32, 64, maximum - 1, maximum)]
        good = cases[-1][1]
        cases += [
            ("hashed once", signature(key, text, maximum, once=True), False),
            ("a bit flipped", bytes([good[0], good[1] ^ 1]) + good[2:], False),
            ("cut", good[:-1], False),
            ("a zero byte in front", b"\0" + good, False),
            ("the modulus added", (int.from_bytes(good, "big") + key.public_key().public_numbers().n).to_bytes(
                len(good) + 1, "big")[-len(good):], False),
            ("zeros", bytes(len(good)), False),
        ]
        for name, sig, valid in cases:
            out["signatures"].append({
                "case": name, "bits": key.key_size, "valid": valid, "timestamp": text,
                "pubkey": b64(public.encode()), "signature": b64(sig),
            })
    payloads = [
        {"type": "message", "subject": "\ud800 lone", "body": "\U0001f600\u007f\u0085\u2028", "board": "b", "pubkey": None},
        {"type": "applet_data", "applet_id": "9d00d0d2-1d37-40f1-a77f-3ab115289799", "owner_pubkey": "", "data": [1e16, -0.0, 2**70]},
        {"type": "file", "filename": "f", "content_type": "text/plain", "size": 0, "data": ""},
        {"type": "applet_code", "code": "x" * 400},
    ]
    out["sealed"] = [seal(payload, keys) for payload in payloads]
    out["json"] = [forms(text) for text in (
        r'{"\ud83d\ude00":1,"\uff5e":2,"\ud800":3,"\udc00x":4,"":5}', r'"\ud83d\ud83d\ude00\ude00"', r'"\uD83D\u0041/\/"',
        ' [ NaN , Infinity,\t-Infinity,\r\n1e999, -1e999, 1e-999 ] ', '{"a":{"b":[[],{},[{}],{"c":[]}]},"a":{"z":1,"y":[2]}}',
        '[0,-0,-0.0,0.0,0e5,1E2,1.5e+3,-2.50,100,1e2]', '"é\u007f\u0080\ud7ff\ue000\uffff"', '{"é":"\\u0000\\u001f\\"\\\\"}',
        str(10**4299), '"' + "".join(map(chr, range(0x20, 0x180))).replace("\\", "\\\\").replace('"', '\\"') + '"', "null",
    )]
    numbers = [float(f"{m}e{e}") for m in (1, 9.999999999999999, 1.2345, 123456789) for e in range(-8, 23)]
    numbers += [struct.unpack("<d", struct.pack("<Q", rng.getrandbits(64)))[0] for _ in range(400)]
    numbers += [rng.uniform(-1, 1) * 10 ** rng.randint(-6, 18) for _ in range(300)]
    numbers += [5e-324, 2.2250738585072014e-308, 1.7976931348623157e308, 2.0**53, 2.0**63, 0.1, 1 / 3]
    out["floats"] = [
        {"bits": struct.pack(">d", n).hex(), "text": json.dumps(n)} for n in numbers if n == n and abs(n) != float("inf")
    ]
    secret = "a SECRET_KEY whose 32nd byte is here, and more: \u00e9"
    fernet = Fernet(base64.urlsafe_b64encode(secret.encode()[:32]))
    pem = private_pem(keys[1], serialization.PrivateFormat.PKCS8).encode()
    out["fernet"] = {"secret_key": secret, "token": fernet.encrypt(pem).decode(), "plaintext": pem.decode()}
    json.dump(out, sys.stdout, indent=1)
    print()


main()
