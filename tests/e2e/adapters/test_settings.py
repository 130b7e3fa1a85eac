"""What an adapter brings beside its weights: its chat template, its end tokens, its sampling defaults."""
import json
import os
import sqlite3

import pytest

from client import form_body
from daemon import ROOT

ADAPTER = os.path.join(ROOT, "demo/adapters/ticket")
TEMPLATE = "{% for m in messages %}[{{ m['role'] }}] {{ m['content'] }}{{ eos_token }}{% endfor %}{% if add_generation_prompt %}[assistant] {% endif %}"
QUESTION = [{"role": "user", "content": "My invoice is wrong."}]


def read(directory, name):
    with open(os.path.join(directory, name), "rb") as f:
        return f.read()


def upload(tenant, name="a", config=None, **settings):
    """`settings`: content by the part's name."""
    parts = [("name", name, None), ("config", config or read(ADAPTER, "adapter_config.json"), "adapter_config.json"),
             ("weights", read(ADAPTER, "adapter_model.safetensors"), "adapter_model.safetensors")]
    parts += [(part, content if isinstance(content, (str, bytes)) else json.dumps(content), part) for part, content in settings.items()]
    body, kind = form_body(parts)
    return tenant.request("POST", "/adapters", body, {"Content-Type": kind})


def ids(tenant, text):
    return tenant.post("/tokenize", {"text": text}).json["tokens"]


def chat(tenant, adapter, **more):
    answer = tenant.post("/infer", {"adapter": adapter, "messages": QUESTION, "max_tokens": 12, **more})
    assert answer.status == 200, answer
    return answer.json


def test_its_template_makes_the_prompts(daemon):
    tenant = daemon.tenant("template")
    bare = upload(tenant, "bare")
    own = upload(tenant, "own", chat_template=TEMPLATE)
    inside = upload(tenant, "inside", tokenizer_config={"chat_template": TEMPLATE, "eos_token": "<|im_end|>"})
    assert bare.status == own.status == inside.status == 201
    assert len({x.json["version"] for x in (bare, own, inside)}) == 3, "settings are part of the version"
    assert bare.json["settings"] is None and own.json["settings"].startswith("sha256:")
    expected = ids(tenant, "[user] My invoice is wrong.<|im_end|>[assistant] ")
    for adapter in ("own", "inside"):
        assert chat(tenant, adapter)["usage"]["prompt_tokens"] == len(expected)
        prompt = tenant.post("/infer", {"adapter": adapter, "tokens": expected, "max_tokens": 12}).json
        assert chat(tenant, adapter)["text"] == prompt["text"]
    assert chat(tenant, "bare")["usage"]["prompt_tokens"] != len(expected)
    assert chat(tenant, None)["usage"]["prompt_tokens"] == chat(tenant, "bare")["usage"]["prompt_tokens"]


def test_its_end_tokens_end_answers(daemon):
    tenant = daemon.tenant("ends")
    assert upload(tenant, "plain").status == 201
    answer = tenant.post("/infer", {"adapter": "plain", "messages": QUESTION, "max_tokens": 40, "ignore_eos": True}).json
    second = answer["tokens"][1]
    text = tenant.post("/detokenize", {"tokens": [second]}).json["text"]
    for name, settings in (("generation", {"generation_config": {"eos_token_id": second}}),
                           ("list", {"generation_config": {"eos_token_id": [second, 2]}}),
                           ("tokenizer", {"tokenizer_config": {"eos_token": text}})):
        if name == "tokenizer" and ids(tenant, text) != [second]:
            continue
        assert upload(tenant, name, **settings).status == 201
        ended = chat(tenant, name, max_tokens=40)
        assert ended["finish_reason"] == "stop" and ended["tokens"] == answer["tokens"][:1], name
        streamed = tenant.post("/v1/chat/completions", {"model": name, "messages": QUESTION, "temperature": 0, "max_tokens": 40}).json
        assert streamed["choices"][0]["finish_reason"] == "stop" and streamed["usage"]["completion_tokens"] == 1
    both = chat(tenant, "plain", max_tokens=40, ignore_eos=True)
    assert both["tokens"] == answer["tokens"]


def test_a_grammar_ends_with_them(daemon):
    tenant = daemon.tenant("grammar")
    end = ids(tenant, "<|endoftext|>")
    assert len(end) == 1
    assert upload(tenant, "own", generation_config={"eos_token_id": end[0]}).status == 201
    answer = chat(tenant, "own", regex="[a-z]{1,3}", max_tokens=20, logit_bias={str(end[0]): 100, "2": 100})
    assert answer["finish_reason"] == "stop" and 1 <= len(answer["text"]) <= 3


def test_its_sampling_defaults_are_those_of_v1(daemon):
    tenant = daemon.tenant("defaults")
    assert upload(tenant, "greedy", generation_config={"do_sample": False}).status == 201
    body = {"model": "greedy", "messages": QUESTION, "max_tokens": 12}
    said = [tenant.post("/v1/chat/completions", body).json["choices"][0]["message"]["content"] for _ in range(3)]
    exact = tenant.post("/v1/chat/completions", {**body, "temperature": 0}).json["choices"][0]["message"]["content"]
    assert set(said) == {exact}


def test_settings_of_the_base_are_none(daemon):
    tenant, base = daemon.tenant("same"), os.path.join(ROOT, "demo/base")
    bare = upload(tenant, "a")
    same = upload(tenant, "a", chat_template=read(base, "chat_template.jinja"), tokenizer_config=read(base, "tokenizer_config.json"),
                  generation_config=read(base, "generation_config.json"))
    assert (bare.status, same.status) == (201, 200)
    assert same.json["version"] == bare.json["version"] and same.json["settings"] is None


@pytest.mark.parametrize("settings, status, code", [
    ({"generation_config": "{"}, 422, "config_malformed"),
    ({"generation_config": "[]"}, 422, "config_malformed"),
    ({"generation_config": {"eos_token_id": 5000}}, 422, "config_malformed"),
    ({"generation_config": {"eos_token_id": "x"}}, 422, "config_malformed"),
    ({"generation_config": {"eos_token_id": [1] * 40}}, 201, None),
    ({"generation_config": {"eos_token_id": list(range(40))}}, 422, "config_malformed"),
    ({"generation_config": {"temperature": "hot"}}, 422, "config_malformed"),
    ({"tokenizer_config": ""}, 422, "config_malformed"),
    ({"tokenizer_config": b"\xff\xfe{\0}\0"}, 422, "config_malformed"),
    ({"chat_template": b"\xff"}, 422, "config_malformed"),
    ({"chat_template": "x" * (2 << 20) + "y"}, 413, "body_too_large"),
])
def test_what_is_refused(daemon, settings, status, code, request):
    tenant = daemon.tenant(f"refused-{request.node.callspec.indices['settings']}")
    answer = upload(tenant, "r", **settings)
    assert answer.status == status, answer
    assert code is None or answer.json["error"]["code"] == code


def test_what_will_not_work_is_said(daemon):
    tenant = daemon.tenant("warned")
    answer = upload(tenant, "w", chat_template="{% unknown_statement %}", tokenizer_config={"eos_token": "<|no such token|>"})
    assert answer.status == 201 and len(answer.json["warnings"]) == 2
    refused = tenant.post("/infer", {"adapter": "w", "messages": QUESTION})
    assert (refused.status, refused.json["error"]["code"]) == (400, "chat_template_unsupported")
    assert tenant.post("/infer", {"adapter": "w", "prompt": "Hello", "max_tokens": 2}).status == 200


def test_they_come_back_and_last(start, ctl, tmp_path):
    d = start("demo")
    tenant = d.tenant("acme")
    directory = tmp_path / "adapter"
    directory.mkdir()
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        (directory / name).write_bytes(read(ADAPTER, name))
    (directory / "chat_template.jinja").write_text(TEMPLATE)
    (directory / "generation_config.json").write_text('{"eos_token_id": [2, 0]}')
    (directory / "tokenizer_config.json").write_text("{}")
    assert ctl(d, "adapters", "upload", directory, "--name", "own", key=tenant.key).status == 0
    assert ctl(d, "adapters", "upload", directory, "--name", "bare", "--no-settings", key=tenant.key).status == 0
    before = chat(tenant, "own")
    d.stop()
    d = start("demo", d.data)
    tenant = d.client(tenant.key)
    assert chat(tenant, "own")["text"] == before["text"]
    for name, files in (("own", 5), ("bare", 2)):
        out = tmp_path / name
        done = ctl(d, "adapters", "download", name, out, key=tenant.key)
        assert done.status == 0, done
        assert len(os.listdir(out)) == files
        for file in os.listdir(out):
            assert read(out, file) == read(directory, file)
    version = tenant.get("/adapters/own").json["version"]
    missing = tenant.get(f"/adapters/bare/versions/{tenant.get('/adapters/bare').json['version']}/files/chat_template.jinja")
    assert (missing.status, missing.json["error"]["code"]) == (404, "file_not_found")
    unknown = tenant.get(f"/adapters/own/versions/{version}/files/tokenizer.json")
    assert (unknown.status, unknown.json["error"]["code"]) == (404, "not_found")
    other = d.tenant("other").get(f"/adapters/own/versions/{version}/files/chat_template.jinja")
    assert (other.status, other.json["error"]["code"]) == (404, "adapter_not_found")
    assert tenant.delete("/adapters/own").status == 204
    d.stop()
    with sqlite3.connect(os.path.join(d.data, "registry.db")) as registry:
        assert registry.execute("SELECT count(*) FROM settings").fetchone() == (0,), "settings go with their last version"
