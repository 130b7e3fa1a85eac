"""The console in a real Chromium: what people do in it most, quickly. `make console-test` does the rest, in test_console_long.py."""
import itertools
import json
import os

import pytest

from browser import upload
from client import form_body
from daemon import DEMO, FIXTURES

NUMBERS = itertools.count(1)
HOSTILE = "<img src=x onerror=\"window.pwned=1\"><script>window.pwned=1</script>'\"&amp;\u202e"


@pytest.fixture
def acme(daemon):
    name = f"acme-{next(NUMBERS)}"
    client = daemon.tenant(name)
    client.name = name
    return client


def text_of(b, css):
    return [e.text for e in b.all(css)]


def test_sign_in(browser, daemon, acme):
    browser.open("about:blank")
    browser.open(daemon.url + "/console")
    browser.fill("Key", "ad_nobodys")
    browser.click("button", "Sign in")
    browser.says("unknown, revoked or expired key")
    browser.sign_in(daemon.url, acme.key)
    assert [e.text for e in browser.all("nav a")] == ["Overview", "Adapters", "Fine-tune", "Playground"]
    assert browser.driver.execute_script("return [localStorage.length, document.cookie, sessionStorage.getItem('adapterd.key') !== null]") == [0, "", True]
    browser.says("Nothing runs")
    browser.page("tenants")  # for admins alone: the overview is shown
    assert browser.one("h1").text == "Overview"
    browser.click("button[aria-label='Sign out']")
    browser.labelled("Key")
    assert browser.driver.execute_script("return sessionStorage.getItem('adapterd.key')") is None


@pytest.mark.parametrize("width", [390, 1440])
def test_each_page_is_there_and_fits(browser, daemon, acme, width):
    upload(acme, "mask")
    browser.size(width)
    browser.sign_in(daemon.url, daemon.admin_key)
    browser.driver.execute_script("sessionStorage.setItem('adapterd.tenant', arguments[0])", acme.name)
    browser.complaints()
    for page, title in (("overview", "Overview"), ("adapters", "Adapters"), ("adapters/mask", "mask"), ("fine-tune", "Fine-tune"), ("fine-tune/new", "New job"),
                        ("playground", "Playground"), ("tenants", "Tenants"), (f"tenants/{acme.name}", acme.name)):
        browser.page(page)
        browser.until(lambda: text_of(browser, "h1") == [title], why=page)
        assert not browser.all(".page > .problem"), browser.text()
        assert browser.driver.execute_script("return document.documentElement.scrollWidth <= innerWidth + 1"), f"{page} is wider than {width}"
    assert browser.complaints() == []
    browser.size(1440)


def test_upload_canary_and_roll_back(browser, daemon, acme, peft):
    browser.sign_in(daemon.url, acme.key)
    browser.page("adapters")
    browser.says("No adapters yet")
    browser.all("#choose-directory")[0].send_keys(peft("support"))
    browser.fill("Proof prompt", "Hello")
    browser.click("form button", "Upload")
    browser.says("active. It changes logits by up to")
    first = acme.get("/adapters/support").json["version"]

    # What is wrong with the next is said by tensor, expected and found.
    browser.page("adapters/support")
    browser.all("#choose-directory")[0].send_keys(peft("support-2", "ticket", lambda text: text.replace('"r": 8', '"r": 4')))
    browser.click("form button", "Upload")
    browser.says("adapter_shape_mismatch")
    problem = browser.one(".problem").text
    assert "lora_A" in problem and "expected" in problem and "found" in problem, problem
    browser.click("button", "Remove")
    second = upload(acme, "support", "ticket", activate="false")

    browser.page("adapters")
    browser.page("adapters/support")
    exact = browser.labelled("Percent of the requests")
    browser.driver.execute_script("arguments[0].value = ''", exact)
    exact.send_keys("25")
    browser.click("button", "Start canary")
    browser.says("canary 25 %")
    assert acme.get("/adapters/support").json["canary"] == {"version": second, "percent": 25}
    browser.click("button", "Activate it")
    browser.until(lambda: acme.get("/adapters/support").json["version"] == second)
    browser.until(lambda: browser.all("button:not([disabled])") and any("Roll back" in e.text and e.is_enabled() for e in browser.all("button")))
    browser.click("button", "Roll back")
    browser.click("dialog button.primary", "Roll back")
    browser.until(lambda: acme.get("/adapters/support").json["version"] == first)
    browser.click("button", "Proof")
    browser.says("Largest change of a logit")
    browser.click("dialog button", "Close")


def test_somebody_was_faster(browser, daemon, acme):
    first = upload(acme, "race")
    second = upload(acme, "race", "ticket", activate="false")
    third = upload(acme, "race", "voice", activate="false")
    browser.sign_in(daemon.url, acme.key)
    browser.page("adapters/race")
    assert acme.patch("/adapters/race", {"version": second}).status == 200
    browser.click(f"tr:nth-child(1) button", "Activate")
    browser.says("Somebody activated another version meanwhile")
    assert acme.get("/adapters/race").json["version"] == second and first != second != third


def test_answers_are_compared(browser, daemon, acme):
    upload(acme, "mask")
    upload(acme, "voice", "voice")
    browser.sign_in(daemon.url, acme.key)
    browser.page("playground")
    browser.labelled("Message 1").send_keys("Hilda Nguyen here. Write to me at hilda96@example.org.")
    browser.click("button", "Compare with")
    browser.click("button", "Run")
    browser.until(lambda: browser.all(".page[data-running='no']"))
    texts = text_of(browser, ".answer .text")
    for adapter, text in zip((None, "mask", "voice"), texts, strict=True):
        answer = acme.infer(adapter=adapter, messages=[{"role": "user", "content": "Hilda Nguyen here. Write to me at hilda96@example.org."}])
        assert text.strip() == answer.json["text"].strip(), (adapter, text)
    assert not browser.all(".answer:nth-child(1) .differs") and browser.all(".answer:nth-child(2) .differs")
    # Probabilities, by keyboard.
    answer = browser.all(".answer .text")[1]
    browser.driver.execute_script("arguments[0].focus()", answer)
    answer.send_keys("\ue014")
    browser.until(lambda: "%" in browser.one(".tip").text)
    # The very request, without the key.
    code = browser.one("pre[aria-label='The request']").text
    assert "hilda96@example.org" in code and acme.key not in browser.driver.page_source
    for language, word in (("Python", "urllib.request"), ("Node", "await fetch"), ("curl", "curl -H")):
        browser.click("button", language)
        browser.until(lambda: word in browser.one("pre[aria-label='The request']").text)


def test_structured_output(browser, daemon, acme):
    browser.sign_in(daemon.url, acme.key)
    browser.page("playground")
    browser.labelled("Message 1").send_keys("Who are you?")
    browser.click("option", "JSON under a schema")
    schema = browser.labelled("JSON schema")
    schema.send_keys('{"type": "object"')
    browser.click("button", "Run")
    browser.says("The schema is not JSON")
    schema.send_keys(', "properties": {"ok": {"type": "boolean"}}, "required": ["ok"], "additionalProperties": false}')
    browser.click("button", "Run")
    browser.until(lambda: browser.all(".page[data-running='no']"))
    assert json.loads(browser.one(".answer .text").text) in ({"ok": True}, {"ok": False})


def test_what_others_wrote_is_text(browser, daemon, acme):
    upload(acme, "mask", proof_prompt=HOSTILE)
    assert acme.patch("/adapters/mask", {"labels": {"team": HOSTILE}, "note": HOSTILE}).status == 200
    assert daemon.client().post(f"/tenants/{acme.name}/keys", {"label": HOSTILE}).status == 201
    line = json.dumps({"messages": [{"role": "user", "content": HOSTILE}, {"role": "assistant", "content": HOSTILE}]})
    body, kind = form_body([("purpose", "fine-tune", None), ("file", line, "<b onclick=alert(1)>x.jsonl")])
    assert acme.request("POST", "/v1/files", body, {"Content-Type": kind}).status == 200
    browser.sign_in(daemon.url, daemon.admin_key)
    browser.driver.execute_script("sessionStorage.setItem('adapterd.tenant', arguments[0])", acme.name)
    for page, shown in (("adapters", "<img src=x"), ("adapters/mask", "<img src=x"), ("fine-tune", "<b onclick"), ("fine-tune/new", "<img src=x"), (f"tenants/{acme.name}", "<img src=x"), ("tenants", "")):
        browser.page(page)
        browser.says(shown)
    browser.page("adapters/mask")
    browser.click("button", "Proof")
    browser.says("<script>window.pwned=1</script>")
    assert browser.driver.execute_script("return window.pwned === undefined && !document.querySelector('main img, main script, b[onclick]')")
    assert browser.complaints() == []


def test_a_key_is_revoked_while_it_is_used(browser, daemon, acme):
    browser.sign_in(daemon.url, acme.key)
    kid = acme.get("/status").json["caller"]["key"]
    assert daemon.client().delete(f"/tenants/{acme.name}/keys/{kid}").status == 204
    browser.says("This key is not valid any more.")
    assert browser.driver.execute_script("return sessionStorage.length") == 0


def test_a_tenant_is_made_and_gets_a_key(browser, daemon):
    name = f"made-{next(NUMBERS)}"
    browser.sign_in(daemon.url, daemon.admin_key)
    browser.page("tenants")
    browser.labelled("Id of a new tenant").send_keys(name)
    browser.click("button", "Create")
    browser.until(lambda: text_of(browser, "h1") == [name])
    browser.labelled("Label of a new key").send_keys("web")
    browser.click("button", "Create a key")
    key = browser.labelled("The new key").get_attribute("value")
    assert daemon.client(key).get("/status").json["caller"]["tenant"] == name
    browser.labelled("Tokens per minute").send_keys("60000")
    browser.click("button", "Save quotas")
    browser.until(lambda: daemon.client().get(f"/tenants/{name}").json["quota"]["tokens_per_minute"] == 60000)
    browser.page("tenants")
    browser.page(f"tenants/{name}")
    browser.says("key.create")
    assert key not in browser.driver.page_source


def test_a_file_with_a_bad_line(browser, daemon, acme, tmp_path):
    path = tmp_path / "bad.jsonl"
    path.write_text('{"text": "good"}\n{"prompt": "no completion"}\n')
    browser.sign_in(daemon.url, acme.key)
    browser.page("fine-tune")
    browser.all("#choose-training-file")[0].send_keys(str(path))
    browser.says("line 2:")
    assert '{"prompt": "no completion"}' in browser.text()
    assert acme.get("/v1/files").json["data"] == []


def test_no_key_is_needed_with_no_auth(browser, start):
    d = start("demo", None, "--no-auth", "--threads", "1")
    browser.open("about:blank")
    browser.open(d.url + "/console")
    browser.ready()
    assert browser.one("h1").text == "Overview" and not browser.all("button[aria-label='Sign out']")
    browser.open("about:blank")


def test_a_base_of_numbers(browser, start):
    d = start(os.path.join(FIXTURES, "models", "mlp"))
    browser.sign_in(d.url, d.admin_key)
    d.client().post("/tenants", {"id": "acme"})
    browser.driver.refresh()
    browser.ready()
    browser.page("playground")
    browser.says("This base takes numbers")
    browser.open("about:blank")
