"""Who is in memory: what is pinned stays there, what becomes active is read before it is asked for, and loading one adapter holds
up nobody else."""
import concurrent.futures
import fcntl
import json
import os
import signal
import time

import pytest

from client import SCALE, read
from daemon import DEMO
from names import Names

MASK, VOICE, TICKET = (os.path.join(DEMO, "adapters", name) for name in ("mask", "voice", "ticket"))


def remove_blobs(d):
    for blob in d.files():
        os.unlink(os.path.join(d.data, blob))


def one_token(client, name):
    return client.infer(adapter=name, prompt="a", max_tokens=1)


# ---- pins ----

def pin(d, tenant, name, pinned=True):
    return d.client().patch(f"/adapters/{name}?tenant={tenant}", {"pinned": pinned})


def flood(client):
    """More than 1 MiB of memory holds: one adapter with other scales, each another content, loaded once."""
    config, weights = (read(os.path.join(VOICE, name)) for name in ("adapter_config.json", "adapter_model.safetensors"))
    for i in range(2 + 3 * 2**20 // len(weights)):
        scaled = json.dumps({**json.loads(config), "lora_alpha": 100 + i}).encode()
        assert client.upload(config=scaled, weights=weights, name="n").status == 201
        assert one_token(client, "n").status == 200


def test_what_is_pinned_stays_in_memory_whatever_comes(start):
    d = start("demo", None, "--adapter-memory", "1M")
    acme, other = d.tenant("acme"), d.tenant("other")
    for name in ("kept", "plain"):
        assert acme.upload(MASK if name == "kept" else VOICE, name=name).status == 201
    answer = pin(d, "acme", "kept")
    assert answer.status == 200 and answer.json["pinned"] is True
    flood(other)
    remove_blobs(d)
    assert one_token(acme, "kept").status == 200
    refused = one_token(acme, "plain")
    assert (refused.status, refused.code) == (503, "adapter_broken")


def test_what_is_pinned_is_read_at_the_start(start):
    d = start()
    acme = d.tenant("acme")
    assert acme.upload(MASK, name="kept").status == 201 and acme.upload(VOICE, name="plain").status == 201
    assert pin(d, "acme", "kept").status == 200
    d.stop()
    d = start("demo", d.data)
    acme = d.client(acme.key)
    assert acme.get("/adapters/kept").json["pinned"] is True
    time.sleep(2 * SCALE)
    remove_blobs(d)
    assert one_token(acme, "kept").status == 200
    assert one_token(acme, "plain").code == "adapter_broken"


def test_only_an_admin_pins(mlp, tenant):
    names = Names(tenant, count=1)
    id = f"t{mlp.tenants}"
    for value in (True, False):
        refused = names.patch({"pinned": value, "note": "x"})
        assert (refused.status, refused.code, refused.json["error"]["param"]) == (403, "forbidden", "pinned")
    shown = names.show()
    assert shown["pinned"] is False and shown["note"] == ""
    assert pin(mlp, id, "a").json["pinned"] is True and names.show()["pinned"] is True
    assert names.client.get("/adapters").json["data"][0]["pinned"] is True, "whoever may see it, sees it"
    assert names.upload(3) and names.show()["pinned"] is True
    assert pin(mlp, id, "a", False).json["pinned"] is False
    rows = mlp.client().get("/audit", tenant=id).json["data"]
    assert [row["detail"] for row in rows if row["action"] == "adapter.change"] == ["pinned=true", "pinned=false"]


@pytest.mark.parametrize("value", [1, "true", None, {}])
def test_a_pin_is_true_or_false(mlp, tenant, value):
    Names(tenant, count=1)
    refused = pin(mlp, f"t{mlp.tenants}", "a", value)
    assert (refused.status, refused.code, refused.json["error"]["param"]) == (400, "invalid_type", "pinned")
    assert pin(mlp, f"t{mlp.tenants}", "nothing").code == "adapter_not_found"


def test_pins_have_a_limit(mlp, tenant):
    id = f"t{mlp.tenants}"
    for i in range(65):
        Names(tenant, f"n{i}", count=1)
        answer = pin(mlp, id, f"n{i}")
        assert answer.status == (200 if i < 64 else 409), answer
    assert (answer.code, answer.json["error"]["param"]) == ("limit_reached", "pinned")
    assert tenant.delete("/adapters/n0").status == 204 and pin(mlp, id, "n64").status == 200
    assert mlp.client().delete(f"/tenants/{id}").status == 204


def test_adapterctl_pins(ctl, mlp, tenant):
    names = Names(tenant, count=1)
    where = ("a", "--tenant", f"t{mlp.tenants}")
    done = ctl(mlp, "adapters", "pin", *where)
    assert done.status == 0 and done.out.split() == ["ABOUT", "TEXT", "pinned", "yes"], done
    assert "pinned" in ctl(mlp, "adapters", "show", *where).out
    refused = ctl(mlp, "adapters", "unpin", "a", key=names.client.key)
    assert refused.status == 1 and "admin key" in refused.err and names.show()["pinned"] is True
    done = ctl(mlp, "adapters", "unpin", *where)
    assert done.status == 0 and done.out == "no labels, no note, no end, no pin\n" and names.show()["pinned"] is False


# ---- loading ----

def test_what_was_activated_is_in_memory_before_it_is_asked_for(start):
    """After a restart everything is cold; the version that becomes active is read at once: its file may even go."""
    d = start()
    tenant = d.tenant("acme")
    first = tenant.upload(MASK, name="a").json["version"]
    tenant.upload(VOICE, name="a")
    d.stop()
    d = start("demo", d.data)
    tenant = d.client(tenant.key)
    assert tenant.patch("/adapters/a", {"version": first}).status == 200
    time.sleep(2 * SCALE)
    remove_blobs(d)
    answer = one_token(tenant, "a")
    assert answer.status == 200 and answer.json["adapter"]["version"] == first
    second = one_token(tenant, "a@" + tenant.get("/adapters/a").json["versions"][0]["version"][7:])
    assert (second.status, second.code) == (503, "adapter_broken")
    assert one_token(tenant, "a").status == 200


class Held:
    """A file that nobody can open: whoever tries waits until it is let go (a lease of the kernel, for 45 s at most)."""

    def __init__(self, path):
        signal.signal(signal.SIGIO, signal.SIG_IGN)
        self.fd = os.open(path, os.O_RDWR)
        fcntl.fcntl(self.fd, fcntl.F_SETLEASE, fcntl.F_WRLCK)

    def let_go(self):
        fcntl.fcntl(self.fd, fcntl.F_SETLEASE, fcntl.F_UNLCK)
        os.close(self.fd)


def test_a_load_that_hangs_holds_up_nobody_else(start):
    """One adapter's file cannot be read for a while. Requests for it wait, all for one load; meanwhile the others' adapters, warm
    and cold, and the bare base answer, streams go on, and uploads are taken."""
    d = start()
    acme, other = d.tenant("acme"), d.tenant("other")
    acme.upload(MASK, name="slow")
    (slow,) = [path for path in d.files() if os.path.getsize(os.path.join(d.data, path)) > 10000]
    other.upload(VOICE, name="cold")
    d.stop()
    d = start("demo", d.data)
    acme, other = d.client(acme.key), d.client(other.key)
    stream = other.events(adapter=None, prompt="a", max_tokens=400, ignore_eos=True)
    next(stream)
    try:
        held = Held(os.path.join(d.data, slow))
    except OSError as error:
        pytest.skip(f"this file system has no leases: {error}")
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        waiting = [pool.submit(one_token, acme, "slow") for _ in range(4)]
        time.sleep(0.3)
        answers = [other.infer(adapter=name, prompt="a", max_tokens=20, ignore_eos=True) for name in ("cold", "cold", None)]
        assert [answer.status for answer in answers] == 3 * [200], answers
        assert acme.infer(adapter=None, prompt="a", max_tokens=1).status == 200
        assert other.upload(TICKET, name="new").status == 201 and one_token(other, "new").status == 200
        events = list(stream)
        assert events[-2][1]["finish_reason"] == "length" and events[-2][1]["usage"]["completion_tokens"] == 400
        assert not any(f.done() for f in waiting), "the load was held until now"
        held.let_go()
        assert [f.result().status for f in waiting] == 4 * [200]
