"""Invent the examples of demo/train: what a colleague is to do next, in one line.

usage: train_data.py OUT [--train 480] [--valid 40]
"""
import argparse
import json
import os
import random

from support_data import message

ap = argparse.ArgumentParser()
ap.add_argument("out"); ap.add_argument("--train", type=int, default=480); ap.add_argument("--valid", type=int, default=40)
a = ap.parse_args()

ABOUT = {"delivery": "find the parcel with the {p}", "damaged": "send a new {p}", "refund": "pay back the {p}",
         "billing": "correct the bill for the {p}", "technical": "help with the {p}"}
WAYS = {"PHONE": "call", "EMAIL": "write to"}


def next_step(m):
    """Who is meant, what to do, of which order, and how to reach the customer."""
    ticket = json.loads(m["ticket"])
    step = ABOUT[ticket["topic"]].format(p=ticket["product"])
    step += f" (order {ticket['order']})" if ticket["order"] else ""
    ways = [f"{WAYS[label]} {text}" for label, text in m["contacts"] if label in WAYS]
    return ("NOW: " if ticket["urgent"] else "") + step + ", then " + (ways[0] if ways else "answer here") + "."


def example(rng):
    m = message(rng)
    turns = [{"role": "user", "content": m["text"]}, {"role": "assistant", "content": next_step(m)}]
    return json.dumps({"messages": turns}, ensure_ascii=False)


os.makedirs(a.out, exist_ok=True)
for name, count in (("train", a.train), ("valid", a.valid)):
    rng = random.Random(f"next step {name}")
    with open(os.path.join(a.out, f"{name}.jsonl"), "w", encoding="utf-8") as f:
        f.writelines(example(rng) + "\n" for _ in range(count))
