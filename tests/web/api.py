"""Sends an instance what its description allows, and what it does not: no answer may be a fault of the server's, or not described.

    BULBIL=target/debug/bulbil SCRATCH=/tmp/x target/tools/web/bin/python tests/web/api.py
"""

import json
import os
import subprocess
import sys
from pathlib import Path

from instance import Instance

SECONDS = 60
CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"
# An answer that does not end as long as something goes on; and what makes the server start again in the middle of it all.
APART = r".*/(events|rotations)$"


def main():
    scratch = Path(os.environ["SCRATCH"])
    with Instance(scratch, "api") as instance:
        data = instance.folder / "notes"
        data.mkdir()
        (data / "a.txt").write_text("a\n")
        instance.run("collection", "add", "notes", str(data))
        instance.run("backup", "notes")
        instance.serve()
        instance.run("openapi", "--output", str(scratch / "openapi"))
        description = scratch / "openapi" / "bulbil-admin.json"
        operations = sum(len(path) for path in json.loads(description.read_text())["paths"].values())
        # One worker: with two, Python's own compiler fails now and then ("recursion depth mismatch"), and fewer cases are tried.
        command = [
            str(Path(sys.executable).parent / "st"), "run", str(description), "--url", instance.url(""),
            "-H", f"Authorization: Bearer {instance.token()}", "--checks", CHECKS, "--exclude-path-regex", APART,
            "--seed", "7", "--max-examples", "15", "--max-time", str(SECONDS), "--workers", "1", "--request-timeout", "20",
            "--generation-database", "none", "--suppress-health-check", "all", "--continue-on-failure", "--no-color",
        ]
        env = {**os.environ, "SCHEMATHESIS_HOOKS": "hooks", "PYTHONPATH": str(Path(__file__).parent)}
        done = subprocess.run(command, env=env, cwd=scratch)
        # Whatever was sent, it runs, and still has what it had.
        assert instance.api("/admin/v1/status")["name"] == "api"
        if "panicked" in instance.log.read_text():
            sys.exit("FAILED: the server's log tells of a panic")
        print(f"api: {operations} operations described")
        sys.exit(done.returncode)


if __name__ == "__main__":
    main()
