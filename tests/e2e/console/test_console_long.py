"""The console in a real Chromium, the long round (`make console-test`): training from the first click to the last, a daemon that is started again while its
page is open, 10,000 adapters, what axe-core finds, how soon there is something to see, and pictures of all pages."""
import glob
import json
import os
import shutil
import statistics
import subprocess
import threading
import time

import pytest

import registry_file
from browser import upload
from client import SCALE, form_body, read
from daemon import BUILD, DEMO

pytestmark = pytest.mark.skipif(not os.environ.get("ADAPTERD_CONSOLE"), reason="the long round: make console-test")
AXE = "axe-core@4.10.3"


def texts(b, css):
    return [e.text for e in b.all(css)]


def send_file(client, path):
    body, kind = form_body([("purpose", "fine-tune", None), ("file", read(path), os.path.basename(path))])
    return client.request("POST", "/v1/files", body, {"Content-Type": kind}).json["id"]


# ---- training ----

def test_train_from_a_file_to_an_answer(browser, start):
    d = start()
    acme = d.tenant("acme")
    browser.sign_in(d.url, acme.key)
    browser.page("fine-tune/new")
    browser.all("#choose-training-file")[0].send_keys(os.path.join(DEMO, "train", "train.jsonl"))
    browser.says("480 lines checked, all good")
    browser.until(lambda: "".join(texts(browser, "pre .learnt")).endswith("<|im_end|>"), why="what is learnt is marked")
    browser.all("#choose-training-file")[0].send_keys(os.path.join(DEMO, "train", "valid.jsonl"))
    browser.says("40 lines checked")
    select = browser.labelled("Validation file")
    browser.driver.execute_script("const o = [...arguments[0].options].find((x) => x.text.startsWith('valid')); arguments[0].value = o.value; arguments[0].dispatchEvent(new Event('change'))", select)
    browser.fill("Name of the adapter", "next-step")
    for label, value in (("Rank", "8"), ("Epochs", "2"), ("Learning rate", "0.004")):
        browser.fill(label, value)
    browser.until(lambda: texts(browser, ".tile b") and any("60" == t for t in texts(browser, ".tile b")), why="the estimate has 60 steps")
    browser.click("button", "Start training")
    browser.until(lambda: texts(browser, "h1") == ["next-step"])
    # Paused, gone on, and watched to its end.
    browser.click("button", "Pause", 60)
    job = acme.get("/v1/fine_tuning/jobs").json["data"][0]["id"]
    browser.until(lambda: acme.get(f"/v1/fine_tuning/jobs/{job}").json["status"] == "paused", 60)
    browser.click("button", "Resume", 60)
    browser.until(lambda: "succeeded" in texts(browser, ".badge"), 240, "the job is over")
    browser.says("Before and after")
    assert len(browser.all(".compare .answer")) == 9 and browser.all("figure.chart canvas")
    browser.click("button", "Use it")
    browser.until(lambda: texts(browser, "h1") == ["Playground"])
    assert acme.get("/adapters/next-step").json["version"] == acme.get(f"/v1/fine_tuning/jobs/{job}").json["version"]
    # Where it came from.
    browser.page("adapters/next-step")
    browser.one("a", "job " + job[:12])
    # A second run, beside the first.
    body = {"model": "demo", "training_file": acme.get("/v1/files").json["data"][-1]["id"], "suffix": "other", "lora": {"r": 2}, "training": {"max_steps": 5}}
    other = acme.post("/v1/fine_tuning/jobs", body).json["id"]
    browser.until(lambda: acme.get(f"/v1/fine_tuning/jobs/{other}").json["status"] == "succeeded", 120)
    browser.page("fine-tune")
    browser.until(lambda: len(browser.all("tbody input[type=checkbox]")) == 2)
    for box in browser.all("tbody input[type=checkbox]"):
        box.click()
    browser.click("button", "Compare")
    browser.says("What differs")
    assert "max_steps" in browser.text() and len(browser.all("figure.chart canvas")) == 2


def test_a_job_is_cancelled(browser, start):
    d = start()
    acme = d.tenant("acme")
    file = send_file(acme, os.path.join(DEMO, "train", "train.jsonl"))
    job = acme.post("/v1/fine_tuning/jobs", {"model": "demo", "training_file": file, "suffix": "never", "training": {"n_epochs": 50}}).json["id"]
    browser.sign_in(d.url, acme.key)
    browser.page("fine-tune/" + job)
    browser.click("button", "Cancel", 60)
    browser.click("dialog button", "Cancel the job")
    browser.until(lambda: acme.get(f"/v1/fine_tuning/jobs/{job}").json["status"] == "cancelled", 60)
    browser.until(lambda: "cancelled" in texts(browser, ".badge"))
    assert acme.get("/adapters").json["data"] == []


# ---- what happens meanwhile ----

def test_the_daemon_is_started_again_while_the_page_is_open(browser, start):
    first = start()
    acme, address = first.tenant("acme"), first.address
    upload(acme, "mask")
    browser.sign_in(first.url, acme.key)
    browser.one(".state.live")
    first.stop()
    browser.one(".state.lost")
    start("demo", first.data, listen=address)
    browser.one(".state.live", seconds=30)
    browser.page("adapters")
    browser.one("a", "mask")


def test_delete_what_there_is(browser, start):
    d = start()
    acme = d.tenant("acme")
    upload(acme, "mask")
    upload(acme, "mask", "voice")
    send_file(acme, os.path.join(DEMO, "train", "valid.jsonl"))
    browser.sign_in(d.url, d.admin_key)
    browser.page("adapters/mask")
    browser.click("tr:nth-child(2) button.danger")
    browser.click("dialog button", "Delete")
    browser.until(lambda: len(acme.get("/adapters/mask").json["versions"]) == 1)
    browser.click(".title button.danger", "Delete")
    browser.click("dialog button", "Delete")
    browser.until(lambda: acme.get("/adapters").json["data"] == [])
    browser.page("fine-tune")
    browser.click("td button.danger")
    browser.click("dialog button", "Delete")
    browser.until(lambda: acme.get("/v1/files").json["data"] == [])
    browser.page("tenants/acme")
    browser.click(".title button.danger", "Delete")
    browser.click("dialog button", "Delete the tenant")
    browser.until(lambda: acme.get("/status").status == 401)


def test_a_directory_is_dropped(browser, start, peft):
    d = start()
    acme = d.tenant("acme")
    browser.sign_in(d.url, acme.key)
    browser.page("adapters")
    box = browser.one(".drop").rect
    data = {"items": [], "files": [peft("dropped-one")], "dragOperationsMask": 1}
    for kind in ("dragEnter", "dragOver", "drop"):
        browser.driver.execute_cdp_cmd("Input.dispatchDragEvent", {"type": kind, "x": box["x"] + 30, "y": box["y"] + 30, "data": data})
    browser.click("form button", "Upload")
    browser.until(lambda: acme.get("/adapters/dropped-one").status == 200)


# ---- many ----

@pytest.fixture
def crowd(start):
    """A daemon whose tenant has 10,000 adapters."""
    d = start()
    acme = d.tenant("acme")
    upload(acme, "a-00000")
    d.stop()
    registry_file.edit(os.path.join(d.data, "registry.db"), *crowd_of(10_000))
    again = start("demo", d.data)
    return again, again.client(acme.key)


def crowd_of(count):
    """Statements: the adapter a-00000 once more under other names."""
    yield ("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < %d) INSERT INTO adapters (tenant, name, created_ms) "
           "SELECT tenant, printf('a-%%05d', i), created_ms + i FROM adapters, n WHERE name = 'a-00000'" % (count - 1))
    yield ("INSERT INTO versions (adapter, digest, config_blob, weights_blob, config_bytes, weights_bytes, rank_max, sites, parameters, created_ms, proof_max, "
           "proof_mean, active, base) SELECT a.number, v.digest, config_blob, weights_blob, config_bytes, weights_bytes, rank_max, sites, parameters, v.created_ms, "
           "proof_max, proof_mean, active, base FROM versions v, adapters a WHERE a.name <> 'a-00000'")


def test_ten_thousand_adapters(browser, crowd):
    d, acme = crowd
    browser.sign_in(d.url, acme.key)
    began = time.monotonic()
    browser.page("adapters")
    browser.says("10,000")
    print(f"10,000 adapters in the table after {time.monotonic() - began:.2f} s")
    assert time.monotonic() - began < 5 * SCALE
    assert len(browser.all("tr.row")) < 100
    scroll = "const w = document.querySelector('.window'); w.scrollTop = w.scrollHeight"
    browser.driver.execute_script(scroll)
    browser.one("a", "a-09999")
    browser.labelled("Search adapters").send_keys("a-0123")
    browser.says("10 of 10,000")
    assert texts(browser, "tr.row a") == [f"a-0123{i}" for i in range(10)]
    browser.click("th button", "Name")
    browser.until(lambda: texts(browser, "tr.row a")[:1] == ["a-01239"])


# ---- for everybody, and soon ----

@pytest.fixture(scope="module")
def axe():
    directory = os.path.join(BUILD, "axe")
    found = glob.glob(os.path.join(directory, "package", "axe.min.js"))
    if not found:
        if not shutil.which("npm"):
            pytest.skip("axe-core comes by npm, which is not installed")
        os.makedirs(directory, exist_ok=True)
        done = subprocess.run(["npm", "pack", "--silent", AXE], cwd=directory, capture_output=True, text=True, timeout=120)
        if done.returncode != 0:
            pytest.skip(f"npm does not give {AXE}: {done.stderr[-200:]}")
        subprocess.run(["tar", "xzf", done.stdout.split()[-1]], cwd=directory, check=True)
        found = glob.glob(os.path.join(directory, "package", "axe.min.js"))
    return read(found[0]).decode()


@pytest.fixture(scope="module")
def full(tmp_path_factory):
    """A daemon with something on each page: (daemon, pages by name)."""
    import daemon as daemons
    d = daemons.Daemon(daemons.model_path("demo"), tmp_path_factory.mktemp("full") / "data")
    acme, other = d.tenant("acme"), d.tenant("northwind")
    for name in ("mask", "ticket", "voice"):
        upload(acme, name, name)
    upload(acme, "mask", "ticket", activate="false", proof_prompt="Where is my parcel?")
    acme.patch("/adapters/mask", {"labels": {"team": "care", "stage": "production"}, "note": "Masks names, phones, addresses."})
    d.client().patch("/tenants/acme", {"quota": {"adapters_max": 10, "training_jobs_max": 4, "tokens_per_minute": 10000000}})
    files = [send_file(acme, os.path.join(DEMO, "train", name)) for name in ("valid.jsonl", "train.jsonl")]
    jobs = [acme.post("/v1/fine_tuning/jobs", {"model": "demo", "training_file": files[1], "validation_file": files[0], "suffix": "next-step", "seed": 7, "lora": {"r": r},
                                               "training": {"n_epochs": 2, "learning_rate": rate, "eval_steps": 10}}).json["id"] for r, rate in ((8, 4e-3), (4, 2e-3))]
    deadline = time.monotonic() + 240 * SCALE
    while any(acme.get(f"/v1/fine_tuning/jobs/{j}").json["status"] != "succeeded" for j in jobs):
        assert time.monotonic() < deadline
        for name in ("mask", "ticket", None):
            acme.infer(adapter=name, prompt="Hello, my name is Ann and my number is 555-0100.", max_tokens=40)
        other.infer(prompt="Hello", max_tokens=40)
        time.sleep(0.2)
    yield d, acme, {"overview": "overview", "adapters": "adapters", "adapter": "adapters/mask", "fine-tune": "fine-tune", "new-job": "fine-tune/new", "job": "fine-tune/" + jobs[0],
                    "compare": "fine-tune/compare?ids=" + ",".join(jobs), "playground": "playground", "tenants": "tenants", "tenant": "tenants/acme"}
    d.stop()


def fill_playground(b):
    b.driver.execute_script("location.hash = '#/playground?adapter=mask'")
    b.ready()
    message = b.labelled("Message 1")
    b.driver.execute_script("arguments[0].value = ''", message)
    message.send_keys("Hilda Nguyen here. The camera does not turn on. Write to me at hilda96@example.org.")
    b.click("button", "Compare with")
    b.click("button", "Run")
    b.until(lambda: b.all(".page[data-running='no']"))


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_axe_finds_no_serious_fault(browser, full, axe, dark):
    d, _, pages = full
    browser.dark(dark)
    found = []
    browser.open(d.url + "/console")
    browser.driver.execute_script("sessionStorage.clear()")
    browser.driver.refresh()
    browser.labelled("Key")
    for width in (1440, 390):
        browser.size(width)
        for name in ("sign-in", *pages):
            if name == "overview":
                browser.sign_in(d.url, d.admin_key)
            elif name != "sign-in":
                browser.page(pages[name])
            elif browser.driver.execute_script("return sessionStorage.length"):
                continue
            if name == "playground":
                fill_playground(browser)
            time.sleep(0.3)
            browser.driver.execute_script(axe)
            faults = browser.driver.execute_async_script("axe.run(document, {resultTypes: ['violations']}).then((r) => arguments[0](r.violations), (e) => arguments[0]([{impact: 'critical', id: String(e), nodes: []}]))")
            found += [f"{name} at {width}: {f['impact']} {f['id']}: {[n['html'][:160] for n in f['nodes'][:3]]}" for f in faults if f["impact"] in ("serious", "critical")]
    browser.dark(False)
    browser.size(1440)
    assert not found, "\n".join(found)


def test_there_is_something_to_see_within_300_ms(browser, full):
    d, _, _ = full
    browser.sign_in(d.url, d.admin_key)
    times = {}
    for name in ("overview", "adapters"):
        browser.page(name)
        times[name] = []
        for _ in range(7):
            browser.driver.execute_cdp_cmd("Network.clearBrowserCache", {})
            browser.driver.refresh()
            browser.ready()
            paint = browser.until(lambda: browser.driver.execute_script("return performance.getEntriesByName('first-contentful-paint')[0]?.startTime"))
            times[name].append(paint)
    print({name: [round(t) for t in some] for name, some in times.items()})
    for name, some in times.items():
        assert statistics.median(some) <= 300 * SCALE, (name, some)


def test_it_is_used_by_keyboard(browser, full):
    """From the first Tab: the link to the content, then the tenant, theme, sign out, then the pages, each with a focus that can be seen."""
    d, _, _ = full
    browser.sign_in(d.url, d.admin_key)
    browser.driver.refresh()
    browser.ready()
    seen = []
    for _ in range(14):
        browser.driver.switch_to.active_element.send_keys("\ue004")
        seen.append(browser.driver.execute_script("const e = document.activeElement, s = getComputedStyle(e); return [e.textContent.trim() || e.getAttribute('aria-label'), s.outlineStyle !== 'none' || e === document.body]"))
    names = [name for name, _ in seen]
    assert names[0] == "Skip to content" and {"Overview", "Adapters", "Fine-tune", "Playground", "Tenants"} <= set(names), names
    assert all(visible for _, visible in seen), seen


def ask_on(client, adapter, stop):
    """Requests, one after the other, with pauses as people make them."""
    while not stop.is_set():
        client.infer(adapter=adapter, prompt="Hello, my name is Ann and my number is 555-0100.", max_tokens=400, temperature=1, ignore_eos=True)
        time.sleep(0.02)


@pytest.mark.skipif(not os.environ.get("ADAPTERD_CONSOLE_SHOTS"), reason="pictures: SHOTS=DIRECTORY")
def test_pictures(browser, full):
    d, acme, pages = full
    directory = os.environ["ADAPTERD_CONSOLE_SHOTS"]
    browser.sign_in(d.url, d.admin_key)
    browser.driver.execute_script("sessionStorage.setItem('adapterd.tenant', 'acme')")
    stop = threading.Event()
    crowd = [threading.Thread(target=ask_on, args=(acme, name, stop)) for name in ("mask", "ticket", "voice", None)]
    for thread in crowd:
        thread.start()
    time.sleep(45)  # some points of the timeline
    for name, page in pages.items():
        if name == "fine-tune":
            stop.set()
        browser.size(1440)
        browser.page(page)
        if name == "playground":
            fill_playground(browser)
        for width in (1440, 390):
            for dark in (False, True):
                browser.size(width, 900 if width > 600 else 844)
                browser.dark(dark)
                time.sleep(1.2)
                browser.shot(os.path.join(directory, f"{name}-{width}-{'dark' if dark else 'light'}.webp"))
    browser.dark(False)
    browser.size(1440)
    assert json.dumps(browser.complaints()) == "[]"
