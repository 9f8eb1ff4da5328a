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
    monkeypatch.setattr("sys.argv", ["bench", *arguments, "--backends"])
    bench.main()
    in_turns = json.loads(report.read_text())["rows"]
    assert all(row["cpu_milliseconds"] > 0 for row in in_turns)
    monkeypatch.setattr("sys.argv", ["bench", *arguments])
    bench.main()
    rows = json.loads(report.read_text())["rows"]
    names = [row["what"] for row in rows]
    assert names[-3:] == ["engine without encoding", "encoder alone, h264 veryfast", "end to end"]
    assert [row["what"] for row in in_turns] == names[: len(in_turns)]
    for runtime in ("torch", "OpenVINO", "ONNX Runtime"):
        assert f"model and colour, {runtime} f32" in names
    assert all(row["milliseconds"] > 0 for row in rows)
