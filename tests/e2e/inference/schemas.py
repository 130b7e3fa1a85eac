"""JSON schemas at random, of the part that is served (docs/structured-output.md), and now and then of one that is not."""
import random

WORDS = ["name", "id", "street", "tags", "a", "ab", "price", "größe", "with space", 'quo"ted', "back\\slash", "x-1", "note", "n", "e"]
PATTERNS = ["^[a-z]{1,8}$", "^[A-Z]{2}-[0-9]{3}$", "b", "^(ja|nein|viel\\w*)$", "^\\d{4}$", "^[^\"\\\\]*$", "^.{2,5}$", "\\s", "^x|y$",
            "^[\\u00e0-\\u00ff ]+$", "^(a?b?){1,4}$", "[^a-z]$", "^\\S+@\\S+$"]
FORMATS = ["date", "time", "date-time", "uuid", "email", "ipv4", "ipv6", "hostname", "duration", "uri", "json-pointer"]
REFUSED = [{"not": {"type": "string"}}, {"if": {"type": "string"}, "then": False}, {"contains": {"type": "null"}},
           {"dependentRequired": {"a": ["b"]}},
           {"type": "array", "uniqueItems": True}, {"type": "number", "multipleOf": 0.3}, {"type": "string", "format": "idn-email"},
           {"oneOf": [{"type": "number"}, {"type": "integer"}]}, {"unevaluatedProperties": False}]


class Maker:
    def __init__(self, seed):
        self.random = random.Random(seed)
        self.names = []

    def maybe(self, chance, keywords):
        return keywords if self.random.random() < chance else {}

    def schema(self, depth=0):
        r = self.random
        kinds = [self.string, self.integer, self.number, self.constant, self.enum, self.plain]
        if depth < 4:
            kinds += [self.object, self.object, self.object, self.array, self.array, self.any_of, self.one_of, self.all_of, self.several,
                      self.map, self.unique]
        if self.names:
            kinds += [self.reference]
        made = r.choice(kinds)(depth)
        if isinstance(made, dict):
            made = dict(made, **self.maybe(0.1, {"description": "what \"it\" is"}), **self.maybe(0.05, {"title": "T"}))
        return made

    def whole(self):
        """A schema with definitions; the first word of what is refused, or None."""
        r = self.random
        count = r.choice([0, 0, 1, 2])
        self.names = [f"d{i}" for i in range(count)]
        root = self.schema() if r.random() < 0.2 else self.object(0)
        definitions = {name: self.schema(2) for name in self.names}
        refused = None
        if r.random() < 0.1:
            bad = r.choice(REFUSED)
            refused = next(k for k in bad if k != "type")
            root = {"type": "object", "properties": {"x": root, "bad": bad}, "required": ["x"]}
        if isinstance(root, dict) and definitions:
            root = dict(root, **{"$defs": definitions})
        return root, refused

    def plain(self, depth):
        return self.random.choice([{"type": "null"}, {"type": "boolean"}, {"type": "string"}, {"type": "object"}, {"type": "array"}, {}, True])

    def string(self, depth):
        r = self.random
        made = {"type": "string"}
        kind = r.random()
        if kind < 0.3:
            made["pattern"] = r.choice(PATTERNS)
        elif kind < 0.55:
            made["format"] = r.choice(FORMATS)
        if kind < 0.3 and r.random() < 0.3:
            made["maxLength"] = r.randint(4, 12)
        elif kind > 0.55:
            low = r.randint(0, 5)
            made.update(self.maybe(0.5, {"minLength": low}))
            made.update(self.maybe(0.7, {"maxLength": low + r.randint(0, 20)}))
        return made

    def bounds(self, value):
        low, high = sorted([value(), value()])
        made = {}
        made.update(self.maybe(0.6, {"minimum": low} if self.random.random() < 0.7 else {"exclusiveMinimum": low}))
        made.update(self.maybe(0.6, {"maximum": high + 2} if self.random.random() < 0.7 else {"exclusiveMaximum": high + 2}))
        return made

    def integer(self, depth):
        r = self.random
        made = dict({"type": "integer"}, **self.bounds(lambda: r.choice([r.randint(-20, 20), r.randint(-10**6, 10**6), 0])))
        if r.random() < 0.15:
            made = {"type": "integer", "multipleOf": r.choice([2, 3, 5, 10, 12])}
        return made

    def number(self, depth):
        r = self.random
        return dict({"type": "number"}, **self.bounds(lambda: r.choice([r.randint(-5, 5), round(r.uniform(-10, 10), 2), r.uniform(0, 1), 1e-7])))

    def value(self, depth=0):
        r = self.random
        return r.choice([1, -3, 0.5, "a", "ab", "é\n\"", None, True, [], [1, "x"], {"k": [2]}, "", 12345678901])

    def constant(self, depth):
        return {"const": self.value()}

    def enum(self, depth):
        return {"enum": [self.value() for _ in range(self.random.randint(1, 5))]}

    def object(self, depth):
        r = self.random
        names = r.sample(WORDS, r.randint(0, 5))
        made = {"type": "object", "properties": {name: self.schema(depth + 1) for name in names}}
        required = [n for n in names if r.random() < 0.6] + (["further"] if r.random() < 0.05 else [])
        if required:
            made["required"] = required
        kind = r.random()
        if kind < 0.5 and "further" not in required:
            made["additionalProperties"] = False
        elif kind < 0.7:
            made["additionalProperties"] = self.schema(depth + 2)
        if r.random() < 0.1:
            made["maxProperties"] = len(set(names + required)) + r.randint(0, 2)
        if r.random() < 0.1:
            made["minProperties"] = len(required)
        return made

    def array(self, depth):
        r = self.random
        low = r.randint(0, 2)
        made = {"type": "array", "items": self.schema(depth + 1)}
        if r.random() < 0.2:
            made["prefixItems"] = [self.schema(depth + 1) for _ in range(r.randint(1, 3))]
            low = min(low, len(made["prefixItems"]))
            if r.random() < 0.5:
                made["items"] = False
        made.update(self.maybe(0.5, {"minItems": low}))
        made.update(self.maybe(0.7, {"maxItems": low + r.randint(0, 3)}))
        return made

    def map(self, depth):
        value = self.schema(depth + 2)
        return self.random.choice([{"type": "object", "additionalProperties": value, "maxProperties": 3},
                                   {"type": "object", "patternProperties": {"^[a-z]{1,3}$": value}, "additionalProperties": False},
                                   {"type": "object", "propertyNames": {"pattern": "^\\d+$", "maxLength": 4}, "minProperties": 1},
                                   {"type": "object", "propertyNames": {"enum": ["x", "y"]}, "additionalProperties": value}])

    def unique(self, depth):
        return {"type": "array", "uniqueItems": True, "items": {"enum": ["a", "b", 1, None, [1], True][:self.random.randint(1, 6)]},
                **self.maybe(0.3, {"minItems": 1}), **self.maybe(0.3, {"maxItems": 2})}

    def any_of(self, depth):
        return {"anyOf": [self.schema(depth + 1) for _ in range(self.random.randint(1, 3))]}

    def one_of(self, depth):
        kinds = self.random.sample(["a", "b", "c"], self.random.randint(1, 3))
        return {"oneOf": [{"type": "object", "properties": {"kind": {"const": k}, "v": self.schema(depth + 1)}, "required": ["kind"]}
                          for k in kinds] + [{"type": "null"}]}

    def all_of(self, depth):
        return {"allOf": [self.object(depth + 2), self.object(depth + 2)]}

    def several(self, depth):
        return {"type": self.random.sample(["string", "integer", "null", "boolean", "array"], 2)}

    def reference(self, depth):
        target = {"$ref": "#/$defs/" + self.random.choice(self.names)}
        return {"anyOf": [target, {"type": "null"}]} if depth else {"type": "array", "items": target}
