"""GET /openapi.json against the table of routes, the documentation, and what a live daemon takes and answers."""
import json
import os
import re

import pytest

from client import Client, form_body, read
from daemon import DEMO, ROOT
from fixtures import changed
from names import INPUT
from schema import Schemas

METHODS = ("get", "post", "patch", "put", "delete")
MASK, VOICE = (os.path.join(DEMO, "adapters", name) for name in ("mask", "voice"))


def source(*path):
    return read(os.path.join(ROOT, *path)).decode()


DOCUMENT = json.loads(source("server", "routes", "openapi.json").replace("@VERSION@", source("VERSION").strip()))
ANSWERS, BODIES = Schemas(DOCUMENT, strict=True), Schemas(DOCUMENT, strict=False)


def operations():
    """(method, path) -> operation, with the parameters of its path, references followed."""
    found = {}
    for path, item in DOCUMENT["paths"].items():
        assert set(item) <= {"parameters", *METHODS}
        for method in set(item) & set(METHODS):
            parameters = item.get("parameters", []) + item[method].get("parameters", [])
            found[method.upper(), path] = {**item[method], "parameters": [ANSWERS.at(p["$ref"]) for p in parameters]}
    return found


OPERATIONS = operations()


def walk(node, place="#"):
    yield place, node
    if isinstance(node, (dict, list)):
        for name, child in node.items() if isinstance(node, dict) else enumerate(node):
            yield from walk(child, f"{place}/{name}")


# ---- how it is served ----

def test_it_is_served_to_everybody_and_kept_by_clients(daemon):
    client = daemon.anonymous()
    answer = client.get("/openapi.json")
    assert answer.status == 200 and answer.headers["Content-Type"] == "application/json"
    assert answer.json == DOCUMENT and answer.json["info"]["version"] == client.get("/version").json["version"]
    assert len(answer.body) < 160_000 and source("server", "routes", "openapi.json").count("\n") < 2200
    etag = answer.headers["ETag"]
    assert re.fullmatch('"[0-9a-f]{16}"', etag)
    again = client.request("GET", "/openapi.json", headers={"If-None-Match": etag})
    assert (again.status, again.body, again.headers["ETag"]) == (304, b"", etag)
    assert client.request("GET", "/openapi.json", headers={"If-None-Match": '"other"'}).body == answer.body
    head = client.request("HEAD", "/openapi.json")
    assert (head.status, head.headers["ETag"], head.headers["Content-Length"]) == (200, etag, str(len(answer.body)))


# ---- in itself ----

def test_every_reference_leads_somewhere_and_nothing_is_left_over():
    used = {node["$ref"] for _, node in walk(DOCUMENT) if isinstance(node, dict) and "$ref" in node}
    for reference in used:
        ANSWERS.at(reference)
    there = {f"#/components/{kind}/{name}" for kind, items in DOCUMENT["components"].items() if kind != "securitySchemes"
             for name in items}
    assert used == there
    names = [operation["operationId"] for operation in OPERATIONS.values()]
    assert len(names) == len(set(names))
    for _, node in walk(DOCUMENT):
        if isinstance(node, dict) and {"required", "properties", "type"} <= set(node):
            assert set(node["required"]) <= set(node["properties"])


def test_the_validator_sees_mistakes():
    good = {"error": {"code": "not_found", "message": "no"}}
    error = {"$ref": "#/components/schemas/Error"}
    assert ANSWERS.problems(good, error) == []
    for bad in ([], {}, {"error": {"code": "not_found"}}, {"error": {"code": "unheard_of", "message": "no"}}, {**good, "more": 1},
                {"error": {"code": "not_found", "message": 1}}, {"error": {**good["error"], "current": "sha256:1"}}):
        assert ANSWERS.problems(bad, error), bad
    infer = {"$ref": "#/components/schemas/InferRequest"}
    assert BODIES.problems({"prompt": "a", "adapter": None, "stop": ["a"], "top_k": 0, "stream": True}, infer) == []
    for bad in ({"more": 1}, {"adapter": 1}, {"adapter": "A"}, {"stop": [1]}, {"stop": 17 * ["a"]}, {"top_k": -1}, {"top_k": True},
                {"top_p": 0}, {"adapter": []}, {"stream": 1}, {"seed": 0.5}, {"messages": [{"role": "user"}]}):
        assert BODIES.problems(bad, infer), bad


# ---- against the source and the documentation ----

def routes():
    """(method, pattern) -> (role, body, names of query parameters), as server/routes.c has them."""
    row = r'\{"([A-Z]+)",\s*"([^"]+)",\s*ROLE_(\w+),\s*(BODY_\w+|&\w+_form),\s*PLACE_\w+,\s*([^,]*?),\s*[\w| ]+,\s*\w+\}'
    table = source("server", "routes.c")
    found = re.findall(row, table)
    assert len(found) == len(re.findall("ROLE_", table)) > 20
    flags = re.findall(r'^    \{"(\w+)", (QUERY_\w+), ', source("server", "http", "query.c"), re.M)
    return {(method, path): (role, body, {name for name, flag in flags if flag in re.findall(r"QUERY_\w+", query)})
            for method, path, role, body, query in found}


def test_it_has_every_route_and_no_other():
    assert set(OPERATIONS) == set(routes())


@pytest.mark.parametrize("route", routes(), ids=" ".join)
def test_role_parameters_and_body_are_those_of_the_table(route):
    (role, body, query), operation = routes()[route], OPERATIONS[route]
    assert (operation.get("security") == []) == (role == "NONE")
    assert (operation.get("x-role") == "admin") == (role == "ADMIN")
    assert {p["name"] for p in operation["parameters"] if p["in"] == "query"} == query
    assert [p["name"] for p in operation["parameters"] if p["in"] == "path"] == re.findall(r"\{(\w+)\}", route[1])
    kind = {"BODY_NONE": [], "BODY_JSON": ["application/json"]}.get(body, ["multipart/form-data"])
    assert list(operation.get("requestBody", {"content": []})["content"]) == kind
    answers = operation["responses"]
    assert any(status.startswith("2") for status in answers) and answers["default"] == {"$ref": "#/components/responses/Error"}


def test_the_codes_are_those_that_there_are():
    codes = re.findall(r'^    \{"(\w+)", \d{3}\},', source("server", "http", "reply.c"), re.M)
    assert DOCUMENT["components"]["schemas"]["ErrorCode"]["enum"] == codes
    section = source("docs", "http-api.md").split("\n## Errors\n")[1].split("\n## ")[0]
    documented = {code for row in re.findall(r"^\| \d{3} \| ([^|]+) \|", section, re.M) for code in re.findall(r"`(\w+)`", row)}
    assert len(documented) > 50 and documented <= set(codes)


@pytest.mark.parametrize("schema, section, until", [
    ("InferRequest", "## POST /infer", "### Streaming"),
    ("Upload", "## Adapters", "<a name=\"proof\">"),
    ("Quota", "<a name=\"quotas\">", "## Usage"),
])
def test_fields_are_those_of_the_documentation(schema, section, until):
    text = source("docs", "http-api.md").split("\n" + section)[1].split("\n" + until)[0]
    fields = re.findall(r"^\| `(\w+)` \|", text, re.M)
    assert fields and set(DOCUMENT["components"]["schemas"][schema]["properties"]) == set(fields)


@pytest.mark.parametrize("schema, where", [("CompletionRequest", ("OPENAI_ALL", "OPENAI_BOTH", "OPENAI_COMPLETIONS")),
                                           ("ChatRequest", ("OPENAI_ALL", "OPENAI_BOTH", "OPENAI_TALK", "OPENAI_CHAT")),
                                           ("ResponseRequest", ("OPENAI_ALL", "OPENAI_TALK", "OPENAI_RESPONSES")), ("EmbeddingsRequest", ("OPENAI_EMBEDDINGS",))])
def test_fields_of_openai_clients_are_those_of_the_parser(schema, where):
    """With the values that it takes where it takes a few only; null is one of them everywhere."""
    table = re.findall(r'^    \{"(\w+)", (\w+), (TAKEN|IGNORED|".*")\},', source("server", "openai", "openai_fields.c"), re.M)
    fields = {name: only for name, place, only in table if place in where}
    properties = DOCUMENT["components"]["schemas"][schema]["properties"]
    assert len(fields) > 10 and set(properties) == set(fields)
    for name, only in fields.items():
        wanted = None if only in ("TAKEN", "IGNORED") else [*json.loads(json.loads(only)), None]
        assert properties[name].get("enum") == wanted, name
        assert (properties[name].get("$ref") == "#/components/schemas/Ignored") == (only == "IGNORED"), name


# ---- against a live daemon ----

def bounds():
    for name, schema in DOCUMENT["components"]["schemas"]["InferRequest"]["properties"].items():
        for key in ("minimum", "maximum", "exclusiveMinimum"):
            if key in schema:
                yield name, key, schema[key]


@pytest.mark.parametrize("name, key, bound", bounds())
def test_bounds_are_those_of_the_daemon(daemon, name, key, bound):
    client = daemon.client()
    client.post("/tenants", {"id": "bounds"})
    fields = {"tenant": "bounds", "prompt": "a", "max_tokens": 1, "stop": [" ", "e", "\n"]}
    inside = client.infer(**{**fields, name: bound})
    assert inside.status == (400 if key == "exclusiveMinimum" else 200), inside
    if key != "exclusiveMinimum":
        outside = client.infer(**{**fields, name: bound + (1 if key == "maximum" else -1)})
        assert (outside.status, outside.json["error"]["param"]) == (400, name)


class Checked(Client):
    """A client that holds each request and each answer to the document, and remembers what it has seen of it."""

    seen = set()

    def with_key(self, key):
        return Checked(f"{self.host}:{self.port}", key)

    def request(self, method, path, body=None, headers=None):
        answer = super().request(method, path, body, headers)
        place, operation = find(method, path.split("?")[0])
        if answer.status < 400 and isinstance(body, dict):
            schema = operation["requestBody"]["content"]["application/json"]["schema"]
            assert BODIES.problems(body, schema) == []
        responses = operation["responses"]
        status = str(answer.status) if answer.status < 400 or str(answer.status) in responses else "default"
        response = responses[status]
        response = ANSWERS.at(response["$ref"]) if "$ref" in response else response
        self.seen.add((*place, status))
        if not answer.body:
            assert "content" not in response or method == "HEAD"
            return answer
        kind = answer.headers["Content-Type"].split(";")[0]
        schema = response["content"][kind].get("schema", {})
        if kind == "application/json":
            assert ANSWERS.problems(answer.json, schema) == [], answer
        return answer


def find(method, path):
    for place, operation in OPERATIONS.items():
        pattern = re.sub(r"\\\{\w+\\\}", "[^/]+", re.escape(place[1]))
        if place[0] == method and re.fullmatch(pattern, path):
            return place, operation
    raise AssertionError(f"{method} {path} is not in the document")


def events_fit(client, path, **fields):
    content = OPERATIONS["POST", path]["responses"]["200"]["content"]["text/event-stream"]
    events = [event for _, event in client.events(path, **fields)]
    assert (events.pop() == "[DONE]" or path == "/v1/responses") and len(events) > 1
    for event in events:
        assert ANSWERS.problems(event, content["schema"]) == []


def try_tenants(admin):
    assert admin.post("/tenants", {"id": "acme", "quota": {"weight": 100, "tokens_per_minute": None}, "default_adapter": None}).status == 201
    admin.post("/tenants", {"id": "gone"})
    assert admin.post("/tenants", {"id": "acme"}).code == "tenant_exists"
    assert admin.get("/tenants", limit=1).json["next"] == "acme"
    assert admin.get("/tenants/acme").status == 200
    assert admin.patch("/tenants/acme", {"quota": {"adapters_max": 100}, "default_adapter": None}).status == 200
    key = admin.post("/tenants/acme/keys", {"label": "a", "expires_at": "2037-01-01T00:00:00Z"}).json
    assert admin.post(f"/tenants/acme/keys/{key['kid']}/rotate", {"grace_seconds": 600, "expires_at": None}).status == 201
    assert admin.get("/tenants/acme/keys").status == 200
    last = admin.post("/tenants/acme/keys", {}).json
    assert admin.delete(f"/tenants/acme/keys/{key['kid']}").status == 204
    assert admin.delete("/tenants/gone").status == 204
    return admin.with_key(last["key"])


def upload(client, directory, **fields):
    files = [(part, read(os.path.join(directory, file)), file)
             for part, file in (("config", "adapter_config.json"), ("weights", "adapter_model.safetensors"))]
    body, kind = form_body([*((k, v, None) for k, v in fields.items()), *files])
    assert set(fields) | {"config", "weights"} <= set(DOCUMENT["components"]["schemas"]["Upload"]["properties"])
    return client.request("POST", "/adapters", body, {"Content-Type": kind})


def try_adapters(acme, admin):
    assert upload(acme, MASK, name="a", proof_prompt="Hi").status == 201
    second = upload(acme, VOICE, name="a", activate="false").json["version"]
    assert upload(acme, MASK, name="a").status == 200
    assert acme.patch("/adapters/a", {"canary": {"version": second, "percent": 5}}).status == 200
    assert acme.patch("/adapters/a", {"version": second}).status == 200
    assert acme.patch("/adapters/a", {"rollback": True}).status == 200
    assert acme.patch("/adapters/a", {"labels": {"a": "b"}, "note": "n", "expires_at": "2037-01-01T00:00:00Z"}).status == 200
    assert admin.patch("/adapters/a", {"pinned": True, "tenant": "acme"}).status == 200
    lost = acme.patch("/adapters/a", {"version": second}, {"If-Match": f'"{second}"'})
    assert lost.code == "version_conflict"
    assert acme.get("/adapters").status == 200 and acme.get("/adapters", label="a:b").status == 200
    shown = acme.get("/adapters/a")
    assert acme.request("GET", "/adapters/a", headers={"If-None-Match": shown.headers["ETag"]}).status == 304
    assert acme.get(f"/adapters/a/versions/{second}").status == 200
    for file in ("adapter_config.json", "adapter_model.safetensors"):
        path = f"/adapters/a/versions/{second}/files/{file}"
        assert acme.request("GET", path, headers={"If-None-Match": acme.get(path).headers["ETag"]}).status == 304
    own = upload(acme, MASK, name="own", chat_template="{{ messages }}", tokenizer_config="{}", generation_config="{}", added_tokens="{}").json["version"]
    for file in ("tokenizer_config.json", "chat_template.jinja", "generation_config.json", "added_tokens.json"):
        assert acme.get(f"/adapters/own/versions/{own}/files/{file}").status == 200
    assert acme.get(f"/adapters/own/versions/{own}").json["settings"] is not None and acme.delete("/adapters/own").status == 204
    assert acme.infer(adapter="a", prompt="Hi", max_tokens=2, logprobs=2, prompt_logprobs=True).status == 200
    assert acme.infer(adapter=[{"adapter": "a", "scale": 0.5}, {"adapter": f"a@{second[7:15]}"}], prompt="Hi", max_tokens=2).status == 200
    events_fit(acme, "/infer", adapter="a", prompt="Hi", max_tokens=4, logprobs=1, prompt_logprobs=True, ignore_eos=True)
    assert acme.delete(f"/adapters/a/versions/{second}").status == 204
    assert acme.get("/adapters/nobody").code == "adapter_not_found"
    assert upload(acme, VOICE, name="b").status == 201
    version = acme.get("/adapters/b").json["version"]
    assert acme.delete(f"/adapters/b/versions/{version}", force="true").status == 204
    assert acme.get("/adapters").json["data"][1]["version"] is None and acme.get("/adapters/b").json["version"] is None
    assert acme.delete("/adapters/b").status == 204


def try_openai(acme):
    base = acme.get("/v1/models").json["data"][0]["id"]
    assert acme.get("/v1/models", limit=1).json["has_more"] is False
    for model in (base, "a"):
        assert acme.get(f"/v1/models/{model}").json["id"] == model
    some = {"model": "a", "max_tokens": 4, "ignore_eos": True}
    chat = {**some, "messages": [{"role": "user", "content": "Hi"}]}
    for more in ({}, {"logprobs": 2, "n": 1, "stop": None, "suffix": "", "user": "u", "temperature": 0, "logit_bias": {}}):
        assert acme.post("/v1/completions", {**some, "prompt": "Hi", **more}).status == 200
    for prompt in (["Hi"], [20, 21], [[20, 21]]):
        assert acme.post("/v1/completions", {**some, "prompt": prompt}).status == 200
    for more in ({}, {"logprobs": True, "top_logprobs": 2, "tools": [], "response_format": {"type": "text"}, "metadata": {"a": "b"}}):
        assert acme.post("/v1/chat/completions", {**chat, **more}).status == 200
    for usage in (True, False):
        events_fit(acme, "/v1/completions", **some, prompt="Hi", logprobs=1, stream_options={"include_usage": usage})
        events_fit(acme, "/v1/chat/completions", **chat, logprobs=True, top_logprobs=1, stream_options={"include_usage": usage})
    events_fit(acme, "/v1/completions", **some, prompt=["Hi", "Ho"], n=2, logit_bias={"20": 1.5}, stop_token_ids=[2], min_tokens=1)
    assert acme.post("/v1/completions", {**some, "prompt": ["Hi", [20]], "n": 2, "presence_penalty": 0.5, "seed": -1, "max_tokens": -1}).status == 200
    tool = {"type": "function", "function": {"name": "f"}}
    calls = [{"role": "user", "name": "u", "content": "Hi"}, {"role": "assistant", "content": None, "tool_calls": [{"id": "c", **tool}]},
             {"role": "tool", "tool_call_id": "c", "content": "5"}]
    acme.post("/v1/chat/completions", {**chat, "messages": calls, "tools": [tool]})
    for more in ({"n": 2}, {"tools": [tool], "tool_choice": "auto"}, {"chat_template_kwargs": {"a": 1}, "reasoning_effort": "low"},
                 {"add_generation_prompt": False, "enable_thinking": False}, {"keep_alive": "5m", "mirostat": 0, "repetition_penalty": 1.1}):
        assert acme.post("/v1/chat/completions", {**chat, **more}).status == 200
    assert acme.infer(messages=chat["messages"], tools=[tool], chat_template_kwargs={}, frequency_penalty=1, min_tokens=1, max_tokens=2).status == 200
    for more in ({"input": "Hi"}, {"input": ["Hi", [20, 21]], "encoding_format": "base64", "dimensions": 3, "pooling": "mean", "model": "a", "user": None}):
        assert acme.post("/v1/embeddings", more).status == 200
    for more in ({}, {"metadata": {"a": "b"}, "text": {"format": {"type": "json_object"}}, "include": ["message.output_text.logprobs"], "truncation": "auto"},
                 {"tools": [{"type": "function", "name": "f"}], "tool_choice": "required"}, {"instructions": "Be brief.", "reasoning": {"effort": "low"}, "store": False}):
        for given in ("Hi", [{"role": "user", "content": [{"type": "input_text", "text": "Hi"}]}]):
            assert acme.post("/v1/responses", {"model": "a", "max_output_tokens": 4, "input": given, **more}).status == 200
            events_fit(acme, "/v1/responses", model="a", max_output_tokens=4, input=given, **more)
    try_labels(acme)
    assert acme.post("/v1/completions", {**some, "prompt": "Hi", "suffix": "x"}).code == "unsupported_value"
    assert acme.post("/v1/chat/completions", {**chat, "model": "nobody"}).code == "model_not_found"


def try_labels(acme):
    assert acme.post("/classify", {"input": ["Hi", [20]], "model": "a", "logits": True}).code == "task_unsupported"
    score = {"base_model.model.score.weight": ("F32", [2, 128], bytes(1024))}
    for task in ("SEQ_CLS", "TOKEN_CLS"):
        config, weights = changed(MASK, more=score, task_type=task)
        assert acme.upload(config=config, weights=weights, name="labels").json["task"] == task
        assert acme.post("/classify", {"input": ["Hi", [20]], "adapter": "labels", "affinity": "x", "logits": True}).status == 200
        assert acme.post("/classify", {"input": "Hi", "model": "labels", "user": "x", "add_special_tokens": False}).status == 200
    assert acme.delete("/adapters/labels").status == 204


def upload_file(client, text, **fields):
    body, kind = form_body([*((k, v, None) for k, v in fields.items()), ("file", text, "a.jsonl")])
    assert set(fields) | {"file"} <= set(DOCUMENT["components"]["schemas"]["FileUpload"]["properties"])
    return client.request("POST", "/v1/files", body, {"Content-Type": kind})


def try_files(acme):
    good = '{"text": "a"}\n'
    file = upload_file(acme, good, purpose="fine-tune", **{"expires_after[anchor]": "created_at", "expires_after[seconds]": "3600"}).json["id"]
    assert upload_file(acme, good + "{}", purpose="fine-tune").code == "invalid_training_file"
    assert acme.get("/v1/files", limit=1, order="asc", purpose="fine-tune").json["last_id"] == file
    assert acme.get("/v1/files", after=file).json["first_id"] is None
    assert acme.get(f"/v1/files/{file}").json["examples"] == 1
    assert acme.get(f"/v1/files/{file}/content").body.decode() == good
    assert acme.delete(f"/v1/files/{file}").json["deleted"] is True
    assert acme.get(f"/v1/files/{file}").code == "file_not_found"


def try_jobs(acme):
    file = upload_file(acme, '{"text": "a b c"}\n' * 4, purpose="fine-tune").json["id"]
    base = acme.get("/v1/models").json["data"][0]["id"]
    body = {"model": base, "training_file": file, "validation_file": file, "suffix": "Made", "seed": 7, "metadata": {"a": "b"}, "lora": {"r": 1}, "activate": False,
            "method": {"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": "auto", "batch_size": 2}}}, "integrations": None,
            "training": {"max_steps": 4, "checkpoint_steps": 2, "loss": None, "warmup_steps": None}}
    assert acme.post("/train/estimate", body).json["steps"] == 4
    shown = acme.post("/train/preview", {"example": {"prompt": "a", "completion": "b"}}).json
    assert "".join(p["text"] for p in shown["pieces"] if p["learnt"]).startswith("b")
    job = acme.post("/v1/fine_tuning/jobs", body).json["id"]
    events = job_events(acme, job)
    assert acme.get(f"/v1/fine_tuning/jobs/{job}").json["status"] == "succeeded" and len(events) > 6
    assert acme.get(f"/v1/fine_tuning/jobs/{job}/events", limit=2).json["has_more"] is True
    assert acme.get(f"/v1/fine_tuning/jobs/{job}/events", after=events[1]["id"]).json["data"] == events[:1]
    assert acme.get(f"/v1/fine_tuning/jobs/{job}/checkpoints").json["data"][0]["step_number"] == 2
    assert acme.get("/v1/fine_tuning/jobs", limit=1).json["first_id"] == job
    long = acme.post("/v1/fine_tuning/jobs", {**body, "training": {"n_epochs": 1000}, "method": {"type": "supervised"}}).json["id"]
    for what, status in (("pause", "paused"), ("resume", "queued"), ("cancel", "cancelled")):
        answer = acme.post(f"/v1/fine_tuning/jobs/{long}/{what}", {})
        assert answer.json.get("status") == status, answer
    assert acme.post(f"/v1/fine_tuning/jobs/{long}/resume", {}).code == "job_conflict"
    assert acme.post("/v1/fine_tuning/jobs", {**body, "method": {"type": "dpo", "dpo": {"hyperparameters": {"beta": 0.1}}}}).code == "invalid_training_file"
    assert acme.get("/v1/fine_tuning/jobs/ftjob-nobody").code == "job_not_found"


def job_events(acme, job):
    """All of them as they come, each held to the document."""
    schema = OPERATIONS["GET", "/v1/fine_tuning/jobs/{id}/events"]["responses"]["200"]["content"]["text/event-stream"]["schema"]
    connection, response = acme.open("GET", f"/v1/fine_tuning/jobs/{job}/events?stream=true")
    events = [json.loads(line[6:]) for line in response.read().decode().splitlines() if line.startswith("data: {")]
    connection.close()
    for event in events:
        assert ANSWERS.problems(event, schema) == []
    return events


def try_the_rest(acme, admin, nobody):
    assert acme.infer(prompt="Hi", max_tokens=2).status == 200
    assert acme.infer(prompt="Hi", top_p=2).code == "out_of_range"
    tokens = acme.post("/tokenize", {"text": "Hi", "add_special_tokens": False}).json["tokens"]
    assert acme.post("/detokenize", {"tokens": tokens, "skip_special_tokens": True}).json["text"] == "Hi"
    assert admin.get("/usage", tenant="acme", **{"from": "2026-01-01", "to": "2037-01-01"}).json["data"]
    assert admin.get("/audit", tenant="acme", limit=5).json["data"]
    assert admin.post("/fsck", None).json["ok"] and admin.post("/backup", None).status == 200
    assert admin.get("/metrics").status == 200
    for path in ("/openapi.json", "/console", "/console/style.css", "/console/vendor/uplot.css"):
        document = nobody.get(path)
        assert nobody.request("GET", path, headers={"If-None-Match": document.headers["ETag"]}).status == 304
    assert admin.get("/status/history").status == acme.get("/status").status == admin.get("/status").status == 200
    for path in ("/", "/v1", "/health", "/ping", "/healthz", "/readyz", "/version", "/console", "/console/style.css", "/console/vendor/uplot.css"):
        assert nobody.get(path).status == 200
    for method, path in OPERATIONS:
        if "security" not in OPERATIONS[method, path]:
            assert nobody.request(method, re.sub(r"\{\w+\}", "abcd", path)).status == 401
        else:
            path = path.replace("vendor/{file}", "vendor/uplot.js").replace("{file}", "app.js")
            assert nobody.get(path, more=1).code == "unknown_parameter"


def test_a_live_daemon_answers_as_it_says(start):
    d = start("demo", None, "--threads", "1")
    Checked.seen = set()
    admin, nobody = Checked(d.address, d.admin_key), Checked(d.address, None)
    acme = try_tenants(admin)
    try_adapters(acme, admin)
    try_openai(acme)
    try_files(acme)
    try_jobs(acme)
    try_the_rest(acme, admin, nobody)
    # What remains is what only a daemon that stops would say.
    wanted = {(*place, status) for place, operation in OPERATIONS.items() for status in operation["responses"]}
    assert {(path, status) for _, path, status in wanted - Checked.seen } == {("/readyz", "503")}


def test_a_model_of_numbers_answers_as_it_says(mlp):
    client = Checked(mlp.address, mlp.tenant("numbers").key)
    for given in (INPUT, INPUT[0], INPUT * 3):
        assert client.infer(input=given).status == 200
    version = client.get("/version")
    assert version.json["context_length"] == 0
