"""What the benchmark scripts share: random models and adapters on disk, the daemon, many streams at once, tables."""
import json
import os
import random
import statistics
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
BUILD = os.path.join(ROOT, os.environ.get("BUILD", "build"))
os.environ.setdefault("ADAPTERD_BUILD", BUILD)
sys.path.insert(0, os.path.join(ROOT, "tests", "e2e"))
sys.dont_write_bytecode = True
from daemon import Daemon  # noqa: E402  (the tests' own: one way to start it)

TICKS = os.sysconf("SC_CLK_TCK")


def program(name):
    return os.path.join(BUILD, "bench", name)


def fail(message):
    sys.exit(f"{os.path.basename(sys.argv[0])}: {message}")


def run(*command):
    """Run to the end; its standard output."""
    done = subprocess.run([str(c) for c in command], stdout=subprocess.PIPE, text=True)
    if done.returncode:
        fail(f"{' '.join(map(str, command))} ended with {done.returncode}")
    return done.stdout


class Models:
    """Random models and adapters of one shape under DIRECTORY/SHAPE, made when they are not there yet."""

    def __init__(self, directory, shape):
        self.shape, self.directory = shape, os.path.join(directory, shape)
        os.makedirs(self.directory, exist_ok=True)

    def path(self, name):
        return os.path.join(self.directory, name)

    def make(self, program_name, option, name, last, *arguments):
        """`last`: the file that is complete when the program is done. A half-made one is made again."""
        path, marker = self.path(name), self.path(name) + ".made"
        if not (os.path.exists(marker) and os.path.exists(os.path.join(path, last) if last else path)):
            run(program(program_name), "--shape", self.shape, option, path, *arguments)
            open(marker, "w").close()
        return path

    def model(self):
        return self.make("make_model", "--out", "model", "model.safetensors")

    def adapter(self, rank, number=0):
        return self.make("make_model", "--adapter", f"r{rank}-{number}", "adapter_model.safetensors", "--rank", rank,
                         "--seed", 1000 * rank + number)

    def gguf(self):
        return self.make("make_gguf", "--out", "model.gguf", None)

    def gguf_adapter(self, rank, number=0):
        return self.make("make_gguf", "--adapter", f"r{rank}-{number}.gguf", None, "--rank", rank, "--seed",
                         1000 * rank + number)

    @property
    def packed(self):
        return self.path("packed")


def start_daemon(models, data, *arguments):
    daemon = Daemon(models.model(), data, "--packed-cache", models.packed, *arguments, wait=False)
    daemon.wait_ready(600)
    return daemon


def upload_adapters(daemon, models, rank, count):
    """Tenants t0.. with a key each and an adapter "a" of its own; returns their keys."""
    keys = []
    for i in range(count):
        client = daemon.tenant(f"t{i}")
        answer = client.upload(models.adapter(rank, i), name="a")
        if answer.status not in (200, 201):
            fail(f"upload: {answer}")
        keys.append(client.key)
    return keys


def prompt(count):
    """Random token ids that every shape has; no two calls alike, so that nothing is found in a prefix cache."""
    return [random.randrange(256, 512) for _ in range(count)]


def infer(key, adapter, prompt_tokens, new_tokens, label="", at_ms=0):
    body = {"adapter": adapter, "tokens": prompt(prompt_tokens), "max_tokens": new_tokens, "ignore_eos": True,
            "stream": True}
    return {"path": "/infer", "key": key, "body": body, "label": label, "at_ms": at_ms}


def streams(address, requests):
    """Send all requests, wait for all answers; ends the script where one failed."""
    text = "".join(json.dumps(r) + "\n" for r in requests)
    done = subprocess.run([program("streams"), "--address", address], input=text, stdout=subprocess.PIPE, text=True)
    results = [json.loads(line) for line in done.stdout.splitlines()]
    if done.returncode or len(results) != len(requests):
        fail(f"streams ended with {done.returncode}")
    for r in results:
        if r["status"] != 200 or r["error"] or not r["at_ms"]:
            fail(f"a request failed: {r}")
    return results


def first_token_ms(results):
    return [r["at_ms"][0] - r["sent_ms"] for r in results]


def gaps_ms(results):
    return [b - a for r in results for a, b in zip(r["at_ms"], r["at_ms"][1:])]


def tokens_per_second(results):
    begin, end = min(r["sent_ms"] for r in results), max(r["at_ms"][-1] for r in results)
    return sum(len(r["at_ms"]) for r in results) / (end - begin) * 1000


def ratio(x, y):
    """For a table; "-" where there is nothing to compare with."""
    return f"{x / y:.2f}" if y else "-"


def percentile(values, share):
    values = sorted(values)
    return values[min(len(values) - 1, int(share * len(values)))] if values else 0.0


def median(values):
    return statistics.median(values) if values else 0.0


def thread_seconds(pid):
    """CPU seconds of each thread of a process: (id, name) -> seconds."""
    result = {}
    for task in os.listdir(f"/proc/{pid}/task"):
        try:
            with open(f"/proc/{pid}/task/{task}/stat") as f:
                name, rest = f.read().split("(", 1)[1].rsplit(")", 1)
        except FileNotFoundError:
            continue
        fields = rest.split()
        result[int(task), name] = (int(fields[11]) + int(fields[12])) / TICKS
    return result


def table(title, columns, rows):
    """Markdown, aligned for people; the first column to the left."""
    cells = [columns] + [[str(c) for c in row] for row in rows]
    widths = [max(len(row[i]) for row in cells) for i in range(len(columns))]
    print(f"\n### {title}\n")
    for n, row in enumerate(cells):
        print("| " + " | ".join(c.ljust(w) if i == 0 else c.rjust(w) for i, (c, w) in enumerate(zip(row, widths))) + " |")
        if n == 0:
            print("|" + "|".join((":" + "-" * (w + 1)) if i == 0 else ("-" * (w + 1) + ":") for i, w in enumerate(widths))
                  + "|")
    sys.stdout.flush()


def note(text):
    print(f"\n{text}", flush=True)
