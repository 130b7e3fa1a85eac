"""The usage ledger: what answers say is what is counted; nothing is lost by a clean stop, nothing counted twice after a crash."""
import csv
import io
import os
import random
import threading
import time
from datetime import datetime, timedelta, timezone

import pytest

from client import eventually, read
from daemon import DEMO
from wire import Wire

MASK = os.path.join(DEMO, "adapters", "mask")
COUNTS = ("requests", "errors", "prompt_tokens", "completion_tokens", "cached_tokens", "trained_tokens")


def usage(client, **query):
    rows, after = [], {}
    while True:
        answer = client.get("/usage", **query, **after)
        assert answer.status == 200, answer
        rows += answer.json["data"]
        if answer.json["next"] is None:
            return rows
        after = {"after": answer.json["next"]}


def total(rows, what="requests"):
    return sum(row[what] for row in rows)


def counts(rows, adapter):
    found = [row for row in rows if row["adapter"] == adapter]
    return {name: total(found, name) for name in COUNTS}


# ---- what is counted ----

def test_what_the_answers_say_is_what_is_counted(daemon):
    acme = daemon.tenant("w-acme")
    version = acme.upload(MASK, name="mask").json["version"]
    assert usage(acme) == []
    said = {None: [], "mask": [], "*": []}
    prompt = "A prompt that is long enough to be kept, because it has a good many words in it. " * 4
    for _ in range(2):
        said[None].append(acme.infer(prompt=prompt, max_tokens=3).json["usage"])
    said["mask"].append(acme.infer(adapter="mask", prompt="Hi", max_tokens=5).json["usage"])
    said["mask"].append([e for _, e in acme.events(adapter="mask", prompt="Hi", max_tokens=5) if e != "[DONE]"][-1]["usage"])
    said["mask"].append(acme.infer(adapter=[{"adapter": "mask", "scale": 0.5}], prompt="Hi", max_tokens=2).json["usage"])
    said["*"].append(acme.infer(adapter=[{"adapter": "mask"}] * 2, prompt="Hi", max_tokens=2).json["usage"])
    assert acme.infer(adapter="mask", tokens=[20] * 100000, max_tokens=1).code == "prompt_too_long"
    assert acme.infer(adapter="nobody", prompt="a").status == 404
    assert acme.post("/infer", b"{").status == 400
    rows = usage(acme)
    assert said[None][1]["cached_tokens"] > 0
    for adapter, answers in said.items():
        found = counts(rows, adapter)
        for name in ("prompt_tokens", "completion_tokens", "cached_tokens"):
            assert found[name] == sum(a[name] for a in answers), (adapter, name)
    assert (counts(rows, "mask")["requests"], counts(rows, "mask")["errors"]) == (4, 1)
    assert (counts(rows, None)["requests"], counts(rows, None)["errors"]) == (4, 2)  # those refused before their adapter was known, too
    assert counts(rows, "*")["requests"] == 1
    today = {(datetime.now(timezone.utc) - timedelta(minutes=m)).date().isoformat() for m in (0, 5)}
    for row in rows:
        assert set(row) == {"day", "tenant", "deleted", "adapter", "version", *COUNTS}
        assert row["tenant"] == "w-acme" and row["day"] in today and row["deleted"] is False
        assert row["version"] == (version if row["adapter"] == "mask" else None)
    # Uploads and other routes are no requests.
    acme.post("/tokenize", {"text": "a"})
    assert total(usage(acme)) == total(rows)


def test_a_client_that_leaves_is_counted_with_what_it_got(daemon):
    acme = daemon.tenant("w-leaves")
    with Wire(daemon) as wire:
        wire.request("POST", "/infer", {"prompt": "Once", "max_tokens": 100000, "ignore_eos": True, "stream": True}, acme.key)
        assert wire.head().status == 200
    eventually(lambda: total(usage(acme)) == 1)
    row, = usage(acme)
    assert row["errors"] == 0


def test_refusals_before_the_body_are_counted(daemon):
    acme = daemon.tenant("w-shed")
    assert daemon.client().patch("/tenants/w-shed", {"quota": {"tokens_per_minute": 1}}).status == 200
    assert acme.infer(prompt="a", max_tokens=1).status == 200
    assert acme.infer(prompt="a", max_tokens=1).code == "rate_limited"
    row, = usage(acme)
    assert (row["requests"], row["errors"]) == (2, 1)


def test_deleted_adapters_and_tenants_leave_their_usage(daemon):
    acme, admin = daemon.tenant("w-gone"), daemon.client()
    assert acme.upload(MASK, name="mask").status == 201
    assert acme.infer(adapter="mask", prompt="a", max_tokens=1).status == 200
    before = usage(acme)
    assert acme.delete("/adapters/mask").status == 204
    assert usage(acme) == before
    assert admin.delete("/tenants/w-gone").status == 204
    again = daemon.tenant("w-gone")
    assert usage(again) == []
    assert usage(admin, tenant="w-gone") == [{**row, "deleted": True} for row in before]
    assert again.infer(prompt="a", max_tokens=1).status == 200
    assert [row["deleted"] for row in usage(admin, tenant="w-gone")] == [True, False]
    assert total(usage(again)) == 1


# ---- asking ----

def test_each_sees_its_own_and_admins_all(daemon):
    one, two, admin = daemon.tenant("a-one"), daemon.tenant("a-two"), daemon.client()
    for client, times in ((one, 1), (two, 2)):
        for _ in range(times):
            assert client.infer(prompt="a", max_tokens=1).status == 200
    assert total(usage(one)) == 1 and total(usage(two)) == 2 and total(usage(one, tenant="a-one")) == 1
    assert one.get("/usage", tenant="a-two").code == "forbidden"
    assert total(usage(admin, tenant="a-two")) == 2
    both = [row for row in usage(admin, limit=1) if row["tenant"] in ("a-one", "a-two")]
    assert sorted(row["tenant"] for row in both) == ["a-one", "a-two"]
    today = datetime.now(timezone.utc).date()
    assert total(usage(one, **{"from": (today - timedelta(1)).isoformat(), "to": (today + timedelta(1)).isoformat()})) == 1
    assert usage(one, to="2020-02-29") == [] and usage(one, adapter="nobody") == []
    assert usage(admin, tenant="never-there") == []


@pytest.mark.parametrize("query", ["from=yesterday", "from=2026-1-1", "from=2026-13-01", "from=2026-02-30", "to=2026-01-32", "to=",
                                   "from=2026-01-01x", "adapter=A", "after=x", "limit=0", "to=2026-01-01&to=2026-01-01"])
def test_bad_questions(daemon, query):
    assert daemon.client().get("/usage?" + query).code == "invalid_parameter"
    assert daemon.client().get("/tenants?" + "from=2026-01-01").code == "unknown_parameter"


def test_adapterctl_usage(daemon, ctl):
    acme = daemon.tenant("c-acme")
    assert acme.upload(MASK, name="mask").status == 201
    for _ in range(3):
        assert acme.infer(adapter="mask", prompt="a", max_tokens=2).status == 200
    out = ctl(daemon, "usage", key=acme.key)
    assert out.status == 0 and out.err == ""
    head, row = (line.split() for line in out.out.splitlines())
    assert head == ["DAY", "TENANT", "ADAPTER", "VERSION", "REQUESTS", "ERRORS", "PROMPT", "COMPLETION", "CACHED", "TRAINED"]
    assert row[1:3] == ["c-acme", "mask"] and row[4] == "3"
    found, = csv.DictReader(io.StringIO(ctl(daemon, "usage", "--tenant", "c-acme", "--csv").out))
    line, = usage(acme)
    assert {name: found[name] for name in COUNTS} == {name: str(line[name]) for name in COUNTS}
    assert ctl(daemon, "usage", "--tenant", "c-acme", "--to", "2020-01-01").out.splitlines()[1:] == []
    assert "(invalid_parameter)" in ctl(daemon, "usage", "--from", "monday").err


# ---- stops and crashes ----

def test_a_clean_stop_loses_nothing(start):
    d = start()
    acme = d.tenant("acme")
    for _ in range(7):
        assert acme.infer(prompt="a", max_tokens=1).status == 200
    d.stop()
    assert total(usage(start("demo", d.data).client())) == 7


def test_usage_is_written_by_itself_and_then_survives_a_crash(start):
    d = start()
    acme = d.tenant("acme")
    database = os.path.join(d.data, "registry.db")
    before = os.stat(database).st_mtime_ns
    assert acme.infer(prompt="a", max_tokens=1).status == 200
    eventually(lambda: os.stat(database).st_mtime_ns != before and not read(database + "-journal")[:28].strip(b"\0"), 20)
    d.kill()
    assert total(usage(start("demo", d.data).client())) == 1


def test_crashes_never_count_twice(start):
    """Requests go on, killed at random moments, some while their usage is being written. What was read once stays; in the end
    no more is there than was sent, and all that was answered before the last reading."""
    d = start()
    acme = d.tenant("acme")
    sent = sure = 0
    for round_ in range(4):
        stop = threading.Event()

        def run(client):
            nonlocal sent
            while not stop.is_set():
                sent += 1
                try:
                    client.infer(prompt="a", max_tokens=1)
                except OSError:
                    return
        client = d.client(acme.key)
        worker = threading.Thread(target=run, args=(client,))
        worker.start()
        time.sleep(random.uniform(0.5, 1.5))
        for _ in range(random.randrange(1, 30)):  # each reading writes what there is
            sure = total(usage(client))
        d.kill()
        stop.set()
        worker.join()
        d = start("demo", d.data)
        found = total(usage(d.client(acme.key)))
        assert sure <= found <= sent, round_
    assert sure > 20
