"""The audit log: every change has its row, nothing else has, nobody can take one away, and no secret is in it."""
import csv
import glob
import io
import os
import re
import sqlite3

import pytest

from client import read
from daemon import ROOT, Daemon, model_path
from fixtures import adapter

GOOD = adapter("mlp", "r4")


def rows(client, **query):
    """All rows, page by page."""
    found, after = [], None
    while True:
        page = client.get("/audit", **query, **({"after": after} if after else {})).json
        found += page["data"]
        if not (after := page["next"]):
            return found


def told(rows):
    return [(r["actor"], r["actor_tenant"], r["action"], r["tenant"], r["target"]) for r in rows]


@pytest.fixture(scope="module")
def d(tmp_path_factory):
    d = Daemon(model_path("mlp"), tmp_path_factory.mktemp("audit") / "data", "--threads", "1")
    yield d
    d.stop()


def test_changes_are_told_in_order_with_who_made_them(d):
    admin = d.client()
    before = len(rows(admin))
    assert admin.post("/tenants", {"id": "acme"}).status == 201
    made = admin.post("/tenants/acme/keys", {"label": "secret label"}).json
    acme = d.client(made["key"])
    version = acme.upload(GOOD, name="one").json["version"]
    assert acme.upload(GOOD, name="two", activate="false").status == 201
    assert acme.upload(GOOD, name="one").status == 200  # it is there: no change
    assert acme.upload(GOOD, name="two").status == 200  # activates
    assert admin.delete("/adapters/one", tenant="acme").status == 204
    second = admin.post("/tenants/acme/keys", {}).json
    assert admin.delete(f"/tenants/acme/keys/{second['kid']}").status == 204
    assert admin.delete(f"/tenants/acme/keys/{second['kid']}").status == 204  # it was: no change
    assert admin.delete("/tenants/acme").status == 204
    kid = made["kid"]
    found = rows(admin)[before:]
    assert told(found) == [
        ("admin", "", "tenant.create", "acme", ""),
        ("admin", "", "key.create", "acme", kid),
        (kid, "acme", "adapter.upload", "acme", "one"),
        (kid, "acme", "adapter.upload", "acme", "two"),
        (kid, "acme", "adapter.activate", "acme", "two"),
        ("admin", "", "adapter.delete", "acme", "one"),
        ("admin", "", "key.create", "acme", second["kid"]),
        ("admin", "", "key.revoke", "acme", second["kid"]),
        ("admin", "", "tenant.delete", "acme", ""),
    ]
    assert [r["detail"] for r in found[2:5]] == [version, version + ", not active", version]
    numbers = [r["number"] for r in found]
    assert numbers == sorted(numbers)
    assert all(re.fullmatch(r"req_[0-9a-f]{24}", r["request"]) for r in found)
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", r["time"]) for r in found)
    assert len({r["request"] for r in found}) == len(found)
    # The request ids are those of the daemon's log.
    assert all(r["request"] in d.read_log() for r in found)
    text = str(found)
    assert made["key"] not in text and second["key"] not in text and "secret label" not in text


def test_what_fails_is_not_told(d):
    admin = d.client()
    before = rows(admin)
    assert admin.post("/tenants", {"id": "UPPER"}).status == 400
    assert admin.delete("/tenants/nobody-there").status == 404
    assert admin.delete("/adapters/nothing", tenant="nobody-there").status == 404
    assert admin.post("/tenants/nobody-there/keys", {}).status == 404
    assert d.client().with_key("0" * 40).post("/tenants", {"id": "x"}).status == 401
    assert rows(admin) == before


def test_pages_and_tenants(d):
    admin = d.client()
    for i in range(5):
        assert admin.post("/tenants", {"id": f"page-{i}"}).status == 201
    every = rows(admin)
    assert rows(admin, limit=2) == every
    page = admin.get("/audit", limit=2).json
    assert page["data"] == every[:2] and page["next"] == str(every[1]["number"])
    assert rows(admin, tenant="page-3") == [r for r in every if r["tenant"] == "page-3"]
    assert rows(admin, tenant="never-there") == []
    assert admin.get("/audit", after=every[-1]["number"]).json == {"data": [], "next": None}
    # The newest first, in pages, of one tenant.
    newest = admin.get("/audit", order="newest", limit=2).json
    assert newest["data"] == every[:-3:-1] and newest["next"] == str(every[-2]["number"])
    assert admin.get("/audit", order="newest", limit=2, after=newest["next"]).json["data"] == every[-3:-5:-1]
    assert admin.get("/audit", order="newest", limit=1000).json == {"data": every[::-1], "next": None}
    assert admin.get("/audit", order="oldest", limit=1000).json["data"] == every
    assert [r["tenant"] for r in admin.get("/audit", order="newest", tenant="page-3").json["data"]] == ["page-3"]
    for name, bad in (("order", "down"), ("order", "")):
        assert (answer := admin.get("/audit", **{name: bad})).code == "invalid_parameter", answer
    assert admin.get("/tenants", order="newest").code == "unknown_parameter"
    for bad in ("x", "1x", "99999999999999999999"):
        answer = admin.get("/audit", after=bad)
        assert (answer.status, answer.code) == (400, "invalid_parameter"), answer


def test_adapterctl(d, ctl):
    admin = d.client()
    assert admin.post("/tenants", {"id": "for-ctl"}).status == 201
    every = rows(admin)
    shown = ctl(d, "audit")
    assert shown.status == 0 and shown.out.splitlines()[0].split() == ["TIME", "ACTOR", "ACTION", "TENANT", "TARGET", "DETAIL",
                                                                     "REQUEST"]
    assert len(shown.out.splitlines()) == len(every) + 1 and "tenant.create" in shown.out
    parsed = list(csv.DictReader(io.StringIO(ctl(d, "audit", "--csv").out)))
    assert parsed == [{k: str(v) for k, v in r.items()} for r in every]
    few = list(csv.DictReader(io.StringIO(ctl(d, "audit", "--csv", "--limit", 2).out)))
    assert [r["number"] for r in few] == [str(r["number"]) for r in every[:-3:-1]]
    one = ctl(d, "--json", "audit", "--tenant", "for-ctl").out
    assert '"tenant.create"' in one and '"next":null' in one


def test_without_keys_the_actor_says_so(start):
    d = start("mlp", None, "--no-auth")
    assert d.anonymous().post("/tenants", {"id": "a"}).status == 201
    assert told(rows(d.anonymous())) == [("no-auth", "", "tenant.create", "a", "")]


def test_rows_outlive_a_crash_and_cannot_be_changed(start):
    d = start("mlp")
    acme = d.tenant("acme")
    assert acme.upload(GOOD, name="one").status == 201
    before = rows(d.client())
    d.kill()
    d = start("mlp", d.data)
    assert rows(d.client()) == before and len(before) == 3
    d.stop()
    db = sqlite3.connect(os.path.join(d.data, "registry.db"))
    for change in ("UPDATE audit SET actor = 'x'", "DELETE FROM audit", "DELETE FROM audit WHERE number = 1",
                   "REPLACE INTO audit SELECT * FROM audit WHERE number = 1",
                   "INSERT INTO audit SELECT * FROM audit WHERE number = 1"):
        with pytest.raises(sqlite3.Error, match="append-only"):
            db.execute(change)
    db.close()
    d = start("mlp", d.data)
    assert rows(d.client()) == before


# Which rows a successful call of each changing route adds; routes that change nothing in the registry have none. A new route
# must be named here, with a test above or in its own file that its rows are there.
CHANGES = {
    ("POST", "/adapters"): {"adapter.upload", "adapter.activate"},
    ("PATCH", "/adapters/{name}"): {"adapter.activate", "adapter.canary"},
    ("DELETE", "/adapters/{name}"): {"adapter.delete"},
    ("DELETE", "/adapters/{name}/versions/{version}"): {"version.delete"},
    ("POST", "/v1/files"): {"file.upload"},
    ("DELETE", "/v1/files/{id}"): {"file.delete"},
    ("POST", "/v1/fine_tuning/jobs"): {"job.create"},
    ("POST", "/v1/fine_tuning/jobs/{id}/cancel"): {"job.cancel"},
    ("POST", "/v1/fine_tuning/jobs/{id}/pause"): {"job.pause"},
    ("POST", "/v1/fine_tuning/jobs/{id}/resume"): {"job.resume"},
    ("POST", "/train/estimate"): set(),
    ("POST", "/train/preview"): set(),
    ("POST", "/tenants"): {"tenant.create"},
    ("PATCH", "/tenants/{id}"): {"tenant.change"},
    ("DELETE", "/tenants/{id}"): {"tenant.delete"},
    ("POST", "/tenants/{id}/keys"): {"key.create"},
    ("POST", "/tenants/{id}/keys/{kid}/rotate"): {"key.rotate"},
    ("DELETE", "/tenants/{id}/keys/{kid}"): {"key.revoke"},
    ("POST", "/backup"): {"backup.start"},
    ("POST", "/fsck"): set(),
    ("POST", "/infer"): set(),
    ("POST", "/v1/completions"): set(),
    ("POST", "/v1/chat/completions"): set(),
    ("POST", "/v1/responses"): set(),
    ("POST", "/v1/embeddings"): set(),
    ("POST", "/classify"): set(),
    ("POST", "/tokenize"): set(),
    ("POST", "/detokenize"): set(),
}


def test_every_changing_route_has_its_action():
    text = read(os.path.join(ROOT, "server", "routes.c")).decode()
    routes = set(re.findall(r'\{"([A-Z]+)", "([^"]+)", ROLE_', text))
    assert {r for r in routes if r[0] != "GET"} == set(CHANGES)
    sources = glob.glob(os.path.join(ROOT, "adapters", "**", "*.c"), recursive=True)
    code = "".join(read(path).decode() for path in sources)
    for action in set.union(*CHANGES.values()):
        assert f'"{action}"' in code
    documented = read(os.path.join(ROOT, "docs", "http-api.md")).decode()
    for action in set.union(*CHANGES.values()):
        assert f"`{action}`" in documented, action
