"""An instance of Bulbil for tests: a home of its own, and a server that listens on this machine only."""

import json
import os
import pty
import re
import signal
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

PROGRAM = os.environ["BULBIL"]
PATIENCE_S = 60
PASSWORD = "a lamp by the western gate"


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Instance:
    """Stops its server when the `with` block ends."""

    def __init__(self, scratch: Path, name: str):
        self.folder = scratch / name
        self.folder.mkdir(parents=True)
        self.home = self.folder / "home"
        self.name = name
        self.log = self.folder / "server.log"
        self.log.touch()
        self.server = None
        self.run("init", "--name", name)

    def run(self, *words, good=(0,)):
        """Runs a command; what it printed."""
        env = {**os.environ, "BULBIL_HOME": str(self.home), "NO_COLOR": "1"}
        done = subprocess.run([PROGRAM, *words], env=env, cwd=self.folder, text=True, capture_output=True, timeout=PATIENCE_S)
        if done.returncode not in good:
            raise AssertionError(f"bulbil {' '.join(words)} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
        return done.stdout

    def serve(self):
        self.peer_port, self.admin_port = free_port(), free_port()
        env = {**os.environ, "BULBIL_HOME": str(self.home), "NO_COLOR": "1"}
        command = [PROGRAM, "serve", "--direct", f"127.0.0.1:{self.peer_port}", "--admin", f"127.0.0.1:{self.admin_port}"]
        # The link for the first login is shown on a terminal only.
        terminal, shown = pty.openpty()
        self.server = subprocess.Popen(command, env=env, cwd=self.folder, stdin=subprocess.DEVNULL, stdout=shown, stderr=shown)
        os.close(shown)
        threading.Thread(target=self._write_down, args=(terminal,), daemon=True).start()
        self.wait("the server to answer", self._answers)
        return self

    def _write_down(self, terminal):
        """Everything that the server says, until it ends."""
        with open(self.log, "ab") as log:
            while True:
                try:
                    said = os.read(terminal, 65536)
                except OSError:
                    said = b""
                if not said:
                    return os.close(terminal)
                log.write(said.replace(b"\r\n", b"\n"))
                log.flush()

    def _answers(self):
        if self.server.poll() is not None:
            raise AssertionError(f"the server ended:\n{self.log.read_text()}")
        try:
            with urllib.request.urlopen(self.url("/healthz"), timeout=5) as answer:
                return answer.status == 200
        except (urllib.error.URLError, ConnectionError):
            return False

    def wait(self, what, condition):
        """Waits for a condition, and answers what it gave."""
        until = time.monotonic() + PATIENCE_S
        while time.monotonic() < until:
            found = condition()
            if found:
                return found
            time.sleep(0.05)
        raise AssertionError(f"waited in vain for {what}; the server said:\n{self.log.read_text()}")

    def url(self, path):
        return f"http://127.0.0.1:{self.admin_port}{path}"

    def token(self):
        return (self.home / "keys" / "admin-token").read_text().strip()

    def api(self, path):
        """What the API answers to a GET."""
        request = urllib.request.Request(self.url(path), headers={"Authorization": f"Bearer {self.token()}"})
        with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:
            return json.load(answer)

    def setup_link(self):
        """The path of the link that the server printed for its first login."""
        def printed():
            found = re.search(r"http://[^/\s]+(/setup\S*)", self.log.read_text())
            return found and found.group(1)
        return self.wait("the link for the first login", printed)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.server and self.server.poll() is None:
            self.server.send_signal(signal.SIGINT)
            try:
                self.server.wait(20)
            except subprocess.TimeoutExpired:
                self.server.kill()
                self.server.wait()
