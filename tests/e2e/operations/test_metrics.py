"""GET /metrics: the format, who may read it, and that each number says what happened."""
import json
import os
import re
import signal
import threading
import time

import pytest

import exposition
from client import eventually, form_body, read
from daemon import DEMO, ROOT
from test_residency import Held
from test_usage import total, usage
from wire import Wire

MASK = os.path.join(DEMO, "adapters", "mask")
LONG = {"prompt": "Hello", "max_tokens": 100000, "ignore_eos": True, "stream": True}


class Look:
    """All metrics as of one moment."""

    def __init__(self, client):
        answer = client.get("/metrics")
        assert answer.status == 200, answer
        assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
        self.families = exposition.read(answer.body.decode())

    def __call__(self, name, **labels):
        """The sum of the series of that name that have these labels."""
        name = "adapterd_" + name
        family = self.families.get(name) or self.families[re.sub("_(sum|count)$", "", name)]
        return sum(value for (series, found), value in family.samples.items()
                   if series == name and labels.items() <= dict(found).items())

    def growing(self):
        """Every series that may not go down."""
        return {(series, labels): value for family in self.families.values() if family.type != "gauge"
                for (series, labels), value in family.samples.items()}


class Change:
    """What a name changed by since this was made."""

    def __init__(self, daemon):
        self.client = daemon.client()
        self.before = Look(self.client)

    def __call__(self, name, **labels):
        return Look(self.client)(name, **labels) - self.before(name, **labels)


@pytest.fixture
def change(daemon):
    return Change(daemon)


# ---- the format, and the reader of it ----

def test_every_line_is_understood(daemon):
    daemon.tenant("f-acme").infer(prompt="a", max_tokens=4)
    look = Look(daemon.client())
    assert len(look.families) > 50
    for name, family in look.families.items():
        assert re.match("(adapterd|process)_", name) and family.samples, name


GOOD = "# HELP a_total A.\n# TYPE a_total counter\na_total{b=\"c\"} 1\n"
HISTOGRAM = """# HELP h H.
# TYPE h histogram
h_bucket{le="1"} 1
h_bucket{le="2"} 3
h_bucket{le="+Inf"} 3
h_sum 4
h_count 3
"""


@pytest.mark.parametrize("text", [
    GOOD[:-1],
    GOOD + "b_total 1\n",
    GOOD.replace("counter", "count"),
    GOOD.replace("# TYPE a_total counter\n", ""),
    GOOD.replace(' 1\n', ' one\n'),
    GOOD.replace(' 1\n', ' -1\n'),
    GOOD.replace("a_total", "a"),
    GOOD.replace('"c"', '"c""'),
    GOOD.replace('"c"', '"c",b="d"'),
    GOOD + 'a_total{b="c"} 1\n',
    GOOD + "\n",
    GOOD + GOOD,
    HISTOGRAM.replace('"2"} 3', '"2"} 0'),
    HISTOGRAM.replace('Inf"} 3', 'Inf"} 4'),
    HISTOGRAM.replace('"2"', '"0.5"'),
    HISTOGRAM.replace("h_sum 4", "h_sum 6"),
    HISTOGRAM.replace("h_sum 4", "h_sum 1"),
    HISTOGRAM.replace("h_sum 4\n", ""),
], ids=range(18))
def test_the_reader_sees_mistakes(text):
    exposition.read(GOOD + HISTOGRAM)
    with pytest.raises((AssertionError, KeyError)):
        exposition.read(text)


# ---- who ----

def test_it_needs_an_admin_key_unless_it_is_opened(start, daemon):
    tenant = daemon.tenant("w-acme")
    assert daemon.anonymous().get("/metrics").code == "unauthorized"
    assert tenant.get("/metrics").code == "forbidden"
    for opened in (start("demo", None, "--threads", "1", "--metrics-open"),
                   start("demo", None, "--threads", "1", environment={"ADAPTERD_METRICS_OPEN": "true"})):
        tenant = opened.tenant("acme")
        for client in (opened.anonymous(), opened.client("bad"), tenant, opened.client()):
            Look(client)
        # And nothing else is.
        assert opened.anonymous().get("/tenants").code == "unauthorized"
        assert tenant.get("/tenants").code == "forbidden"


def test_it_is_only_read(daemon):
    client = daemon.client()
    answer = client.post("/metrics", {})
    assert answer.status == 405 and answer.headers["Allow"] == "GET, HEAD"
    head = client.request("HEAD", "/metrics")
    assert head.status == 200 and head.body == b"" and int(head.headers["Content-Length"]) > 5000
    assert client.get("/metrics", tenant="a").code == "unknown_parameter"


# ---- what it says ----

def test_requests_and_tokens_are_those_of_the_answers(daemon, change):
    acme = daemon.tenant("t-acme")
    prompt = "A prompt that is long enough to be kept, because it has a good many words in it. " * 4
    said = [acme.infer(prompt=prompt, max_tokens=n, ignore_eos=True).json["usage"] for n in (5, 5, 1, 0)]
    said.append([e for _, e in acme.events(prompt="Hi", max_tokens=7) if e != "[DONE]"][-1]["usage"])
    completion = sum(u["completion_tokens"] for u in said)
    assert change("prompt_tokens_total") == sum(u["prompt_tokens"] for u in said)
    assert change("completion_tokens_total") == completion > 0
    assert change("prompt_tokens_cached_total") == sum(u["cached_tokens"] for u in said) > 0
    assert change("http_requests_total", route="/infer", method="POST", code="200") == 5
    assert change("http_requests_total", route="/infer") == 5
    assert change("http_request_duration_seconds_count", route="/infer") == 5
    assert change("inference_requests_total") == 5 and change("inference_errors_total") == 0
    assert change("runs_total", finish="length") == 5 == change("runs_total")
    assert change("queue_seconds_count") == 5
    answered = sum(u["completion_tokens"] > 0 for u in said)
    assert change("time_to_first_token_seconds_count") == answered == 4
    assert change("inter_token_seconds_count") == completion - answered
    # What the engine computed: all prompt tokens but the cached, and of each run all tokens but the first.
    assert change("prefill_tokens_total") == sum(u["prompt_tokens"] - u["cached_tokens"] for u in said)
    assert change("decode_tokens_total") == completion - answered
    assert change("step_tokens_sum") == change("prefill_tokens_total") + change("decode_tokens_total")
    assert change("step_tokens_count") == change("step_seconds_count") == change("step_sequences_count") > 0
    assert 0 < change("step_seconds_sum") <= change("http_request_duration_seconds_sum", route="/infer")
    assert change("time_to_first_token_seconds_sum") <= change("http_request_duration_seconds_sum", route="/infer")
    rows = usage(acme)
    for metric, column in (("inference_requests_total", "requests"), ("inference_errors_total", "errors"),
                           ("prompt_tokens_total", "prompt_tokens"), ("completion_tokens_total", "completion_tokens"),
                           ("prompt_tokens_cached_total", "cached_tokens")):
        assert change(metric) == total(rows, column), metric


def test_requests_of_openai_clients_count_as_all_others(daemon, change):
    acme = daemon.tenant("o-acme")
    body = {"prompt": "Hi", "max_tokens": 4, "ignore_eos": True}
    said = acme.post("/v1/completions", body).json["usage"]
    chat = {**body, "messages": [{"role": "user", "content": "Hi"}]}
    del chat["prompt"]
    assert acme.post("/v1/chat/completions", chat).status == 200
    assert change("http_requests_total", route="/v1/completions", method="POST", code="200") == 1
    assert change("http_requests_total", route="/v1/chat/completions", method="POST", code="200") == 1
    assert change("time_to_first_token_seconds_count") == 2 == change("runs_total", finish="length")
    assert change("completion_tokens_total") == 2 * said["completion_tokens"] == 8


def test_errors_and_strangers_have_a_bounded_place(daemon, change):
    acme, anonymous = daemon.tenant("canary-tenant"), daemon.anonymous()
    acme.upload(MASK, name="canary-adapter")
    acme.infer(adapter="canary-missing", prompt="canary-prompt")
    assert change("http_requests_total", route="/infer", code="404") == 1
    assert change("inference_errors_total") == 1
    for path in ("/canary-path", "/canary/" + "x" * 3000, "/metrics/canary", "/infer%41canary"):
        anonymous.get(path)
    assert anonymous.request("CANARY", "/infer").status == 405
    assert change("http_requests_total", route="other", method="other", code="404") == 4
    assert change("http_requests_total", route="other", code="405") == 1
    assert acme.get("/adapters/canary-adapter").status == 200
    assert acme.get("/adapters").status == 200
    assert change("http_requests_total", route="/adapters", method="GET", code="200") == 2
    assert change("http_requests_total", route="/adapters", method="POST", code="201") == 1
    text = daemon.client().get("/metrics").body.decode()
    assert "canary" not in text.lower()
    assert {m for m in re.findall(r'route="([^"]*)"', text)} <= {"other"} | set(patterns())


def patterns():
    with open(os.path.join(ROOT, "server", "routes.c")) as f:
        return {pattern.split("/{")[0] for pattern in re.findall(r'\{"[A-Z]+", "([^"]+)", ROLE_', f.read())}


def test_who_is_shed_is_counted_by_reason(daemon, change):
    acme = daemon.tenant("s-acme")
    assert daemon.client().patch("/tenants/s-acme", {"quota": {"tokens_per_minute": 1}}).status == 200
    assert acme.infer(prompt="a", max_tokens=1).status == 200
    for _ in range(3):
        assert acme.infer(prompt="a", max_tokens=1).code == "rate_limited"
    assert change("shed_requests_total", code="429", reason="rate_limited") == 3 == change("shed_requests_total")
    assert change("http_requests_total", code="429") == 3
    # Every 429 and 503 that there is has its series from the start.
    with open(os.path.join(ROOT, "server", "http", "reply.c")) as f:
        codes = set(re.findall(r'\{"([a-z_]+)", (?:429|503)\}', f.read()))
    found = {dict(labels)["reason"] for _, labels in change.before.families["adapterd_shed_requests_total"].samples}
    assert found == codes and len(codes) > 8


def test_a_client_that_leaves_is_seen(daemon, change):
    acme = daemon.tenant("l-acme")
    with Wire(daemon) as wire:
        wire.request("POST", "/infer", LONG, acme.key)
        assert wire.head().status == 200
        eventually(lambda: Look(daemon.client())("sequences_running") == 1)
        # This one, too; the look before it ends a moment after its answer.
        eventually(lambda: Look(daemon.client())("http_requests_active") == 2)
        assert Look(daemon.client())("kv_pages_used") > 0
    eventually(lambda: change("http_requests_total", route="/infer", code="0") == 1)
    eventually(lambda: change("runs_total", finish="cancelled") == 1)
    assert change("time_to_first_token_seconds_count") == 1
    eventually(lambda: Look(daemon.client())("sequences_running") == 0)


def test_uploads_loads_and_the_registry(start):
    d = start("demo", None, "--threads", "1")
    change, acme = Change(d), d.tenant("acme")
    body, kind = form_body([("name", "mask", None), ("config", read(os.path.join(MASK, "adapter_config.json")), "c"),
                            ("weights", read(os.path.join(MASK, "adapter_model.safetensors")), "w")])
    for status in (201, 200):
        assert acme.request("POST", "/adapters", body, {"Content-Type": kind}).status == status
    assert change("upload_bytes_total") == 2 * len(body)
    assert d.client().patch("/adapters/mask?tenant=acme", {"pinned": True}).status == 200
    look = Look(d.client())
    assert {name: look(name) for name in ("tenants", "keys", "adapters", "versions", "versions_broken", "adapters_pinned")} == {
        "tenants": 1, "keys": 1, "adapters": 1, "versions": 1, "versions_broken": 0, "adapters_pinned": 1}
    assert (look("adapter_cache_resident"), look("adapter_load_seconds_count")) == (1, 0)
    assert 0 < look("adapter_cache_bytes") < look("adapter_cache_budget_bytes")
    assert acme.infer(adapter="mask", prompt="a", max_tokens=1).status == 200
    assert (change("adapter_cache_hits_total"), change("adapter_cache_misses_total")) == (1, 0)
    assert d.client().patch("/adapters/mask?tenant=acme", {"pinned": False}).status == 200
    d.stop()
    again = start("demo", d.data, "--threads", "1")
    change, acme = Change(again), again.client(acme.key)
    for _ in range(2):
        assert acme.infer(adapter="mask", prompt="a", max_tokens=1).status == 200
    assert (change("adapter_cache_hits_total"), change("adapter_cache_misses_total")) == (1, 1)
    assert (change("adapter_load_seconds_count"), change("adapter_load_failures_total")) == (1, 0)
    assert change("adapter_load_seconds_sum") > 0 and Look(again.client())("adapter_loading") == 0
    again.stop()
    for blob in again.files():
        os.unlink(os.path.join(again.data, blob))
    broken = start("demo", d.data, "--threads", "1")
    assert Look(broken.client())("versions_broken") == 1


def test_a_load_that_fails_is_counted(start):
    d = start("demo", None, "--threads", "1")
    acme = d.tenant("acme")
    assert acme.upload(MASK, name="mask").status == 201
    d.stop()
    again = start("demo", d.data, "--threads", "1")
    change = Change(again)
    for blob in again.files():
        os.unlink(os.path.join(again.data, blob))
    assert again.client(acme.key).infer(adapter="mask", prompt="a", max_tokens=1).code == "adapter_broken"
    assert change("adapter_load_failures_total") == 1 == change("adapter_load_seconds_count")
    assert change("shed_requests_total", reason="adapter_broken") == 1
    assert Look(again.client())("versions_broken") == 1


def test_the_process_and_the_build(daemon):
    look = Look(daemon.client())
    value = {name: family.samples[name, ()] for name, family in look.families.items() if name.startswith("process_")}
    assert value["process_cpu_seconds_total"] > 0
    assert abs(value["process_resident_memory_bytes"] - daemon.memory()) < 64 << 20
    assert abs(value["process_open_fds"] - daemon.descriptors()) <= 8
    assert value["process_open_fds"] < value["process_max_fds"]
    assert time.time() - 3600 < value["process_start_time_seconds"] < time.time() + 1
    (_, labels), = look.families["adapterd_build_info"].samples
    version = daemon.client().get("/version").json
    labels = dict(labels)
    assert labels.pop("isa") in ("plain", "avx2", "avxvnni", "avx512", "amx")
    assert labels == {"version": version["version"], "precision": version["precision"]}
    before = Look(daemon.client())("connections_total")
    assert Look(daemon.client())("connections_total") == before + 1
    assert 1 <= look("connections") <= look("connections_max")


# ---- in a crowd, and at the end ----

def test_in_a_crowd_nothing_goes_down_and_nothing_is_lost(daemon, change):
    clients, each = [daemon.tenant(f"c-{i}") for i in range(4)], 12
    said, looks, fell, over = [], [], [], threading.Event()

    def ask(client):
        for i in range(each):
            said.append(client.infer(prompt="Once upon a time", max_tokens=1 + i % 5, ignore_eos=True).json["usage"])

    def watch():
        before = change.before.growing()
        while not over.is_set():
            after = Look(daemon.client()).growing()
            fell.extend(series for series, value in before.items() if series not in after or after[series] < value)
            looks.append(before := after)

    threads = [threading.Thread(target=ask, args=(client,)) for client in clients]
    watchers = [threading.Thread(target=watch) for _ in range(2)]
    for thread in threads + watchers:
        thread.start()
    for thread in threads:
        thread.join()
    over.set()
    for thread in watchers:
        thread.join()
    assert len(said) == len(clients) * each and len(looks) > 2 and fell == []
    assert change("http_requests_total", route="/infer", code="200") == len(said)
    assert change("completion_tokens_total") == sum(u["completion_tokens"] for u in said)
    assert change("time_to_first_token_seconds_count") == len(said) == change("runs_total")


def test_it_is_answered_while_the_daemon_drains(start):
    d = start("demo", None, "--threads", "1")
    with Wire(d) as coming, Wire(d) as watching:
        def draining():
            watching.request("GET", "/metrics", key=d.admin_key)
            answer = watching.answer()
            assert answer.status == 200
            return exposition.read(answer.body.decode())["adapterd_draining"].samples["adapterd_draining", ()]

        # A request whose body is still to come keeps the daemon there for a while.
        coming.request("POST", "/tokenize", key=d.admin_key, headers=("Content-Length: 100",))
        eventually(lambda: Look(d.client())("http_requests_active") == 2)
        assert draining() == 0
        d.process.send_signal(signal.SIGTERM)
        eventually(lambda: "stopping" in d.read_log())
        assert draining() == 1


def test_it_waits_for_no_load(start):
    """One adapter's file cannot be opened for a while: that is seen, and does not hold up who looks."""
    d = start("demo", None, "--threads", "1")
    acme = d.tenant("acme")
    assert acme.upload(MASK, name="slow").status == 201
    d.stop()
    d = start("demo", d.data, "--threads", "1")
    (slow,) = [path for path in d.files() if os.path.getsize(os.path.join(d.data, path)) > 10000]
    try:
        held = Held(os.path.join(d.data, slow))
    except OSError as error:
        pytest.skip(f"this file system has no leases: {error}")
    acme = d.client(acme.key)
    waiting = threading.Thread(target=acme.infer, kwargs={"adapter": "slow", "prompt": "a", "max_tokens": 1})
    waiting.start()
    eventually(lambda: Look(d.client())("adapter_loading") == 1)
    assert Look(d.client())("adapter_load_seconds_count") == 0
    held.let_go()
    waiting.join()
    look = Look(d.client())
    assert (look("adapter_loading"), look("adapter_load_seconds_count"), look("runs_total")) == (0, 1, 1)


# ---- for people ----

def test_adapterctl_status_shows_admins_how_busy_it_is(daemon, ctl):
    acme = daemon.tenant("ctl-acme")
    assert acme.upload(MASK, name="mask").status == 201
    lines = {}
    for who, key in (("admin", None), ("tenant", acme.key), ("nobody", "")):
        done = ctl(daemon, "status", key=key)
        assert done.status == 0, done
        lines[who] = done.out.splitlines()
    assert lines["tenant"] == lines["nobody"] == lines["admin"][:-4]
    look = Look(daemon.client())
    found = [line.split(None, 1) for line in lines["admin"][-4:]]
    assert found[:2] == [["running", "0 of 64"], ["waiting", "0 of 1024"]] and found[3] == ["pinned", "0"]
    assert re.fullmatch(r"%d in memory, \S+ [KM]iB of \S+ [MG]iB" % look("adapter_cache_resident"), found[2][1])
    metrics = json.loads(ctl(daemon, "status", "--json").out)["metrics"]
    assert len(metrics) == 8
    for name, value in metrics.items():
        assert value == look(name.removeprefix("adapterd_")), name
    assert "metrics" not in json.loads(ctl(daemon, "status", "--json", key="").out)


# ---- the documentation ----

def test_the_documentation_has_every_metric_and_no_other(daemon):
    text = read(os.path.join(ROOT, "docs", "operations.md")).decode()
    rows = re.findall(r"^\| `((?:adapterd|process)_\w+)`((?: `\w+`)*) \| (\w+) \| (.+) \|$", text, re.M)
    assert daemon.client().get("/healthz").status == 200  # so that each has a series
    families = Look(daemon.client()).families
    found = [(f.name, labels_of(f), f.type, f.help) for f in families.values()]
    documented = [(name, tuple(re.findall(r"\w+", labels)), kind, words) for name, labels, kind, words in rows]
    assert documented == found


ORDER = ("method", "route", "code", "reason", "finish", "version", "precision", "isa")


def labels_of(family):
    return tuple(sorted({name for _, labels in family.samples for name, _ in labels} - {"le"}, key=ORDER.index))


# ---- names of vLLM ----

def vllm(client):
    text = client.get("/metrics").body.decode()
    return {name: family for name, family in exposition.read(text).items() if name.startswith("vllm:")}


def value(families, name, **labels):
    return sum(v for (series, found), v in families[re.sub("_(sum|count)$", "", name)].samples.items() if series == name and labels.items() <= dict(found).items())


def adapters(families):
    [(_, labels)] = families["vllm:lora_requests_info"].samples
    return {k: v for k, v in dict(labels).items() if k != "model_name"}


def test_names_of_vllm_are_an_option(daemon):
    assert not vllm(daemon.client())


def test_names_of_vllm_have_the_same_numbers(start, tmp_path):
    os.mkdir(tmp_path / 'a"b\\c')
    for name in os.listdir(os.path.join(DEMO, "base")):
        os.symlink(os.path.join(DEMO, "base", name), tmp_path / 'a"b\\c' / name)
    d = start(tmp_path / 'a"b\\c', None, "--threads", "1", "--metrics-vllm", "--max-batch", "2")
    admin, one, two = d.client(), d.tenant("one"), d.tenant("two")
    for tenant, name in ((one, "mask"), (one, "other"), (two, "mask")):
        assert tenant.upload(MASK, name=name).status == 201
    before = vllm(admin)
    assert adapters(before) == {"max_lora": "2", "running_lora_adapters": "", "waiting_lora_adapters": ""}
    assert all(dict(labels)["model_name"] == 'a\\"b\\\\c' for f in before.values() for _, labels in f.samples)
    assert value(before, "vllm:kv_cache_usage_perc") == 0
    prompt = {"prompt": "Hello", "max_tokens": 5, "ignore_eos": True}
    for tenant in (one, two):
        assert tenant.infer(**prompt, adapter="mask").status == 200
    after = vllm(admin)
    for name, change in (("vllm:generation_tokens_total", 10), ("vllm:time_to_first_token_seconds_count", 2), ("vllm:inter_token_latency_seconds_count", 8),
                         ("vllm:time_per_output_token_seconds_count", 8), ("vllm:request_queue_time_seconds_count", 2)):
        assert value(after, name) - value(before, name) == change, name
    assert value(after, "vllm:request_success_total", finished_reason="length") == 2 and value(after, "vllm:request_success_total", finished_reason="stop") == 0
    assert value(after, "vllm:kv_cache_usage_perc") == 0, "what the prefix cache keeps is free"
    [(_, config)] = after["vllm:cache_config_info"].samples
    assert int(dict(config)["num_gpu_blocks"]) == value(exposition.read(admin.get("/metrics").body.decode()), "adapterd_kv_pages") and dict(config)["block_size"] == "32"


def test_names_of_vllm_say_who_runs_and_who_waits(start):
    d = start("demo", None, "--threads", "1", "--metrics-vllm", "--max-batch", "2")
    admin, one = d.client(), d.tenant("one")
    for name in ("a", "b", "c"):
        assert one.upload(MASK, name=name).status == 201
    streams = []
    for name in ("a", "b", "c", "a", "c"):
        streams.append(one.open("POST", "/infer", {**LONG, "adapter": name}))
        eventually(lambda: value(vllm(admin), "vllm:num_requests_running") + value(vllm(admin), "vllm:num_requests_waiting") == len(streams))
    now = vllm(admin)
    assert adapters(now) == {"max_lora": "2", "running_lora_adapters": "a,b", "waiting_lora_adapters": "a,c"}
    assert (value(now, "vllm:num_requests_running"), value(now, "vllm:num_requests_waiting")) == (2, 3)
    assert 0 < value(now, "vllm:kv_cache_usage_perc") == value(now, "vllm:gpu_cache_usage_perc") <= 1
    for connection, _ in streams:
        connection.close()
    eventually(lambda: value(vllm(admin), "vllm:num_requests_running") + value(vllm(admin), "vllm:num_requests_waiting") == 0)
    assert adapters(vllm(admin)) == {"max_lora": "2", "running_lora_adapters": "", "waiting_lora_adapters": ""}
    assert value(vllm(admin), "vllm:kv_cache_usage_perc") == 0


def test_the_documentation_has_every_name_of_vllm(start):
    text = read(os.path.join(ROOT, "docs", "operations.md")).decode()
    rows = re.findall(r"^\| `(vllm:\w+)`((?: `\w+`)*) \| (\w+) \| (.+) \|$", text, re.M)
    families = vllm(start("demo", None, "--threads", "1", "--metrics-vllm").client())
    found = [(f.name, {name for _, labels in f.samples for name, _ in labels} - {"le", "model_name"}, f.type, f.help) for f in families.values()]
    assert [(name, set(re.findall(r"\w+", labels)), kind, words) for name, labels, kind, words in rows] == found and len(rows) > 10


# ---- what comes with the daemon names metrics that there are ----

def test_the_dashboard_names_metrics_that_there_are(daemon):
    board = json.loads(read(os.path.join(ROOT, "deploy", "grafana-dashboard.json")))
    families = Look(daemon.client()).families
    panels = [panel for panel in board["panels"] if panel["type"] != "row"]
    expressions = [target["expr"] for panel in panels for target in panel["targets"]]
    asked = [v["query"]["query"] for v in board["templating"]["list"] if v["type"] == "query"]
    assert len(panels) > 15 and len({panel["id"] for panel in board["panels"]}) == len(board["panels"])
    for expression in expressions + asked:
        names = re.findall(r"\b(?:adapterd|process)_\w+", expression)
        assert names, expression
        for name in names:
            family = families.get(re.sub("_(bucket|sum|count)$", "", name)) or families[name]
            assert ("rate(" + name in expression) == (family.type != "gauge"), expression
            assert not name.endswith("_bucket") or "histogram_quantile(" in expression and "by (le)" in expression, expression
        for labels in re.findall(r"\{([^}]*)\}", expression):
            assert set(re.findall(r"(\w+)=", labels)) <= {"instance", "job"}
        by = re.findall(r"by \(([^)]*)\)", expression)
        known = {label for name in names for f in [families.get(re.sub("_(bucket|sum|count)$", "", name)) or families[name]] for _, labels in f.samples for label, _ in labels}
        assert set(re.findall(r"\w+", " ".join(by))) <= known | {"le"}, expression
    for at, panel in enumerate(board["panels"]):
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        assert not any(other["gridPos"]["y"] == place["y"] and other["gridPos"]["x"] == place["x"] for other in board["panels"][:at])


def test_alert_rules_name_metrics_that_there_are(daemon):
    text = read(os.path.join(ROOT, "docs", "operations.md")).decode()
    rules = re.search(r"```yaml\n(groups:.*?)```", text, re.S)[1]
    families = Look(daemon.client()).families
    names = set(re.findall(r"\b(?:adapterd|process)_\w+", rules))
    assert len(re.findall("- alert:", rules)) >= 3 and names
    for name in names:
        assert re.sub("_(bucket|sum|count)$", "", name) in families, name
