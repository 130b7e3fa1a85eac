"""Tools over HTTP: what a model writes is read back as calls by the format of its chat template, whole and streamed; the choice of a tool
is held by a grammar; thoughts are told from words. Models that know no tools are made to write them by `choice`."""
import json
import os
import re

import pytest

from daemon import DEMO, Daemon, model_path

CHAT = "/v1/chat/completions"
ASK = [{"role": "user", "content": "What is the weather in Paris?"}]
WEATHER = {"type": "function", "function": {"name": "get_weather", "description": "Of a city", "parameters": {
    "type": "object", "properties": {"city": {"enum": ["Paris", "Rome"]}, "days": {"type": "integer", "minimum": 1, "maximum": 9}},
    "required": ["city", "days"]}}}
STOP = {"type": "function", "function": {"name": "stop"}}
TEMPLATE = """{% for m in messages %}<|im_start|>{{ m.role }}
{{ m.content if m.content is defined else '' }}{% for c in m.tool_calls or [] %}<tool_call>{{ c.function | tojson }}</tool_call>{% endfor %}
<|im_end|>
{% endfor %}{% if tools %}{{ tools | length }} tools{% endif %}{% if add_generation_prompt %}<|im_start|>assistant
{% if thinking is defined %}{{ thinking }}{% endif %}{% endif %}"""
FORMATS = {
    "hermes": ("", '<tool_call>{"name": "get_weather", "arguments": {"city": "Rome", "days": 2}}</tool_call>\n'
                   '<tool_call>{"name": "stop", "arguments": {}}</tool_call>'),
    "llama3": ("{# {\"name\": function name, \"parameters\": ... #}",
               '{"name": "get_weather", "parameters": {"city": "Rome", "days": 2}}; {"name": "stop", "parameters": {}}'),
    "mistral": ("{# [TOOL_CALLS] #}", '[TOOL_CALLS][{"name": "get_weather", "arguments": {"city": "Rome", "days": 2}}, {"name": "stop", "arguments": {}}]'),
    "granite": ("{# <|tool_call|> #}", '<|tool_call|>[{"arguments": {"city": "Rome", "days": 2}, "name": "get_weather"}, {"name": "stop"}]'),
}


def make_model(directory, template, special=()):
    """The demo's base with another chat template, and special tokens in the place of some that are never used."""
    os.makedirs(directory)
    for name in os.listdir(model_path("demo")):
        if name not in ("chat_template.jinja", "tokenizer.json"):
            os.symlink(os.path.join(model_path("demo"), name), os.path.join(directory, name))
    with open(os.path.join(model_path("demo"), "tokenizer.json")) as f:
        tokenizer = json.load(f)
    rare = sorted(tokenizer["model"]["vocab"].items(), key=lambda entry: -entry[1])
    for mark, (text, number) in zip(special, rare):
        del tokenizer["model"]["vocab"][text]
        tokenizer["model"]["merges"] = [m for m in tokenizer["model"]["merges"] if text != "".join(m if isinstance(m, list) else m.split(" "))]
        tokenizer["added_tokens"].append({"id": number, "content": mark, "special": True, "single_word": False, "lstrip": False,
                                          "rstrip": False, "normalized": False})
    with open(os.path.join(directory, "tokenizer.json"), "w") as f:
        json.dump(tokenizer, f)
    with open(os.path.join(directory, "chat_template.jinja"), "w") as f:
        f.write(template)
    return directory


@pytest.fixture(scope="module")
def serve(tmp_path_factory):
    """serve(name, template, special tokens): a tenant of a daemon with such a model; one for each name."""
    daemons, tenants = [], {}

    def get(name, template, special=(), *options):
        if name not in tenants:
            path = tmp_path_factory.mktemp("tools")
            daemons.append(Daemon(make_model(path / "model", template, special), path / "data", "--threads", "1", *options))
            tenants[name] = daemons[-1].tenant("acme")
        return tenants[name]

    yield get
    for d in daemons:
        d.stop()


@pytest.fixture(scope="module")
def hermes(serve):
    return serve("hermes", TEMPLATE)


def good(answer):
    assert answer.status == 200, answer
    return answer.json


def refused(answer, code, param, *words):
    assert (answer.status, answer.json["error"]["code"], answer.json["error"]["param"]) == (400, code, param), answer
    assert all(word in answer.json["error"]["message"] for word in words), answer


def gather(tenant, body):
    """The choices of a stream as those of a whole answer, put together as clients do."""
    messages, ends = {}, {}
    *events, last = tenant.events(CHAT, **body)
    assert last == (None, "[DONE]")
    for _, chunk in events:
        for choice in chunk["choices"]:
            assert choice["index"] not in ends
            new = choice["index"] not in messages
            message = messages.setdefault(choice["index"], {"content": None})
            delta = choice["delta"]
            assert ("role" in delta) == new
            for name in ("content", "reasoning_content"):
                if delta.get(name) is not None:
                    message[name] = (message.get(name) or "") + delta[name]
            for call in delta.get("tool_calls", []):
                calls = message.setdefault("tool_calls", [])
                if call["index"] == len(calls):
                    assert set(call) == {"index", "id", "type", "function"} and set(call["function"]) == {"name", "arguments"}
                    calls.append({"id": call["id"], "type": call["type"], "function": dict(call["function"])})
                else:
                    assert call["index"] == len(calls) - 1 and set(call) == {"index", "function"} and set(call["function"]) == {"arguments"}
                    calls[-1]["function"]["arguments"] += call["function"]["arguments"]
            if choice["finish_reason"]:
                assert delta == {} or new
                ends[choice["index"]] = choice["finish_reason"]
    return [{"message": messages[i], "finish_reason": ends[i]} for i in sorted(messages)]


def without_ids(choices):
    """Messages and ends; ids of calls, which differ from answer to answer, are looked at and left out."""
    found = []
    for choice in choices:
        message = {k: v for k, v in choice["message"].items() if k not in ("role", "refusal")}
        ids = [call.pop("id") for call in message.get("tool_calls", [])]
        assert len(set(ids)) == len(ids) and all(re.fullmatch(r"call_[0-9a-f]{24}|[0-9a-f]{9}", i) for i in ids)
        found.append((message, choice["finish_reason"]))
    return found


def both(tenant, **body):
    """The choices of an answer, which are the same whole and streamed."""
    body = {"messages": ASK, "max_tokens": 300, "seed": 1, **body}
    whole = without_ids(good(tenant.post(CHAT, body))["choices"])
    assert without_ids(gather(tenant, body)) == whole
    return whole


def call(name, arguments):
    return {"type": "function", "function": {"name": name, "arguments": arguments}}


CALLS = [call("get_weather", '{"city": "Rome", "days": 2}'), call("stop", "{}")]


# ---- what a model writes is read back ----

@pytest.mark.parametrize("special", [False, True])
@pytest.mark.parametrize("name", FORMATS)
def test_calls_are_read_by_the_format_of_the_template(serve, name, special):
    mark, text = FORMATS[name]
    marks = [m for m in ("<tool_call>", "</tool_call>", "[TOOL_CALLS]", "<|tool_call|>", "<|python_tag|>") if m in text + "<|python_tag|>"]
    tenant = serve(name + str(special), TEMPLATE if name == "hermes" else mark + TEMPLATE.replace("<tool_call>", "("), marks if special else ())
    tools = [WEATHER, STOP]
    if special:  # choices are ordinary text: these marks come by the grammar of calls alone
        [(message, end)] = both(tenant, tools=tools, tool_choice="required", parallel_tool_calls=False, temperature=1)
        assert end == "tool_calls" and message["content"] is None and len(message["tool_calls"]) == 1
        return
    [(message, end)] = both(tenant, tools=tools, choice=[text])
    assert (message, end) == ({"content": None, "tool_calls": CALLS}, "tool_calls")
    if name != "llama3":
        [(message, end)] = both(tenant, tools=tools, choice=["I look.\n\n" + text])
        assert (message, end) == ({"content": "I look.", "tool_calls": CALLS}, "tool_calls")
    for more in ({}, {"tools": []}, {"tools": tools, "tool_choice": "none"}):
        assert both(tenant, choice=[text], **more) == [({"content": text}, "stop")]


def test_what_is_no_call_is_words(hermes):
    for text in ("Hello <tool", "<tool_call>later</tool_call>", '{"name": "stop", "arguments": {}}', " "):
        assert both(hermes, tools=[STOP], choice=[text]) == [({"content": text}, "stop")]


def test_a_call_that_is_cut_short_is_as_far_as_it_came(hermes):
    text = '<tool_call>{"name": "get_weather", "arguments": {"city": "Rome", "days": 2}}</tool_call>'
    seen = set()
    for count in range(1, 60):
        [(message, end)] = both(hermes, tools=[WEATHER], choice=[text], max_tokens=count, temperature=0)
        if end == "tool_calls":
            break
        assert end == "length"
        if "tool_calls" in message:
            [one] = message["tool_calls"]
            assert text[text.index('{"city"'):].startswith(one["function"]["arguments"]) and message["content"] is None
            seen.add(one["function"]["arguments"])
        else:
            assert text.startswith(message["content"])
    assert len(seen) > 5


def test_ids_are_of_the_template_s_kind(serve, hermes):
    mistral = serve("mistralFalse", FORMATS["mistral"][0] + TEMPLATE.replace("<tool_call>", "("))
    for tenant, text, form in ((hermes, FORMATS["hermes"][1], "call_[0-9a-f]{24}"), (mistral, FORMATS["mistral"][1], "[0-9a-f]{9}")):
        body = {"messages": ASK, "tools": [WEATHER, STOP], "choice": [text], "max_tokens": 300, "n": 2}
        ids = [c["id"] for choice in good(tenant.post(CHAT, body))["choices"] for c in choice["message"]["tool_calls"]]
        assert len(set(ids)) == 4 and all(re.fullmatch(form, i) for i in ids)


def test_a_call_and_its_result_go_back_into_the_template(hermes):
    body = {"messages": ASK, "tools": [WEATHER], "tool_choice": "required", "max_tokens": 300}
    message = good(hermes.post(CHAT, body))["choices"][0]["message"]
    result = {"role": "tool", "tool_call_id": message["tool_calls"][0]["id"], "content": "Sunny"}
    good(hermes.post(CHAT, {"messages": [*ASK, message, result], "tools": [WEATHER], "max_tokens": 8}))


def test_log_probabilities_of_calls_are_whole(hermes):
    body = {"messages": ASK, "tools": [WEATHER, STOP], "choice": [FORMATS["hermes"][1]], "max_tokens": 300, "logprobs": True, "temperature": 0}
    whole = good(hermes.post(CHAT, body))["choices"][0]["logprobs"]["content"]
    chunks = [c for _, c in hermes.events(CHAT, **body) if c != "[DONE]"]
    assert [t for c in chunks for t in (c["choices"][0]["logprobs"] or {"content": []})["content"]] == whole
    assert "".join(t["token"] for t in whole) == FORMATS["hermes"][1]


# ---- the choice of a tool ----

def arguments_of(message, name="get_weather"):
    assert message["content"] is None
    for one in message["tool_calls"]:
        yield one["function"]["name"], json.loads(one["function"]["arguments"])


def is_weather(arguments):
    return set(arguments) == {"city", "days"} and arguments["city"] in ("Paris", "Rome") and arguments["days"] in range(1, 10)


@pytest.mark.parametrize("choice, names", [
    ("required", {"get_weather", "stop"}),
    ({"type": "function", "function": {"name": "get_weather"}}, {"get_weather"}),
    ({"type": "function", "function": {"name": "stop"}}, {"stop"}),
    ({"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": [{"type": "function", "function": {"name": "stop"}}]}}, {"stop"}),
])
@pytest.mark.parametrize("model", ["hermes", "demo"])
def test_a_call_that_must_come_is_one_of_the_tools(serve, hermes, model, choice, names):
    """With a model that knows no calls, too."""
    tenant = hermes if model == "hermes" else serve("demo", TEMPLATE.replace("<tool_call>", "("))
    seen = set()
    for seed in range(6):
        [(message, end)] = both(tenant, tools=[WEATHER, STOP], tool_choice=choice, temperature=1, seed=seed, max_tokens=600)
        if end == "length":
            continue
        assert end == "tool_calls"
        for name, arguments in arguments_of(message):
            assert is_weather(arguments) if name == "get_weather" else arguments == {}
            seen.add(name)
    assert seen <= names and (seen == names or len(names) > 1)


def test_one_call_at_a_time(hermes):
    for seed in range(4):
        [(message, end)] = both(hermes, tools=[WEATHER, STOP], tool_choice="required", parallel_tool_calls=False, temperature=1, seed=seed)
        assert end == "tool_calls" and len(message["tool_calls"]) == 1
    text = FORMATS["hermes"][1]
    [(message, _)] = both(hermes, tools=[WEATHER, STOP], parallel_tool_calls=False, choice=[text])
    assert len(message["tool_calls"]) == 2  # what the client asks for by name is not changed


def test_strict_tools_are_held_where_they_are_called(serve):
    """A bias makes the model begin a call, which it would not know to go on with."""
    tenant = serve("hermesTrue", TEMPLATE, ("<tool_call>", "</tool_call>", "<|python_tag|>"))
    [mark] = good(tenant.post("/tokenize", {"text": "<tool_call>", "add_special_tokens": False}))["tokens"]
    strict = {"type": "function", "function": {**WEATHER["function"], "strict": True}}
    body = {"temperature": 1, "logit_bias": {mark: 100}, "parallel_tool_calls": False}
    for seed in range(4):
        [(message, end)] = both(tenant, tools=[strict], seed=seed, **body)
        [(name, arguments)] = arguments_of(message)
        assert end == "tool_calls" and name == "get_weather" and is_weather(arguments)
    [(message, end)] = both(tenant, tools=[WEATHER], **body)  # held to be a call, and to no schema
    assert end == "length" or not is_weather(json.loads(message["tool_calls"][0]["function"]["arguments"]))


def test_an_answer_in_a_form_or_a_call(hermes):
    """The form is that of what is no call."""
    form = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "object", "properties": {"a": {"enum": [1]}}, "required": ["a"]}}}
    seen = set()
    for seed in range(8):
        [(message, end)] = both(hermes, tools=[STOP], response_format=form, temperature=1.5, seed=seed)
        if "tool_calls" in message:
            assert end == "tool_calls" and {name for name, _ in arguments_of(message)} == {"stop"}
        else:
            assert end == "stop" and json.loads(message["content"]) == {"a": 1}
        seen.add(end)
    assert seen


BAD = [
    ({"tools": [{"type": "web_search"}]}, "unsupported_value", "tools", "web_search"),
    ({"tools": [{"type": "function"}]}, "missing_field", "tools"),
    ({"tools": [{"type": "function", "function": {}}]}, "unsupported_value", "tools"),
    ({"tools": [{"type": "function", "function": {"name": "a b"}}]}, "unsupported_value", "tools"),
    ({"tools": [{"type": "function", "function": {"name": 129 * "a"}}]}, "unsupported_value", "tools"),
    ({"tools": [{"type": "function", "function": {"name": "a\0b"}}]}, "out_of_range", "name"),
    ({"tools": [{"type": "function", "function": {"name": "f", "parameters": []}}]}, "invalid_type", "parameters"),
    ({"tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "string"}}}]}, "unsupported_value", "tools"),
    ({"tools": [{"type": "function", "function": {"name": "f", "strict": 1}}]}, "invalid_type", "strict"),
    ({"tools": 129 * [STOP]}, "out_of_range", "tools"),
    ({"tools": "a"}, "invalid_type", "tools"),
    ({"tool_choice": "required"}, "unsupported_value", "tool_choice", "\"tools\""),
    ({"tool_choice": "maybe"}, "unsupported_value", "tool_choice", "maybe"),
    ({"tool_choice": 5}, "invalid_type", "tool_choice"),
    ({"tools": [STOP], "tool_choice": {}}, "unsupported_value", "tool_choice"),
    ({"tools": [STOP], "tool_choice": {"type": "function", "function": {"name": "other"}}}, "unsupported_value", "tool_choice", "other"),
    ({"tools": [STOP], "tool_choice": {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": []}}}, "missing_field", "tool_choice"),
    ({"tools": [STOP], "parallel_tool_calls": 1}, "invalid_type", "parallel_tool_calls"),
    ({"tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object", "not": {}}}}], "tool_choice": "required"},
     "schema_unsupported", "tools", 'tool "f"', '"not"'),
    ({"tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {"a": False}, "required": ["a"]}}}],
      "tool_choice": "required"}, "schema_unsatisfiable", "tools"),
]


@pytest.mark.parametrize("body, code, param, words", [(b, c, p, w) for b, c, p, *w in BAD])
def test_tools_that_are_refused(hermes, body, code, param, words):
    for stream in (False, True):
        refused(hermes.post(CHAT, {"messages": ASK, "max_tokens": 4, "stream": stream, **body}), code, param, *words)


def test_a_schema_that_is_not_held_is_not_looked_at(hermes):
    odd = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "not": {}}}}
    good(hermes.post(CHAT, {"messages": ASK, "tools": [odd], "max_tokens": 2}))


# ---- thoughts ----

@pytest.fixture(scope="module")
def thinker(serve):
    return serve("thinker", "{# <think></think> #}" + TEMPLATE)


def test_thoughts_are_told_from_words(thinker, hermes):
    text = "<think>\nIt rains.\n</think>\n\nTake an umbrella."
    assert both(thinker, choice=[text])[0][0]["reasoning_content"] == "It rains."
    assert both(hermes, choice=[text]) == [({"content": text}, "stop")]
    call_text = "<think>Rome?</think>\n" + FORMATS["hermes"][1]
    assert both(thinker, tools=[WEATHER, STOP], choice=[call_text]) == [
        ({"content": None, "reasoning_content": "Rome?", "tool_calls": CALLS}, "tool_calls")]


def test_thoughts_that_the_prompt_began(thinker):
    for text, message in (("Hm.\n</think>\n\nYes.", {"content": "Yes.", "reasoning_content": "Hm."}), ("Hm", {"content": None, "reasoning_content": "Hm"})):
        body = {"messages": ASK, "chat_template_kwargs": {"thinking": "<think>\n"}, "max_tokens": 100, "temperature": 1}
        found = good(thinker.post(CHAT, {**body, "grammar": "root ::= " + json.dumps(text), "seed": 1}))["choices"][0]["message"]
        # a form is that of what comes behind the thoughts, which are free
        assert "reasoning_content" in found and (found["content"] is None or found["content"] == text)
    [(message, end)] = both(thinker, chat_template_kwargs={"thinking": "<think>\n"}, max_tokens=20, ignore_eos=True)
    assert end == "length" and message["content"] is None and message["reasoning_content"]
    over = {"thinking": "<think>\n\n</think>\n\n"}
    assert both(thinker, chat_template_kwargs=over, choice=["Yes."]) == [({"content": "Yes."}, "stop")]


def test_thoughts_are_counted(thinker, hermes):
    body = {"messages": ASK, "chat_template_kwargs": {"thinking": "<think>\n"}, "max_tokens": 20, "ignore_eos": True, "seed": 3}
    usage = good(thinker.post(CHAT, body))["usage"]
    assert usage["completion_tokens_details"] == {"reasoning_tokens": 20}
    *_, (_, last), _ = thinker.events(CHAT, **body, stream_options={"include_usage": True})
    assert last["usage"]["completion_tokens_details"] == {"reasoning_tokens": 20}
    assert good(thinker.post(CHAT, {**body, "chat_template_kwargs": {"thinking": "<think></think>"}}))["usage"]["completion_tokens_details"] == {
        "reasoning_tokens": 0}
    assert "completion_tokens_details" not in good(hermes.post(CHAT, body))["usage"]


# ---- options ----

def test_options_say_how_answers_are_read(serve):
    text = "<think>a</think>" + FORMATS["mistral"][1]
    template = "{# <think></think> #}" + TEMPLATE
    off = serve("off", template, (), "--tool-format", "off", "--reasoning-format", "off")
    assert both(off, tools=[WEATHER, STOP], choice=[text]) == [({"content": text}, "stop")]
    mistral = serve("option", template, (), "--tool-format", "mistral")
    assert both(mistral, tools=[WEATHER, STOP], choice=[text])[0][0]["tool_calls"] == CALLS


@pytest.mark.parametrize("name, value, words", [("--tool-format", "none", "auto, off, mistral-named"), ("--reasoning-format", "on", "auto or off")])
def test_options_that_are_refused(tmp_path, name, value, words):
    d = Daemon(model_path("demo"), tmp_path / "data", name, value, wait=False)
    assert d.process.wait(20) == 2 and words in d.read_log()


def test_a_template_that_knows_no_calls_is_told_of_no_words(daemon):
    """It would read words that are not there; the call itself it cannot write."""
    acme = daemon.tenant("plain")
    calls = [{"id": "c", **call("stop", "{}")}]
    for content in ({}, {"content": None}):
        messages = [*ASK, {"role": "assistant", **content, "tool_calls": calls}, {"role": "tool", "tool_call_id": "c", "content": "Sunny"}]
        empty = [*ASK, {"role": "assistant", "content": ""}, {"role": "tool", "content": "Sunny"}]
        answers = [good(acme.post(CHAT, {"messages": m, "max_tokens": 8, "temperature": 0})) for m in (messages, empty)]
        assert answers[0]["choices"] == answers[1]["choices"] and answers[0]["usage"]["prompt_tokens"] == answers[1]["usage"]["prompt_tokens"]
