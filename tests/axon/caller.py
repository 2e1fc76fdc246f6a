"""Signed calls to peers as a real instance makes them (spec, sections 6 and 14): a TCP connection a
request, no range, `python-requests` headers. Through SOCKS5 if a proxy is given, else directly."""

import http.client
import socket
import struct
from urllib.parse import urlsplit

import keys
import times

# Header names and values as captured from real pullers; Accept-Encoding is the only one left out,
# since this client does not unpack
PLAIN_HEADERS = [("User-Agent", "python-requests/2.32.3"), ("Accept", "*/*"), ("Connection", "keep-alive")]


class CallFailed(Exception):
    """A network error, a timeout or a body cut short."""


class Reply:
    def __init__(self, status, content_type, body):
        self.status, self.content_type, self.body = status, content_type, body


class Caller:
    def __init__(self, instance, socks=None):
        self.instance, self.socks = instance, socks

    def get(self, base_url, target, timeout=120, signed=True):
        """One GET. `target` begins with `/api/…` and is sent as it is."""
        url = urlsplit(base_url if "://" in base_url else "http://" + base_url)
        connection = http.client.HTTPConnection(url.hostname, url.port or 80, timeout=timeout)
        try:
            if self.socks:
                connection.sock = socks5(self.socks, url.hostname, url.port or 80, timeout)
            connection.putrequest("GET", url.path.rstrip("/") + target, skip_accept_encoding=True)
            headers = list(PLAIN_HEADERS)
            if signed:
                headers += keys.auth_headers(self.instance.private, times.iso_now())
            for name, value in headers:
                connection.putheader(name, value)
            connection.endheaders()
            response = connection.getresponse()
            return Reply(response.status, response.headers.get("Content-Type"), response.read())
        except (OSError, http.client.HTTPException) as error:
            raise CallFailed(f"{target}: {error!r}") from error
        finally:
            connection.close()


def socks5(proxy, host, port, timeout):
    """A stream through a SOCKS5 proxy without authentication; the name goes to the proxy (section 14)."""
    proxy_host, _, proxy_port = proxy.rpartition(":")
    stream = socket.create_connection((proxy_host, int(proxy_port)), timeout)
    stream.sendall(b"\x05\x01\x00")
    if _exactly(stream, 2) != b"\x05\x00":
        raise OSError("the SOCKS proxy wants authentication")
    try:
        address = b"\x01" + socket.inet_aton(host) if host.count(".") == 3 else None
    except OSError:
        address = None
    address = address or b"\x03" + bytes([len(host)]) + host.encode()
    stream.sendall(b"\x05\x01\x00" + address + struct.pack(">H", port))
    _, status, _, kind = _exactly(stream, 4)
    if status:
        raise OSError(f"the SOCKS proxy answered {status}")
    _exactly(stream, {1: 4, 4: 16}.get(kind) or _exactly(stream, 1)[0])
    _exactly(stream, 2)
    return stream


def _exactly(stream, count):
    data = b""
    while len(data) < count:
        piece = stream.recv(count - len(data))
        if not piece:
            raise OSError("the SOCKS proxy hung up")
        data += piece
    return data
