"""What the console is served with, and the status that it shows: files, headers, the stream, who sees what."""
import gzip
import json
import os
import re
import socket
import threading
import time

import pytest

from client import SCALE
from daemon import ROOT

WEB = os.path.join(ROOT, "web")
FILES = sorted(os.path.relpath(os.path.join(d, f), WEB) for d, _, names in os.walk(WEB) for f in names)


def eventually(look, seconds=20):
    deadline = time.monotonic() + seconds * SCALE
    while not look():
        assert time.monotonic() < deadline
        time.sleep(0.05)


class Stream:
    """GET /status?stream=true over a socket of its own."""

    def __init__(self, client):
        host, port = client.host if hasattr(client, "host") else "127.0.0.1", client.port
        self.socket = socket.create_connection((host, port), timeout=20 * SCALE)
        self.socket.sendall(f"GET /status?stream=true HTTP/1.1\r\nHost: {host}:{port}\r\nAuthorization: Bearer {client.key}\r\n\r\n".encode())
        self.file = self.socket.makefile("rb")
        self.status = int(self.file.readline().split()[1])

    def event(self):
        """The next one; None: the stream is over."""
        for line in self.file:
            if line.startswith(b"data: "):
                return json.loads(line[6:])
            if line == b"0\r\n":  # the last chunk; the connection itself stays
                break
        return None

    def close(self):
        self.file.close()
        self.socket.close()


# ---- files ----

def test_all_files_fit_into_300_kb_compressed():
    sizes = {name: len(gzip.compress(open(os.path.join(WEB, name), "rb").read(), 9)) for name in FILES}
    assert sum(sizes.values()) <= 300_000, sizes


@pytest.mark.parametrize("name", FILES)
def test_a_file_is_served_as_it_is_and_compressed(daemon, name):
    content = open(os.path.join(WEB, name), "rb").read()
    path = "/console" if name == "index.html" else "/console/" + name
    plain = daemon.anonymous().request("GET", path)
    packed = daemon.anonymous().request("GET", path, headers={"Accept-Encoding": "br, gzip"})
    assert plain.status == packed.status == 200
    assert plain.body == content and gzip.decompress(packed.body) == content
    assert packed.headers["Content-Encoding"] == "gzip" and "Content-Encoding" not in plain.headers
    assert plain.headers["ETag"] != packed.headers["ETag"]
    for answer in (plain, packed):
        assert answer.headers["X-Content-Type-Options"] == "nosniff" and answer.headers["Referrer-Policy"] == "no-referrer"
        assert answer.headers["Vary"] == "Accept-Encoding" and answer.headers["Cache-Control"] == "no-cache"
        policy = answer.headers["Content-Security-Policy"]
        assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'") and "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
    again = daemon.anonymous().request("GET", path, headers={"Accept-Encoding": "gzip", "If-None-Match": packed.headers["ETag"]})
    assert again.status == 304 and again.body == b"" and again.headers["ETag"] == packed.headers["ETag"]


@pytest.mark.parametrize("accept, packed", [("gzip", True), ("GZIP", True), ("deflate, gzip;q=1.0", True), ("x-gzip", True), ("gzip;q=0", False), ("gzip; q=0.0", False),
                                            ("identity", False), ("", False), ("notgzip", False)])
def test_what_is_accepted_is_sent(daemon, accept, packed):
    answer = daemon.anonymous().request("GET", "/console/style.css", headers={"Accept-Encoding": accept})
    assert (answer.headers.get("Content-Encoding") == "gzip") == packed


@pytest.mark.parametrize("path", ["/console/nothing.js", "/console/vendor/nothing", "/console/vendor", "/console/..", "/console/%2e%2e", "/console/vendor/app.js"])
def test_there_are_no_other_files(daemon, path):
    assert daemon.anonymous().request("GET", path).status == 404


def test_pages_ask_for_nothing_from_elsewhere_and_write_no_markup():
    """By their sources: no address of another host but names of namespaces, no inline script or style, no data as markup."""
    for name in FILES:
        text = open(os.path.join(WEB, name), encoding="utf-8").read()
        if name.startswith("vendor/"):
            continue
        others = [u for u in re.findall(r"https?://[\w.]+", text) if u not in ("http://www.w3.org", "https://www.w3.org")]
        assert not others, (name, others)
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|srcdoc", text), name
        if name.endswith(".html"):
            assert not re.search(r"<script>|\son\w+=|style=|<style", text), name


# ---- the status ----

def test_an_admin_sees_the_whole_daemon(daemon):
    status = daemon.client().get("/status").json
    assert status["caller"] == {"role": "admin", "tenant": None, "key": "admin"}
    assert status["base"]["model"] == "demo" and status["base"]["context_length"] > 0 and status["memory"]["weights"] > 0
    eventually(lambda: daemon.client().get("/status").json["memory"]["resident"] > 0)
    assert status["batch"]["running_max"] > 0 and status["stored"]["tenants"] >= 0


def long_run(client, **more):
    """A request that runs until it is stopped."""
    stop = threading.Event()

    def run():
        while not stop.is_set():
            client.infer(prompt="Hello", max_tokens=200, ignore_eos=True, **more)

    thread = threading.Thread(target=run)
    thread.start()
    return lambda: (stop.set(), thread.join())


def test_a_tenant_sees_what_is_its_own(daemon):
    own, other = daemon.tenant("own-status"), daemon.tenant("other-status")
    end = long_run(other)
    try:
        eventually(lambda: any(r["tenant"] == "other-status" for r in daemon.client().get("/status").json["running"]))
        seen = {}
        eventually(lambda: seen.update(other.get("/status").json) or (seen["rates"]["decode_tokens_per_s"] > 0 and seen["running"]))
        assert [(r["tenant"], r["adapter"]) for r in seen["running"]] == [("other-status", None)] and seen["batch"] == {"running": 1}
        assert seen["latency_ms"]["first_token"]["count"] > 0
        hidden = own.get("/status").json
        assert hidden["running"] == [] and hidden["batch"] == {"running": 0} and hidden["rates"]["decode_tokens_per_s"] == 0
        assert hidden["latency_ms"]["first_token"] == {"p50": None, "p99": None, "count": 0}
        assert not {"memory", "stored"} & set(hidden) and set(hidden["daemon"]) == {"version", "trains"}
        assert hidden["caller"]["tenant"] == "own-status"
    finally:
        end()
    eventually(lambda: other.get("/status").json["running"] == [])


def test_the_stream_has_an_event_each_second(daemon):
    stream = Stream(daemon.client())
    times = [stream.event()["time"] for _ in range(4)]
    stream.close()
    assert stream.status == 200 and times == sorted(times) and times[-1] - times[0] >= 2


def test_streams_are_bounded(daemon):
    crowd, other = daemon.tenant("crowd"), daemon.tenant("beside-crowd")
    streams = [Stream(crowd) for _ in range(8)]
    assert all(s.status == 200 and s.event() for s in streams)
    refused = crowd.get("/status?stream=true")
    assert refused.status == 429 and refused.json["error"]["code"] == "too_many_in_flight"
    beside = Stream(other)
    assert beside.status == 200
    beside.close()
    streams.pop().close()
    eventually(lambda: (s := Stream(crowd)).status == 200 and s.close() is None)
    for s in streams:
        s.close()


def test_a_stream_ends_with_its_key(daemon):
    client = daemon.tenant("revoked-stream")
    kid = client.get("/status").json["caller"]["key"]
    stream = Stream(client)
    assert stream.event()
    assert daemon.client().delete(f"/tenants/revoked-stream/keys/{kid}").status == 204
    began = time.monotonic()
    while stream.event():
        assert time.monotonic() - began < 5 * SCALE
    stream.close()
    assert client.get("/status").status == 401


def test_the_daemon_stops_while_somebody_looks(start):
    d = start()
    stream = Stream(d.client())
    assert stream.event()
    began = time.monotonic()
    d.stop()
    assert time.monotonic() - began < 10 * SCALE
    while stream.event():
        pass
    stream.close()


def test_the_last_hour(daemon):
    client = daemon.tenant("history")
    for _ in range(3):
        client.infer(prompt="Hello", max_tokens=20)
    history = daemon.client().get("/status/history").json
    assert history["hour"]["every_s"] == 10 and history["day"]["every_s"] == 300
    for ring in history.values():
        assert {len(column) for column in ring["columns"].values()} == {ring["points"]} and len(ring["columns"]) == 11
    eventually(lambda: daemon.client().get("/status/history").json["hour"]["points"] > 0, 15)
