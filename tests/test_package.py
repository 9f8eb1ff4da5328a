"""What `import vsr` offers."""

import importlib
import re
import subprocess
import sys
import tomllib
from collections import defaultdict
from pathlib import Path

import pytest

import vsr


@pytest.mark.parametrize("name", vsr.__all__)
def test_every_public_name_can_be_imported(name: str) -> None:
    assert getattr(vsr, name) is not None
    assert name in dir(vsr)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'upscale'"):
        _ = vsr.upscale


def test_the_import_loads_no_heavy_module() -> None:
    code = "import sys, vsr; assert not {'torch', 'av', 'cv2', 'numpy'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_extras_require_the_same_version_of_a_package() -> None:
    text = (Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8")
    project = tomllib.loads(text)["project"]
    found = defaultdict(set)
    for extra in (project["dependencies"], *project["optional-dependencies"].values()):
        for requirement in extra:
            found[re.split(r"[<>=\[ ]", requirement)[0]].add(requirement)
    assert {name: lines for name, lines in found.items() if len(lines) > 1} == {}


def test_the_filter_says_how_to_get_vapoursynth(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "vapoursynth", None)
    monkeypatch.delitem(sys.modules, "vsr.vapoursynth", raising=False)
    with pytest.raises(vsr.VsrError, match=r"pip install vapoursynth.*Python 3\.12"):
        importlib.import_module("vsr.vapoursynth")
