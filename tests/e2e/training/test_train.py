"""adapterctl train: from a file of examples to an adapter that is served, and what is shown on the way."""
import json
import os
import pty
import re
import select
import signal
import subprocess
import time

import pytest

from client import SCALE
from daemon import ADAPTERCTL


def conversation(i):
    words = ("lamp", "tent", "sofa", "kettle", "router", "drill")
    return {"messages": [{"role": "user", "content": f"Where is my {words[i % 6]}? Order {i}."},
                         {"role": "assistant", "content": f"The {words[i % 6]} is on its way."}]}


def write(path, count, start=0):
    path.write_text("".join(json.dumps(conversation(i)) + "\n" for i in range(start, start + count)))
    return path


@pytest.fixture
def data(tmp_path):
    return write(tmp_path / "data.jsonl", 24)


@pytest.fixture
def valid(tmp_path):
    return write(tmp_path / "valid.jsonl", 4, 100)


FEW = ("--max-steps", 4, "--batch-size", 4, "--rank", 4, "--learning-rate", 0.004)


def good(result):
    assert (result.status, result.err) == (0, ""), result
    return result.out


def table(text):
    return dict(re.split(r"  +", line, maxsplit=1) for line in text.splitlines() if re.match(r"[a-z][a-z_ ]*[a-z]  +\S", line))


def files(tenant):
    return tenant.get("/v1/files", purpose="fine-tune").json["data"]


def test_examples_become_an_adapter(daemon, ctl, data, valid):
    tenant = daemon.tenant("train-all")
    out = good(ctl(daemon, "train", data, "--name", "lamps", "--valid", valid, *FEW, key=tenant.key))
    curve, rows = out.splitlines(), table(out)
    assert sum(line[8:9] == "|" for line in curve) == 12 and "step 0 to 4    * training  o validation" in out
    assert rows["adapter"] == "lamps" and rows["steps"] == "4"
    for kind in ("training loss", "validation loss"):
        before, after = map(float, re.fullmatch(r"([\d.]+) to ([\d.]+)", rows[kind]).groups())
        assert after < before
    assert re.fullmatch(r"[\d.]+ %", rows["validation tokens right"])
    # three prompts, answered by both
    assert out.count("\nprompt\n") == out.count("\nexpected\n") == 3
    assert len(re.findall(r"^base +\| lamps$", out, re.M)) == 3 and "  The router is on its way." in out
    made = tenant.get("/adapters/lamps").json
    assert made["version"] == rows["version"]
    assert tenant.infer(adapter="lamps", prompt="Hi", max_tokens=2).status == 200
    # the files are there already: nothing is sent again
    assert len(files(tenant)) == 2
    more = good(ctl(daemon, "--json", "train", data, "--name", "lamps", "--valid", valid, *FEW, key=tenant.key))
    job = json.loads(more)
    assert (job["status"], job["fine_tuned_model"], job["lora"]["r"], job["lora"]["lora_alpha"]) == ("succeeded", "lamps", 4, 8)
    assert len(files(tenant)) == 2


def test_options_are_fields_of_the_job(daemon, ctl, data, tmp_path):
    daemon.tenant("train-fields")
    config = tmp_path / "job.json"
    config.write_text(json.dumps({"training": {"schedule": "linear", "batch_size": 8}, "seed": 3, "metadata": {"for": "a test"}}))
    out = good(ctl(daemon, "--json", "train", data, "--tenant", "train-fields", "--name", "fields", "--config", config, "--rank", 2, "--alpha", 6,
                   "--targets", "qv", "--epochs", 1, "--batch-size", 12, "--seed", 5, "--no-activate"))
    job = json.loads(out)
    assert (job["seed"], job["metadata"], job["activate"], job["steps"]) == (5, {"for": "a test"}, False, 2)
    assert (job["lora"]["r"], job["lora"]["lora_alpha"], job["lora"]["target_modules"]) == (2, 6, ["q_proj", "v_proj"])
    assert (job["training"]["schedule"], job["training"]["batch_size"]) == ("linear", 12)
    shown = daemon.client().get("/adapters/fields", tenant="train-fields").json
    assert shown["version"] is None and len(shown["versions"]) == 1


def test_a_dry_run_keeps_nothing(daemon, ctl, data, valid):
    tenant = daemon.tenant("train-dry")
    rows = table(good(ctl(daemon, "train", data, "--name", "dry", "--valid", valid, "--dry-run", *FEW, key=tenant.key)))
    assert (rows["examples"], rows["steps"]) == ("24", "4") and int(rows["tokens"]) > 24 * 20
    assert re.search(r"[KM]iB", rows["memory"]) and re.search(r"s|min", rows["time"])
    assert files(tenant) == [] and tenant.get("/v1/fine_tuning/jobs").json["data"] == []


def test_a_job_can_be_left_to_itself(daemon, ctl, data):
    tenant = daemon.tenant("train-detached")
    job = good(ctl(daemon, "train", data, "--name", "alone", "--detach", *FEW, key=tenant.key)).strip()
    assert re.fullmatch(r"ftjob-[0-9a-f]{24}", job)
    deadline = time.monotonic() + 60 * SCALE
    while tenant.get(f"/v1/fine_tuning/jobs/{job}").json["status"] != "succeeded":
        assert time.monotonic() < deadline
        time.sleep(0.1)


def environment(daemon, tenant):
    return {**os.environ, "ADAPTERD_URL": daemon.url, "ADAPTERD_KEY": tenant.key}


def on_terminal(daemon, tenant, *arguments):
    """(process, descriptor that its standard error, a terminal, is read from)."""
    master, slave = pty.openpty()
    process = subprocess.Popen([ADAPTERCTL, *map(str, arguments)], env=environment(daemon, tenant), stdout=subprocess.PIPE, stderr=slave)
    os.close(slave)
    return process, master


def read_until(master, pattern, seconds=60):
    text, deadline = "", time.monotonic() + seconds * SCALE
    while not re.search(pattern, text):
        assert time.monotonic() < deadline, text
        if select.select([master], [], [], 0.2)[0]:
            try:
                text += os.read(master, 4096).decode(errors="replace")
            except OSError:
                break
    return text


def test_a_person_sees_a_bar(daemon, data):
    tenant = daemon.tenant("train-bar")
    process, master = on_terminal(daemon, tenant, "train", data, "--name", "bar", "--max-steps", 30, "--batch-size", 8)
    text = read_until(master, r"100%")
    assert re.search(r"\[#+\.*\] +\d+%  step \d+/30  loss \d\.\d{4}  \d+ tokens/s  \d+:\d\d left", text), text
    assert process.wait(60 * SCALE) == 0
    process.stdout.close()
    os.close(master)


def test_an_interrupted_watcher_leaves_the_job(daemon, data):
    tenant = daemon.tenant("train-interrupted")
    process, master = on_terminal(daemon, tenant, "train", data, "--name", "on", "--max-steps", 300, "--batch-size", 8)
    read_until(master, r"step \d+/300")
    process.send_signal(signal.SIGINT)
    text = read_until(master, r"hint: .*\n")
    job = re.search(r"the job goes on: adapterctl jobs show (ftjob-\w+)", text)[1]
    assert process.wait(30 * SCALE) == -signal.SIGINT
    process.stdout.close()
    os.close(master)
    assert tenant.get(f"/v1/fine_tuning/jobs/{job}").json["status"] in ("running", "succeeded")
    tenant.post(f"/v1/fine_tuning/jobs/{job}/cancel", None)


def test_a_sweep_is_a_table(daemon, ctl, data, valid):
    tenant = daemon.tenant("train-sweep")
    asked = ("train", data, "--name", "sweep", "--valid", valid, "--max-steps", 3, "--batch-size", 4, "--sweep", "ranks=1,4", "targets=q,qv")
    lines = good(ctl(daemon, *asked, key=tenant.key)).splitlines()
    assert re.split(r"  +", lines[0].strip()) == ["TARGETS", "RANK", "PARAMETERS", "% OF BASE", "BYTES", "% OF ITS", "LOSS", "VALID LOSS", "EXACT",
                                                 "SECONDS", "ADAPTER"]
    rows = [re.split(r"  +", line.strip()) for line in lines[1:]]
    assert [(r[0], r[1], r[-1]) for r in rows] == [("q", "1", "sweep-q-r1"), ("q", "4", "sweep-q-r4"), ("qv", "1", "sweep-qv-r1"),
                                                   ("qv", "4", "sweep-qv-r4")]
    parameters = [int(r[2]) for r in rows]
    assert parameters[1] == 4 * parameters[0] and parameters[3] == 4 * parameters[2] and parameters[2] > parameters[0]
    base = daemon.anonymous().get("/version").json
    for row in rows:
        assert float(row[3]) == pytest.approx(100 * int(row[2]) / base["parameters"], abs=5e-4)
        assert re.fullmatch(r"\d/4", row[8]) and 0 < float(row[6]) < 12 and 0 < float(row[7]) < 12
        assert tenant.infer(adapter=row[-1], prompt="Hi", max_tokens=1).status == 200
    # with a quota of one job at a time, one comes after the other
    assert daemon.client().patch("/tenants/train-sweep", {"quota": {"training_jobs_max": 1}}).status == 200
    again = json.loads(good(ctl(daemon, "--json", *asked[:-2], "ranks=1,2", "targets=o_proj+up_proj", key=tenant.key)))
    assert [(r["adapter"], r["rank"]) for r in again] == [("sweep-o_proj.up_proj-r1", 1), ("sweep-o_proj.up_proj-r2", 2)]
    assert all(r["valid_loss"] > 0 and r["asked"] == 4 for r in again)


def test_what_was_learnt_counts_as_exact(daemon, ctl, tmp_path):
    """A file so small that it is learnt by heart: every answer is exact."""
    tenant = daemon.tenant("train-exact")
    path = write(tmp_path / "six.jsonl", 6)
    rows = json.loads(good(ctl(daemon, "--json", "train", path, "--name", "heart", "--valid", path, "--max-steps", 60, "--batch-size", 6,
                               "--learning-rate", 0.005, "--sweep", "ranks=8", "targets=all", key=tenant.key)))
    assert (rows[0]["exact"], rows[0]["asked"]) == (6, 6) and rows[0]["valid_loss"] < 0.05


# ---- what is refused ----

@pytest.mark.parametrize("arguments, message", [
    ([], "missing argument: DATA.jsonl"),
    (["DATA"], "--name NAME"),
    (["DATA", "--name", "a", "--rank", "0"], "from 1 to 1024"),
    (["DATA", "--name", "a", "--epochs", "many"], "must be a number"),
    (["DATA", "--name", "a", "--dry-run", "--detach"], "exclude each other"),
    (["DATA", "--name", "a", "--sweep", "ranks=1", "targets=q", "--rank", "1"], "--sweep goes without"),
    *((["DATA", "--name", "a", "--sweep", ranks, targets], "--sweep takes ranks=1,2,4 targets=q,qv,all")
      for ranks, targets in (("1,2", "targets=q"), ("ranks=", "targets=q"), ("ranks=0", "targets=q"), ("ranks=1,x", "targets=q"), ("ranks=1", "q"),
                             ("ranks=1", "targets="), ("ranks=" + ",".join("1" * 17), "targets=q"))),
])
def test_wrong_usage(daemon, ctl, data, arguments, message):
    done = ctl(daemon, "train", *(data if a == "DATA" else a for a in arguments))
    assert done.status == 2 and message in done.err, done


@pytest.mark.parametrize("arguments, code", [
    (["--targets", "no_such_module"], "adapter_unknown_module"),
    (["--model", "nobody"], "model_not_found"),
    (["--learning-rate", "-1"], "out_of_range"),
    (["--batch-size", "0"], "out_of_range"),
])
def test_what_the_daemon_refuses(daemon, ctl, data, arguments, code):
    tenant = daemon.tenant(f"train-refused-{'-'.join(arguments).strip('-').replace('_', '.').lower()}")
    done = ctl(daemon, "train", data, "--name", "refused", *arguments, key=tenant.key)
    assert done.status == 1 and f"({code})" in done.err, done
    assert tenant.get("/adapters").json["data"] == []


def test_a_bad_line_is_named(daemon, ctl, data):
    tenant = daemon.tenant("train-bad")
    data.write_text(data.read_text() + '{"messages": []}\n')
    done = ctl(daemon, "train", data, "--name", "bad", key=tenant.key)
    assert done.status == 1 and "line 25: " in done.err and "(invalid_training_file)" in done.err
