"""An adapter's versions over their whole life: which one a name means, and who changed that when."""
import json
import os
import re
import struct
import threading

import pytest

from client import read
from daemon import DEMO, ROOT
from fixtures import adapter

CONFIG = read(os.path.join(adapter("mlp", "r4"), "adapter_config.json"))
RAW = read(os.path.join(adapter("mlp", "r4"), "adapter_model.safetensors"))
INPUT = [16 * [0.5]]


def weights(factor):
    """The weights of a tiny adapter of the mlp, every number times `factor`: another version."""
    data = 8 + struct.unpack("<Q", RAW[:8])[0]
    values = struct.unpack(f"<{(len(RAW) - data) // 4}f", RAW[data:])
    return RAW[:data] + struct.pack(f"<{len(values)}f", *(x * factor for x in values))


class Names:
    """A tenant of its own with versions under one name."""

    def __init__(self, client, name="a", count=2):
        self.client, self.name, self.path = client, name, f"/adapters/{name}"
        self.versions = [self.upload(1 + i) for i in range(count)]

    def upload(self, factor, **fields):
        answer = self.client.upload(config=CONFIG, weights=weights(factor), name=self.name, **fields)
        assert answer.status in (200, 201), answer
        return answer.json["version"]

    def show(self):
        return self.client.get(self.path).json

    def patch(self, body, etag=None):
        return self.client.patch(self.path, body, {"If-Match": etag} if etag else {})

    def served(self, **fields):
        answer = self.client.infer(adapter=self.name, input=INPUT, **fields)
        assert answer.status == 200, answer
        return answer.json["adapter"]["version"]


@pytest.fixture(scope="module")
def mlp(tmp_path_factory):
    from daemon import Daemon, model_path

    d = Daemon(model_path("mlp"), tmp_path_factory.mktemp("mlp") / "data", "--threads", "1")
    d.tenants = 0
    yield d
    d.stop()


@pytest.fixture
def names(mlp):
    mlp.tenants += 1
    return Names(mlp.tenant(f"t{mlp.tenants}"))


def history(shown):
    return [row["version"] for row in shown["history"]]


# ---- activate, roll back ----

def test_a_name_moves_to_a_version_and_back(names):
    one, two = names.versions
    answer = names.patch({"version": one})
    assert answer.status == 200 and answer.json["version"] == one and answer.headers["X-Adapter-Version"] == one
    assert answer.json == names.show()
    assert [v["active"] for v in answer.json["versions"]] == [False, True]
    assert names.served() == one
    assert names.patch({"rollback": True}).json["version"] == two and names.served() == two
    assert names.patch({"rollback": True}).json["version"] == one and names.served() == one
    assert names.patch({"version": two.removeprefix("sha256:")[:8]}).json["version"] == two
    assert history(names.show()) == [two, one, two, one, two, one]
    answer = names.patch({"version": two})  # it is already: nothing happens
    assert answer.status == 200 and len(answer.json["history"]) == 6


def test_the_history_says_who_and_when(start, mlp):
    d = start("mlp")
    names = Names(d.tenant("acme"))
    kid = d.client().get("/tenants/acme/keys").json["data"][0]["kid"]
    assert d.client().patch("/adapters/a", {"tenant": "acme", "version": names.versions[0]}).status == 200
    shown = names.show()
    assert [row["by"] for row in shown["history"]] == ["admin", kid, kid]
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", row["time"]) for row in shown["history"])
    key = names.client.key
    d.stop()
    d = start("mlp", d.data)
    assert d.client(key).get("/adapters/a").json == shown, "it survives a restart"
    assert d.client(key).patch("/adapters/a", {"rollback": True}).json["version"] == names.versions[1]


def test_uploads_of_what_is_there_activate_it_and_count_as_activations(names):
    one, two = names.versions
    assert names.upload(1) == one
    assert history(names.show()) == [one, two, one]
    assert names.upload(2, activate="false") == two
    assert history(names.show()) == [one, two, one]


def test_without_a_version_before_there_is_no_way_back(mlp):
    mlp.tenants += 1
    alone = Names(mlp.tenant(f"t{mlp.tenants}"), count=1)
    answer = alone.patch({"rollback": True})
    assert (answer.status, answer.code) == (409, "no_previous_version")
    alone.upload(2, activate="false")  # was never active
    assert alone.patch({"rollback": True}).code == "no_previous_version"


@pytest.mark.parametrize("body, status, code", [
    ({}, 400, "missing_field"),
    ({"tenant": "t1"}, 400, "missing_field"),
    ({"version": 1}, 400, "invalid_type"),
    ({"version": None}, 400, "invalid_type"),
    ({"version": "f" * 100}, 400, "out_of_range"),
    ({"version": "abc"}, 404, "version_not_found"),
    ({"version": "nothex"}, 404, "version_not_found"),
    ({"version": "abcd\0"}, 404, "version_not_found"),
    ({"version": 64 * "0"}, 404, "version_not_found"),
    ({"version": "sha256:" + 64 * "0"}, 404, "version_not_found"),
    ({"rollback": False}, 400, "out_of_range"),
    ({"rollback": 1}, 400, "invalid_type"),
    ({"rollback": True, "version": 64 * "0"}, 400, "field_conflict"),
    ({"active": True, "version": 64 * "0"}, 400, "unknown_field"),
    (b"[]", 400, "invalid_json"),
    (b'{"rollback": true, "rollback": true}', 400, "invalid_json"),
    (b"", 400, "invalid_json"),
])
def test_changes_that_are_refused(mlp, names, body, status, code):
    if isinstance(body, dict) and "tenant" in body:
        body = {**body, "tenant": f"t{mlp.tenants}"}
    before = names.show()
    answer = names.patch(body)
    assert (answer.status, answer.code) == (status, code), answer
    assert names.show() == before


# ---- compare and swap ----

def test_if_match_swaps_only_what_was_seen(names):
    one, two = names.versions
    etag = names.client.get(names.path).headers["ETag"]
    assert re.fullmatch(f'"{two}-[0-9a-f]{{16}}"', etag)
    answer = names.patch({"version": one}, etag)
    assert answer.status == 200 and answer.headers["ETag"] != etag
    lost = names.patch({"version": two}, etag)
    assert (lost.status, lost.code) == (409, "version_conflict")
    assert lost.json["error"]["current"] == one and one in lost.json["error"]["message"]
    assert names.show()["version"] == one
    for good in (answer.headers["ETag"], f'"{one}"', f'"{two}", "{one}"', "*", one, f'W/"{one}"'):
        assert names.patch({"version": one}, good).status == 200, good
    for bad in (f'"{two}"', '"none"', f'"{two}", "none"'):
        assert names.patch({"rollback": True}, bad).code == "version_conflict", bad
        assert names.client.request("DELETE", names.path, headers={"If-Match": bad}).code == "version_conflict"
    for malformed in ('"x"', ",", f'"{one[:20]}"', f'"{one}x"', ", ".join(9 * [f'"{two}"']), 3000 * "x"):
        answer = names.patch({"version": two}, malformed)
        assert (answer.status, answer.code) == (400, "invalid_header"), malformed
    assert names.show()["version"] == one
    assert names.client.request("DELETE", names.path, headers={"If-Match": f'"{one}"'}).status == 204


def test_without_an_active_version_none_is_the_tag(mlp):
    mlp.tenants += 1
    names = Names(mlp.tenant(f"t{mlp.tenants}"), count=0)
    one = names.upload(1, activate="false")
    answer = names.client.get(names.path)
    assert answer.json["version"] is None and answer.json["history"] == [] and answer.headers["ETag"].startswith('"none-')
    lost = names.patch({"version": one}, f'"{one}"')
    assert lost.code == "version_conflict" and lost.json["error"]["current"] is None
    assert names.patch({"version": one}, answer.headers["ETag"]).json["version"] == one


def test_one_of_many_swaps_wins(names):
    etag, results = names.client.get(names.path).headers["ETag"], []

    def swap(version):
        results.append(names.patch({"version": version}, etag).status)

    names.upload(3, activate="false")
    versions = [v["version"] for v in names.show()["versions"] if not v["active"]]
    threads = [threading.Thread(target=swap, args=(v,)) for v in versions * 4]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results) == [200] + 7 * [409]
    assert len(names.show()["history"]) == 3


def test_if_none_match_saves_the_body(names):
    client = names.client

    def get(etag, method="GET"):
        return client.request(method, names.path, headers={"If-None-Match": etag})

    etag = client.get(names.path).headers["ETag"]
    for same in (etag, f'W/{etag}', f'"x", {etag}', "*"):
        answer = get(same)
        assert (answer.status, answer.body) == (304, b"") and answer.headers["ETag"] == etag, same
        assert get(same, "HEAD").status == 304
    assert get('"x"').status == 200
    assert client.request("HEAD", names.path).headers["ETag"] == etag
    names.upload(3, activate="false")  # the same active version, but not the same answer
    assert get(etag).status == 200
    assert client.request("PATCH", names.path, {"version": names.versions[1]}, {"If-None-Match": "*"}).status == 200


# ---- requests that run ----

def test_running_requests_finish_on_what_they_started_with(start):
    """A name moves in the middle of a run: the run ends as it would have, the next one is the new version's."""
    d = start()
    client = d.tenant("acme")
    versions = {}
    for name in ("mask", "voice"):
        versions[name] = client.upload(os.path.join(DEMO, "adapters", name), name="a").json["version"]
    fields = dict(prompt="Once upon a time", max_tokens=200, ignore_eos=True)
    alone = client.infer(adapter="a@" + versions["voice"], **fields).json
    events = client.events(adapter="a", **fields)
    tokens = next(events)[1]["tokens"]
    assert client.patch("/adapters/a", {"version": versions["mask"]}).status == 200
    assert client.infer(adapter="a", prompt="a", max_tokens=1).json["adapter"]["version"] == versions["mask"]
    rest = [event for name, event in events if event != "[DONE]"]
    for event in rest:
        tokens += event["tokens"]
    assert tokens == alone["tokens"] and rest[-1]["adapter"]["version"] == versions["voice"]


# ---- adapterctl ----

def test_adapterctl_activates_and_rolls_back(ctl, mlp, names):
    one, two = names.versions
    key = names.client.key
    done = ctl(mlp, "adapters", "activate", "a", one[:15], key=key)
    assert done.status == 0 and re.search(rf"{one[:19]}\s+yes", done.out) and re.search(rf"{two[:19]}\s+no", done.out), done
    done = ctl(mlp, "--json", "adapters", "rollback", "a", key=key)
    assert done.status == 0 and json.loads(done.out)["version"] == two
    done = ctl(mlp, "adapters", "activate", "a", "ffff", key=key)
    assert done.status == 1 and "version_not_found" in done.err
    done = ctl(mlp, "adapters", "rollback", "a", "--tenant", f"t{mlp.tenants}")
    assert done.status == 0 and names.show()["version"] == one


# ---- an older database ----

def test_a_database_of_the_first_migration_is_upgraded(start, tmp_path):
    """What was active then is the beginning of the history."""
    import sqlite3

    d = start("mlp")
    names = Names(d.tenant("acme"))
    shown = names.show()
    d.stop()
    path = os.path.join(d.data, "registry.db")
    old = sqlite3.connect(":memory:")
    old.executescript(read(os.path.join(ROOT, "migrations", "0001_initial.sql")).decode())
    now = sqlite3.connect(path)
    for table in ("tenants", "keys", "adapters", "versions"):
        columns = [row[1] for row in old.execute(f"PRAGMA table_info({table})")]
        for row in now.execute(f"SELECT {', '.join(columns)} FROM {table}"):
            old.execute(f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({', '.join('?' * len(row))})", row)
    old.execute(f"PRAGMA application_id = {now.execute('PRAGMA application_id').fetchone()[0]}")
    old.execute("PRAGMA user_version = 1")
    old.commit()
    now.close()
    os.unlink(path)
    older = sqlite3.connect(path)
    old.backup(older)
    older.close()
    d = start("mlp", d.data)
    client = d.client(names.client.key)
    found = client.get("/adapters/a").json
    assert found["versions"] == shown["versions"]
    assert [(row["version"], row["by"]) for row in found["history"]] == [(names.versions[1], None)]
    assert client.patch("/adapters/a", {"version": names.versions[0]}).status == 200
    assert client.patch("/adapters/a", {"rollback": True}).json["version"] == names.versions[1]
