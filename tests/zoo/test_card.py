from pathlib import Path

import pytest

from vsr.errors import ConfigError
from vsr.scoring import FilmScore, Scores, degradation_scores
from vsr.zoo.card import Card, DegradationScores, read_card, write_card

NAN = float("nan")
SCORE = FilmScore(
    *("mean", 3, Scores(30.0, 0.9, 0.2, 0.5, 1.5, 0.1), Scores(29.0, 0.8, NAN, 0.1, 1.0, 0.0))
)
CARD = Card(
    name="mine",
    scale=4,
    summary='Says "hello", backslash \\ and ünïcode',
    parameters=12,
    multiplies_per_pixel=7,
    licence="Apache-2.0",
    machine="a CPU",
    minutes=3.5,
    iterations=9,
    recipe="vsr train",
    data=("one", "two"),
    validation=(),
)


@pytest.mark.parametrize("scores", [{}, {"bi": degradation_scores(SCORE)}])
def test_a_card_is_read_as_it_was_written(
    tmp_path: Path, scores: dict[str, DegradationScores]
) -> None:
    card = CARD.model_copy(update={"scores": scores})
    write_card(tmp_path / "card.toml", card)
    again = read_card(tmp_path / "card.toml")
    assert again.model_dump_json() == card.model_dump_json()
    assert [path.name for path in tmp_path.iterdir()] == ["card.toml"]


def test_what_is_no_card_is_refused(tmp_path: Path) -> None:
    (tmp_path / "card.toml").write_text('name = "half"\n')
    with pytest.raises(ConfigError, match=r"card.toml: scale is missing"):
        read_card(tmp_path / "card.toml")
