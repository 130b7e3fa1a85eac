"""A real model of somebody else's training, where it can be found: it tells its best known story."""
import glob
import os

import pytest

from daemon import ROOT

STORY = (", there was a little girl named Lily. She loved to play outside in the park. One day, she saw a big, red "
         "ball.")


def stories260k():
    places = [os.path.join(os.environ["ADAPTERD_MODELS"], "stories260k")] if os.environ.get("ADAPTERD_MODELS") else []
    places += sorted(glob.glob(os.path.join(os.path.dirname(ROOT), "*", "models", "stories260k")))
    found = [place for place in places if os.path.exists(os.path.join(place, "config.json"))]
    if not found:
        pytest.skip("the model stories260k is neither in ADAPTERD_MODELS nor in a directory models beside the checkout")
    return found[0]


def test_once_upon_a_time(start):
    tenant = start(stories260k(), None, "--precision", "exact").tenant("acme")
    answer = tenant.infer(prompt="Once upon a time", max_tokens=100)
    assert answer.status == 200, answer
    assert answer.json["text"].startswith(STORY)
    assert tenant.infer(prompt="Once upon a time", max_tokens=100, stop="ball.").json["text"] == STORY.removesuffix("ball.")
    whole = tenant.post("/detokenize", {"tokens": tenant.post("/tokenize", {"text": "Once upon a time"}).json["tokens"] +
                                        answer.json["tokens"], "skip_special_tokens": True}).json["text"]
    assert whole == "Once upon a time" + answer.json["text"]


def test_the_story_in_int8_is_a_story(start):
    """Rounded weights may tell another one, but the first words are not in doubt."""
    tenant = start(stories260k(), None, "--precision", "int8").tenant("acme")
    answer = tenant.infer(prompt="Once upon a time", max_tokens=60)
    assert answer.json["text"].startswith(", there was a little"), answer
