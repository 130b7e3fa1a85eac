"""A small HTTP client for the tests: http.client, JSON, multipart forms and server-sent events; nothing hidden."""
import http.client
import json
import os
import time
import urllib.parse
import uuid

# Sanitized daemons are slow: every wait of the tests is multiplied by this.
SCALE = float(os.environ.get("ADAPTERD_TIMEOUT_SCALE", "1"))


class Answer:
    """Status, headers (case-insensitive get) and the whole body of one answer."""

    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    @property
    def json(self):
        return json.loads(self.body)

    @property
    def code(self):
        """The stable code of an error answer; None when the answer is no error object."""
        try:
            return self.json["error"]["code"]
        except (ValueError, KeyError, TypeError):
            return None

    def __repr__(self):
        return f"<{self.status} {self.body[:600]!r}>"


def form_body(parts):
    """A multipart body of (name, value, filename or None) and its content type. A value is text or bytes."""
    boundary = uuid.uuid4().hex
    body = b""
    for name, value, filename in parts:
        value = value.encode() if isinstance(value, str) else value
        head = f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"'
        if filename is not None:
            head += f'; filename="{filename}"\r\nContent-Type: application/octet-stream'
        body += head.encode() + b"\r\n\r\n" + value + b"\r\n"
    return body + f"--{boundary}--\r\n".encode(), f"multipart/form-data; boundary={boundary}"


class Client:
    """Requests to one daemon under one key (None: none is sent). Each request has a connection of its own."""

    def __init__(self, address, key=None, timeout=60):
        self.host, port = address.rsplit(":", 1)
        self.port, self.key, self.timeout = int(port), key, timeout * SCALE

    def with_key(self, key):
        return Client(f"{self.host}:{self.port}", key, self.timeout / SCALE)

    def open(self, method, path, body=None, headers=None):
        """Send and return (connection, response) with the body still unread; the caller closes the connection."""
        headers = dict(headers or {})
        if self.key is not None:
            headers.setdefault("Authorization", f"Bearer {self.key}")
        if body is not None and not isinstance(body, (bytes, str)) and not hasattr(body, "read"):
            body = json.dumps(body).encode()
        if body is not None:
            headers.setdefault("Content-Type", "application/json")
        connection = http.client.HTTPConnection(self.host, self.port, timeout=self.timeout)
        try:
            connection.request(method, path, body=body, headers=headers)
            return connection, connection.getresponse()
        except BaseException:
            connection.close()
            raise

    def request(self, method, path, body=None, headers=None):
        """`body`: bytes or text as they are, anything else as JSON."""
        connection, response = self.open(method, path, body, headers)
        try:
            return Answer(response.status, response.headers, response.read())
        finally:
            connection.close()

    def get(self, path, **query):
        return self.request("GET", path + ("?" + urllib.parse.urlencode(query) if query else ""))

    def post(self, path, body):
        return self.request("POST", path, body)

    def patch(self, path, body, headers=None):
        return self.request("PATCH", path, body, headers)

    def delete(self, path, **query):
        return self.request("DELETE", path + ("?" + urllib.parse.urlencode(query) if query else ""))

    def infer(self, **fields):
        return self.post("/infer", fields)

    def events(self, path="/infer", **fields):
        """POST with stream: yields every event as (event name or None, object); "[DONE]" as (None, "[DONE]")."""
        connection, response = self.open("POST", path, {**fields, "stream": True})
        try:
            assert response.status == 200, Answer(response.status, response.headers, response.read())
            name = None
            for line in iter(response.readline, b""):
                line = line.decode().rstrip("\r\n")
                if line.startswith("event:"):
                    name = line[6:].strip()
                elif line.startswith("data:"):
                    data = line[5:].strip()
                    yield name, data if data == "[DONE]" else json.loads(data)
                    name = None
        finally:
            connection.close()

    def upload(self, directory=None, config=None, weights=None, **fields):
        """POST /adapters with a PEFT directory, or with `config` and `weights` as bytes; `fields`: tenant, name, activate."""
        if directory is not None:
            config = read(os.path.join(directory, "adapter_config.json"))
            weights = read(os.path.join(directory, "adapter_model.safetensors"))
        parts = [(k, v, None) for k, v in fields.items() if v is not None]
        parts += [("config", config, "adapter_config.json")] if config is not None else []
        parts += [("weights", weights, "adapter_model.safetensors")] if weights is not None else []
        body, kind = form_body(parts)
        return self.request("POST", "/adapters", body, {"Content-Type": kind})


def read(path):
    with open(path, "rb") as f:
        return f.read()


def eventually(condition, seconds=10):
    """Wait for what follows an answer: an upload's files go when its request is put away, which is a moment later."""
    deadline = time.monotonic() + seconds * SCALE
    while not condition():
        assert time.monotonic() < deadline, "it did not come to be"
        time.sleep(0.02)
