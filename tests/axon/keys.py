"""RSA keys, their text forms and names, and request signatures (spec, sections 1 and 6)."""

import base64
import functools
import hashlib
import re

from cryptography.fernet import Fernet
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

PEM_BLOCK = re.compile(r"-----BEGIN [A-Z ]*PUBLIC KEY-----(.*?)-----END [A-Z ]*PUBLIC KEY-----", re.S)


def generate(bits=2048):
    """A fresh RSA key with exponent 65537 (section 1.1). It does not depend on any seed."""
    return rsa.generate_private_key(public_exponent=65537, key_size=bits)


def public_text(key):
    """The stored form: SPKI PEM without the last newline (section 1.1)."""
    public = key.public_key() if hasattr(key, "private_bytes") else key
    pem = public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    return pem.decode().strip()


def private_text(key):
    """PKCS#8 PEM with a final newline (section 1.1)."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()


@functools.lru_cache(maxsize=64)
def load_private(text):
    """Reads a PEM private key; kept, since checking the primes takes long."""
    return serialization.load_pem_private_key(text.encode(), password=None)


@functools.lru_cache(maxsize=256)
def load_public(text):
    """Reads a PEM public key in each form that section 1.2 lists. ValueError if it is none."""
    block = PEM_BLOCK.search(text)
    if not block:
        raise ValueError("this is not a PEM public key")
    try:
        return serialization.load_der_public_key(base64.b64decode(block.group(1)))
    except Exception as cause:
        raise ValueError("this PEM public key cannot be read") from cause


def stored_form(text):
    """Parses a PEM public key and writes it again in the stored form (section 1.1)."""
    return public_text(load_public(text))


def checksum(text):
    """The name of a key inside manifests: MD5 of its normalised text (section 1.2)."""
    if not text:
        return "None"
    try:
        normal = stored_form(text)
    except ValueError:
        normal = text.strip()
    return hashlib.md5(normal.encode()).hexdigest()


def short_id(text, digits=8):
    """The first digits of SHA-256 of the key text as given, not normalised (section 1.4)."""
    return hashlib.sha256(text.encode()).hexdigest()[:digits]


def fernet(secret_key):
    """The Fernet that seals the instance key at rest: first 32 bytes of SECRET_KEY (section 1.3)."""
    raw = secret_key.encode()[:32]
    if len(raw) < 32:
        raise ValueError("SECRET_KEY is shorter than 32 bytes, the identity cannot start")
    return Fernet(base64.urlsafe_b64encode(raw))


def wrap(public, aes_key):
    """RSA-OAEP with SHA-256 and MGF1-SHA-256, empty label (section 3, step 6); standard base64."""
    return base64.b64encode(public.encrypt(aes_key, _oaep())).decode()


def unwrap(private, wrapped):
    return private.decrypt(base64.b64decode(wrapped), _oaep())


def _oaep():
    return padding.OAEP(mgf=padding.MGF1(hashes.SHA256()), algorithm=hashes.SHA256(), label=None)


def sign_timestamp(private, text, salt_length=padding.PSS.MAX_LENGTH):
    """X-Signature: PSS over SHA-256 of the timestamp, which PSS hashes again (section 6)."""
    digest = hashlib.sha256(text.encode()).digest()
    pss = padding.PSS(mgf=padding.MGF1(hashes.SHA256()), salt_length=salt_length)
    return base64.b64encode(private.sign(digest, pss, hashes.SHA256())).decode()


def verify(public, message, signature):
    """Whether PSS with any salt length holds over `message`, which is hashed once here."""
    pss = padding.PSS(mgf=padding.MGF1(hashes.SHA256()), salt_length=padding.PSS.AUTO)
    try:
        public.verify(signature, message, pss, hashes.SHA256())
        return True
    except Exception:
        return False


def verify_timestamp(public, text, signature):
    return verify(public, hashlib.sha256(text.encode()).digest(), signature)


def auth_headers(private, timestamp):
    """The three headers of a peer's request, in the order of a real instance (section 6)."""
    return [
        ("X-Pubkey", base64.b64encode(public_text(private).encode()).decode()),
        ("X-Timestamp", timestamp),
        ("X-Signature", sign_timestamp(private, timestamp)),
    ]
