"""POST /train/preview: what of an example is learnt."""
import json

import pytest

from client import read
from daemon import DEMO


def text(shown, learnt=None, pieces="pieces"):
    return "".join(p["text"] for p in shown[pieces] if learnt is None or p["learnt"] == learnt)


@pytest.fixture(scope="module")
def acme(daemon):
    return daemon.tenant("preview")


CHAT = {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Ahoy"}, {"role": "user", "content": "Bye"}, {"role": "assistant", "content": "Farewell"}]}


def test_the_assistants_turns_are_learnt(acme):
    shown = acme.post("/train/preview", {"example": CHAT}).json
    assert text(shown) == "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\nAhoy<|im_end|>\n<|im_start|>user\nBye<|im_end|>\n<|im_start|>assistant\nFarewell<|im_end|>\n"
    assert text(shown, True) == "Ahoy<|im_end|>Farewell<|im_end|>"
    assert shown["tokens"] >= shown["target_tokens"] > 0 and not shown["cut"] and shown["rejected_pieces"] is None
    assert text(acme.post("/train/preview", {"example": CHAT, "train_on": "last"}).json, True) == "Farewell<|im_end|>"
    everything = acme.post("/train/preview", {"example": CHAT, "train_on": "all"}).json
    assert text(everything, False) == "" and everything["target_tokens"] == everything["tokens"] == shown["tokens"]


def test_it_counts_as_a_job_does(acme):
    """The tokens of one line are those that an estimate of a file of it has."""
    from client import form_body
    line = json.loads(read(DEMO + "/train/train.jsonl").split(b"\n")[0])
    body, kind = form_body([("purpose", "fine-tune", None), ("file", json.dumps(line), "one.jsonl")])
    file = acme.request("POST", "/v1/files", body, {"Content-Type": kind}).json["id"]
    estimate = acme.post("/train/estimate", {"model": "demo", "training_file": file}).json
    shown = acme.post("/train/preview", {"example": line}).json
    assert (shown["tokens"], shown["target_tokens"]) == (estimate["tokens"], estimate["target_tokens"])


def test_other_forms(acme):
    completion = acme.post("/train/preview", {"example": {"prompt": "One ", "completion": "two"}}).json
    assert text(completion, True).startswith("two") and "One" in text(completion, False)
    pair = acme.post("/train/preview", {"example": {"input": {"messages": CHAT["messages"][:1]}, "preferred_output": [{"role": "assistant", "content": "Ahoy"}],
                                                    "non_preferred_output": [{"role": "assistant", "content": "Nope"}]}}).json
    assert text(pair, True).startswith("Ahoy") and text(pair, True, "rejected_pieces").startswith("Nope")
    umlauts = acme.post("/train/preview", {"example": {"text": "äöü 漢字 🦊"}}).json
    assert text(umlauts).startswith("äöü 漢字 🦊")
    assert acme.post("/train/preview", {"example": CHAT, "max_length": 8}).json["cut"]


@pytest.mark.parametrize("body, code", [
    ({}, "missing_field"), ({"example": "text"}, "invalid_type"), ({"example": {"nothing": 1}}, "invalid_training_file"), ({"example": {"messages": []}}, "invalid_training_file"),
    ({"example": {"text": "a"}, "train_on": "some"}, "out_of_range"), ({"example": {"text": "a"}, "train_on": 1}, "invalid_type"), ({"example": {"text": "a"}, "max_length": 0}, "out_of_range"),
    ({"example": {"text": "a"}, "other": 1}, "unknown_field"), ({"example": {"prompt": "a"}}, "invalid_training_file"), ({"example": {"tokens": [1, 99999999], "labels": [1, 1]}}, "invalid_training_file"),
])
def test_what_is_wrong_is_said(acme, body, code):
    answer = acme.post("/train/preview", body)
    assert answer.code == code, answer


def test_a_base_of_numbers_has_nothing_to_show(mlp):
    assert mlp.client().post("/tenants", {"id": "preview"}).status == 201
    assert mlp.client().post("/train/preview", {"tenant": "preview", "example": {"input": [1], "target": [1]}}).code == "input_unsupported"
