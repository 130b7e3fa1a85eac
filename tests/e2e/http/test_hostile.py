"""Bytes that no proper client sends: ambiguous framing, smuggled requests, broken forms, clients that are slow or idle.

Whatever comes: a refusal or the end of the connection, nothing is done that was not asked for, and others are served."""
import contextlib
import json
import os
import re
import statistics
import threading
import time

import pytest

from client import SCALE, eventually, read
from daemon import DEMO
from wire import Wire

MASK = os.path.join(DEMO, "adapters", "mask")


@pytest.fixture(scope="module")
def acme(daemon):
    return daemon.tenant("acme")


@pytest.fixture
def raw(daemon):
    """raw(bytes): one connection that sends them; whether the daemon closed it, and the answers that came."""

    def run(data, wait=0.3):
        with Wire(daemon) as wire:
            with contextlib.suppress(ConnectionError):
                wire.send(data)
            answers, closed = b"", False
            wire.socket.settimeout(wait * SCALE)
            try:
                while chunk := wire.socket.recv(65536):
                    answers += chunk
                closed = True
            except TimeoutError:
                pass
            except ConnectionResetError:
                closed = True
        return closed, answers

    return run


# ---- framing ----

JSON, SMUGGLED = b'{"id":"framed"}', b'{"id":"smuggled"}'


def post(*headers, body=JSON, version="1.1", host="Host: a\r\n", path="/tenants", key="{key}"):
    """A POST with exactly these headers, to which a hidden second request is appended."""
    head = f"POST {path} HTTP/{version}\r\n{host}Authorization: Bearer {key}\r\n" + "".join(h + "\r\n" for h in headers) + "\r\n"
    return head.encode("latin1") + body


HIDDEN = post(f"Content-Length: {len(SMUGGLED)}", body=SMUGGLED)
CHUNKED = "Transfer-Encoding: chunked"
LENGTH = f"Content-Length: {len(JSON)}"
END = b"0\r\n\r\n"


def chunk(size, data=JSON, end=b"\r\n"):
    return size.encode() + b"\r\n" + data + end


# What is sent, and the statuses that may answer it. All end the connection.
FRAMING = {
    "length twice": (post(LENGTH, LENGTH) + HIDDEN, "400"),
    "two lengths": (post(LENGTH, "Content-Length: 0") + HIDDEN, "400"),
    "two lengths, the other way": (post("Content-Length: 0", LENGTH) + HIDDEN, "400"),
    "a list of lengths": (post(LENGTH + ", 15") + HIDDEN, "400"),
    "length +15": (post("Content-Length: +15") + HIDDEN, "400"),
    "length -15": (post("Content-Length: -15") + HIDDEN, "400"),
    "length 0xf": (post("Content-Length: 0xf") + HIDDEN, "400"),
    "length 1e1": (post("Content-Length: 1e1") + HIDDEN, "400"),
    "length empty": (post("Content-Length: ") + HIDDEN, "400"),
    "length 2^63-1": (post("Content-Length: 9223372036854775807") + HIDDEN, "400 413"),
    "length 2^64+15": (post("Content-Length: 18446744073709551631") + HIDDEN, "413"),
    "length and coding": (post(LENGTH, CHUNKED, body=END) + HIDDEN, "400"),
    "coding and length": (post(CHUNKED, LENGTH, body=END) + HIDDEN, "400"),
    "coding identity": (post("Transfer-Encoding: identity", body=END) + HIDDEN, "400"),
    "coding gzip": (post("Transfer-Encoding: gzip", body=END) + HIDDEN, "400"),
    "coding gzip, chunked": (post("Transfer-Encoding: gzip, chunked", body=END) + HIDDEN, "400"),
    "coding xchunked": (post("Transfer-Encoding: xchunked", body=END) + HIDDEN, "400"),
    "coding twice": (post(CHUNKED, "Transfer-Encoding: identity", body=END) + HIDDEN, "400"),
    "coding with a space in its name": (post("Transfer-Encoding : chunked", body=END) + HIDDEN, "400"),
    "coding with a vertical tab": (post("Transfer-Encoding: \x0bchunked", body=END) + HIDDEN, "400"),
    "coding in HTTP/1.0": (post(CHUNKED, body=END, version="1.0") + HIDDEN, "400"),
    "length with a space in its name": (post(LENGTH.replace(":", " :")) + HIDDEN, "400"),
    "two hosts": (post("Host: b", LENGTH) + HIDDEN, "400"),
    "no host": (post(LENGTH, host="") + HIDDEN, "400"),
    "two keys": (post("Authorization: Bearer x", LENGTH) + HIDDEN, "400"),
    "two types": (post("Content-Type: application/json", "Content-Type: text/plain", LENGTH) + HIDDEN, "400"),
    "two conditions": (post("If-Match: *", 'If-Match: "none"', LENGTH) + HIDDEN, "400"),
    "two other conditions": (post("If-None-Match: *", 'If-None-Match: "none"', LENGTH) + HIDDEN, "400"),
    "a name that is none": (post("X(y): z", LENGTH) + HIDDEN, "400"),
    "a header without colon": (post("nonsense", LENGTH) + HIDDEN, "400"),
    "HTTP/2.0": (post(LENGTH, version="2.0") + HIDDEN, "505"),
    "HTTP/1.2": (post(LENGTH, version="1.2") + HIDDEN, "400"),
    "HTTP/0.9": (b"GET /tenants\r\n\r\n", "400"),
    "the preface of HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "505"),
    "chunk zz": (post(CHUNKED, body=chunk("zz") + END) + HIDDEN, "400"),
    "chunk -1": (post(CHUNKED, body=chunk("-1") + END) + HIDDEN, "400"),
    "chunk +f": (post(CHUNKED, body=chunk("+f") + END) + HIDDEN, "400"),
    "chunk 0xf": (post(CHUNKED, body=chunk("0xf") + END) + HIDDEN, "400"),
    "chunk 2^64+15": (post(CHUNKED, body=chunk("1000000000000000f") + END) + HIDDEN, "413"),
    "chunk empty": (post(CHUNKED, body=chunk("") + END) + HIDDEN, "400"),
    "chunk too short": (post(CHUNKED, body=chunk("5") + END) + HIDDEN, "400"),
    "chunk too long": (post(CHUNKED, body=chunk("11") + END) + HIDDEN, "400"),
    "chunk without its end": (post(CHUNKED, body=chunk("f", end=b"XX") + END) + HIDDEN, "400"),
    "chunk size that ends in LF": (post(CHUNKED, body=b"f\n" + JSON + b"\r\n" + END) + HIDDEN, "400"),
    "chunk extension that ends in LF": (post(CHUNKED, body=b"f;x=\n" + JSON + b"\r\n" + END) + HIDDEN, "400"),
    "chunk that ends in LF": (post(CHUNKED, body=chunk("f", end=b"\n") + END) + HIDDEN, "400"),
    "last chunk that ends in LF": (post(CHUNKED, body=chunk("f") + b"0\n\r\n") + HIDDEN, "400"),
    "chunks that end in LF": (post(CHUNKED, body=chunk("f") + b"0\r\n\n") + HIDDEN, "400"),
    "trailer with a NUL": (post(CHUNKED, body=chunk("f") + b"0\r\nX: a\0b\r\n\r\n") + HIDDEN, "400"),
    "trailer that is folded": (post(CHUNKED, body=chunk("f") + b"0\r\nX: a\r\n b\r\n\r\n") + HIDDEN, "400"),
    "a value with a NUL": (post("X: a\0b", LENGTH) + HIDDEN, "400"),
    "a value that is a NUL": (post("X: \0", LENGTH) + HIDDEN, "400"),
    "a length with a NUL": (post(LENGTH + "\0") + HIDDEN, "400"),
    "a key with a NUL": (post(LENGTH, key="{key}\0x") + HIDDEN, "400"),
    "a name with a NUL": (post("X\0Y: a", LENGTH) + HIDDEN, "400"),
    "a name that begins with a NUL": (post("\0: a", LENGTH) + HIDDEN, "400"),
    "an address with a NUL": (post(LENGTH, path="/tenants\0x") + HIDDEN, "400"),
    "a query with a NUL": (post(LENGTH, path="/tenants?\0") + HIDDEN, "400"),
    "an address with a control character": (post(LENGTH, path="/tenants\x01") + HIDDEN, "400"),
    "a version with a NUL": (post(LENGTH, version="1.1\0") + HIDDEN, "400 505"),
    "a value with a control character": (post("X: a\x0cb", LENGTH) + HIDDEN, "400"),
    "a folded value": (post("X: a\r\n b", LENGTH) + HIDDEN, "400"),
    "a folded value that looks like a length": (post("X: a\r\n Content-Length: 0", LENGTH) + HIDDEN, "400"),
    "a folded length": (post("Content-Length:\r\n 15") + HIDDEN, "400"),
    "a folded name": (post("Content-Length\r\n : 15") + HIDDEN, "400"),
    "a first header that is folded": (post(LENGTH, host=" X: a\r\nHost: a\r\n") + HIDDEN, "400"),
    "a folded tab": (post("X: a\r\n\tb", LENGTH) + HIDDEN, "400"),
    "an empty line that is folded": (post("X: a\r\n ", LENGTH) + HIDDEN, "400"),
    "a header that ends in LF": (post("X: a\nY: b", LENGTH) + HIDDEN, "400"),
    "a header that ends in CR": (post("X: a\rY: b", LENGTH) + HIDDEN, "400"),
    "a length that ends in LF": (post(LENGTH + "\nX: a") + HIDDEN, "400"),
    "headers that end in LF": (post(LENGTH).replace(b"\r\n\r\n", b"\r\n\n") + HIDDEN, "400"),
    "a request line that ends in LF": (post(LENGTH).replace(b"\r\n", b"\n", 1) + HIDDEN, "400"),
    "lines that end in LF": (post(LENGTH).replace(b"\r\n", b"\n") + HIDDEN, "400"),
    "one long header": (post("X: " + 100000 * "a", LENGTH) + HIDDEN, "431"),
    "many headers": (post(*10000 * ["X: a"], LENGTH) + HIDDEN, "431"),
    "a long address": (post(LENGTH, path="/" + 100000 * "a") + HIDDEN, "414"),
    "a long query": (post(LENGTH, path="/tenants?x=" + 100000 * "a") + HIDDEN, "414"),
}


@pytest.mark.parametrize("name", FRAMING)
def test_framing_that_two_could_read_differently(daemon, raw, name):
    data, statuses = FRAMING[name]
    closed, answers = raw(data.replace(b"{key}", daemon.admin_key.encode()))
    found = re.match(rb"HTTP/1\.1 (\d+)", answers)
    assert found and found.group(1).decode() in statuses.split(), answers
    assert closed, "nothing that follows can be trusted"
    made = [name for name in ("framed", "smuggled") if daemon.client().delete(f"/tenants/{name}").status == 204]
    assert made == []


def head_of(value):
    """A short name for a test with long bytes."""
    return repr(value[:24]) if isinstance(value, bytes) else value


@pytest.mark.parametrize("data", [
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500),  # TLS
    bytes(70000), 70000 * b"\xff", 70000 * b"\n", 70000 * b"A", b"\r\n\r\n\r\n",
    b"GET /tenants HTTP/1.1\rHost: a\r\r", b" GET /tenants HTTP/1.1\r\nHost: a\r\n\r\n", b"GET\t/tenants\tHTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET /tenants HTTP/1.1 HTTP/1.1\r\nHost: a\r\n\r\n", b"/tenants GET HTTP/1.1\r\nHost: a\r\n\r\n",
], ids=head_of)
def test_what_is_not_http(daemon, raw, data):
    _, answers = raw(data)
    assert b"HTTP/1.1 2" not in answers
    assert daemon.client().get("/healthz").status == 200


def test_framing_that_is_unusual_and_right(daemon, raw):
    """Chunks with extensions and trailers, an absolute address, white space around values, empty lines before a request."""

    def created(data):
        _, answers = raw(data.replace(b"{key}", daemon.admin_key.encode()))
        assert answers.startswith(b"HTTP/1.1 201"), answers
        assert daemon.client().delete("/tenants/framed").status == 204

    created(post(CHUNKED, body=chunk('f;name="value"') + b"0\r\nTrailer: x\r\n\r\n"))
    created(post(CHUNKED.replace("chunked", "Chunked"), body=b"".join(chunk("1", bytes([b])) for b in JSON) + END))
    created(post(CHUNKED, body=chunk("00000000F") + END))
    created(post("content-length:  15", path="http://other/tenants"))
    created(b"\r\n\r\n" + post(LENGTH))


def test_pipelining(daemon, acme):
    """Requests sent at once are answered one by one, in their order; a refusal of one does not confuse the next."""
    with Wire(daemon) as wire:
        for i in range(50):
            wire.request("POST", "/infer", {"prompt": f"Hello {i}", "max_tokens": 2}, acme.key)
            wire.request("GET", f"/adapters/none-{i}", key=acme.key)
            wire.request("GET", "/nowhere", b"a body that nobody wants")
            wire.request("POST", "/infer", {"prompt": f"Hello {i}", "max_tokens": 2, "stream": True}, acme.key)
            wire.request("POST", "/tokenize", {"text": f"{i}"}, "wrong-key")
        for i in range(50):
            assert wire.answer().status == 200
            answer = wire.answer()
            assert answer.status == 404 and f"none-{i}" in answer.body.decode()
            assert wire.answer().status == 404
            assert wire.answer().body.endswith(b"data: [DONE]\n\n")
            assert wire.answer().status == 401


@pytest.mark.parametrize("cut", [1, 40, 75, 90])
def test_a_malformed_request_behind_good_ones(daemon, acme, cut):
    """In one packet or in two: those before it are answered, it is refused, and nothing behind it is looked at."""
    bad = f"POST /tenants HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {daemon.admin_key}\r\nX: a\0b\r\nContent-Length: {len(JSON)}\r\n\r\n"
    with Wire(daemon) as wire:
        wire.request("POST", "/infer", {"prompt": "Hello", "max_tokens": 20}, acme.key)
        wire.send(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n" + bad.encode()[:cut])
        time.sleep(0.05)
        wire.send(bad.encode()[cut:] + JSON + b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n")
        assert wire.answer().status == 200 and wire.answer().status == 200
        refused = wire.answer()
        assert (refused.status, refused.code, refused.headers["Connection"]) == (400, "invalid_request", "close")
        assert "NUL" in refused.json["error"]["message"] and wire.ended()
    assert daemon.client().get("/tenants/framed").status == 404


def test_what_a_malformed_chunk_comes_after_is_not_done(daemon, acme):
    """The chunks before it were taken; their request is refused all the same, and others go on."""
    for ending in (b"1\n}\r\n0\r\n\r\n", b"1\r\n}\n0\r\n\r\n", b"1\r\n}\r\n0\n\r\n"):
        with Wire(daemon) as wire:
            wire.send(f"POST /tenants HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {daemon.admin_key}\r\nTransfer-Encoding: chunked\r\n\r\n")
            wire.send(b"e\r\n" + JSON[:-1] + b"\r\n")
            time.sleep(0.05)
            wire.send(ending)
            assert wire.file.readline().startswith(b"HTTP/1.1 400")
        assert daemon.client().get("/tenants/framed").status == 404


# ---- bodies ----

def test_expect_continue(daemon, acme):
    """A refusal comes before the body; otherwise the client is told to go on."""
    with Wire(daemon) as wire:
        wire.send(f"POST /infer HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {acme.key}\r\nExpect: 100-continue\r\nContent-Length: 50\r\n\r\n")
        assert wire.file.readline() == b"HTTP/1.1 100 Continue\r\n" and wire.file.readline() == b"\r\n"
        wire.send(json.dumps({"prompt": "a", "max_tokens": 1}).ljust(50))
        assert wire.answer().status == 200
    for head, status in (("Authorization: Bearer wrong\r\nContent-Length: 30", 401),
                         (f"Authorization: Bearer {acme.key}\r\nContent-Length: 2000000", 413)):
        with Wire(daemon) as wire:
            wire.send(f"POST /infer HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n{head}\r\n\r\n")
            assert wire.answer().status == status


def test_a_refusal_is_heard_while_the_body_is_still_sent(daemon, acme):
    """Bodies of 64 MiB that are refused at their beginning: the answer arrives, whether the client goes on sending or not."""
    for head, status in (("Authorization: Bearer wrong\r\nContent-Length: 67108864", 401),
                         (f"Authorization: Bearer {acme.key}\r\nContent-Length: 67108864", 413),
                         (f"Authorization: Bearer {acme.key}\r\nTransfer-Encoding: chunked", 413)):
        with Wire(daemon) as wire:
            wire.send(f"POST /infer HTTP/1.1\r\nHost: a\r\n{head}\r\n\r\n")
            with contextlib.suppress(ConnectionError):
                for _ in range(64):
                    wire.send(b"100000\r\n" + bytes(1 << 20) + b"\r\n" if "chunked" in head else bytes(1 << 20))
            assert wire.answer().status == status


@pytest.mark.parametrize("body, code", [
    (b"[" * 100 + b"]" * 100, "invalid_json"),
    (b'{"a":' * 100 + b"1" + b"}" * 100, "unknown_field"),
    (b'{"prompt":' * 100 + b"1" + b"}" * 100, "invalid_type"),
    (b'{"prompt":' * 5000 + b"1" + b"}" * 5000, "invalid_json"),
    (b"[" * 500000, "invalid_json"),
    (b"[1," * 300000, "invalid_json"),
    (b'{"prompt": NaN}', "invalid_json"),
    (b'{"temperature": Infinity, "prompt": "a"}', "invalid_json"),
    (b'{"tokens": [' + b"1e400," * 100000 + b"1]}", "invalid_json"),
    (b'{"tokens": [' + b"99999999999999999999," * 40000 + b"1]}", "invalid_json"),
    (b'{"prompt": "\xff\xfe"}', "invalid_json"),
    (b'{"prompt": "\xc0\x80"}', "invalid_json"),
    (b'{"prompt": "\xed\xa0\x80"}', "invalid_json"),
    (b'{"prompt": "\\ud800"}', "invalid_json"),
    (b'{"prompt": "a"}x', "invalid_json"),
    (b'{"prompt": "a",}', "invalid_json"),
    (b"{'prompt': 'a'}", "invalid_json"),
    (b'{"prompt": "a" /* */}', "invalid_json"),
    (b'{"prompt": "a", "seed": 0123}', "invalid_json"),
    (b'{"prompt": "\n"}', "invalid_json"),
    (b'{"prompt": "a", "prompt": "a"}', "invalid_json"),
    (b'{"prompt\\u0000": "a"}', "invalid_json"),
    (bytes(100), "invalid_json"),
    (b'{"prompt": "' + b"\\\\" * 500000 + b'"}', "prompt_too_long"),
    (b'{"prompt": "' + b"\\u0000" * 170000 + b'"}', "prompt_too_long"),
    (b'{"prompt": "' + b"<|im_start|>" * 80000 + b'"}', "prompt_too_long"),
    (b'{"prompt": "' + b"a" * 1000000 + b'"}', "prompt_too_long"),
    (b'{"prompt": "' + b"\xcc\x81" * 500000 + b'"}', "prompt_too_long"),
    (b'{"prompt": "a", "stop": [' + b'"a",' * 200000 + b'"a"]}', "out_of_range"),
    (b'{"' + b"x" * 1000000 + b'": 1}', "unknown_field"),
], ids=head_of)
def test_bodies_of_infer_that_are_hostile(acme, body, code):
    began = time.monotonic()
    answer = acme.request("POST", "/infer", body)
    assert answer.status == 400 and answer.code == code, answer
    assert len(answer.body) < 1000 and time.monotonic() - began < 2 * SCALE


def test_large_bodies_at_once(daemon, acme):
    """Twenty bodies of a mebibyte that are dear to parse: memory comes back, others are served."""
    body = b'{"prompt":"a","x":[' + b",".join([b"{}"] * 349000) + b"]}"
    assert len(body) < 1 << 20
    acme.request("POST", "/infer", body)
    memory = daemon.memory()
    answers = []
    threads = [threading.Thread(target=lambda: answers.append(acme.request("POST", "/infer", body))) for _ in range(20)]
    for t in threads:
        t.start()
    slowest = max(timed(lambda: acme.get("/adapters")) for _ in range(20))
    for t in threads:
        t.join()
    assert {answer.code for answer in answers} <= {"unknown_field", "overloaded"}
    assert slowest < 1 * SCALE
    assert daemon.memory() - memory < 100 << 20 or SCALE != 1


# ---- forms ----

def form(*parts, boundary="x", end=True):
    """A form of (headers, content)."""
    body = b"".join(f"--{boundary}\r\n{head}\r\n\r\n".encode("latin1") + content + b"\r\n" for head, content in parts)
    return body + (f"--{boundary}--\r\n".encode() if end else b"")


def part(name, content=b"y", more=""):
    return f'Content-Disposition: form-data; name="{name}"{more}', content


CONFIG = part("config", read(os.path.join(MASK, "adapter_config.json")), '; filename="a"')
WEIGHTS = part("weights", read(os.path.join(MASK, "adapter_model.safetensors")), '; filename="b"')
WHOLE = form(part("name"), CONFIG, WEIGHTS)

FORMS = {
    "empty": (b"", "multipart_malformed"),
    "no boundary at all": (b"nonsense", "multipart_malformed"),
    "only the end": (b"--x--\r\n", "missing_part"),
    "cut in the weights": (WHOLE[:-5000], "multipart_malformed"),
    "cut before the last boundary": (form(part("name"), CONFIG, WEIGHTS, end=False), "multipart_malformed"),
    "cut in the last boundary": (WHOLE[:-3], "multipart_malformed"),
    "cut in a header": (form(part("name"))[:-5] + b"\r\n--x\r\nContent-Dispo", "multipart_malformed invalid_name"),
    "text before the first part": (b"hello\r\n" + WHOLE, None),
    "text behind the end": (WHOLE + b"hello", None),
    "a thousand parts": (form(*[part(f"p{i}") for i in range(1000)]), "unknown_part"),
    "a thousand names": (form(*1000 * [part("name")]), "duplicate_part"),
    "a header of 100 kB": (form((f"X: {100000 * 'a'}\r\n" + part("name")[0], b"y")), "multipart_malformed"),
    "a thousand headers": (form((1000 * "X: y\r\n" + part("name")[0], b"y")), "multipart_malformed"),
    "a part without headers": (form(("", b"y")), "multipart_malformed"),
    "a part without a name": (form(("Content-Disposition: form-data", b"y")), "multipart_malformed"),
    "a name that is not closed": (form(('Content-Disposition: form-data; name="name', b"y")), "multipart_malformed"),
    "a name of 10 kB": (form(part(10000 * "n")), "multipart_malformed unknown_part"),
    "a name with a NUL": (form(part("na\0me")), "multipart_malformed unknown_part"),
    "another disposition": (form(('Content-Disposition: attachment; name="name"', b"y")), "multipart_malformed"),
    "a boundary that only begins": (b"--xx\r\n\r\n--xx--\r\n", "multipart_malformed"),
    "a nested form": (form((part("name")[0] + "\r\nContent-Type: multipart/mixed; boundary=z", b"--z\r\n\r\ny\r\n--z--")), "invalid_name "
                      "missing_part multipart_malformed"),
    "a coded part": (form((part("name")[0] + "\r\nContent-Transfer-Encoding: base64", b"eQ==")), "multipart_malformed missing_part invalid_name"),
}


@pytest.mark.parametrize("name", FORMS)
@pytest.mark.parametrize("chunked", [False, True])
def test_forms_that_are_broken(daemon, acme, name, chunked):
    body, codes = FORMS[name]
    before = daemon.files()
    # Chunked: in pieces of odd sizes, so that each boundary falls apart somewhere.
    sent = (body[i : i + 977] for i in range(0, len(body), 977)) if chunked else body
    answer = acme.request("POST", "/adapters", Pieces(sent) if chunked else sent, {"Content-Type": "multipart/form-data; boundary=x"})
    if codes is None:
        assert answer.status in (201, 400), answer
        acme.delete("/adapters/y")
    else:
        assert answer.status == 400 and answer.code in codes.split(), answer
    assert acme.get("/adapters").json["data"] == []
    eventually(lambda: daemon.files() == before)


class Pieces:
    """An iterable that http.client sends in chunks."""

    def __init__(self, pieces):
        self.pieces = pieces

    def __iter__(self):
        return iter(self.pieces)

    def read(self, *ignored):
        return next(self.pieces, b"")


def test_uploads_that_are_left(daemon, acme):
    """Clients that go in the middle of an upload: their files go too, and their places are free again."""
    before = daemon.files()
    head = (f"POST /adapters HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {acme.key}\r\nContent-Type: multipart/form-data; boundary=x\r\n"
            f"Content-Length: {len(WHOLE)}\r\n\r\n").encode()
    for i in range(30):
        wire = Wire(daemon)
        wire.send(head + WHOLE[: 1000 + i * 12000])
        if i % 3:
            time.sleep(0.01)
        wire.close() if i % 2 else wire.reset()
    eventually(lambda: daemon.files() == before)
    assert acme.request("POST", "/adapters", WHOLE, {"Content-Type": "multipart/form-data; boundary=x"}).status == 201
    assert acme.delete("/adapters/y").status == 204


def test_what_is_no_name_is_refused_before_the_weights_have_come(daemon, acme):
    with Wire(daemon) as wire:
        wire.send(f"POST /adapters HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {acme.key}\r\n"
                  f"Content-Type: multipart/form-data; boundary=x\r\nContent-Length: {1 << 30}\r\n\r\n")
        wire.send(form(part("name", b"No Name"), part("weights", 300000 * b"x", '; filename="w"'), end=False))
        answer = wire.answer()
        assert (answer.status, answer.code) == (400, "invalid_name"), answer


def test_more_uploads_than_places(daemon, acme):
    """Eight of a tenant at a time; the ninth is told to come again, and can when one has ended. Others have places all the time."""
    head = (f"POST /adapters HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {acme.key}\r\nContent-Type: multipart/form-data; boundary=x\r\n"
            f"Content-Length: {len(WHOLE)}\r\n\r\n").encode()
    eventually(lambda: not any("tmp" in name for name in daemon.files()))
    time.sleep(1)  # the places of clients that left before are given back
    with contextlib.ExitStack() as closing:
        wires = [closing.enter_context(Wire(daemon)) for _ in range(8)]
        for wire in wires:
            wire.send(head + WHOLE[:300000])
        eventually(lambda: sum("tmp" in name for name in daemon.files()) >= 16)  # two files each
        with Wire(daemon) as ninth:
            ninth.send(head + WHOLE)
            answer = ninth.answer()
            assert (answer.status, answer.code) == (429, "too_many_uploads") and answer.headers["Retry-After"]
        other = daemon.tenant("other-uploads")
        assert other.request("POST", "/adapters", WHOLE, {"Content-Type": "multipart/form-data; boundary=x"}).status == 201
        for wire in wires:
            wire.send(WHOLE[300000:])
            assert wire.answer().status in (200, 201)
        assert acme.request("POST", "/adapters", WHOLE, {"Content-Type": "multipart/form-data; boundary=x"}).status == 200
    assert acme.delete("/adapters/y").status == 204


def test_large_bodies_of_one_tenant_leave_room_for_those_of_others(daemon, acme):
    """Bodies of a mebibyte that never end: beyond 64 MiB they are refused, and nobody else's are."""
    part = b'{"text":"' + 1048000 * b"x"
    other = daemon.tenant("other-bodies")
    with contextlib.ExitStack() as closing:

        def hold():
            wire = closing.enter_context(Wire(daemon))
            wire.send(f"POST /tokenize HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {acme.key}\r\nContent-Length: 1048570\r\n\r\n")
            with contextlib.suppress(ConnectionError):
                wire.send(part)

        for _ in range(64):
            hold()
        for _ in range(64):  # where there was room for one more, it is taken
            refused = acme.post("/tokenize", {"text": 1048000 * "x"})
            if refused.status != 200:
                break
            hold()
        assert (refused.status, refused.code) == (429, "tenant_queue_full"), refused.code
        for client in (other, daemon.client()):
            answer = client.post("/tokenize", {"text": 1000000 * "x", "tenant": "other-bodies"})
            assert answer.status == 200, answer
    eventually(lambda: acme.post("/tokenize", {"text": 1000000 * "x"}).status == 200)


def timed(function):
    began = time.monotonic()
    assert function().status == 200
    return time.monotonic() - began


# ---- clients that are slow, idle, many ----

def trickle(wire, data, every):
    """One byte at a time; ends when the daemon does not take it any more."""

    def run():
        with contextlib.suppress(OSError, ValueError):
            for byte in data:
                wire.send(bytes([byte]))
                time.sleep(every)

    threading.Thread(target=run, daemon=True).start()


def test_slow_clients_are_cut_off_and_a_healthy_one_does_not_notice(daemon, acme):
    """Headers must be there in 5 seconds, a small body in 10; while dozens are slow, a proper request takes no longer."""
    quiet = statistics.median(timed(lambda: acme.infer(prompt="Hello", max_tokens=4)) for _ in range(20))
    head = f"POST /infer HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {acme.key}\r\n".encode()
    slow = {
        "says nothing": (b"", None, 5),
        "begins a request line": (b"GET /hea", None, 5),
        "trickles headers": (b"", head + 200 * b"X: y\r\n", 5),
        "never ends its headers": (head, None, 5),
        "never sends its body": (head + b"Content-Length: 100\r\n\r\n", None, 10),
        "trickles its body": (head + b"Content-Length: 1000\r\n\r\n", 1000 * b" ", 10),
        "trickles chunks": (head + b"Transfer-Encoding: chunked\r\n\r\n", 200 * b"1\r\n \r\n", 10),
    }
    with contextlib.ExitStack() as closing:
        wires = {}
        began = time.monotonic()
        for name, (data, rest, _) in slow.items():
            wires[name] = [closing.enter_context(Wire(daemon)) for _ in range(10)]
            for wire in wires[name]:
                wire.send(data)
                if rest:
                    trickle(wire, rest, 0.2)
        ended, waits = {}, []
        while time.monotonic() - began < 16 * SCALE and len(ended) < len(slow):
            waits.append(timed(lambda: acme.infer(prompt="Hello", max_tokens=4)))
            for name in set(wires) - set(ended):
                if all(not wire.silent(0) for wire in wires[name]):
                    ended[name] = time.monotonic() - began
            time.sleep(0.02)
        assert set(ended) == set(slow), "still open: " + ", ".join(set(slow) - set(ended))
        for name, seconds in ended.items():
            assert slow[name][2] - 0.5 < seconds < slow[name][2] + 2 * SCALE, (name, seconds)
    assert statistics.median(waits) < 3 * quiet + 0.02 * SCALE


def test_500_idle_connections(daemon, acme):
    """They cost little memory and no time of others."""
    before, descriptors = daemon.memory(), daemon.descriptors()
    with contextlib.ExitStack() as closing:
        wires = [closing.enter_context(Wire(daemon)) for _ in range(500)]
        for wire in wires[::2]:  # half of them have been used
            wire.request("GET", "/healthz")
        for wire in wires[::2]:
            assert wire.answer().status == 200
        assert daemon.descriptors() >= descriptors + 500
        for _ in range(20):
            assert timed(lambda: acme.infer(prompt="Hello", max_tokens=2)) < 1 * SCALE
        assert daemon.memory() - before < 60 << 20 or SCALE != 1
    eventually(lambda: daemon.descriptors() <= descriptors + 2)


def test_a_thousand_connections_one_after_another(daemon):
    descriptors = daemon.descriptors()
    for i in range(1000):
        wire = Wire(daemon)
        if i % 3:
            wire.send(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n"[: i % 40])
        wire.reset() if i % 2 else wire.close()
    eventually(lambda: daemon.descriptors() <= descriptors + 2)
    assert daemon.anonymous().get("/healthz").status == 200


# ---- other ways in ----

def test_the_data_directory_is_for_the_daemon_alone(daemon):
    assert os.stat(daemon.data).st_mode & 0o777 == 0o700
    assert os.stat(os.path.join(daemon.data, "admin.key")).st_mode & 0o777 == 0o600


def test_log_lines_cannot_be_forged(daemon):
    with Wire(daemon) as wire:
        wire.send(b"GET /a\x1b[31m\x7f\"\\ HTTP/1.1\r\nHost: a\r\n\r\n")
        wire.answer()
    for line in daemon.read_log().splitlines():
        assert re.match(r"\d{4}-\d\d-\d\dT\S+Z \S+", line), line
        assert line.isprintable()
