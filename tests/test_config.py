from pathlib import Path

import pytest
from pydantic import Field, model_validator

from vsr.config import Config, load_toml, parse
from vsr.errors import ConfigError


class Inner(Config):
    rate: float = 0.5
    steps: int = 3


class Span(Config):
    first: int
    last: int

    @model_validator(mode="after")
    def _in_order(self) -> "Span":
        if self.last < self.first:
            raise ValueError("last is before first")
        return self


class Outer(Config):
    name: str
    inner: Inner = Inner()


def read(tmp_path: Path, text: str, *overrides: str) -> Outer:
    path = tmp_path / "a.toml"
    path.write_text(text)
    return load_toml(path, Outer, overrides)


def test_what_the_file_leaves_out_has_its_default(tmp_path: Path) -> None:
    assert read(tmp_path, "name = 'x'\n[inner]\nsteps = 7").inner == Inner(rate=0.5, steps=7)


@pytest.mark.parametrize("value", ["inf", "-inf", "nan"])
def test_values_that_are_not_finite_are_refused(tmp_path: Path, value: str) -> None:
    with pytest.raises(ConfigError, match=rf"inner\.rate = {value}: .* finite"):
        read(tmp_path, "name = 'x'", f"inner.rate={value}")


def test_keys_that_contradict_each_other_are_named_without_the_whole_file(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text("first = 3\nlast = 2\n")
    with pytest.raises(ConfigError, match=r"a\.toml: last is before first$"):
        load_toml(tmp_path / "a.toml", Span)


def test_an_override_replaces_a_value_and_makes_missing_tables(tmp_path: Path) -> None:
    config = read(tmp_path, "name = 'x'", "inner.rate=5e-5", "name=plain text")
    assert config.inner.rate == 5e-5
    assert config.name == "plain text"


def test_an_unknown_key_is_named_with_the_nearest_known(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"unknown key inner\.stepz; did you mean steps\?"):
        read(tmp_path, "name = 'x'\n[inner]\nstepz = 7")


def test_an_unknown_key_like_no_other_lists_what_is_allowed(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="unknown key colour; allowed: inner, name"):
        read(tmp_path, "name = 'x'\ncolour = 1")


def test_a_bad_value_is_named_with_what_was_given(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"inner\.steps = 'many'"):
        read(tmp_path, "name = 'x'\n[inner]\nsteps = 'many'")


def test_a_missing_key_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="name is missing"):
        read(tmp_path, "")


@pytest.mark.parametrize("override", ["inner.rate", "=3", "name.deep=1"])
def test_an_override_that_makes_no_sense_is_refused(tmp_path: Path, override: str) -> None:
    with pytest.raises(ConfigError, match="--set"):
        read(tmp_path, "name = 'x'", override)


def test_what_is_not_toml_is_refused_with_the_place(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"a\.toml: not valid TOML: Invalid value"):
        read(tmp_path, "name = ")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.toml: No such file"):
        load_toml(tmp_path / "none.toml", Outer)


class RenamedInner(Config):
    learning_rate: float = Field(default=0.5, alias="rate")
    steps: int = 3


class RenamedOuter(Config):
    name: str
    schedule: RenamedInner = Field(default=RenamedInner(), alias="inner")


def test_a_renamed_field_keeps_its_key() -> None:
    written = Outer(name="x", inner=Inner(rate=0.25)).model_dump_json()
    renamed = RenamedOuter.model_validate_json(written)
    assert renamed.schedule == RenamedInner(learning_rate=0.25)
    assert renamed.model_dump_json() == written


def test_a_wrong_key_beside_a_renamed_field_is_named_with_the_nearest_key() -> None:
    with pytest.raises(ConfigError, match=r"unknown key inner\.rade; did you mean rate\?"):
        parse({"name": "x", "inner": {"rade": 1}}, RenamedOuter, "a.toml")
