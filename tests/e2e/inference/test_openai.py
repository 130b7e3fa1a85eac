"""The routes of OpenAI's clients: what they answer is what /infer answers, written as those clients read it; what the daemon does
not do is refused by name. As docs/http-api.md says."""
import json
import os
import re
import signal
import time

import pytest

from client import eventually
from daemon import DEMO, FIXTURES, ROOT, Daemon, model_path
from test_labels import soon
from wire import Wire

COMPLETIONS, CHAT, MODELS = "/v1/completions", "/v1/chat/completions", "/v1/models"
HELLO = {"model": "mask", "prompt": "Hello"}
PARCEL = [{"role": "user", "content": "Where is my parcel?"}]
TALK = {"model": "voice", "messages": PARCEL}


def adapter(name):
    return os.path.join(DEMO, "adapters", name)


def with_adapters(daemon, name):
    tenant = daemon.tenant(name)
    for a in ("mask", "voice"):
        assert tenant.upload(adapter(a), name=a).status == 201
    return tenant


@pytest.fixture(scope="module")
def acme(daemon):
    return with_adapters(daemon, "acme")


def good(answer):
    assert answer.status == 200, answer
    return answer.json


def refused(answer, status, code, param=None, *words):
    """An error as these clients read it, which also has everything that the daemon's own errors have."""
    error = answer.json["error"]
    assert (answer.status, error["code"], error["param"]) == (status, code, param), answer
    assert set(answer.json) == {"error"} and {"code", "message", "type", "param"} <= set(error) <= {"code", "message", "type", "param", "hint"}
    assert error["type"] == {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error", 503: "server_error"}.get(
        status, "invalid_request_error")
    for word in words:
        assert word in error["message"], answer


def ours(tenant, path, body, **more):
    """The same request to /infer, from the body of one of these routes."""
    body = {"max_tokens": 16 if path == COMPLETIONS else 1024, "temperature": 1, **body, **more}
    model, prompt = body.pop("model"), body.get("prompt")
    if isinstance(prompt, list):
        body["tokens"] = body.pop("prompt")
    if path == CHAT and body.pop("logprobs", False):
        body["logprobs"] = body.pop("top_logprobs")
    return good(tenant.infer(adapter=None if model == "demo" else model, **body))


def content(choice):
    return choice["text"] if "text" in choice else choice.get("delta", choice.get("message", {})).get("content", "")


def joined(events):
    """All chunks of a stream as one answer, after checking their form."""
    events = list(events)
    assert events[-1] == (None, "[DONE]") and all(name is None for name, _ in events)
    chunks = [chunk for _, chunk in events[:-1]]
    usages = [chunk.get("usage") for chunk in chunks]
    if "usage" in chunks[0]:
        assert chunks[-1]["choices"] == [] and usages[-1] and not any(usages[:-1])
    else:
        assert all("usage" not in chunk for chunk in chunks)
    heads = [{k: v for k, v in chunk.items() if k not in ("choices", "usage")} for chunk in chunks]
    assert all(head == heads[0] for head in heads)
    choices = [chunk["choices"][0] for chunk in chunks if chunk["choices"]]
    *parts, last = choices
    assert all(c["finish_reason"] is None and c["index"] == 0 for c in parts) and last["finish_reason"] in ("stop", "length")
    whole = {**heads[0], "text": "".join(map(content, choices)), "finish_reason": last["finish_reason"], "usage": usages[-1]}
    if heads[0]["object"] == "chat.completion.chunk":
        assert choices[0]["delta"]["role"] == "assistant" and all("role" not in c["delta"] for c in choices[1:])
        assert last["delta"] == {} or len(choices) == 1
        assert all(set(c) == {"index", "delta", "logprobs", "finish_reason"} for c in choices)
    else:
        assert all(set(c) == {"index", "text", "logprobs", "finish_reason"} for c in choices)
    found = [c["logprobs"] for c in choices if c["logprobs"]]
    whole["logprobs"] = {k: [x for l in found for x in l[k] or []] for k in found[0]} if found else None
    return whole


def logprobs_of(answer, path):
    """What /infer's log-probabilities are in these routes' form, but for offsets and bytes."""
    if path == CHAT:
        return [(t["text"], t["logprob"], [(x["text"], x["logprob"]) for x in t["top"]]) for t in answer["logprobs"]]
    first = {}
    for t in answer["logprobs"]:
        texts = {}
        for x in t["top"]:
            texts.setdefault(x["text"], x["logprob"])
        first[id(t)] = texts
    return [(t["text"], t["logprob"], first[id(t)]) for t in answer["logprobs"]]


def logprobs_in(logprobs, path):
    if path == CHAT:
        return [(t["token"], t["logprob"], [(x["token"], x["logprob"]) for x in t["top_logprobs"]]) for t in logprobs["content"]]
    return list(zip(logprobs["tokens"], logprobs["token_logprobs"], logprobs["top_logprobs"], strict=True))


def same_as_infer(tenant, path, body):
    """Whole, as a stream, and by /infer: one text, one end, one usage, the same log-probabilities to the last bit."""
    wanted = ours(tenant, path, body)
    plain = good(tenant.post(path, body))
    choice = plain["choices"][0]
    streamed = joined(tenant.events(path, **body, stream_options={"include_usage": True}))
    assert content(choice) == streamed["text"] == wanted["text"]
    assert choice["finish_reason"] == streamed["finish_reason"] == wanted["finish_reason"]
    for usage in (plain["usage"], streamed["usage"]):
        assert usage["prompt_tokens"] == wanted["usage"]["prompt_tokens"]
        assert usage["completion_tokens"] == wanted["usage"]["completion_tokens"]
        assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
        assert set(usage) == {"prompt_tokens", "completion_tokens", "total_tokens", "prompt_tokens_details"}
        assert set(usage["prompt_tokens_details"]) == {"cached_tokens"}
    if body.get("logprobs"):
        assert logprobs_in(choice["logprobs"], path) == logprobs_of(wanted, path)
        if wanted["logprobs"]:
            assert streamed["logprobs"] == {**choice["logprobs"], **({"refusal": []} if path == CHAT else {})}
    else:
        assert choice["logprobs"] is None and streamed["logprobs"] is None
    return plain


# ---- the same as /infer ----

@pytest.mark.parametrize("body", [
    {"prompt": "Hello", "temperature": 0},
    {"prompt": "Hello", "seed": 7},
    {"prompt": "Hello there", "seed": 3, "max_tokens": 40, "temperature": 1.5, "top_p": 0.9, "top_k": 50, "min_p": 0.01, "logprobs": 3},
    {"prompt": [20, 21, 22], "seed": 1, "logprobs": 20, "ignore_eos": True},
    {"prompt": "Hello", "max_tokens": 0, "seed": 1},
    {"prompt": "a\0b", "seed": 1},
])
@pytest.mark.parametrize("model", ["mask", "demo"])
def test_completions_are_those_of_infer(acme, model, body):
    same_as_infer(acme, COMPLETIONS, {"model": model, **body})


@pytest.mark.parametrize("body", [
    {"temperature": 0},
    {"seed": 5, "max_tokens": 60, "top_p": 0.9, "logprobs": True, "top_logprobs": 4},
    {"messages": [{"role": "system", "content": "Be brief."}, *PARCEL, {"role": "assistant", "content": "Here."}, *PARCEL], "seed": 2,
     "max_tokens": 30},
])
@pytest.mark.parametrize("model", ["voice", "demo"])
def test_chats_are_those_of_infer(acme, model, body):
    same_as_infer(acme, CHAT, {"model": model, "messages": PARCEL, **body})


@pytest.mark.parametrize("path, start", [(COMPLETIONS, HELLO), (CHAT, TALK)])
def test_characters_that_take_several_tokens(acme, path, start):
    """Random bytes: each chunk holds whole characters; bytes of the tokens and offsets fit the text."""
    split = 0
    for seed in range(4):
        body = {**start, "temperature": 100, "seed": seed, "max_tokens": 120, "ignore_eos": True}
        same_as_infer(acme, path, body)
        body.update({"logprobs": 1} if path == COMPLETIONS else {"logprobs": True, "top_logprobs": 1})
        choice = same_as_infer(acme, path, body)["choices"][0]
        text, logprobs = content(choice), choice["logprobs"]
        if path == CHAT:
            tokens = [bytes(t["bytes"]) for t in logprobs["content"] if not t["token"].startswith("<|")]
            assert b"".join(tokens).decode(errors="replace") == text
            split += sum(1 for t in tokens if "�" in t.decode(errors="replace"))
        else:
            offsets = logprobs["text_offset"]
            assert offsets == sorted(offsets) and offsets[0] == 0 and offsets[-1] <= len(text)
            for token, at, after in zip(logprobs["tokens"], offsets, [*offsets[1:], len(text)]):
                assert not token.isascii() or token.startswith("<|") or text[at:after] == token or "�" in text[at:after]
                split += "�" in token
    assert split > 10


@pytest.mark.parametrize("path, start", [(COMPLETIONS, {**HELLO, "max_tokens": 24}), (CHAT, {**TALK, "max_tokens": 24})])
def test_stop_strings(acme, path, start):
    start = {**start, "temperature": 0, "seed": 1, "ignore_eos": True}
    text = content(same_as_infer(acme, path, start)["choices"][0])
    for begin in range(0, len(text) - 3, 2):
        choice = same_as_infer(acme, path, {**start, "stop": ["never said", text[begin:begin + 3]]})["choices"][0]
        assert content(choice) == text[:text.index(text[begin:begin + 3])] and choice["finish_reason"] == "stop"
    same_as_infer(acme, path, {**start, "stop": text[4:6] + "\0"})


def test_one_prompt_in_every_form(acme):
    tokens = acme.post("/tokenize", {"text": "Hello there"}).json["tokens"]
    texts = {good(acme.post(COMPLETIONS, {"model": "mask", "prompt": prompt, "temperature": 0}))["choices"][0]["text"]
             for prompt in ("Hello there", ["Hello there"], tokens, [tokens])}
    assert len(texts) == 1


def test_a_content_of_several_parts_and_other_names_of_things(acme):
    def text(messages, **more):
        return good(acme.post(CHAT, {"model": "voice", "messages": messages, "temperature": 0, "max_tokens": 12, **more}))

    wanted = text([{"role": "system", "content": "Be brief."}, *PARCEL])
    parts = [{"type": "text", "text": "Be "}, {"type": "text", "text": "brief."}]
    found = text([{"role": "developer", "content": parts}, *PARCEL], max_completion_tokens=12)
    assert found["choices"] == wanted["choices"] and found["usage"]["prompt_tokens"] == wanted["usage"]["prompt_tokens"]
    # A message as a client got it and sends it back.
    answer = {"role": "assistant", "content": "Ahoy!", "refusal": None, "annotations": [], "audio": None, "function_call": None,
              "tool_calls": None, "name": None}
    plain = [*PARCEL, {"role": "assistant", "content": "Ahoy!"}, *PARCEL]
    assert text([*PARCEL, answer, *PARCEL])["choices"] == text(plain)["choices"]


def test_a_chat_may_use_the_whole_context(acme):
    answer = good(acme.post(CHAT, {"model": "demo", "messages": PARCEL, "ignore_eos": True, "temperature": 0}))
    assert answer["choices"][0]["finish_reason"] == "length" and answer["usage"]["total_tokens"] in (1024, 1025)


# ---- echo ----

@pytest.mark.parametrize("prompt", ["Hello there, how are you", "é☃𝄞 <|im_start|>user\nHi", "", "a\0b", [20, 21, 2, 300]])
def test_an_echo_is_the_prompt_and_what_was_expected_of_it(acme, prompt):
    tokens = prompt if isinstance(prompt, list) else acme.post("/tokenize", {"text": prompt}).json["tokens"]
    text = prompt if isinstance(prompt, str) else acme.post("/detokenize", {"tokens": prompt}).json["text"]
    body = {"model": "mask", "prompt": prompt, "temperature": 0, "max_tokens": 6, "ignore_eos": True}
    if not tokens:
        refused(acme.post(COMPLETIONS, {**body, "echo": True, "logprobs": 1}), 400, "prompt_empty")
        return
    plain = good(acme.post(COMPLETIONS, {**body, "logprobs": 3}))
    whole = good(acme.post(COMPLETIONS, {**body, "logprobs": 3, "echo": True}))
    choice, alone = whole["choices"][0], plain["choices"][0]
    assert choice["text"] == text + alone["text"] and choice["finish_reason"] == alone["finish_reason"]
    assert {k: v for k, v in whole["usage"].items() if k != "prompt_tokens_details"} == \
        {k: v for k, v in plain["usage"].items() if k != "prompt_tokens_details"}
    rows = logprobs_in(choice["logprobs"], COMPLETIONS)
    assert len(rows) == len(tokens) + 6 and rows[0][1:] == (None, None)
    assert rows[len(tokens):] == logprobs_in(alone["logprobs"], COMPLETIONS)
    wanted = good(acme.infer(adapter="mask", tokens=tokens, max_tokens=0, prompt_logprobs=True))["prompt_logprobs"]
    assert [row[1] for row in rows[1:len(tokens)]] == [p["logprob"] for p in wanted[1:]]
    for i in range(1, len(tokens)):  # the likeliest are those that would have come
        one = good(acme.infer(adapter="mask", tokens=tokens[:i], max_tokens=1, logprobs=3, ignore_eos=True))
        assert rows[i][2] == logprobs_of(one, COMPLETIONS)[0][2]
    offsets = choice["logprobs"]["text_offset"]
    assert offsets[len(tokens):] == [len(text) + o for o in alone["logprobs"]["text_offset"]] and offsets[0] == 0
    for token, at, after in zip(choice["logprobs"]["tokens"], offsets, offsets[1:len(tokens) + 1]):
        assert text[at:after] == token or "�" in token
    # As a stream, and without log-probabilities.
    streamed = joined(acme.events(COMPLETIONS, **body, logprobs=3, echo=True))
    assert streamed["text"] == choice["text"] and streamed["logprobs"] == choice["logprobs"]
    assert joined(acme.events(COMPLETIONS, **body, echo=True))["text"] == choice["text"]
    # A text alone.
    only = good(acme.post(COMPLETIONS, {**body, "logprobs": 3, "echo": True, "max_tokens": 0}))["choices"][0]
    assert only["text"] == text and logprobs_in(only["logprobs"], COMPLETIONS) == rows[:len(tokens)]
    assert joined(acme.events(COMPLETIONS, **{**body, "max_tokens": 0}, echo=True))["text"] == text


def test_stop_strings_do_not_see_an_echo(acme):
    body = {"model": "mask", "prompt": "Hello, my name is", "temperature": 0, "max_tokens": 12, "ignore_eos": True}
    plain = good(acme.post(COMPLETIONS, {**body, "stop": ["name"]}))["choices"][0]
    assert good(acme.post(COMPLETIONS, {**body, "stop": ["name"], "echo": True}))["choices"][0]["text"] == body["prompt"] + plain["text"]


def test_an_echo_of_a_tokenizer_that_adds_tokens(start):
    """What it adds is no part of the text, and has a place among the tokens."""
    tenant = start("llama").tenant("acme")
    tokens = tenant.post("/tokenize", {"text": "Hello there"}).json["tokens"]
    bare = tenant.post("/tokenize", {"text": "Hello there", "add_special_tokens": False}).json["tokens"]
    choice = good(tenant.post(COMPLETIONS, {"model": None, "prompt": "Hello there", "max_tokens": 0, "echo": True, "logprobs": 1}))["choices"][0]
    assert choice["text"] == "Hello there" and len(choice["logprobs"]["tokens"]) == len(tokens)
    assert choice["logprobs"]["text_offset"][:1 + len(tokens) - len(bare)] == [0] * (1 + len(tokens) - len(bare))


# ---- the answer ----

@pytest.mark.parametrize("path, body, kind, prefix", [(COMPLETIONS, HELLO, "text_completion", "cmpl-"),
                                                      (CHAT, TALK, "chat.completion", "chatcmpl-")])
def test_the_fields_of_an_answer(daemon, acme, path, body, kind, prefix):
    before = int(time.time())
    answer = acme.post(path, {**body, "max_tokens": 4})
    a = answer.json
    assert set(a) == {"id", "object", "created", "model", "system_fingerprint", "choices", "usage"}
    assert a["id"].startswith(prefix) and a["id"] == answer.headers["X-Request-Id"] and a["object"] == kind
    assert before <= a["created"] <= time.time() and a["model"] == body["model"]
    assert a["system_fingerprint"] == answer.headers["X-Adapter-Version"] == acme.get(f"/adapters/{body['model']}").json["version"]
    [choice] = a["choices"]
    assert choice["index"] == 0 and set(choice) == {"index", "finish_reason", "logprobs", "text" if path == COMPLETIONS else "message"}
    if path == CHAT:
        assert choice["message"] == {"role": "assistant", "content": content(choice), "refusal": None}
    base = acme.post(path, {**body, "model": "demo", "max_tokens": 4})
    assert base.json["system_fingerprint"] == daemon.client().get("/version").json["fingerprint"]
    assert "X-Adapter-Version" not in base.headers and base.json["model"] == "demo"
    stream = joined(acme.events(path, **body, max_tokens=4))
    assert stream["object"] == (kind if path == COMPLETIONS else "chat.completion.chunk") and stream["id"].startswith(prefix)
    assert stream["usage"] is None and stream["system_fingerprint"] == a["system_fingerprint"]


def test_prompts_that_are_known_are_counted_as_cached(acme):
    body = {"model": "mask", "prompt": "Many words that are worth keeping, since there are many of them. " * 8, "max_tokens": 1}
    good(acme.post(COMPLETIONS, body))
    usage = good(acme.post(COMPLETIONS, body))["usage"]
    assert 0 < usage["prompt_tokens_details"]["cached_tokens"] < usage["prompt_tokens"]


def test_the_format_on_the_wire(daemon, acme):
    with Wire(daemon) as wire:
        wire.request("POST", CHAT, {**TALK, "max_tokens": 5, "stream": True}, acme.key, ["Content-Type: application/json"])
        response = wire.head()
        assert response.status == 200 and response.headers["Content-Type"] == "text/event-stream"
        blocks = response.read().decode().split("\n\n")
        assert blocks.pop() == "" and blocks[-1] == "data: [DONE]"
        for block in blocks[:-1]:
            assert block.startswith('data: {"id":"chatcmpl-') and "\n" not in block
            json.loads(block[6:])


# ---- which model ----

def test_models_by_version_and_by_default(daemon, acme):
    version = acme.get("/adapters/mask").json["version"]
    body = {"prompt": "Hello", "temperature": 0}
    wanted = good(acme.post(COMPLETIONS, {**body, "model": "mask"}))
    for name in (f"mask@{version}", f"mask@{version[7:11]}"):
        answer = good(acme.post(COMPLETIONS, {**body, "model": name}))
        assert answer["choices"] == wanted["choices"] and answer["model"] == name
        assert acme.get(f"{MODELS}/{name}").json["id"] == name
    base = good(acme.post(COMPLETIONS, {**body, "model": "demo"}))
    assert good(acme.post(COMPLETIONS, body))["choices"] == base["choices"] != wanted["choices"]
    usual = with_adapters(daemon, "usual")
    assert daemon.client().patch("/tenants/usual", {"default_adapter": "mask"}).status == 200
    for body_of_default in (body, {**body, "model": None}):
        answer = good(usual.post(COMPLETIONS, body_of_default))
        assert answer["choices"] == wanted["choices"] and answer["model"] == "mask"
    assert good(usual.post(COMPLETIONS, {**body, "model": "demo"}))["choices"] == base["choices"]
    assert daemon.client().patch("/tenants/usual", {"default_adapter": "demo"}).status == 200
    refused(usual.post(COMPLETIONS, body), 404, "adapter_not_found", "model")


@pytest.mark.parametrize("name, code", [("nope", "model_not_found"), ("Mask", "model_not_found"), ("mask@ffff0000", "version_not_found"),
                                        ("", "model_not_found"), ("x" * 300, "model_not_found"), ("mask\0", "model_not_found"),
                                        ("demo\0", "model_not_found"), ("demo@1234", "model_not_found"), ("ünï", "model_not_found")])
def test_models_that_are_not_there(acme, name, code):
    refused(acme.post(COMPLETIONS, {"model": name, "prompt": "a"}), 404, code, "model")
    refused(acme.post(CHAT, {"model": name, "messages": PARCEL, "stream": True}), 404, code, "model")


def test_an_adapter_comes_before_the_base_of_the_same_name(daemon):
    """Whatever its state: a name that is taken never falls back to something else."""
    tenant, body = daemon.tenant("shadow"), {"model": "demo", "prompt": "Hello", "temperature": 0}
    base = good(tenant.post(COMPLETIONS, body))
    assert [m["owned_by"] for m in tenant.get(MODELS).json["data"]] == ["adapterd"]
    version = tenant.upload(adapter("mask"), name="demo").json["version"]
    answer = good(tenant.post(COMPLETIONS, body))
    assert answer["choices"] != base["choices"] and answer["system_fingerprint"] == version
    assert [m["owned_by"] for m in tenant.get(MODELS).json["data"]] == ["shadow"]
    assert tenant.get(f"{MODELS}/demo").json["owned_by"] == "shadow"
    assert tenant.delete(f"/adapters/demo/versions/{version}", force="true").status == 204
    if tenant.get("/adapters/demo").status == 200:
        refused(tenant.post(COMPLETIONS, body), 404, "version_not_found", "model")
        assert tenant.get(MODELS).json["data"] == []
        assert tenant.delete("/adapters/demo").status == 204
    assert good(tenant.post(COMPLETIONS, body))["choices"] == base["choices"]


def test_the_same_user_gets_the_same_version_of_a_canary(daemon):
    tenant = daemon.tenant("canary")
    one = tenant.upload(adapter("mask"), name="a").json["version"]
    two = tenant.upload(adapter("voice"), name="a", activate="false").json["version"]
    assert tenant.patch("/adapters/a", {"canary": {"version": two, "percent": 50}}).status == 200
    seen = {}
    for user in [f"user {i}" for i in range(20)] * 2:
        answer = good(tenant.post(COMPLETIONS, {"model": "a", "prompt": "a", "max_tokens": 1, "user": user}))
        assert seen.setdefault(user, answer["system_fingerprint"]) == answer["system_fingerprint"]
        assert tenant.infer(adapter="a", prompt="a", max_tokens=1, affinity=user).json["adapter"]["version"] == seen[user]
    assert set(seen.values()) == {one, two}


# ---- the list of models ----

def test_the_list_of_models(daemon):
    tenant, other = with_adapters(daemon, "lists"), daemon.tenant("lists-other")
    base, mask, voice = good(tenant.get(MODELS))["data"]
    assert set(tenant.get(MODELS).json) == {"object", "data", "has_more", "next"} and tenant.get(MODELS).json["object"] == "list"
    for model, name, owner in ((base, "demo", "adapterd"), (mask, "mask", "lists"), (voice, "voice", "lists")):
        assert model == {"id": name, "object": "model", "created": model["created"], "owned_by": owner, "capabilities": ["generate", "embed"]}
        assert 1500000000 < model["created"] <= time.time() and good(tenant.get(f"{MODELS}/{name}")) == model
    assert base["created"] == int(os.stat(os.path.join(DEMO, "base", "config.json")).st_mtime)
    assert other.get(MODELS).json["data"] == [base]
    assert daemon.client().get(MODELS, tenant="lists").json == tenant.get(MODELS).json
    refused(daemon.client().get(MODELS), 400, "tenant_required", "tenant")
    refused(other.get(f"{MODELS}/mask"), 404, "model_not_found", "model")
    refused(other.get(f"{MODELS}/%6Dask"), 404, "not_found")
    # In pages; the base is in the first.
    first = tenant.get(MODELS, limit=1).json
    assert first == {"object": "list", "data": [base, mask], "has_more": True, "next": "mask"}
    assert tenant.get(MODELS, after="mask").json == {"object": "list", "data": [voice], "has_more": False, "next": None}
    refused(tenant.get(MODELS, limit=1001), 400, "invalid_parameter", "limit")
    # What cannot be asked for is not listed.
    assert any(tenant.patch("/adapters/mask", {"expires_at": soon(ms)}).status == 200 for ms in (1000, 5000, 30000))
    eventually(lambda: [m["id"] for m in tenant.get(MODELS).json["data"]] == ["demo", "voice"], 40)
    refused(tenant.get(f"{MODELS}/mask"), 404, "adapter_expired", "model")
    refused(tenant.post(COMPLETIONS, HELLO), 404, "adapter_expired", "model")
    assert tenant.upload(adapter("voice"), name="asleep", activate="false").status == 201
    assert [m["id"] for m in tenant.get(MODELS).json["data"]] == ["demo", "voice"]
    refused(tenant.get(f"{MODELS}/asleep"), 404, "version_not_found", "model")


def test_a_list_without_a_limit_is_longer_than_a_page_of_others(mlp):
    tenant = mlp.tenant("many")
    for i in range(120):
        answer = tenant.upload(os.path.join(FIXTURES, "adapters", "mlp", "r4"), name=f"a{i:03}")
        assert answer.status == 201, answer
    found = tenant.get(MODELS).json
    assert [m["id"] for m in found["data"]] == ["mlp", *(f"a{i:03}" for i in range(120))] and found["has_more"] is False


# ---- what is ignored, what is refused ----

IGNORED = {"user": "somebody", "store": True, "metadata": {"a": "b"}, "service_tier": "auto", "safety_identifier": "x", "prompt_cache_key": "x",
           "prompt_cache_retention": "24h", "n": 1, "presence_penalty": 0, "frequency_penalty": 0.0, "logit_bias": {},
           "repetition_penalty": 1.0, "min_tokens": 0, "stop_token_ids": [], "skip_special_tokens": True, "top_k": -1,
           "stream_options": {"include_usage": True, "include_obfuscation": False}}


def test_what_cannot_change_the_answer_is_ignored(acme):
    for path, body, more in ((COMPLETIONS, HELLO, {"best_of": 1, "suffix": ""}),
                             (CHAT, TALK, {"tools": [], "functions": [], "tool_choice": "none", "function_call": "auto", "modalities": ["text"],
                                           "response_format": {"type": "text"}, "parallel_tool_calls": False, "reasoning_effort": "none",
                                           "verbosity": "low", "chat_template_kwargs": {}, "prediction": {"type": "content", "content": "x"}})):
        body = {**body, "temperature": 0, "max_tokens": 8}
        wanted = good(acme.post(path, body))
        assert good(acme.post(path, {**body, **IGNORED, **more}))["choices"] == wanted["choices"]
        # null is as good as absent, also for what means something, and for what nobody knows.
        nulls = [*IGNORED, *more, "bogus", "guided_json", "reasoning", "seed", "stop", "top_p", "logprobs", "stream", "top_k", "min_p", "ignore_eos", "tenant"]
        assert good(acme.post(path, {**body, **dict.fromkeys(nulls)}))["choices"] == wanted["choices"]
        defaults = {k: v for k, v in body.items() if k != "max_tokens"}
        assert good(acme.post(path, {**defaults, "max_tokens": None}))["usage"]["completion_tokens"] > 8


@pytest.mark.parametrize("fields, code, param", [
    ({"n": 0}, "out_of_range", "n"),
    ({"n": 129}, "out_of_range", "n"),
    ({"n": "1"}, "invalid_type", "n"),
    ({"best_of": 2, "n": 3}, "out_of_range", "best_of"),
    ({"best_of": 129}, "out_of_range", "best_of"),
    ({"best_of": 3, "stream": True}, "field_conflict", "best_of"),
    ({"echo": 1}, "invalid_type", "echo"),
    ({"echo": True, "logprobs": 6}, "out_of_range", "logprobs"),
    ({"suffix": "end"}, "unsupported_value", "suffix"),
    ({"presence_penalty": 2.1}, "out_of_range", "presence_penalty"),
    ({"presence_penalty": "1"}, "invalid_type", "presence_penalty"),
    ({"frequency_penalty": -2.1}, "out_of_range", "frequency_penalty"),
    ({"logit_bias": [20, 5]}, "invalid_type", "logit_bias"),
    ({"logit_bias": {"20": "5"}}, "invalid_type", "logit_bias"),
    ({"logit_bias": {"20": 101}}, "out_of_range", "logit_bias"),
    ({"logit_bias": {"1024": 5}}, "token_out_of_range", "logit_bias"),
    ({"logit_bias": {"-1": 5}}, "token_out_of_range", "logit_bias"),
    ({"logit_bias": {"2x": 5}}, "token_out_of_range", "logit_bias"),
    ({"logit_bias": {"": 5}}, "token_out_of_range", "logit_bias"),
    ({"logit_bias": {f"{i:04}": 1 for i in range(1000)} | {f"{i:03}": 1 for i in range(100)}}, "out_of_range", "logit_bias"),
    ({"messages": PARCEL}, "unknown_field", "messages"),
    ({"tools": []}, "unknown_field", "tools"),
    ({"affinity": "a"}, "unknown_field", "affinity"),
    ({"bogus": 0}, "unknown_field", "bogus"),
    ({"mirostat": 2}, "unsupported_value", "mirostat"),
    ({"repeat_penalty": 1.1}, "unsupported_value", "repeat_penalty"),
    ({"bad_words": "a"}, "invalid_type", "bad_words"),
    ({"bad_words": [5]}, "invalid_type", "bad_words"),
    ({"bad_words": [""]}, "out_of_range", "bad_words"),
    ({"bad_words": ["a" * 257]}, "out_of_range", "bad_words"),
    ({"bad_words": 513 * ["a"]}, "out_of_range", "bad_words"),
    ({"include_stop_str_in_output": True}, "unsupported_value", "include_stop_str_in_output"),
    ({"response_format": {"type": "nothing"}}, "unsupported_value", "response_format"),
    ({"add_special_tokens": 1}, "invalid_type", "add_special_tokens"),
    ({"chat_template_kwargs": {}}, "unknown_field", "chat_template_kwargs"),
    ({"prompt": None}, "input_required", "prompt"),
    ({"prompt": 5}, "invalid_type", "prompt"),
    ({"prompt": {}}, "invalid_type", "prompt"),
    ({"prompt": ["a", 5]}, "invalid_type", "prompt"),
    ({"prompt": [[20], [[21]]]}, "invalid_type", "prompt"),
    ({"prompt": 129 * ["a"]}, "out_of_range", "prompt"),
    ({"prompt": 9 * ["a"], "n": 15}, "out_of_range", "prompt"),
    ({"prompt": ["a", []]}, "prompt_empty", None),
    ({"prompt": [[["a"]]]}, "invalid_type", "prompt"),
    ({"prompt": [20, "a"]}, "invalid_type", "prompt"),
    ({"prompt": [1024]}, "token_out_of_range", "prompt"),
    ({"prompt": []}, "prompt_empty", None),
    ({"prompt": 1025 * [20]}, "context_length_exceeded", "prompt"),
    ({"prompt": [[20], 1025 * [20]]}, "context_length_exceeded", "prompt"),
    ({"model": 5}, "invalid_type", "model"),
    ({"model": ["mask"]}, "invalid_type", "model"),
    ({"max_tokens": -2}, "out_of_range", "max_tokens"),
    ({"max_tokens": 1.5}, "invalid_type", "max_tokens"),
    ({"temperature": "hot"}, "invalid_type", "temperature"),
    ({"temperature": 101}, "out_of_range", "temperature"),
    ({"top_p": 0}, "out_of_range", "top_p"),
    ({"top_k": -2}, "out_of_range", "top_k"),
    ({"repetition_penalty": 0}, "out_of_range", "repetition_penalty"),
    ({"repetition_penalty": 101}, "out_of_range", "repetition_penalty"),
    ({"min_tokens": -1}, "out_of_range", "min_tokens"),
    ({"stop_token_ids": 2}, "invalid_type", "stop_token_ids"),
    ({"stop_token_ids": [1024]}, "token_out_of_range", "stop_token_ids"),
    ({"stop_token_ids": 129 * [2]}, "out_of_range", "stop_token_ids"),
    ({"skip_special_tokens": 1}, "invalid_type", "skip_special_tokens"),
    ({"seed": -2}, "out_of_range", "seed"),
    ({"stop": [""]}, "out_of_range", "stop"),
    ({"logprobs": 21}, "out_of_range", "logprobs"),
    ({"logprobs": True}, "invalid_type", "logprobs"),
    ({"stream": 1}, "invalid_type", "stream"),
    ({"stream_options": True}, "invalid_type", "stream_options"),
    ({"stream_options": {"include_usage": 1}}, "invalid_type", "include_usage"),
    ({"stream_options": {"more": 1}}, "unknown_field", "more"),
    ({"user": 5}, "invalid_type", "user"),
    ({"user": 257 * "a"}, "out_of_range", "user"),
])
def test_completions_that_are_refused(acme, fields, code, param):
    for stream in ({}, {"stream": True}):
        refused(acme.post(COMPLETIONS, {**HELLO, **stream, **fields}), 400, code, param)


def said(**message):
    return {"messages": [{"role": "user", "content": "a", **message}]}


@pytest.mark.parametrize("fields, code, param", [
    ({"n": 0}, "out_of_range", "n"),
    ({"tools": {"type": "function"}}, "invalid_type", "tools"),
    ({"tools": ["f"]}, "invalid_type", "tools"),
    ({"documents": "a"}, "invalid_type", "documents"),
    ({"tool_choice": {"type": "function", "function": {"name": "f"}}}, "unsupported_value", "tool_choice"),
    ({"chat_template_kwargs": "a"}, "invalid_type", "chat_template_kwargs"),
    ({"chat_template_kwargs": {"messages": []}}, "field_conflict", "chat_template_kwargs"),
    ({"enable_thinking": "no"}, "invalid_type", "enable_thinking"),
    ({"add_generation_prompt": 1}, "invalid_type", "add_generation_prompt"),
    ({"continue_final_message": True, "add_generation_prompt": True}, "field_conflict", "continue_final_message"),
    ({"echo": True}, "unsupported_value", "echo"),
    ({"functions": [{"name": "f"}]}, "unsupported_value", "functions"),
    ({"tool_choice": "required"}, "unsupported_value", "tool_choice"),
    ({"function_call": {"name": "f"}}, "unsupported_value", "function_call"),
    ({"response_format": {"type": "é" * 30}}, "unsupported_value", "response_format"),
    ({"modalities": ["text", "audio"]}, "unsupported_value", "modalities"),
    ({"reasoning_effort": 5}, "invalid_type", "reasoning_effort"),
    ({"reasoning": "high"}, "invalid_type", "reasoning"),
    ({"reasoning": {"max_tokens": 5}}, "unknown_field", "max_tokens"),
    ({"verbosity": True}, "invalid_type", "verbosity"),
    ({"audio": {"voice": "x"}}, "unknown_field", "audio"),
    ({"prompt": "a"}, "unknown_field", "prompt"),
    ({"best_of": 1}, "unknown_field", "best_of"),
    ({"logprobs": 5}, "invalid_type", "logprobs"),
    ({"top_logprobs": 2}, "field_conflict", "top_logprobs"),
    ({"logprobs": True, "top_logprobs": 21}, "out_of_range", "top_logprobs"),
    ({"max_tokens": 5, "max_completion_tokens": 6}, "field_conflict", "max_tokens"),
    ({"max_completion_tokens": -2}, "out_of_range", "max_completion_tokens"),
    ({"messages": None}, "input_required", "messages"),
    ({"messages": "a"}, "invalid_type", "messages"),
    ({"messages": []}, "out_of_range", "messages"),
    ({"messages": 4097 * PARCEL}, "out_of_range", "messages"),
    ({"messages": ["a"]}, "invalid_type", "messages"),
    ({"messages": [{"role": "user"}]}, "missing_field", "messages"),
    ({"messages": [{"content": "a"}]}, "missing_field", "messages"),
    (said(content=None), "missing_field", "messages"),
    (said(content=5), "invalid_type", "content"),
    (said(content=["a"]), "invalid_type", "content"),
    (said(content=[{"type": "image_url", "image_url": {"url": "x"}}]), "unsupported_value", "messages"),
    (said(content=[{"type": "text", "text": "a", "more": 1}]), "unknown_field", "more"),
    (said(content=[{"type": "text", "text": 5}]), "invalid_type", "text"),
    (said(content=[{"type": 5}]), "invalid_type", "type"),
    (said(role="ipython"), "unsupported_value", "messages"),
    (said(role="tool", content=None), "missing_field", "messages"),
    (said(role="user", content=None, tool_calls=[]), "missing_field", "messages"),
    (said(role="user\0"), "unsupported_value", "messages"),
    (said(role=5), "invalid_type", "role"),
    (said(name=5), "invalid_type", "name"),
    (said(tool_calls={"id": "x"}), "invalid_type", "tool_calls"),
    (said(tool_calls=["x"]), "invalid_type", "tool_calls"),
    (said(tool_call_id=5), "invalid_type", "tool_call_id"),
    (said(reasoning_content=[]), "invalid_type", "reasoning_content"),
    (said(audio={"id": "x"}), "unsupported_value", "audio"),
    (said(refusal="no"), "unsupported_value", "refusal"),
    (said(prefix=True), "unsupported_value", "prefix"),
    (said(bogus=1), "unknown_field", "bogus"),
    ({"messages": 400 * PARCEL}, "context_length_exceeded", "messages"),
])
def test_chats_that_are_refused(acme, fields, code, param):
    for stream in ({}, {"stream": True}):
        refused(acme.post(CHAT, {**TALK, **stream, **fields}), 400, code, param)


def test_every_field_is_documented():
    with open(os.path.join(ROOT, "server", "openai", "openai_fields.c")) as f:
        fields = set(re.findall(r'^    \{"(\w+)", [A-Z_]+, ', f.read(), re.MULTILINE))
    with open(os.path.join(ROOT, "docs", "http-api.md")) as f:
        section = f.read().split("\n## OpenAI clients\n")[1].split("\n## Adapters\n")[0]
    assert len(fields) > 40 and {name for name in fields if not re.search(rf"\b{name}\b", section)} == set()


def test_clients_recognize_a_context_that_is_exceeded(acme):
    """By the code, or by the words that one or the other looks for."""
    for path, body, param in ((COMPLETIONS, {"model": "mask", "prompt": 2000 * [20]}, "prompt"), (CHAT, {"messages": 400 * PARCEL}, "messages")):
        refused(acme.post(path, body), 400, "context_length_exceeded", param, "maximum context length is 1024 tokens", "prompt is too long")
    assert acme.infer(tokens=2000 * [20]).code == "prompt_too_long"


def test_a_refusal_says_what_may_be_sent_and_what_was(acme):
    refused(acme.post(COMPLETIONS, {**HELLO, "mirostat": 2}), 400, "unsupported_value", "mirostat", '"mirostat" may only be 0, found 2')
    refused(acme.post(CHAT, {**TALK, "tool_choice": "maybe"}), 400, "unsupported_value", "tool_choice", '"none", "auto"', '"maybe"')
    answer = acme.post(CHAT, {**TALK, "functions": [{"name": "é" * 500}]})
    assert len(answer.json["error"]["message"]) < 200


# ---- errors of every kind ----

def test_errors_of_every_kind(daemon, acme):
    refused(daemon.anonymous().get(MODELS), 401, "invalid_api_key")
    refused(daemon.client("ad_wrong").post(COMPLETIONS, HELLO), 401, "invalid_api_key")
    refused(acme.post(COMPLETIONS, {**HELLO, "tenant": "other"}), 403, "forbidden")
    refused(daemon.client().post(COMPLETIONS, HELLO), 400, "tenant_required", "tenant")
    assert good(daemon.client().post(COMPLETIONS, {**HELLO, "tenant": "acme", "max_tokens": 1}))["model"] == "mask"
    assert good(daemon.client().post(f"{COMPLETIONS}?tenant=acme", {**HELLO, "max_tokens": 1}))["model"] == "mask"
    for path in ("/v1/vectors", "/v1/", "/v1/models/", "/v1/completions/"):
        refused(acme.get(path), 404, "not_found")
    refused(acme.get("/v1/models/a/b"), 404, "model_not_found", "model")
    answer = acme.get(COMPLETIONS)
    refused(answer, 405, "method_not_allowed")
    assert answer.headers["Allow"] == "POST"
    refused(acme.post(MODELS, {}), 405, "method_not_allowed")
    refused(acme.post(COMPLETIONS, b"{"), 400, "invalid_json")
    refused(acme.post(COMPLETIONS, b"x" * (1 << 20) + b"x"), 413, "body_too_large")
    refused(acme.request("POST", CHAT, b"a=b", {"Content-Type": "text/plain"}), 415, "unsupported_media_type")
    assert set(acme.get("/embeddings").json["error"]) == {"code", "message", "hint"}, "the daemon's own routes have its own form"


def test_quotas_and_usage_count_as_those_of_infer(daemon):
    tenant = with_adapters(daemon, "counted")
    assert daemon.client().patch("/tenants/counted", {"quota": {"tokens_per_minute": 200, "requests_in_flight_max": 1}}).status == 200
    with Wire(daemon) as waiting:
        waiting.request("POST", CHAT, None, tenant.key, ["Content-Length: 10", "Expect: 100-continue"])
        assert waiting.file.readline().startswith(b"HTTP/1.1 100 ")
        answer = tenant.post(COMPLETIONS, HELLO)
        refused(answer, 429, "rate_limit_exceeded", "requests_in_flight_max")
        assert answer.headers["Retry-After"] == "1" and answer.headers["x-ratelimit-limit-requests"] == "1"
    eventually(lambda: tenant.infer(prompt="a", max_tokens=0).status == 200)
    answer = tenant.post(COMPLETIONS, {"model": "mask", "prompt": 100 * [20], "max_tokens": 10, "ignore_eos": True})
    assert good(answer)["usage"]["total_tokens"] == 110 and int(answer.headers["x-ratelimit-remaining-tokens"]) < 200
    answer = tenant.post(CHAT, {"model": "voice", "messages": PARCEL, "max_tokens": 5, "ignore_eos": True})
    assert good(answer)["usage"]["completion_tokens"] == 5
    row = {r["adapter"]: r for r in tenant.get("/usage").json["data"]}
    assert (row["mask"]["requests"], row["mask"]["prompt_tokens"], row["mask"]["completion_tokens"]) == (1, 100, 10)
    assert (row["voice"]["requests"], row["voice"]["completion_tokens"], row["voice"]["errors"]) == (1, 5, 0)
    assert row[None]["errors"] >= 1
    # All of a minute's tokens are gone.
    assert daemon.client().patch("/tenants/counted", {"quota": {"tokens_per_minute": 1}}).status == 200
    eventually(lambda: tenant.post(COMPLETIONS, HELLO).status == 429)
    refused(tenant.post(COMPLETIONS, HELLO), 429, "rate_limit_exceeded", "tokens_per_minute")


def test_an_answer_that_is_cut_short_is_an_error(start):
    """The daemon is stopped twice while it answers: these clients raise an error, in a stream as well, and see no [DONE]."""
    d = start("demo", None, "--threads", "1", "--max-batch", "1")
    tenant = d.tenant("acme")
    with Wire(d) as stream, Wire(d) as plain:
        body = {"model": "demo", "prompt": "Hello", "max_tokens": 100000, "ignore_eos": True}
        waiting = [Wire(d) for _ in range(40)]
        for wire in waiting:
            wire.request("POST", COMPLETIONS, {**body, "stream": True}, tenant.key)
            assert wire.head().status == 200
        stream.request("POST", CHAT, {"model": "demo", "messages": PARCEL, "stream": True, "ignore_eos": True}, tenant.key)
        response = stream.head()
        plain.request("POST", COMPLETIONS, body, tenant.key)
        time.sleep(0.1)
        d.process.send_signal(signal.SIGTERM)
        time.sleep(0.1)
        d.process.send_signal(signal.SIGTERM)
        text = response.read().decode()
        refused(plain.answer(), 503, "shutting_down")
        for wire in waiting:
            wire.close()
        d.stop()
    last = text.split("\n\n")[-2]
    assert last.startswith("data: {") and "[DONE]" not in text
    error = json.loads(last[6:])["error"]
    assert (error["code"], error["type"]) == ("shutting_down", "server_error")


# ---- other models ----

def test_a_model_without_a_chat_template(start):
    tenant = start("llama").tenant("acme")
    refused(tenant.post(CHAT, {"model": "llama", "messages": PARCEL}), 400, "chat_template_unsupported")
    same_as_infer(tenant, COMPLETIONS, {"model": None, "prompt": "Hi", "temperature": 0, "logprobs": 2})


def test_a_model_of_numbers(mlp, tenant):
    refused(tenant.post(COMPLETIONS, {"model": "mlp", "prompt": "a"}), 400, "input_unsupported", "prompt")
    refused(tenant.post(CHAT, {"model": "mlp", "messages": PARCEL}), 400, "input_unsupported", "messages")
    assert [m["id"] for m in tenant.get(MODELS).json["data"]] == ["mlp"]


def test_a_base_whose_directory_is_no_name(tmp_path):
    """Upper case and dots, as checkpoints are called."""
    path = tmp_path / "My-Base-1.5B"
    path.mkdir()
    for name in os.listdir(model_path("demo")):
        os.symlink(os.path.join(model_path("demo"), name), path / name)
    d = Daemon(path, tmp_path / "data", "--threads", "1")
    try:
        tenant = d.tenant("acme")
        assert good(tenant.post(COMPLETIONS, {"model": "My-Base-1.5B", "prompt": "a", "max_tokens": 1}))["model"] == "My-Base-1.5B"
        assert tenant.get(MODELS).json["data"] == [tenant.get(f"{MODELS}/My-Base-1.5B").json]
    finally:
        d.stop()
