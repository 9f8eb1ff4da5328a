from pathlib import Path

import pytest
import scores

import vsr.zoo
from vsr.errors import VsrError
from vsr.imaging.degrade import Degradation
from vsr.zoo.card import read_card


def run(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> None:
    monkeypatch.setattr("sys.argv", ["scores", *map(str, arguments)])
    scores.main()


@pytest.fixture
def readme(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "README.md"
    path.write_text("before\n<!-- scores -->\nold\n<!-- end of scores -->\nafter\n")
    monkeypatch.setattr(scores, "README", path)
    return path


def test_scores_of_the_first_frames_go_onto_the_card_and_into_the_readme(
    zoo: Path,
    films: Path,
    readme: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run(monkeypatch, films, "--frames", 3)
    card = read_card(zoo / "cards" / "small-x4.toml")
    assert card.scores.keys() == {degradation.value for degradation in Degradation}
    assert card.scores["bi"].frames == 3
    first, *rows, last = readme.read_text().splitlines()
    assert (first, last) == ("before", "after")
    (row,) = [row for row in rows if row.startswith("| `small-x4` ")]
    assert f"{card.scores['bi'].psnr_y:.2f}" in row
    assert "first 3 frames" in row
    assert f"small-x4 bd: {card.scores['bd'].psnr_y:.2f} dB" in capsys.readouterr().out


def test_the_table_alone_leaves_cards_as_they_are(
    zoo: Path, readme: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = (zoo / "cards" / "small-x4.toml").read_bytes()
    run(monkeypatch, "--table")
    assert (zoo / "cards" / "small-x4.toml").read_bytes() == before
    assert "small-x4" in readme.read_text()


def test_films_and_models_that_do_not_exist_are_reported_before_any_work(
    zoo: Path, films: Path, readme: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = (zoo / "cards" / "small-x4.toml").read_bytes()
    (tmp_path / "empty").mkdir()
    with pytest.raises(VsrError, match=r"holds no film|no film|no such"):
        run(monkeypatch, tmp_path / "empty")
    with pytest.raises(VsrError, match="nosuch: not an included model; there are: small-x4"):
        run(monkeypatch, films, "--only", "small-x4", "nosuch")
    with pytest.raises(SystemExit):
        run(monkeypatch, films, "--frames", "-1")
    assert (zoo / "cards" / "small-x4.toml").read_bytes() == before


def test_a_readme_without_markers_is_reported() -> None:
    with pytest.raises(VsrError, match="lacks <!-- scores -->"):
        scores.with_table("no table", vsr.zoo.list_models())


def test_the_readme_shows_the_scores_of_the_cards() -> None:
    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    assert scores.with_table(readme, vsr.zoo.list_models()) == readme
