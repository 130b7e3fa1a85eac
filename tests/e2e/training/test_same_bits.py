"""One digest: the same job twice, on one thread and two, beside requests, beside other jobs, paused, and killed at any moment.

ADAPTERD_JOB_KILLS sets how often (20), ADAPTERD_KILL_SEED (1) at which moments; `make torture` is for large numbers."""
import contextlib
import os
import random
import subprocess
import threading
import time

import pytest

from client import SCALE
from jobs import file_of, lines, show, start_job, steps, succeeded, wait_for, wait_for_step

KILLS = int(os.environ.get("ADAPTERD_JOB_KILLS", "20"))
SEED = os.environ.get("ADAPTERD_KILL_SEED", "1")
JOB = {"lora": {"r": 4, "lora_dropout": 0.1}, "training": {"batch_size": 4, "n_epochs": 12, "learning_rate": 2e-3, "checkpoint_steps": 5}}


def train(d, tenant="acme", **more):
    acme = d.tenant(tenant)
    return acme, start_job(acme, file_of(acme, lines(30)), "llama", validation_file=file_of(acme, lines(4, start=2)), **{**JOB, **more})["id"]


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """What comes of the job when nothing else happens, on one thread: (digest, losses)."""
    import daemon as daemons

    d = daemons.Daemon(daemons.model_path("llama"), tmp_path_factory.mktemp("alone") / "data", "--threads", "1")
    acme, job = train(d)
    found = succeeded(acme, job)["version"], [s["train_loss"] for s in steps(acme, job)]
    d.stop()
    return found


def result(acme, job, seconds=120):
    return succeeded(acme, job, seconds)["version"], [s["train_loss"] for s in steps(acme, job)]


def test_again_and_on_two_threads(start, alone):
    assert result(*train(start("llama", None, "--threads", "2"))) == alone


def test_beside_sixteen_streams(start, alone):
    d = start("llama", None, "--threads", "2")
    acme, stop = d.tenant("asks"), threading.Event()

    def client(i):
        while not stop.is_set():
            acme.infer(tokens=[5 + i, 9, 14], max_tokens=64, ignore_eos=True)
    threads = [threading.Thread(target=client, args=(i,)) for i in range(16)]
    for t in threads:
        t.start()
    try:
        assert result(*train(d)) == alone
    finally:
        stop.set()
        for t in threads:
            t.join()


def test_beside_two_other_jobs(start, alone):
    d = start("llama", None, "--threads", "2")
    other = d.tenant("other")
    file = file_of(other, lines(50, start=11, length=20))
    others = [start_job(other, file, "llama", suffix=f"o{r}", lora={"r": r}, training={"batch_size": 3, "n_epochs": 40})["id"] for r in (2, 16)]
    assert result(*train(d)) == alone
    for job in others:
        other.request("POST", f"/v1/fine_tuning/jobs/{job}/cancel")


def test_paused_and_resumed(start, alone):
    d = start("llama", None, "--threads", "1")
    acme, job = train(d)
    for step in (3, 11):
        wait_for_step(acme, job, step)
        paused = acme.request("POST", f"/v1/fine_tuning/jobs/{job}/pause").json
        if paused.get("status") == "paused":
            assert acme.request("POST", f"/v1/fine_tuning/jobs/{job}/pause").json["status"] == "paused"
            assert acme.request("POST", f"/v1/fine_tuning/jobs/{job}/resume").json["status"] == "queued"
    assert result(acme, job) == alone


def test_stopped_and_started_again(start, alone):
    d = start("llama", None, "--threads", "1")
    acme, job = train(d)
    key = acme.key
    wait_for_step(acme, job, 4)
    d.stop()
    d = start("llama", d.data, "--threads", "2")
    assert result(d.client(key), job) == alone


def paused_and_started_again(start):
    d = start("llama", None, "--threads", "1")
    acme, job = train(d, training={"n_epochs": 1000})
    wait_for_step(acme, job, 2)
    acme.request("POST", f"/v1/fine_tuning/jobs/{job}/pause")
    d.stop()
    d = start("llama", d.data, "--threads", "1")
    return d.client(acme.key), job


def test_a_paused_job_stays_paused(start):
    acme, job = paused_and_started_again(start)
    step = show(acme, job)["step"]
    time.sleep(0.5)
    assert show(acme, job)["status"] == "paused" and show(acme, job)["step"] == step
    acme.request("POST", f"/v1/fine_tuning/jobs/{job}/resume")
    wait_for_step(acme, job, step + 1)


KINDS = {
    "low": JOB,
    "dora": {"lora": {"r": 3, "use_dora": True, "target_modules": ["q_proj", "down_proj"], "modules_to_save": ["norm"]},
             "training": {"batch_size": 5, "n_epochs": 9, "learning_rate": 2e-3}},
}


class Work:
    """One kind of job after the other, of a tenant of its own, watched over restarts: what was told stays told."""

    def __init__(self, d, kind, expected):
        self.kind, self.expected, self.key = kind, expected, d.tenant(kind).key
        self.begun, self.done, self.told = 0, 0, 0
        acme = d.client(self.key)
        self.train, self.valid = file_of(acme, lines(30)), file_of(acme, lines(4, start=2))
        self.begin(acme)

    def begin(self, acme):
        self.begun, self.told = self.begun + 1, 0
        self.job = start_job(acme, self.train, "llama", validation_file=self.valid, suffix=f"{self.kind}-{self.begun}", **KINDS[self.kind])["id"]

    def look(self, d):
        acme = d.client(self.key)
        found = show(acme, self.job)
        assert found["status"] not in ("failed", "cancelled", "paused") and found["step"] >= self.told, (found, self.told)
        self.told = found["step"]
        if found["status"] == "succeeded":
            self.check(acme, found)
            self.begin(acme)

    def check(self, acme, found):
        """The same bits, each step told once."""
        self.done += 1
        said = steps(acme, self.job)
        assert [s["step"] for s in said] == list(range(1, found["steps"] + 1))
        assert self.expected.setdefault(self.kind, found["version"]) == found["version"]
        assert self.expected.setdefault(self.kind + " losses", [s["train_loss"] for s in said]) == [s["train_loss"] for s in said]

    def finish(self, d):
        """Each job has one table, and each token was charged once."""
        acme = d.client(self.key)
        succeeded(acme, self.job, 120)
        self.check(acme, show(acme, self.job))
        jobs = acme.get("/v1/fine_tuning/jobs", limit=100).json["data"]
        assert {j["id"] for j in jobs if j["status"] == "succeeded"} == {j["id"] for j in jobs} and len(jobs) == self.done
        tables = acme.get("/v1/files", purpose="fine-tune-results", limit=1000).json["data"]
        assert sorted(t["id"] for t in tables) == sorted(file for j in jobs for file in j["result_files"])
        assert sum(row["trained_tokens"] for row in acme.get("/usage").json["data"]) == sum(j["trained_tokens"] for j in jobs)


def test_killed_at_any_moment(start, alone):
    """kill -9 again and again, in the middle of two jobs at once, and now and then an orderly stop: of each kind one digest,
    whatever was lost on the way."""
    pick = random.Random(SEED)
    expected = {"low": alone[0], "low losses": alone[1]}
    d = start("llama", None, "--threads", "1")
    work = [Work(d, kind, expected) for kind in KINDS]
    for _ in range(KILLS):
        time.sleep(pick.uniform(0, 0.7) * SCALE)
        if pick.random() < 0.2:
            d.stop()
        else:
            d.kill()
        running = sum(w.begun > w.done for w in work)
        assert running == len(work)
        d = start("llama", d.data, "--threads", "1")
        for w in work:
            w.look(d)
    for w in work:
        w.finish(d)
    assert d.client().request("POST", "/fsck").json["ok"]
    print(f"{KILLS} kills in the middle of jobs, {sum(w.done for w in work)} jobs ended, 1 digest of each kind")


@pytest.fixture
def small_disk(tmp_path):
    path = tmp_path / "small"
    path.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=32m", "tmpfs", path], capture_output=True).returncode != 0:
        pytest.skip("file systems cannot be mounted here")
    yield path
    subprocess.run(["umount", "-l", path], check=True)


def test_a_full_disk_pauses_and_loses_nothing(small_disk, alone):
    import daemon as daemons

    d = daemons.Daemon(daemons.model_path("llama"), small_disk / "data", "--threads", "1")
    try:
        acme, job = train(d)
        wait_for_step(acme, job, 3)
        with open(small_disk / "fill", "wb", buffering=0) as f, contextlib.suppress(OSError):
            while f.write(bytes(4096)):
                pass
        paused = wait_for(acme, job, ("paused",))
        assert paused["error"]["code"] == "storage_full" and "disk is full" in paused["error"]["message"]
        os.unlink(small_disk / "fill")
        assert acme.request("POST", f"/v1/fine_tuning/jobs/{job}/resume").json["status"] == "queued"
        assert result(acme, job) == alone
    finally:
        d.stop()


def test_a_damaged_checkpoint_begins_again(start, alone):
    d = start("llama", None, "--threads", "1")
    acme, job = train(d)
    wait_for_step(acme, job, 6)
    d.stop()
    path = os.path.join(d.data, "training", f"{job}.state")
    with open(path, "r+b") as f:
        f.seek(200)
        f.write(b"\xff" * 16)
    d = start("llama", d.data, "--threads", "1")
    assert result(d.client(acme.key), job) == alone
    assert "begins again" in d.read_log() and not os.path.exists(path)


def test_on_another_base_it_fails_with_a_reason(start):
    d = start("llama", None, "--threads", "1")
    acme, job = train(d, training={"n_epochs": 1000})
    wait_for_step(acme, job, 2)
    d.stop()
    d = start("mistral", d.data, "--threads", "1")
    failed = wait_for(d.client(acme.key), job)
    assert failed["status"] == "failed" and failed["error"]["code"] == "base_changed" and "another base" in failed["error"]["message"]


def test_a_deleted_file_fails_the_job_that_needs_it_again(start):
    acme, job = paused_and_started_again(start)
    assert acme.delete(f"/v1/files/{show(acme, job)['training_file']}").status == 200
    acme.request("POST", f"/v1/fine_tuning/jobs/{job}/resume")
    failed = wait_for(acme, job)
    assert failed["status"] == "failed" and failed["error"]["code"] == "file_not_found" and failed["error"]["param"] == "training_file"
