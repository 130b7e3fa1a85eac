"""A browser for the tests of the console, and a daemon with something to see."""
import os
import shutil

import pytest

import browser as browsers
from daemon import DEMO


@pytest.fixture(scope="module")
def browser():
    reason = browsers.missing()
    if reason:
        pytest.skip(reason)
    b = browsers.Browser()
    yield b
    b.quit()


@pytest.fixture
def peft(tmp_path):
    """peft(name, like="mask", change=None): a directory as save_pretrained writes it; `change` edits its config's text."""

    def make(name, like="mask", change=None):
        directory = tmp_path / name
        shutil.copytree(os.path.join(DEMO, "adapters", like), directory)
        if change:
            config = directory / "adapter_config.json"
            config.write_text(change(config.read_text()))
        return str(directory)

    return make
