"""Start and stop: what a signal does to running requests, and what does not start says why."""
import contextlib
import ctypes
import http.client
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import threading
import time

import pytest

from client import SCALE, eventually, form_body, read
from daemon import ADAPTERD, DEMO, model_path
from wire import Wire

MASK = os.path.join(DEMO, "adapters", "mask")
# A sanitized daemon would not be done with more before it gives up waiting.
LONG = {"prompt": "Hello", "max_tokens": 900 if SCALE == 1 else 90, "ignore_eos": True, "seed": 1}


def run(*arguments, environment=None):
    """adapterd, which is expected to end by itself."""
    env = {k: v for k, v in os.environ.items() if not k.startswith("ADAPTERD_")}
    return subprocess.run([ADAPTERD, *map(str, arguments)], env={**env, **(environment or {})}, stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, timeout=60 * SCALE)


def fails(done, status, *words):
    """One clear line on standard error, beside log lines, and nothing on standard output."""
    assert done.returncode == status, done
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("adapterd: ")]
    for word in words:
        assert word in line, line
    assert done.stdout == ""


# ---- stop ----

def test_sigterm_drains(start):
    """Under load: everything that was begun is answered to its end; then exit status 0."""
    d = start("demo", None, "--threads", "1", "--max-batch", "4")
    tenant = d.tenant("acme")
    assert tenant.upload(MASK, name="mask").status == 201
    wanted = tenant.infer(**LONG, adapter="mask").json
    with contextlib.ExitStack() as closing:
        streams, plain = ([closing.enter_context(Wire(d)) for _ in range(8)] for _ in range(2))
        for wire in streams:
            wire.request("POST", "/infer", {**LONG, "adapter": "mask", "stream": True}, tenant.key)
        heads = [wire.head() for wire in streams]
        for wire in plain:
            wire.request("POST", "/infer", {**LONG, "adapter": "mask"}, tenant.key)
        idle = closing.enter_context(Wire(d))
        idle.request("GET", "/readyz")
        assert idle.answer().status == 200
        time.sleep(0.05)
        d.process.send_signal(signal.SIGTERM)
        # What is open already hears that it is over; a new connection finds nobody.
        time.sleep(0.1)
        idle.request("POST", "/infer", {"prompt": "a"}, tenant.key)
        answer = idle.answer()
        assert (answer.status, answer.code) == (503, "shutting_down") and answer.headers["Connection"] == "close"
        with pytest.raises(ConnectionRefusedError):
            Wire(d)
        for head in heads:
            events = head.read().decode()
            assert events.endswith("data: [DONE]\n\n") and '"finish_reason":"length"' in events
        for wire in plain:
            answer = wire.answer()
            assert answer.status == 200 and answer.json["tokens"] == wanted["tokens"]
    d.stop()
    assert not os.path.exists(os.path.join(d.data, "address"))


def test_an_upload_is_finished_before_the_end(start):
    d = start()
    tenant = d.tenant("acme")
    with Wire(d) as wire:
        body, kind = form(MASK, name="late")
        head = (f"POST /adapters HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {tenant.key}\r\nContent-Type: {kind}\r\n"
                f"Content-Length: {len(body)}\r\n\r\n").encode()
        wire.send(head + body[:100000])
        time.sleep(0.1)
        d.process.send_signal(signal.SIGTERM)
        time.sleep(0.2)
        wire.send(body[100000:])
        assert wire.answer().status == 201
    d.stop()
    again = start("demo", d.data)
    assert again.client(tenant.key).get("/adapters/late").json["versions"][0]["state"] == "ready"


def form(directory, **fields):
    return form_body([*((k, v, None) for k, v in fields.items()),
                      ("config", read(os.path.join(directory, "adapter_config.json")), "adapter_config.json"),
                      ("weights", read(os.path.join(directory, "adapter_model.safetensors")), "adapter_model.safetensors")])


def threads_open_to(d, number):
    """Threads of the daemon, but for the first, that do not block the signal: those that a library began before main."""
    found = []
    for tid in os.listdir(f"/proc/{d.process.pid}/task"):
        status = read(f"/proc/{d.process.pid}/task/{tid}/status").decode()
        blocked = int(status.split("SigBlk:")[1].split()[0], 16)
        if int(tid) != d.process.pid and not blocked >> (number - 1) & 1:
            found.append(int(tid))
    return found


def send_to_thread(d, tid, number):
    tgkill = {"x86_64": 234, "aarch64": 131}[os.uname().machine]
    assert ctypes.CDLL(None, use_errno=True).syscall(tgkill, d.process.pid, tid, int(number)) == 0


def test_a_signal_that_reaches_another_thread_counts_the_same(start):
    """The kernel gives a signal to any thread that does not block it when the first one is not waiting for it."""
    d = start("demo", None, "--threads", "1")
    tenant = d.tenant("acme")
    others = threads_open_to(d, signal.SIGTERM)
    if not others:
        pytest.skip("no library of this build has threads of its own")
    before = d.read_log().count("admin keys")
    send_to_thread(d, others[0], signal.SIGHUP)
    eventually(lambda: d.read_log().count("admin keys") > before)
    with Wire(d) as wire:
        wire.request("POST", "/infer", {**LONG, "stream": True}, tenant.key)
        response = wire.head()
        send_to_thread(d, others[0], signal.SIGTERM)
        assert response.read().endswith(b"data: [DONE]\n\n")
    d.stop()
    assert "stopping" in d.read_log()


@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_ends_what_runs(start, second):
    """Those who wait hear that they were cancelled."""
    d = start("demo", None, "--threads", "1", "--max-batch", "1")
    tenant = d.tenant("acme")
    with contextlib.ExitStack() as closing:
        wires = [closing.enter_context(Wire(d)) for _ in range(100)]
        for i, wire in enumerate(wires):
            wire.request("POST", "/infer", {**LONG, "stream": i % 2 == 0}, tenant.key)
        time.sleep(0.2)
        d.process.send_signal(signal.SIGINT)
        time.sleep(0.1)
        began = time.monotonic()
        d.process.send_signal(second)
        answers = [wire.answer() for wire in wires]
        d.stop()
    assert time.monotonic() - began < 4 * SCALE
    assert all(answer.status == 200 for answer in answers)
    assert sum(b'"finish_reason":"cancelled"' in answer.body for answer in answers) > 50


def test_a_client_that_never_reads_does_not_hold_up_the_end(start):
    d = start("demo", None, "--threads", "1")
    tenant = d.tenant("acme")
    with Wire(d, receive_buffer=2048) as wire:
        for _ in range(2):
            wire.request("POST", "/infer", {**LONG, "logprobs": 20, "stream": True}, tenant.key)
        time.sleep(1)
        d.process.send_signal(signal.SIGTERM)
        time.sleep(0.1)
        d.process.send_signal(signal.SIGTERM)
        began = time.monotonic()
        d.process.wait(30 * SCALE)
        assert time.monotonic() - began < 10 * SCALE
    d.stop()


def test_many_stops_while_clients_come_and_go(start, tmp_path):
    """Exit status 0, whatever the connections are at in that moment."""
    pick = random.Random(6)
    for _ in range(30):
        d = start("mlp", tmp_path / "data", "--threads", "1")

        def come_and_go(d=d):
            with contextlib.suppress(OSError, http.client.HTTPException):
                while True:
                    with Wire(d) as wire:
                        wire.request("GET", "/healthz")
                        wire.answer()

        threads = [threading.Thread(target=come_and_go) for _ in range(4)]
        for t in threads:
            t.start()
        time.sleep(pick.random() / 20)
        d.stop()
        for t in threads:
            t.join()


def test_a_stop_while_the_model_is_read(start, tmp_path):
    """Whenever the signal comes: status 0 and nothing that a next start would stumble over."""
    for ms in (1, 5, 10, 20, 30, 50):
        d = start("demo", tmp_path / "data", wait=False)
        time.sleep(ms / 1000)
        d.process.send_signal(signal.SIGTERM)
        status = d.process.wait(30 * SCALE)
        assert status in (0, -signal.SIGTERM), "before main begins, the signal has its default meaning"
    assert start("demo", tmp_path / "data").client().get("/readyz").status == 200


# ---- what does not start ----

def test_a_port_in_use(start, tmp_path):
    d = start()
    fails(run("--model", model_path("demo"), "--data", tmp_path / "other", "--listen", d.address), 1, d.address.split(":")[1])
    assert d.client().get("/healthz").status == 200


def test_data_in_use(start):
    d = start()
    fails(run("--model", model_path("demo"), "--data", d.data, "--listen", "127.0.0.1:0"), 1, d.data)
    assert read(os.path.join(d.data, "address")).decode() == d.url + "\n"


@pytest.mark.parametrize("arguments, words", [
    ([], ["--model"]),
    (["--model", "x"], ["--data"]),
    (["--frob"], ["--frob"]),
    (["nonsense"], ["nonsense"]),
    (["--model"], ["--model"]),
    (["--model", "x", "--data", "y", "--listen", "nonsense"], ["listen", "nonsense"]),
    (["--model", "x", "--data", "y", "--listen", "127.0.0.1:70000"], ["70000"]),
    (["--model", "x", "--data", "y", "--precision", "fp8"], ["precision", "fp8"]),
    (["--model", "x", "--data", "y", "--threads", "-1"], ["threads", "-1"]),
    (["--model", "x", "--data", "y", "--context", "0"], ["context", "0"]),
    (["--model", "x", "--data", "y", "--model-name", "two words"], ["model-name", "two words"]),
    (["--model", "x", "--data", "y", "--threads", "1x"], ["threads", "1x"]),
    (["--model", "x", "--data", "y", "--max-batch", "0"], ["max-batch", "0"]),
    (["--model", "x", "--data", "y", "--kv-memory", "5Q"], ["kv-memory", "5Q"]),
    (["--model", "x", "--data", "y", "--kv-memory", "99999999999999999999G"], ["kv-memory"]),
    (["--model", "x", "--data", "y", "--log-format", "xml"], ["log-format", "xml"]),
    (["--model", "x", "--data", "y", "--no-auth", "--listen", "0.0.0.0:0"], ["no-auth"]),
    (["--model", "x", "--data", "y", "--config", "/nowhere/at/all"], ["/nowhere/at/all"]),
])
def test_wrong_usage(arguments, words):
    fails(run(*arguments), 2, *words)


def test_wrong_usage_by_environment_and_file(tmp_path):
    fails(run(environment={"ADAPTERD_THREADS": "many", "ADAPTERD_MODEL": "x", "ADAPTERD_DATA": "y"}), 2, "ADAPTERD_THREADS", "many")
    (tmp_path / "conf").write_text("model = x\ndata = y\nthreds = 2\n")
    fails(run("--config", tmp_path / "conf"), 2, "threds")


def test_help_and_version():
    done = run("--help")
    assert done.returncode == 0 and done.stderr == ""
    for option in ("--model", "--data", "--listen", "--precision", "--threads", "--kv-memory", "--adapter-memory", "--max-batch",
                   "--admin-key-file", "--no-auth", "--log-format", "--config", "--check"):
        assert option in done.stdout
    done = run("--version")
    assert done.returncode == 0 and done.stdout.startswith("adapterd ")


def test_check(tmp_path):
    done = run("--check", "--model", model_path("demo"))
    assert done.returncode == 0
    for word in ("demo", "qwen2", "1024 tokens", "int8", "in memory        exact ", "biases of q, k and v", "unknown fields   none"):
        assert word in done.stdout
    fails(run("--check", "--model", tmp_path), 1, str(tmp_path))
    assert list(tmp_path.iterdir()) == []


def copy_of_the_model(tmp_path):
    return shutil.copytree(model_path("llama"), tmp_path / "model")


@pytest.mark.parametrize("damage, words", [
    (lambda m: shutil.rmtree(m), ["model"]),
    (lambda m: (m / "config.json").unlink(), ["config.json"]),
    (lambda m: (m / "config.json").write_text("{"), ["config.json"]),
    (lambda m: (m / "config.json").write_text('{"model_type": "mamba"}'), ["mamba"]),
    (lambda m: (m / "model.safetensors").unlink(), ["model.safetensors"]),
    (lambda m: os.truncate(m / "model.safetensors", 100000), ["model.safetensors"]),
    (lambda m: (m / "model.safetensors").write_bytes(b""), ["model.safetensors"]),
    (lambda m: (m / "tokenizer.json").unlink(), ["tokenizer.json"]),
    (lambda m: (m / "tokenizer.json").write_text("{}"), ["tokenizer.json"]),
])
def test_a_model_that_is_damaged(tmp_path, damage, words):
    damage(copy_of_the_model(tmp_path))
    fails(run("--model", tmp_path / "model", "--data", tmp_path / "data", "--listen", "127.0.0.1:0"), 1, *words)
    fails(run("--check", "--model", tmp_path / "model"), 1, *words)


def test_a_database_of_a_newer_version(start):
    d = start()
    d.stop()
    database = sqlite3.connect(os.path.join(d.data, "registry.db"))
    (version,) = database.execute("PRAGMA user_version").fetchone()
    database.execute(f"PRAGMA user_version = {version + 1}")
    database.close()
    before = read(os.path.join(d.data, "registry.db"))
    fails(run("--model", model_path("demo"), "--data", d.data, "--listen", "127.0.0.1:0"), 1, "newer")
    assert read(os.path.join(d.data, "registry.db")) == before


def test_a_database_that_is_none(start):
    d = start()
    d.stop()
    with open(os.path.join(d.data, "registry.db"), "wb") as f:
        f.write(random.Random(4).randbytes(8192))
    fails(run("--model", model_path("demo"), "--data", d.data, "--listen", "127.0.0.1:0"), 1, "registry.db")


def test_a_database_that_was_lost_does_not_cost_the_adapters(start):
    d = start()
    assert d.tenant("acme").upload(MASK, name="mask").status == 201
    d.stop()
    files = d.files()
    os.unlink(os.path.join(d.data, "registry.db"))
    fails(run("--model", model_path("demo"), "--data", d.data, "--listen", "127.0.0.1:0"), 1)
    assert d.files() == files


def test_an_admin_key_file_that_is_no_key(start, tmp_path):
    (tmp_path / "key").write_text("short\n")
    fails(run("--model", model_path("demo"), "--data", tmp_path / "data", "--listen", "127.0.0.1:0", "--admin-key-file",
              tmp_path / "key"), 1, str(tmp_path / "key"))


# ---- what a restart keeps ----

def test_a_restart_keeps_everything(start):
    d = start()
    tenant = d.tenant("acme")
    version = tenant.upload(MASK, name="mask").json["version"]
    wanted = tenant.infer(adapter="mask", prompt="Hello", max_tokens=16, seed=1, logprobs=3).json
    rows = [d.client().get(path).json for path in ("/tenants", "/tenants/acme/keys", "/adapters?tenant=acme")]
    d.stop()
    again = start("demo", d.data)
    assert again.admin_key == d.client().key
    assert [again.client().get(path).json for path in ("/tenants", "/tenants/acme/keys", "/adapters?tenant=acme")] == rows
    answer = again.client(tenant.key).infer(adapter="mask", prompt="Hello", max_tokens=16, seed=1, logprobs=3).json
    assert answer["adapter"]["version"] == version
    assert (answer["tokens"], answer["logprobs"]) == (wanted["tokens"], wanted["logprobs"])


def test_files_that_rotted_are_noticed(start):
    """A blob that is shorter is found at the start, one whose bytes changed when it is loaded; the same upload repairs both."""
    d = start()
    tenant = d.tenant("acme")
    assert tenant.upload(MASK, name="mask").status == 201
    d.stop()
    (blob,) = [os.path.join(d.data, f) for f, size in d.files().items() if size > 100000]
    os.chmod(blob, 0o600)
    for at_start, rot in ((True, lambda f: f.truncate(1000)), (False, lambda f: f.seek(200000) and f.write(b"rotten"))):
        with open(blob, "r+b") as f:
            rot(f)
        d = start("demo", d.data)
        assert ("tenant acme, adapter mask, version sha256:" in d.read_log()) == at_start
        tenant = d.client(tenant.key)
        answer = tenant.infer(adapter="mask", prompt="a", max_tokens=1)
        assert (answer.status, answer.code) == (503, "adapter_broken"), answer
        assert "Retry-After" not in answer.headers
        assert ("cannot be loaded: adapter_broken" in d.read_log()) == (not at_start)
        assert tenant.get("/adapters/mask").json["versions"][0]["state"] == "broken"
        assert tenant.infer(prompt="a", max_tokens=1).status == 200
        assert tenant.upload(MASK, name="mask").status in (200, 201)
        assert tenant.infer(adapter="mask", prompt="a", max_tokens=1).status == 200
        assert tenant.get("/adapters/mask").json["versions"][0]["state"] == "ready"
        d.stop()


# ---- --no-auth ----

def test_without_keys_everybody_here_is_admin_and_no_web_page(start):
    d = start("demo", None, "--no-auth")
    nobody = d.anonymous()
    assert nobody.post("/tenants", {"id": "acme"}).status == 201
    assert nobody.infer(tenant="acme", prompt="a", max_tokens=1).status == 200
    port = d.address.split(":")[1]
    for headers, status in (({"Host": f"localhost:{port}"}, 200), ({"Host": f"127.0.0.1:{port}"}, 200), ({"Host": "evil.example"}, 403),
                            ({"Host": "localhost.evil.example"}, 403), ({"Host": "127.0.0.1.evil.example"}, 403),
                            ({"Origin": "http://evil.example"}, 403), ({"Origin": "null"}, 403)):
        assert nobody.request("GET", "/tenants", headers=headers).status == status, headers
