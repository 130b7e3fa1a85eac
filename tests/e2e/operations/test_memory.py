"""What tenants send and get does not stay in the daemon's memory once their requests have ended: not in what it gives to the
next one, and nowhere else either. Looks at the memory of the process itself. (A refusal's message, which may repeat a name or
field of the request, is on a thread's stack until the next one.)"""
import json
import os
import threading

from client import eventually, read
from daemon import DEMO

PROMPT, STOP, CONFIG = "canary prompt", "canary stop", "canary config"
REGION_BYTES_MAX = 512 << 20  # sanitizers map terabytes


def writable(pid):
    """The bytes of each writable region of a process."""
    with open(f"/proc/{pid}/maps") as f:
        regions = [line.split() for line in f]
    with open(f"/proc/{pid}/mem", "rb", 0) as memory:
        for region in regions:
            first, end = (int(x, 16) for x in region[0].split("-"))
            if "w" not in region[1] or end - first > REGION_BYTES_MAX:
                continue
            try:
                memory.seek(first)
                yield memory.read(end - first)
            except OSError:  # gone meanwhile, or not there yet
                continue


def found(d, *needles):
    """How often each stands in the daemon's memory."""
    counts = dict.fromkeys(needles, 0)
    for data in writable(d.process.pid):
        for n in needles:
            counts[n] += data.count(n.encode())
    return counts


def requests(client, turn, answers):
    """Every way in which a text comes in or goes out, in several sizes."""
    long = f"{PROMPT} {turn} " * (3 * turn)
    for _ in range(2):
        answers.append(client.infer(prompt=long, max_tokens=24, ignore_eos=True).json["text"])
        client.post("/tokenize", {"text": f"{PROMPT} t " * (200 * turn)})
        list(client.events(messages=[{"role": "user", "content": f"{PROMPT} m"}], max_tokens=3))
        user = {"model": "a0", "messages": [{"role": "user", "content": [{"type": "text", "text": f"{PROMPT} {i}"} for i in range(3 * turn)]}],
                "max_tokens": 24, "ignore_eos": True, "logprobs": True, "user": f"{PROMPT} u"}
        answers.append(client.post("/v1/chat/completions", user).json["choices"][0]["message"]["content"])
        list(client.events("/v1/completions", model="a1", prompt=[f"{PROMPT} c"], stop=STOP, logprobs=1, max_tokens=3, echo=True))
        assert client.post("/v1/completions", {"model": "a1", "prompt": PROMPT, "suffix": f"{PROMPT} s"}).status == 400
        client.infer(prompt=f"{PROMPT} p", stop=[STOP, "x"], bad_words=[f"{PROMPT} b"], max_tokens=3, logprobs=3)
        responses = {"instructions": f"{PROMPT} i", "input": [{"role": "user", "content": [{"type": "input_text", "text": f"{PROMPT} {turn}"}]}],
                     "metadata": {"a": f"{PROMPT} m"}, "tools": [{"type": "function", "name": "f", "description": f"{PROMPT} t"}], "max_output_tokens": 3}
        assert client.post("/v1/responses", responses).status == 200
        list(client.events("/v1/responses", **responses))
        assert client.post("/v1/responses", {**responses, "previous_response_id": PROMPT}).status == 400
        assert client.infer(prompt=f"{PROMPT} p", adapter="unknown").status == 404
        assert client.infer(prompt=f"{PROMPT} p", top_p=2).status == 400


def test_the_search_finds_what_is_there(daemon):
    """A tenant's name is in memory as long as the tenant is there."""
    daemon.tenant("canary-of-the-search")
    assert found(daemon, "canary-of-the-search")["canary-of-the-search"] > 0


def test_texts_do_not_outlive_their_requests(start):
    d = start("demo", None, "--threads", "1")
    acme = d.tenant("acme")
    mask = os.path.join(DEMO, "adapters", "mask")
    config = {**json.loads(read(os.path.join(mask, "adapter_config.json"))), "base_model_name_or_path": CONFIG}
    weights = read(os.path.join(mask, "adapter_model.safetensors"))
    answers = []
    for i in range(3):
        assert acme.upload(config=json.dumps(config).encode(), weights=weights, name=f"a{i}").status == 201
    threads = [threading.Thread(target=requests, args=(acme, i + 1, answers)) for i in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert len(answers) == 32
    gone = [PROMPT, STOP, CONFIG, acme.key, d.admin_key, *{a for a in answers if len(a) > 20}]
    assert len(gone) > 5
    eventually(lambda: not any(found(d, *gone).values()))
