"""Requests made from GET /openapi.json: what the document allows is taken, and what it does not is refused.

Made by tests/e2e/generated.py rather than by schemathesis: tests need nothing that a bare Debian has not, and what they send stays the same from run to run."""
import json
import os
from urllib.parse import quote, urlencode

import pytest

from client import form_body, read
from daemon import DEMO
from generated import Generator
from test_openapi import DOCUMENT, OPERATIONS

# What decides besides the document: what is there, what the model is, who asks, where texts meet a tokenizer or a template, and what a line
# to train with has to be, which files have besides.
STATE = {"token_out_of_range", "prompt_empty", "prompt_too_long", "context_length_exceeded", "input_unsupported", "task_unsupported", "chat_template_failed", "chat_refused",
         "invalid_training_file", "field_conflict"}  # which fields exclude each other is in the documentation
INFERENCE = {"/infer", "/v1/completions", "/v1/chat/completions", "/v1/responses", "/v1/embeddings"}
FORMS = {("POST", "/adapters"), ("POST", "/v1/files")}
LONG = {("POST", "/backup"), ("POST", "/fsck"), ("GET", "/status")}  # the last is a stream without an end; tests/e2e/console has it
NAMED = "tenant"  # whose things are meant is the key's to say here


@pytest.fixture(scope="module")
def clients(daemon):
    acme = daemon.tenant("generated")
    mask = os.path.join(DEMO, "adapters", "mask")
    assert acme.upload(mask, name="a").status == 201
    return {"admin": daemon.client(), "tenant": acme}


def with_future(value):
    """What the document cannot say: a time to come is one."""
    if isinstance(value, dict):
        return {k: "2096" + v[4:] if k == "expires_at" and isinstance(v, str) else with_future(v) for k, v in value.items()}
    return value


def address(path, operation, make):
    """The path with its parameters, its query and its headers, as `make` of each parameter's schema gives them."""
    query, headers = {}, {}
    for parameter in operation["parameters"]:
        if parameter["name"] == NAMED and parameter["in"] == "query":
            continue
        value = make(parameter)
        if value is None:
            continue
        if parameter["in"] == "path":
            path = path.replace("{%s}" % parameter["name"], quote(str(value), safe=":@+"))
        elif parameter["in"] == "query":
            query[parameter["name"]] = value
        else:
            headers[parameter["name"]] = value
    return path + ("?" + urlencode(query, quote_via=quote) if query else ""), headers


def body_schema(operation):
    return operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema")


def send(clients, method, path, operation, headers, body):
    client = clients["admin" if operation.get("x-role") == "admin" else "tenant"]
    return client.request(method, path, body, headers)


CASES = [case for case in OPERATIONS if case not in LONG | FORMS]


@pytest.mark.parametrize("case", [case for case in CASES if case[1] not in INFERENCE], ids=" ".join)
def test_what_the_document_allows_is_taken(clients, case):
    (method, path), operation = case, OPERATIONS[case]
    for seed in range(40):
        g = Generator(DOCUMENT, f"{method} {path} {seed}")
        where, headers = address(path, operation,
                                 lambda p, g=g: g.value(p["schema"]) if p.get("required") or g.random.random() < 0.5 else None)
        schema = body_schema(operation)
        body = with_future(g.value(schema)) if schema else None
        if isinstance(body, dict):
            body.pop(NAMED, None)
        answer = send(clients, method, where, operation, headers, body)
        assert answer.status < 300 or answer.status in (304, 403, 404, 409) or answer.code in STATE, (seed, where, headers, body, answer)


@pytest.mark.parametrize("case", [case for case in CASES if case[1] not in INFERENCE], ids=" ".join)
def test_what_the_document_does_not_allow_is_refused(clients, case):
    """One thing of each request is wrong."""
    (method, path), operation = case, OPERATIONS[case]
    schema = body_schema(operation)
    inner = Generator(DOCUMENT, 0).schemas.at(schema["$ref"]) if schema and "$ref" in schema else schema
    places = [("parameter", p["name"]) for p in operation["parameters"] if p["in"] == "query" and p["name"] != NAMED]
    places += [("body", name) for name in (inner or {}).get("properties", {})] + ([("body", "nobody-knows-this")] if inner else [])
    for seed, (kind, name) in enumerate(places * 6):
        g = Generator(DOCUMENT, f"{method} {path} {seed}")

        def make(parameter, g=g, kind=kind, name=name):
            if kind == "parameter" and parameter["name"] == name:
                wrong = str(g.wrong(parameter["schema"]))  # as it stands in an address
                return wrong if g.schemas.problems(wrong, parameter["schema"]) and not wrong.isdecimal() else None
            return g.value(parameter["schema"]) if parameter.get("required") else None

        where, headers = address(path, operation, make)
        body = with_future(g.value(schema)) if schema else None
        if kind == "body":
            body[name] = g.wrong(inner["properties"].get(name, {"const": "nothing"}))
            if name == NAMED and body[name] in (None, "generated"):
                continue
        elif f"{name}=" not in where:
            continue
        answer = send(clients, method, where, operation, headers, body)
        assert 400 <= answer.status < 500, (seed, kind, name, where, body, answer)


@pytest.mark.parametrize("path", sorted(INFERENCE))
def test_what_the_document_allows_of_a_request_that_runs_the_model_is_taken(clients, path):
    """A field or two beside those that every request has: which exclude each other is in the documentation."""
    schema = body_schema(OPERATIONS["POST", path])
    inner = Generator(DOCUMENT, 0).schemas.at(schema["$ref"])
    basis = {"/infer": {"prompt": "Hello", "max_tokens": 2}, "/v1/completions": {"model": "demo", "prompt": "Hello", "max_tokens": 2},
             "/v1/chat/completions": {"model": "demo", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 2},
             "/v1/responses": {"model": "demo", "input": "Hi", "max_output_tokens": 2}, "/v1/embeddings": {"model": "demo", "input": "Hello"}}[path]
    own = ("grammar", "regex", "choice", "format", "outputs", "tools", "functions", "json")  # texts with a grammar of their own
    apart = {*basis, "best_of", "messages", "tokens", "input", NAMED, "max_tokens", "max_completion_tokens", "dimensions", "text"}
    for name in sorted(name for name in set(inner["properties"]) - apart if not any(word in name for word in own)):
        for seed in range(3):
            g = Generator(DOCUMENT, f"{path} {name} {seed}")
            body = {**basis, name: g.value(inner["properties"][name])}
            answer = clients["tenant"].request("POST", path, body)
            assert answer.status in (200, 404) or answer.code in STATE, (name, body, answer)


def test_forms_that_the_document_allows_are_taken(clients):
    mask = os.path.join(DEMO, "adapters", "mask")
    files = [("config", read(os.path.join(mask, "adapter_config.json")), "c.json"),
             ("weights", read(os.path.join(mask, "adapter_model.safetensors")), "w.safetensors")]
    properties = DOCUMENT["components"]["schemas"]["Upload"]["properties"]
    for seed in range(12):
        g = Generator(DOCUMENT, f"form {seed}")
        fields = {name: g.value(schema) for name, schema in properties.items() if name not in ("config", "weights", "tokenizer_config", "generation_config", "added_tokens", NAMED)
                  and (name == "name" or g.random.random() < 0.5)}
        body, kind = form_body([*((k, v, None) for k, v in fields.items()), *files])
        answer = clients["tenant"].request("POST", "/adapters", body, {"Content-Type": kind})
        assert answer.status in (200, 201) or answer.code in STATE, (fields, answer)


def test_the_generator_makes_what_it_says():
    """And is tried itself: each value fits its schema, each wrong one does not, and there are many of both."""
    for name, schema in DOCUMENT["components"]["schemas"].items():
        g, found = Generator(DOCUMENT, name), set()
        for _ in range(20):
            value = g.value(schema)
            assert not g.schemas.problems(value, schema)
            found.add(json.dumps(value, sort_keys=True))
            wrong = g.wrong(schema)
            assert wrong is None or g.schemas.problems(wrong, schema)
        assert len(found) > 1 or "const" in schema or "enum" in schema, name
