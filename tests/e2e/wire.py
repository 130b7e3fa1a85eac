"""Connections at the level of bytes, for what a proper HTTP client would never send, or not read."""
import http.client
import json
import select
import socket

from client import SCALE, Answer


class Wire:
    """One TCP connection to a daemon."""

    def __init__(self, daemon, timeout=30, receive_buffer=None):
        host, port = daemon.address.rsplit(":", 1)
        self.socket = socket.socket()
        if receive_buffer is not None:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.settimeout(timeout * SCALE)
        self.socket.connect((host, int(port)))
        self.file = self.socket.makefile("rb")

    def __enter__(self):
        return self

    def __exit__(self, *ignored):
        self.close()

    def close(self):
        self.file.close()
        self.socket.close()

    def reset(self):
        """Close with a reset instead of a proper end."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
        self.close()

    def send(self, data):
        self.socket.sendall(data if isinstance(data, bytes) else data.encode())

    def request(self, method, path, body=None, key=None, headers=()):
        """Send a proper request, and do not read its answer."""
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode()
        lines = [f"{method} {path} HTTP/1.1", "Host: test", *headers]
        lines += [f"Authorization: Bearer {key}"] if key else []
        lines += [f"Content-Length: {len(body)}"] if body is not None else []
        self.send("\r\n".join(lines).encode() + b"\r\n\r\n" + (body or b""))

    def answer(self, method="GET"):
        """The next answer on this connection."""
        response = self.head(method)
        return Answer(response.status, response.headers, response.read())

    def head(self, method="GET"):
        """The next answer without its body, which .file has."""

        class Unclosed:
            """http.client makes a file of its own, which would swallow what comes behind the answer."""

            def __init__(self, file):
                self.file = file

            def makefile(self, *ignored):
                return self.file

        response = http.client.HTTPResponse(Unclosed(Kept(self.file)), method=method)
        response.begin()
        return response

    def ended(self, timeout=30):
        """True when the daemon closes the connection in that time without a further byte."""
        self.socket.settimeout(timeout * SCALE)
        try:
            return self.file.read(1) == b""
        except ConnectionResetError:
            return True
        except TimeoutError:
            return False

    def silent(self, seconds):
        """True when nothing comes for that long."""
        return not select.select([self.socket], [], [], seconds)[0]


class Kept:
    """A file that http.client cannot close."""

    def __init__(self, file):
        self.file = file

    def __getattr__(self, name):
        return getattr(self.file, name)

    def close(self):
        pass
