"""Checks the test peer: against the fixtures of the real system, if they are there, and two peers
against each other. `python3 selftest.py [FIXTURES]`; without the argument `../shared/fixtures/axon`
beside the project is used if it exists. Prints a line a check; the exit code is 1 if one fails.
"""

import os
import sys
import tempfile
import time
import traceback

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import check_fixtures
import check_peers
import keys


class KeyPool:
    """Hands out the same keys to each check, each once: making RSA keys is most of the time here."""

    def __init__(self):
        self.made, self.used, self.generate = {}, {}, keys.generate

    def next(self, bits=2048):
        made, used = self.made.setdefault(bits, []), self.used.get(bits, 0)
        if used == len(made):
            made.append(self.generate(bits))
        self.used[bits] = used + 1
        return made[used]


def find_fixtures():
    if len(sys.argv) > 1:
        return sys.argv[1]
    project = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    found = os.path.join(os.path.dirname(project), "shared", "fixtures", "axon")
    return found if os.path.isdir(found) else None


def main():
    failed, started = [], time.monotonic()
    pool = KeyPool()
    keys.generate = pool.next
    fixtures = find_fixtures()
    if fixtures is None:
        print("no fixtures found: only the peers are checked against each other")
    checks = [(check, fixtures) for check in check_fixtures.CHECKS if fixtures] + [(check, None) for check in check_peers.CHECKS]
    for check, argument in checks:
        pool.used = {}
        began = time.monotonic()
        with tempfile.TemporaryDirectory() as scratch:
            try:
                check(scratch, argument) if argument else check(scratch)
                print(f"ok      {check.__name__} ({time.monotonic() - began:.1f} s)")
            except Exception:
                failed.append(check.__name__)
                print(f"FAILED  {check.__name__}")
                traceback.print_exc()
    print(f"{len(checks) - len(failed)} of {len(checks)} checks passed in {time.monotonic() - started:.1f} s")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
