"""POST /v1/responses: a chat as a list of items, whole and as events; what it shares with /v1/chat/completions is the same text for
the same seed. As docs/http-api.md says. Models that know no tools are made to write calls by `choice`."""
import concurrent.futures
import json
import os
import re

import pytest

from client import eventually
from daemon import DEMO, ROOT, Daemon
from test_residency import Held
from test_tools import FORMATS, TEMPLATE, good, make_model, refused

CHAT, RESPONSES = "/v1/chat/completions", "/v1/responses"
ASK = [{"role": "user", "content": "What is the weather in Paris?"}]
WEATHER = {"type": "function", "name": "get_weather", "description": "Of a city", "parameters": {
    "type": "object", "properties": {"city": {"enum": ["Paris", "Rome"]}, "days": {"type": "integer", "minimum": 1, "maximum": 9}},
    "required": ["city", "days"]}}
STOP = {"type": "function", "name": "stop"}
TWO = FORMATS["hermes"][1]
OBJECT = ["id", "object", "created_at", "status", "completed_at", "error", "incomplete_details", "model", "output", "usage", "background",
          "instructions", "max_output_tokens", "max_tool_calls", "metadata", "parallel_tool_calls", "previous_response_id", "reasoning",
          "service_tier", "store", "text", "tool_choice", "tools", "top_logprobs", "truncation", "user", "temperature", "top_p"]


@pytest.fixture(scope="module")
def thinker(tmp_path_factory):
    """The demo's base with a template that has tools and thoughts."""
    path = tmp_path_factory.mktemp("responses")
    d = Daemon(make_model(path / "model", "{# <think></think> #}" + TEMPLATE.replace(
        "{{ m.content if", "{% if m.reasoning_content %}<think>{{ m.reasoning_content }}</think>{% endif %}{{ m.content if")), path / "data", "--threads", "1")
    tenant = d.tenant("acme")
    assert tenant.upload(os.path.join(DEMO, "adapters", "voice"), name="voice").status == 201
    yield tenant
    d.stop()


def plain(output):
    """Items without what differs from answer to answer; ids are looked at."""
    found, ids = [], []
    for item in output:
        item = json.loads(json.dumps(item))
        prefix = {"reasoning": "rs", "message": "msg", "function_call": "fc"}[item["type"]]
        ids.append(item.pop("id"))
        assert re.fullmatch(prefix + "_[0-9a-f]{24}", ids[-1])
        if item["type"] == "function_call":
            ids.append(item.pop("call_id"))
        found.append(item)
    assert len(set(ids)) == len(ids)
    return found


def gather(tenant, **body):
    """A stream, held to the order that its events have to be in: its last response, and the texts of the pieces by item."""
    events = list(tenant.events(RESPONSES, **body))
    assert [event["sequence_number"] for _, event in events] == list(range(len(events)))
    assert all(name == event["type"] for name, event in events)
    events = [event for _, event in events]
    assert [e["type"] for e in events[:2]] == ["response.created", "response.in_progress"]
    for event in events[:2]:
        assert event["response"]["status"] == "in_progress" and event["response"]["output"] == [] and event["response"]["usage"] is None
    last = events[-1]["response"]
    assert events[-1]["type"] == "response." + last["status"] and {e["response"]["id"] for e in (*events[:2], events[-1])} == {last["id"]}
    items, at = [], iter(events[2:-1])
    for event in at:
        items.append(gather_item(event, at, len(items)))
    assert items == last["output"]
    return last


def gather_item(added, events, index):
    """One item from its announcement to its end."""
    item = added["item"]
    assert (added["type"], added["output_index"], item["status"]) == ("response.output_item.added", index, "in_progress")
    kind = {"message": "output_text", "reasoning": "reasoning_text", "function_call": "function_call_arguments"}[item["type"]]
    call = item["type"] == "function_call"
    assert item.get("arguments", "") == "" and item.get("content", []) == []
    place = {"item_id": item["id"], "output_index": index, **({} if call else {"content_index": 0})}

    def following(event, name):
        assert event["type"] == "response." + name and {k: event[k] for k in place} == place, event
        return event

    text, logprobs = "", []
    if not call:
        part = following(next(events), "content_part.added")["part"]
        assert part["type"] == kind and part["text"] == ""
    for event in events:
        if not event["type"].endswith(".delta"):
            break
        assert following(event, kind + ".delta")["delta"]
        text += event["delta"]
        logprobs += event.get("logprobs", [])
    assert following(event, kind + ".done")["arguments" if call else "text"] == text
    if item["type"] == "message":
        assert event["logprobs"] == logprobs
    if not call:
        part = following(next(events), "content_part.done")["part"]
        assert (part["type"], part["text"], part.get("logprobs", [])) == (kind, text, logprobs)
    done = next(events)
    assert (done["type"], done["output_index"]) == ("response.output_item.done", index)
    assert done["item"] == {**item, "status": done["item"]["status"], **({"arguments": text} if call else {"content": [part]})}
    return done["item"]


def both(tenant, **body):
    """An answer, which is the same whole and streamed."""
    body = {"input": ASK, "max_output_tokens": 300, "seed": 1, **body}
    whole, streamed = good(tenant.post(RESPONSES, body)), gather(tenant, **body)
    for key in OBJECT:
        if key in ("id", "created_at", "completed_at"):
            continue
        if key == "output":
            assert plain(whole[key]) == plain(streamed[key])
        elif key == "usage":
            assert {k: v for k, v in whole[key].items() if k != "input_tokens_details"} == {k: v for k, v in streamed[key].items() if k != "input_tokens_details"}
        else:
            assert whole[key] == streamed[key], key
    assert list(whole) == list(streamed) == OBJECT
    return whole


def text_of(response):
    return "".join(part["text"] for item in response["output"] if item["type"] == "message" for part in item["content"])


def message(text, status="completed"):
    return {"type": "message", "status": status, "role": "assistant",
            "content": [{"type": "output_text", "annotations": [], "logprobs": [], "text": text}]}


def call(name, arguments, status="completed"):
    return {"type": "function_call", "status": status, "name": name, "arguments": arguments}


def thoughts(text, status="completed"):
    return {"type": "reasoning", "summary": [], "content": [{"type": "reasoning_text", "text": text}], "status": status}


CALLS = [call("get_weather", '{"city": "Rome", "days": 2}'), call("stop", "{}")]


# ---- what it shares with chats ----

@pytest.mark.parametrize("model", [None, "voice"])
def test_it_says_what_a_chat_would_say(thinker, model):
    some = {"model": model, "seed": 7, "temperature": 1.1, "top_p": 0.9, "presence_penalty": 0.5, "stop": ["\n\n"]}
    chat = good(thinker.post(CHAT, {**some, "messages": [{"role": "system", "content": "Be brief."}, *ASK], "max_tokens": 24}))
    found = both(thinker, **some, instructions="Be brief.", max_output_tokens=24)
    assert text_of(found) == chat["choices"][0]["message"]["content"]
    assert found["usage"]["input_tokens"] == chat["usage"]["prompt_tokens"] and found["usage"]["output_tokens"] == chat["usage"]["completion_tokens"]
    assert found["usage"]["total_tokens"] == chat["usage"]["total_tokens"] and found["model"] == chat["model"]
    assert found["usage"]["output_tokens_details"] == {"reasoning_tokens": 0}


def test_the_object_is_that_of_openai(thinker):
    found = both(thinker, input="Hi", choice=["Hello."], metadata={"a": "b"}, user="u", store=True, reasoning={"effort": "low", "summary": "auto"},
                 text={"format": {"type": "text"}, "verbosity": "low"}, tools=[STOP], parallel_tool_calls=True, truncation="auto", service_tier="flex",
                 temperature=0.5, top_p=0.25, background=False, previous_response_id=None)
    assert re.fullmatch("resp_[0-9a-f]{24}", found["id"]) and found["object"] == "response" and found["status"] == "completed"
    assert found["created_at"] <= found["completed_at"]
    assert plain(found["output"]) == [message("Hello.")]
    wanted = {"error": None, "incomplete_details": None, "background": False, "instructions": None, "max_output_tokens": 300, "max_tool_calls": None,
              "metadata": {"a": "b"}, "parallel_tool_calls": True, "previous_response_id": None, "reasoning": {"effort": "low", "summary": None},
              "service_tier": "default", "store": False, "text": {"format": {"type": "text"}, "verbosity": "low"}, "tool_choice": "auto", "tools": [STOP],
              "top_logprobs": 0, "truncation": "disabled", "user": "u", "temperature": 0.5, "top_p": 0.25}
    assert {k: found[k] for k in wanted} == wanted


def test_an_answer_that_is_cut_short_is_incomplete(thinker):
    found = both(thinker, input="Hi", max_output_tokens=5, ignore_eos=True)
    assert (found["status"], found["incomplete_details"], found["completed_at"]) == ("incomplete", {"reason": "max_output_tokens"}, None)
    assert [item["status"] for item in found["output"]] == ["incomplete"] and found["usage"]["output_tokens"] == 5
    assert plain(both(thinker, tools=[STOP], choice=["x" + TWO], max_output_tokens=1)["output"]) == [message("x", "incomplete")]


def test_an_answer_without_anything_is_an_empty_message(thinker):
    assert plain(both(thinker, choice=["No."], stop=["No"])["output"]) == [message("")]


# ---- items ----

def test_the_output_is_in_the_order_in_which_it_was_written(thinker):
    tools = [{**WEATHER, "strict": False}, STOP]
    for text, items in (
        (TWO, CALLS),
        ("I look.\n\n" + TWO, [message("I look."), *CALLS]),
        ("<think>\nRome?\n</think>\n\n" + TWO, [thoughts("Rome?"), *CALLS]),
        ("<think>Hm</think>I look." + TWO + "\n\nDone.", [thoughts("Hm"), message("I look."), *CALLS, message("Done.")]),
        (TWO.replace("\n", " and "), [CALLS[0], message("and"), CALLS[1]]),
        ("<think>\nIt rains.\n</think>\n\nTake an umbrella.", [thoughts("It rains."), message("Take an umbrella.")]),
        ("<tool_call>later</tool_call>", [message("<tool_call>later</tool_call>")]),
    ):
        assert plain(both(thinker, tools=tools, choice=[text])["output"]) == items


def test_every_cut_of_an_answer_is_the_same_whole_and_streamed(thinker):
    text = "<think>Hm</think>I look." + TWO
    statuses = set()
    for count in range(1, 220, 4):
        found = both(thinker, tools=[WEATHER, STOP], choice=[text], max_output_tokens=count, temperature=0)
        statuses |= {(item["type"], item["status"]) for item in found["output"]}
        assert all(item["status"] == "completed" for item in found["output"][:-1])
        if found["status"] == "completed":
            break
    assert found["status"] == "completed" and {("reasoning", "incomplete"), ("message", "incomplete"), ("function_call", "incomplete")} <= statuses


def test_log_probabilities_are_those_of_the_words(thinker):
    body = {"choice": ["<think>Hm</think>I look." + TWO + "\nDone."], "tools": [WEATHER, STOP], "temperature": 0}
    found = both(thinker, **body, include=["message.output_text.logprobs"], top_logprobs=2)
    words = [part for item in found["output"] if item["type"] == "message" for part in item["content"]]
    for part, text in zip(words, ("I look.", "Done."), strict=True):
        assert part["text"] == text and text in "".join(entry["token"] for entry in part["logprobs"])
        assert all(len(entry["top_logprobs"]) == 2 and set(entry) == {"token", "logprob", "bytes", "top_logprobs"} for entry in part["logprobs"])
    chat = good(thinker.post(CHAT, {"messages": ASK, "logprobs": True, "top_logprobs": 2, "max_tokens": 300, "temperature": 0, "choice": ["Hello."]}))
    [item] = both(thinker, include=["message.output_text.logprobs"], top_logprobs=2, temperature=0, choice=["Hello."])["output"]
    assert item["content"][0]["logprobs"] == chat["choices"][0]["logprobs"]["content"]


def test_thoughts_are_counted(thinker):
    usage = both(thinker, chat_template_kwargs={"thinking": "<think>\n"}, max_output_tokens=20, ignore_eos=True)["usage"]
    assert usage["output_tokens_details"] == {"reasoning_tokens": 20}


# ---- the input ----

NESTED = {"type": "function", "function": {"name": "stop"}}
HISTORIES = [
    ("Hi", [{"role": "user", "content": "Hi"}]),
    ([{"role": "user", "content": [{"type": "input_text", "text": "H"}, {"type": "input_text", "text": "i"}]}], [{"role": "user", "content": "Hi"}]),
    ([{"type": "message", "role": "developer", "content": "Be good"}, {"type": "message", "role": "user", "content": "Hi"}],
     [{"role": "developer", "content": "Be good"}, {"role": "user", "content": "Hi"}]),
    ([*ASK, {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "abc"},
      {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed", "content": [{"type": "output_text", "text": "Rain", "annotations": [], "logprobs": []}]},
      {"role": "user", "content": "And Rome?"}],
     [*ASK, {"role": "assistant", "content": "Rain"}, {"role": "user", "content": "And Rome?"}]),
    ([*ASK, {"type": "reasoning", "summary": [], "content": [{"type": "reasoning_text", "text": "Hm"}]}, {"type": "message", "role": "assistant", "content": "Rain"}],
     [*ASK, {"role": "assistant", "reasoning_content": "Hm", "content": "Rain"}]),
    ([*ASK, {"role": "assistant", "content": "I look."}, {"type": "function_call", "call_id": "c1", "name": "stop", "arguments": "{}", "id": "fc_1", "status": "completed"},
      {"type": "function_call", "call_id": "c2", "name": "stop", "arguments": "{\"a\": 1}"},
      {"type": "function_call_output", "call_id": "c1", "output": "Sunny"},
      {"type": "function_call_output", "call_id": "c2", "output": [{"type": "input_text", "text": "Wet"}]}],
     [*ASK, {"role": "assistant", "content": "I look.", "tool_calls": [{"id": "c1", **NESTED, "function": {"name": "stop", "arguments": "{}"}},
                                                                      {"id": "c2", **NESTED, "function": {"name": "stop", "arguments": "{\"a\": 1}"}}]},
      {"role": "tool", "tool_call_id": "c1", "content": "Sunny"}, {"role": "tool", "tool_call_id": "c2", "content": "Wet"}]),
    ([*ASK, {"type": "reasoning", "summary": [{"type": "summary_text", "text": "S"}], "content": [{"type": "reasoning_text", "text": "Hm"}]},
      {"type": "function_call", "call_id": "c1", "name": "stop", "arguments": "{}"}, {"type": "function_call_output", "call_id": "c1", "output": "5"}],
     [*ASK, {"role": "assistant", "reasoning_content": "Hm", "tool_calls": [{"id": "c1", **NESTED, "function": {"name": "stop", "arguments": "{}"}}]},
      {"role": "tool", "tool_call_id": "c1", "content": "5"}]),
    ([{"role": "assistant", "content": "A"}, {"role": "assistant", "content": "B"}, *ASK], [{"role": "assistant", "content": "A"}, {"role": "assistant", "content": "B"}, *ASK]),
]


@pytest.mark.parametrize("items, messages", HISTORIES)
def test_items_become_the_messages_of_a_chat(thinker, items, messages):
    """The same prompt: as many tokens, and the answer that the chat gets with the same seeds."""
    for seed in range(3):
        some = {"temperature": 1.5, "seed": seed, "ignore_eos": True}
        chat = good(thinker.post(CHAT, {"messages": messages, "tools": [NESTED], "max_tokens": 12, **some}))
        found = good(thinker.post(RESPONSES, {"input": items, "tools": [STOP], "max_output_tokens": 12, **some}))
        assert found["usage"]["input_tokens"] == chat["usage"]["prompt_tokens"]
        assert text_of(found) == (chat["choices"][0]["message"]["content"] or "")


def test_what_was_answered_goes_back_as_it_is(thinker):
    body = {"tools": [WEATHER, STOP], "temperature": 1}
    first = both(thinker, **body, choice=["<think>Hm</think>I look." + TWO])
    results = [{"type": "function_call_output", "call_id": item["call_id"], "output": "Sunny"} for item in first["output"] if item["type"] == "function_call"]
    second = both(thinker, **body, input=[*ASK, *first["output"], *results], max_output_tokens=4)
    chat = [*ASK, {"role": "assistant", "reasoning_content": "Hm", "content": "I look.", "tool_calls": [
        {"id": item["call_id"], "type": "function", "function": {"name": item["name"], "arguments": item["arguments"]}}
        for item in first["output"] if item["type"] == "function_call"]}, *({"role": "tool", "tool_call_id": r["call_id"], "content": "Sunny"} for r in results)]
    tools = [{"type": "function", "function": {k: v for k, v in tool.items() if k != "type"}} for tool in (WEATHER, STOP)]
    assert good(thinker.post(CHAT, {"messages": chat, "tools": tools, "max_tokens": 1}))["usage"]["prompt_tokens"] == second["usage"]["input_tokens"]


# ---- tools and forms ----

@pytest.mark.parametrize("choice, names", [
    ("required", {"get_weather", "stop"}), ({"type": "function", "name": "stop"}, {"stop"}),
    ({"type": "allowed_tools", "mode": "required", "tools": [{"type": "function", "name": "stop"}]}, {"stop"}),
])
def test_a_call_that_must_come(thinker, choice, names):
    for seed in range(3):
        found = both(thinker, tools=[WEATHER, STOP], tool_choice=choice, temperature=1, seed=seed, parallel_tool_calls=False, max_output_tokens=400)
        if found["status"] == "completed":
            [item] = [item for item in found["output"] if item["type"] != "reasoning"]
            assert item["name"] in names and found["tool_choice"] == choice
            arguments = json.loads(item["arguments"])
            assert arguments == {} if item["name"] == "stop" else set(arguments) == {"city", "days"}


SCHEMA = {"type": "object", "properties": {"a": {"enum": [1, 2]}, "b": {"type": "boolean"}}, "required": ["a", "b"], "additionalProperties": False}


def test_the_form_of_a_text(thinker):
    form = {"type": "json_schema", "name": "x", "schema": SCHEMA, "strict": True}
    for seed in range(4):
        found = both(thinker, text={"format": form}, temperature=1, seed=seed)
        assert found["text"] == {"format": form}
        if found["status"] == "completed":
            value = json.loads(text_of(found))
            assert set(value) == {"a", "b"} and value["a"] in (1, 2) and isinstance(value["b"], bool)
    found = both(thinker, text={"format": {"type": "json_object"}}, temperature=1, max_output_tokens=200)
    assert text_of(found).lstrip()[:1] in ("{", "")


# ---- what is refused ----

BAD = [
    ({"input": None}, "input_required", "input"),
    ({"input": 5}, "invalid_type", "input"),
    ({"input": []}, "out_of_range", "input"),
    ({"input": ["Hi"]}, "invalid_type", "input"),
    ({"input": [{"type": "item_reference", "id": "msg_1"}]}, "unsupported_value", "input", "item_reference"),
    ({"input": [{"type": "web_search_call", "id": "ws_1"}]}, "unsupported_value", "input", "web_search_call"),
    ({"input": [{"type": 5}]}, "invalid_type", "type"),
    ({"input": [{"role": "user"}]}, "missing_field", "input"),
    ({"input": [{"content": "Hi"}]}, "missing_field", "input"),
    ({"input": [{"role": "king", "content": "Hi"}]}, "unsupported_value", "input", "king"),
    ({"input": [{"role": "user", "content": 5}]}, "invalid_type", "input"),
    ({"input": [{"role": "user", "content": [5]}]}, "invalid_type", "input"),
    ({"input": [{"role": "user", "content": [{"type": "input_image", "image_url": "data:"}]}]}, "unsupported_value", "input", "input_image"),
    ({"input": [{"role": "user", "content": "Hi", "more": 1}]}, "unknown_field", "more"),
    ({"input": [{"type": "function_call", "name": "f", "arguments": "{}"}]}, "missing_field", "input"),
    ({"input": [{"type": "function_call", "name": "f", "call_id": "c", "arguments": {}}]}, "invalid_type", "input"),
    ({"input": [{"type": "function_call_output", "call_id": "c"}]}, "missing_field", "input"),
    ({"input": [{"type": "function_call_output", "call_id": "c", "output": [{"type": "input_file"}]}]}, "unsupported_value", "input", "input_file"),
    ({"input": [{"type": "reasoning", "content": [{"type": "output_text", "text": "x"}]}]}, "unsupported_value", "input"),
    ({"instructions": 5}, "invalid_type", "instructions"),
    ({"previous_response_id": "resp_1"}, "unsupported_value", "previous_response_id"),
    ({"conversation": "conv_1"}, "unsupported_value", "conversation"),
    ({"background": True}, "unsupported_value", "background"),
    ({"prompt": {"id": "pmpt_1"}}, "unsupported_value", "prompt"),
    ({"context_management": [{"type": "compaction"}]}, "unsupported_value", "context_management"),
    ({"tools": [{"type": "web_search"}]}, "unsupported_value", "tools", "web_search"),
    ({"tools": [{"type": "mcp", "server_label": "a"}]}, "unsupported_value", "tools", "mcp"),
    ({"tools": [{"type": "function"}]}, "unsupported_value", "tools"),
    ({"tools": 5}, "invalid_type", "tools"),
    ({"tools": [5]}, "invalid_type", "tools"),
    ({"tools": [STOP], "tool_choice": {"type": "web_search"}}, "unsupported_value", "tool_choice"),
    ({"tools": [STOP], "tool_choice": {"type": "function", "name": "other"}}, "unsupported_value", "tool_choice", "other"),
    ({"tool_choice": "required"}, "unsupported_value", "tool_choice"),
    ({"text": "x"}, "invalid_type", "text"),
    ({"text": {"more": 1}}, "unknown_field", "more"),
    ({"text": {"format": "json"}}, "invalid_type", "format"),
    ({"text": {"format": {"type": "xml"}}}, "unsupported_value", "text", "xml"),
    ({"text": {"format": {"type": "json_schema", "name": "x"}}}, "missing_field", "text"),
    ({"text": {"format": {"type": "json_schema", "name": "x", "schema": {"not": {}}}}}, "schema_unsupported", "text", '"not"'),
    ({"text": {"format": {"type": "json_object"}}, "regex": "a"}, "field_conflict", "text"),
    ({"text": {"verbosity": 5}}, "invalid_type", "verbosity"),
    ({"reasoning": "low"}, "invalid_type", "reasoning"),
    ({"reasoning": {"mode": "pro"}}, "unsupported_value", "mode"),
    ({"include": "x"}, "invalid_type", "include"),
    ({"include": [1]}, "invalid_type", "include"),
    ({"include": ["everything"]}, "unsupported_value", "include", "everything"),
    ({"top_logprobs": 21}, "out_of_range", "top_logprobs"),
    ({"truncation": "middle"}, "unsupported_value", "truncation", "middle"),
    ({"metadata": "a"}, "invalid_type", "metadata"),
    ({"metadata": {"a": 5}}, "invalid_type", "metadata"),
    ({"metadata": {str(i): "" for i in range(17)}}, "out_of_range", "metadata"),
    ({"metadata": {"a" * 65: ""}}, "out_of_range", "metadata"),
    ({"metadata": {"a": "b" * 2049}}, "out_of_range", "metadata"),
    ({"max_output_tokens": -1}, "out_of_range", "max_output_tokens"),
    ({"temperature": 101}, "out_of_range", "temperature"),
    ({"n": 2}, "unknown_field", "n"),
    ({"messages": ASK}, "unknown_field", "messages"),
    ({"bogus": 1}, "unknown_field", "bogus"),
    ({"input": "Hi " * 4000}, "context_length_exceeded", "input", "maximum context length"),
]


@pytest.mark.parametrize("body, code, param, words", [(b, c, p, w) for b, c, p, *w in BAD])
def test_bodies_that_are_refused(thinker, body, code, param, words):
    for stream in (False, True):
        refused(thinker.post(RESPONSES, {"input": "Hi", "max_output_tokens": 2, "stream": stream, **body}), code, param, *words)


def test_fields_of_no_account(thinker):
    with open(os.path.join(ROOT, "server", "openai", "openai_fields.c")) as f:
        ignored = re.findall(r'^    \{"(\w+)", OPENAI_(?:ALL|TALK|RESPONSES), IGNORED\}', f.read(), re.M)
    body = {"input": "Hi", "max_output_tokens": 8, "temperature": 0}
    wanted = text_of(good(thinker.post(RESPONSES, body)))
    assert len(ignored) > 30
    for value in (None, 1, "x", [1], {"a": {"b": []}}, False):
        assert text_of(good(thinker.post(RESPONSES, {**body, **dict.fromkeys(ignored, value)}))) == wanted


def test_nothing_is_stored(thinker):
    found = good(thinker.post(RESPONSES, {"input": "Hi", "max_output_tokens": 2, "store": True}))
    assert found["store"] is False
    for answer in (thinker.get(f"{RESPONSES}/{found['id']}"), thinker.get(f"{RESPONSES}/{found['id']}/input_items"), thinker.delete(f"{RESPONSES}/{found['id']}")):
        assert answer.status == 404 and answer.code == "not_found"


def test_it_is_the_tenant_s_as_all_else(daemon):
    refused_key = daemon.anonymous().post(RESPONSES, {"input": "Hi"})
    assert (refused_key.status, refused_key.json["error"]["code"]) == (401, "invalid_api_key")
    one = daemon.tenant("of-one")
    answer = one.post(RESPONSES, {"input": "Hi", "model": "nobody"})
    assert (answer.status, answer.json["error"]["code"]) == (404, "model_not_found")
    good(one.post(RESPONSES, {"input": "Hi", "max_output_tokens": 2, "ignore_eos": True}))
    [row] = good(one.get("/usage"))["data"]
    assert row["requests"] == 2 and row["completion_tokens"] == 2


def test_what_an_answer_repeats_counts_as_memory_of_bodies(start):
    """As long as the request is there: long descriptions of tools, which the demo's template does not read, fill a tenant's share while an
    adapter is loaded."""
    d = start("demo")
    acme, other = d.tenant("acme"), d.tenant("other")
    assert acme.upload(os.path.join(DEMO, "adapters", "voice"), name="slow").status == 201
    [slow] = [path for path in d.files() if os.path.getsize(os.path.join(d.data, path)) > 10000]
    d.stop()
    d = start("demo", d.data)
    acme, other = d.client(acme.key), d.client(other.key)
    try:
        held = Held(os.path.join(d.data, slow))
    except OSError as error:
        pytest.skip(f"this file system has no leases: {error}")
    body = {"input": "Hi", "tools": [{**STOP, "description": 900000 * "x"}], "max_output_tokens": 1}
    with concurrent.futures.ThreadPoolExecutor(100) as pool:
        waiting = [pool.submit(acme.post, RESPONSES, {**body, "model": "slow"}) for _ in range(90)]
        eventually(lambda: any(w.done() for w in waiting))
        good(other.post(RESPONSES, body))
        held.let_go()
        answers = [w.result() for w in waiting]
    assert {(a.status, a.code) for a in answers} == {(200, None), (429, "rate_limit_exceeded")}
    assert 50 < sum(a.status == 200 for a in answers) <= (64 << 20) // 900000, "64 MiB of a tenant"
    good(acme.post(RESPONSES, {**body, "model": "slow"}))


def test_a_stream_that_the_daemon_ends_has_failed(start):
    d = start("demo")
    tenant = d.tenant("acme")
    events = tenant.events(RESPONSES, input="Hi", ignore_eos=True, max_output_tokens=900)
    seen = [next(events) for _ in range(4)]
    d.process.send_signal(15)
    d.process.send_signal(15)
    seen += events
    name, last = seen[-1]
    if last["response"]["status"] != "completed" and last["response"]["status"] != "incomplete":
        assert name == last["type"] == "response.failed" and last["response"]["error"]["code"] == "server_error"
        assert last["response"]["error"]["message"].startswith("shutting_down: ") and last["response"]["output"][0]["status"] == "incomplete"
