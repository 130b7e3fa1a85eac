"""The demo's messages over HTTP: base and adapters answer exactly what transformers and PEFT answered (demo/expected.json),
in the exact precision and in the one that the daemon takes by default."""
import json
import os

import pytest

from daemon import DEMO, Daemon, model_path

with open(os.path.join(DEMO, "expected.json"), encoding="utf-8") as expected_file:
    EXPECTED = json.load(expected_file)

END = 2  # <|im_end|>


@pytest.fixture(scope="module", params=[["--precision", "exact"], []], ids=["exact", "default"])
def support(request, tmp_path_factory):
    """A tenant with the three adapters of the demo."""
    daemon = Daemon(model_path("demo"), tmp_path_factory.mktemp("demo") / "data", *request.param)
    client = daemon.tenant("support")
    for name in ("mask", "ticket", "voice"):
        answer = client.upload(os.path.join(DEMO, "adapters", name), name=name)
        assert answer.status == 201, answer
    yield client
    daemon.stop()


def check(answer, expected):
    assert answer.status == 200, answer
    got = answer.json
    tokens = expected["tokens"]
    assert tokens[-1] == END
    assert got["tokens"] == tokens[:-1]
    assert got["text"] == expected["text"]
    assert got["finish_reason"] == "stop"


@pytest.mark.parametrize("adapter", [None, "mask", "ticket", "voice"])
@pytest.mark.parametrize("case", range(len(EXPECTED)))
def test_messages(support, case, adapter):
    row = EXPECTED[case]
    answer = support.infer(adapter=adapter, messages=[{"role": "user", "content": row["message"]}], max_tokens=220)
    check(answer, row["answers"][adapter or "base"])
    assert answer.json["usage"]["prompt_tokens"] == len(row["prompt_tokens"])


@pytest.mark.parametrize("adapter", [None, "mask", "ticket", "voice"])
def test_the_prompt_as_text_and_as_tokens_is_the_same(support, adapter):
    row = EXPECTED[3]
    for given in ({"prompt": row["prompt"]}, {"tokens": row["prompt_tokens"]}):
        check(support.infer(adapter=adapter, max_tokens=220, **given), row["answers"][adapter or "base"])


def test_the_tokenizer_agrees(support):
    for row in EXPECTED:
        answer = support.post("/tokenize", {"text": row["prompt"], "add_special_tokens": False})
        assert answer.json["tokens"] == row["prompt_tokens"]


def test_a_stream_adds_up_to_the_answer(support):
    row = EXPECTED[8]
    events = list(support.events(adapter="voice", max_tokens=220,
                                 messages=[{"role": "user", "content": row["message"]}]))
    assert events[-1] == (None, "[DONE]")
    objects = [e for _, e in events[:-1]]
    assert "".join(e.get("text", "") for e in objects) == row["answers"]["voice"]["text"]
    assert [t for e in objects for t in e.get("tokens", [])] == row["answers"]["voice"]["tokens"][:-1]
    assert objects[-1]["finish_reason"] == "stop"
