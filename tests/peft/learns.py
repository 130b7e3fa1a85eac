"""What PyTorch and PEFT learn from the same file with the same settings, in f32: the loss on examples that were kept back, and how many
of their answers come out to the letter, greedy. Run by a Python that has both; the daemon's side is `adapterctl train --sweep`.

    learns.py BASE train.jsonl valid.jsonl [--rank 8] [--epochs 5] [--batch 8] [--rate 4e-3] [--warmup 20] [--seed 7] [--threads N]

Files in the chat form; the learning rate falls in a line. The base's template ends each turn with <|im_end|>."""
import argparse
import json
import random

import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer

p = argparse.ArgumentParser(description=__doc__)
p.add_argument("base"); p.add_argument("train"); p.add_argument("valid")
for name, kind, value in (("rank", int, 8), ("epochs", int, 5), ("batch", int, 8), ("rate", float, 4e-3), ("warmup", int, 20), ("seed", int, 7),
                          ("threads", int, 0)):
    p.add_argument(f"--{name}", type=kind, default=value)
o = p.parse_args()
if o.threads:
    torch.set_num_threads(o.threads)
torch.manual_seed(o.seed)
tokenizer = AutoTokenizer.from_pretrained(o.base)
model = get_peft_model(AutoModelForCausalLM.from_pretrained(o.base, dtype=torch.float32),
                       LoraConfig(r=o.rank, lora_alpha=2 * o.rank, target_modules="all-linear", task_type="CAUSAL_LM"))


def render(messages, **more):
    return tokenizer(tokenizer.apply_chat_template(messages, tokenize=False, **more), add_special_tokens=False)["input_ids"]


def encode(example):
    """Tokens and labels: the answer and the end of its turn are learnt."""
    prompt, whole = render(example["messages"][:-1], add_generation_prompt=True), render(example["messages"])
    assert whole[:len(prompt)] == prompt
    end = len(whole) - whole[::-1].index(tokenizer.convert_tokens_to_ids("<|im_end|>"))
    return whole[:end], [-100] * len(prompt) + whole[len(prompt):end]


def loss_of(examples):
    """Sum over the targets, and how many there are."""
    longest = max(len(tokens) for tokens, _ in examples)
    tokens, labels, mask = (torch.tensor([row + [fill] * (longest - len(row)) for row in rows]) for rows, fill in (
        ([t for t, _ in examples], 0), ([y for _, y in examples], -100), ([[1] * len(t) for t, _ in examples], 0)))
    logits = model(input_ids=tokens, attention_mask=mask).logits[:, :-1]
    total = torch.nn.functional.cross_entropy(logits.flatten(0, 1), labels[:, 1:].flatten(), ignore_index=-100, reduction="sum")
    return total, int((labels[:, 1:] != -100).sum())


def evaluate():
    with torch.no_grad():
        sums = [loss_of(valid[i:i + 10]) for i in range(0, len(valid), 10)]
    return sum(float(total) for total, _ in sums) / sum(count for _, count in sums)


with open(o.train, encoding="utf-8") as a, open(o.valid, encoding="utf-8") as b:
    train, kept = [encode(json.loads(line)) for line in a], [json.loads(line) for line in b]
valid = [encode(example) for example in kept]
optimizer = torch.optim.AdamW([x for x in model.parameters() if x.requires_grad], lr=o.rate, weight_decay=0)
steps, step = o.epochs * -(-len(train) // o.batch), 0
print(f"step 0: validation loss {evaluate():.4f}", flush=True)
for epoch in range(o.epochs):
    order = random.Random(o.seed + epoch).sample(train, len(train))
    for i in range(0, len(order), o.batch):
        for group in optimizer.param_groups:
            group["lr"] = o.rate * (step / o.warmup if step < o.warmup else (steps - step) / (steps - o.warmup))
        total, count = loss_of(order[i:i + o.batch])
        (total / count).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        step += 1
    print(f"step {step}: validation loss {evaluate():.4f}", flush=True)
model.eval()
right = 0
for example in kept:
    prompt = torch.tensor([render(example["messages"][:-1], add_generation_prompt=True)])
    answer = model.generate(input_ids=prompt, attention_mask=torch.ones_like(prompt), do_sample=False, max_new_tokens=96)[0, prompt.shape[1]:]
    right += tokenizer.decode(answer, skip_special_tokens=True) == example["messages"][-1]["content"]
print(f"exact answers: {right} of {len(kept)}")
