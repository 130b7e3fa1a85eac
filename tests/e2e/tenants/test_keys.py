"""Keys: expiry, rotation without downtime, revocation at once, last use."""
import os
import signal
import stat
from datetime import datetime, timedelta, timezone

import pytest

from client import eventually
from wire import Wire

ASK = {"prompt": "a", "max_tokens": 1}


def at(**delta):
    return (datetime.now(timezone.utc) + timedelta(**delta)).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"


def row(daemon, tenant, kid):
    return next(r for r in daemon.client().get(f"/tenants/{tenant}/keys", limit=1000).json["data"] if r["kid"] == kid)


def test_a_key_expires(daemon):
    admin = daemon.client()
    admin.post("/tenants", {"id": "k-exp"})
    end = at(seconds=2)
    made = admin.post("/tenants/k-exp/keys", {"label": "short", "expires_at": end})
    assert made.status == 201 and made.json["expires_at"] == end
    client = daemon.client(made.json["key"])
    with Wire(daemon) as wire:  # one connection, used before and after
        wire.request("GET", "/adapters", None, client.key)
        early = wire.answer()
        assert early.status == 200 or at() >= end
        eventually(lambda: at() > end)
        wire.request("GET", "/adapters", None, client.key)
        assert wire.answer().status == 401
    assert client.infer(**ASK).code == "unauthorized"
    found = row(daemon, "k-exp", made.json["kid"])
    assert found["expires_at"] == end and found["revoked"] is False and found["label"] == "short"


@pytest.mark.parametrize("when, code", [("tomorrow", "out_of_range"), ("2020-01-01T00:00:00Z", "out_of_range"), (5, "invalid_type"),
                                        ("2099-02-30T00:00:00Z", "out_of_range"), ("2099-01-01T00:00:00Z\0", "out_of_range")])
def test_times_that_are_none(daemon, when, code):
    admin = daemon.client()
    admin.post("/tenants", {"id": "k-bad"})
    kid = admin.post("/tenants/k-bad/keys", {"expires_at": None}).json["kid"]
    for path in ("/tenants/k-bad/keys", f"/tenants/k-bad/keys/{kid}/rotate"):
        refused = admin.post(path, {"expires_at": when})
        assert (refused.status, refused.code, refused.json["error"]["param"]) == (400, code, "expires_at")


def test_rotation_without_downtime(daemon):
    admin, before = daemon.client(), daemon.tenant("k-rot")
    kid = admin.get("/tenants/k-rot/keys").json["data"][0]["kid"]
    made = admin.post(f"/tenants/k-rot/keys/{kid}/rotate", {"grace_seconds": 600})
    assert made.status == 201, made
    assert made.headers["Cache-Control"] == "no-store"
    assert set(made.json) == {"kid", "key", "label", "created", "expires_at", "replaces"}
    assert made.json["label"] == "test" and made.json["expires_at"] is None and made.json["replaces"]["kid"] == kid
    assert at(seconds=500) < made.json["replaces"]["expires_at"] <= at(seconds=600)
    after = daemon.client(made.json["key"])
    assert before.infer(**ASK).status == after.infer(**ASK).status == 200
    # Once more, without grace: the newest alone is left, besides the first in its grace.
    again = admin.post(f"/tenants/k-rot/keys/{made.json['kid']}/rotate", {"grace_seconds": 0})
    assert again.status == 201
    assert after.infer(**ASK).status == 401 and before.infer(**ASK).status == 200
    assert daemon.client(again.json["key"]).infer(**ASK).status == 200
    assert admin.post(f"/tenants/k-rot/keys/{made.json['kid']}/rotate", {}).code == "key_not_in_force"
    assert admin.delete(f"/tenants/k-rot/keys/{kid}").status == 204
    assert before.infer(**ASK).status == 401
    default = admin.post(f"/tenants/k-rot/keys/{again.json['kid']}/rotate", {"expires_at": at(days=1)})
    assert at(seconds=3500) < default.json["replaces"]["expires_at"] <= at(seconds=3600)
    assert default.json["expires_at"] is not None
    rows = admin.get("/audit", tenant="k-rot").json["data"]
    assert ("key.rotate", kid, made.json["kid"]) in [(r["action"], r["target"], r["detail"]) for r in rows]
    assert not any(key in str(rows) for key in (made.json["key"], again.json["key"], default.json["key"]))


@pytest.mark.parametrize("body, code", [({"grace_seconds": -1}, "out_of_range"), ({"grace_seconds": 604801}, "out_of_range"),
                                        ({"grace_seconds": "1"}, "invalid_type"), ({"label": "x"}, "unknown_field")])
def test_rotations_that_are_refused(daemon, body, code):
    admin = daemon.client()
    admin.post("/tenants", {"id": "k-no"})
    made = admin.post("/tenants/k-no/keys", {}).json
    assert admin.post(f"/tenants/k-no/keys/{made['kid']}/rotate", body).code == code
    assert admin.post("/tenants/k-no/keys/k_nobody/rotate", {}).code == "key_not_found"
    assert row(daemon, "k-no", made["kid"])["expires_at"] is None
    assert daemon.client(made["key"]).infer(**ASK).status == 200


def test_a_revoked_key_ends_with_the_request_that_runs(daemon):
    """The stream that runs goes on; nothing new begins, on the same connection either."""
    admin, acme = daemon.client(), daemon.tenant("k-rev")
    kid = admin.get("/tenants/k-rev/keys").json["data"][0]["kid"]
    events = acme.events(prompt="Once", max_tokens=100, ignore_eos=True)
    next(events)
    assert admin.delete(f"/tenants/k-rev/keys/{kid}").status == 204
    assert acme.infer(**ASK).status == 401
    assert list(events)[-1] == (None, "[DONE]")
    assert acme.infer(**ASK).status == 401


def test_the_last_use_is_shown_and_kept(start):
    d = start()
    acme = d.tenant("acme")
    kid = d.client().get("/tenants/acme/keys").json["data"][0]["kid"]
    assert row(d, "acme", kid)["last_used"] is None
    assert acme.get("/adapters").status == 200
    used = row(d, "acme", kid)["last_used"]
    assert used is not None and used.endswith(":00.000Z") and at(minutes=-2) < used <= at()
    d.stop()
    again = start("demo", d.data)
    assert row(again, "acme", kid)["last_used"] == used
    assert again.client().post("/tenants/acme/keys", {}).status == 201
    again.kill()


def test_adapterctl_rotates(daemon, ctl, tmp_path):
    daemon.client().post("/tenants", {"id": "k-ctl"})
    out = ctl(daemon, "keys", "create", "k-ctl", "--label", "web", "--expires-at", "2099-01-01T00:00:00Z")
    assert out.status == 0
    first = dict(line.split() for line in out.out.splitlines()[:2])
    file = tmp_path / "new.key"
    done = ctl(daemon, "keys", "rotate", "k-ctl", first["kid"], "--grace", "60", "--out", file)
    assert done.status == 0 and "created" in done.out and first["key"] not in done.out
    assert stat.S_IMODE(os.stat(file).st_mode) == 0o600
    for key in (first["key"], file.read_text().strip()):
        assert daemon.client(key).infer(**ASK).status == 200
    listed = ctl(daemon, "keys", "list", "k-ctl").out
    assert "LAST USED" in listed and "EXPIRES" in listed
    bad = ctl(daemon, "keys", "rotate", "k-ctl", "k_none", "--out", tmp_path / "none.key")
    assert "(key_not_found)" in bad.err and not (tmp_path / "none.key").exists()
    assert ctl(daemon, "keys", "rotate", "k-ctl", first["kid"], "--grace", "604801").status == 2


# ---- admin keys ----

def test_an_admin_key_is_replaced_without_a_pause(start, ctl):
    """The file is read again on SIGHUP; a mistake in it changes nothing."""
    d = start("mlp")
    path = os.path.join(d.data, "admin.key")
    first, second = d.admin_key, "second-key-of-an-admin-0123456789"

    def works(key):
        return d.client(key).get("/tenants").status == 200

    def reload(text):
        before = d.read_log().count("admin keys")
        with open(path, "w") as f:
            f.write(text)
        d.process.send_signal(signal.SIGHUP)
        eventually(lambda: d.read_log().count("admin keys") > before)

    assert works(first) and not works(second)
    reload(f"# both for now\n{first}\n{second} anna\n")
    assert works(first) and works(second)
    reload(f"{second} Not-A-Name\n")
    assert works(first) and works(second)
    log = d.read_log()
    assert "line 1" in log and "stay as they were" in log and second not in log
    reload(f"# anna alone\n\n{second} anna\n")
    assert works(second) and not works(first)
    assert d.client(second).post("/tenants", {"id": "acme"}).status == 201
    (row,) = d.client(second).get("/audit").json["data"]
    assert row["actor"] == "admin:anna"
    done = ctl(d, "--key-file", path, "tenants", "list", key="")
    assert done.status == 0 and "acme" in done.out, done
    os.unlink(path)
    d.process.send_signal(signal.SIGHUP)
    eventually(lambda: not works(second))
    assert works(d.admin_key)
