"""Tenants cannot see each other: every route under every kind of key, and nothing of one tenant in an answer to another."""
import itertools
import json
import os
import re
from collections import namedtuple

import pytest

from client import Client, eventually, form_body, read
from daemon import DEMO, ROOT

MASK = os.path.join(DEMO, "adapters", "mask")
VOICE = os.path.join(DEMO, "adapters", "voice")

# Strings of tenant beta that nobody else may ever read. Others ask for NAME, so that errors may repeat it, and never for UNASKED.
NAME, UNASKED, LABEL, PROMPT, CONFIG = "canary-name", "canary-unasked", "canary label", "canary prompt", "canary config"
FILE, EXAMPLE = "canary file.jsonl", "canary example"
CALLERS = ("nobody", "bad", "revoked", "alpha", "beta", "admin")


class Recorder(Client):
    """A client that keeps everything it was ever answered."""

    seen = b""

    def request(self, *arguments, **more):
        answer = super().request(*arguments, **more)
        self.seen += str(answer.status).encode() + str(answer.headers).encode() + answer.body
        return answer


class House:
    """A daemon with two tenants, and one client for each kind of caller."""

    def __init__(self, daemon):
        self.daemon, self.admin, self.numbers = daemon, daemon.client(), itertools.count()
        self.kid_of_beta = None
        keys = {"nobody": None, "bad": "0" * len(daemon.admin_key), "admin": daemon.admin_key}
        for tenant in ("alpha", "beta"):
            assert self.admin.post("/tenants", {"id": tenant}).status == 201
            keys[tenant] = self.admin.post(f"/tenants/{tenant}/keys", {"label": LABEL if tenant == "beta" else ""}).json["key"]
        row = self.admin.post("/tenants/beta/keys", {"label": LABEL}).json
        assert self.admin.delete(f"/tenants/beta/keys/{row['kid']}").status == 204
        keys["revoked"] = row["key"]
        self.keys = keys
        self.clients = {caller: Recorder(daemon.address, key) for caller, key in keys.items()}
        config = {**json.loads(read(os.path.join(MASK, "adapter_config.json"))), "base_model_name_or_path": CONFIG}
        self.upload = {"config": json.dumps(config).encode(), "weights": read(os.path.join(MASK, "adapter_model.safetensors"))}
        self.upload.update(chat_template=f"{CONFIG} {{{{ messages }}}}", tokenizer_config=json.dumps({"pad_token": CONFIG}),
                           generation_config=json.dumps({"eos_token_id": 2, "note": CONFIG}), added_tokens="{}")
        for name in (NAME, UNASKED):
            assert self.clients["beta"].upload(**self.upload, name=name).status == 201
        self.file = self.new_file(EXAMPLE, FILE)
        self.job = self.new_job()
        self.version = self.clients["beta"].get(f"/adapters/{NAME}").json["version"]
        assert self.clients["beta"].infer(adapter=NAME, prompt=PROMPT, max_tokens=8).status == 200
        assert self.clients["alpha"].upload(VOICE, name="own").status == 201

    def fresh(self):
        return f"fresh-{next(self.numbers)}"

    def new_tenant(self):
        name = f"passing-{next(self.numbers)}"
        assert self.admin.post("/tenants", {"id": name}).status == 201
        return name

    def new_adapter(self):
        """Of beta."""
        name = self.fresh()
        assert self.clients["beta"].upload(**self.upload, name=name).status == 201
        return name

    def new_job(self):
        """One that is over."""
        body = {"model": "demo", "training_file": self.file, "metadata": {"label": LABEL}, "lora": {"r": 1}, "training": {"max_steps": 1}, "activate": False}
        job = self.clients["beta"].post("/v1/fine_tuning/jobs", body).json["id"]
        eventually(lambda: self.clients["beta"].get(f"/v1/fine_tuning/jobs/{job}").json["status"] == "succeeded", 60)
        return job

    def new_file(self, *what):
        """Of beta."""
        body, kind = file_form(self, *what)
        return self.clients["beta"].request("POST", "/v1/files", body, {"Content-Type": kind}).json["id"]

    def new_key(self):
        return self.admin.post("/tenants/beta/keys", {"label": LABEL}).json["kid"]


@pytest.fixture(scope="module")
def house(daemon):
    return House(daemon)


# ---- the matrix ----

Row = namedtuple("Row", "route method path body statuses")
OPEN, ADMINS = (200,) * 6, (401, 401, 401, 403, 403)


def keyed(alpha, beta, admin):
    return (401, 401, 401, alpha, beta, admin)


def form(house, **fields):
    return form_body([*((k, v, None) for k, v in fields.items()), ("config", house.upload["config"], "a"),
                      ("weights", house.upload["weights"], "b")])


def file_form(house, example="a", filename="a", **fields):
    return form_body([("purpose", "fine-tune", None), *((k, v, None) for k, v in fields.items()),
                      ("file", json.dumps({"text": example}), filename)])


# Path and body may be functions of the house, called for each cell. An admin says ?tenant=beta; "{q}" is the place.
MATRIX = [
    Row("/infer", "POST", "/infer{q}", {"prompt": "a", "max_tokens": 1}, keyed(200, 200, 200)),
    Row("/infer", "POST", "/infer{q}", {"prompt": "a", "max_tokens": 1, "adapter": NAME}, keyed(404, 200, 200)),
    Row("/infer", "POST", "/infer", {"tenant": "beta", "prompt": "a", "max_tokens": 1, "adapter": NAME}, keyed(403, 200, 200)),
    Row("/infer", "POST", "/infer?tenant=beta", {"prompt": "a", "max_tokens": 1}, keyed(403, 200, 200)),
    Row("/infer", "POST", "/infer", {"tenant": "nobody-there", "prompt": "a"}, keyed(403, 403, 404)),
    *(Row(route, "POST", path, {**body, **more}, statuses)
      for route, body in (("/v1/completions", {"prompt": "a", "max_tokens": 1}),
                          ("/v1/chat/completions", {"messages": [{"role": "user", "content": "a"}], "max_tokens": 1}),
                          ("/v1/responses", {"input": "a", "max_output_tokens": 1}), ("/v1/embeddings", {"input": "a"}))
      for path, more, statuses in ((f"{route}{{q}}", {"model": "demo"}, keyed(200, 200, 200)),
                                   (f"{route}{{q}}", {"model": NAME}, keyed(404, 200, 200)),
                                   (route, {"model": NAME, "tenant": "beta"}, keyed(403, 200, 200)),
                                   (f"{route}?tenant=beta", {"model": NAME}, keyed(403, 200, 200)),
                                   (route, {"model": NAME, "tenant": "nobody-there"}, keyed(403, 403, 404)))),
    Row("/classify", "POST", "/classify{q}", {"input": "a", "adapter": NAME}, keyed(404, 400, 400)),  # it writes text
    Row("/classify", "POST", "/classify", {"input": "a", "tenant": "beta", "adapter": NAME}, keyed(403, 400, 400)),
    Row("/classify", "POST", "/classify", {"input": "a", "tenant": "nobody-there"}, keyed(403, 403, 404)),
    Row("/v1/models", "GET", "/v1/models{q}", None, keyed(200, 200, 200)),
    Row("/v1/models", "GET", "/v1/models?tenant=beta", None, keyed(403, 200, 200)),
    Row("/v1/models/{model}", "GET", "/v1/models/demo{q}", None, keyed(200, 200, 200)),
    Row("/v1/models/{model}", "GET", f"/v1/models/{NAME}{{q}}", None, keyed(404, 200, 200)),
    Row("/v1/models/{model}", "GET", f"/v1/models/{NAME}?tenant=beta", None, keyed(403, 200, 200)),
    Row("/adapters", "POST", "/adapters{q}", lambda h: form(h, name=h.fresh()), keyed(201, 201, 201)),
    Row("/adapters", "POST", "/adapters", lambda h: form(h, name=h.fresh(), tenant="beta"), keyed(403, 201, 201)),
    Row("/adapters", "POST", "/adapters?tenant=beta", lambda h: form(h, name=h.fresh()), keyed(403, 201, 201)),
    Row("/adapters", "GET", "/adapters{q}", None, keyed(200, 200, 200)),
    Row("/adapters", "GET", "/adapters?tenant=beta", None, keyed(403, 200, 200)),
    Row("/adapters/{name}", "GET", f"/adapters/{NAME}{{q}}", None, keyed(404, 200, 200)),
    Row("/adapters/{name}", "GET", f"/adapters/{NAME}?tenant=beta", None, keyed(403, 200, 200)),
    Row("/adapters/{name}", "PATCH", lambda h: f"/adapters/{NAME}{{q}}", lambda h: {"version": h.version}, keyed(404, 200, 200)),
    Row("/adapters/{name}", "PATCH", f"/adapters/{NAME}", lambda h: {"version": h.version, "tenant": "beta"}, keyed(403, 200, 200)),
    Row("/adapters/{name}", "PATCH", f"/adapters/{NAME}{{q}}", {"labels": {"a": LABEL}, "note": LABEL, "expires_at": None},
        keyed(404, 200, 200)),
    Row("/adapters", "GET", "/adapters?label=a:b{a}", None, keyed(200, 200, 200)),
    Row("/adapters/{name}", "DELETE", lambda h: f"/adapters/{h.new_adapter()}{{q}}", None, keyed(404, 204, 204)),
    Row("/adapters/{name}", "DELETE", lambda h: f"/adapters/{h.new_adapter()}?tenant=beta", None, keyed(403, 204, 204)),
    *(Row("/adapters/{name}/versions/{version}", "GET", lambda h, q=q: f"/adapters/{NAME}/versions/{h.version}{q}", None,
          keyed(alpha, 200, 200)) for q, alpha in (("{q}", 404), ("?tenant=beta", 403))),
    Row("/adapters/{name}/versions/{version}", "DELETE", lambda h: f"/adapters/{h.new_adapter()}/versions/{h.version}{{q}}", None,
        keyed(404, 409, 409)),
    Row("/adapters/{name}/versions/{version}", "DELETE", lambda h: f"/adapters/{h.new_adapter()}/versions/{h.version}?force=true{{a}}",
        None, keyed(404, 204, 204)),
    Row("/adapters/{name}/versions/{version}", "DELETE", lambda h: f"/adapters/{NAME}/versions/{h.version}?tenant=beta", None,
        keyed(403, 409, 409)),
    *(Row(f"/adapters/{{name}}/versions/{{version}}/files/{file}", "GET",
          lambda h, file=file, q=q: f"/adapters/{NAME}/versions/{h.version}/files/{file}{q}", None, keyed(alpha, 200, 200))
      for file in ("adapter_config.json", "adapter_model.safetensors", "tokenizer_config.json", "chat_template.jinja", "added_tokens.json", "generation_config.json")
      for q, alpha in (("{q}", 404), ("?tenant=beta", 403))),
    Row("/v1/files", "POST", "/v1/files{q}", file_form, keyed(200, 200, 200)),
    Row("/v1/files", "POST", "/v1/files", lambda h: file_form(h, tenant="beta"), keyed(403, 200, 200)),
    Row("/v1/files", "POST", "/v1/files?tenant=beta", file_form, keyed(403, 200, 200)),
    Row("/v1/files", "GET", "/v1/files{q}", None, keyed(200, 200, 200)),
    Row("/v1/files", "GET", "/v1/files?tenant=beta", None, keyed(403, 200, 200)),
    Row("/v1/files", "GET", lambda h: f"/v1/files?after={h.file}{{a}}", None, keyed(404, 200, 200)),
    *(Row(f"/v1/files/{{id}}{more}", "GET", lambda h, more=more, q=q: f"/v1/files/{h.file}{more}{q}", None, keyed(alpha, 200, 200))
      for more in ("", "/content") for q, alpha in (("{q}", 404), ("?tenant=beta", 403))),
    Row("/v1/files/{id}", "DELETE", lambda h: f"/v1/files/{h.new_file()}{{q}}", None, keyed(404, 200, 200)),
    Row("/v1/files/{id}", "DELETE", lambda h: f"/v1/files/{h.new_file()}?tenant=beta", None, keyed(403, 200, 200)),
    Row("/v1/fine_tuning/jobs", "POST", "/v1/fine_tuning/jobs{q}", lambda h: {"model": "demo", "training_file": "file-none"}, keyed(404, 404, 404)),
    Row("/v1/fine_tuning/jobs", "POST", "/v1/fine_tuning/jobs", lambda h: {"model": "demo", "training_file": h.file, "tenant": "beta", "training": {"max_steps": 1},
                                                                         "lora": {"r": 1}, "activate": False}, keyed(403, 200, 200)),
    Row("/v1/fine_tuning/jobs", "GET", "/v1/fine_tuning/jobs{q}", None, keyed(200, 200, 200)),
    Row("/v1/fine_tuning/jobs", "GET", "/v1/fine_tuning/jobs?tenant=beta", None, keyed(403, 200, 200)),
    *(Row(f"/v1/fine_tuning/jobs/{{id}}{what}", "GET", lambda h, what=what, q=q: f"/v1/fine_tuning/jobs/{h.job}{what}{q}", None, keyed(alpha, 200, 200))
      for what in ("", "/events", "/checkpoints") for q, alpha in (("{q}", 404), ("?tenant=beta", 403))),
    *(Row(f"/v1/fine_tuning/jobs/{{id}}/{what}", "POST", lambda h, what=what: f"/v1/fine_tuning/jobs/{h.job}/{what}{{q}}", None, keyed(404, own, own))
      for what, own in (("cancel", 409), ("pause", 409), ("resume", 409))),
    Row("/train/estimate", "POST", "/train/estimate{q}", {"model": "demo", "training_file": "file-none"}, keyed(404, 404, 404)),
    Row("/train/estimate", "POST", "/train/estimate", lambda h: {"model": "demo", "training_file": h.file, "tenant": "beta"}, keyed(403, 200, 200)),
    Row("/tenants", "POST", "/tenants", lambda h: {"id": f"made-{next(h.numbers)}"}, ADMINS + (201,)),
    Row("/tenants", "GET", "/tenants", None, ADMINS + (200,)),
    Row("/tenants/{id}", "GET", "/tenants/beta", None, ADMINS + (200,)),
    Row("/tenants/{id}", "GET", "/tenants/nobody-there", None, ADMINS + (404,)),
    Row("/tenants/{id}", "PATCH", "/tenants/beta", {"quota": {"weight": 100}}, ADMINS + (200,)),
    Row("/tenants/{id}", "DELETE", lambda h: f"/tenants/{h.new_tenant()}", None, ADMINS + (204,)),
    Row("/tenants/{id}/keys", "POST", "/tenants/beta/keys", {"label": LABEL}, ADMINS + (201,)),
    Row("/tenants/{id}/keys", "GET", "/tenants/beta/keys", None, ADMINS + (200,)),
    Row("/tenants/{id}/keys/{kid}/rotate", "POST", lambda h: f"/tenants/beta/keys/{h.new_key()}/rotate", {}, ADMINS + (201,)),
    Row("/tenants/{id}/keys/{kid}", "DELETE", lambda h: f"/tenants/beta/keys/{h.new_key()}", None, ADMINS + (204,)),
    Row("/audit", "GET", "/audit", None, ADMINS + (200,)),
    Row("/audit", "GET", "/audit?tenant=beta", None, ADMINS + (200,)),
    Row("/backup", "POST", "/backup", None, ADMINS + (200,)),
    Row("/fsck", "POST", "/fsck", None, ADMINS + (200,)),
    Row("/usage", "GET", "/usage{q}", None, keyed(200, 200, 200)),
    Row("/usage", "GET", "/usage?tenant=beta", None, keyed(403, 200, 200)),
    Row("/tokenize", "POST", "/tokenize{q}", {"text": "a"}, keyed(200, 200, 200)),
    Row("/tokenize", "POST", "/tokenize", {"text": "a", "tenant": "beta"}, keyed(403, 200, 200)),
    Row("/detokenize", "POST", "/detokenize{q}", {"tokens": [20]}, keyed(200, 200, 200)),
    Row("/detokenize", "POST", "/detokenize", {"tokens": [20], "tenant": "beta"}, keyed(403, 200, 200)),
    *(Row(route, "GET", route, None, OPEN) for route in ("/", "/v1", "/health", "/ping", "/healthz")),
    Row("/readyz", "GET", "/readyz", None, OPEN),
    Row("/version", "GET", "/version", None, OPEN),
    Row("/openapi.json", "GET", "/openapi.json", None, OPEN),
    Row("/train/preview", "POST", "/train/preview{q}", {"example": {"text": "a"}}, keyed(200, 200, 200)),
    Row("/train/preview", "POST", "/train/preview", {"tenant": "beta", "example": {"text": "a"}}, keyed(403, 200, 200)),
    Row("/status", "GET", "/status", None, keyed(200, 200, 200)),
    Row("/status/history", "GET", "/status/history", None, ADMINS + (200,)),
    Row("/console", "GET", "/console", None, OPEN),
    Row("/console/{file}", "GET", "/console/app.js", None, OPEN),
    Row("/console/vendor/{file}", "GET", "/console/vendor/uplot.js", None, OPEN),
    Row("/metrics", "GET", "/metrics", None, ADMINS + (200,)),
]


def cell(house, row, caller, method):
    """Ask as that caller."""
    path = row.path(house) if callable(row.path) else row.path
    path = path.replace("{q}", "?tenant=beta" if caller == "admin" else "").replace("{a}", "&tenant=beta" if caller == "admin" else "")
    body, headers = row.body(house) if callable(row.body) else row.body, {}
    if isinstance(body, tuple):
        body, headers = body[0], {"Content-Type": body[1]}
    return house.clients[caller].request(method, path, body, headers)


def test_the_matrix_has_every_route():
    with open(os.path.join(ROOT, "server", "routes.c")) as f:
        routes = set(re.findall(r'\{"([A-Z]+)", "([^"]+)", ROLE_', f.read()))
    assert len(routes) > 10 and routes == {(row.method, row.route) for row in MATRIX}


@pytest.mark.parametrize("row", MATRIX, ids=lambda row: f"{row.method} {row.route}")
def test_every_route_under_every_key(house, row):
    for method in (row.method, "HEAD") if row.method == "GET" else (row.method,):
        found = tuple(cell(house, row, caller, method).status for caller in CALLERS)
        assert found == row.statuses, (method, row.path)


# ---- a foreign thing is an unknown thing ----

def test_what_belongs_to_others_answers_as_what_does_not_exist(house):
    """Byte for byte, but for the name that was asked for and the request's id."""
    alpha, version = house.clients["alpha"], house.clients["beta"].get(f"/adapters/{NAME}").json["version"]
    digits = version.removeprefix("sha256:")[:16]
    unknown = "nobody-name"
    assert len(unknown) == len(NAME)
    for ask in (lambda name: alpha.get(f"/adapters/{name}"),
                lambda name: alpha.delete(f"/adapters/{name}"),
                lambda name: alpha.patch(f"/adapters/{name}", {"version": version}),
                lambda name: alpha.patch(f"/adapters/{name}", {"rollback": True}, {"If-Match": f'"{version}"'}),
                lambda name: alpha.get(f"/adapters/{name}/versions/{version}"),
                lambda name: alpha.delete(f"/adapters/{name}/versions/{version}"),
                lambda name: alpha.delete(f"/adapters/{name}/versions/{digits}", force="true"),
                lambda name: alpha.get(f"/adapters/{name}/versions/{version}/files/adapter_config.json"),
                lambda name: alpha.get(f"/adapters/{name}/versions/{digits}/files/adapter_model.safetensors"),
                lambda name: alpha.infer(adapter=name, prompt="a"),
                lambda name: alpha.infer(adapter=f"{name}@{digits}", prompt="a"),
                lambda name: alpha.infer(adapter=name, prompt="a", stream=True),
                lambda name: alpha.infer(tenant=name, prompt="a"),
                lambda name: alpha.post("/v1/completions", {"model": name, "prompt": "a"}),
                lambda name: alpha.post("/v1/chat/completions", {"model": f"{name}@{digits}", "messages": [{"role": "user", "content": "a"}]}),
                lambda name: alpha.post("/v1/responses", {"model": name, "input": "a", "max_output_tokens": 1}),
                lambda name: alpha.post("/v1/embeddings", {"model": name, "input": "a"}),
                lambda name: alpha.post("/classify", {"adapter": name, "input": "a"}),
                lambda name: alpha.post("/classify", {"model": name, "input": "a"}),
                lambda name: alpha.get(f"/v1/models/{name}"),
                lambda name: alpha.get(f"/v1/models/{name}@{digits}"),
                lambda name: alpha.get("/adapters", tenant=name),
                lambda name: alpha.get("/v1/files", tenant=name)):
        foreign, none = ask(NAME), ask(unknown)
        assert foreign.status == none.status and foreign.body.replace(NAME.encode(), unknown.encode()) == none.body
        names = [name for name, _ in foreign.headers.items()]
        assert names == [name for name, _ in none.headers.items()]
    for path in ("", "/content"):
        foreign, none = alpha.get(f"/v1/files/{house.file}{path}"), alpha.get(f"/v1/files/file-none{path}")
        assert foreign.status == none.status == 404 and foreign.body.replace(house.file.encode(), b"file-none") == none.body
    # A tenant that exists and one that does not, under another tenant's key.
    there, none = alpha.infer(tenant="beta", prompt="a"), alpha.infer(tenant="none", prompt="a")
    assert (there.status, there.body) == (none.status, none.body)
    # A version of beta under a name of alpha.
    answer = alpha.infer(adapter=f"own@{digits}", prompt="a")
    assert (answer.status, answer.code) == (404, "version_not_found")


def test_the_same_content_is_new_to_each_tenant(house):
    """An upload does not tell that somebody has the same files; both work, and deleting one leaves the other."""
    name = house.fresh()
    assert house.clients["alpha"].upload(**house.upload, name=name).status == 201
    assert house.clients["alpha"].delete(f"/adapters/{name}").status == 204
    assert house.clients["beta"].infer(adapter=NAME, prompt="a", max_tokens=1).status == 200


def test_nobody_profits_from_the_cached_prompts_of_others(house):
    """cached_tokens counts a tenant's own earlier requests only, also with the same adapter's content."""
    alpha, beta = house.clients["alpha"], house.clients["beta"]
    name = house.fresh()
    assert alpha.upload(**house.upload, name=name).status == 201
    prompt = "A prompt that is long enough to be worth keeping, since it has many words. " * 8
    for mine, theirs in ((None, None), (name, NAME)):
        def cached(client, adapter, prompt=prompt):
            return client.infer(adapter=adapter, prompt=prompt, max_tokens=1).json["usage"]["cached_tokens"]

        cached(beta, theirs)
        assert cached(beta, theirs) > 0
        assert cached(alpha, mine) == 0
        assert cached(alpha, mine) > 0
        assert cached(beta, theirs) > 0


# ---- canaries: last, when everything has been asked ----

@pytest.mark.parametrize("caller", ["nobody", "bad", "revoked", "alpha"])
def test_nothing_of_beta_in_any_answer_to_others(house, caller):
    seen = house.clients[caller].seen
    assert len(seen) > 5000
    for canary in (UNASKED, LABEL, PROMPT, CONFIG, FILE, EXAMPLE):
        assert canary.encode() not in seen


def test_beta_itself_sees_its_things(house):
    seen = house.clients["beta"].seen
    assert UNASKED.encode() in seen
    assert LABEL.encode() in house.admin.get("/tenants/beta/keys").body


def test_the_log_has_no_prompts_labels_or_keys(house):
    log = house.daemon.read_log()
    assert "/infer" in log and "tenant=beta" in log
    text = house.clients["beta"].infer(adapter=NAME, prompt=PROMPT, max_tokens=8).json["text"]
    for secret in (LABEL, PROMPT, CONFIG, FILE, EXAMPLE, text, *filter(None, house.keys.values())):
        assert secret not in house.daemon.read_log()
