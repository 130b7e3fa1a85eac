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
