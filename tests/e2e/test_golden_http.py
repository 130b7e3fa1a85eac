"""What transformers and PEFT compute, over HTTP: each model family with each of its adapters, in the exact precision."""
import math

import pytest

from daemon import Daemon, model_path
from fixtures import REFUSED, adapter, adapters, cases, expected, log_softmax

FAMILIES = ["gpt2", "llama", "llama3-rope", "mistral", "qwen2", "qwen3"]
TOLERANCE = 2e-4  # absolute and relative, of one logit


class Served:
    """A daemon with one tenant, and the model's adapters uploaded; `uploads` are the answers by name."""

    def __init__(self, model, data):
        self.model = model
        self.daemon = Daemon(model_path(model), data, "--precision", "exact", "--threads", "1")
        self.tenant = self.daemon.tenant("golden")
        self.uploads = {name: self.tenant.upload(adapter(model, name), name=name) for name in adapters(model)}

    def cases(self):
        """Those whose adapter this version serves."""
        known = [c for c in cases(self.model) if c["adapter"] is None or self.accepted(c["adapter"])]
        assert len({str(c["adapter"]) for c in known}) == 1 + sum(u.status == 201 for u in self.uploads.values())
        return known

    def accepted(self, name):
        return isinstance(name, str) and name in self.uploads and self.uploads[name].status == 201


@pytest.fixture(scope="module", params=FAMILIES)
def served(request, tmp_path_factory):
    s = Served(request.param, tmp_path_factory.mktemp("golden") / "data")
    yield s
    s.daemon.stop()


@pytest.fixture(scope="module")
def numeric(tmp_path_factory):
    s = Served("mlp", tmp_path_factory.mktemp("golden") / "data")
    yield s
    s.daemon.stop()


def check_uploads(s):
    for name, answer in s.uploads.items():
        if name in REFUSED.get(s.model, ()):
            assert (answer.status, answer.code) == (422, "adapter_unsupported_feature"), (name, answer)
        else:
            assert answer.status == 201, (name, answer)
            proof = answer.json["proof"]
            assert proof["max_logit_change"] >= proof["mean_logit_change"] > 0
    listed = [row["name"] for row in s.tenant.get("/adapters").json["data"]]
    assert listed == [name for name in sorted(s.uploads) if s.uploads[name].status == 201]


def test_every_adapter_is_taken_or_refused_by_its_kind(served):
    check_uploads(served)


def test_every_adapter_of_the_numeric_model(numeric):
    check_uploads(numeric)


def test_greedy_tokens(served):
    checked = 0
    for case in served.cases():
        if case["smallest_top2_gap"] <= 1e-3:
            continue
        answer = served.tenant.infer(adapter=case["adapter"], tokens=case["prompt_tokens"], max_tokens=16, ignore_eos=True)
        assert answer.status == 200, answer
        assert answer.json["tokens"] == case["greedy_16"], case["id"]
        assert answer.json["finish_reason"] == "length"
        checked += 1
    assert checked >= 8


def test_log_probabilities(served):
    """Those of the prompt's tokens, and the twenty likeliest next ones, are the log-softmax of the reference's logits."""
    logits = expected(served.model)
    for case in served.cases():
        rows, prompt = logits[case["logits"]], case["prompt_tokens"]
        answer = served.tenant.infer(adapter=case["adapter"], tokens=prompt, max_tokens=1, ignore_eos=True, logprobs=20,
                                     prompt_logprobs=True)
        assert answer.status == 200, answer
        of_prompt, first = answer.json["prompt_logprobs"], answer.json["logprobs"][0]
        assert of_prompt[0] is None and [p["token"] for p in of_prompt[1:]] == prompt[1:]
        begin = len(prompt) - len(rows)
        for i in range(begin + 1, len(prompt)):
            close(of_prompt[i]["logprob"], rows[i - 1 - begin], prompt[i], case)
        for entry in [first, *first["top"]]:
            close(entry["logprob"], rows[-1], entry["token"], case)
        assert len(first["top"]) == 20
        assert {entry["token"] for entry in first["top"]} <= likely(rows[-1], 20)


def close(found, row, token, case):
    # A log-softmax differs by the error of its own logit and by the mean error of the row.
    allowed = 2 * TOLERANCE * (1 + max(map(abs, row)))
    wanted = log_softmax(row)[token]
    assert math.isfinite(found) and abs(found - wanted) <= allowed, (case["id"], token, found, wanted)


def likely(row, count):
    """Tokens that can be among the `count` likeliest, each logit being off by the tolerance."""
    least = sorted(row, reverse=True)[count - 1]
    return {i for i, x in enumerate(row) if x >= least - 2 * TOLERANCE * (1 + max(map(abs, row)))}


def test_outputs_of_the_numeric_model(numeric):
    for case in numeric.cases():
        answer = numeric.tenant.infer(adapter=case["adapter"], input=case["input"])
        assert answer.status == 200, answer
        assert answer.json["usage"] == {"rows": len(case["input"])}
        one_by_one = [numeric.tenant.infer(adapter=case["adapter"], input=row).json["output"][0] for row in case["input"]]
        assert one_by_one == answer.json["output"], "a row does not depend on its neighbours, to the last bit"
        for found, wanted in zip(answer.json["output"], case["output"], strict=True):
            for x, y in zip(found, wanted, strict=True):
                assert abs(x - y) <= TOLERANCE + TOLERANCE * abs(y), case["id"]


def test_combinations_are_refused_not_ignored(served):
    answer = served.tenant.infer(adapter=[{"adapter": "r8-all", "scale": 0.7}], tokens=[1])
    assert (answer.status, answer.code) == (422, "adapter_unsupported_feature")
