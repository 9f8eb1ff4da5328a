import importlib
from pathlib import Path

import pytest

TOOLS = sorted(path.stem for path in (Path(__file__).parents[2] / "tools").glob("*.py"))
WITHOUT_ARGUMENTS = ("demo", "docs_pages", "tool_main")


@pytest.mark.parametrize("tool", [tool for tool in TOOLS if tool not in WITHOUT_ARGUMENTS])
def test_a_tool_describes_its_arguments(
    tool: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", [f"{tool}.py", "--help"])
    with pytest.raises(SystemExit) as end:
        importlib.import_module(tool).main()
    assert end.value.code == 0
    assert f"usage: {tool}.py" in capsys.readouterr().out
