"""One tenant that floods the daemon with text to read: others are served as if it were not there."""
import contextlib
import json
import threading
import time

import pytest

from client import SCALE
from wire import Wire

LONG = "Where is my parcel? " * 20_000  # 400 kB


@contextlib.contextmanager
def flood(daemon, client, path, body, connections=24):
    """So many connections that ask again as soon as they are answered; yields the statuses of the answers."""
    over, statuses, body = threading.Event(), [], json.dumps(body).encode()

    def ask():
        with Wire(daemon, timeout=60) as wire:
            while not over.is_set():
                wire.request("POST", path, body, client.key)
                statuses.append(wire.answer().status)

    threads = [threading.Thread(target=ask) for _ in range(connections)]
    for thread in threads:
        thread.start()
    try:
        yield statuses
    finally:
        over.set()
        for thread in threads:
            thread.join()


def slowest_but_one(ask, rounds=12):
    times = []
    for _ in range(rounds):
        began = time.monotonic()
        assert ask().status == 200
        times.append(time.monotonic() - began)
    return sorted(times)[-2]


@pytest.fixture(scope="module")
def tenants(daemon):
    return daemon.tenant("flooder"), daemon.tenant("bystander")


@pytest.mark.parametrize("path, body", [
    ("/tokenize", {"text": LONG}),
    ("/detokenize", {"tokens": [20, 21, 22] * 60_000}),
    ("/infer", {"prompt": LONG, "max_tokens": 1}),  # read to its end before it is refused as too long
    ("/v1/chat/completions", {"model": "demo", "messages": [{"role": "user", "content": "x" * 200}] * 2000, "max_tokens": 1}),
], ids=lambda value: value if isinstance(value, str) else "")
def test_text_of_one_tenant_does_not_hold_up_another(daemon, tenants, path, body):
    flooder, other = tenants
    began = time.monotonic()
    first = flooder.post(path, body)
    one = time.monotonic() - began
    assert first.status in (200, 400), first
    with flood(daemon, flooder, path, body) as statuses:
        time.sleep(2 * one)
        # In the old order, each would wait behind 24 of these.
        allowed = max(6 * one, 0.15 * SCALE)
        for ask in (lambda: other.post("/tokenize", {"text": "Hello"}), lambda: other.post("/tokenize", {"text": LONG[:20_000]}),
                    lambda: other.infer(prompt="Hello", max_tokens=2), lambda: other.get("/adapters")):
            assert slowest_but_one(ask) < allowed
    assert set(statuses) <= {first.status, 429} and len(statuses) >= 10


def test_many_small_texts_of_one_tenant_do_not_hold_up_another(daemon, tenants):
    """Each takes a moment only, but there is always one more."""
    flooder, other = tenants
    body = {"text": "".join(chr(0x4E00 + i) for i in range(2500))}
    assert len(json.dumps(body)) < 16 << 10
    began = time.monotonic()
    for _ in range(5):
        assert flooder.post("/tokenize", body).status == 200
    one = (time.monotonic() - began) / 5
    with flood(daemon, flooder, "/tokenize", body, connections=150):
        time.sleep(20 * one)
        allowed = max(25 * one, 0.2 * SCALE)  # in the old order: behind 75 of them, on two threads
        assert slowest_but_one(lambda: other.post("/tokenize", {"text": "Hello"})) < allowed
        assert slowest_but_one(lambda: other.get("/adapters")) < allowed


def test_what_waits_to_be_read_is_bounded(daemon, tenants):
    """A tenant's bodies fill no more memory than theirs, and who is refused is told when to come again."""
    flooder, other = tenants
    with contextlib.ExitStack() as closing:
        wires = [closing.enter_context(Wire(daemon, timeout=120)) for _ in range(100)]
        body = b'{"text":"' + b"\\u0020a" * 140_000 + b'"}'  # close to a mebibyte, and quick to read
        for wire in wires:
            wire.request("POST", "/tokenize", body, flooder.key)
        assert other.post("/tokenize", {"text": "Hello"}).status == 200
        answers = [wire.answer() for wire in wires]
    refused = [answer for answer in answers if answer.status != 200]
    assert {(answer.status, answer.code, answer.headers["Retry-After"]) for answer in refused} <= {(429, "tenant_queue_full", "1")}
    assert 0 < len(refused) < len(answers)
