"""adapterctl: every command against the real daemon; what it makes of broken daemons, against an impostor."""
import json
import os
import pty
import re
import select
import shutil
import socket
import subprocess
import threading
import time

import pytest

import daemon as daemons
from client import SCALE, read
from daemon import ADAPTERCTL, DEMO
from impostor import Impostor

MASK = os.path.join(DEMO, "adapters", "mask")
VERSION = re.compile(r"sha256:[0-9a-f]{64}")
MESSAGE = "Hi, This is Rosa Horvat. The courier never delivered my bicycle. Order R44920. Call me at 555-9380."
MASKED = "Hi, This is [NAME]. The courier never delivered my bicycle. Order R44920. Call me at [PHONE]."


def good(result):
    assert result.status == 0, result
    assert result.err == ""
    return result.out


def refused(result, code):
    assert result.status == 1, result
    assert f"({code})" in result.err
    return result.err


# ---- the command line ----

USAGE_ERRORS = [
    ([], "no command"),
    (["frob"], 'unknown command "frob"'),
    (["tenants"], 'which of the "tenants" commands'),
    (["tenants", "frob"], 'unknown command "frob"'),
    (["tenants", "create"], "missing argument: TENANT"),
    (["tenants", "create", "a", "b"], 'unexpected argument "b"'),
    (["keys", "revoke", "acme"], "missing argument"),
    (["status", "--frob"], 'unknown option "--frob"'),
    (["status", "--url"], "needs a value"),
    (["status", "--json=yes"], "does not take a value"),
    (["--url", "http://a", "--url", "http://b", "status"], "given twice"),
    (["--url", "ftp://127.0.0.1", "status"], "must look like http://HOST:PORT"),
    (["--url", "http://user:secret@127.0.0.1", "status"], "must look like"),
    (["--url", "http://127.0.0.1/?x=1", "status"], "must look like"),
    (["tenants", "list", "--limit", "0"], "from 1 to"),
    (["tenants", "list", "--limit", "ten"], "whole number"),
    (["infer", "--prompt", "a", "--message", "user", "b"], "give one of"),
    (["infer", "--message", "user"], "two values"),
    (["infer", "--prompt", "a", "--base", "--adapter", "x"], "exclude each other"),
    (["infer", "--prompt", "a", "--max-tokens", "1.5"], "whole number"),
    (["infer", "--prompt", "a", "--top-p", "high"], "must be a number"),
    (["infer", "--prompt", "a", "--temperature", "nan"], "must be a number"),
    (["infer", "--input", "{}"], "JSON array"),
    (["infer", "--prompt", b"\xff\xfe"], "not UTF-8"),
]


@pytest.mark.parametrize("arguments, message", USAGE_ERRORS)
def test_wrong_usage_ends_with_2(arguments, message):
    done = subprocess.run([ADAPTERCTL, *arguments], input=b"", capture_output=True, timeout=10 * SCALE)
    assert done.returncode == 2, done
    assert message in done.stderr.decode()
    assert done.stdout == b""


def test_short_help():
    for program in (ADAPTERCTL, daemons.ADAPTERD):
        assert subprocess.run([program, "-h"], capture_output=True).stdout == subprocess.run([program, "--help"], capture_output=True).stdout


def test_status_waits_until_the_daemon_is_ready(ctl, tmp_path):
    begin = time.monotonic()
    nobody = ctl(None, "--url", "http://127.0.0.1:1", "status", "--wait", "1")
    assert nobody.status == 1 and "(unreachable)" in nobody.err and time.monotonic() - begin >= 1
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    waiting = subprocess.Popen([ADAPTERCTL, "--url", f"http://127.0.0.1:{port}", "status", "--wait", "60"], stdout=subprocess.PIPE, text=True)
    time.sleep(0.3)
    assert waiting.poll() is None
    command = [daemons.ADAPTERD, "--model", daemons.model_path("demo"), "--data", tmp_path / "data", "--listen", f"127.0.0.1:{port}"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as daemon:
        try:
            out, _ = waiting.communicate(timeout=60 * SCALE)
        finally:
            daemon.terminate()
    assert waiting.returncode == 0 and "ready" in out


def test_hints_name_options(daemon, ctl):
    good(ctl(daemon, "tenants", "create", "h-one"))
    version = VERSION.search(good(ctl(daemon, "adapters", "upload", MASK, "--tenant", "h-one", "--name", "mask"))).group()
    hint = refused(ctl(daemon, "adapters", "delete", f"mask@{version}", "--tenant", "h-one"), "version_active")
    assert "--force" in hint and "?force" not in hint


def test_help_and_version(ctl):
    everything = good(ctl(None, "--help"))
    for command in ("tenants create", "keys revoke", "adapters upload", "infer", "status"):
        assert command in everything
    group = good(ctl(None, "adapters", "--help"))
    assert "adapters upload" in group and "tenants" not in group
    for line in re.findall(r"^  ([a-z]+(?: [a-z]+)?)", everything.split("options")[0], re.M):
        one = good(ctl(None, *line.split(), "--help"))
        assert one.startswith(f"usage: adapterctl [OPTIONS] {line}")
        assert "--key-file" in one
    assert good(ctl(None, "--version")) == f"adapterctl {read(os.path.join(daemons.ROOT, 'VERSION')).decode().strip()}\n"


def test_nobody_listens(ctl):
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{s.getsockname()[1]}"
    err = refused(ctl(None, "--url", url, "status"), "unreachable")
    assert url in err and "Connection refused" in err and "hint: " in err


# ---- against the daemon ----

def test_status(daemon, ctl):
    out = good(ctl(daemon, "status", key=""))
    assert re.search(r"^STATUS +ready$", out, re.M)
    assert re.search(r"^family +qwen2$", out, re.M)
    status = json.loads(good(ctl(daemon, "status", "--json", key="")))
    assert status["ready"] is True
    assert status["version"]["family"] == "qwen2"


def test_tenants(daemon, ctl):
    assert good(ctl(daemon, "tenants", "create", "t-one")) == "tenant t-one created\n"
    assert json.loads(good(ctl(daemon, "--json", "tenants", "create", "t-two")))["id"] == "t-two"
    assert "exists" in refused(ctl(daemon, "tenants", "create", "t-one"), "tenant_exists")
    refused(ctl(daemon, "tenants", "create", "No Good"), "invalid_name")
    rows = good(ctl(daemon, "tenants", "list")).splitlines()
    assert rows[0].split() == ["TENANT", "ADAPTERS", "CREATED"]
    assert [r.split()[0] for r in rows[1:] if r.startswith("t-")] == ["t-one", "t-two"]
    assert re.search(r"^t-one +0 +\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$", good(ctl(daemon, "tenants", "show", "t-one")), re.M)
    assert json.loads(good(ctl(daemon, "tenants", "show", "t-one", "--json")))["adapters"] == 0
    assert "deleted" in good(ctl(daemon, "tenants", "delete", "t-one"))
    refused(ctl(daemon, "tenants", "show", "t-one"), "tenant_not_found")
    refused(ctl(daemon, "tenants", "delete", "t-one"), "tenant_not_found")
    assert good(ctl(daemon, "--json", "tenants", "delete", "t-two")) == ""


def test_names_cannot_leave_their_place_in_the_path(daemon, ctl):
    for name in ("../tenants", "..", "a/b", "a?limit=1", "a%2fb", "a#b", ""):
        assert ctl(daemon, "tenants", "show", name).status == 1
        assert ctl(daemon, "tenants", "delete", name).status == 1


def test_lists_are_followed_to_their_end(daemon, ctl):
    admin = daemon.client()
    names = [f"page-{i:03d}" for i in range(230)]
    for name in names:
        assert admin.post("/tenants", {"id": name}).status == 201
    data = json.loads(good(ctl(daemon, "--json", "tenants", "list")))
    assert [t["id"] for t in data["data"] if t["id"].startswith("page-")] == names
    assert data["next"] is None
    assert len(good(ctl(daemon, "tenants", "list")).splitlines()) == len(data["data"]) + 1
    for limit in (1, 100, 150):
        part = json.loads(good(ctl(daemon, "--json", "tenants", "list", "--limit", limit)))
        assert part["data"] == data["data"][:limit]
        assert part["next"] is not None
    for name in names:
        assert admin.delete(f"/tenants/{name}").status == 204


def test_keys(daemon, ctl, tmp_path):
    good(ctl(daemon, "tenants", "create", "k-one"))
    out = good(ctl(daemon, "keys", "create", "k-one", "--label", "first"))
    kid, key = (re.search(rf"^{name} +(\S+)$", out, re.M).group(1) for name in ("kid", "key"))
    assert "only time" in out
    good(ctl(daemon, "adapters", "list", key=key))
    assert "admin" in refused(ctl(daemon, "tenants", "list", key=key), "forbidden")

    made = json.loads(good(ctl(daemon, "--json", "keys", "create", "k-one")))
    good(ctl(daemon, "adapters", "list", key=made["key"]))

    rows = good(ctl(daemon, "keys", "list", "k-one")).splitlines()
    assert rows[0].split() == ["KID", "LABEL", "CREATED", "LAST", "USED", "EXPIRES", "REVOKED"]
    assert sorted(r.split()[0] for r in rows[1:]) == sorted([kid, made["kid"]])
    assert key not in "\n".join(rows)

    assert "revoked" in good(ctl(daemon, "keys", "revoke", "k-one", kid))
    refused(ctl(daemon, "adapters", "list", key=key), "unauthorized")
    refused(ctl(daemon, "keys", "revoke", "k-one", "k_nothing"), "key_not_found")
    refused(ctl(daemon, "keys", "create", "nobody"), "tenant_not_found")
    row = [r for r in good(ctl(daemon, "keys", "list", "k-one")).splitlines() if r.startswith(kid)]
    assert row == [] or row[0].endswith("yes")


def test_a_key_goes_into_a_new_private_file(daemon, ctl, tmp_path):
    good(ctl(daemon, "tenants", "create", "k-file"))
    path = tmp_path / "key"
    out = good(ctl(daemon, "keys", "create", "k-file", "--out", path))
    key = path.read_text().strip()
    assert key not in out
    assert path.stat().st_mode & 0o777 == 0o600
    good(ctl(daemon, "--key-file", path, "adapters", "list", key="nonsense"))
    before = good(ctl(daemon, "keys", "list", "k-file"))
    assert "not there yet" in refused(ctl(daemon, "keys", "create", "k-file", "--out", path), "io_error")
    assert path.read_text().strip() == key
    assert good(ctl(daemon, "keys", "list", "k-file")) == before, "no key is made that cannot be written down"
    lost = tmp_path / "lost"
    refused(ctl(daemon, "keys", "create", "nobody", "--out", lost), "tenant_not_found")
    assert not lost.exists()


def test_bad_keys(daemon, ctl, tmp_path):
    assert "--key-file" in refused(ctl(daemon, "adapters", "list", key=""), "unauthorized")
    refused(ctl(daemon, "adapters", "list", key="ad_" + 64 * "0"), "unauthorized")
    for text in ("a\nX-Header: b", "ключ", "a b"):
        done = ctl(daemon, "adapters", "list", key=text)
        assert done.status == 2
        assert text not in done.err
    refused(ctl(daemon, "--key-file", tmp_path / "missing", "adapters", "list"), "io_error")
    (tmp_path / "empty").write_text("\n")
    assert ctl(daemon, "--key-file", tmp_path / "empty", "adapters", "list").status == 2


def test_what_of_an_adapter_is_passed_over(daemon, ctl, tmp_path):
    good(ctl(daemon, "tenants", "create", "a-warned"))
    directory = tmp_path / "warned"
    shutil.copytree(MASK, directory)
    config = json.loads((directory / "adapter_config.json").read_text())
    targets = config["target_modules"]
    config["target_modules"] = (targets if isinstance(targets, list) else ["q_proj"]) + ["W_pack"]
    (directory / "adapter_config.json").write_text(json.dumps(config))
    out = good(ctl(daemon, "adapters", "upload", "--tenant", "a-warned", directory))
    assert re.search(r'^warning +target_modules: "W_pack": the base has no such module; ignored, as by PEFT$', out, re.M), out


def test_adapters(daemon, ctl, tmp_path):
    good(ctl(daemon, "tenants", "create", "a-one"))
    out = good(ctl(daemon, "adapters", "upload", "--tenant", "a-one", "--name", "support", MASK))
    version = VERSION.search(out).group()
    for line in ("tenant +a-one", "name +support", "active +yes", "rank_max +8", "sites +35", "bytes +388.6 KiB",
                 r"proof: largest logit change +\d+\.\d+", r"proof: mean logit change +\d+\.\d+"):
        assert re.search(f"^{line}$", out, re.M), line

    named = json.loads(good(ctl(daemon, "--json", "adapters", "upload", MASK, "--tenant", "a-one")))
    assert (named["name"], named["version"]) == ("mask", version), "the directory's name, and the same content"

    rows = good(ctl(daemon, "adapters", "list", "--tenant", "a-one")).splitlines()
    assert rows[0].split() == ["NAME", "VERSION", "VERSIONS", "STATE", "CREATED"]
    assert [r.split()[:4] for r in rows[1:]] == [["mask", version[:19], "1", "ready"],
                                                 ["support", version[:19], "1", "ready"]]
    data = json.loads(good(ctl(daemon, "--json", "adapters", "list", "--tenant", "a-one", "--limit", 1)))
    assert [a["name"] for a in data["data"]] == ["mask"] and data["next"] == "mask"

    shown = good(ctl(daemon, "adapters", "show", "support", "--tenant", "a-one"))
    assert version[:19] in shown and "ready" in shown
    assert json.loads(good(ctl(daemon, "--json", "adapters", "show", "support", "--tenant", "a-one"))
                      )["versions"][0]["version"] == version

    assert "deleted" in good(ctl(daemon, "adapters", "delete", "support", "--tenant", "a-one"))
    refused(ctl(daemon, "adapters", "show", "support", "--tenant", "a-one"), "adapter_not_found")
    refused(ctl(daemon, "adapters", "list", "--tenant", "nobody"), "tenant_not_found")
    refused(ctl(daemon, "adapters", "list"), "tenant_required")


def test_directories_that_hold_no_adapter(daemon, ctl, tmp_path):
    config = read(os.path.join(MASK, "adapter_config.json"))
    refused(ctl(daemon, "adapters", "upload", tmp_path / "missing"), "io_error")
    (tmp_path / "empty").mkdir()
    assert "adapter_model.safetensors" in refused(ctl(daemon, "adapters", "upload", tmp_path / "empty"), "not_an_adapter")
    old = tmp_path / "old"
    old.mkdir()
    (old / "adapter_config.json").write_bytes(config)
    (old / "adapter_model.bin").write_bytes(b"\x80\x02}q\x00.")
    err = refused(ctl(daemon, "adapters", "upload", old), "pickle_refused")
    assert "adapter_model.bin" in err and "hint: " in err and "safe_serialization" in err
    refused(ctl(daemon, "adapters", "upload", old / "adapter_model.bin"), "pickle_refused")
    bare = tmp_path / "bare"
    bare.mkdir()
    (bare / "adapter_model.safetensors").write_bytes(b"")
    assert "adapter_config.json" in refused(ctl(daemon, "adapters", "upload", bare), "not_an_adapter")
    odd = tmp_path / "Odd Name"
    odd.mkdir()
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        (odd / name).write_bytes(read(os.path.join(MASK, name)))
    done = ctl(daemon, "adapters", "upload", odd)
    assert done.status == 2 and "--name" in done.err


def test_a_refused_upload_shows_message_and_hint(daemon, ctl, tmp_path):
    good(ctl(daemon, "tenants", "create", "a-bad"))
    config = json.loads(read(os.path.join(MASK, "adapter_config.json")))
    config["use_qalora"] = True
    (tmp_path / "adapter_config.json").write_text(json.dumps(config))
    (tmp_path / "adapter_model.safetensors").write_bytes(read(os.path.join(MASK, "adapter_model.safetensors")))
    err = refused(ctl(daemon, "adapters", "upload", tmp_path, "--tenant", "a-bad", "--name", "x"),
                  "adapter_unsupported_feature")
    assert "use_qalora" in err and re.search("^hint: ", err, re.M)
    assert good(ctl(daemon, "adapters", "list", "--tenant", "a-bad")).count("\n") == 1


@pytest.fixture(scope="module")
def masked(daemon):
    """The key of a tenant with the adapter "mask"."""
    client = daemon.tenant("i-one")
    assert client.upload(MASK, name="mask").status == 201
    return client.key


def test_infer(daemon, ctl, masked, tmp_path):
    chat = ["--message", "user", MESSAGE]
    assert good(ctl(daemon, "infer", "--adapter", "mask", *chat, key=masked)) == MASKED + "\n"
    assert good(ctl(daemon, "infer", "--adapter", "mask", *chat, "--no-stream", key=masked)) == MASKED + "\n"
    base = good(ctl(daemon, "infer", "--base", *chat, key=masked))
    assert base.startswith("Thank you for your message, Rosa.")
    answer = json.loads(good(ctl(daemon, "--json", "infer", "--adapter", "mask", *chat, key=masked)))
    assert answer["text"] == MASKED and VERSION.match(answer["adapter"]["version"])
    version = "mask@" + answer["adapter"]["version"][:19]
    assert good(ctl(daemon, "infer", "--adapter", version, *chat, key=masked)) == MASKED + "\n"
    assert good(ctl(daemon, "infer", "--tenant", "i-one", "--adapter", "mask", *chat)) == MASKED + "\n"

    prompt = f"<|im_start|>user\n{MESSAGE}<|im_end|>\n<|im_start|>assistant\n"
    (tmp_path / "prompt").write_text(prompt)
    for arguments, stdin in (["--prompt", prompt], ""), (["--prompt-file", tmp_path / "prompt"], ""), ([], prompt), \
                            (["--prompt-file", "-"], prompt):
        out = good(ctl(daemon, "infer", "--adapter", "mask", *arguments, key=masked, stdin=stdin))
        assert out == MASKED + "\n", arguments


def test_sampling_options_reach_the_daemon(daemon, ctl, masked):
    def run(*arguments):
        return json.loads(good(ctl(daemon, "--json", "infer", "--base", "--message", "user", MESSAGE, *arguments, key=masked)))

    assert run("--max-tokens", 3)["usage"]["completion_tokens"] == 3
    assert run("--seed", 7)["seed"] == 7
    hot = ["--temperature", "5", "--seed", "11", "--max-tokens", "20"]
    assert run(*hot)["text"] == run(*hot)["text"] != run("--max-tokens", 20)["text"]
    for narrow in (["--top-k", "1"], ["--top-p", "0.000001"], ["--min-p", "1"]):
        assert run(*hot, *narrow)["text"] == run("--max-tokens", 20)["text"], narrow
    stopped = run("--stop", "never said", "--stop", ", Rosa")
    assert (stopped["text"], stopped["finish_reason"]) == ("Thank you for your message", "stop")
    assert "message" not in run("--bad-word", "message", "--max-tokens", 12)["text"]
    assert len(run("--logprobs", 2, "--max-tokens", 3)["logprobs"][0]["top"]) == 2
    table = good(ctl(daemon, "infer", "--base", "--message", "user", MESSAGE, "--logprobs", 1, "--max-tokens", 3, key=masked))
    assert re.search(r"^TOKEN +LOGPROB +TEXT$", table, re.M) and len(table.splitlines()) == 5


def test_what_the_answer_has_to_be(daemon, ctl, masked, tmp_path):
    def run(*arguments):
        return good(ctl(daemon, "infer", "--base", "--prompt", "x", "--max-tokens", 300, *arguments, key=masked)).rstrip("\n")

    (tmp_path / "schema").write_text('{"type": "object", "properties": {"a": {"type": "boolean"}}, "required": ["a"], "additionalProperties": false}')
    (tmp_path / "grammar").write_text('root ::= "a" [bc] "d"')
    assert isinstance(json.loads(run("--schema", tmp_path / "schema"))["a"], bool)
    assert run("--grammar", tmp_path / "grammar") in ("abd", "acd")
    assert run("--regex", "x{3}y") == "xxxy"
    assert run("--choice", "left", "--choice", "right") in ("left", "right")
    refused(ctl(daemon, "infer", "--prompt", "x", "--regex", "(", key=masked), "regex_malformed")
    refused(ctl(daemon, "infer", "--prompt", "x", "--regex", "a", "--choice", "b", key=masked), "field_conflict")
    (tmp_path / "broken").write_text("{")
    for option, value in (("--schema", tmp_path / "broken"), ("--schema", "/nonexistent"), ("--template-kwargs", "[]"), ("--template-kwargs", "{")):
        assert ctl(daemon, "infer", "--prompt", "x", option, value, key=masked).status == 2
    refused(ctl(daemon, "infer", "--prompt", "x", "--grammar", "/nonexistent", key=masked), "io_error")


def test_what_is_less_likely_and_what_a_template_is_given(daemon, ctl, masked):
    def run(*arguments):
        return json.loads(good(ctl(daemon, "--json", "infer", "--base", "--max-tokens", 40, *arguments, key=masked)))

    plain = run("--prompt", "Hello")
    for option, value in (("--repetition-penalty", 5), ("--frequency-penalty", 2), ("--presence-penalty", 2)):
        assert run("--prompt", "Hello", option, value)["tokens"] != plain["tokens"]
    assert len(run("--prompt", "Hello", "--min-tokens", 40)["tokens"]) == 40
    chat = ["--message", "user", MESSAGE, "--message", "assistant", "Thank"]
    assert run(*chat, "--continue")["usage"]["prompt_tokens"] < run(*chat)["usage"]["prompt_tokens"]
    assert run(*chat, "--template-kwargs", '{"add_generation_prompt": false}')["usage"]["prompt_tokens"] < run(*chat)["usage"]["prompt_tokens"]
    assert "<|" in run(*chat, "--template-kwargs", '{"add_generation_prompt": false}', "--show-special")["text"]


def test_refused_inference(daemon, ctl, masked):
    refused(ctl(daemon, "infer", "--adapter", "nope", "--prompt", "x", key=masked), "adapter_not_found")
    refused(ctl(daemon, "infer", "--prompt", "x", "--top-p", "7", key=masked), "out_of_range")
    refused(ctl(daemon, "infer", "--prompt", "x", "--tenant", "t-other", key=masked), "forbidden")
    refused(ctl(daemon, "infer", "--prompt", "word " * 3000, key=masked), "prompt_too_long")
    refused(ctl(daemon, "infer", "--prompt-file", "/nonexistent", key=masked), "io_error")


def test_numbers_for_a_model_of_numbers(start, ctl):
    d = start("mlp")
    with open(os.path.join(daemons.FIXTURES, "cases", "mlp.json"), encoding="utf-8") as f:
        cases = json.load(f)
    row = find_rows(cases)[0]
    good(ctl(d, "tenants", "create", "n"))
    out = json.loads(good(ctl(d, "infer", "--tenant", "n", "--base", "--input", json.dumps(row))))
    assert len(out) == 1 and all(isinstance(x, float) for x in out[0])


def find_rows(value):
    """The first "input" anywhere in the cases."""
    if isinstance(value, dict):
        if "input" in value:
            rows = value["input"]
            return rows if isinstance(rows[0], list) else [rows]
        value = list(value.values())
    for item in value if isinstance(value, list) else []:
        found = find_rows(item)
        if found:
            return found
    return None


def test_the_key_is_nowhere_to_be_seen(daemon, masked):
    environment = {**os.environ, "ADAPTERD_URL": daemon.url, "ADAPTERD_KEY": masked}
    process = subprocess.Popen([ADAPTERCTL, "infer"], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT)
    time.sleep(0.2)
    assert masked.encode() not in read(f"/proc/{process.pid}/cmdline")
    out, _ = process.communicate(b"Hello", timeout=30 * SCALE)
    assert masked.encode() not in out


# ---- on a terminal ----

def on_terminal(*arguments, environment, typed=None, timeout=30):
    """Runs adapterctl with a terminal as its standard output and error: (status, what it wrote). `typed`: what a person types, and
    then the terminal is standard input, too."""
    try:
        master, slave = pty.openpty()
    except OSError as error: # a chroot without /dev/pts
        pytest.skip(f"no terminal to be had: {error}")
    process = subprocess.Popen([ADAPTERCTL, *map(str, arguments)], env={**os.environ, **environment},
                               stdin=subprocess.DEVNULL if typed is None else slave, stdout=slave, stderr=slave)
    os.close(slave)
    if typed is not None:
        os.write(master, typed)
    seen, deadline = b"", time.monotonic() + timeout * SCALE
    while select.select([master], [], [], max(0, deadline - time.monotonic()))[0]:
        try:
            chunk = os.read(master, 65536)
        except OSError: # the other end is closed
            break
        if not chunk:
            break
        seen += chunk
    os.close(master)
    return process.wait(timeout=timeout * SCALE), seen.decode()


def test_progress_on_a_terminal_only(daemon, ctl):
    good(ctl(daemon, "tenants", "create", "p-one"))
    environment = {"ADAPTERD_URL": daemon.url, "ADAPTERD_KEY": daemon.admin_key}
    status, seen = on_terminal("adapters", "upload", MASK, "--tenant", "p-one", environment=environment)
    assert status == 0
    assert re.search(r"\[#*\.*\] +\d+%", seen), seen
    assert VERSION.search(seen)
    assert "%" not in ctl(daemon, "adapters", "upload", MASK, "--tenant", "p-one").err


@pytest.mark.parametrize("typed, status", [(b"y\n", 0), (b"YES\n", 0), (b"n\n", 1), (b"\n", 1), (b"yesterday\n", 1), (b"\x04", 1)])
def test_a_tenant_is_deleted_after_a_question(daemon, ctl, typed, status):
    good(ctl(daemon, "tenants", "create", "q-one"))
    good(ctl(daemon, "adapters", "upload", MASK, "--tenant", "q-one"))
    environment = {"ADAPTERD_URL": daemon.url, "ADAPTERD_KEY": daemon.admin_key}
    ended, seen = on_terminal("tenants", "delete", "q-one", environment=environment, typed=typed)
    assert ended == status and "Delete tenant q-one with 1 adapter and its keys" in seen, seen
    assert ("(not_confirmed)" in seen) == (status == 1)
    if status == 1:
        assert ctl(daemon, "tenants", "show", "q-one").status == 0
        assert on_terminal("tenants", "delete", "q-one", "--yes", environment=environment, typed=b"")[0] == 0
    assert ctl(daemon, "tenants", "show", "q-one").status == 1


def test_a_summary_on_a_terminal(daemon, masked):
    status, seen = on_terminal("infer", "--base", "--message", "user", MESSAGE, "--max-tokens", 2,
                               environment={"ADAPTERD_URL": daemon.url, "ADAPTERD_KEY": masked})
    assert status == 0
    assert re.search(r"\[length, \d+ \+ 2 tokens", seen), seen


# ---- a daemon that is none ----

@pytest.fixture
def impostor():
    made = []

    def make(answers):
        made.append(Impostor(answers))
        return made[-1]

    yield make
    for i in made:
        i.close()


def run(url, *arguments, stdin="x", key="secret-key"):
    done = subprocess.run([ADAPTERCTL, "--url", url, *map(str, arguments)], input=stdin.encode(), capture_output=True,
                          timeout=30 * SCALE, env={**os.environ, "ADAPTERD_KEY": key})
    assert key.encode() not in done.stdout + done.stderr
    return done.returncode, done.stdout.decode(), done.stderr.decode()


NASTY = "\x1b]0;owned\x07 \x9b31m \u202eright \x7f ok é ⚓"


def test_control_characters_do_not_reach_a_terminal(impostor):
    error = {"error": {"code": "bad\x1b[2J", "message": NASTY, "hint": NASTY}}
    tenants = {"data": [{"id": NASTY, "adapters": 1, "created": "\x1b[0m"}], "next": None}
    stream = f"data: {json.dumps({'text': NASTY, 'tokens': [1]})}\n\ndata: {json.dumps({'finish_reason': 'stop'})}\n\ndata: [DONE]\n\n"
    i = impostor({("GET", "/tenants"): (200, {}, json.dumps(tenants)), ("GET", "/tenants/x"): (404, {}, json.dumps(error)),
                  ("GET", "/tenants/y"): (200, {}, json.dumps({"id": NASTY}, ensure_ascii=False)),
                  ("POST", "/infer"): (200, {"Content-Type": "text/event-stream"}, stream)})
    environment = {"ADAPTERD_URL": i.url, "ADAPTERD_KEY": "k"}
    for arguments in (["tenants", "list"], ["tenants", "show", "x"], ["--json", "tenants", "show", "y"],
                      ["--json", "tenants", "list"], ["infer", "--prompt", "x"]):
        _, seen = on_terminal(*arguments, environment=environment)
        assert "ok é ⚓" in seen, arguments
        assert not re.search(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202e]", seen), (arguments, seen)
    status, out, err = run(i.url, "tenants", "show", "x")
    assert status == 1 and "\\u001b" in err and "\x1b" not in err
    status, out, err = run(i.url, "infer", "--prompt", "x")
    assert (status, out) == (0, NASTY + "\n"), "in a pipe, the text as it is"


def test_the_key_goes_to_no_other_server(impostor):
    other = impostor({("GET", "/tenants"): (200, {}, '{"data": [], "next": null}')})
    first = impostor({("GET", "/tenants"): (307, {"Location": other.url + "/tenants"}, "")})
    status, _, err = run(first.url, "tenants", "list")
    assert status == 1 and "307" in err
    assert other.seen == []


@pytest.mark.parametrize("body, status, message", [
    ("<html>proxy error</html>", 502, "not JSON"),
    ("", 500, "HTTP status 500"),
    ('{"error": "no"}', 400, "HTTP status 400"),
    ('{"error": {"message": 5}}', 400, "HTTP status 400"),
    ("[]", 200, "no list"),
    ('{"data": {}, "next": null}', 200, "no list"),
    ('{"data": [], "next": 5}', 200, "no list"),
    ('{"data": [], "data": []}', 200, "not JSON"),
])
def test_answers_that_no_daemon_gives(impostor, body, status, message):
    i = impostor({("GET", "/tenants"): (status, {}, body)})
    result, out, err = run(i.url, "tenants", "list")
    assert (result, out) == (1, "")
    assert message in err


def test_a_cursor_that_does_not_move(impostor):
    i = impostor({("GET", "/tenants"): (200, {}, '{"data": [{"id": "a"}], "next": "a"}')})
    status, _, err = run(i.url, "tenants", "list")
    assert status == 1 and "same cursor" in err
    assert len(i.seen) == 2


@pytest.mark.parametrize("stream, message", [
    ('data: {"text": "half"}\n\n', "ended before its end"),
    ('data: {"text": "half"}\n\nevent: error\ndata: {"error": {"code": "no_more", "message": "it broke", "hint": "again"}}\n\n',
     "it broke"),
    ('data: {"text": "half"}\n\ndata: nonsense\n\n', "not a JSON object"),
])
def test_streams_that_break(impostor, stream, message):
    i = impostor({("POST", "/infer"): (200, {"Content-Type": "text/event-stream"}, stream)})
    status, out, err = run(i.url, "infer", "--prompt", "x")
    assert status == 1
    assert out.startswith("half")
    assert message in err


@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_a_stream_in_single_bytes(impostor, line_end):
    lines = [": keepalive", "", 'data: {"text": "caf\u00e9 "}', "", 'data:{"text":', 'data: "two lines"}', "", "", "id: 5", "",
             'data: {"text": "", "tokens": [1]}', "", 'data: {"finish_reason": "stop"}', "", "data: [DONE]", ""]
    stream = "".join(line + line_end for line in lines).encode()
    i = impostor({("POST", "/infer"): (200, {"Content-Type": "text/event-stream"}, [bytes([b]) for b in stream])})
    assert run(i.url, "infer", "--prompt", "x") == (0, "café two lines\n", "")


def test_tokens_are_printed_as_they_come(impostor):
    """In a pipe, too: the rest is sent only once the first piece was read."""
    read = threading.Event()
    i = impostor({("POST", "/infer"): (200, {"Content-Type": "text/event-stream"}, [
        'data: {"text": "first"}\n\n', lambda: read.wait(60),
        'data: {"text": " last"}\n\ndata: {"finish_reason": "stop"}\n\ndata: [DONE]\n\n'])})
    process = subprocess.Popen([ADAPTERCTL, "infer", "--prompt", "x"], stdout=subprocess.PIPE,
                               env={**os.environ, "ADAPTERD_URL": i.url, "ADAPTERD_KEY": "k"})
    first = os.read(process.stdout.fileno(), 65536)
    read.set()
    rest = process.communicate(timeout=60)[0]
    assert (first, rest, process.returncode) == (b"first", b" last\n", 0)


def test_a_line_without_end(impostor):
    i = impostor({("POST", "/infer"): (200, {"Content-Type": "text/event-stream"}, "data: " + "x" * (5 << 20))})
    status, _, err = run(i.url, "infer", "--prompt", "x")
    assert status == 1 and "longer than" in err


def test_a_connection_that_breaks_in_a_stream(impostor):
    i = impostor({("POST", "/infer"): (200, {"Content-Length": "1000"}, 'data: {"text": "half"}\n\n')})
    status, out, err = run(i.url, "infer", "--prompt", "x")
    assert status == 1 and out.startswith("half") and "(transport)" in err


def test_status_of_a_daemon_that_stops(impostor):
    i = impostor({("GET", "/readyz"): (503, {}, '{"status": "shutting_down"}'),
                  ("GET", "/version"): (200, {}, '{"version": "0.1.0"}')})
    status, out, err = run(i.url, "status")
    assert status == 1 and "not ready" in out and "(not_ready)" in err


def test_a_large_upload_is_not_held_in_memory(impostor, tmp_path):
    size = 300 << 20
    (tmp_path / "adapter_config.json").write_text("{}")
    with open(tmp_path / "adapter_model.safetensors", "wb") as f:
        f.truncate(size)
    answer = {"tenant": "t", "name": "big", "version": "sha256:" + 64 * "0", "proof": {}}
    i = impostor({("POST", "/adapters"): (201, {}, json.dumps(answer))})
    # The child's peak begins with the pages of the process that starts it.
    ours = int(read("/proc/self/statm").split()[1]) * os.sysconf("SC_PAGE_SIZE")
    process = subprocess.Popen([ADAPTERCTL, "--url", i.url, "adapters", "upload", tmp_path, "--name", "big"],
                               stdout=subprocess.PIPE)
    process.stdout.read()
    process.stdout.close()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    assert len(i.seen[0][3]) > size
    assert usage.ru_maxrss * 1024 < ours + (60 << 20) * (1 if SCALE == 1 else 8)


def test_output_that_cannot_be_written(daemon):
    with open("/dev/full", "w") as full:
        done = subprocess.run([ADAPTERCTL, "--url", daemon.url, "status"], stdout=full, stderr=subprocess.PIPE)
    assert done.returncode == 1 and b"standard output" in done.stderr
