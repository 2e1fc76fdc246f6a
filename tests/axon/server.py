"""The HTTP side of a serving peer (spec, sections 6 and 7): plain, threaded, HTTP/1.1 keep-alive."""

import base64
import itertools
import json
import os
import threading
import time
from datetime import timedelta
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote

import answers
import keys
import times
from defects import Defects
from instance import Instance

WINDOW = timedelta(minutes=5)
KNOWN_HOSTS = {"localhost", "127.0.0.1", "0.0.0.0"}


class TwoRows(Exception):
    """Two trusted rows have the same key: every request of that peer fails with 500 (16.1 no. 17)."""


def authenticate(instance, method, headers, body, now):
    """The stored key text of the asking peer, or None; checks in the order of section 6."""
    if headers.get("Authorization"):
        return None
    if method == "POST":
        return _authenticate_post(instance, body)
    if method != "GET":
        return None
    try:
        pem = base64.b64decode(headers.get("X-Pubkey", "")).decode()
        timestamp = headers["X-Timestamp"]
        signature = base64.b64decode(headers["X-Signature"])
        if abs(now - times.parse(timestamp)) > WINDOW:
            return None
        stored = keys.stored_form(pem.strip())
    except (KeyError, TypeError, ValueError, OverflowError):
        return None
    if not _trusted(instance, stored):
        return None
    return stored if keys.verify_timestamp(keys.load_public(stored), timestamp, signature) else None


def _authenticate_post(instance, body):
    """A POST with a signature over `content_hash`, hashed once, passes the check (section 6)."""
    try:
        fields = json.loads(body)
        stored = keys.stored_form(fields["sender_pubkey"])
        signature = base64.b64decode(fields["signature"])
        text = fields["content_hash"].encode()
    except (KeyError, TypeError, ValueError, AttributeError):
        return None
    if not _trusted(instance, stored):
        return None
    return stored if keys.verify(keys.load_public(stored), text, signature) else None


def _trusted(instance, stored):
    rows = [row for row in instance.trusted_peers() if row["pubkey"] == stored]
    if len(rows) > 1:
        raise TwoRows
    return bool(rows)


class Peer:
    """What is served: the instance, read again when its state changes, and the defects."""

    def __init__(self, folder, defects=(), frontend=False):
        self.folder, self.names, self.frontend = folder, list(defects), frontend
        self.lock = threading.Lock()
        self.stamp = None
        self.refresh()

    def refresh(self):
        with self.lock:
            status = os.stat(os.path.join(self.folder, "state.json"))
            stamp = (status.st_mtime_ns, status.st_size, status.st_ino)
            if stamp != self.stamp:
                self.instance = Instance.load(self.folder)
                if self.stamp is None:
                    self.defects = Defects(self.instance, self.names)
                self.defects.instance = self.instance
                self.stamp = stamp

    def answer(self, method, target, headers, body):
        """The answer to one request."""
        self.refresh()
        path, _, query = target.partition("?")
        path = unquote(path)
        host = headers.get("Host", "").rsplit(":", 1)[0].lower()
        if host not in KNOWN_HOSTS | {self.instance.state["onion_address"] or "localhost"}:
            return answers.html(400)
        routes = answers.ROUTES + (answers.HOSTILE_ROUTES if self.defects.extra else [])
        route = next(((match, auth, call) for pattern, auth, call in routes
                      if (match := pattern.fullmatch(path))), None)
        if route is None:
            # The final slash is missing, or there is no such path: the web front end answers
            return answers.html(200 if self.frontend else 500)
        match, needs_key, call = route
        if not acceptable(headers.get("Accept", "*/*")):
            return answers.tight({"detail": "Could not satisfy the request Accept header."}, 406)
        asker = None
        if needs_key:
            try:
                asker = authenticate(self.instance, method, headers, body, times.now())
            except TwoRows:
                return answers.html(500)
            if asker is None:
                return answers.tight({"detail": "Authentication credentials were not provided."}, 401,
                                     [("WWW-Authenticate", 'Bearer realm="api"')])
        if method not in ("GET", "HEAD"):
            return answers.tight({"detail": f'Method "{method}" not allowed.'}, 405)
        self.defects.wait(path)
        return call(self, query, asker, *match.groups())


def acceptable(accept):
    kinds = {part.split(";")[0].strip() for part in accept.split(",")}
    return bool(kinds & {"*/*", "application/json", "application/*", ""})


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Headers and body go out in two writes: without this each answer on a kept connection takes 40 ms
    disable_nagle_algorithm = True

    def setup(self):
        super().setup()
        self.connection_number = next(self.server.connections)

    def serve_one(self):
        started = time.monotonic()
        asked = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        try:
            answer = self.server.peer.answer(self.command, self.path, self.headers, asked)
        except Exception as error:
            self.log_error("%r", error)
            answer = answers.html(500)
        body = b"" if self.command == "HEAD" else answer.body[:answer.cut]
        # Before the answer goes out: who has the answer finds the line in the log
        self.server.log({
            "time": times.iso_now(), "method": self.command, "path": self.path, "status": answer.status,
            "bytes": len(body), "connection": self.connection_number, "ms": round((time.monotonic() - started) * 1000, 1),
            "headers": {name: self.headers[name] for name in ("Host", "User-Agent", "Connection", "Range", "X-Timestamp")
                        if name in self.headers},
        })
        self.write(answer, body)
        if answer.cut is not None:
            self.close_connection = True

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = serve_one

    def write(self, answer, body):
        """Writes the answer with the headers of a real instance, and as much of its body as is given."""
        page = answer.content_type == answers.HTML
        self.send_response_only(answer.status)
        self.send_header("Date", formatdate(usegmt=True))
        self.send_header("Server", "WSGIServer/0.2 CPython/3.11.7")
        if answer.content_type:
            self.send_header("Content-Type", answer.content_type)
        for name, value in answer.headers:
            self.send_header(name, value)
        if not page:
            self.send_header("Vary", "Accept, origin, Cookie")
            self.send_header("Allow", "GET, HEAD, OPTIONS")
        self.send_header("X-Frame-Options", "DENY")
        if self.command != "HEAD":
            self.send_header("Content-Length", str(len(answer.body)))
        if page:
            self.send_header("Vary", "origin, Cookie")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Referrer-Policy", "same-origin")
        self.send_header("Cross-Origin-Opener-Policy", "same-origin")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format, *args):
        """Requests are in requests.jsonl; nothing goes to stderr."""


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def __init__(self, folder, port=0, defects=(), frontend=False):
        super().__init__(("127.0.0.1", port), Handler)
        self.peer = Peer(folder, defects, frontend)
        self.connections = itertools.count(1)
        self.log_lock = threading.Lock()
        self.log_path = os.path.join(folder, "requests.jsonl")

    @property
    def port(self):
        return self.server_address[1]

    def log(self, line):
        with self.log_lock, open(self.log_path, "a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")

    def handle_error(self, request, client_address):
        """A client that goes away is nothing to report."""

    def start(self):
        """Serves on a thread of its own, for tests in one process."""
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()
        return self
