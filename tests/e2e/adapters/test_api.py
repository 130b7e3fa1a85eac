"""Tenants, keys, adapters, lists, tokens, status: what each route answers, and what it refuses, as docs/http-api.md says.

POST /infer has its own file, test_infer.py; who may do what is in test_tenants.py."""
import gzip
import json
import os
import re

import pytest

from client import eventually, form_body, read
from daemon import DEMO
from wire import Wire

MASK = os.path.join(DEMO, "adapters", "mask")
TICKET = os.path.join(DEMO, "adapters", "ticket")
VERSION = re.compile(r"sha256:[0-9a-f]{64}")
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


@pytest.fixture(scope="module")
def admin(daemon):
    return daemon.client()


@pytest.fixture
def tenant(daemon, request):
    """A tenant of this test's own, named like it."""
    return daemon.tenant(re.sub("[^a-z0-9]+", "-", request.node.name.lower())[:60].strip("-"))


def refused(answer, status, code, *words):
    """Status and code as expected; a message that has the words in it; nothing else than the documented fields."""
    assert (answer.status, answer.code) == (status, code), answer
    error = answer.json["error"]
    assert set(answer.json) == {"error"} and {"code", "message"} <= set(error) <= {"code", "message", "param", "hint"}
    for word in words:
        assert word in error["message"] + " " + error.get("param", ""), answer
    assert answer.headers["Content-Type"] == "application/json"
    return error


# ---- every route and its methods ----

ROUTES = {
    "/infer": "POST",
    "/adapters": "POST, GET, HEAD",
    "/adapters/x": "GET, HEAD, PATCH, DELETE",
    "/adapters/x/versions/abcd": "GET, HEAD, DELETE",
    "/adapters/x/versions/sha256:abcd": "GET, HEAD, DELETE",
    "/adapters/x/versions/abcd/files/adapter_config.json": "GET, HEAD",
    "/adapters/x/versions/abcd/files/adapter_model.safetensors": "GET, HEAD",
    "/tenants": "POST, GET, HEAD",
    "/tenants/x": "GET, HEAD, PATCH, DELETE",
    "/tenants/x/keys": "POST, GET, HEAD",
    "/tenants/x/keys/y": "DELETE",
    "/tokenize": "POST",
    "/detokenize": "POST",
    "/healthz": "GET, HEAD",
    "/readyz": "GET, HEAD",
    "/version": "GET, HEAD",
}


@pytest.mark.parametrize("path", ROUTES)
def test_another_method_names_those_that_are_allowed(admin, path):
    for method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"):
        if method in ROUTES[path].split(", "):
            continue
        answer = admin.request(method, path)
        assert answer.status == 405, (method, answer)
        assert sorted(answer.headers["Allow"].split(", ")) == sorted(ROUTES[path].split(", "))
        if method != "HEAD":
            refused(answer, 405, "method_not_allowed", method)


@pytest.mark.parametrize("path", ["/infer/", "//infer", "/INFER", "/adapters/", "/adapters/a/b", "/adapters/..", "/adapters/A",
                                  "/adapters/-a", "/adapters/" + 65 * "a", "/tenants/x/key", "/tenants//keys", "/healthz/x",
                                  "/%69nfer", "/adapters/%61", "/adapters/a%00b", "/adapters/..%2f..%2fetc", "/metrics.html",
                                  "/" + 2500 * "a"])
def test_addresses_that_are_none(admin, path):
    for method in ("GET", "POST", "DELETE"):
        refused(admin.request(method, path), 404, "not_found")


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/version", "/adapters?tenant=heads", "/tenants", "/tenants/heads",
                                  "/tenants/heads/keys", "/adapters/none?tenant=heads", "/nothing"])
def test_head_is_get_without_its_body(daemon, admin, path):
    admin.post("/tenants", {"id": "heads"})
    get, head = admin.get(path), admin.request("HEAD", path)
    assert head.status == get.status and head.body == b""
    for name in ("Content-Type", "Content-Length"):
        assert head.headers[name] == get.headers[name]


def test_each_answer_has_an_id_which_is_in_the_log(daemon, admin):
    answers = [admin.get("/healthz"), admin.get("/nowhere"), admin.post("/infer", {})]
    ids = [a.headers["X-Request-Id"] for a in answers]
    assert len(set(ids)) == 3
    eventually(lambda: all(each in daemon.read_log() for each in ids))


def test_status(daemon, admin):
    nobody = daemon.anonymous()
    assert nobody.get("/healthz").json == {"status": "ok"}
    assert nobody.get("/readyz").json == {"status": "ready"}
    version = nobody.get("/version").json
    assert set(version) == {"version", "model", "family", "precision", "context_length", "vocab_size", "fingerprint", "parameters", "weight_bytes"}
    assert (version["model"], version["family"], version["context_length"]) == ("demo", "qwen2", 1024)
    assert version["precision"] == "int8", "the default of language models"
    assert re.fullmatch("[0-9a-f]{64}", version["fingerprint"])


# ---- bodies ----

JSON_ROUTES = ["/infer", "/tenants", "/tenants/bodies/keys", "/tokenize", "/detokenize"]


@pytest.mark.parametrize("path", JSON_ROUTES)
@pytest.mark.parametrize("body", [b"", b"{", b"nonsense", b"[]", b"null", b'"x"', b"{} {}", b'{"a":1,"a":2}', b'{"id":"\xff"}',
                                  b'{"id": NaN}', b'{"max_tokens": 1e999}', b"\xef\xbb\xbf{}", b'{"id":"\\ud800"}',
                                  b'{"x":' + 5000 * b"[" + 5000 * b"]" + b"}"])
def test_what_is_not_a_json_object(admin, path, body):
    admin.post("/tenants", {"id": "bodies"})
    refused(admin.post(path, body), 400, "invalid_json")


@pytest.mark.parametrize("path", JSON_ROUTES)
def test_bodies_of_one_mebibyte_and_one_byte_more(admin, path):
    admin.post("/tenants", {"id": "bodies"})
    largest = b'{"nonsense":"' + (1048576 - 15) * b"x" + b'"}'
    assert len(largest) == 1048576
    refused(admin.post(path, largest), 400, "unknown_field", "nonsense")
    refused(admin.post(path, largest + b" "), 413, "body_too_large", "1048576")


@pytest.mark.parametrize("path", JSON_ROUTES)
def test_content_types(admin, path):
    admin.post("/tenants", {"id": "bodies"})
    for kind in ("text/plain", "application/x-www-form-urlencoded", "application/jsonx", "multipart/form-data; boundary=x"):
        refused(admin.request("POST", path, b'{"nonsense":1}', {"Content-Type": kind}), 415, "unsupported_media_type", kind)
    for kind in ("application/json", "Application/JSON; charset=utf-8"):
        refused(admin.request("POST", path, b'{"nonsense":1}', {"Content-Type": kind}), 400, "unknown_field")


def test_bodies_that_are_compressed_are_refused_by_name(admin):
    body = gzip.compress(b'{"id":"compressed"}')
    refused(admin.request("POST", "/tenants", body, {"Content-Encoding": "gzip"}), 415, "unsupported_media_type", "gzip")
    refused(admin.request("POST", "/tenants", b'{"x":1}', {"Content-Encoding": "Identity"}), 400, "unknown_field")


def test_addresses_in_absolute_form(daemon):
    for target, status in (("http://a/healthz", 200), ("HTTP://a:1/healthz", 200), ("http://a", 200), ("http://a?x=/healthz", 400), ("http://a/nothing", 404)):
        with Wire(daemon) as wire:
            wire.send(f"GET {target} HTTP/1.1\r\nHost: a\r\n\r\n")
            assert wire.answer().status == status, target


def test_a_body_where_none_is_expected(admin):
    for method, path in (("GET", "/tenants"), ("DELETE", "/tenants/nobody"), ("GET", "/healthz")):
        refused(admin.request(method, path, b"{}"), 413, "body_too_large")


# ---- the query ----

@pytest.mark.parametrize("path, code, words", [
    ("/adapters?tenant=q&x=1", "unknown_parameter", ["x"]),
    ("/adapters?tenant=q&tenant=q", "invalid_parameter", ["tenant", "once"]),
    ("/adapters?tenant=", "invalid_parameter", ["tenant"]),
    ("/adapters?tenant=Q", "invalid_parameter", ["tenant"]),
    ("/adapters?tenant=q%00", "invalid_parameter", []),
    ("/adapters?tenant=%zz", "invalid_parameter", []),
    ("/adapters?tenant=%7", "invalid_parameter", []),
    ("/adapters?tenant=" + 200 * "q", "invalid_parameter", []),
    ("/adapters?" + 200 * "q" + "=1", "invalid_parameter", []),
    ("/tenants?limit=0", "invalid_parameter", ["limit", "1 to 1000"]),
    ("/tenants?limit=1001", "invalid_parameter", ["limit"]),
    ("/tenants?limit=-1", "invalid_parameter", ["limit"]),
    ("/tenants?limit=+1", "invalid_parameter", ["limit"]),
    ("/tenants?limit=1e2", "invalid_parameter", ["limit"]),
    ("/tenants?limit=99999999999999999999", "invalid_parameter", ["limit"]),
    ("/tenants?limit=", "invalid_parameter", ["limit"]),
    ("/tenants?after=No%20Name", "invalid_parameter", ["after"]),
    ("/tenants?tenant=q", "unknown_parameter", ["tenant"]),
    ("/version?x", "unknown_parameter", ["x"]),
    ("/healthz?limit=1", "unknown_parameter", ["limit"]),
])
def test_query_parameters_that_are_refused(admin, path, code, words):
    admin.post("/tenants", {"id": "q"})
    refused(admin.get(path), 400, code, *words)


def test_query_parameters_are_decoded(admin):
    admin.post("/tenants", {"id": "q-1"})
    for path in ("/adapters?tenant=q%2D1", "/adapters?tenan%74=q-1", "/adapters?limit=5&tenant=q-1&"):
        assert admin.get(path).json == {"data": [], "next": None}


def test_whom_an_admin_means(admin):
    admin.post("/tenants", {"id": "whom"})
    body = {"text": "x"}
    refused(admin.post("/tokenize", body), 400, "tenant_required")
    assert admin.post("/tokenize?tenant=whom", body).status == 200
    assert admin.post("/tokenize", {**body, "tenant": "whom"}).status == 200
    assert admin.post("/tokenize?tenant=whom", {**body, "tenant": "whom"}).status == 200
    refused(admin.post("/tokenize?tenant=whom", {**body, "tenant": "whose"}), 400, "tenant_conflict", "whom", "whose")
    for name in ("whose", "", "Whom", "whom\0", "ä"):
        refused(admin.post("/tokenize", {**body, "tenant": name}), 404, "tenant_not_found")
    refused(admin.post("/tokenize", {**body, "tenant": 1}), 400, "invalid_type", "tenant")


# ---- tenants and keys ----

def test_the_life_of_a_tenant(daemon, admin):
    answer = admin.post("/tenants", {"id": "life"})
    assert answer.status == 201
    assert set(answer.json) == {"id", "created", "adapters", "adapter_bytes", "quota", "default_adapter"} and answer.json["id"] == "life" and answer.json["adapters"] == 0
    assert TIME.fullmatch(answer.json["created"])
    assert admin.get("/tenants/life").json == answer.json
    refused(admin.post("/tenants", {"id": "life"}), 409, "tenant_exists", "life")

    key = admin.post("/tenants/life/keys", {}).json["key"]
    life = daemon.client(key)
    assert life.upload(MASK, name="mask").status == 201
    assert admin.get("/tenants/life").json["adapters"] == 1

    answer = admin.delete("/tenants/life")
    assert (answer.status, answer.body) == (204, b"")
    refused(life.get("/adapters"), 401, "unauthorized")
    for answer in (admin.get("/tenants/life"), admin.delete("/tenants/life"), admin.get("/tenants/life/keys"),
                   admin.post("/tenants/life/keys", {}), admin.get("/adapters", tenant="life")):
        refused(answer, 404, "tenant_not_found")

    # The name is free again, and nothing comes back with it.
    assert admin.post("/tenants", {"id": "life"}).json["adapters"] == 0
    assert admin.get("/tenants/life/keys").json["data"] == []
    refused(life.get("/adapters"), 401, "unauthorized")


@pytest.mark.parametrize("name", ["", "A", "-a", ".a", "_a", "a b", "a/b", "ä", "a\0", "a\n", 65 * "a", 1000 * "a"])
def test_ids_of_tenants_that_are_refused(admin, name):
    refused(admin.post("/tenants", {"id": name}), 400, "invalid_name", "[a-z0-9][a-z0-9._-]{0,63}")


@pytest.mark.parametrize("name", ["a", "0", 64 * "a", "a.b_c-d", "9..__--"])
def test_ids_of_tenants_that_are_taken(admin, name):
    assert admin.post("/tenants", {"id": name}).json["id"] == name
    assert admin.get("/tenants/" + name).status == 200
    assert admin.delete("/tenants/" + name).status == 204


@pytest.mark.parametrize("body, code, words", [
    ({}, "missing_field", ["id"]),
    ({"id": None}, "invalid_type", ["id", "string", "null"]),
    ({"id": 1}, "invalid_type", ["id", "string", "integer"]),
    ({"id": "x", "quotas": {}}, "unknown_field", ["quotas"]),
    ({"id": 2000 * "x"}, "out_of_range", ["id"]),
])
def test_bodies_of_tenants_that_are_refused(admin, body, code, words):
    refused(admin.post("/tenants", body), 400, code, *words)


def test_the_life_of_a_key(daemon, admin):
    admin.post("/tenants", {"id": "keys"})
    answer = admin.post("/tenants/keys/keys", {"label": "wéb ☃"})
    assert answer.status == 201 and set(answer.json) == {"kid", "key", "label", "created", "expires_at"}
    assert answer.headers["Cache-Control"] == "no-store"
    key, kid = answer.json["key"], answer.json["kid"]
    row = {"kid": kid, "label": "wéb ☃", "created": answer.json["created"], "expires_at": None, "last_used": None, "revoked": False}
    assert admin.get("/tenants/keys/keys").json == {"data": [row], "next": None}
    assert daemon.client(key).get("/adapters").status == 200

    other = admin.post("/tenants/keys/keys", {}).json
    assert other["label"] == "" and other["key"] != key and other["kid"] != kid
    assert admin.delete(f"/tenants/keys/keys/{kid}").status == 204
    refused(daemon.client(key).get("/adapters"), 401, "unauthorized")
    assert daemon.client(other["key"]).get("/adapters").status == 200
    revoked = [k for k in admin.get("/tenants/keys/keys").json["data"] if k["revoked"]]
    assert [k["kid"] for k in revoked] == [kid]
    refused(admin.delete("/tenants/keys/keys/nothing"), 404, "key_not_found")

    # A key cannot be revoked through another tenant.
    admin.post("/tenants", {"id": "others"})
    refused(admin.delete(f"/tenants/others/keys/{other['kid']}"), 404, "key_not_found")
    assert daemon.client(other["key"]).get("/adapters").status == 200


def test_no_file_holds_a_key(daemon, admin):
    admin.post("/tenants", {"id": "secret"})
    key = admin.post("/tenants/secret/keys", {}).json["key"]
    for directory, _, names in os.walk(daemon.data):
        for name in names:
            assert key.encode() not in read(os.path.join(directory, name)), name
    assert key not in daemon.read_log()
    assert os.stat(os.path.join(daemon.data, "admin.key")).st_mode & 0o777 == 0o600


@pytest.mark.parametrize("body, code", [
    ({"label": 129 * "x"}, "out_of_range"),
    ({"label": 65 * "é"}, "out_of_range"),
    ({"label": 5000 * "x"}, "out_of_range"),
    ({"label": "a\0b"}, "out_of_range"),
    ({"label": 1}, "invalid_type"),
    ({"name": "x"}, "unknown_field"),
])
def test_labels_that_are_refused(admin, body, code):
    admin.post("/tenants", {"id": "labels"})
    refused(admin.post("/tenants/labels/keys", body), 400, code)
    assert admin.get("/tenants/labels/keys").json["data"] == []


AUTHORIZATIONS = ["", "Bearer", "Bearer ", "Basic {key}", "{key}", "Bearer {key}x", "Bearer x{key}", "Bearer {half}", "Bearer {KEY}",
                  "Bearer {key} {key}", "Bearer " + 5000 * "a"]


@pytest.mark.parametrize("value", AUTHORIZATIONS)
def test_keys_that_are_none(daemon, admin, value):
    key = daemon.admin_key
    value = value.format(key=key, half=key[: len(key) // 2], KEY=key.swapcase())
    answer = daemon.anonymous().request("GET", "/tenants", headers={"Authorization": value})
    error = refused(answer, 401, "unauthorized")
    assert answer.headers["WWW-Authenticate"].startswith("Bearer") and "Bearer" in error["hint"]


def test_the_scheme_is_matched_without_case(daemon):
    for scheme in ("bearer", "BEARER"):
        answer = daemon.anonymous().request("GET", "/tenants", headers={"Authorization": f"{scheme} {daemon.admin_key}"})
        assert answer.status == 200


# ---- lists ----

def pages(client, path, limit, **query):
    """Every page of a list, by its cursors."""
    after, found = {}, []
    while True:
        page = client.get(path, limit=limit, **after, **query).json
        assert set(page) == {"data", "next"} and len(page["data"]) <= limit
        found.append(page["data"])
        if page["next"] is None:
            return found
        after = {"after": page["next"]}


def test_lists_come_in_pages(daemon, admin, tenant):
    names = [f"list-{i:02d}" for i in range(7)]
    for name in names:
        admin.post("/tenants", {"id": name})
    assert tenant.upload(MASK, name="b").status == tenant.upload(MASK, name="a").status == 201
    assert tenant.upload(TICKET, name="c").status == 201
    for limit in (1, 2, 3, 7, 1000):
        listed = [row["id"] for page in pages(admin, "/tenants", limit) for row in page]
        assert [name for name in listed if name in names] == names
        assert listed == sorted(set(listed))
        assert [row["name"] for page in pages(tenant, "/adapters", limit) for row in page] == ["a", "b", "c"]
    kids = {admin.post("/tenants/list-00/keys", {}).json["kid"] for _ in range(5)}
    assert {row["kid"] for page in pages(admin, "/tenants/list-00/keys", 2) for row in page} == kids
    assert len(pages(admin, "/tenants/list-00/keys", 5)) == 1, "a full page that is the last one says so"
    # A cursor is a place, not a row: it works also when its row is gone.
    assert tenant.delete("/adapters/b").status == 204
    assert [row["name"] for row in tenant.get("/adapters", after="b").json["data"]] == ["c"]


# ---- adapters ----

def test_an_upload_is_listed_and_shown(daemon, tenant):
    answer = tenant.upload(MASK, name="mask")
    assert answer.status == 201
    up = answer.json
    assert set(up) == {"tenant", "name", "version", "active", "rank_max", "sites", "parameters", "bytes", "task", "settings", "proof", "warnings"}
    assert VERSION.fullmatch(up["version"]) and up["active"] is True and up["rank_max"] == 8 and up["sites"] == 35
    assert up["bytes"] == os.path.getsize(os.path.join(MASK, "adapter_model.safetensors"))
    assert answer.headers["X-Adapter-Version"] == up["version"]

    (row,) = tenant.get("/adapters").json["data"]
    assert set(row) == {"name", "versions", "created", "labels", "expires_at", "expired", "pinned", "version", "state", "rank_max", "sites", "parameters", "bytes", "task", "settings", "proof"}
    assert row["versions"] == 1 and row["state"] == "ready"
    shown = tenant.get("/adapters/mask")
    assert set(shown.json) == {
        "tenant", "name", "version", "created", "canary", "labels", "note", "expires_at", "expired", "pinned", "versions", "history"} and shown.json["version"] == up["version"]
    (version,) = shown.json["versions"]
    assert set(version) == {"version", "created", "active", "state", "rank_max", "sites", "parameters", "bytes", "task", "settings", "proof", "files"}
    assert TIME.fullmatch(version["created"]) and version["active"] is True and version["state"] == "ready"
    for field in ("rank_max", "sites", "parameters", "bytes"):
        assert up[field] == row[field] == version[field]
    assert set(row["proof"]) == {"max_logit_change", "mean_logit_change"}
    assert up["proof"] == version["proof"] and row["proof"].items() <= up["proof"].items()


def test_the_same_content_again_is_the_same_version(tenant):
    first = tenant.upload(MASK, name="mask")
    again = tenant.upload(MASK, name="mask")
    assert (first.status, again.status) == (201, 200) and first.json == again.json
    # Also with another order of keys and more white space, and with the parts in another order.
    config = json.loads(read(os.path.join(MASK, "adapter_config.json")))
    config = json.dumps(dict(sorted(config.items(), reverse=True)), indent=3).encode()
    weights = read(os.path.join(MASK, "adapter_model.safetensors"))
    body, kind = form_body([("weights", weights, "a"), ("config", config, "b"), ("name", "mask", None)])
    spelled = tenant.request("POST", "/adapters", body, {"Content-Type": kind})
    assert spelled.status == 200 and spelled.json["version"] == first.json["version"]
    assert tenant.get("/adapters").json["data"][0]["versions"] == 1
    # Another name is another adapter with the same version.
    other = tenant.upload(MASK, name="other")
    assert other.status == 201 and other.json["version"] == first.json["version"]


def test_a_new_version_becomes_active_unless_told_otherwise(tenant):
    first = tenant.upload(MASK, name="x").json["version"]
    waiting = tenant.upload(TICKET, name="x", activate="false")
    assert waiting.status == 201 and waiting.json["active"] is False
    assert tenant.get("/adapters/x").json["version"] == first
    assert tenant.infer(adapter="x", prompt="a", max_tokens=0).json["adapter"]["version"] == first
    again = tenant.upload(TICKET, name="x")
    assert again.status == 200 and again.json["active"] is True
    shown = tenant.get("/adapters/x").json
    assert shown["version"] == again.json["version"]
    assert [(v["version"], v["active"]) for v in shown["versions"]] == [(again.json["version"], True), (first, False)]
    # An adapter may wait without any active version.
    assert tenant.upload(MASK, name="y", activate="false").json["active"] is False
    row = tenant.get("/adapters", after="x").json["data"][0]
    assert (row["name"], row["version"], row["state"], row["versions"]) == ("y", None, None, 1)
    refused(tenant.infer(adapter="y", prompt="a"), 404, "version_not_found", "y")
    assert tenant.infer(adapter="y@" + first[7:20], prompt="a", max_tokens=0).status == 200


def test_delete(start):
    d = start()
    tenant, before = d.tenant("acme"), d.files()
    assert tenant.upload(MASK, name="x").status == tenant.upload(TICKET, name="x").status == 201
    assert len(d.files()) == len(before) + 4
    answer = tenant.delete("/adapters/x")
    assert (answer.status, answer.body) == (204, b"")
    for answer in (tenant.get("/adapters/x"), tenant.delete("/adapters/x"), tenant.infer(adapter="x", prompt="a")):
        refused(answer, 404, "adapter_not_found")
    assert tenant.get("/adapters").json["data"] == []
    assert d.files() == before


def test_files_that_somebody_else_has_too_stay(daemon, tenant):
    other = daemon.tenant("keeps-the-files")
    assert tenant.upload(MASK, name="x").status == other.upload(MASK, name="x").status == 201
    files = daemon.files()
    tenant.delete("/adapters/x")
    assert daemon.files() == files
    assert other.infer(adapter="x", prompt="a", max_tokens=1).status == 200


GOOD = [("name", "x", None), ("config", read(os.path.join(MASK, "adapter_config.json")), "adapter_config.json"),
        ("weights", read(os.path.join(MASK, "adapter_model.safetensors")), "adapter_model.safetensors")]


@pytest.mark.parametrize("parts, status, code, words", [
    (GOOD[1:], 400, "missing_part", ["name"]),
    (GOOD[:2], 400, "missing_part", ["weights"]),
    ([GOOD[0], GOOD[2]], 400, "missing_part", ["config"]),
    ([], 400, "missing_part", []),
    ([*GOOD, GOOD[0]], 400, "duplicate_part", ["name"]),
    ([GOOD[1], *GOOD], 400, "duplicate_part", ["config"]),
    ([*GOOD, GOOD[2]], 400, "duplicate_part", ["weights"]),
    ([*GOOD, ("colour", "red", None)], 400, "unknown_part", ["colour"]),
    ([*GOOD, ("", "red", None)], 400, "unknown_part", []),
    ([("name", "No", None), *GOOD[1:]], 400, "invalid_name", ["name"]),
    ([("name", "", None), *GOOD[1:]], 400, "invalid_name", ["name"]),
    ([("name", "a/../b", None), *GOOD[1:]], 400, "invalid_name", ["name"]),
    ([("name", "a\0b", None), *GOOD[1:]], 400, "invalid_part", ["name"]),
    ([("name", 300 * "a", None), *GOOD[1:]], 400, "invalid_part", ["name", "256"]),
    ([*GOOD, ("activate", "yes", None)], 400, "invalid_part", ["activate", "true or false"]),
    ([*GOOD, ("activate", "", None)], 400, "invalid_part", ["activate"]),
    ([*GOOD, ("allow_no_effect", "TRUE", None)], 400, "invalid_part", ["allow_no_effect"]),
    ([*GOOD, ("tenant", "somebody-else", None)], 403, "forbidden", []),
    ([*GOOD[:2], ("weights", GOOD[2][1], "adapter_model.bin")], 422, "pickle_refused", ["adapter_model.bin"]),
])
def test_forms_that_are_refused(daemon, tenant, parts, status, code, words):
    before = daemon.files()
    body, kind = form_body(parts)
    refused(tenant.request("POST", "/adapters", body, {"Content-Type": kind}), status, code, *words)
    assert tenant.get("/adapters").json["data"] == []
    eventually(lambda: daemon.files() == before)


@pytest.mark.parametrize("kind, status, code", [
    (None, 400, "multipart_required"),
    ("application/json", 400, "multipart_required"),
    ("multipart/mixed; boundary=x", 400, "multipart_required"),
    ("multipart/form-data", 400, "multipart_malformed"),
    ("multipart/form-data; boundary=", 400, "multipart_malformed"),
    ("multipart/form-data; boundary=" + 71 * "x", 400, "multipart_malformed"),
    ("multipart/form-data; boundary=other", 400, "multipart_malformed"),
])
def test_forms_that_are_none(tenant, kind, status, code):
    body, _ = form_body(GOOD)
    refused(tenant.request("POST", "/adapters", body, {} if kind is None else {"Content-Type": kind}), status, code)


def test_a_form_for_an_unknown_tenant(daemon, admin):
    before = daemon.files()
    refused(admin.upload(MASK, name="x", tenant="nobody-there"), 404, "tenant_not_found")
    refused(admin.upload(MASK, name="x"), 400, "tenant_required")
    eventually(lambda: daemon.files() == before)


def test_a_config_that_is_too_large(daemon, tenant):
    before = daemon.files()
    answer = tenant.upload(config=b" " * (1 << 20) + GOOD[1][1], weights=GOOD[2][1], name="x")
    refused(answer, 413, "body_too_large", "config", "1048576")
    eventually(lambda: daemon.files() == before)


def test_what_changes_nothing_is_taken_when_that_is_meant(tenant):
    config = json.dumps({**json.loads(GOOD[1][1]), "lora_alpha": 0}).encode()
    refused(tenant.upload(config=config, weights=GOOD[2][1], name="x"), 422, "adapter_no_effect")
    answer = tenant.upload(config=config, weights=GOOD[2][1], name="x", allow_no_effect="true")
    assert answer.status == 201 and answer.json["proof"]["max_logit_change"] == 0
    base, same = (tenant.infer(adapter=a, prompt="Hi", max_tokens=8, logprobs=1).json for a in (None, "x"))
    assert (base["tokens"], base["logprobs"]) == (same["tokens"], same["logprobs"])


# ---- tokens and text ----

def test_tokenize_and_back(tenant):
    for text in ("", "Hi there", "é☃𝄞 ", "a\0b\0", "line\nline\r\n", "<|im_start|>user", "\u202e\ufeff"):
        tokens = tenant.post("/tokenize", {"text": text}).json["tokens"]
        assert tenant.post("/detokenize", {"tokens": tokens}).json == {"text": text}
    tokens = tenant.post("/tokenize", {"text": "<|im_start|>user"}).json["tokens"]
    assert tokens[0] == 1 and tenant.post("/detokenize", {"tokens": tokens, "skip_special_tokens": True}).json == {"text": "user"}


def test_special_tokens_are_added_unless_told_otherwise(start):
    d = start("llama")
    tenant = d.tenant("special")
    with_them = tenant.post("/tokenize", {"text": "Hi"}).json["tokens"]
    without = tenant.post("/tokenize", {"text": "Hi", "add_special_tokens": False}).json["tokens"]
    assert tenant.post("/tokenize", {"text": "Hi", "add_special_tokens": True}).json["tokens"] == with_them
    assert tenant.post("/detokenize", {"tokens": with_them, "skip_special_tokens": True}).json["text"] == \
        tenant.post("/detokenize", {"tokens": without}).json["text"]


@pytest.mark.parametrize("path, body, status, code, words", [
    ("/tokenize", {}, 400, "missing_field", ["text"]),
    ("/tokenize", {"text": 1}, 400, "invalid_type", ["text"]),
    ("/tokenize", {"text": None}, 400, "invalid_type", ["text"]),
    ("/tokenize", {"text": "x", "add_special_tokens": 1}, 400, "invalid_type", ["add_special_tokens"]),
    ("/tokenize", {"text": "x", "prompt": "x"}, 400, "unknown_field", ["prompt"]),
    ("/detokenize", {}, 400, "missing_field", ["tokens"]),
    ("/detokenize", {"tokens": "1"}, 400, "invalid_type", ["tokens"]),
    ("/detokenize", {"tokens": [1.0]}, 400, "invalid_type", ["tokens"]),
    ("/detokenize", {"tokens": [[1]]}, 400, "invalid_type", ["tokens"]),
    ("/detokenize", {"tokens": [True]}, 400, "invalid_type", ["tokens"]),
    ("/detokenize", {"tokens": [-1]}, 400, "token_out_of_range", ["tokens", "-1", "1023"]),
    ("/detokenize", {"tokens": [1, 1024]}, 400, "token_out_of_range", ["tokens", "1024", "1023"]),
    ("/detokenize", {"tokens": [2**63 - 1]}, 400, "token_out_of_range", ["tokens"]),
    ("/detokenize", {"tokens": [2**64]}, 400, "invalid_json", []),
    ("/detokenize", {"tokens": [1], "skip_special_tokens": "no"}, 400, "invalid_type", ["skip_special_tokens"]),
])
def test_bodies_about_text_that_are_refused(tenant, path, body, status, code, words):
    refused(tenant.post(path, body), status, code, *words)


def test_a_text_of_a_mebibyte(tenant):
    text = "Hello there, this is a long text. " * 30000
    tokens = tenant.post("/tokenize", {"text": text}).json["tokens"]
    assert tenant.post("/detokenize", {"tokens": tokens[:100000]}).json["text"] == text[: len(
        tenant.post("/detokenize", {"tokens": tokens[:100000]}).json["text"])]
