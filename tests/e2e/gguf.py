"""Writes LoRA adapters as GGUF files, as llama.cpp's converter does: for tests that compare them with PEFT's own."""
import json
import os
import struct

from client import read
from fixtures import adapter

ALIGNMENT = 32
U32, F32, STRING, ARRAY = 4, 6, 8, 9
TYPES = {"F32": 0, "F16": 1, "BF16": 30}
SIZES = {"F32": 4, "F16": 2, "BF16": 2}
# Model -> architecture, rows of one head where q and k are permuted.
MODULES = {"q_proj": "attn_q", "k_proj": "attn_k", "v_proj": "attn_v", "o_proj": "attn_output", "gate_proj": "ffn_gate",
           "up_proj": "ffn_up", "down_proj": "ffn_down", "lm_head": "output", "embed_tokens": "token_embd", "wte": "token_embd",
           "attn.c_attn": "attn_qkv", "attn.c_proj": "attn_output", "mlp.c_fc": "ffn_up", "mlp.c_proj": "ffn_down"}


def text(value):
    value = value.encode() if isinstance(value, str) else value
    return struct.pack("<Q", len(value)) + value


def pair(key, kind, value):
    return text(key) + struct.pack("<I", kind) + value


class Tensor:
    def __init__(self, name, dims, kind, data, offset=None):
        self.name, self.dims, self.kind, self.data, self.offset = name, dims, kind, data, offset


def pairs(architecture, alpha, *more):
    return [pair("general.architecture", STRING, text(architecture)), pair("general.type", STRING, text("adapter")),
            pair("adapter.type", STRING, text("lora")), pair("adapter.lora.alpha", F32, struct.pack("<f", alpha)),
            pair("general.name", STRING, text("a test")),
            pair("general.tags", ARRAY, struct.pack("<IQ", STRING, 2) + text("one") + text("two")), *more]


def file(pairs, tensors, version=3, mark=b"GGUF", alignment=ALIGNMENT):
    head = mark + struct.pack("<IQQ", version, len(tensors), len(pairs)) + b"".join(pairs)
    data = b""
    for t in tensors:
        offset = len(data) if t.offset is None else t.offset
        head += text(t.name) + struct.pack("<I", len(t.dims)) + struct.pack(f"<{len(t.dims)}Q", *t.dims)
        head += struct.pack("<IQ", t.kind, offset)
        data += t.data + bytes(-len(t.data) % alignment)
    return head + bytes(-len(head) % alignment) + data


def load(directory):
    """Name -> (dtype, shape, bytes) of PEFT's weights, and its config."""
    raw = read(os.path.join(directory, "adapter_model.safetensors"))
    length = struct.unpack("<Q", raw[:8])[0]
    header, data = json.loads(raw[8 : 8 + length]), raw[8 + length :]
    header.pop("__metadata__", None)
    tensors = {k: (v["dtype"], v["shape"], data[slice(*v["data_offsets"])]) for k, v in header.items()}
    return tensors, json.loads(read(os.path.join(directory, "adapter_config.json")))


def permute(data, rows, head):
    """Rows as the converter orders them: in each head, j and j + head/2 become neighbours."""
    size, half = len(data) // rows, head // 2
    order = [h + i * half + j for h in range(0, rows, head) for j in range(half) for i in range(2)]
    return b"".join(data[r * size : (r + 1) * size] for r in order)


def transpose(data, rows, columns):
    size = len(data) // (rows * columns)
    return b"".join(data[(r * columns + c) * size : (r * columns + c + 1) * size] for c in range(columns) for r in range(rows))


def tensors_of(directory, head=None):
    """The tensors of one PEFT adapter; `head`: rows of a head where the architecture permutes."""
    found = []
    for name, (dtype, shape, data) in load(directory)[0].items():
        if ".lora_" not in name:  # copies of the base, which PEFT adds
            continue
        path, letter = name.removeprefix("base_model.model.").removesuffix(".weight").rsplit(".", 1)
        known = [v for k, v in MODULES.items() if path == k or path.endswith("." + k)]
        parts = path.split(".")
        layer = [f"blk.{p}." for p in parts if p.isdigit()]
        rows, columns = shape
        if letter == "lora_B" and head and known[0] in ("attn_q", "attn_k"):
            data = permute(data, rows, head)
        if letter == "lora_embedding_A":
            data, rows, columns = transpose(data, rows, columns), columns, rows
        found.append(Tensor("".join(layer) + known[0] + ".weight.lora_" + letter[-1].lower(), [columns, rows], TYPES[dtype], data))
    return found


def from_peft(model, name, architecture, head=None, alpha=None):
    directory = adapter(model, name)
    alpha = load(directory)[1]["lora_alpha"] if alpha is None else alpha
    return file(pairs(architecture, alpha), tensors_of(directory, head))
