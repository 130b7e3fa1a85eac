"""Who is let in: quotas of requests and tokens, the tenant's share of the queue and the whole of it, decided before the body."""
import contextlib
import threading
import time

import pytest

from client import eventually
from wire import Wire

ASK = {"prompt": "a", "max_tokens": 1}
BODY = b'{"prompt": "a", "max_tokens": 1}'
LENGTH = f"Content-Length: {len(BODY)}"
EXPECT = "Expect: 100-continue"


def tenant(daemon, name, **quota):
    client = daemon.tenant(name)
    answer = daemon.client().patch(f"/tenants/{name}", {"quota": quota})
    assert answer.status == 200, answer
    return client


def knock(wire, key, path="/infer", headers=(LENGTH, EXPECT)):
    """The headers of a request, and no body."""
    wire.request("POST", path, None, key, headers)


def admitted(wire):
    """The daemon asked for the body: the request has its place. (http.client would skip this line.)"""
    line = wire.file.readline()
    assert line.startswith(b"HTTP/1.1 100 "), line
    assert wire.file.readline() == b"\r\n"


def remaining(answer, what):
    return int(answer.headers[f"x-ratelimit-remaining-{what}"])


# ---- requests in flight ----

@pytest.mark.parametrize("headers", [(LENGTH,), (LENGTH, EXPECT)], ids=["plain", "expect"])
def test_too_many_in_flight_are_told_before_their_body(daemon, headers):
    name = f"f-{len(headers)}"
    acme, other = tenant(daemon, name, requests_in_flight_max=1), daemon.tenant(f"{name}-other")
    with Wire(daemon) as first, Wire(daemon) as second, Wire(daemon) as third:
        knock(first, acme.key)
        admitted(first)
        for wire, key, path in ((second, acme.key, "/infer"), (third, daemon.admin_key, f"/infer?tenant={name}")):
            knock(wire, key, path, headers)
            if EXPECT not in headers:
                wire.send(BODY)  # a small body is read, so that the connection can be kept; the refusal was decided before
            answer = wire.answer()
            assert (answer.status, answer.code) == (429, "too_many_in_flight")
            assert answer.json["error"]["param"] == "requests_in_flight_max"
            assert answer.headers["Retry-After"] == "1"
            assert answer.headers["x-ratelimit-limit-requests"] == "1" and remaining(answer, "requests") == 0
        assert daemon.client().infer(tenant=name, **ASK).code == "too_many_in_flight"  # named in the body: known with it
        assert other.infer(**ASK).status == 200
        first.send(BODY)
        answer = first.answer()
        assert answer.status == 200 and remaining(answer, "requests") == 1
        assert "x-ratelimit-limit-tokens" not in answer.headers
    assert acme.infer(**ASK).status == 200


def test_a_place_is_free_when_the_answer_is_there(daemon):
    """One after the other never exceeds one at a time, however the requests end."""
    acme = tenant(daemon, "f-seq", requests_in_flight_max=1)
    for _ in range(10):
        assert acme.infer(**ASK).status == 200
        assert acme.infer(adapter="nobody", **ASK).status == 404
        assert acme.post("/infer", b"{").status == 400
        events = list(acme.events(prompt="a", max_tokens=4))
        assert events[-1] == (None, "[DONE]")
    with Wire(daemon) as wire:  # and when its client goes away
        knock(wire, acme.key)
        admitted(wire)
        assert acme.infer(**ASK).status == 429
    eventually(lambda: acme.infer(**ASK).status == 200)
    with Wire(daemon) as wire:
        wire.request("POST", "/infer", {"prompt": "a", "max_tokens": 100000, "ignore_eos": True, "stream": True}, acme.key)
        assert wire.head().status == 200
    eventually(lambda: acme.infer(**ASK).status == 200)


def test_uploads_and_lists_take_no_place(daemon):
    acme = tenant(daemon, "f-lists", requests_in_flight_max=1)
    with Wire(daemon) as wire:
        knock(wire, acme.key)
        admitted(wire)
        assert acme.get("/adapters").status == 200
        assert acme.post("/tokenize", {"text": "a"}).status == 200


# ---- tokens per minute ----

def test_tokens_per_minute_and_a_retry_after_that_is_true(daemon):
    acme = tenant(daemon, "t-true", tokens_per_minute=60)
    first = acme.infer(tokens=[20] * 20, max_tokens=10, ignore_eos=True)
    assert first.status == 200 and first.json["usage"]["completion_tokens"] == 10
    assert first.headers["x-ratelimit-limit-tokens"] == "60"
    assert 30 <= remaining(first, "tokens") <= 60 and remaining(first, "tokens") < 60
    assert first.headers["x-ratelimit-reset-tokens"].endswith("s")
    assert "x-ratelimit-limit-requests" not in first.headers
    # More than what is left is let in once; then there is a debt.
    second = acme.infer(tokens=[20] * 30, max_tokens=32, ignore_eos=True)
    assert second.status == 200 and remaining(second, "tokens") == 0
    for _ in range(2):
        with Wire(daemon) as wire:
            knock(wire, acme.key)
            refused = wire.answer()
        assert (refused.status, refused.code) == (429, "rate_limited")
        assert refused.json["error"]["param"] == "tokens_per_minute"
        wait = int(refused.headers["Retry-After"])
        assert 1 <= wait <= 40
        assert float(refused.headers["x-ratelimit-reset-tokens"][:-1]) >= wait - 1
        if wait > 5:  # do not sit through it: give it a faster clock
            assert daemon.client().patch("/tenants/t-true", {"quota": {"tokens_per_minute": None}}).status == 200
            assert acme.infer(**ASK).status == 200
            assert daemon.client().patch("/tenants/t-true", {"quota": {"tokens_per_minute": 60}}).status == 200
            assert acme.infer(tokens=[20] * 62, max_tokens=0).status == 200
            continue
        time.sleep(wait)
        assert acme.infer(**ASK).status == 200


def test_what_was_not_used_is_given_back(daemon):
    acme = tenant(daemon, "t-back", tokens_per_minute=100)
    for _ in range(5):  # 8 tokens are asked for and not one comes
        answer = acme.infer(tokens=[20] * 5, max_tokens=0)
        assert answer.status == 200
    assert remaining(answer, "tokens") >= 75
    assert acme.infer(tokens=[20] * 5, max_tokens=90, adapter="nobody").status == 404
    assert acme.infer(tokens=[20] * 5, max_tokens=90, top_p=3).status == 400
    assert remaining(acme.infer(tokens=[20] * 5, max_tokens=0), "tokens") >= 70


def test_without_a_quota_there_are_no_headers(daemon):
    answer = daemon.tenant("t-none").infer(**ASK)
    assert answer.status == 200
    assert not [name for name in answer.headers if name.lower().startswith("x-ratelimit")]


# ---- the queue ----

def test_a_flood_is_shed_before_its_bodies_and_others_are_served(daemon):
    flood, other = daemon.tenant("q-flood"), daemon.tenant("q-other")
    with contextlib.ExitStack() as closing:
        wires = [closing.enter_context(Wire(daemon)) for _ in range(256)]
        for wire in wires:
            knock(wire, flood.key)
            admitted(wire)
        late = closing.enter_context(Wire(daemon))
        knock(late, flood.key)
        answer = late.answer()
        assert (answer.status, answer.code) == (429, "tenant_queue_full")
        assert answer.headers["Retry-After"] == "1"
        assert other.infer(**ASK).status == 200
        wires[0].send(BODY)
        assert wires[0].answer().status == 200
        assert flood.infer(**ASK).status == 200


def test_a_full_daemon_says_so_before_the_body(start):
    """Four tenants fill the whole queue; the fifth is turned away, and served when there is room."""
    d = start("demo", None, "--threads", "1")
    tenants, fifth = [d.tenant(f"t{i}") for i in range(4)], d.tenant("fifth")

    def full():
        """All places are taken by requests whose bodies do not come; each is cut off after ten seconds."""
        with contextlib.ExitStack() as closing:
            for client in tenants:
                wires = [closing.enter_context(Wire(d)) for _ in range(256)]
                for wire in wires:
                    knock(wire, client.key)
                for wire in wires:
                    admitted(wire)
            late = closing.enter_context(Wire(d))
            knock(late, fifth.key)
            line = late.file.readline()
            if line.startswith(b"HTTP/1.1 100"):
                return False  # the machine is so slow that the first were cut off already
            headers = b"".join(iter(late.file.readline, b"\r\n"))
            assert line.startswith(b"HTTP/1.1 503") and b"Retry-After: 1\r\n" in headers
            assert b'"queue_full"' in late.file.readline()
            return True

    eventually(full, 60)
    eventually(lambda: fifth.infer(**ASK).status == 200)


# ---- the weight ----

def test_the_weight_of_a_quota_reaches_the_scheduler(start):
    """Two tenants that both have more to do than fits: of the first half of the answers, three in four are of the one with 300."""
    d = start("demo", None, "--threads", "1", "--max-batch", "1")
    heavy, light, blocker = tenant(d, "heavy", weight=300), tenant(d, "light", weight=100), d.tenant("blocker")
    done = []
    with Wire(d) as wire:
        wire.request("POST", "/infer", {"prompt": "a", "max_tokens": 100000, "ignore_eos": True, "stream": True}, blocker.key)
        assert wire.head().status == 200

        def run(name, client):
            assert client.infer(prompt="a", max_tokens=30, ignore_eos=True).status == 200
            done.append(name)

        threads = [threading.Thread(target=run, args=who) for _ in range(40) for who in (("heavy", heavy), ("light", light))]
        for t in threads:
            t.start()
        # All of them wait before the first has its turn.
        eventually(lambda: b"\nadapterd_sequences_waiting 80\n" in d.client().get("/metrics").body)
    for t in threads:
        t.join()
    first = done[:40]
    assert len(done) == 80 and 25 <= first.count("heavy") <= 35, first
