"""What customers say about their adapters: labels, a note, and when a name ends."""
import datetime
import json

import pytest

from client import eventually
from names import INPUT, Names

LATER = "2099-01-31T12:00:00.000Z"


def soon(ms):
    at = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(milliseconds=ms)
    return at.strftime("%Y-%m-%dT%H:%M:%S.") + f"{at.microsecond // 1000:03d}Z"


@pytest.fixture
def names(tenant):
    return Names(tenant, count=1)


def about(shown):
    return {key: shown[key] for key in ("labels", "note", "expires_at", "expired")}


NOTHING = {"labels": {}, "note": "", "expires_at": None, "expired": False}


def test_they_are_set_together_and_one_by_one(names):
    assert about(names.show()) == NOTHING
    answer = names.patch({"labels": {"team": "care", "a.b-c_0": "é \"x\":\"y\""}, "note": "of May", "expires_at": LATER})
    assert answer.status == 200 and answer.json == names.show()
    expected = {"labels": {"team": "care", "a.b-c_0": "é \"x\":\"y\""}, "note": "of May", "expires_at": LATER, "expired": False}
    assert about(answer.json) == expected
    (row,) = names.client.get("/adapters").json["data"]
    assert {key: row[key] for key in ("labels", "expires_at", "expired")}.items() <= expected.items() and "note" not in row
    assert names.patch({"labels": {"team": None, "stage": ""}}).json["labels"] == {"a.b-c_0": "é \"x\":\"y\"", "stage": ""}
    assert names.patch({"note": ""}).json["note"] == ""
    shown = names.patch({"expires_at": None}).json
    assert shown["expires_at"] is None and len(shown["labels"]) == 2
    assert about(names.patch({"labels": None}).json) == NOTHING
    assert names.served() == names.versions[0] and len(names.show()["history"]) == 1


def test_they_survive_a_crash_and_a_new_version(start):
    d = start("mlp")
    names = Names(d.tenant("acme"), count=1)
    before = about(names.patch({"labels": {"k": "v"}, "note": "n", "expires_at": LATER}).json)
    names.upload(2)
    d.kill()
    d = start("mlp", d.data)
    names.client = d.client(names.client.key)
    assert about(names.show()) == before
    assert [row["name"] for row in names.client.get("/adapters", label="k:v").json["data"]] == ["a"]
    rows = d.client().get("/audit", tenant="acme").json["data"]
    assert [(r["action"], r["target"], r["detail"]) for r in rows if r["action"] == "adapter.change"] == [
        ("adapter.change", "a", f"labels, note, expires_at={LATER}")]


def test_an_expired_name_is_refused_at_once_and_can_come_back(names):
    version, digits = names.versions[0], names.versions[0][7:17]
    for ms in (1000, 5000, 30000):  # on a busy machine a time to come may be over when it arrives
        answer = names.patch({"expires_at": soon(ms)})
        if answer.status == 200:
            break
    end = answer.json["expires_at"]
    eventually(lambda: names.show()["expired"], 40)
    for reference in ("a", f"a@{digits}", [{"adapter": "a", "scale": 1}]):
        answer = names.client.infer(adapter=reference, input=INPUT)
        assert (answer.status, answer.code) == (404, "adapter_expired"), reference
    assert names.client.infer(adapter=None, input=INPUT).status == 200
    (row,) = names.client.get("/adapters").json["data"]
    assert row["expired"] is True and row["expires_at"] == end and row["version"] == version
    newer = names.upload(2)
    assert names.client.infer(adapter="a", input=INPUT).code == "adapter_expired", "an upload does not change the end"
    assert names.patch({"version": version}).status == 200 and names.patch({"note": "x"}).json["expired"] is True
    assert names.client.get(f"{names.path}/versions/{newer}").status == 200
    assert names.patch({"expires_at": LATER}).json["expired"] is False and names.served() == version


def test_a_list_by_label_has_those_with_it_page_by_page(mlp):
    client = mlp.tenant("lists")
    for i in range(7):
        names = Names(client, f"n{i}", count=1)
        labels = {"parity": "odd" if i % 2 else "even", "x": f'"parity":"odd"{i}'}
        assert names.patch({"labels": labels}).status == 200
    Names(client, "bare", count=1)
    found, after = [], None
    while True:
        page = client.get("/adapters", label="parity:even", limit=2, **({"after": after} if after else {})).json
        found.append([row["name"] for row in page["data"]])
        if not (after := page["next"]):
            break
    assert found == [["n0", "n2"], ["n4", "n6"]]
    for label, expected in (("parity:odd", ["n1", "n3", "n5"]), ("parity:eve", []), ("arity:even", []), ('x:"parity":"odd"3', ["n3"]),
                            ("parity:", []), ("none:x", [])):
        assert [row["name"] for row in client.get("/adapters", label=label).json["data"]] == expected, label
    for label in ("", "parity", ":x", "P:x", "a b:x", 64 * "k" + ":x", "k:" + 257 * "x"):
        answer = client.get("/adapters", label=label)
        assert (answer.status, answer.code) == (400, "invalid_parameter"), label
    assert client.request("GET", "/adapters?label=k:%ff").code == "invalid_parameter"
    assert client.get("/adapters/n0", label="a:b").code == "unknown_parameter"


def test_what_is_as_large_as_it_may_be(names):
    labels = {f"{i:063d}": 128 * "é" for i in range(16)}
    assert names.patch({"labels": labels, "note": 512 * "é"}).json["labels"] == labels
    answer = names.patch({"labels": {"one-more": ""}})
    assert (answer.status, answer.code, answer.json["error"]["param"]) == (400, "out_of_range", "labels")
    assert names.patch({"labels": {"one-more": "", f"{0:063d}": None}}).status == 200
    (row,) = names.client.get("/adapters", label=f"{1:063d}:" + 128 * "é").json["data"]
    assert len(row["labels"]) == 16


@pytest.mark.parametrize("body, code, param", [
    ({"labels": []}, "invalid_type", "labels"), ({"labels": "x"}, "invalid_type", "labels"),
    ({"labels": {"k": 1}}, "invalid_type", "labels"), ({"labels": {"k": {}}}, "invalid_type", "labels"),
    ({"labels": {"": "v"}}, "out_of_range", "labels"), ({"labels": {"K": "v"}}, "out_of_range", "labels"),
    ({"labels": {64 * "k": "v"}}, "out_of_range", "labels"), ({"labels": {"k": 257 * "v"}}, "out_of_range", "labels"),
    ({"labels": {"k": "a\0b"}}, "out_of_range", "labels"), ({"labels": {f"k{i}": "" for i in range(17)}}, "out_of_range", "labels"),
    ({"note": 1}, "invalid_type", "note"), ({"note": None}, "invalid_type", "note"), ({"note": 1025 * "x"}, "out_of_range", "note"),
    ({"note": "a\0b"}, "out_of_range", "note"), ({"expires_at": 1}, "invalid_type", "expires_at"),
    ({"expires_at": "2020-01-01T00:00:00Z"}, "out_of_range", "expires_at"), ({"expires_at": "soon"}, "out_of_range", "expires_at"),
    ({"note": "x", "rollback": True}, "field_conflict", None), ({"labels": {}, "version": "abcd"}, "field_conflict", None),
    ({"expires_at": None, "canary": None}, "field_conflict", None),
])
def test_changes_that_are_refused(names, body, code, param):
    answer = names.patch(body)
    assert (answer.status, answer.code, answer.json["error"].get("param")) == (400, code, param), answer
    assert about(names.show()) == NOTHING


def test_a_lost_swap_changes_nothing(names):
    answer = names.patch({"note": "x"}, '"none"')
    assert (answer.status, answer.code) == (409, "version_conflict") and about(names.show()) == NOTHING
    assert names.patch({"note": "x"}, f'"{names.versions[0]}"').json["note"] == "x"


def test_adapterctl_sets_and_shows_them(ctl, mlp, names):
    def run(*arguments):
        done = ctl(mlp, *arguments, key=names.client.key)
        assert done.status == 0, done
        return done.out

    assert run("adapters", "label", "a", "team=care=x").split() == ["ABOUT", "TEXT", "label", "team", "care=x"]
    run("adapters", "note", "a", "of May")
    run("adapters", "expire", "a", LATER)
    assert about(names.show()) == {"labels": {"team": "care=x"}, "note": "of May", "expires_at": LATER, "expired": False}
    out = run("adapters", "show", "a")
    assert "team" in out and "of May" in out and "expires" in out and "2099-01-31" in out
    assert run("adapters", "list", "--label", "team:care=x").splitlines()[1].split()[0] == "a"
    assert len(run("adapters", "list", "--label", "team:other").splitlines()) == 1
    assert json.loads(run("--json", "adapters", "label", "a", "team-"))["labels"] == {}
    run("adapters", "expire", "a", "never")
    run("adapters", "note", "a", "")
    assert about(names.show()) == NOTHING
    for bad in ("team", "-", ""):
        assert ctl(mlp, "adapters", "label", "a", bad, key=names.client.key).status == 2, bad
