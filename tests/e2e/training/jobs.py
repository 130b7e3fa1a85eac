"""What tests of training jobs share: files, jobs, and waiting for them."""
import json
import os
import time

from client import SCALE, form_body, read
from daemon import FIXTURES

OVER = ("succeeded", "failed", "cancelled")


def fixture(name, file, root=os.path.join(FIXTURES, "training")):
    return os.path.join(root, name, file)


def file_of(client, content, filename="train.jsonl"):
    """The id of a new training file."""
    if not isinstance(content, (bytes, str)):
        content = "".join(json.dumps(line) + "\n" for line in content)
    body, kind = form_body([("purpose", "fine-tune", None), ("file", content, filename)])
    answer = client.request("POST", "/v1/files", body, {"Content-Type": kind})
    assert answer.status == 200, answer
    return answer.json["id"]


def lines(count=24, start=0, length=12, vocab=200):
    """Small examples that can be learnt: a run of numbers that goes on."""
    runs = [[(7 * i + start + 3 * k) % vocab + 5 for k in range(length + i % 5)] for i in range(count)]
    return [{"tokens": run, "labels": run} for run in runs]


def ask(client, file, model, **more):
    body = {"model": model, "training_file": file, "seed": 7, "suffix": "made", **more}
    return client.post("/v1/fine_tuning/jobs", body)


def start_job(client, file, model, **more):
    answer = ask(client, file, model, **more)
    assert answer.status == 200, answer
    return answer.json


def show(client, job):
    answer = client.get(f"/v1/fine_tuning/jobs/{job}")
    assert answer.status == 200, answer
    return answer.json


def wait_for(client, job, states=OVER, seconds=60):
    """The job, once it is in one of these states."""
    deadline = time.monotonic() + seconds * SCALE
    while True:
        found = show(client, job)
        if found["status"] in states:
            return found
        assert found["status"] not in OVER, found
        assert time.monotonic() < deadline, found
        time.sleep(0.05)


def succeeded(client, job, seconds=60):
    found = wait_for(client, job, seconds=seconds)
    assert found["status"] == "succeeded", (found["error"], events(client, job)[:3])
    return found


def events(client, job):
    """All of them, newest first, by pages."""
    found, after = [], None
    while True:
        page = client.get(f"/v1/fine_tuning/jobs/{job}/events", limit=50, **({"after": after} if after else {})).json
        found += page["data"]
        if not page["has_more"]:
            return found
        after = page["data"][-1]["id"]


def steps(client, job):
    """What each step said, in order."""
    metrics = [e["data"] for e in reversed(events(client, job)) if e["type"] == "metrics"]
    return [m for m in metrics if "train_loss" in m]


def wait_for_step(client, job, step, seconds=60):
    deadline = time.monotonic() + seconds * SCALE
    while show(client, job)["step"] < step:
        assert show(client, job)["status"] not in OVER, show(client, job)
        assert time.monotonic() < deadline, show(client, job)
        time.sleep(0.02)


def fixture_job(client, name, suffix="made", **root):
    """A job whose every step is known, from its first adapter on."""
    at = {file: fixture(name, file, **root) for file in ("job.json", "init/adapter_config.json", "train.jsonl", "valid.jsonl")}
    job = json.loads(read(at["job.json"]))
    up = client.upload(os.path.dirname(at["init/adapter_config.json"]), name=f"{suffix}-init", allow_no_effect="true")
    assert up.status in (200, 201), up
    more = {"validation_file": file_of(client, read(at["valid.jsonl"]))} if os.path.exists(at["valid.jsonl"]) else {}
    return start_job(client, file_of(client, read(at["train.jsonl"])), f"{suffix}-init", suffix=suffix,
                     training={**job["training"], "eval_on_start": bool(more)}, **more)
