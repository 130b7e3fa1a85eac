"""Streams: their format, that they say what the answer without a stream says, and what becomes of them when clients go."""
import contextlib
import json
import os
import random
import socket
import statistics
import threading
import time

import pytest

from client import SCALE
from daemon import DEMO, Daemon, model_path
from wire import Wire

ADAPTERS = ("mask", "ticket", "voice")
LONG = {"prompt": "Hello", "max_tokens": 1000, "ignore_eos": True}


def with_adapters(d):
    tenant = d.tenant("acme")
    for name in ADAPTERS:
        assert tenant.upload(os.path.join(DEMO, "adapters", name), name=name).status == 201
    return tenant


@pytest.fixture(scope="module")
def acme(daemon):
    return with_adapters(daemon)


@pytest.fixture(scope="module")
def single(tmp_path_factory):
    """A daemon that computes one request at a time."""
    d = Daemon(model_path("demo"), tmp_path_factory.mktemp("single") / "data", "--max-batch", "1", "--threads", "1")
    d.acme = with_adapters(d)
    yield d
    d.stop()


def joined(events):
    """All events of a stream as one answer; checks their form."""
    events = list(events)
    assert events[-1] == (None, "[DONE]") and all(name is None for name, _ in events)
    *parts, last = [event for _, event in events[:-1]]
    for part in parts:
        assert set(part) <= {"text", "tokens", "logprobs"} and (part["text"] or part["tokens"])
    whole = dict(last)
    whole["text"] = "".join(part["text"] for part in [*parts, last])
    for field in {"tokens", "logprobs"} & set(last):
        whole[field] = [entry for part in [*parts, last] for entry in part[field]]
    return whole


def comparable(answer):
    return {k: v for k, v in answer.items() if k not in ("id", "timing_ms", "usage")}


def both(tenant, **fields):
    """The same request with and without a stream; the answer, after comparing."""
    plain = tenant.infer(**fields)
    assert plain.status == 200, plain
    streamed = joined(tenant.events(**fields))
    assert comparable(streamed) == comparable(plain.json)
    assert streamed["usage"]["completion_tokens"] == plain.json["usage"]["completion_tokens"]
    return plain.json


# ---- what a stream says ----

def test_the_format_on_the_wire(daemon, acme):
    with Wire(daemon) as wire:
        wire.request("POST", "/infer", {"prompt": "Hello", "max_tokens": 5, "stream": True, "seed": 1}, acme.key)
        response = wire.head()
        assert response.status == 200 and response.headers["Content-Type"] == "text/event-stream"
        assert response.headers["Cache-Control"] == "no-store" and response.headers["X-Request-Id"].startswith("inf_")
        blocks = response.read().decode().split("\n\n")
        assert blocks.pop() == "" and blocks[-1] == "data: [DONE]"
        for block in blocks[:-1]:
            assert block.startswith("data: {") and "\n" not in block
            json.loads(block[6:])
        last = json.loads(blocks[-2][6:])
        assert last["id"] == response.headers["X-Request-Id"] and last["finish_reason"] == "length" and last["seed"] == 1
        # The connection is still good.
        wire.request("GET", "/healthz")
        assert wire.answer().status == 200


def test_a_stream_says_what_the_answer_says(acme):
    both(acme, adapter="mask", prompt="Hello", max_tokens=40, seed=1)
    both(acme, adapter="voice", messages=[{"role": "user", "content": "Where is my parcel?"}], max_tokens=300, seed=1, logprobs=3)
    both(acme, prompt="Hello", max_tokens=3, seed=1, prompt_logprobs=True, logprobs=1)
    both(acme, prompt="Hello", max_tokens=0, seed=1)


def test_random_tokens_are_never_half_characters(acme):
    """Tokens of raw bytes, in any order: each event holds whole characters, and together they are the plain answer's."""
    for seed in range(8):
        answer = both(acme, prompt="é", temperature=100, seed=seed, max_tokens=200, ignore_eos=True)
        assert not answer["text"].isascii()


def test_stop_strings_are_held_back(acme):
    """Each stop string of three characters within an answer, and ones that only begin: nothing of them gets out."""
    fields = {"adapter": "mask", "prompt": "Hello, my name is", "max_tokens": 20, "ignore_eos": True, "seed": 1, "logprobs": 1}
    text = both(acme, **fields)["text"]
    for begin in range(len(text) - 3):
        stop = text[begin : begin + 3]
        assert both(acme, **fields, stop=stop)["text"] == text[: text.index(stop)]
        assert both(acme, **fields, stop=stop + "\0")["text"] == text


def test_several_stop_strings_at_once(acme):
    fields = {"prompt": "Hello", "max_tokens": 30, "ignore_eos": True, "seed": 1}
    text = both(acme, **fields)["text"]
    pick = random.Random(1)
    for _ in range(20):
        starts = [pick.randrange(len(text) - 1) for _ in range(4)]
        both(acme, **fields, stop=[text[s : s + pick.randrange(1, 9)] + pick.choice(["", "", "\0"]) for s in starts])


# ---- neighbours ----

def in_parallel(functions):
    results, failures = [None] * len(functions), []

    def run(i):
        try:
            results[i] = functions[i]()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=run, args=(i,)) for i in range(len(functions))]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not failures, failures
    return results


def crowd(count):
    """Different requests over all adapters and the bare base."""
    return [{"adapter": (*ADAPTERS, None)[i % 4], "prompt": f"Hello {i}, " + "please help me " * (i % 5), "max_tokens": 24 + i,
             "temperature": (0, 1)[i % 2], "seed": i, "ignore_eos": True, "logprobs": 1 + i % 3} for i in range(count)]


def test_32_streams_are_what_each_is_alone(start, acme):
    """Over three adapters and the base, to the last bit of every log-probability; on two threads as on one."""
    requests = crowd(32)
    alone = [comparable(joined(acme.events(**r))) for r in requests]
    for tenant in (acme, with_adapters(start("demo", None, "--threads", "2"))):
        together = in_parallel([lambda r=r, t=tenant: joined(t.events(**r)) for r in requests])
        assert [comparable(answer) for answer in together] == alone


def test_clients_that_leave_do_not_touch_others(daemon, acme):
    requests = crowd(16)
    alone = [comparable(joined(acme.events(**r))) for r in requests]
    pick = random.Random(2)

    def leave():
        wire = Wire(daemon)
        wire.request("POST", "/infer", {**LONG, "adapter": pick.choice(ADAPTERS), "stream": True}, acme.key)
        wire.socket.recv(1 + pick.randrange(2000))
        wire.reset() if pick.random() < 0.5 else wire.close()

    together = in_parallel([lambda r=r: joined(acme.events(**r)) for r in requests] + 16 * [leave])
    assert [comparable(answer) for answer in together[:16]] == alone


# ---- clients that leave ----

def leave_by_close(wire):
    wire.close()


def leave_by_reset(wire):
    wire.reset()


def leave_by_half_close(wire):
    wire.socket.shutdown(socket.SHUT_WR)
    assert wire.file.read() is not None, "the rest, up to the end of the connection"
    wire.close()


@pytest.mark.parametrize("leave", [leave_by_close, leave_by_reset, leave_by_half_close])
@pytest.mark.parametrize("stream", [True, False])
def test_a_client_that_leaves_frees_its_place_at_once(single, leave, stream):
    """With one place only: the next request does not wait for the run of the one who left."""
    began = time.monotonic()
    assert single.acme.infer(**LONG).status == 200
    whole_run = time.monotonic() - began
    waits = []
    for _ in range(10):
        wire = Wire(single)
        wire.request("POST", "/infer", {**LONG, "stream": stream}, single.acme.key)
        if stream:
            wire.head()
        else:
            time.sleep(whole_run / 20)
        leave(wire)
        waits.append(single.acme.infer(prompt="a", max_tokens=1).json["timing_ms"]["queue"] / 1000)
    assert statistics.median(waits) < whole_run / 10, (waits, whole_run)


def test_a_client_that_leaves_while_it_waits(single):
    """It gives up its place in the line, and is never computed."""
    with Wire(single) as first:
        first.request("POST", "/infer", {**LONG, "stream": True}, single.acme.key)
        first.head()
        waiting = [Wire(single) for _ in range(20)]
        for wire in waiting:
            wire.request("POST", "/infer", {**LONG, "stream": True}, single.acme.key)
        for wire in waiting:
            wire.head()
            wire.close()
        began = time.monotonic()
    answer = single.acme.infer(prompt="a", max_tokens=1)
    alone = single.acme.infer(**LONG).json["timing_ms"]["decode"] / 1000
    assert answer.status == 200 and time.monotonic() - began < 4 * alone + 1


def test_half_closing_ends_a_stream(single):
    with Wire(single) as wire:
        wire.request("POST", "/infer", {**LONG, "stream": True}, single.acme.key)
        wire.head()
        wire.socket.shutdown(socket.SHUT_WR)
        rest = wire.file.read()
        assert b'"finish_reason":"cancelled"' in rest and rest.count(b"data: ") < 500


# ---- clients that are slow ----

def test_a_slow_reader_gets_everything_and_holds_up_nobody(daemon, acme):
    """What is too much for the sockets waits in the daemon; the run does not wait for its reader."""
    fields = {**LONG, "adapter": "voice", "logprobs": 20, "seed": 1}
    begin = time.monotonic()
    wanted = comparable(acme.infer(**fields).json)
    duration = time.monotonic() - begin
    with Wire(daemon, receive_buffer=32768) as wire:
        wire.request("POST", "/infer", {**fields, "stream": True}, acme.key)
        response = wire.head()
        for _ in range(5):
            assert acme.infer(prompt="a", max_tokens=4).status == 200
        time.sleep(1 + 2 * duration)  # the run is over before the first byte is read
        text = response.read().decode()
    blocks = text.split("\n\n")
    assert blocks[-2] == "data: [DONE]"
    assert comparable(joined([(None, json.loads(b[6:])) for b in blocks[:-2]] + [(None, "[DONE]")])) == wanted
    # The run was over and waited in the daemon: what the sockets did not hold came with several tokens in one event.
    events = len(blocks) - 3  # the last event, [DONE], and what follows the last empty line
    if SCALE == 1:  # the kernel makes room for all tokens of a build that is slowed down, as slowly as they come
        assert events < LONG["max_tokens"]


def test_a_stream_that_waits_shows_signs_of_life(single):
    """A comment every ten seconds while others are served."""
    with contextlib.ExitStack() as closing:
        before = [closing.enter_context(Wire(single)) for _ in range(200)]
        for wire in before:
            wire.request("POST", "/infer", {**LONG, "stream": True}, single.acme.key)
            wire.head()
        last = closing.enter_context(Wire(single))
        began = time.monotonic()
        last.request("POST", "/infer", {**LONG, "stream": True}, single.acme.key)
        response = last.head()
        assert response.read(13) == b": keepalive\n\n"
        assert 9 < time.monotonic() - began < 10 + 5 * SCALE
        last.close()
    assert single.acme.infer(prompt="a", max_tokens=1).status == 200
