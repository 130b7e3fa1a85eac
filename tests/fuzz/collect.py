#!/usr/bin/python3
"""Collects what fuzzing begins with: DIRECTORY/TARGET/ gets an input per file, made from the tests' fixtures and from tests/fuzz/corpus,
which has what fixtures lack and every input that once found something.

    tests/fuzz/collect.py DIRECTORY
"""
import hashlib
import io
import json
import os
import struct
import sys
import tarfile

HERE = os.path.dirname(os.path.abspath(__file__))
FIXTURES = os.path.join(HERE, "..", "fixtures")
sys.path.insert(0, os.path.join(HERE, "..", "e2e"))

import gguf  # noqa: E402

BYTES_MAX = 64 << 10
FORM = """--xx\r
Content-Disposition: form-data; name="config"; filename="adapter_config.json"\r
Content-Type: application/json\r
\r
{"r": 4}\r
--xx\r
content-disposition: form-data; name=name\r
\r
support-bot\r
--xx--\r
"""


def read(path, mode="rb"):
    with open(path, mode) as f:
        return f.read()


def find(*names, below=FIXTURES):
    for directory, _, files in sorted(os.walk(below)):
        for name in sorted(files):
            if name in names or not names:
                yield os.path.join(directory, name)


def documents(*names):
    for path in find(*names):
        yield json.loads(read(path))


def strings(value, key=None, wanted=None):
    """Strings below the key `wanted`, at any depth."""
    if isinstance(value, dict):
        for k, v in value.items():
            yield from strings(v, k, wanted)
    elif isinstance(value, list):
        for v in value:
            yield from strings(v, key, wanted)
    elif isinstance(value, str) and key == wanted:
        yield value


def dump(value):
    return json.dumps(value, ensure_ascii=False).encode()


# ---- files of weights ----

def safetensors():
    for path in find("adapter_model.safetensors"):
        yield read(path)
    yield tensors({"a": ("F32", [2, 3]), "b": ("BF16", [4]), "c": ("F16", [])})
    yield tensors({}, {"format": "pt"})


def tensors(shapes, metadata=None):
    header, data = {} if metadata is None else {"__metadata__": metadata}, b""
    for name, (dtype, shape) in shapes.items():
        size = 4 if dtype == "F32" else 2
        for n in shape:
            size *= n
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [len(data), len(data) + size]}
        data += bytes(size)
    text = dump(header)
    return struct.pack("<Q", len(text)) + text + data


def gguf_files():
    for name in ("r4-qv", "r1-q", "layers"):
        yield gguf.from_peft("llama", name, "llama", head=8)
    yield gguf.file(gguf.pairs("llama", 8.0), [])


def adapter_patterns():
    for config in documents("adapter_config.json"):
        for key in ("target_modules", "exclude_modules", "rank_pattern", "alpha_pattern", "layers_pattern"):
            value = config.get(key)
            yield from (text.encode() for text in ([value] if isinstance(value, str) else value or []))


def adapter_tokens():
    """tokenizer_config.json, a zero byte, added_tokens.json."""
    token = {"content": "<tool>", "lstrip": False, "normalized": False, "rstrip": True, "single_word": False, "special": True}
    decoder = dump({"added_tokens_decoder": {"320": token, "321": {**token, "content": "Grüße x", "normalized": True}, "2": {**token, "content": "</s>"}}})
    yield decoder
    yield decoder + b"\0" + dump({"<tool>": 320, "<end>": 325})
    yield b"\0" + dump({"added_tokens": [{"id": 322, **token}, {"id": 323, **token, "content": " ", "lstrip": True}]})


# ---- the tokenizer and the chat ----

def tokenizers():
    for path in find("tokenizer.json"):
        yield read(path)
    small = json.loads(read(os.path.join(FIXTURES, "models", "qwen2", "tokenizer.json")))
    for variant in json.loads(read(os.path.join(FIXTURES, "tokenizers", "variants.json"))):
        yield dump({**small, **variant.get("set", {})})


def tokenizer_patterns():
    for document in documents("variants.json", "tokenizer.json"):
        yield from (text.encode() for text in strings(document, wanted="Regex"))


def texts():
    for document in documents("cases.json"):
        if isinstance(document, list):
            yield from (text.encode() for text in strings(document, wanted="text"))


def templates():
    cases = json.loads(read(os.path.join(FIXTURES, "templates", "cases.json")))
    for case in cases["chats"] + cases["snippets"]:
        yield case["template"].encode()


def chat_configs():
    for path in find("tokenizer_config.json"):
        yield read(path)
    for template in templates():
        yield dump({"chat_template": template.decode(), "bos_token": "<s>", "eos_token": {"content": "</s>"},
                    "additional_special_tokens": ["<a>", {"content": "<b>"}]})
    yield dump({"chat_template": [{"name": "default", "template": "{{ messages }}"}, {"name": "tools", "template": ""}]})


# ---- what answers have to be ----

GRAMMARS = [
    'root ::= "a" [b-z]* | (x "\\n"){2,} #c\nx ::= [^"\\x00-\\x1f]+\n', 'root ::= "(" root? ")" | .',
]


def grammars():
    sys.path.insert(0, os.path.join(HERE, "..", "e2e", "inference"))
    import schemas
    for seed in range(40):
        schema = dump(schemas.Maker(seed).whole()[0])
        if len(schema) < 1500:
            yield b"s" + schema
    yield from (b"g" + text.encode() for text in GRAMMARS)
    for pattern in [*schemas.PATTERNS, "(a|b)*?c{2,3}", "[^\\d\\w-]+\\u0041"]:
        yield b"r" + pattern.encode()
        yield b"p\x02\x08" + pattern.encode()


# ---- what comes over the wire ----

def training_files():
    for path in find(below=os.path.join(FIXTURES, "training")):
        if path.endswith(".jsonl"):
            yield read(path)


def archives():
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, data in {"registry.db": b"SQLite format 3", "blobs/aa/bb": bytes(700), "empty": b""}.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    yield out.getvalue()[: 4096 + 1024]


SOURCES = {
    "safetensors": safetensors,
    "adapter_weights": safetensors,
    "gguf": gguf_files,
    "adapter_config": lambda: map(read, find("adapter_config.json")),
    "adapter_pattern": adapter_patterns,
    "adapter_tokens": adapter_tokens,
    "model_config": lambda: map(read, find("config.json")),
    "tokenizer": tokenizers,
    "tokenizer_pattern": tokenizer_patterns,
    "tokenizer_text": texts,
    "template": templates,
    "chat_config": chat_configs,
    "grammar": grammars,
    "multipart": lambda: [FORM.encode()],
    "tar": archives,
    "training_file": training_files,
}


def collect(directory):
    kept = os.path.join(HERE, "corpus")
    for target in sorted({*SOURCES, *os.listdir(kept)}):
        inputs = [*SOURCES.get(target, list)(), *(read(p) for p in find(below=os.path.join(kept, target)))]
        os.makedirs(os.path.join(directory, target), exist_ok=True)
        for data in inputs:
            if len(data) <= BYTES_MAX:
                with open(os.path.join(directory, target, hashlib.sha256(data).hexdigest()[:16]), "wb") as f:
                    f.write(data)


if __name__ == "__main__":
    collect(sys.argv[1])
