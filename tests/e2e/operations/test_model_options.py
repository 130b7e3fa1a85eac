"""What the daemon's options say about the base: its context, its name, its tokens."""
import json
import os
import shutil
import subprocess

import pytest

from client import read
from daemon import ADAPTERD, FIXTURES, model_path
from fixtures import cases


def refused(tmp_path, *arguments):
    """The one line of a start that fails."""
    done = subprocess.run([ADAPTERD, "--data", str(tmp_path / "refused"), "--listen", "127.0.0.1:0", *map(str, arguments)],
                          text=True, capture_output=True, timeout=60)
    assert done.returncode == 1, done
    return done.stderr


# ---- the context ----

def test_a_context_is_a_bound(start):
    d = start("llama", None, "--context", "40", "--precision", "exact")
    tenant = d.tenant("acme")
    assert tenant.get("/version").json["context_length"] == 40
    assert "40 tokens in a sequence at most" in d.read_log()
    tokens = [1] + [40] * 34
    answer = tenant.post("/infer", {"adapter": None, "tokens": tokens, "max_tokens": 5, "ignore_eos": True})
    assert answer.status == 200 and len(answer.json["tokens"]) == 5
    answer = tenant.post("/infer", {"adapter": None, "tokens": tokens + [7] * 10, "max_tokens": 1})
    assert answer.status == 400 and answer.code == "prompt_too_long"


def test_what_fits_is_answered_as_without_a_bound(start):
    case = next(c for c in cases("mistral-window") if c["adapter"] is None and len(c["prompt_tokens"]) < 60)
    body = {"adapter": None, "tokens": case["prompt_tokens"], "max_tokens": 16, "ignore_eos": True}
    for arguments in (["--context", "80"], []):
        tenant = start("mistral-window", None, "--precision", "exact", *arguments).tenant("acme")
        assert tenant.post("/infer", body).json["tokens"] == case["greedy_16"]


def test_more_than_the_model_has(tmp_path):
    said = refused(tmp_path, "--model", model_path("llama"), "--context", 257)
    assert "257" in said and "256" in said
    assert "context" in refused(tmp_path, "--model", model_path("mlp"), "--context", 10)


# ---- the name ----

@pytest.mark.parametrize("name", ["llama-tiny", "Org/Some_Model-0.6B:v2+x"])
def test_a_name_of_its_own(start, name):
    tenant = start("llama", None, "--model-name", name).tenant("acme")
    assert tenant.get("/version").json["model"] == name
    assert [m["id"] for m in tenant.get("/v1/models").json["data"]] == [name]
    answer = tenant.post("/v1/completions", {"model": name, "prompt": [1, 40], "max_tokens": 2})
    assert answer.status == 200 and answer.json["model"] == name
    assert tenant.post("/v1/completions", {"model": "llama", "prompt": [1, 40], "max_tokens": 2}).status == 404
    assert tenant.get(f"/v1/models/{name}").json["id"] == name


@pytest.mark.parametrize("path, name", [
    ("models--Some--Tiny-Llama/snapshots/0123456789abcdef0123456789abcdef01234567", "Tiny-Llama"),
    ("models--tiny/snapshots/0123456789abcdef0123456789abcdef01234567", "tiny"),
    ("other/snapshots/abc", "abc"),
    ("tiny/base", "tiny"),
    ("tiny", "tiny"),
])
def test_the_name_of_a_directory(start, tmp_path, path, name):
    os.makedirs(os.path.dirname(tmp_path / path), exist_ok=True)
    shutil.copytree(model_path("llama"), tmp_path / path)
    assert start(str(tmp_path / path)).anonymous().get("/version").json["model"] == name


# ---- the tokens ----

def test_tokens_of_the_file_and_of_the_class(start, tmp_path):
    """A class that transformers 5 builds anew: the file's tokens with a warning, the class's when they are asked for."""
    base = tmp_path / "base"
    shutil.copytree(model_path("llama"), base)
    variants = json.loads(read(os.path.join(FIXTURES, "tokenizers", "transformers5.json")))
    config, cases_of_5 = next((v["config"], v["cases"]) for v in variants if v["name"] == "legacy false")
    shutil.copy(os.path.join(FIXTURES, "tokenizers", "llama2", "tokenizer.json"), base)
    (base / "tokenizer_config.json").write_text(json.dumps(config))
    of_file = start(str(base))
    assert "--tokenizer class" in of_file.read_log()
    of_class = start(str(base), None, "--tokenizer", "class")
    assert "--tokenizer class" not in of_class.read_log()
    answers = []
    for tenant in (of_file.tenant("acme"), of_class.tenant("acme")):
        answers.append([tenant.post("/tokenize", {"text": c["text"]}).json["tokens"] for c in cases_of_5])
    assert answers[1] == [c["ids"] for c in cases_of_5]
    assert answers[0] != answers[1] and answers[0][1] == answers[1][1]
