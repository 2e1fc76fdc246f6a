"""Moments as text, in the forms that an Axon BBS uses (spec, sections 6, 7.2 and 13.2)."""

from datetime import datetime, timedelta, timezone

FIRST_SINCE = "0001-01-01T00:00:00+00:00"


def now():
    """The present moment, in UTC."""
    return datetime.now(timezone.utc)


def iso(moment):
    """ISO 8601 with microseconds and `+00:00`; no fraction if it is exactly zero (section 6)."""
    return moment.astimezone(timezone.utc).isoformat()


def iso_now():
    return iso(now())


def parse(text):
    """Reads what Python 3.11's `fromisoformat` reads; without a zone it is UTC (sections 6, 7.2).

    ValueError for other text, OverflowError for year 1 with a positive offset."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        return moment.replace(tzinfo=timezone.utc)
    return moment.astimezone(timezone.utc)


def fixture(text):
    """A stored moment as Django's fixtures write it: milliseconds and `Z` (section 13.2)."""
    if text is None:
        return None
    moment = parse(text).replace(tzinfo=None)
    if moment.microsecond:
        return moment.isoformat(timespec="milliseconds") + "Z"
    return moment.isoformat() + "Z"


def database(text):
    """A stored moment as Django writes it into SQLite: a space, no zone."""
    if text is None:
        return None
    return parse(text).replace(tzinfo=None).isoformat(sep=" ")


def earlier(text, minutes):
    return iso(parse(text) - timedelta(minutes=minutes))
