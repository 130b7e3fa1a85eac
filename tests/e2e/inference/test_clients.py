"""What real clients send to the routes that run the model: several answers, several prompts, penalties, ends, what a chat template is
given, and the fields that are of no account. As docs/http-api.md says."""
import json
import os
import re

import pytest

from daemon import DEMO, ROOT, Daemon, model_path

COMPLETIONS, CHAT = "/v1/completions", "/v1/chat/completions"
PARCEL = [{"role": "user", "content": "Where is my parcel?"}]
HELLO = {"prompt": "Hello", "max_tokens": 12}
TALK = {"messages": PARCEL, "max_tokens": 12}
ROUTES = [(COMPLETIONS, HELLO), (CHAT, TALK)]


@pytest.fixture(scope="module")
def acme(daemon):
    tenant = daemon.tenant("clients")
    assert tenant.upload(os.path.join(DEMO, "adapters", "voice"), name="voice").status == 201
    return tenant


def good(answer):
    assert answer.status == 200, answer
    return answer.json


def text_of(choice):
    return choice["text"] if "text" in choice else choice["message"]["content"]


def ids(tenant, text):
    return good(tenant.post("/tokenize", {"text": text, "add_special_tokens": False}))["tokens"]


def streamed(events):
    """Texts and ends of a stream's choices by index; the usage; in how many turns the choices spoke."""
    *events, last = list(events)
    assert last == (None, "[DONE]")
    texts, ends, usage, turns, before = {}, {}, None, 0, None
    for _, chunk in events:
        usage = chunk.get("usage") or usage
        for choice in chunk["choices"]:
            index = choice["index"]
            piece = choice.get("text") if "text" in choice else choice["delta"].get("content", "")
            assert index not in ends, "nothing comes behind the end"
            if "delta" in choice:
                assert ("role" in choice["delta"]) == (index not in texts)
            texts[index] = texts.get(index, "") + piece
            turns += index != before
            before = index
            if choice["finish_reason"]:
                ends[index] = choice["finish_reason"]
    assert set(texts) == set(ends)
    return texts, ends, usage, turns


# ---- several answers ----

@pytest.mark.parametrize("path, start", ROUTES)
def test_n_answers_are_those_of_n_requests(acme, path, start):
    body = {**start, "model": "voice", "temperature": 1.2, "seed": 40}
    alone = [good(acme.post(path, {**body, "seed": 40 + i})) for i in range(8)]
    whole = good(acme.post(path, {**body, "n": 8}))
    assert [c["index"] for c in whole["choices"]] == list(range(8))
    assert [text_of(c) for c in whole["choices"]] == [text_of(a["choices"][0]) for a in alone]
    assert len({text_of(c) for c in whole["choices"]}) > 4, "the seeds differ"
    usage = whole["usage"]
    assert usage["prompt_tokens"] == alone[0]["usage"]["prompt_tokens"]
    assert usage["completion_tokens"] == sum(a["usage"]["completion_tokens"] for a in alone)
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
    texts, ends, streamed_usage, turns = streamed(acme.events(path, **body, n=8, stream_options={"include_usage": True}))
    assert [texts[i] for i in range(8)] == [text_of(c) for c in whole["choices"]]
    assert [ends[i] for i in range(8)] == [c["finish_reason"] for c in whole["choices"]]
    assert {k: v for k, v in streamed_usage.items() if k != "prompt_tokens_details"} == \
        {k: v for k, v in usage.items() if k != "prompt_tokens_details"}
    assert turns > 8, "they speak in turn"


def test_a_long_prompt_is_computed_once_for_all_answers(acme, daemon):
    def prefilled():
        found = re.search(r"^adapterd_prefill_tokens_total (\d+)", daemon.client().get("/metrics").body.decode(), re.M)
        return int(found.group(1))

    prompt = [20 + i * 7 % 900 for i in range(300)]
    before = prefilled()
    answer = good(acme.post(COMPLETIONS, {"prompt": prompt, "n": 6, "max_tokens": 3, "ignore_eos": True}))
    assert answer["usage"]["prompt_tokens"] == 300 and answer["usage"]["completion_tokens"] == 18
    assert prefilled() - before <= 300 + 5 * 32


@pytest.mark.parametrize("more", [{}, {"logprobs": 2}])
def test_the_best_are_those_with_the_likeliest_tokens(acme, more):
    body = {"prompt": ["Hello", "Where is"], "max_tokens": 8, "temperature": 1.3, "seed": 3, "model": "voice"}
    all_of = good(acme.post(COMPLETIONS, {**body, "n": 6, "logprobs": 2}))
    found = good(acme.post(COMPLETIONS, {**body, "n": 2, "best_of": 6, **more}))
    for prompt in range(2):
        candidates = all_of["choices"][6 * prompt:6 * prompt + 6]
        mean = {c["index"]: sum(c["logprobs"]["token_logprobs"]) / max(1, len(c["logprobs"]["tokens"])) for c in candidates}
        best = sorted(candidates, key=lambda c: -mean[c["index"]])[:2]
        shown = found["choices"][2 * prompt:2 * prompt + 2]
        assert [c["text"] for c in shown] == [c["text"] for c in best]
        assert [c["logprobs"] for c in shown] == ([c["logprobs"] for c in best] if more else [None, None])
    assert [c["index"] for c in found["choices"]] == [0, 1, 2, 3]
    assert found["usage"]["completion_tokens"] == all_of["usage"]["completion_tokens"] and found["usage"]["prompt_tokens"] == all_of["usage"]["prompt_tokens"]
    assert good(acme.post(COMPLETIONS, {**body, "n": 2, "best_of": 2}))["choices"] == good(acme.post(COMPLETIONS, {**body, "n": 2}))["choices"]


# ---- several prompts ----

PROMPTS = ["Hello", "Where is my parcel?", "é☃𝄞", "Hello"]


@pytest.mark.parametrize("more", [{"temperature": 0, "logprobs": 2}, {"seed": 5, "temperature": 1}, {"temperature": 0, "echo": True, "logprobs": 1},
                                  {"temperature": 0, "stop": ["e"]}])
@pytest.mark.parametrize("as_ids", [False, True])
def test_several_prompts_are_several_answers(acme, more, as_ids):
    body = {"model": "voice", "max_tokens": 8, **more}
    prompts = [ids(acme, p) for p in PROMPTS] if as_ids else PROMPTS
    alone = [good(acme.post(COMPLETIONS, {**body, "prompt": p})) for p in prompts]
    whole = good(acme.post(COMPLETIONS, {**body, "prompt": prompts}))
    assert whole["choices"] == [{**a["choices"][0], "index": i} for i, a in enumerate(alone)]
    for count in ("prompt_tokens", "completion_tokens", "total_tokens"):
        assert whole["usage"][count] == sum(a["usage"][count] for a in alone)
    texts, ends, _, _ = streamed(acme.events(COMPLETIONS, **body, prompt=prompts))
    assert [texts[i] for i in range(len(prompts))] == [c["text"] for c in whole["choices"]]
    assert [ends[i] for i in range(len(prompts))] == [c["finish_reason"] for c in whole["choices"]]


def test_several_answers_to_several_prompts(acme):
    """The answers to the first prompt come first; each prompt has the seeds of a request of its own."""
    body = {"max_tokens": 6, "seed": 9, "temperature": 1.3}
    whole = good(acme.post(COMPLETIONS, {**body, "prompt": PROMPTS[:2], "n": 3}))
    alone = [good(acme.post(COMPLETIONS, {**body, "prompt": p, "n": 3})) for p in PROMPTS[:2]]
    assert [c["text"] for c in whole["choices"]] == [c["text"] for a in alone for c in a["choices"]]
    assert [c["index"] for c in whole["choices"]] == list(range(6))
    assert whole["usage"]["prompt_tokens"] == sum(a["usage"]["prompt_tokens"] for a in alone)


def test_many_answers_count_as_one_request(daemon):
    tenant = daemon.tenant("many-answers")
    assert daemon.client().patch("/tenants/many-answers", {"quota": {"requests_in_flight_max": 1}}).status == 200
    answer = good(tenant.post(COMPLETIONS, {"prompt": [[20, 21], [22]], "n": 4, "max_tokens": 5, "ignore_eos": True}))
    assert answer["usage"]["total_tokens"] == 3 + 40
    [row] = tenant.get("/usage").json["data"]
    assert (row["requests"], row["prompt_tokens"], row["completion_tokens"], row["errors"]) == (1, 3, 40, 0)


def test_a_client_that_leaves_ends_all_its_answers(daemon, acme):
    events = acme.events(COMPLETIONS, prompt="Hello", n=5, max_tokens=900, ignore_eos=True)
    next(iter(events))
    events.close()
    assert good(acme.post(COMPLETIONS, HELLO))


# ---- penalties and biases ----

def greedy(tenant, **fields):
    """Tokens, and for each the likeliest 20 with their log-probabilities."""
    answer = good(tenant.infer(prompt="Hello", temperature=0, ignore_eos=True, logprobs=20, **fields))
    return answer["tokens"], [{t["token"]: t["logprob"] for t in step["top"]} for step in answer["logprobs"]]


@pytest.mark.parametrize("frequency, presence", [(0.7, 0), (0, 1.5), (2, 2), (0.1, 0.4), (1.1, -0.3)])
def test_penalties_count_the_answers_tokens(acme, frequency, presence):
    """By the formula, from the model's own log-probabilities, which stay what they are."""
    tokens, tops = greedy(acme, max_tokens=60, frequency_penalty=frequency, presence_penalty=presence)
    plain, _ = greedy(acme, max_tokens=60)
    changed = 0
    for i, token in enumerate(tokens):
        counts = {t: tokens[:i].count(t) for t in tops[i]}
        penalized = {t: logprob - frequency * counts[t] - presence * (counts[t] > 0) for t, logprob in tops[i].items()}
        best = max(penalized.values())
        if best > min(tops[i].values()) and token in penalized:
            assert penalized[token] >= best - 1e-4
            changed += tops[i][token] < max(tops[i].values())
    assert changed > 0 and tokens != plain


def test_a_repetition_penalty_sees_the_prompt_too(acme):
    prompt = ids(acme, "the cat sat on the mat and the dog sat on the log")
    once = good(acme.infer(tokens=prompt, temperature=0, max_tokens=40, ignore_eos=True))["tokens"]
    held = good(acme.infer(tokens=prompt, temperature=0, max_tokens=40, ignore_eos=True, repetition_penalty=50))["tokens"]
    assert len(set(held) | set(prompt)) > len(set(once) | set(prompt)) and len(set(held)) > len(set(once))


@pytest.mark.parametrize("path, start", ROUTES)
def test_biases(acme, path, start):
    body = {**start, "temperature": 0, "ignore_eos": True}
    plain = good(acme.post(path, body))["choices"][0]
    letter = ids(acme, "d")[-1]
    forced = good(acme.post(path, {**body, "logit_bias": {str(letter): 100}}))["choices"][0]
    assert len(set(text_of(forced))) == 1 and text_of(forced) != text_of(plain)
    tokens = good(acme.infer(**{k: v for k, v in body.items()}))["tokens"]
    banned = good(acme.infer(**body, logit_bias={str(t): -100 for t in tokens}))["tokens"]
    assert not set(tokens) & set(banned)


# ---- defaults of the model ----

def with_generation(tmp_path, **said):
    path = tmp_path / "model"
    path.mkdir()
    for name in os.listdir(model_path("demo")):
        if name != "generation_config.json":
            os.symlink(os.path.join(model_path("demo"), name), path / name)
    (path / "generation_config.json").write_text(json.dumps(said))
    return path


@pytest.mark.parametrize("said", [{"do_sample": True, "top_k": 1}, {"do_sample": False, "temperature": 0.9}, {"temperature": 0, "max_new_tokens": 1},
                                  {"do_sample": True, "top_p": 0.5, "temperature": 1.5, "repetition_penalty": 1.3, "min_p": 0.01}])
def test_defaults_of_the_model(start, tmp_path, said):
    """They are as good as fields of a request; what a request says itself wins; /infer has its own."""
    tenant = start(with_generation(tmp_path, **said)).tenant("acme")
    given = {k: v for k, v in said.items() if k not in ("do_sample", "max_new_tokens")}
    if said.get("do_sample") is False:
        given = {"temperature": 0}
    explicit = {"temperature": 1, "top_k": 0, "top_p": 1, "min_p": 0, "repetition_penalty": 1, **given}
    other = {"temperature": 1.1, "top_k": -1, "top_p": 1, "min_p": 0, "repetition_penalty": 1}
    for path, body in ROUTES:
        for seed in range(3):
            fields = {**body, "seed": seed, "ignore_eos": True}
            by_infer = good(tenant.infer(**fields, **explicit))["text"]
            assert text_of(good(tenant.post(path, fields))["choices"][0]) == by_infer
            assert text_of(good(tenant.post(path, {**fields, **dict.fromkeys(explicit)}))["choices"][0]) == by_infer
            own = good(tenant.infer(**fields, **{**other, "top_k": 0}))["text"]
            assert text_of(good(tenant.post(path, {**fields, **other}))["choices"][0]) == own
        assert good(tenant.infer(**fields))["text"] == good(tenant.infer(**fields, temperature=0))["text"]


def test_defaults_of_the_model_may_be_left_alone(start, tmp_path):
    tenant = start(with_generation(tmp_path, do_sample=True, top_k=1), None, "--generation-config", "off").tenant("acme")
    assert len({text_of(good(tenant.post(COMPLETIONS, {**HELLO, "seed": seed}))["choices"][0]) for seed in range(5)}) > 1


# ---- the end ----

def a_run_that_ends(tenant, **more):
    for seed in range(200):
        answer = good(tenant.infer(prompt="Hello", max_tokens=60, temperature=1, seed=seed, **more))
        if answer["finish_reason"] == "stop" and len(answer["tokens"]) > 3:
            return seed, answer
    pytest.fail("no run ends")


def test_a_shortest_answer(acme):
    seed, short = a_run_that_ends(acme)
    count = len(short["tokens"])
    for least in (1, count, count + 1, count + 10):
        body = {"prompt": "Hello", "max_tokens": 60, "temperature": 1, "seed": seed, "min_tokens": least}
        answer = good(acme.infer(**body))
        assert len(answer["tokens"]) >= least and answer["tokens"][:count] == short["tokens"]
        assert (answer["tokens"] == short["tokens"]) == (least <= count)
        assert good(acme.post(COMPLETIONS, body))["choices"][0]["text"] == answer["text"]


def test_stop_strings_wait_for_the_shortest_answer(acme):
    body = {"prompt": "Hello", "max_tokens": 30, "temperature": 0, "ignore_eos": True}
    whole = good(acme.infer(**body))
    piece = whole["text"][1:3]
    assert good(acme.infer(**body, stop=[piece]))["text"] == whole["text"][:whole["text"].index(piece)]
    for least in (5, 15, 30):
        held = good(acme.infer(**body, stop=[piece], min_tokens=least))
        assert len(held["text"]) > whole["text"].index(piece) and whole["text"].startswith(held["text"])


@pytest.mark.parametrize("path, start", ROUTES)
def test_stop_tokens(acme, path, start):
    body = {**start, "temperature": 0, "ignore_eos": True}
    tokens = good(acme.infer(**body))["tokens"]
    for at in range(1, len(tokens), 3):
        first = tokens.index(tokens[at])
        answer = good(acme.infer(**body, stop_token_ids=[1023, tokens[at]]))
        assert answer["tokens"] == tokens[:first] and answer["finish_reason"] == "stop"
        choice = good(acme.post(path, {**body, "stop_token_ids": [tokens[at]]}))["choices"][0]
        assert text_of(choice) == answer["text"] and choice["finish_reason"] == "stop"


def test_special_tokens_stop_and_show_where_they_are_asked_for(acme):
    """A special token is forced by its bias: as a stop string it ends the run, shown it is text."""
    special = ids(acme, "<|im_start|>")
    assert len(special) == 1
    body = {"prompt": "Hello", "temperature": 0, "max_tokens": 4, "ignore_eos": True, "logit_bias": {str(special[0]): 100}}
    hidden, shown = good(acme.infer(**body)), good(acme.infer(**body, skip_special_tokens=False))
    assert hidden["text"] == "" and shown["text"] == 4 * "<|im_start|>" and hidden["tokens"] == shown["tokens"] == 4 * special
    for more in ({}, {"skip_special_tokens": False}):
        for stop in ("<|im_start|>", ["never", "<|im_start|>"]):
            ended = good(acme.infer(**body, stop=stop, **more))
            assert (ended["tokens"], ended["text"], ended["finish_reason"]) == ([], "", "stop")
    events = [data for _, data in acme.events("/infer", **body, stop="<|im_start|>")]
    assert events[-1] == "[DONE]" and events[-2]["finish_reason"] == "stop" and events[-2]["tokens"] == []
    assert good(acme.post(COMPLETIONS, {**body, "stop": "<|im_start|>"}))["choices"][0]["finish_reason"] == "stop"
    assert good(acme.infer(**body, stop="<|im_start|>!"))["finish_reason"] == "length"


def test_stop_strings_that_have_special_tokens_in_them(acme):
    """Found in the text as it would be shown, cut out of the text as it is."""
    found = 0
    for seed in range(60):
        body = {"prompt": "Hello", "temperature": 100, "seed": seed, "max_tokens": 150, "ignore_eos": True}
        shown = good(acme.infer(**body, skip_special_tokens=False))["text"]
        for at in [m.start() for m in re.finditer(r"<\|im_\w+\|>[ -~]{2}", shown)][:2]:
            end = shown.index(">", at) + 1
            for stop in (shown[at:end + 2], shown[max(0, at - 2):end], shown[max(0, at - 1):end + 1]):
                if "�" in shown[max(0, at - 3):end + 2]:  # half a character before it
                    continue
                answer = good(acme.infer(**body, stop=["never said", stop]))
                assert answer["finish_reason"] == "stop"
                wanted = shown[:shown.index(stop)]
                assert answer["text"] == re.sub(r"<\|[^|]*\|>", "", wanted)
                pieces = [d for _, d in acme.events("/infer", **body, stop=["never said", stop])][:-1]
                assert "".join(d["text"] for d in pieces) == answer["text"] and sum((d["tokens"] for d in pieces), []) == answer["tokens"]
                found += 1
    assert found > 5


@pytest.mark.parametrize("path, start", ROUTES)
def test_no_limit_is_the_end_of_the_context(acme, path, start):
    body = {**start, "temperature": 0, "ignore_eos": True, "max_tokens": -1}
    answer = good(acme.post(path, body))
    assert answer["usage"]["total_tokens"] == 1024 and answer["choices"][0]["finish_reason"] == "length"
    if path == CHAT:
        del body["max_tokens"]
        assert good(acme.post(path, body))["choices"] == answer["choices"]
        assert good(acme.post(path, {**body, "max_completion_tokens": -1}))["choices"] == answer["choices"]


@pytest.mark.parametrize("path, start", ROUTES)
def test_any_seed(acme, path, start):
    answers = {text_of(good(acme.post(path, {**start, "temperature": 2, "seed": -1}))["choices"][0]) for _ in range(4)}
    assert len(answers) > 1


# ---- what a chat template is given ----

TEMPLATE = """{%- for m in messages %}[{{ m.role }}{% if m.name is defined %} {{ m.name }}{% endif %}
{%- if m.reasoning_content is defined %} ({{ m.reasoning_content }}{{ m.thinking }}){% endif %}] {{ m.content | trim if m.content is defined else 'silent' }}
{%- for c in m.tool_calls or [] %} {{ c.id }}={{ c.function.name }}{{ c.function.arguments | tojson }}{% endfor %}
{%- if m.tool_call_id %} <{{ m.tool_call_id }}>{% endif %}; {% endfor %}
{%- for name, value in [('tools', tools), ('documents', documents), ('thinks', enable_thinking), ('effort', reasoning_effort), ('depth', depth)] %}
{%- if value is defined and value is not none %}{{ name }}:{{ value | tojson }} {% elif value is defined %}{{ name }}:none {% endif %}
{%- endfor %}{% if add_generation_prompt %}[assistant]{% endif %}"""
TOOL = {"type": "function", "function": {"name": "find", "parameters": {"type": "object", "properties": {"z": {"type": "string"}, "a": {}}}}}
NONE = "tools:none documents:none "


@pytest.fixture(scope="module")
def templated(tmp_path_factory):
    path = tmp_path_factory.mktemp("templated")
    for name in os.listdir(model_path("demo")):
        if name != "chat_template.jinja":
            os.symlink(os.path.join(model_path("demo"), name), path / name)
    (path / "chat_template.jinja").write_text(TEMPLATE)
    d = Daemon(path, tmp_path_factory.mktemp("templated-data") / "data", "--threads", "1")
    yield d.tenant("acme")
    d.stop()


def call(arguments, **more):
    return {"role": "assistant", "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "find", "arguments": arguments}}], **more}


RENDERED = [
    ({"messages": [{"role": "user", "content": "Hi", "name": "anna"}]}, "[user anna] Hi; " + NONE + "[assistant]"),
    ({"messages": [{"role": "user", "content": "Hi", "name": None}]}, "[user] Hi; " + NONE + "[assistant]"),
    ({"messages": [{"role": "assistant", "content": "So", "reasoning_content": "hm"}]}, "[assistant (hmhm)] So; " + NONE + "[assistant]"),
    ({"messages": [{"role": "assistant", "content": "So", "reasoning": "hm"}]}, "[assistant (hmhm)] So; " + NONE + "[assistant]"),
    ({"messages": [{"role": "assistant", "content": "So", "reasoning_content": None}]}, "[assistant] So; " + NONE + "[assistant]"),
    ({"messages": [call('{"z": "7", "a": [1.5, null]}')]}, '[assistant] silent c1=find{"z": "7", "a": [1.5, null]}; ' + NONE + "[assistant]"),
    ({"messages": [call({"z": "7"}, content=None)]}, '[assistant] silent c1=find{"z": "7"}; ' + NONE + "[assistant]"),
    ({"messages": [call("not JSON", content="")]}, '[assistant]  c1=find"not JSON"; ' + NONE + "[assistant]"),
    ({"messages": [call("[1]", content="")]}, '[assistant]  c1=find"[1]"; ' + NONE + "[assistant]"),
    ({"messages": [{"role": "assistant", "content": None}]}, "[assistant] ; " + NONE + "[assistant]"),
    ({"messages": [{"role": "assistant", "tool_calls": []}]}, "[assistant] ; " + NONE + "[assistant]"),
    ({"messages": [{"role": "tool", "tool_call_id": "c1", "content": "sent"}]}, "[tool] sent <c1>; " + NONE + "[assistant]"),
    ({"messages": [{"role": "user", "content": "Hi"}], "tools": [TOOL]},
     "[user] Hi; tools:" + json.dumps([TOOL]) + " documents:none [assistant]"),
    ({"messages": [{"role": "user", "content": "Hi"}], "tools": []}, "[user] Hi; " + NONE + "[assistant]"),
    ({"messages": [{"role": "user", "content": "Hi"}], "documents": [{"title": "a", "text": "b"}]},
     '[user] Hi; tools:none documents:[{"title": "a", "text": "b"}] [assistant]'),
    ({"messages": [{"role": "user", "content": "Hi"}], "chat_template_kwargs": {"enable_thinking": False, "depth": {"a": [1, "b", None]}}},
     '[user] Hi; ' + NONE + 'thinks:false depth:{"a": [1, "b", null]} [assistant]'),
    ({"messages": [{"role": "user", "content": "Hi"}], "chat_template_kwargs": {"enable_thinking": None, "depth": 2.5, "unread": "x"}},
     "[user] Hi; " + NONE + "thinks:none depth:2.5 [assistant]"),
    ({"messages": [{"role": "user", "content": "Hi"}], "chat_template_kwargs": {"add_generation_prompt": False}}, "[user] Hi; " + NONE),
    ({"messages": [{"role": "user", "content": "Hi"}], "add_generation_prompt": False}, "[user] Hi; " + NONE),
    ({"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "It is"}], "continue_final_message": True},
     "[user] Hi; [assistant] It is"),
    ({"messages": [{"role": "assistant", "content": "It is \n"}], "continue_final_message": True, "add_generation_prompt": False},
     "[assistant] It is"),
    ({"messages": [{"role": "assistant", "content": ""}], "continue_final_message": True}, "[assistant]"),
]


@pytest.mark.parametrize("body, rendered", RENDERED)
def test_what_a_template_writes(templated, body, rendered):
    """The prompt's tokens by /infer; the other route counts as many and answers the same."""
    wanted = ids(templated, rendered)
    body = {**body, "temperature": 0, "max_tokens": 4, "ignore_eos": True}
    answer = good(templated.infer(**body, prompt_logprobs=True))
    assert [p["token"] for p in answer["prompt_logprobs"][1:]] == wanted[1:] and answer["usage"]["prompt_tokens"] == len(wanted)
    chat = good(templated.post(CHAT, body))
    assert chat["usage"]["prompt_tokens"] == len(wanted) and text_of(chat["choices"][0]) == answer["text"]


@pytest.mark.parametrize("more, rendered", [
    ({"reasoning_effort": "low"}, 'effort:"low" '),
    ({"reasoning": {"effort": "high", "summary": "auto"}}, 'effort:"high" '),
    ({"reasoning": {"effort": "high"}, "reasoning_effort": "low"}, 'effort:"low" '),
    ({"reasoning": {"effort": None}}, ""),
    ({"enable_thinking": False}, "thinks:false "),
    ({"enable_thinking": False, "chat_template_kwargs": {"enable_thinking": True}}, "thinks:true "),
    ({"reasoning_effort": "low", "chat_template_kwargs": {"depth": 1}}, 'effort:"low" depth:1 '),
    ({"reasoning_effort": None, "enable_thinking": None, "chat_template_kwargs": None}, ""),
])
def test_fields_of_their_own_that_templates_read(templated, more, rendered):
    chat = good(templated.post(CHAT, {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 1, **more}))
    assert chat["usage"]["prompt_tokens"] == len(ids(templated, "[user] Hi; " + NONE + rendered + "[assistant]"))


def test_what_is_of_no_account_in_messages(templated):
    plain = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Yes"}, *PARCEL]
    dressed = [{"role": "user", "content": [{"type": "text", "text": "Hi", "cache_control": {"type": "ephemeral"}}], "cache_control": {}},
               {"role": "assistant", "content": "Yes", "annotations": [{"type": "url_citation"}], "refusal": None, "audio": None, "id": "m1",
                "provider_specific_fields": {"a": 1}, "reasoning_details": [], "timestamp": 5, "name": None, "bogus": None}, *PARCEL]
    answers = [good(templated.post(CHAT, {"messages": m, "temperature": 0, "max_tokens": 5})) for m in (plain, dressed)]
    assert answers[0]["choices"] == answers[1]["choices"]
    assert answers[0]["usage"]["prompt_tokens"] == answers[1]["usage"]["prompt_tokens"]


@pytest.mark.parametrize("messages, code", [
    ([{"role": "assistant", "tool_calls": [{"id": "a", "function": {"name": "f", "arguments": "{}"}}]}], "chat_template_failed"),
])
def test_a_message_that_cannot_be_continued(templated, messages, code):
    answer = templated.post(CHAT, {"messages": messages, "continue_final_message": True})
    assert (answer.status, answer.json["error"]["code"]) == (400, code)


def test_special_tokens_may_be_added_or_left(start):
    """A tokenizer that begins texts with a token of its own."""
    tenant = start("llama").tenant("acme")
    for body, wanted in (({}, True), ({"add_special_tokens": True}, True), ({"add_special_tokens": False}, False)):
        tokens = good(tenant.post("/tokenize", {"text": "Hello", "add_special_tokens": wanted}))["tokens"]
        for answer in (tenant.infer(prompt="Hello", max_tokens=1, **body), tenant.post(COMPLETIONS, {"prompt": "Hello", "max_tokens": 1, **body})):
            assert good(answer)["usage"]["prompt_tokens"] == len(tokens)


# ---- words that must not come ----

@pytest.mark.parametrize("path, start", ROUTES)
def test_bad_words_never_come(acme, path, start):
    """The words of an answer, banned one after the other: each time another answer comes, without any of them."""
    body, banned = {**start, "model": "voice", "temperature": 0, "max_tokens": 24}, []
    for _ in range(6):
        text = text_of(good(acme.post(path, {**body, "bad_words": banned}))["choices"][0])
        words = re.findall(r"[A-Za-z]{3,}", text)
        assert not set(words) & set(banned)
        banned += words[:1]
    assert len(banned) > 2
    texts, _, _, _ = streamed(acme.events(path, **body, bad_words=banned))
    assert texts[0] == text_of(good(acme.post(path, {**body, "bad_words": banned}))["choices"][0])


def test_a_ban_is_of_the_last_token_alone(acme):
    """What begins a banned word may come; a prompt counts."""
    tokens = good(acme.infer(prompt="Hello", max_tokens=12))["tokens"]
    text = good(acme.post("/detokenize", {"tokens": tokens[:2]}))["text"]
    if ids(acme, text) == tokens[:2]:
        found = good(acme.infer(prompt="Hello", max_tokens=12, bad_words=[text]))["tokens"]
        assert found[0] == tokens[0] and found[1] != tokens[1]
    start, end = ids(acme, "Hello"), ids(acme, "Hello" + good(acme.infer(prompt="Hello", max_tokens=1))["text"])
    if end[:-1] == start:
        word = good(acme.post("/detokenize", {"tokens": end}))["text"]
        assert good(acme.infer(prompt="Hello", max_tokens=1, bad_words=[word]))["tokens"] != end[-1:]


def test_bans_that_leave_nothing(acme):
    answer = acme.infer(prompt="Hello", choice=["a", "b"], bad_words=["a", "b"], max_tokens=4)
    assert (answer.status, answer.code) == (422, "tokens_banned")
    events = list(acme.events(prompt="Hello", choice=["a", "b"], bad_words=["a", "b"], max_tokens=4))
    assert events[-1][0] == "error" and events[-1][1]["error"]["code"] == "tokens_banned"
    assert good(acme.infer(prompt="Hello", choice=["a", "b"], bad_words=["a"], max_tokens=4))["text"] == "b"


# ---- what is of no account ----

def fields(where):
    with open(os.path.join(ROOT, "server", "openai", "openai_fields.c")) as f:
        return re.findall(r'^    \{"(\w+)", OPENAI_(?:ALL|BOTH|%s), (TAKEN|IGNORED|"[^\n]*")\}' % where, f.read(), re.M)


@pytest.mark.parametrize("path, start, where", [(COMPLETIONS, HELLO, "COMPLETIONS"), (CHAT, TALK, "TALK|CHAT")])
def test_fields_of_no_account(acme, path, start, where):
    body = {**start, "temperature": 0}
    wanted = good(acme.post(path, body))["choices"]
    ignored = [name for name, what in fields(where) if what == "IGNORED"]
    assert len(ignored) > 30
    for value in (None, 1, "x", [1], {"a": {"b": []}}, False):
        assert good(acme.post(path, {**body, **dict.fromkeys(ignored, value)}))["choices"] == wanted


@pytest.mark.parametrize("path, start, where", [(COMPLETIONS, HELLO, "COMPLETIONS"), (CHAT, TALK, "TALK|CHAT")])
def test_values_that_change_nothing(acme, path, start, where):
    body = {**start, "temperature": 0}
    wanted = good(acme.post(path, body))["choices"]
    neutral = {name: json.loads(what[1:-1].replace('\\"', '"')) for name, what in fields(where) if what[0] == '"'}
    assert len(neutral) > 20
    for name, values in neutral.items():
        for value in values:
            assert good(acme.post(path, {**body, name: value}))["choices"] == wanted
        answer = acme.post(path, {**body, name: {"other": 1}})
        assert (answer.status, answer.json["error"]["code"], answer.json["error"]["param"]) == (400, "unsupported_value", name)


# ---- what an answer has to be ----

SCHEMA = {"type": "object", "properties": {"ok": {"type": "boolean"}, "n": {"type": "integer", "minimum": 0, "maximum": 99}}, "required": ["ok", "n"],
          "additionalProperties": False}
GBNF = 'root ::= "yes" | "no" | number\nnumber ::= [1-9] [0-9]?'


def is_answer(text):
    found = json.loads(text)
    assert set(found) == {"ok", "n"} and isinstance(found["ok"], bool) and 0 <= found["n"] <= 99


def is_object(text):
    assert isinstance(json.loads(text), dict)


def matches(pattern):
    def check(text):
        assert re.fullmatch(pattern, text), text
    return check


EVERYWHERE = [
    ({"response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": SCHEMA, "strict": True}}}, is_answer),
    ({"response_format": {"type": "json_object", "schema": SCHEMA}}, is_answer),
    ({"grammar": GBNF}, matches("yes|no|[1-9][0-9]?")),
    ({"regex": "[a-c]{3}-[0-9]+x"}, matches("[a-c]{3}-[0-9]+x")),
    ({"choice": ["red", "green", "a blue one"]}, matches("red|green|a blue one")),
]
BY_OTHER_NAMES = [
    ({"json_schema": SCHEMA}, is_answer), ({"guided_json": SCHEMA}, is_answer), ({"guided_json": json.dumps(SCHEMA)}, is_answer),
    ({"guided_grammar": GBNF}, matches("yes|no|[1-9][0-9]?")), ({"guided_regex": "x{2,4}"}, matches("x{2,4}")),
    ({"guided_choice": ["left", "right"]}, matches("left|right")),
    ({"structured_outputs": {"json": SCHEMA}}, is_answer), ({"structured_outputs": {"regex": "x{2,4}", "disable_fallback": True}}, matches("x{2,4}")),
    ({"structured_outputs": {"choice": ["left", "right"], "json": None}}, matches("left|right")),
    ({"structured_outputs": {"grammar": GBNF}}, matches("yes|no|[1-9][0-9]?")),
]


@pytest.mark.parametrize("fields, check", EVERYWHERE + BY_OTHER_NAMES)
def test_an_answer_is_what_it_has_to_be(acme, fields, check):
    for path, start in ROUTES + ([("/infer", HELLO)] if (fields, check) in EVERYWHERE else []):
        for more in ({"temperature": 0}, {"temperature": 1.5, "seed": 3}, {"temperature": 1, "seed": 5, "ignore_eos": True}):
            body = {**start, "max_tokens": 400, **fields, **more}
            answer = good(acme.post(path, body))
            choice = answer if path == "/infer" else answer["choices"][0]
            if choice["finish_reason"] == "stop":
                check(text_of(choice))
                events = [data for _, data in acme.events(path, **body)]
                pieces = [d.get("text", "") if path == "/infer" else "".join(c.get("text") or c.get("delta", {}).get("content", "")
                                                                            for c in d["choices"]) for d in events[:-1]]
                assert "".join(pieces) == text_of(choice)


def test_any_object(acme):
    ended = 0
    for seed in range(10):
        answer = good(acme.post(CHAT, {**TALK, "max_tokens": 200, "seed": seed, "response_format": {"type": "json_object"}}))["choices"][0]
        assert text_of(answer).lstrip(" \n\t")[:1] in ("{", "")
        if answer["finish_reason"] == "stop":
            is_object(text_of(answer))
            ended += 1
    assert ended > 0


def test_several_answers_are_each_what_they_have_to_be(acme):
    body = {"prompt": PROMPTS[:2], "n": 4, "max_tokens": 300, "temperature": 1.5, "seed": 1, "choice": ["one", "two", "three hundred", "four"]}
    whole = good(acme.post(COMPLETIONS, {**body, "model": "voice", "logprobs": 1}))
    assert {c["text"] for c in whole["choices"]} <= set(body["choice"]) and len({c["text"] for c in whole["choices"]}) > 1
    assert all(c["finish_reason"] == "stop" for c in whole["choices"])
    alone = [good(acme.post(COMPLETIONS, {**body, "model": "voice", "prompt": p, "n": 1, "seed": 1 + i}))["choices"][0]["text"]
             for p in PROMPTS[:2] for i in range(4)]
    assert [c["text"] for c in whole["choices"]] == alone


@pytest.mark.parametrize("fields, code, param", [
    ({"response_format": "json"}, "invalid_type", "response_format"),
    ({"response_format": {"type": "xml"}}, "unsupported_value", "response_format"),
    ({"response_format": {"type": "json_schema"}}, "missing_field", "response_format"),
    ({"response_format": {"type": "json_schema", "json_schema": {"name": "a"}}}, "missing_field", "response_format"),
    ({"response_format": {"type": "json_object", "bogus": 1}}, "unknown_field", "bogus"),
    ({"response_format": {"type": "json_schema", "json_schema": {"schema": {"type": "nothing"}}}}, "schema_invalid", None),
    ({"grammar": "root ::= ("}, "grammar_malformed", None),
    ({"grammar": "root ::= other"}, None, None),
    ({"grammar": 5}, "invalid_type", "grammar"),
    ({"regex": "(a"}, "regex_malformed", None),
    ({"regex": r"\ba"}, "regex_unsupported", None),
    ({"choice": []}, "choice_malformed", "choice"),
    ({"choice": ["a", 5]}, "invalid_type", "choice"),
    ({"choice": "a"}, "invalid_type", "choice"),
    ({"choice": ["a"], "regex": "a"}, "field_conflict", None),
    ({"response_format": {"type": "json_object"}, "grammar": GBNF}, "field_conflict", None),
])
def test_what_no_answer_can_be(acme, fields, code, param):
    for path, start in [*ROUTES, ("/infer", HELLO)]:
        for stream in ({}, {"stream": True}):
            answer = acme.post(path, {**start, **fields, **stream})
            assert answer.status == 400 and code in (None, answer.json["error"]["code"]), answer
            assert param in (None, answer.json["error"]["param"]) and answer.json["error"]["param"], answer


def test_what_no_answer_can_be_by_other_names(acme):
    for fields, code in (({"guided_json": "{"}, "schema_invalid"), ({"guided_choice": "a"}, "invalid_type"), ({"structured_outputs": []}, "invalid_type"),
                         ({"structured_outputs": {"json_object": 1}}, "invalid_type"), ({"structured_outputs": {"structural_tag": "x"}}, "unknown_field"),
                         ({"guided_regex": "a", "guided_choice": ["a"]}, "field_conflict"), ({"guided_grammar": {}}, "invalid_type")):
        answer = acme.post(CHAT, {**TALK, **fields})
        assert (answer.status, answer.json["error"]["code"]) == (400, code), answer


def test_models_of_numbers_have_no_grammar(mlp, tenant):
    answer = tenant.infer(input=[0] * 8, regex="a")
    assert (answer.status, answer.code) == (400, "input_unsupported")
