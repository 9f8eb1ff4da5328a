import json
from pathlib import Path

import bench
import pytest


@pytest.mark.slow
def test_all_parts_are_measured(
    tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    report = tmp_path / "bench.json"
    arguments = ["--size", "64x48", "--frames", "6", "--model", str(tiny_model)]
    arguments += ["--device", "cpu", "--json", str(report)]
    monkeypatch.setattr("sys.argv", ["bench", *arguments])
    bench.main()
    rows = json.loads(report.read_text())["rows"]
    names = [row["what"] for row in rows]
    assert names[-3:] == ["engine without encoding", "encoder alone, h264 veryfast", "end to end"]
    assert "model and colour, torch f32" in names
    assert all(row["milliseconds"] > 0 for row in rows)
