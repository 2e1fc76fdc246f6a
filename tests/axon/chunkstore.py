"""The chunk store on disk (spec, section 10)."""

import base64
import json
import os
import shutil

import seal


class ChunkStore:
    """`<root>/<content_hash>/<i>.chunk`, raw ciphertext, and `.manifest` once read completely."""

    def __init__(self, root):
        self.root = root

    def folder(self, content_hash):
        return os.path.join(self.root, content_hash)

    def write_all(self, content_hash, chunks):
        """Writes an item as it is created: no `.manifest` yet. Overwrites what is there."""
        for index, chunk in enumerate(chunks):
            self.write(content_hash, index, chunk)

    def write(self, content_hash, index, chunk):
        os.makedirs(self.folder(content_hash), exist_ok=True)
        with open(os.path.join(self.folder(content_hash), f"{index}.chunk"), "wb") as file:
            file.write(chunk)

    def read(self, content_hash, index):
        """The chunk's bytes, or None if it is not there."""
        try:
            with open(os.path.join(self.folder(content_hash), f"{index}.chunk"), "rb") as file:
                return file.read()
        except (FileNotFoundError, NotADirectoryError):
            return None

    def has(self, content_hash, index):
        return os.path.exists(os.path.join(self.folder(content_hash), f"{index}.chunk"))

    def complete(self, manifest):
        """Whether every chunk file exists; their hashes are not looked at (section 8.4, step 2)."""
        return all(self.has(manifest["content_hash"], index) for index in range(len(manifest["chunk_hashes"])))

    def forget_other_iv(self, manifest):
        """Removes the whole folder if the cached `.manifest` has another IV (sections 8.4 and 10)."""
        path = os.path.join(self.folder(manifest["content_hash"]), ".manifest")
        try:
            with open(path, encoding="utf-8") as file:
                cached = json.load(file)
        except (FileNotFoundError, ValueError):
            return False
        if cached.get("encryption_iv") == manifest.get("encryption_iv"):
            return False
        shutil.rmtree(self.folder(manifest["content_hash"]))
        return True

    def remember(self, manifest):
        """Writes `.manifest`: one line, no final newline (section 10)."""
        path = os.path.join(self.folder(manifest["content_hash"]), ".manifest")
        with open(path, "w", encoding="utf-8") as file:
            file.write(json.dumps(manifest))

    def open(self, manifest, private):
        """Reads and decrypts an item. FileNotFoundError if a chunk is missing."""
        return seal.open_chunks(manifest, self.ciphertext(manifest), private)

    def ciphertext(self, manifest):
        chunks = [self.read(manifest["content_hash"], index) for index in range(len(manifest["chunk_hashes"]))]
        if None in chunks:
            raise FileNotFoundError(f"chunk {chunks.index(None)} of {manifest['content_hash']}")
        return chunks

    def count(self):
        """How many chunk files each folder has."""
        if not os.path.isdir(self.root):
            return {}
        return {
            name: sum(entry.endswith(".chunk") for entry in os.listdir(self.folder(name)))
            for name in sorted(os.listdir(self.root))
        }


def iv_bytes(manifest):
    return base64.b64decode(manifest["encryption_iv"])
