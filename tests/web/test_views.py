"""Films, previews, plans and results over HTTP."""

import json
import re
import time
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from tests.helpers.films import broken_inputs
from tests.web.views import API, TINY, Server
from vsr.engine.resume.journal import FinishedSegment, Journal
from vsr.engine.resume.segment_file import SegmentWriter
from vsr.media.decode.reader import VideoReader
from vsr.media.encode.settings import EncoderSettings

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def job(server: Server) -> str:
    return server.add_done_job()


def one_line(response: httpx.Response, status: int) -> str:
    """The error of a response, which names no folder of the server."""
    assert response.status_code == status, response.text
    line: str = response.json()["error"]
    assert "\n" not in line
    assert "/tmp" not in line
    return line


def test_a_film_is_described(server: Server) -> None:
    info = server.get(f"{API}/film", params={"file": "films/a.mp4"}).json()
    assert (info["kind"], info["file"], info["frames"]) == ("film", "films/a.mp4", 30)
    assert info["seconds"] == pytest.approx(1.2)
    Image.new("RGB", (8, 6)).save(server.films / "p.png")
    picture = server.get(f"{API}/film", params={"file": "films/p.png"}).json()
    assert (picture["kind"], picture["width"]) == ("picture", 8)


def test_a_filmstrip_is_one_picture(server: Server) -> None:
    strip = server.get(f"{API}/filmstrip", params={"file": "films/a.mp4", "count": 5}).json()
    assert len(strip["times"]) == 5
    picture = server.get(strip["image"])
    assert picture.headers["content-type"] == "image/jpeg"
    (server.films / "strip.jpg").write_bytes(picture.content)
    with Image.open(server.films / "strip.jpg") as opened:
        assert opened.size == (5 * strip["tile_width"], strip["tile_height"])


def test_broken_and_missing_files_are_one_line(server: Server) -> None:
    folder = server.films / "broken"
    folder.mkdir()
    for path, _ in broken_inputs(folder):
        is_file = path.is_file()
        file = f"films/{path.relative_to(server.films)}"
        body = {"file": file, "time": 0, "options": TINY}
        for response in (
            server.get(f"{API}/film", params={"file": file}),
            server.get(f"{API}/filmstrip", params={"file": file}),
            server.post(f"{API}/previews", json=body),
            server.post(f"{API}/plans", json={"file": file}),
        ):
            one_line(response, 400 if is_file else 404)


def test_pictures_are_refused_with_the_command_that_upscales_them(server: Server) -> None:
    Image.new("RGB", (8, 6)).save(server.films / "a photo.png")
    body = {"file": "films/a photo.png"}
    for response in (
        server.get(f"{API}/filmstrip", params=body),
        server.post(f"{API}/previews", json={**body, "time": 0}),
        server.post(f"{API}/plans", json=body),
        server.post(f"{API}/jobs", json=body),
    ):
        assert "vsr image 'a photo.png' 'a photo-large.png'" in one_line(response, 400)


def test_a_preview_is_shown_and_computed_once(server: Server) -> None:
    body = {"file": "films/a.mp4", "time": 0.4, "options": TINY}
    started = server.post(f"{API}/previews", json=body)
    assert started.status_code == 202
    preview = server.wait(f"{API}/previews/{started.json()['preview']}")
    assert (preview["state"], preview["width"], preview["height"]) == ("done", 192, 128)
    assert preview["time"] == pytest.approx(0.4)
    assert preview["model"] == "tiny-x2"
    for side in ("before", "after"):
        picture = server.get(preview[side])
        assert picture.headers["content-type"] == "image/webp"
        assert "immutable" in picture.headers["cache-control"]
    other = {**body, "options": {**TINY, "crf": 30, "container": "mkv"}}
    again = server.post(f"{API}/previews", json=other)
    assert (again.status_code, again.json()) == (200, preview)


def test_a_clip_can_be_read_in_ranges(server: Server) -> None:
    body = {"file": "films/a.mp4", "time": 0.8, "kind": "clip", "options": TINY}
    started = server.post(f"{API}/previews", json=body).json()
    clip = server.wait(f"{API}/previews/{started['preview']}")
    assert (clip["width"], clip["before"]) == (2 * 192 + 4, None)
    part = server.get(clip["clip"], headers={"range": "bytes=0-9"})
    assert (part.status_code, len(part.content)) == (206, 10)
    assert server.get(f"{API}/previews/{started['preview']}/after.webp").status_code == 404


def test_mistakes_in_previews_are_one_line(server: Server) -> None:
    def error(status: int, **changes: Any) -> str:
        body = {"file": "films/a.mp4", "time": 0, "options": TINY, **changes}
        return one_line(server.post(f"{API}/previews", json=body), status)

    assert "after its end" in error(400, time=100)
    assert "time" in error(422, time=-1)
    assert "unknown model" in error(400, options={"model": "none"})
    assert "extra" in error(422, options={"colour": 1}).lower()
    assert "no such file" in error(404, file="films/../a.mp4")
    one_line(server.get(f"{API}/previews/{'0' * 32}"), 404)
    one_line(server.get(f"{API}/previews/..%2f..%2fetc/after.webp"), 404)
    late = {"file": "films/a.mp4", "time": 1.5, "options": TINY}
    preview = server.post(f"{API}/previews", json=late).json()["preview"]
    failed = server.wait(f"{API}/previews/{preview}")
    assert failed["error"] == "films/a.mp4: its last frame is at 1.160 s; 1.500 s is after it"


def test_a_plan_has_the_fields_of_the_command(server: Server) -> None:
    body = {"file": "films/a.mp4", "options": TINY}
    started = server.post(f"{API}/plans", json=body).json()
    plan = server.wait(f"{API}/plans/{started['plan']}")
    assert plan["error"] is None
    result = plan["result"]
    assert (result["model"], result["width"], result["frames"]) == ("tiny-x2", 192, 30)
    assert result["memory_bytes"] > 50_000_000
    assert server.post(f"{API}/plans", json=body).status_code == 200


def test_an_output_is_verified(server: Server, job: str) -> None:
    found = server.get(f"{API}/jobs/{job}/verify").json()
    assert found["kept"] is True
    assert {"what": "frames", "source": "30", "output": "30", "kept": True} in found["findings"]


def test_flicker_is_measured_by_the_second(server: Server, job: str) -> None:
    assert server.get(f"{API}/jobs/{job}/flicker").json()["state"] in ("waiting", "running")
    found = server.wait(f"{API}/jobs/{job}/flicker")
    assert [one["second"] for one in found["seconds"]] == [0, 1]
    assert abs(found["flicker"]) < 20
    assert 0 <= found["tof"] < 5


def test_a_part_is_compared_with_its_frames(server: Server) -> None:
    job = server.add_done_job(start=0.4, end=0.8)
    assert server.get(f"{API}/jobs/{job}/verify").json()["kept"] is True
    page = server.get(f"{API}/jobs/{job}/compare").text
    for _ in range(600):
        if 'id="data"' in page:
            break
        time.sleep(0.05)
        page = server.get(f"{API}/jobs/{job}/compare").text
    data = re.search(r'id="data">(.*?)</script>', page)
    assert data is not None
    films = json.loads(data[1])["films"]
    assert [film["count"] for film in films] == [10, 10]
    assert films[0]["first"] == pytest.approx(0.4)
    assert "<style" not in page
    for address in re.findall(r'(?:src|href)="(/[^"]+)"', page):
        assert server.get(address).status_code == 200
    media = server.get(f"{API}/jobs/{job}/media/output", headers={"range": "bytes=0-3"})
    assert (media.status_code, media.headers["content-type"]) == (206, "video/mp4")


def test_results_of_unfinished_and_missing_jobs_are_refused(server: Server) -> None:
    job = server.add_job("later.mp4", "waiting")
    for what in ("verify", "flicker", "compare", "media/output"):
        one_line(server.get(f"{API}/jobs/{job}/{what}"), 409)
        one_line(server.get(f"{API}/jobs/none/{what}"), 404)
    assert server.get(f"{API}/jobs/{job}/last-frame.jpg").status_code == 204


def test_a_job_has_a_still_unless_its_film_is_broken(server: Server) -> None:
    path = f"{API}/jobs/{server.add_job('still.mp4', 'waiting')}/still.jpg"
    still = server.get(path)
    assert (still.status_code, still.headers["content-type"]) == (200, "image/jpeg")
    film = server.film.read_bytes()
    server.film.write_bytes(b"no film")
    assert (server.get(path).status_code, server.get(path).content) == (204, b"")
    server.film.write_bytes(film)


def test_the_last_finished_frame_is_shown(server: Server) -> None:
    job = server.add_job("unfinished.mp4", "running")
    output = server.services.queue.unfinished_output(job)
    journal = Journal(output, {}, resume=True)
    settings = EncoderSettings(crf=5, preset="ultrafast")
    with VideoReader(server.film) as reader:
        frames = list(reader.frames())
        for number, part in enumerate((frames[:10], frames[10:20])):
            writer = SegmentWriter(journal.segment(number), output, reader.info, settings)
            for frame in part:
                writer.write(frame)
            file = writer.finish()
            done = FinishedSegment(number, file.frames, 0, file.size, file.digest, (), None)
            journal.add(done, writer.video)
            response = server.get(f"{API}/jobs/{job}/last-frame.jpg")
            assert response.status_code == 200
            picture = server.films / "last.jpg"
            picture.write_bytes(response.content)
            with Image.open(picture) as shown:
                luma = np.asarray(shown.convert("L"), dtype=float)
            expected = (frames[10 * number + 9].planes[0].astype(float) - 16) * 255 / 219
            assert np.abs(luma - expected).mean() < 3
    journal.remove()
