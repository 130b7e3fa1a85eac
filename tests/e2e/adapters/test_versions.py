"""An adapter's versions over their whole life: which one a name means, and who changed that when."""
import hashlib
import json
import os
import re
import threading

import pytest

from client import eventually, read
from daemon import DEMO, ROOT
from names import CONFIG, INPUT, Names, weights


@pytest.fixture
def names(tenant):
    return Names(tenant)


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


# ---- canary ----

KEYS = [f"user-{i}" for i in range(60)]


def test_a_canary_serves_its_share_of_the_keys(names):
    """The same key gives the same version; a larger share only moves keys to the canary."""
    one, two = names.versions
    before, counts = set(), []
    for percent in (0.01, 20, 50, 99.99, 100):
        answer = names.patch({"canary": {"version": one[:15], "percent": percent}})
        assert answer.status == 200 and answer.json["canary"] == {"version": one, "percent": percent}
        assert answer.json["version"] == two
        served = {key: names.served(affinity=key) for key in KEYS}
        assert {key: names.served(affinity=key) for key in KEYS[:10]} == {key: served[key] for key in KEYS[:10]}
        moved = {key for key, version in served.items() if version == one}
        assert before <= moved
        before = moved
        counts.append(len(moved))
    assert counts[0] < 5 and 3 < counts[1] < 30 and 15 < counts[2] < 45 and counts[4] == len(KEYS), counts
    assert names.served() == one, "all of them, those without a key, too"
    assert names.client.infer(adapter=f"a@{two}", input=INPUT).json["adapter"]["version"] == two
    listed = names.client.infer(adapter=[{"adapter": "a"}], input=INPUT, affinity="k").json["adapter"]
    assert listed[0]["version"] == one
    assert names.patch({"canary": None}).json["canary"] is None
    assert names.served(affinity="user-1") == two
    assert names.patch({"canary": None}).status == 200


def test_without_a_key_each_request_draws_anew(names):
    names.patch({"canary": {"version": names.versions[0], "percent": 50}})
    assert {names.served() for _ in range(60)} == set(names.versions)


def test_a_canary_ends_when_its_version_is_activated_or_deleted(names):
    one, two = names.versions
    three = names.upload(3, activate="false")
    canary = {"canary": {"version": one, "percent": 100}}
    assert names.patch(canary).json["canary"]["version"] == one
    assert names.patch({"canary": {"version": three, "percent": 7}}).json["canary"] == {"version": three, "percent": 7}
    assert names.patch({"version": three}).json["canary"] is None
    assert names.patch(canary).status == 200
    assert names.patch({"rollback": True}).json["canary"]["version"] == one, "another one's activation leaves it"
    assert names.served() == one
    assert delete(names, one).status == 204
    assert names.show()["canary"] is None and names.served() == two


def test_a_canary_survives_a_crash(start):
    d = start("mlp")
    names = Names(d.tenant("acme"))
    shown = names.patch({"canary": {"version": names.versions[0], "percent": 12.5}}).json
    served = [names.served(affinity=key) for key in KEYS]
    d.kill()
    d = start("mlp", d.data)
    names.client = d.client(names.client.key)
    assert names.show() == shown and [names.served(affinity=key) for key in KEYS] == served
    rows = d.client().get("/audit").json["data"]
    assert (rows[-1]["action"], rows[-1]["detail"]) == ("adapter.canary", f"{names.versions[0]}, 12.50 %")


@pytest.mark.parametrize("canary, status, code", [
    ("x", 400, "invalid_type"), ({}, 400, "missing_field"), ({"percent": 5}, 400, "missing_field"),
    ({"version": "active"}, 400, "missing_field"), ({"version": "active", "percent": 5}, 409, "version_active"),
    ({"version": "0000", "percent": 5}, 404, "version_not_found"), ({"version": "one", "percent": 0}, 400, "out_of_range"),
    ({"version": "one", "percent": 100.5}, 400, "out_of_range"), ({"version": "one", "percent": "5"}, 400, "invalid_type"),
    ({"version": "one", "percent": 0.015}, 400, "out_of_range"), ({"version": "one", "percent": 33.333}, 400, "out_of_range"),
    ({"version": "one", "percent": 5, "more": 1}, 400, "unknown_field"),
])
def test_canaries_that_are_refused(names, canary, status, code):
    if isinstance(canary, dict) and "version" in canary:
        canary = {**canary, "version": {"one": names.versions[0], "active": names.versions[1]}.get(canary["version"], canary["version"])}
    answer = names.patch({"canary": canary})
    assert (answer.status, answer.code) == (status, code), answer
    assert names.show()["canary"] is None
    assert names.patch({"canary": None, "version": names.versions[0]}).code == "field_conflict"
    for affinity, code in (("", "out_of_range"), (257 * "x", "out_of_range"), (1, "invalid_type"), (None, "invalid_type")):
        assert names.client.infer(adapter="a", input=INPUT, affinity=affinity).code == code


def test_adapterctl_sets_canaries(ctl, mlp, names):
    key = names.client.key
    done = ctl(mlp, "--json", "adapters", "canary", f"a@{names.versions[0]}", "12.5", key=key)
    assert done.status == 0 and json.loads(done.out)["canary"] == {"version": names.versions[0], "percent": 12.5}, done
    done = ctl(mlp, "adapters", "canary", "a", "off", key=key)
    assert done.status == 0 and names.show()["canary"] is None
    for bad in (("a", "5"), ("a@1234", "off"), ("a@1234", "x"), ("a@1234", "")):
        assert ctl(mlp, "adapters", "canary", *bad, key=key).status == 2, bad


# ---- delete a version ----

def delete(names, version, **query):
    return names.client.delete(f"{names.path}/versions/{version}", **query)


def test_a_version_is_deleted_and_the_active_one_only_by_force(names):
    one, two = names.versions
    answer = delete(names, two)
    assert (answer.status, answer.code) == (409, "version_active")
    answer = delete(names, two, force="false")
    assert answer.code == "version_active"
    answer = names.client.request("DELETE", f"{names.path}/versions/{one}", headers={"If-Match": f'"{one}"'})
    assert answer.code == "version_conflict"
    assert delete(names, one).status == 204
    answer = delete(names, one)
    assert (answer.status, answer.code) == (404, "version_not_found")
    assert [v["version"] for v in names.show()["versions"]] == [two] and names.served() == two
    for reference in (one, one[:15]):
        assert names.client.infer(adapter=f"a@{reference}", input=INPUT).code == "version_not_found"
    assert names.patch({"version": one}).code == "version_not_found"
    assert names.patch({"rollback": True}).code == "no_previous_version"
    assert delete(names, two[7:17], force="true").status == 204
    shown = names.show()
    assert shown["version"] is None and shown["versions"] == [] and history(shown) == [None, two, one]
    answer = names.client.infer(adapter="a", input=INPUT)
    assert (answer.status, answer.code) == (404, "version_not_found")
    assert names.upload(1) == one and names.served() == one


@pytest.mark.parametrize("version, query, status, code", [
    ("0" * 64, {}, 404, "version_not_found"), ("abc", {}, 404, "version_not_found"), ("sha256:zz", {}, 404, "version_not_found"),
    ("ABCD", {}, 404, "not_found"), ("sha256:", {}, 404, "not_found"), ("sha512:abcd", {}, 404, "not_found"),
    ("sha256%3Aabcd", {}, 404, "not_found"), ("abcd", {"force": "yes"}, 400, "invalid_parameter"),
    ("abcd", {"force": ""}, 400, "invalid_parameter"), ("abcd", {"limit": 1}, 400, "unknown_parameter"),
])
def test_deleting_what_is_not_there(names, version, query, status, code):
    answer = delete(names, version, **query)
    assert (answer.status, answer.code) == (status, code)


def test_a_version_in_use_goes_with_its_last_use(start):
    """It vanishes at once; the run on it ends as it would have; then its files go."""
    d = start()
    client = d.tenant("acme")
    versions = {name: client.upload(os.path.join(DEMO, "adapters", name), name="a").json["version"] for name in ("mask", "voice")}
    fields = dict(prompt="Once upon a time", max_tokens=300, ignore_eos=True)
    alone = client.infer(adapter="a", **fields).json["tokens"]
    files = d.files()
    assert len(files) == 4
    events = client.events(adapter="a", **fields)
    tokens = next(events)[1]["tokens"]
    assert client.delete(f"/adapters/a/versions/{versions['voice']}", force="true").status == 204
    assert client.infer(adapter="a@" + versions["voice"], prompt="a").code == "version_not_found"
    assert client.get("/adapters/a").json["version"] is None
    rest = [event for name, event in events if event != "[DONE]"]
    for event in rest:
        tokens += event["tokens"]
    assert tokens == alone and rest[-1]["adapter"]["version"] == versions["voice"]
    eventually(lambda: len(d.files()) == 2)
    d.kill()
    d = start("demo", d.data)
    assert client.with_key(client.key) and len(d.files()) == 2


def test_what_a_crash_left_of_a_deferred_delete_is_swept(start):
    d = start()
    client = d.tenant("acme")
    version = client.upload(os.path.join(DEMO, "adapters", "mask"), name="a").json["version"]
    events = client.events(adapter="a", prompt="Once upon a time", max_tokens=400, ignore_eos=True)
    next(events)
    assert client.delete(f"/adapters/a/versions/{version}", force="true").status == 204
    d.kill()
    d = start("demo", d.data)
    assert d.files() == {} and d.client(client.key).get("/adapters/a").json["versions"] == []


# ---- download ----

FILES = ("adapter_config.json", "adapter_model.safetensors")


def test_a_download_gives_back_the_very_bytes(names):
    one, two = names.versions
    for version, factor in ((one, 1), (two, 2)):
        entry = next(v for v in names.show()["versions"] if v["version"] == version)
        assert [f["name"] for f in entry["files"]] == list(FILES)
        for file, content in zip(entry["files"], (CONFIG, weights(factor)), strict=True):
            path = f"{names.path}/versions/{version}/files/{file['name']}"
            answer = names.client.get(path)
            assert answer.status == 200 and answer.body == content
            assert file["bytes"] == len(content) == int(answer.headers["Content-Length"])
            assert answer.headers["ETag"] == f'"sha256:{hashlib.sha256(content).hexdigest()}"' == f'"sha256:{file["sha256"]}"'
            assert answer.headers["X-Adapter-Version"] == version
            head = names.client.request("HEAD", path)
            assert head.status == 200 and head.body == b"" and head.headers["Content-Length"] == str(len(content))
            same = names.client.request("GET", path, headers={"If-None-Match": answer.headers["ETag"]})
            assert (same.status, same.body) == (304, b"")


def test_downloads_that_lead_nowhere(names):
    for path, code in ((f"/adapters/none/versions/{names.versions[0]}/files/adapter_config.json", "adapter_not_found"),
                       (f"{names.path}/versions/{64 * '0'}/files/adapter_config.json", "version_not_found"),
                       (f"{names.path}/versions/{names.versions[0]}/files/config.json", "not_found"),
                       (f"{names.path}/versions/{names.versions[0]}/files/", "not_found"),
                       (f"{names.path}/versions/{names.versions[0]}/files/../files/adapter_config.json", "not_found")):
        answer = names.client.get(path)
        assert (answer.status, answer.code) == (404, code), path


def test_a_download_of_damaged_files_is_refused(start):
    d = start("mlp")
    names = Names(d.tenant("acme"))
    for path in d.files():
        if os.path.getsize(os.path.join(d.data, path)) > len(CONFIG):
            with open(os.path.join(d.data, path), "ab") as f:
                f.write(b"x")
    answer = names.client.get(f"{names.path}/versions/{names.versions[0]}/files/{FILES[1]}")
    assert (answer.status, answer.code) == (503, "adapter_broken") and "ETag" not in answer.headers


def test_a_large_download_outlives_its_version(start, tmp_path):
    """Blocks are read as they are sent, with memory for one; the version may be deleted meanwhile."""
    d = start()
    client = d.tenant("acme")
    directory = os.path.join(DEMO, "adapters", "mask")
    version = client.upload(directory, name="a").json["version"]
    connection, response = client.open("GET", f"/adapters/a/versions/{version}/files/{FILES[1]}")
    try:
        head = response.read(1)
        assert client.delete("/adapters/a").status == 204
        assert head + response.read() == read(os.path.join(directory, FILES[1]))
    finally:
        connection.close()
    eventually(lambda: d.files() == {})


# ---- adapterctl ----

def test_adapterctl_deletes_one_version(ctl, mlp, names):
    one, two = names.versions
    key = names.client.key
    done = ctl(mlp, "adapters", "delete", f"a@{two}", key=key)
    assert done.status == 1 and "version_active" in done.err and "force" in done.err
    done = ctl(mlp, "adapters", "delete", f"a@{one}", key=key)
    assert (done.status, done.out) == (0, f"version {one[7:]} of adapter a deleted\n"), done
    done = ctl(mlp, "adapters", "delete", f"a@{two[:17]}", "--force", "--tenant", f"t{mlp.tenants}")
    assert done.status == 0 and names.show()["versions"] == []
    assert ctl(mlp, "adapters", "delete", "a", "--force", key=key).status == 2
    assert ctl(mlp, "adapters", "delete", "a", key=key).out == "adapter a deleted\n"


def test_adapterctl_downloads(ctl, mlp, names, tmp_path):
    one, two = names.versions
    key, there = names.client.key, tmp_path / "new"
    done = ctl(mlp, "adapters", "download", "a", there, key=key)
    assert (done.status, done.out) == (0, f"{two} of adapter a is in {there}\n"), done
    assert sorted(os.listdir(there)) == sorted(FILES)
    assert [read(there / name) for name in FILES] == [CONFIG, weights(2)]
    done = ctl(mlp, "adapters", "download", f"a@{one[:15]}", there, key=key)
    assert done.status == 1 and "there already" in done.err and "--force" in done.err
    assert read(there / FILES[1]) == weights(2)
    done = ctl(mlp, "--json", "adapters", "download", f"a@{one[:15]}", there, "--force", key=key)
    assert done.status == 0 and json.loads(done.out)["version"] == one
    assert sorted(os.listdir(there)) == sorted(FILES) and read(there / FILES[1]) == weights(1)
    os.unlink(there / FILES[0])  # one of both is there: nothing is written
    assert ctl(mlp, "adapters", "download", "a", there, key=key).status == 1
    assert os.listdir(there) == [FILES[1]] and read(there / FILES[1]) == weights(1)
    for name in ("a@0000", "b", "a@x"):
        assert ctl(mlp, "adapters", "download", name, tmp_path / "other", key=key).status == 1
        assert not (tmp_path / "other").exists()


def test_adapterctl_keeps_nothing_that_came_damaged(ctl, start, tmp_path):
    """The size is right and the bytes are not: the daemon sees it by their SHA-256 and sends none of them."""
    d = start("mlp")
    names = Names(d.tenant("acme"), count=1)
    for path in d.files():
        full = os.path.join(d.data, path)
        content = bytearray(read(full))
        content[-1] ^= 1
        with open(full, "wb") as f:
            f.write(content)
    done = ctl(d, "adapters", "download", "a", tmp_path / "new", key=names.client.key)
    assert done.status == 1 and "adapter_broken" in done.err and os.listdir(tmp_path / "new") == []




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
    for version in found["versions"] + shown["versions"]:  # norms are younger than that schema
        version["proof"] = {key: version["proof"][key] for key in ("max_logit_change", "mean_logit_change")}
    assert found["versions"] == shown["versions"]
    assert [(row["version"], row["by"]) for row in found["history"]] == [(names.versions[1], None)]
    assert client.patch("/adapters/a", {"version": names.versions[0]}).status == 200
    assert client.patch("/adapters/a", {"rollback": True}).json["version"] == names.versions[1]


def test_an_answer_shows_what_its_own_change_made_of_the_name(tenant):
    """Many activate at the same time: what each is answered is not what another one made of it a moment later."""
    names = Names(tenant, count=4)
    others = []

    def activate(version):
        for _ in range(25):
            answer = names.patch({"version": version})
            shown = answer.json.get("version"), answer.headers["X-Adapter-Version"], answer.headers["ETag"][1:72]
            if answer.status != 200 or set(shown) != {version}:
                others.append((version, answer))

    threads = [threading.Thread(target=activate, args=(v,)) for v in names.versions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not others, others[0]
