"""The user's own models, from the command line."""

import hashlib
import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.helpers.cli import complaint, vsr
from tests.helpers.models import write_model
from tests.zoo.community_matrix import write_weights
from vsr.errors import ModelError
from vsr.models import Srresnet, SrresnetConfig
from vsr.zoo import add_to_shelf, load, own_file
from vsr.zoo.model_file import save_generator
from vsr.zoo.shelf import shelf_folder


@pytest.fixture(autouse=True)
def _data_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_model(tmp_path / "My_Model v2.safetensors")


def test_added_model_is_listed_shown_and_removed(model: Path) -> None:
    added = vsr("models", "add", model, "--licence", "CC-BY-4.0")
    assert added.returncode == 0, added.stderr
    assert "my-model-v2 x4" in added.stdout
    assert "CC-BY-4.0" in vsr("models").stdout
    shown = json.loads(vsr("models", "show", "my-model-v2", "--json").stdout)
    assert shown["sha256"] == hashlib.sha256(model.read_bytes()).hexdigest()
    assert shown["scale"] == 4
    assert {card["name"] for card in json.loads(vsr("models", "list", "--json").stdout)} >= {
        "tiny-x4",
        "my-model-v2",
    }
    model.unlink()
    assert load("my-model-v2").scale == 4
    assert vsr("models", "remove", "my-model-v2").returncode == 0
    assert list(shelf_folder().iterdir()) == []
    assert "unknown model" in complaint("models", "show", "my-model-v2")


def test_names_are_checked(model: Path) -> None:
    for name in ("tiny-x4", "best"):
        assert "name of an included model" in complaint("models", "add", model, "--name", name)
    with pytest.raises(ModelError, match="a device on Windows"):
        add_to_shelf(model, "nul")
    for name in ("../up", "Upper", "a b", "-a", "x" * 61):
        assert "can't be a name" in complaint("models", "add", model, f"--name={name}")
    assert vsr("models", "add", model, "--name", "mine").returncode == 0
    assert "mine exists" in complaint("models", "add", model, "--name", "mine")
    assert "none of your own models" in complaint("models", "remove", "tiny-x4")


def test_file_for_another_machine_is_that_of_the_users_own_model(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_to_shelf(model, "mine")
    monkeypatch.chdir(model.parent)
    model.with_name("tiny-x4").touch()
    assert own_file("mine") == shelf_folder() / "mine.safetensors"
    assert own_file(str(model)) == model
    assert [own_file(name) for name in (None, "best", "tiny-x4")] == [None] * 3


def test_changed_file_is_refused(model: Path) -> None:
    assert vsr("models", "add", model, "--name", "mine").returncode == 0
    path = shelf_folder() / "mine.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"\x7f")
    with pytest.raises(ValueError, match="has changed since it was added"):
        load("mine")


def test_file_that_is_no_model_is_not_added(tmp_path: Path) -> None:
    path = tmp_path / "a.onnx"
    path.write_text("no model")
    assert "not an ONNX file" in complaint("models", "add", path)
    assert not shelf_folder().exists()


def test_model_without_finite_output_is_not_added(tmp_path: Path) -> None:
    config = SrresnetConfig(channels=4, blocks=1, scale=2)
    weights = {name: 0 * one + 1e30 for name, one in Srresnet(config).state_dict().items()}
    save_generator(tmp_path / "a.safetensors", weights, config)
    with pytest.raises(ModelError, match="aren't finite"):
        add_to_shelf(tmp_path / "a.safetensors", None)
    assert not shelf_folder().exists()


def test_one_of_several_parallel_additions_under_a_name_succeeds(model: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        added = [pool.submit(add_to_shelf, model, "mine") for _ in range(4)]
    refusals = [str(one.exception()) for one in added if one.exception()]
    assert len(refusals) == 3
    assert all("mine exists" in refusal for refusal in refusals)
    assert load("mine").scale == 4


def test_cards_are_printable_lines(tmp_path: Path) -> None:
    """File names can contain line breaks, and bytes that are no characters."""
    pytest.importorskip("spandrel")
    unusual = write_weights("SPAN", tmp_path).rename(tmp_path / os.fsdecode(b"a\n\xff.pth"))
    added = vsr("models", "add", unusual, "--name", "mine", "--licence", "MIT\n\x1b[31m")
    assert added.returncode == 0, added.stderr
    assert "from a??.pth" in vsr("models").stdout
    assert json.loads(vsr("models", "show", "mine", "--json").stdout)["licence"] == "MIT??[31m"


def test_damaged_card_is_one_line(model: Path) -> None:
    assert vsr("models", "add", model, "--name", "mine").returncode == 0
    card = shelf_folder() / "mine.toml"
    card.write_bytes(b"\xff")
    for words in (("list",), ("show", "mine"), ("show", "other"), ("add", model, "--name=mine")):
        assert f"{card}: not a text file; delete this card" in complaint("models", *words)
    assert vsr("models", "remove", "mine").returncode == 0
    assert vsr("models", "add", model, "--name", "mine").returncode == 0


def test_included_model_and_file_are_shown(model: Path) -> None:
    assert "licence" in vsr("models", "show", "tiny-x4").stdout
    assert "unknown" in vsr("models", "show", model).stdout
