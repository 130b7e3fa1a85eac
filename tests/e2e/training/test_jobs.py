"""/v1/fine_tuning/jobs: from a file to a served adapter, in the shape of OpenAI's; what a job says, what is refused, who sees it."""
import csv
import io
import json
import re
import threading
import time

import pytest

import exposition
from client import SCALE, eventually, read
from daemon import model_path
from jobs import ask, events, file_of, fixture, fixture_job, lines, show, start_job, steps, succeeded, wait_for

SMALL = {"batch_size": 4, "n_epochs": 2, "learning_rate": 5e-3}
LORA = {"r": 4, "lora_alpha": 8}


@pytest.fixture(scope="module")
def llama(tmp_path_factory):
    import daemon as daemons

    d = daemons.Daemon(model_path("llama"), tmp_path_factory.mktemp("jobs") / "data", "--precision", "exact", "--threads", "2")
    yield d
    d.stop()


# ---- a job ----

def test_a_file_becomes_an_adapter(llama):
    acme = llama.tenant("j-whole")
    train, valid = file_of(acme, lines()), file_of(acme, lines(4, start=3))
    made = start_job(acme, train, "llama", validation_file=valid, suffix="support", metadata={"a": "b"}, lora=LORA, training=SMALL)
    assert re.fullmatch("ftjob-[0-9a-f]{24}", made["id"]) and made["object"] == "fine_tuning.job"
    assert made["status"] in ("validating_files", "queued", "running") and made["fine_tuned_model"] is None
    job = succeeded(acme, made["id"])
    assert job["fine_tuned_model"] == "support" and job["steps"] == job["step"] == 12
    assert job["training_file"] == train and job["validation_file"] == valid and job["user_provided_suffix"] == "support"
    assert job["seed"] == 7 and job["metadata"] == {"a": "b"} and job["error"] is None and job["integrations"] == []
    assert job["lora"]["r"] == 4 and job["training"]["learning_rate"] == 5e-3 and job["training"]["schedule"] == "cosine"
    assert job["method"]["type"] == "supervised" and job["method"]["supervised"]["hyperparameters"]["n_epochs"] == "auto"
    assert job["created_at"] <= job["finished_at"] and job["trained_tokens"] == 2 * sum(len(x["tokens"]) for x in lines())
    # the adapter is an ordinary one, and the model that the job names
    shown = acme.get("/adapters/support").json
    assert shown["version"] == job["version"] and shown["versions"][0]["rank_max"] == 4
    assert acme.post("/v1/completions", {"model": "support", "prompt": [5, 8, 11], "max_tokens": 2}).status == 200
    # the curve
    said = steps(acme, job["id"])
    assert [s["step"] for s in said] == list(range(1, 13)) and said[-1]["train_loss"] < said[0]["train_loss"]
    assert all(s["tokens"] > 0 and s["grad_norm"] > 0 and "learning_rate" in s and "tokens_per_second" in s for s in said)
    last = events(acme, job["id"])[0]
    assert last["message"] == "The job has successfully completed"
    assert acme.get("/usage").json["data"][-1]["trained_tokens"] == job["trained_tokens"] or \
        sum(row["trained_tokens"] for row in acme.get("/usage").json["data"]) == job["trained_tokens"]


def test_a_pause_holds_whenever_it_comes(start):
    """Also between being read and being run: nothing takes it back but a resume, and it is no failure."""
    d = start("demo", None, "--threads", "1")
    acme = d.tenant("acme")
    file = file_of(acme, '{"text": "a b c"}\n' * 4)
    for i in range(60):
        job = start_job(acme, file, "demo", lora={"r": 1}, training={"n_epochs": 1000})["id"]
        time.sleep(i % 12 * 0.002)
        assert acme.post(f"/v1/fine_tuning/jobs/{job}/pause", {}).json["status"] == "paused", i
        time.sleep(0.03)
        assert show(acme, job)["status"] == "paused", i
        assert acme.post(f"/v1/fine_tuning/jobs/{job}/resume", {}).json["status"] == "queued", i
        assert acme.post(f"/v1/fine_tuning/jobs/{job}/cancel", {}).json["status"] == "cancelled", i


def test_metrics_count_what_was_trained(start):
    d = start("llama", None, "--threads", "1", "--training-memory", "256M")
    acme = d.tenant("acme")

    def counted(name):
        families = exposition.read(d.client().get("/metrics").body.decode())
        return families[f"adapterd_training_{name}"].samples[f"adapterd_training_{name}", ()]

    assert counted("memory_max_bytes") == 256 << 20 and counted("steps_total") == counted("jobs_running") == 0
    job = succeeded(acme, start_job(acme, file_of(acme, lines()), "llama", lora=LORA, training=SMALL)["id"])
    assert counted("steps_total") == job["steps"] and counted("tokens_total") == job["trained_tokens"]
    assert counted("jobs_succeeded_total") == 1 and counted("jobs_failed_total") == 0
    assert counted("passes_total") > 0 and counted("pass_seconds_total") > 0
    eventually(lambda: counted("jobs_running") == counted("jobs_waiting") == counted("memory_bytes") == 0)


def test_jobs_that_end_together_say_all_they_have_to(llama):
    """While one is published the others come to their ends: their last words are not lost."""
    acme = llama.tenant("j-together")
    train, valid = file_of(acme, lines()), file_of(acme, lines(4))
    jobs = [start_job(acme, train, "llama", validation_file=valid, suffix=f"n{i}", lora={"r": i + 1}, training=SMALL)["id"] for i in range(8)]
    for job in jobs:
        found = succeeded(acme, job)
        assert [s["step"] for s in steps(acme, job)] == list(range(1, 13))
        evaluated = [e["data"]["step"] for e in events(acme, job) if "valid_loss" in (e["data"] or {})]
        assert evaluated == [12, 6]
        rows = acme.get(f"/v1/files/{found['result_files'][0]}/content").body.decode().splitlines()
        assert len(rows) == 13 and rows[-1].split(",")[3]
        assert found["trained_tokens"] == 2 * sum(len(x["tokens"]) for x in lines())
    charged = sum(row["trained_tokens"] for row in acme.get("/usage").json["data"])
    assert charged == sum(show(acme, job)["trained_tokens"] for job in jobs)


def test_the_table_of_results(llama):
    acme = llama.tenant("j-results")
    made = start_job(acme, file_of(acme, lines()), "llama", validation_file=file_of(acme, lines(4)), lora=LORA, training=SMALL)
    job = succeeded(acme, made["id"])
    file, = job["result_files"]
    assert acme.get(f"/v1/files/{file}").json["purpose"] == "fine-tune-results"
    rows = list(csv.DictReader(io.StringIO(acme.get(f"/v1/files/{file}/content").body.decode())))
    assert list(rows[0]) == ["step", "train_loss", "train_accuracy", "valid_loss", "valid_mean_token_accuracy"]
    assert [int(r["step"]) for r in rows] == list(range(1, 13))
    assert rows[5]["valid_loss"] and rows[11]["valid_loss"] and not rows[0]["valid_loss"]  # behind each epoch
    for row, said in zip(rows, steps(acme, job["id"]), strict=True):
        assert float(row["train_loss"]) == pytest.approx(said["train_loss"], rel=1e-8)


@pytest.mark.parametrize("name", ["llama-all-cosine", "llama-dora", "llama-dpo", "llama-epochs-uneven"])
def test_a_known_job_over_http(llama, name):
    """Losses, norms and rates of every step are those of PyTorch and PEFT."""
    acme = llama.tenant("j-" + name)
    job = succeeded(acme, fixture_job(acme, name)["id"])
    expected = json.loads(read(fixture(name, "expected.json")))["steps"]
    for said, want in zip(steps(acme, job["id"]), expected, strict=True):
        assert said["train_loss"] == pytest.approx(want["loss"], rel=2e-5)
        assert said["grad_norm"] == pytest.approx(want["grad_norm"], rel=2e-4)
        assert said["learning_rate"] == pytest.approx(want["learning_rate"], rel=1e-6, abs=1e-12)


def test_numbers_train_by_the_same_routes(mlp):
    acme = mlp.tenant("j-numbers")
    name = "mlp-mse"
    job = succeeded(acme, fixture_job(acme, name)["id"])
    expected = json.loads(read(fixture(name, "expected.json")))["steps"]
    assert [s["train_loss"] for s in steps(acme, job["id"])] == pytest.approx([w["loss"] for w in expected], rel=2e-5)
    assert acme.infer(adapter="made", input=[16 * [0.5]]).status == 200


# ---- what is asked of a job ----

def test_the_list_and_its_pages(llama):
    acme = llama.tenant("j-list")
    file = file_of(acme, lines(4))
    made = [start_job(acme, file, "llama", suffix=f"n{i}", lora=LORA, training={"max_steps": 1})["id"] for i in range(3)]
    page = acme.get("/v1/fine_tuning/jobs", limit=2).json
    assert [j["id"] for j in page["data"]] == made[:0:-1] and page["has_more"] and page["object"] == "list"
    rest = acme.get("/v1/fine_tuning/jobs", limit=2, after=page["data"][-1]["id"]).json
    assert [j["id"] for j in rest["data"]] == made[:1] and not rest["has_more"]
    assert acme.get("/v1/fine_tuning/jobs", after="ftjob-none").code == "job_not_found"
    for job in made:
        succeeded(acme, job)
        assert acme.get(f"/v1/fine_tuning/jobs/{job}/events", after="ftevent-1").code == "invalid_parameter"


def test_events_stream_until_the_end(llama):
    acme = llama.tenant("j-stream")
    job = start_job(acme, file_of(acme, lines()), "llama", lora=LORA, training=SMALL)["id"]
    connection, response = acme.open("GET", f"/v1/fine_tuning/jobs/{job}/events?stream=true")
    text = response.read().decode()
    connection.close()
    assert response.headers["Content-Type"] == "text/event-stream" and text.endswith("data: [DONE]\n\n")
    seen = [json.loads(line[6:]) for line in text.splitlines() if line.startswith("data: {")]
    assert seen == list(reversed(events(acme, job))) and len({e["id"] for e in seen}) == len(seen)
    assert show(acme, job)["status"] == "succeeded"


LONG = {"batch_size": 4, "n_epochs": 1000, "learning_rate": 1e-3}


def test_cancelled_leaves_no_version(llama):
    acme = llama.tenant("j-cancel")
    made = start_job(acme, file_of(acme, lines()), "llama", suffix="gone", lora=LORA, training={**LONG, "checkpoint_steps": 2})
    while not acme.get(f"/v1/fine_tuning/jobs/{made['id']}/checkpoints").json["data"]:
        assert show(acme, made["id"])["status"] != "failed"
    job = acme.request("POST", f"/v1/fine_tuning/jobs/{made['id']}/cancel").json
    assert job["status"] == "cancelled" and job["finished_at"] and job["fine_tuned_model"] is None
    assert acme.request("POST", f"/v1/fine_tuning/jobs/{made['id']}/cancel").json["status"] == "cancelled"
    for what in ("pause", "resume"):
        again = acme.request("POST", f"/v1/fine_tuning/jobs/{made['id']}/{what}")
        assert (again.status, again.code) == (409, "job_conflict")
    from client import eventually
    eventually(lambda: not acme.get("/adapters/gone").json.get("versions"))
    assert acme.get(f"/v1/fine_tuning/jobs/{made['id']}/checkpoints").json["data"] == []


def test_checkpoints_are_models(llama):
    acme = llama.tenant("j-checkpoints")
    job = succeeded(acme, start_job(acme, file_of(acme, lines()), "llama", lora=LORA, training={**SMALL, "checkpoint_steps": 3})["id"])
    found = acme.get(f"/v1/fine_tuning/jobs/{job['id']}/checkpoints").json
    assert [c["step_number"] for c in found["data"]] == [9, 6, 3] and found["object"] == "list"
    first = found["data"][0]
    assert first["object"] == "fine_tuning.job.checkpoint" and first["fine_tuning_job_id"] == job["id"] and first["id"].startswith("ftckpt_")
    assert first["metrics"]["step"] == 9 and first["metrics"]["train_loss"] > 0 and 0 <= first["metrics"]["train_mean_token_accuracy"] <= 1
    for c in found["data"]:
        assert acme.post("/v1/completions", {"model": c["fine_tuned_model_checkpoint"], "prompt": [5, 8], "max_tokens": 1}).status == 200
    second = acme.get(f"/v1/fine_tuning/jobs/{job['id']}/checkpoints", after=first["id"]).json["data"]
    assert [c["step_number"] for c in second] == [6, 3]
    assert acme.get("/adapters/made").json["version"] == job["version"]


def test_activate_false_is_not_served(llama):
    acme = llama.tenant("j-inactive")
    job = succeeded(acme, start_job(acme, file_of(acme, lines(4)), "llama", activate=False, lora=LORA, training={"max_steps": 2})["id"])
    shown = acme.get("/adapters/made").json
    assert shown["version"] is None and shown["versions"][0]["version"] == job["version"] and job["activate"] is False


def test_training_goes_on_from_an_adapter(llama):
    acme = llama.tenant("j-on")
    file = file_of(acme, lines())
    first = succeeded(acme, start_job(acme, file, "llama", suffix="first", lora=LORA, training=SMALL)["id"])
    second = succeeded(acme, start_job(acme, file, "first", suffix="second", training=SMALL)["id"])
    assert steps(acme, second["id"])[0]["train_loss"] < steps(acme, first["id"])[0]["train_loss"]
    assert acme.get("/adapters/second").json["versions"][0]["rank_max"] == 4
    refused = ask(acme, file, "first", lora={"r": 8})
    assert (refused.status, refused.code) == (400, "field_conflict")


# ---- refusals ----

@pytest.mark.parametrize("more, status, code", [
    ({"model": "nobody"}, 404, "model_not_found"),
    ({"training_file": "file-none"}, 404, "file_not_found"),
    ({"validation_file": "file-none"}, 404, "file_not_found"),
    ({"integrations": [{"type": "wandb"}]}, 400, "unsupported_value"),
    ({"method": {"type": "reinforcement"}}, 400, "unsupported_value"),
    ({"method": {"type": "dpo"}}, 400, "invalid_training_file"),
    ({"lora": {"target_modules": ["nothing"]}}, 422, "adapter_unknown_module"),
    ({"lora": {"r": 0}}, 422, "config_malformed"),
    ({"training": {"learning_rate": -1}}, 400, "out_of_range"),
    ({"training": {"loss": "mse"}}, 400, "unsupported_value"),
    ({"suffix": "Not A Name"}, 400, "invalid_name"),
    ({"colour": "red"}, 400, "unknown_field"),
])
def test_what_is_refused(llama, more, status, code):
    acme = llama.tenant(f"j-refused-{abs(hash(json.dumps(more))) % 10 ** 8}")
    file = file_of(acme, lines(4))
    answer = acme.post("/v1/fine_tuning/jobs", {"model": "llama", "training_file": file, **more})
    assert (answer.status, answer.code) == (status, code), answer
    assert acme.get("/v1/fine_tuning/jobs").json["data"] == []


def test_a_file_of_another_vocabulary_is_refused_by_line(llama):
    acme = llama.tenant("j-vocabulary")
    answer = ask(acme, file_of(acme, [{"tokens": [1, 2], "labels": [1, 2]}, {"tokens": [5, 10 ** 6], "labels": [5, 5]}]), "llama")
    assert (answer.status, answer.code) == (400, "invalid_training_file") and "line 2" in answer.json["error"]["message"]
    assert answer.json["error"]["param"] == "training_file"


def test_nobody_sees_anothers_job(llama):
    acme, other = llama.tenant("j-mine"), llama.tenant("j-others")
    job = start_job(acme, file_of(acme, lines(4)), "llama", lora=LORA, training={"max_steps": 1})["id"]
    for path in ("", "/events", "/checkpoints"):
        assert other.get(f"/v1/fine_tuning/jobs/{job}{path}").code == "job_not_found"
    for what in ("cancel", "pause", "resume"):
        assert other.request("POST", f"/v1/fine_tuning/jobs/{job}/{what}").code == "job_not_found"
    assert other.get("/v1/fine_tuning/jobs").json["data"] == []
    assert ask(other, file_of(acme, lines(4)), "llama").code == "file_not_found"
    succeeded(acme, job)


def test_quotas(llama):
    acme, admin = llama.tenant("j-quota"), llama.client()
    file = file_of(acme, lines())
    assert admin.patch("/tenants/j-quota", {"quota": {"training_rank_max": 4, "training_jobs_max": 1}}).status == 200
    refused = ask(acme, file, "llama", lora={"r": 8})
    assert (refused.status, refused.code, refused.json["error"]["param"]) == (409, "quota_exceeded", "training_rank_max")
    job = start_job(acme, file, "llama", lora=LORA, training=LONG)["id"]
    refused = ask(acme, file, "llama", lora=LORA)
    assert (refused.code, refused.json["error"]["param"]) == ("quota_exceeded", "training_jobs_max")
    assert admin.patch("/tenants/j-quota", {"quota": {"training_tokens_per_day": 500}}).status == 200
    paused = wait_for(acme, job, ("paused",))
    assert paused["error"]["code"] == "quota_exceeded" and "training_tokens_per_day" in paused["error"]["message"]
    resumed = acme.request("POST", f"/v1/fine_tuning/jobs/{job}/resume")
    assert (resumed.status, resumed.code) == (409, "quota_exceeded")
    assert acme.request("POST", f"/v1/fine_tuning/jobs/{job}/cancel").status == 200


def test_an_estimate_before_anything_starts(llama):
    acme = llama.tenant("j-estimate")
    file = file_of(acme, lines())
    answer = acme.post("/train/estimate", {"model": "llama", "training_file": file, "lora": LORA, "training": SMALL})
    assert answer.status == 200, answer
    found = answer.json
    tokens = sum(len(x["tokens"]) for x in lines())
    assert (found["examples"], found["tokens"], found["steps"], found["trained_tokens"]) == (24, tokens, 12, 2 * tokens)
    assert found["seconds"] > 0 and found["memory_bytes"] > 0 and found["trainable_parameters"] > 0
    assert acme.get("/v1/fine_tuning/jobs").json["data"] == []


def test_without_memory_nobody_trains(start):
    d = start("llama", None, "--training-memory", "0", "--threads", "1")
    acme = d.tenant("acme")
    answer = ask(acme, file_of(acme, lines(4)), "llama")
    assert (answer.status, answer.code) == (403, "training_off")
    assert acme.get("/v1/fine_tuning/jobs").status == 200


def test_too_little_memory_is_said(start):
    d = start("llama", None, "--training-memory", "1M", "--threads", "1")
    acme = d.tenant("acme")
    answer = ask(acme, file_of(acme, lines(4)), "llama", lora={"r": 64})
    assert (answer.status, answer.code) == (400, "training_too_large"), answer


# ---- what a hostile tenant asks for ----

def test_one_tenant_does_not_keep_all_readers(start):
    """Estimates read whole files. Whoever asks for many at once waits; nobody else does."""
    d = start("llama", None, "--threads", "1")
    greedy, other = d.tenant("greedy"), d.tenant("other")
    large, small = file_of(greedy, lines(40000)), file_of(other, lines(4))
    answers = []

    def estimate():
        answers.append(greedy.post("/train/estimate", {"model": "llama", "training_file": large, "lora": LORA}))
    threads = [threading.Thread(target=estimate) for _ in range(24)]
    for t in threads:
        t.start()
    began = time.monotonic()
    assert other.get("/v1/fine_tuning/jobs").status == 200
    assert ask(other, small, "llama", training={"max_steps": 1}).status == 200
    assert time.monotonic() - began < 2 * SCALE
    for t in threads:
        t.join()
    refused = [a for a in answers if a.status == 429]
    assert {a.status for a in answers} == {200, 429} and all(a.code == "too_many_in_flight" and a.headers["Retry-After"] for a in refused)
    assert greedy.post("/train/estimate", {"model": "llama", "training_file": large, "lora": LORA}).status == 200


def test_an_estimate_does_not_hold_up_the_end(start):
    d = start("llama", None, "--threads", "1")
    acme = d.tenant("acme")
    file, answers = file_of(acme, lines(200000)), []
    asking = threading.Thread(target=lambda: answers.append(acme.post("/train/estimate", {"model": "llama", "training_file": file})))
    asking.start()
    time.sleep(0.5)
    began = time.monotonic()
    d.stop()
    assert time.monotonic() - began < 5 * SCALE
    asking.join()
    assert (answers[0].status, answers[0].code) in ((503, "shutting_down"), (200, None))


def test_one_tenant_does_not_have_all_streams(llama):
    acme, other = llama.tenant("j-streams"), llama.tenant("j-streams-2")
    job = start_job(acme, file_of(acme, lines(4)), "llama", lora=LORA, training=LONG)["id"]
    path = f"/v1/fine_tuning/jobs/{job}/events?stream=true"
    open_ones = [acme.open("GET", path) for _ in range(32)]
    assert {response.status for _, response in open_ones} == {200}
    refused = acme.request("GET", path)
    assert (refused.status, refused.code) == (429, "rate_limit_exceeded")
    theirs = start_job(other, file_of(other, lines(4)), "llama", lora=LORA, training=LONG)["id"]
    connection, response = other.open("GET", f"/v1/fine_tuning/jobs/{theirs}/events?stream=true")
    assert response.status == 200
    for c, _ in [*open_ones, (connection, response)]:
        c.close()

    def again():
        c, r = acme.open("GET", path)
        c.close()
        return r.status == 200
    eventually(again)
    for client, one in ((acme, job), (other, theirs)):
        client.post(f"/v1/fine_tuning/jobs/{one}/cancel", None)


def resident(d):
    with open(f"/proc/{d.process.pid}/status") as f:
        return int(re.search(r"VmRSS:\s+(\d+) kB", f.read())[1]) << 10


def settled(client, jobs, status):
    eventually(lambda: all(show(client, j)["status"] == status for j in jobs))


def test_jobs_that_wait_take_no_memory(start):
    """What they would take is kept free for those that run: a long queue is rows, not trainers."""
    d = start("llama", None, "--threads", "1", "--training-memory", "36M", environment={"ASAN_OPTIONS": "quarantine_size_mb=1"})
    acme = d.tenant("acme")
    file = file_of(acme, lines(8))
    first = start_job(acme, file, "llama", suffix="first", lora={"r": 256}, training=LONG)["id"]
    wait_for(acme, first, ("running",))
    before = resident(d)
    others = [start_job(acme, file, "llama", suffix=f"n{i}", lora={"r": 256}, training=LONG)["id"] for i in range(40)]
    settled(acme, others, "queued")
    assert resident(d) - before < (24 << 20) * SCALE  # sanitizers take their share of it
    metrics = exposition.read(d.client().get("/metrics").body.decode())
    assert metrics["adapterd_training_memory_bytes"].samples["adapterd_training_memory_bytes", ()] <= 36 << 20
    acme.post(f"/v1/fine_tuning/jobs/{first}/cancel", None)
    wait_for(acme, others[0], ("running",))
    settled(acme, others[1:], "queued")


def test_a_queue_of_one_tenant_is_not_in_anothers_way(start):
    d = start("llama", None, "--threads", "1", "--training-memory", "36M")
    greedy, other = d.tenant("greedy"), d.tenant("other")
    file = file_of(greedy, lines(8))
    waiting = [start_job(greedy, file, "llama", suffix=f"n{i}", lora={"r": 256}, training=LONG)["id"] for i in range(10)]
    wait_for(greedy, waiting[0], ("running",))
    theirs = start_job(other, file_of(other, lines(8)), "llama", lora={"r": 256}, training={"max_steps": 2})["id"]
    wait_for(other, theirs, ("queued",))
    greedy.post(f"/v1/fine_tuning/jobs/{waiting[0]}/cancel", None)
    succeeded(other, theirs)
    wait_for(greedy, waiting[1], ("running",))
    settled(greedy, waiting[2:], "queued")


def test_jobs_without_an_end_take_turns_with_others(start):
    """Neither all places nor all memory are one tenant's for ever, and whoever makes room loses nothing."""
    d = start("llama", None, "--threads", "1", "--training-turn", "1")
    greedy, other = d.tenant("greedy"), d.tenant("other")
    file = file_of(greedy, lines(4))
    endless = [start_job(greedy, file, "llama", suffix=f"n{i}", lora={"r": 1}, training=LONG)["id"] for i in range(17)]
    settled(greedy, endless[:16], "running")
    theirs = start_job(other, file_of(other, lines(8)), "llama", lora={"r": 1}, training={"max_steps": 2})["id"]
    succeeded(other, theirs)
    told = [e["message"] for job in endless for e in events(greedy, job)]
    assert sum(m.startswith("Another tenant's job has its turn") for m in told) == 1
    eventually(lambda: [show(greedy, j)["status"] for j in endless].count("running") == 16, 60)
    for job in endless:
        said = [s["step"] for s in steps(greedy, job)]
        assert said == list(range(1, len(said) + 1))
        greedy.post(f"/v1/fine_tuning/jobs/{job}/cancel", None)


def test_no_tenant_has_all_places(start):
    d = start("llama", None, "--threads", "1")
    greedy, other = d.tenant("greedy"), d.tenant("other")
    file = file_of(greedy, lines(2))
    for _ in range(200):
        job = start_job(greedy, file, "llama", lora={"r": 1}, training=LONG)["id"]
        assert greedy.post(f"/v1/fine_tuning/jobs/{job}/pause", None).json["status"] == "paused"
    refused = ask(greedy, file, "llama", lora={"r": 1})
    assert (refused.status, refused.code) == (409, "limit_reached") and "greedy" in refused.json["error"]["message"]
    succeeded(other, start_job(other, file_of(other, lines(4)), "llama", training={"max_steps": 1})["id"])
    assert greedy.post(f"/v1/fine_tuning/jobs/{job}/cancel", None).json["status"] == "cancelled"
    start_job(greedy, file, "llama", lora={"r": 1})


def test_a_list_of_jobs_is_bounded(llama):
    """Each job has what was sent with it: neither that nor a page may be of any size."""
    acme = llama.tenant("j-bounded")
    file = file_of(acme, lines(2))
    refused = ask(acme, file, "llama", lora={"r": 1, "target_modules": ["q_proj"] * 20000})
    assert (refused.status, refused.code) == (400, "out_of_range")
    for _ in range(102):
        job = start_job(acme, file, "llama", lora={"r": 1}, training=LONG)["id"]
        acme.post(f"/v1/fine_tuning/jobs/{job}/cancel", None)
    page = acme.get("/v1/fine_tuning/jobs", limit=1000).json
    assert len(page["data"]) == 100 and page["has_more"]
    assert len(acme.get("/v1/fine_tuning/jobs", limit=1000, after=page["data"][-1]["id"]).json["data"]) == 2
