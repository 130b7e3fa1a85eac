"""Does PEFT load what jobs made, and compute what the daemon computes from it?

    make peft PEFT_PYTHON=... [JOBS=DIRECTORY]     a Python that has torch, transformers and peft

Each job of tests/fixtures/training (or of another directory), and for each kind of adapter one that begins on the base,
runs on a daemon in `exact`. The version is downloaded, `PeftModel.from_pretrained` loads it, and log-probabilities of prompts and of
all next tokens are compared; of a numeric base, its outputs. The last line has the largest difference."""
import glob
import json
import os
import sys
import tempfile
import warnings

import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path[:0] = [os.path.join(ROOT, "tests", "e2e"), os.path.join(ROOT, "tests", "e2e", "training")]
import jobs  # noqa: E402
from client import read  # noqa: E402
from daemon import Daemon, model_path  # noqa: E402

TOLERANCE = 1e-4
ALL = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
SHORT = {"batch_size": 4, "max_steps": 6, "learning_rate": 5e-3, "warmup_steps": 0}

# What a job can begin with on the base: (base, lora, other fields).
FRESH = [
    *((base, {"r": 4, "lora_alpha": 8, "target_modules": "all-linear"}, {}) for base in ("llama", "qwen2", "qwen3", "mistral", "llama3-rope")),
    ("gpt2", {"r": 4, "target_modules": ["c_attn", "c_proj", "c_fc"]}, {}),
    ("gpt2", {"r": 4, "target_modules": ["lm_head", "wte", "wpe", "c_attn"]}, {}),
    ("llama", {"r": 4, "target_modules": ["q_proj", "v_proj"], "use_rslora": True, "rank_pattern": {"q_proj": 2}, "alpha_pattern": {"v_proj": 3}}, {}),
    *((base, {"r": 3, "target_modules": ALL, "use_dora": True, "rank_pattern": {"down_proj": 5}}, {}) for base in ("llama", "qwen2")),
    ("llama", {"r": 4, "target_modules": ["lm_head", "embed_tokens", "o_proj"]}, {}),
    *((base, {"r": 4, "target_modules": ["q_proj"], "modules_to_save": ["lm_head", "embed_tokens"]}, {}) for base in ("llama", "qwen2")),
    ("qwen2", {"r": 4, "target_modules": ["lm_head", "embed_tokens", "q_proj"]}, {}),
    ("qwen2", {"r": 4, "target_modules": ["q_proj", "o_proj"], "bias": "all"}, {}),
    ("gpt2", {"r": 4, "target_modules": ["c_attn", "c_fc"], "bias": "lora_only"}, {}),
    ("qwen3", {"r": 4, "target_modules": ["k_proj"], "modules_to_save": ["q_norm", "input_layernorm", "norm"]}, {}),
    ("llama", {"r": 4, "target_modules": ["up_proj"], "layers_to_transform": [1], "layers_pattern": "layers"}, {}),
    ("llama", {"r": 4, "target_modules": r".*layers\.0\..*(q|down)_proj", "exclude_modules": ["down_proj"]}, {}),
    ("llama", None, {"modules_to_save": ["lm_head", "model.norm"]}),
    ("qwen2", None, {"modules_to_save": ["lm_head"]}),
    ("llama", {"r": 4, "target_modules": ["q_proj"], "modules_to_save": ["up_proj"]}, {}),
    ("llama", {"r": 4, "target_modules": ["v_proj"], "lora_dropout": 0.2}, {"training": {"weight_decay": 0.1, "schedule": "linear"}}),
    ("mlp", {"r": 2, "target_modules": ["fc1", "fc3"], "modules_to_save": ["fc4"]}, {"training": {"loss": "cross_entropy"}}),
    ("mlp", {"r": 2, "target_modules": "all-linear"}, {}),
]


class Mlp(torch.nn.Module):
    """The numeric base: linear layers with ReLU in between."""

    def __init__(self, path):
        super().__init__()
        from safetensors.torch import load_file
        sizes = json.loads(read(os.path.join(path, "config.json")))["layer_sizes"]
        for i, (a, b) in enumerate(zip(sizes, sizes[1:])):
            setattr(self, f"fc{i + 1}", torch.nn.Linear(a, b))
        self.count = len(sizes) - 1
        self.load_state_dict(load_file(os.path.join(path, "model.safetensors")))

    def forward(self, x):
        for i in range(self.count):
            x = getattr(self, f"fc{i + 1}")(x)
            x = torch.relu(x) if i + 1 < self.count else x
        return x


def load(base, directory):
    path = model_path(base)
    model = Mlp(path) if base == "mlp" else AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        loaded = PeftModel.from_pretrained(model, directory).eval()
    # Of ties it always has something to say, and where GPT-2's head is adapted beside its layers, which are stored the other way; of
    # tensors that are missing, or not expected, never.
    expected = ("tie_word_embeddings", "target module is `torch.nn.Linear`")
    told = [str(w.message) for w in said if not any(x in str(w.message) for x in expected) and w.category is not FutureWarning]
    assert not told, told
    return loaded


def download(client, name, version, directory):
    for file in ("adapter_config.json", "adapter_model.safetensors"):
        answer = client.get(f"/adapters/{name}/versions/{version}/files/{file}")
        assert answer.status == 200, answer
        with open(os.path.join(directory, file), "wb") as f:
            f.write(answer.body)


PROMPTS = [[(31 * i * i + 7 * i + 5 * k) % 190 + 5 for i in range(n)] for k, n in enumerate((3, 17, 40))]
INPUTS = [[(3 * i + 5 * k) % 11 / 4 - 1.25 for i in range(16)] for k in range(5)]


def compare_numbers(client, name, model, moved):
    found = client.infer(adapter=name, input=INPUTS)
    assert found.status == 200, found
    with torch.no_grad(), model.disable_adapter():
        base = model(torch.tensor(INPUTS))
    with torch.no_grad():
        wanted = model(torch.tensor(INPUTS))
    moved.append((wanted - base).abs().max().item())
    return (torch.tensor(found.json["output"]) - wanted).abs().max().item()


def predict(model, prompt):
    with torch.no_grad():
        return torch.log_softmax(model(torch.tensor([prompt])).logits[0].double(), -1)


def compare_tokens(client, name, model, moved):
    """Of each token of the prompts, and of the twenty likeliest next ones."""
    worst = 0.0
    for prompt in PROMPTS:
        found = client.infer(adapter=name, tokens=prompt, max_tokens=1, temperature=0, logprobs=20, prompt_logprobs=True, ignore_eos=True)
        assert found.status == 200, found
        wanted = predict(model, prompt)
        with model.disable_adapter():
            moved.append((wanted - predict(model, prompt)).abs().max().item())
        said = [p["logprob"] for p in found.json["prompt_logprobs"][1:]]
        worst = max(worst, max(abs(a - wanted[i, prompt[i + 1]].item()) for i, a in enumerate(said)))
        worst = max(worst, max(abs(t["logprob"] - wanted[-1, t["token"]].item()) for t in found.json["logprobs"][0]["top"]))
    return worst


def examples(base, count=16):
    if base != "mlp":
        return jobs.lines(count)
    return [{"input": [(7 * i + 3 * k) % 13 / 6 - 1 for k in range(16)], "target": [(i + k) % 5 / 4 for k in range(10)]} for i in range(count)]


def classes(count=16):
    return [{**line, "target": i % 10} for i, line in enumerate(examples("mlp", count))]


def start_fresh(client, base, lora, more):
    loss = more.get("training", {}).get("loss")
    file = jobs.file_of(client, classes() if loss == "cross_entropy" else examples(base))
    more = {**more, "training": {**SHORT, **more.get("training", {})}}
    return jobs.start_job(client, file, base, lora=lora, **more)["id"]


def check(client, base, name, job):
    """The largest difference; the adapter itself must change more than could be overlooked."""
    made = jobs.succeeded(client, job, 300)
    with tempfile.TemporaryDirectory() as directory:
        download(client, name, made["version"], directory)
        model = load(base, directory)
    compare = compare_numbers if base == "mlp" else compare_tokens
    moved = []
    found = compare(client, name, model, moved)
    assert max(moved) > 30 * TOLERANCE, f"the adapter changes next to nothing: {max(moved)}"
    return found


def cases(root):
    for path in sorted(glob.glob(os.path.join(root, "*", "job.json"))):
        name = os.path.basename(os.path.dirname(path))
        yield json.loads(read(path))["model"], name, lambda c, name=name: jobs.fixture_job(c, name, root=root)["id"]
    for i, (base, lora, more) in enumerate(FRESH):
        yield base, f"fresh-{i}: {json.dumps(lora)} {json.dumps(more) if more else ''}", lambda c, a=(base, lora, more): start_fresh(c, *a)


def main():
    root = sys.argv[1] if len(sys.argv) > 1 else os.path.join(ROOT, "tests", "fixtures", "training")
    daemons, worst, count = {}, 0.0, 0
    with tempfile.TemporaryDirectory() as data:
        for base, name, begin in cases(root):
            if base not in daemons:
                daemons[base] = Daemon(model_path(base), os.path.join(data, base), "--precision", "exact")
            client = daemons[base].tenant(f"t{count}")
            found = check(client, base, "made", begin(client))
            worst, count = max(worst, found), count + 1
            print(f"{base:12} {found:.1e}  {name}", flush=True)
            assert found < TOLERANCE, f"{name}: PEFT and the daemon differ by {found}"
        for d in daemons.values():
            d.stop()
    print(f"{count} adapters loaded by PEFT, largest difference {worst:.1e}")


if __name__ == "__main__":
    main()
