"""What schemathesis may send: paths of a machine that runs tests stay inside the scratch folder."""

import os

import schemathesis

SCRATCH = os.environ["SCRATCH"]
# Fields of bodies that name a folder or a file of the server's machine.
PATHS = {"target", "output", "into", "path", "folder", "folders", "roots", "to", "place", "destination"}


def confined(value, name=""):
    """The same, with every path replaced by one in the scratch folder."""
    if isinstance(value, dict):
        return {key: confined(inner, key) for key, inner in value.items()}
    if isinstance(value, list):
        return [confined(inner, name) for inner in value]
    if isinstance(value, str) and name in PATHS:
        return f"{SCRATCH}/made/{len(value)}"
    return value


@schemathesis.hook
def before_call(context, case, kwargs):
    case.body = confined(case.body)
