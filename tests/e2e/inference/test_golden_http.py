"""What transformers and PEFT compute, over HTTP: each model family with each of its adapters, in the exact precision."""
import math

import pytest

from daemon import Daemon, model_path
from fixtures import adapter, adapters, cases, expected, log_softmax

FAMILIES = ["gpt2", "llama", "llama3-rope", "mistral", "mistral-window", "gemma2", "gemma3", "phi3", "phi3-longrope", "phi", "olmo2", "exaone4", "glm4", "ministral3", "granite", "smollm3", "stablelm", "llama-dynamic", "qwen2", "qwen2-window", "qwen3", "starcoder2"]
TOLERANCE = 2e-4  # absolute and relative, of one logit


class Served:
    """A daemon with one tenant, and the model's adapters uploaded; `uploads` are the answers by name."""

    def __init__(self, model, data):
        self.model = model
        self.daemon = Daemon(model_path(model), data, "--precision", "exact", "--threads", "1")
        self.tenant = self.daemon.tenant("golden")
        self.uploads = {name: self.tenant.upload(adapter(model, name), name=name) for name in adapters(model)}

    def cases(self):
        """All of the reference's: none may be left out."""
        known = cases(self.model)
        assert {c["adapter"] for c in known if isinstance(c["adapter"], str)} == set(self.uploads)
        return known


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
        assert answer.status == 201, (name, answer)
        proof = answer.json["proof"]
        assert proof["max_logit_change"] >= proof["mean_logit_change"] > 0
    listed = [row["name"] for row in s.tenant.get("/adapters").json["data"]]
    assert listed == sorted(s.uploads)


def test_every_adapter_is_taken(served):
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


@pytest.fixture(scope="module")
def llama(tmp_path_factory):
    s = Served("llama", tmp_path_factory.mktemp("golden") / "data")
    yield s
    s.daemon.stop()


PROMPT = {"tokens": list(range(40, 110)), "max_tokens": 1, "ignore_eos": True, "logprobs": 20, "prompt_logprobs": True}


def logprobs(answer):
    assert answer.status == 200, answer
    return [[p["logprob"] for p in answer.json["prompt_logprobs"][1:]], answer.json["logprobs"]]


def test_the_answer_lists_what_was_combined(llama):
    def version(name):
        return llama.uploads[name].json["version"]

    wanted = [{"adapter": "r8-all", "scale": -0.5}, {"adapter": "r4-qv"}]
    answer = llama.tenant.infer(adapter=wanted, **PROMPT)
    assert answer.json["adapter"] == [{"name": "r8-all", "version": version("r8-all"), "scale": -0.5},
                                      {"name": "r4-qv", "version": version("r4-qv"), "scale": 1.0}]
    assert list(llama.tenant.events(adapter=wanted, **PROMPT))[-2][1]["adapter"] == answer.json["adapter"]


def test_scales_add_up(llama):
    """The same adapter twice, with halves; one alone with scale 1; with opposite scales; with scale 0."""
    one, base = logprobs(llama.tenant.infer(adapter="r8-all", **PROMPT)), logprobs(llama.tenant.infer(adapter=None, **PROMPT))

    def same(parts, wanted):
        found = logprobs(llama.tenant.infer(adapter=[{"adapter": "r8-all", "scale": s} for s in parts], **PROMPT))
        assert all(abs(x - y) < 1e-3 for x, y in zip(found[0], wanted[0], strict=True)), parts

    same([0.5, 0.5], one)
    same([1], one)
    same([0.25] * 8, logprobs(llama.tenant.infer(adapter=[{"adapter": "r8-all", "scale": 2}], **PROMPT)))
    same([-1.5, 1.5], base)
    same([0], base)
    assert max(abs(x - y) for x, y in zip(one[0], base[0], strict=True)) > 0.01


def test_prompts_of_other_scales_are_not_found_again(llama):
    """The prefix cache tells combinations apart: an answer is the same whether others of its parts came before."""
    def ask(*scales):
        return logprobs(llama.tenant.infer(adapter=[{"adapter": "r8-all", "scale": s} for s in scales], **PROMPT))

    first = ask(3)
    assert ask(3) == first and ask(-3) != first and ask(1.5, 1.5) != ask(3, 3) and ask(3) == first


def test_what_does_not_add_up_is_refused(llama):
    for name in ("dora", "save-head", "save-embed-norm"):
        answer = llama.tenant.infer(adapter=[{"adapter": "r8-all"}, {"adapter": name}], tokens=[1])
        assert (answer.status, answer.code) == (422, "adapter_unsupported_feature"), name
        assert answer.json["error"]["param"] == "adapter"
        alone = llama.tenant.infer(adapter=[{"adapter": name}], tokens=[1], max_tokens=2)
        assert alone.json["tokens"] == llama.tenant.infer(adapter=name, tokens=[1], max_tokens=2).json["tokens"]
    for value, status, code in [([], 400, "out_of_range"), ([{"adapter": "r8-all"}] * 9, 400, "out_of_range"),
                                ([{"adapter": "r8-all", "scale": 101}], 400, "out_of_range"),
                                ([{"adapter": "r8-all", "scale": "1"}], 400, "invalid_type"),
                                ([{"scale": 1}], 400, "missing_field"), (["r8-all"], 400, "invalid_type"),
                                ([{"adapter": "r8-all", "weight": 1}], 400, "unknown_field"),
                                ([{"adapter": "r8-all"}, {"adapter": "nobody"}], 404, "adapter_not_found")]:
        answer = llama.tenant.infer(adapter=value, tokens=[1])
        assert (answer.status, answer.code) == (status, code), (value, answer)
