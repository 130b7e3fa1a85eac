"""The log where nobody reads it: the daemon goes on, and what is lost is counted and said."""
import fcntl
import json
import os
import re
import select
import signal
import subprocess
import time

import pytest

from client import SCALE, eventually
from daemon import ADAPTERD, Daemon, model_path
from wire import Wire

PIPE = 64 << 10
WAITING = 256 << 10  # LOG_BUFFER_BYTES


class Unread(Daemon):
    """A daemon whose standard error is a pipe that nobody reads."""

    def __init__(self, data, *arguments):
        self.pipe, self.end = os.pipe()
        fcntl.fcntl(self.end, fcntl.F_SETPIPE_SZ, PIPE)
        self.data, self.log, self.log_start = str(data), os.devnull, 0
        self.process = subprocess.Popen([ADAPTERD, "--model", model_path("mlp"), "--data", self.data, "--listen", "127.0.0.1:0", *arguments],
                                        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=self.end)
        os.close(self.end)
        self.wait_ready()

    def drain(self):
        """What is in the pipe until nothing comes for a moment."""
        found = b""
        while select.select([self.pipe], [], [], 0.3 * SCALE)[0] and (chunk := os.read(self.pipe, 1 << 16)):
            found += chunk
        return found.decode()

    def dropped(self):
        return int(re.search(r"^adapterd_log_lines_dropped_total (\d+)$", self.client().get("/metrics").body.decode(), re.M).group(1))

    def flood(self, lines):
        with Wire(self) as wire:
            for _ in range(lines // 100):
                wire.send(100 * f"GET /{300 * 'x'} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
                for _ in range(100):
                    assert wire.answer().status == 404


TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = f"00-{TRACE}-b7ad6b7169203331-01"


@pytest.mark.parametrize("form, shown", [("text", f" trace={TRACE}"), ("json", f'"trace_id":"{TRACE}"}}')])
def test_the_trace_of_a_request_is_in_its_line(start, form, shown):
    d = start("mlp", None, "--log-format", form)
    client = d.client()
    for path, headers, traced in (("/healthz", {"traceparent": PARENT}, True), ("/readyz", {"TraceParent": PARENT, "tracestate": "a=b"}, True),
                                  ("/nowhere", {"traceparent": PARENT}, True), ("/tenants", {"traceparent": PARENT, "Authorization": "Bearer wrong"}, True),
                                  ("/version", {}, False), ("/usage", {"traceparent": PARENT + "0"}, False), ("/adapters", {"traceparent": PARENT.upper()}, False)):
        before = len(d.read_log())
        answer = client.request("GET", path, headers=headers)
        assert answer.status in (200, 400, 401, 404)
        eventually(lambda: answer.headers["X-Request-Id"] in d.read_log())
        [line] = [line for line in d.read_log()[before:].splitlines() if answer.headers["X-Request-Id"] in line]
        assert (line.endswith(shown) if traced else TRACE not in line), line
        if form == "json":
            assert json.loads(line).get("trace_id") == (TRACE if traced else None)
    with Wire(d) as wire:
        wire.send(f"GET /ping HTTP/1.1\r\nHost: a\r\ntraceparent: {PARENT}\r\ntraceparent: {PARENT}\r\n\r\n".encode())
        assert wire.answer().status == 200
    eventually(lambda: "/ping" in d.read_log())
    assert not any("/ping" in line and TRACE in line for line in d.read_log().splitlines())


@pytest.fixture(params=["text", "json"])
def unread(tmp_path, request):
    d = Unread(tmp_path / "data", "--log-format", request.param)
    yield d
    d.process.kill()
    d.process.wait()
    d.process.stdout.close()
    os.close(d.pipe)


def test_a_log_that_nobody_reads_stops_nothing(unread):
    lines = 2 * (PIPE + WAITING) // 350 // 100 * 100
    unread.flood(lines)
    dropped = unread.dropped()
    assert 0 < dropped < lines
    assert unread.tenant("acme").get("/adapters").status == 200
    read = unread.drain().splitlines()
    # Lines are whole, and their number and what was dropped add up.
    said = [int(number) for line in read for number in re.findall(r"(\d+) lines of the log were dropped", line)]
    assert sum(said) == unread.dropped() >= dropped
    assert sum("/xxx" in line for line in read) + sum(said) >= lines
    assert all(re.fullmatch(r'\{.*\}|20\d\d-.*', line) for line in read)
    # And it goes on.
    unread.flood(100)
    assert sum("/xxx" in line for line in unread.drain().splitlines()) == 100


def test_it_ends_although_its_log_is_full(unread):
    unread.flood(2 * (PIPE + WAITING) // 350 // 100 * 100)
    assert unread.dropped() > 0
    began = time.monotonic()
    unread.process.send_signal(signal.SIGTERM)
    assert unread.process.wait(20 * SCALE) == 0
    assert time.monotonic() - began < 5 * SCALE


def test_a_reader_that_leaves_stops_nothing(tmp_path):
    d = Unread(tmp_path / "data")
    os.close(d.pipe)
    d.flood(300)
    assert d.client().get("/healthz").status == 200
    d.process.send_signal(signal.SIGTERM)
    assert d.process.wait(20 * SCALE) == 0
    d.process.stdout.close()


def test_the_last_lines_are_written(start):
    d = start("mlp")
    d.client().get("/nowhere")
    d.stop()
    assert "stopping: 0 requests are running" in d.read_log()
    eventually(lambda: "/nowhere" in d.read_log())
