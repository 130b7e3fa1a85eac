"""Web pages and people who look around: origins that may ask (--cors-origin), daemons without keys, addresses that are nearly right."""

import pytest

from wire import Wire

PAGE, OTHER = "http://localhost:3000", "https://evil.example"
OPEN = ("/", "/v1", "/health", "/ping", "/healthz", "/readyz", "/version", "/openapi.json", "/metrics")


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """Daemons by what --cors-origin names."""
    from daemon import Daemon, model_path

    started = {}

    def run(*origins, arguments=()):
        key = (*origins, *arguments)
        if key not in started:
            more = [word for origin in origins for word in ("--cors-origin", origin)]
            started[key] = Daemon(model_path("mlp"), tmp_path_factory.mktemp("pages") / "data", *more, *arguments)
        return started[key]

    yield run
    for d in started.values():
        d.stop()


def preflight(client, path, origin, method="POST", headers="authorization, content-type, x-stainless-os"):
    return client.request("OPTIONS", path, headers={"Origin": origin, "Access-Control-Request-Method": method,
                                                    **({"Access-Control-Request-Headers": headers} if headers else {})})


# ---- pages ----

@pytest.mark.parametrize("origins, origin, allowed", [
    ((PAGE,), PAGE, PAGE),
    ((PAGE,), OTHER, None),
    ((PAGE,), PAGE + "0", None),
    ((PAGE,), "http://localhost", None),
    ((PAGE,), "null", None),
    ((PAGE, "app://obsidian.md"), "app://obsidian.md", "app://obsidian.md"),
    (("https://a.example,https://b.example:8443",), "https://b.example:8443", "https://b.example:8443"),
    (("https://a.example,https://b.example:8443",), "https://b.example", None),
    (("*",), OTHER, "*"),
    (("*",), "null", "*"),
    ((), PAGE, None),
])
def test_who_may_ask(pages, origins, origin, allowed):
    d = pages(*origins)
    asked = preflight(d.anonymous(), "/v1/chat/completions?tenant=a", origin)
    if allowed:
        assert (asked.status, asked.body) == (204, b"")
        assert asked.headers["Access-Control-Allow-Headers"] == "authorization, content-type, x-stainless-os"
        assert "POST" in asked.headers["Access-Control-Allow-Methods"] and int(asked.headers["Access-Control-Max-Age"]) > 0
    else:
        assert asked.status == 405
    answers = [asked, *(d.client(key).request(method, path, body, {"Origin": origin}) for key, method, path, body in (
        (None, "GET", "/tenants", None), (None, "GET", "/version", None), ("", "GET", "/version", None),
        (None, "GET", "/nowhere", None), ("wrong", "GET", "/adapters", None), (None, "POST", "/tenants", {"id": 1})))]
    for answer in answers:
        assert answer.headers["Access-Control-Allow-Origin"] == allowed
        assert answer.headers["Vary"] == ("Origin" if origins and origins != ("*",) else None)
        assert "Access-Control-Allow-Credentials" not in answer.headers
    readable = answers[1].headers["Access-Control-Expose-Headers"]
    assert (readable is not None) == (allowed is not None)
    assert not allowed or {"X-Request-Id", "X-Adapter-Version", "ETag", "Retry-After", "x-ratelimit-remaining-tokens"} <= set(readable.split(", "))


def test_a_refusal_in_the_middle_of_a_body_can_be_read_by_the_page(pages):
    d = pages(PAGE)
    with Wire(d) as wire:
        wire.send(f"POST /infer HTTP/1.1\r\nHost: a\r\nOrigin: {PAGE}\r\nAuthorization: Bearer {d.admin_key}\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in range(3):
            wire.send(b"80000\r\n" + bytes(0x80000) + b"\r\n")
        answer = wire.answer()
    assert (answer.status, answer.headers["Access-Control-Allow-Origin"], answer.code) == (413, PAGE, "body_too_large")


@pytest.mark.parametrize("headers", [None, "x\x01", "a:b", 2000 * "a", "authorization\0"])
def test_a_preflight_that_asks_for_nonsense(pages, headers):
    d = pages(PAGE)
    with Wire(d) as wire:
        wire.send("OPTIONS /infer HTTP/1.1\r\nHost: a\r\nOrigin: http://localhost:3000\r\nAccess-Control-Request-Method: POST\r\n"
                  + (f"Access-Control-Request-Headers: {headers}\r\n" if headers else "") + "\r\n")
        answer = wire.answer()
    assert answer.status in (204, 400) and "Access-Control-Allow-Headers" not in answer.headers


def test_options_without_a_preflight_is_no_method(pages):
    answer = pages(PAGE).anonymous().request("OPTIONS", "/infer", headers={"Origin": PAGE})
    assert (answer.status, answer.headers["Allow"]) == (405, "POST")


# ---- without keys ----

@pytest.mark.parametrize("path", [*OPEN, "/tenants", "/nowhere", "/adapters?tenant=a"])
@pytest.mark.parametrize("headers, allowed", [
    ({}, True), ({"Host": "localhost:1"}, True), ({"Host": "[::1]"}, True), ({"Host": "127.9.9.9:80"}, True),
    ({"Host": "evil.example"}, False), ({"Host": "127.0.0.1.evil.example"}, False), ({"Host": "localhost.evil.example"}, False),
    ({"Origin": OTHER}, False), ({"Origin": "null"}, False), ({"Host": "localhost", "Origin": "http://localhost"}, True),
    ({"Host": "localhost", "Origin": PAGE}, False),
])
def test_without_keys_strangers_pages_get_nothing(pages, path, headers, allowed):
    answer = pages(arguments=("--no-auth",)).anonymous().request("GET", path, headers=headers)
    assert (answer.status != 403) == allowed, answer
    if not allowed:
        assert answer.code == "forbidden" and "Access-Control-Allow-Origin" not in answer.headers


def test_without_keys_a_named_page_may_ask(pages):
    d = pages(PAGE, arguments=("--no-auth",))
    assert preflight(d.anonymous(), "/tenants", PAGE).status == 204
    assert d.anonymous().request("GET", "/tenants", headers={"Origin": PAGE}).status == 200
    for headers in ({"Origin": OTHER}, {"Origin": PAGE, "Host": "evil.example"}):
        assert d.anonymous().request("GET", "/tenants", headers=headers).status == 403
    assert preflight(d.anonymous(), "/tenants", OTHER).status == 403


# ---- who looks around ----

def test_the_first_page_says_where_things_are(daemon):
    client = daemon.anonymous()
    for path in ("/", "/v1"):
        plain = client.get(path)
        assert plain.status == 200 and plain.json["name"] == "adapterd" and plain.json["openai_base_url"] == "/v1"
        for place in ("description", "infer", "adapters", "ready", "metrics"):
            assert client.request("GET", plain.json[place]).status != 404
        page = client.request("GET", path, headers={"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"})
        assert page.status == 200 and page.headers["Content-Type"].startswith("text/html") and b"base_url" in page.body
        assert client.request("GET", path, headers={"Accept": "application/json, text/html"}).json == plain.json
    for path in ("/health", "/ping"):
        assert client.get(path).json == {"status": "ok"}


@pytest.mark.parametrize("path, meant", [
    ("/chat/completions", "/v1/chat/completions"),
    ("/completions", "/v1/completions"),
    ("/models", "/v1/models"),
    ("/v1/", "/v1"),
    ("/v1/models/", "/v1/models"),
    ("/v1//chat/completions", "/v1/chat/completions"),
    ("/v1/v1/chat/completions", "/v1/chat/completions"),
    ("/v1/infer", "/infer"),
    ("/v1/adapters/a/", "/adapters/a"),
    ("/infer/", "/infer"),
    ("/INFER", "/infer"),
    ("/tokenise", "/tokenize"),
    ("/adapter", "/adapters"),
    ("/tenant", "/tenants"),
    ("/metric", "/metrics"),
    ("/opanapi.json", "/openapi.json"),
    ("/v1/moderations", None),
    ("/nowhere", None),
    pytest.param("/" + 3000 * "a", None, id="long"),
    ("//", "/"),
])
def test_an_address_that_is_nearly_right(daemon, path, meant):
    answer = daemon.anonymous().request("GET", path)
    assert (answer.status, answer.code) == (404, "not_found")
    assert answer.json["error"]["hint"] == (f"did you mean {meant}?" if meant else "GET / says what there is")
