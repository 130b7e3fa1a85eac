"""Names of adapters with several small versions, of the model that takes numbers."""
import os
import struct

from client import read
from fixtures import adapter

CONFIG = read(os.path.join(adapter("mlp", "r4"), "adapter_config.json"))
RAW = read(os.path.join(adapter("mlp", "r4"), "adapter_model.safetensors"))
INPUT = [16 * [0.5]]


def weights(factor):
    """The weights of a tiny adapter of the mlp, every number times `factor`: another version."""
    data = 8 + struct.unpack("<Q", RAW[:8])[0]
    values = struct.unpack(f"<{(len(RAW) - data) // 4}f", RAW[data:])
    return RAW[:data] + struct.pack(f"<{len(values)}f", *(x * factor for x in values))


class Names:
    """A tenant of its own with versions under one name."""

    def __init__(self, client, name="a", count=2):
        self.client, self.name, self.path = client, name, f"/adapters/{name}"
        self.versions = [self.upload(1 + i) for i in range(count)]

    def upload(self, factor, **fields):
        answer = self.client.upload(config=CONFIG, weights=weights(factor), name=self.name, **fields)
        assert answer.status in (200, 201), answer
        return answer.json["version"]

    def show(self):
        return self.client.get(self.path).json

    def patch(self, body, etag=None):
        return self.client.patch(self.path, body, {"If-Match": etag} if etag else {})

    def served(self, **fields):
        answer = self.client.infer(adapter=self.name, input=INPUT, **fields)
        assert answer.status == 200, answer
        return answer.json["adapter"]["version"]
