"""Steps of training with PyTorch and PEFT on random tokens, as build/bench/training makes them; run by a Python that has both.

    peft_training.py MODEL --type f32|bf16 [--tokens 2048] [--length 256] [--rank 8] [--steps 3] [--threads N]

Prints tokens a second (the median step) and the process's largest memory in MiB."""
import argparse
import resource
import statistics
import time

import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM

p = argparse.ArgumentParser(description=__doc__)
p.add_argument("model"); p.add_argument("--type", choices=("f32", "bf16"), required=True)
p.add_argument("--tokens", type=int, default=2048); p.add_argument("--length", type=int, default=256)
p.add_argument("--rank", type=int, default=8); p.add_argument("--steps", type=int, default=3); p.add_argument("--threads", type=int, default=0)
o = p.parse_args()
if o.threads:
    torch.set_num_threads(o.threads)
torch.manual_seed(11)
model = AutoModelForCausalLM.from_pretrained(o.model, dtype=torch.float32 if o.type == "f32" else torch.bfloat16)
model = get_peft_model(model, LoraConfig(r=o.rank, lora_alpha=2 * o.rank, target_modules="all-linear", task_type="CAUSAL_LM"))
optimizer = torch.optim.AdamW([x for x in model.parameters() if x.requires_grad], lr=2e-4, weight_decay=0)
times = []
for step in range(o.steps + 1):
    ids = torch.randint(model.config.vocab_size, (o.tokens // o.length, o.length))
    begin = time.monotonic()
    model(input_ids=ids, labels=ids).loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    optimizer.zero_grad()
    times.append(time.monotonic() - begin)
print(f"{o.tokens / statistics.median(times[1:]):.2f} {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f}")
