"""The files of tests/fixtures as Python objects: adapters, cases of the reference, expected logits."""
import array
import json
import math
import os
import struct

from client import read
from daemon import FIXTURES


def adapter(model, name):
    """The directory of one PEFT adapter."""
    return os.path.join(FIXTURES, "adapters", model, name)


def adapters(model):
    return sorted(os.listdir(os.path.join(FIXTURES, "adapters", model)))


def cases(model):
    return json.loads(read(os.path.join(FIXTURES, "cases", f"{model}.json")))


def expected(model):
    """Key -> rows of float32 logits."""
    raw = read(os.path.join(FIXTURES, "expected", f"{model}.safetensors"))
    length = struct.unpack("<Q", raw[:8])[0]
    tensors, data = json.loads(raw[8 : 8 + length]), raw[8 + length :]
    tensors.pop("__metadata__", None)
    found = {}
    for name, entry in tensors.items():
        assert entry["dtype"] == "F32"
        flat = array.array("f", data[slice(*entry["data_offsets"])])
        rows, columns = entry["shape"]
        found[name] = [flat[i * columns : (i + 1) * columns] for i in range(rows)]
    return found


def log_softmax(row):
    largest = max(row)
    total = math.log(math.fsum(math.exp(x - largest) for x in row)) + largest
    return [x - total for x in row]


# ---- adapters that are made of others ----


def tensors_of(path):
    raw = read(os.path.join(path, "adapter_model.safetensors"))
    length = struct.unpack("<Q", raw[:8])[0]
    header = json.loads(raw[8 : 8 + length])
    header.pop("__metadata__", None)
    return {name: (t["dtype"], t["shape"], raw[8 + length :][slice(*t["data_offsets"])]) for name, t in header.items()}


def packed(tensors):
    header, data = {}, b""
    for name, (dtype, shape, values) in tensors.items():
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [len(data), len(data) + len(values)]}
        data += values
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def changed(path, more=(), drop=(), **fields):
    """(config, weights) of an adapter's directory with these fields (None: without), other tensors, and without some."""
    config = json.loads(read(os.path.join(path, "adapter_config.json")))
    config.update(fields)
    tensors = {**tensors_of(path), **dict(more)}
    return json.dumps({k: v for k, v in config.items() if v is not None}).encode(), packed({k: v for k, v in tensors.items() if k not in drop})
