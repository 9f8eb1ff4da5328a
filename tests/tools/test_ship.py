from pathlib import Path

import pytest
import ship
import torch
from safetensors.torch import load_file

from vsr.models import Recurrent, RecurrentConfig
from vsr.zoo.card import read_card, write_card
from vsr.zoo.model_file import load_generator, save_generator

CONFIG = RecurrentConfig(
    channels=8, blocks=1, memory=8, flow_channels=4, flow_levels=2, steadies=True
)
RECIPE = """
[model]
kind = "recurrent"
[data]
dataset = "dataset"
[card]
summary = "A small model."
licence = "MIT"
"""


def test_a_run_is_shipped_as_f16_weights_and_a_card_with_scores(
    tmp_path: Path, zoo: Path, films: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, recipe = tmp_path / "run", tmp_path / "new-x4.toml"
    run.mkdir()
    weights = Recurrent(CONFIG).state_dict()
    save_generator(run / "model.safetensors", weights, CONFIG)
    card = read_card(zoo / "cards" / "small-x4.toml")
    write_card(run / "card.toml", card.model_copy(update={"minutes": 2}))
    recipe.write_text(RECIPE)
    arguments = [str(run), str(recipe), str(films), "--steadier", "0.5", "--minutes-before", "3"]
    monkeypatch.setattr("sys.argv", ["ship", *arguments])
    ship.main()
    shipped = load_file(zoo / "weights" / "new-x4.safetensors")
    assert {weight.dtype for weight in shipped.values()} == {torch.float16}
    moved = weights["steady.second.bias"] + 0.5
    assert torch.equal(shipped["steady.second.bias"], moved.half())
    assert torch.equal(shipped["entry.weight"], weights["entry.weight"].half())
    assert load_generator(zoo / "weights" / "new-x4.safetensors").scale == 4
    written = read_card(zoo / "cards" / "new-x4.toml")
    assert (written.name, written.summary, written.licence) == ("new-x4", "A small model.", "MIT")
    assert written.minutes == 5
    assert written.scores.keys() == {"bi", "bd"}
