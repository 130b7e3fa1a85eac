"""POST /infer: what is asked for, what comes back, what is refused, as docs/http-api.md says. Streams: test_streaming.py."""
import contextlib
import json
import math
import os
import shutil
import threading

import pytest

from client import read
from daemon import DEMO, FIXTURES, Daemon, model_path
from fixtures import adapter
from wire import Wire

MASK = os.path.join(DEMO, "adapters", "mask")
VOICE = os.path.join(DEMO, "adapters", "voice")
CONTEXT, VOCABULARY, EOS = 1024, 1024, 2


@pytest.fixture(scope="module")
def acme(daemon):
    tenant = daemon.tenant("acme")
    assert tenant.upload(MASK, name="mask").status == 201
    assert tenant.upload(VOICE, name="voice").status == 201
    return tenant


def good(tenant, **fields):
    answer = tenant.infer(**fields)
    assert answer.status == 200, answer
    return answer.json


def refused(answer, status, code, *words):
    assert (answer.status, answer.code) == (status, code), answer
    for word in words:
        assert word in answer.json["error"]["message"] + " " + answer.json["error"].get("param", ""), answer


def same(a, b):
    """Two answers but for their ids and times."""
    return {k: v for k, v in a.items() if k not in ("id", "timing_ms", "usage")} == \
        {k: v for k, v in b.items() if k not in ("id", "timing_ms", "usage")}


# ---- the answer ----

def test_the_fields_of_an_answer(acme):
    answer = acme.infer(adapter="mask", prompt="Hello there", max_tokens=3, ignore_eos=True)
    a = answer.json
    assert set(a) == {"id", "tenant", "adapter", "model", "text", "tokens", "finish_reason", "seed", "usage", "timing_ms"}
    assert a["id"] == answer.headers["X-Request-Id"] and a["id"].startswith("inf_")
    assert (a["tenant"], a["model"], a["finish_reason"]) == ("acme", "demo", "length")
    assert a["adapter"]["name"] == "mask" and a["adapter"]["version"] == answer.headers["X-Adapter-Version"]
    assert len(a["tokens"]) == a["usage"]["completion_tokens"] == 3
    assert a["usage"]["prompt_tokens"] == len(acme.post("/tokenize", {"text": "Hello there"}).json["tokens"])
    assert set(a["usage"]) == {"prompt_tokens", "completion_tokens", "cached_tokens"}
    assert set(a["timing_ms"]) == {"queue", "load", "prefill", "decode"} and all(ms >= 0 for ms in a["timing_ms"].values())


def test_the_bare_base(acme):
    answer = acme.infer(prompt="Hello", max_tokens=2)
    assert answer.json["adapter"] is None and "X-Adapter-Version" not in answer.headers
    assert same(answer.json | {"seed": 0}, good(acme, prompt="Hello", max_tokens=2, adapter=None) | {"seed": 0})


def test_defaults(acme):
    a = good(acme, prompt="Hello", ignore_eos=True)
    assert a["usage"]["completion_tokens"] == 128
    b = good(acme, prompt="Hello", ignore_eos=True, max_tokens=128, temperature=0, top_p=1, top_k=0, min_p=0, logprobs=0,
             prompt_logprobs=False, stream=False, stop=[], adapter=None)
    assert a["tokens"] == b["tokens"] and a["seed"] != b["seed"]


@pytest.mark.parametrize("count", [0, 1, 2, 17])
def test_max_tokens(acme, count):
    a = good(acme, prompt="Hello", max_tokens=count, ignore_eos=True)
    assert len(a["tokens"]) == count and a["finish_reason"] == "length"
    assert count > 0 or a["text"] == ""


def test_prompt_and_tokens_are_the_same_input(acme):
    for text in ("Hello there", "é☃𝄞", "a\0b", "<|im_start|>user\nHi<|im_end|>\n"):
        tokens = acme.post("/tokenize", {"text": text}).json["tokens"]
        a, b = good(acme, prompt=text, seed=1, max_tokens=8), good(acme, tokens=tokens, seed=1, max_tokens=8)
        assert same(a, b) and a["usage"]["prompt_tokens"] == len(tokens)


def test_messages_are_chatml(acme):
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}]
    text = "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"
    assert same(good(acme, messages=messages, seed=1, max_tokens=8), good(acme, prompt=text, seed=1, max_tokens=8))


def test_the_end_token_is_in_neither_text_nor_tokens(acme):
    a = good(acme, adapter="voice", messages=[{"role": "user", "content": "Hello, where is my parcel?"}], max_tokens=500)
    assert a["finish_reason"] == "stop" and EOS not in a["tokens"] and "<|im_end|>" not in a["text"]
    assert a["usage"]["completion_tokens"] == len(a["tokens"])
    b = good(acme, adapter="voice", messages=[{"role": "user", "content": "Hello, where is my parcel?"}],
             max_tokens=len(a["tokens"]) + 4, ignore_eos=True)
    assert b["tokens"][: len(a["tokens"]) + 1] == [*a["tokens"], EOS] and b["finish_reason"] == "length"
    assert b["text"].startswith(a["text"]), "special tokens are in tokens, not in text"


def test_prompt_and_text_read_as_one(acme):
    a = good(acme, prompt="Hello", max_tokens=20)
    tokens = acme.post("/tokenize", {"text": "Hello"}).json["tokens"] + a["tokens"]
    assert acme.post("/detokenize", {"tokens": tokens}).json["text"] == "Hello" + a["text"]


# ---- the context ----

def test_a_run_ends_where_the_context_ends(acme):
    a = good(acme, tokens=(CONTEXT - 5) * [20], max_tokens=1000, ignore_eos=True)
    assert a["finish_reason"] == "length"
    assert a["usage"]["prompt_tokens"] + a["usage"]["completion_tokens"] in (CONTEXT, CONTEXT + 1)


def test_prompts_that_do_not_fit(acme):
    refused(acme.infer(tokens=(CONTEXT + 1) * [20]), 400, "prompt_too_long", str(CONTEXT), str(CONTEXT + 1))
    refused(acme.infer(prompt=5000 * "many words "), 400, "prompt_too_long", str(CONTEXT))
    refused(acme.infer(prompt="x" * 1000000), 400, "prompt_too_long", str(CONTEXT))


# ---- sampling ----

SAMPLED = {"prompt": "Dear customer", "temperature": 1.5, "max_tokens": 24, "ignore_eos": True}


def test_the_same_seed_gives_the_same_answer(acme):
    a, b = good(acme, **SAMPLED, seed=7), good(acme, **SAMPLED, seed=7)
    assert same(a, b) and a["seed"] == 7
    assert len({tuple(good(acme, **SAMPLED, seed=seed)["tokens"]) for seed in range(8)}) > 4
    # The echoed seed of an answer without one repeats it.
    c = good(acme, **SAMPLED)
    assert same(c, good(acme, **SAMPLED, seed=c["seed"]))
    assert good(acme, **SAMPLED, seed=2**53 - 1)["seed"] == 2**53 - 1


@pytest.mark.parametrize("filters", [{"top_k": 1}, {"top_p": 1e-9}, {"min_p": 1}, {"temperature": 0}, {"temperature": 1e-6}])
def test_filters_that_leave_the_likeliest(acme, filters):
    greedy = good(acme, **{**SAMPLED, "temperature": 0})
    assert good(acme, **{**SAMPLED, **filters}, seed=3)["tokens"] == greedy["tokens"]


def test_sampled_tokens_are_among_the_top_k(acme):
    a = good(acme, **SAMPLED, seed=5, top_k=3, logprobs=3)
    for entry in a["logprobs"]:
        assert entry["token"] in [t["token"] for t in entry["top"]]


# ---- log-probabilities ----

@pytest.mark.parametrize("count", [1, 5, 20])
def test_logprobs(acme, count):
    a = good(acme, adapter="mask", prompt="Hello", max_tokens=6, logprobs=count, ignore_eos=True)
    assert [entry["token"] for entry in a["logprobs"]] == a["tokens"]
    for entry in a["logprobs"]:
        assert set(entry) == {"token", "text", "logprob", "top"} and len(entry["top"]) == count
        values = [t["logprob"] for t in entry["top"]]
        assert values == sorted(values, reverse=True) and all(v <= 0 for v in values)
        assert entry["top"][0] == {k: entry[k] for k in ("token", "text", "logprob")}, "greedy: the likeliest"
        assert sum(map(math.exp, values)) <= 1.0001
    assert "".join(entry["text"] for entry in a["logprobs"]) == a["text"]


def test_logprobs_are_before_temperature_and_filters(acme):
    greedy = good(acme, prompt="Hello", max_tokens=1, logprobs=4)["logprobs"][0]["top"]
    for how in ({"temperature": 5}, {"temperature": 1, "top_k": 1}, {"temperature": 2, "min_p": 0.9}):
        assert good(acme, prompt="Hello", max_tokens=1, logprobs=4, ignore_eos=True, **how)["logprobs"][0]["top"] == greedy


def test_ids_above_the_tokenizer_s_have_no_text(start, tmp_path):
    """Many bases have more rows than their tokenizer has tokens, to a round number."""
    base = tmp_path / "padded"
    shutil.copytree(os.path.join(FIXTURES, "models", "llama"), base)
    tokenizer = json.loads(read(base / "tokenizer.json"))
    known = 280
    tokenizer["added_tokens"] = [t for t in tokenizer["added_tokens"] if t["id"] < known]
    vocabulary = {t: i for t, i in tokenizer["model"]["vocab"].items() if i < known}
    merges = [m.split(" ") if isinstance(m, str) else m for m in tokenizer["model"]["merges"]]
    tokenizer["model"].update(vocab=vocabulary, merges=[m for m in merges if "".join(m) in vocabulary])
    (base / "tokenizer.json").write_text(json.dumps(tokenizer))
    tenant = start(base).tenant("acme")
    prompt = [known + 3, 4, 319]
    a = good(tenant, tokens=prompt, max_tokens=32, logprobs=20, prompt_logprobs=True, ignore_eos=True)
    top = [t for entry in a["logprobs"] for t in entry["top"]]
    assert any(t["token"] >= known for t in top)
    assert all(t["text"] == "" for t in top if t["token"] >= known)
    assert [p["token"] for p in a["prompt_logprobs"][1:]] == prompt[1:]
    answer = tenant.post("/v1/completions", {"model": "padded", "prompt": prompt, "max_tokens": 32, "logprobs": 5})
    assert answer.status == 200, answer


def test_prompt_logprobs(acme):
    a = good(acme, prompt="Hello there, how are you", max_tokens=0, prompt_logprobs=True)
    tokens = acme.post("/tokenize", {"text": "Hello there, how are you"}).json["tokens"]
    assert a["prompt_logprobs"][0] is None
    assert [p["token"] for p in a["prompt_logprobs"][1:]] == tokens[1:]
    assert all(p["logprob"] < 0 for p in a["prompt_logprobs"][1:])
    # They are what the model says when it generates the same tokens.
    b = good(acme, tokens=tokens[:3], max_tokens=1, logprobs=20)
    again = good(acme, tokens=tokens[:3] + b["tokens"], max_tokens=0, prompt_logprobs=True)
    assert again["prompt_logprobs"][3] == {"token": b["tokens"][0], "logprob": b["logprobs"][0]["logprob"]}
    # Asked again, when the prompt is known already.
    assert good(acme, prompt="Hello there, how are you", max_tokens=0, prompt_logprobs=True)["prompt_logprobs"] == \
        a["prompt_logprobs"]


# ---- stop strings ----

def test_stop_strings_wherever_they_begin_and_end(acme):
    """Every part of an answer as a stop string: the text ends before its first place, whatever tokens it spans."""
    whole = good(acme, adapter="mask", prompt="Hello, my name is", max_tokens=24, ignore_eos=True)
    text = whole["text"]
    assert len(text) > 20
    for begin in range(0, len(text) - 1):
        for length in (1, 2, 3, 7, 20):
            stop = text[begin : begin + length]
            a = good(acme, adapter="mask", prompt="Hello, my name is", max_tokens=24, ignore_eos=True, stop=stop)
            assert a["text"] == text[: text.index(stop)], repr(stop)
            assert a["finish_reason"] == "stop"
            assert a["tokens"] == whole["tokens"][: len(a["tokens"])]
            assert a["usage"]["completion_tokens"] == len(a["tokens"])


def test_the_first_of_several_stop_strings_counts(acme):
    text = good(acme, prompt="Hello", max_tokens=24, ignore_eos=True)["text"]
    a = good(acme, prompt="Hello", max_tokens=24, ignore_eos=True, stop=[text[12:15], "never said", text[6:9], text[9:]])
    assert a["text"] == text[: min(text.index(s) for s in (text[12:15], text[6:9], text[9:]))]
    a = good(acme, prompt="Hello", max_tokens=24, ignore_eos=True, stop=["never said", text + "x"])
    assert (a["text"], a["finish_reason"]) == (text, "length"), "a stop string that begins and does not come is not cut off"


# ---- adapters ----

def test_an_adapter_by_name_and_by_version(acme):
    version = acme.get("/adapters/mask").json["version"]
    digits = version.removeprefix("sha256:")
    wanted = good(acme, adapter="mask", prompt="Hello", max_tokens=8, seed=1)
    for reference in ("mask@" + digits, "mask@" + digits[:4], "mask@" + digits[:13]):
        assert same(good(acme, adapter=reference, prompt="Hello", max_tokens=8, seed=1), wanted)


@pytest.mark.parametrize("reference, code", [
    ("nobody", "adapter_not_found"), ("", "adapter_not_found"), ("Mask", "adapter_not_found"), ("mask\0", "adapter_not_found"),
    ("../mask", "adapter_not_found"), (500 * "a", "adapter_not_found"), ("@abcd", "adapter_not_found"),
    ("mask@0000000000000000", "version_not_found"), ("nobody@0000", "adapter_not_found"),
])
def test_adapters_that_are_not_there(acme, reference, code):
    refused(acme.infer(adapter=reference, prompt="a"), 404, code, "adapter")


@pytest.mark.parametrize("reference", ["mask@", "mask@abc", "mask@xyzw", "mask@" + 65 * "a", "mask@abcd@abcd"])
def test_versions_that_are_none(acme, reference):
    answer = acme.infer(adapter=reference, prompt="a")
    assert answer.status in (400, 404) and answer.code in ("invalid_version", "version_not_found", "adapter_not_found"), answer


def test_an_adapter_that_is_deleted_while_it_runs(acme):
    """The running requests finish as they would have; the next one is refused."""
    assert acme.upload(VOICE, name="brief").status == 201
    fields = {"adapter": "brief", "prompt": "Hello", "ignore_eos": True, "max_tokens": 300, "seed": 1}
    wanted = good(acme, **fields)
    answers, begun = [], threading.Event()

    def run():
        events = []
        for event in acme.events(**fields):
            events.append(event)
            begun.set()
        answers.append(events)

    thread = threading.Thread(target=run)
    thread.start()
    assert begun.wait(30)
    assert acme.delete("/adapters/brief").status == 204
    refused(acme.infer(adapter="brief", prompt="a"), 404, "adapter_not_found")
    thread.join()
    tokens = [t for _, e in answers[0] if e != "[DONE]" for t in e["tokens"]]
    assert answers[0][-1] == (None, "[DONE]") and tokens == wanted["tokens"]


def test_a_new_version_while_the_old_one_runs(acme):
    assert acme.upload(MASK, name="moving").status == 201
    fields = {"adapter": "moving", "prompt": "Hello", "ignore_eos": True, "max_tokens": 200, "seed": 1}
    wanted = good(acme, **fields)
    events = acme.events(**fields)
    tokens = list(next(events)[1]["tokens"])
    assert acme.upload(VOICE, name="moving").status == 201
    after = good(acme, **{**fields, "max_tokens": 8})
    last = None
    for _, event in events:
        if event != "[DONE]":
            tokens, last = tokens + event["tokens"], event
    assert tokens == wanted["tokens"] and last["adapter"] == wanted["adapter"]
    assert after["adapter"]["version"] != wanted["adapter"]["version"]


# ---- what is refused ----

@pytest.mark.parametrize("fields, code, words", [
    ({}, "input_required", ["prompt"]),
    ({"prompt": "a", "tokens": [1]}, "input_conflict", ["prompt", "tokens"]),
    ({"prompt": "a", "messages": []}, "input_conflict", ["prompt", "messages"]),
    ({"input": [1.0]}, "input_unsupported", ["input"]),
    ({"prompt": 1}, "invalid_type", ["prompt"]),
    ({"prompt": None}, "invalid_type", ["prompt"]),
    ({"prompt": ["a"]}, "invalid_type", ["prompt"]),
    ({"prompt": ""}, "prompt_empty", []),
    ({"tokens": []}, "prompt_empty", []),
    ({"tokens": "1"}, "invalid_type", ["tokens"]),
    ({"tokens": [1.5]}, "invalid_type", ["tokens"]),
    ({"tokens": [1, -1]}, "token_out_of_range", ["-1", "1023"]),
    ({"tokens": [VOCABULARY]}, "token_out_of_range", ["1024", "1023"]),
    ({"messages": []}, "out_of_range", ["messages", "4096"]),
    ({"messages": 4097 * [{"role": "user", "content": ""}]}, "out_of_range", ["messages", "4097"]),
    ({"messages": "a"}, "invalid_type", ["messages"]),
    ({"messages": ["a"]}, "invalid_type", ["messages"]),
    ({"messages": [{"role": "user"}]}, "missing_field", ["messages"]),
    ({"messages": [{"role": "user", "content": None}]}, "missing_field", ["content"]),
    ({"messages": [{"role": "user", "content": [{"type": "text"}]}]}, "invalid_type", ["content"]),
    ({"messages": [{"role": "user", "content": "a", "cache_control": "b"}]}, "unknown_field", ["cache_control"]),
    ({"messages": [{"role": "user", "content": "a", "name": 5}]}, "invalid_type", ["name"]),
    ({"messages": [{"role": "tool", "tool_call_id": "a"}]}, "missing_field", ["content"]),
    ({"messages": [{"role": "user", "content": "a"}], "chat_template_kwargs": []}, "invalid_type", ["chat_template_kwargs"]),
    ({"messages": [{"role": "user", "content": "a"}], "tools": {}}, "invalid_type", ["tools"]),
    ({"prompt": "a", "min_tokens": -1}, "out_of_range", ["min_tokens"]),
    ({"prompt": "a", "presence_penalty": 3}, "out_of_range", ["presence_penalty"]),
    ({"prompt": "a", "logit_bias": {"1024": 1}}, "token_out_of_range", ["logit_bias"]),
    ({"prompt": "a", "stop_token_ids": [1024]}, "token_out_of_range", ["stop_token_ids"]),
    ({"prompt": "a", "seed": -1}, "out_of_range", ["seed"]),
    ({"prompt": "a", "max_tokens": -1}, "out_of_range", ["max_tokens"]),
    ({"messages": [{"role": 100 * "r", "content": "a"}]}, "out_of_range", ["role"]),
    ({"prompt": "a", "adapter": 1}, "invalid_type", ["adapter"]),
    ({"prompt": "a", "adapter": {}}, "invalid_type", ["adapter"]),
    ({"prompt": "a", "max_tokens": -1}, "out_of_range", ["max_tokens", "-1"]),
    ({"prompt": "a", "max_tokens": 1048577}, "out_of_range", ["max_tokens", "1048576"]),
    ({"prompt": "a", "max_tokens": 1.0}, "invalid_type", ["max_tokens"]),
    ({"prompt": "a", "max_tokens": None}, "invalid_type", ["max_tokens"]),
    ({"prompt": "a", "max_tokens": "8"}, "invalid_type", ["max_tokens"]),
    ({"prompt": "a", "max_tokens": True}, "invalid_type", ["max_tokens"]),
    ({"prompt": "a", "temperature": -0.1}, "out_of_range", ["temperature"]),
    ({"prompt": "a", "temperature": 100.1}, "out_of_range", ["temperature", "100"]),
    ({"prompt": "a", "temperature": "1"}, "invalid_type", ["temperature"]),
    ({"prompt": "a", "top_p": 0}, "out_of_range", ["top_p"]),
    ({"prompt": "a", "top_p": 1.01}, "out_of_range", ["top_p", "1.01"]),
    ({"prompt": "a", "top_k": -1}, "out_of_range", ["top_k"]),
    ({"prompt": "a", "top_k": 1000001}, "out_of_range", ["top_k"]),
    ({"prompt": "a", "min_p": 1.5}, "out_of_range", ["min_p"]),
    ({"prompt": "a", "seed": -1}, "out_of_range", ["seed"]),
    ({"prompt": "a", "seed": 2**53}, "out_of_range", ["seed"]),
    ({"prompt": "a", "logprobs": 21}, "out_of_range", ["logprobs", "20"]),
    ({"prompt": "a", "logprobs": True}, "invalid_type", ["logprobs"]),
    ({"prompt": "a", "prompt_logprobs": 1}, "invalid_type", ["prompt_logprobs"]),
    ({"prompt": "a", "ignore_eos": 0}, "invalid_type", ["ignore_eos"]),
    ({"prompt": "a", "stream": "yes"}, "invalid_type", ["stream"]),
    ({"prompt": "a", "stop": 1}, "invalid_type", ["stop"]),
    ({"prompt": "a", "stop": [1]}, "invalid_type", ["stop"]),
    ({"prompt": "a", "stop": ""}, "out_of_range", ["stop", "256"]),
    ({"prompt": "a", "stop": ["a", ""]}, "out_of_range", ["stop"]),
    ({"prompt": "a", "stop": 257 * "a"}, "out_of_range", ["stop", "256"]),
    ({"prompt": "a", "stop": 17 * ["a"]}, "out_of_range", ["stop", "16"]),
    ({"prompt": "a", "n": 2}, "unknown_field", ["n"]),
    ({"prompt": "a", "max_new_tokens": 2}, "unknown_field", ["max_new_tokens"]),
])
def test_bodies_that_are_refused(acme, fields, code, words):
    refused(acme.infer(**fields), 400, code, *words)
    # The same in answer to a stream: an ordinary error, no events.
    if "stream" not in fields:
        answer = acme.infer(**fields, stream=True)
        refused(answer, 400, code, *words)
        assert answer.headers["Content-Type"] == "application/json"


def test_values_at_their_bounds(acme):
    good(acme, prompt="a", max_tokens=1048576, temperature=100, top_p=1e-300, top_k=1000000, min_p=1, seed=0, logprobs=20, stop=16 * [
        256 * "z"])
    good(acme, prompt="a", max_tokens=1, temperature=1e-300, top_p=1e-300, min_p=1e-300, stop="\0")
    good(acme, messages=[{"role": "user", "content": ""}, {"role": "", "content": "\0"}], max_tokens=1)


def test_entries_of_a_combination_are_checked(acme):
    refused(acme.infer(adapter=[{"adapter": "mask", "scale": "1"}], prompt="a"), 400, "invalid_type", "scale")


# ---- other models ----

def test_a_model_without_a_chat_template(start):
    tenant = start("llama").tenant("acme")
    refused(tenant.infer(messages=[{"role": "user", "content": "Hi"}]), 400, "chat_template_unsupported")
    assert tenant.infer(prompt="Hi", max_tokens=2).status == 200


def base_with(tmp_path, template, **config):
    """The demo's base with another chat template."""
    path = tmp_path / "talker"
    path.mkdir()
    for name in os.listdir(model_path("demo")):
        if name not in ("tokenizer_config.json", "chat_template.jinja"):
            os.symlink(os.path.join(model_path("demo"), name), path / name)
    (path / "tokenizer_config.json").write_text(json.dumps({"chat_template": template, **config}))
    return path


TURNS = """{{- bos_token }}
{%- for m in messages %}
    {%- if (m.role == 'user') != (loop.index0 is even) %}
        {{- raise_exception('turns must alternate, found ' + m.role) }}
    {%- endif %}
    {%- if m.content == 'fail' %}
        {{- m.missing.part }}
    {%- endif %}
    {{- '<' ~ m.role | upper ~ '> ' ~ m.content.split('</think>')[-1] | trim ~ eos_token }}
{%- endfor %}
{%- if add_generation_prompt and not tools %}
    {{- '<ASSISTANT>' }}
{%- endif %}
"""


def test_messages_go_through_the_models_template(tmp_path):
    d = Daemon(base_with(tmp_path, TURNS, bos_token="<|im_start|>", eos_token={"content": "<|im_end|>"}), tmp_path / "data", "--threads", "1")
    try:
        tenant = d.tenant("acme")
        messages = [{"role": "user", "content": " Hi "}, {"role": "assistant", "content": "<think>x</think>\nHello"}, {"role": "user", "content": "{{ 1 }}"}]
        text = "<|im_start|><USER> Hi<|im_end|><ASSISTANT> Hello<|im_end|><USER> {{ 1 }}<|im_end|><ASSISTANT>"
        answer = good(tenant, messages=messages, seed=1, max_tokens=8)
        assert same(answer, good(tenant, prompt=text, seed=1, max_tokens=8))
        tokens = tenant.post("/tokenize", {"text": text, "add_special_tokens": False}).json["tokens"]
        assert answer["usage"]["prompt_tokens"] == len(tokens)
        chat = {"model": "talker", "messages": messages, "seed": 1, "max_tokens": 8}
        assert tenant.post("/v1/chat/completions", chat).json["usage"]["prompt_tokens"] == len(tokens)
        refused(tenant.infer(messages=messages[1:]), 400, "chat_refused", "turns must alternate, found assistant")
        refused(tenant.infer(messages=[{"role": "user", "content": "fail"}]), 400, "chat_template_failed", "line 7", '"missing" is undefined')
        answer = tenant.post("/v1/chat/completions", {**chat, "messages": messages[1:]})
        assert (answer.status, answer.json["error"]["code"]) == (400, "chat_refused")
    finally:
        d.stop()


def test_a_template_that_is_not_supported_is_named(tmp_path):
    d = Daemon(base_with(tmp_path, "{{ messages }}\n{{ messages | groupby('role') }}"), tmp_path / "data", "--threads", "1")
    try:
        tenant = d.tenant("acme")
        refused(tenant.infer(messages=[{"role": "user", "content": "Hi"}]), 400, "chat_template_unsupported", "line 2", '"groupby"')
        assert 'line 2: the filter "groupby" is not supported' in d.read_log()
        assert tenant.infer(prompt="Hi", max_tokens=2).status == 200
    finally:
        d.stop()


def test_a_model_of_numbers(start):
    d = start("mlp")
    tenant = d.tenant("acme")
    assert d.client().get("/version").json["precision"] == "exact"
    assert tenant.upload(adapter("mlp", "r4"), name="r4").status == 201
    one, many = good(tenant, input=16 * [0.5]), good(tenant, input=[16 * [0.5], 16 * [1]], adapter="r4")
    assert set(one) == {"id", "tenant", "adapter", "model", "output", "finish_reason", "usage", "timing_ms"}
    assert len(one["output"]) == 1 and one["finish_reason"] == "stop" and one["usage"] == {"rows": 1}
    assert [len(row) for row in many["output"]] == [10, 10] and many["output"][0] != one["output"][0]
    assert len(good(tenant, input=4096 * [16 * [0.25]])["output"]) == 4096
    for fields, status, code in [({"input": 15 * [1]}, 400, "out_of_range"), ({"input": []}, 400, "out_of_range"),
                                 ({"input": [[]]}, 400, "out_of_range"), ({"input": [16 * [1], 17 * [1]]}, 400, "out_of_range"),
                                 ({"input": [16 * [1], 1]}, 400, "invalid_type"), ({"input": 15 * [1] + ["1"]}, 400, "invalid_type"),
                                 ({"input": 4097 * [16 * [1]]}, 400, "out_of_range"), ({"input": 15 * [1] + [1e39]}, 400, "out_of_range"),
                                 ({"input": "1"}, 400, "invalid_type"), ({"input": 16 * [3e38]}, 422, "output_not_finite"),
                                 ({"prompt": "a"}, 400, "input_unsupported"), ({"tokens": [1]}, 400, "input_unsupported"),
                                 ({"input": 16 * [1], "stream": True}, 400, "input_unsupported")]:
        refused(tenant.infer(**fields), status, code)
    refused(tenant.post("/tokenize", {"text": "a"}), 400, "input_unsupported")
    refused(tenant.post("/detokenize", {"tokens": [1]}), 400, "input_unsupported")


# ---- many at once ----

def test_more_requests_than_places(start):
    """What does not fit waits; all are answered, and as they are alone."""
    d = start("demo", None, "--max-batch", "2", "--threads", "2")
    tenant = d.tenant("acme")
    wanted = [good(tenant, prompt=f"Hello {i}", max_tokens=16, logprobs=2, seed=1) for i in range(12)]
    answers = [None] * 12

    def run(i):
        answers[i] = good(tenant, prompt=f"Hello {i}", max_tokens=16, logprobs=2, seed=1)

    threads = [threading.Thread(target=run, args=(i,)) for i in range(12)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert all(same(a, b) for a, b in zip(answers, wanted, strict=True))


def test_a_tenant_that_has_too_many_waiting_is_told_at_once(start):
    d = start("demo", None, "--max-batch", "1", "--threads", "1")
    flood, other = d.tenant("flood"), d.tenant("other")
    with contextlib.ExitStack() as closing:
        wires = [closing.enter_context(Wire(d)) for _ in range(300)]
        for wire in wires:
            wire.request("POST", "/infer", {"prompt": "a", "max_tokens": 200, "ignore_eos": True, "stream": True}, flood.key)
        heads = [wire.head() for wire in wires]
        assert {head.status for head in heads} == {200, 429}
        shed = [head for head in heads if head.status == 429]
        assert len(shed) >= 300 - 257 - 20  # 256 wait, 1 runs, some may have ended
        for head in shed:
            assert head.headers["Retry-After"] and b"tenant_queue_full" in head.read()
        answer = other.infer(prompt="a", max_tokens=1)
        assert answer.status == 200
        still_waiting = [wire for wire, head in zip(wires, heads, strict=True) if head.status == 200 and wire.silent(0)]
        assert len(still_waiting) > 200, "another tenant gets its turn before the flood has gone"
