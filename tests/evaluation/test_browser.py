"""The two pages as a person uses them: in a real browser, from a file, with no network."""

import io
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from selenium.webdriver import Chrome
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

from tests.helpers.browser import start_browser
from tests.helpers.films import write_film
from vsr.evaluation import compare, evaluate
from vsr.evaluation.compare import write_comparison
from vsr.evaluation.html import report_page

pytestmark = pytest.mark.slow

FRAMES = 24
CODED = {"codec": "libx264", "options": {"crf": "1", "bf": "2"}, "matrix": 1}
WIDTH, HEIGHT = 64, 48
"""Of the small film; the other has twice the sides."""


def level(frame: int) -> int:
    """The grey that identifies a frame."""
    return 40 + 7 * frame


def film(path: Path, zoom: int, square: int) -> Path:
    """Flat frames, each of its own grey, with a square of one pixel of the small film in them."""
    frames = []
    for number in range(FRAMES):
        picture = np.full((HEIGHT * zoom, WIDTH * zoom, 3), level(number), np.uint8)
        picture[20 * zoom : 21 * zoom, 30 * zoom : 31 * zoom] = square
        frames.append(picture)
    return write_film(path, frames, **CODED)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def browser() -> Iterator[Chrome]:
    started = start_browser()
    yield started
    started.quit()


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pages")
    films = [film(folder / "low.mp4", 1, 255), film(folder / "high film.mp4", 2, 0)]
    write_comparison(films, folder / "compare.html")
    return folder / "compare.html"


def opened(browser: Chrome, page: Path) -> Chrome:
    browser.get(page.as_uri())
    WebDriverWait(browser, 30).until(
        lambda b: runs(b, "return document.body.dataset.ready === 'yes'")
    )
    return browser


@pytest.fixture
def comparing(browser: Chrome, page: Path) -> Iterator[Chrome]:
    yield opened(browser, page)
    assert complaints(browser) == []


def runs(browser: Chrome, script: str) -> Any:
    """What a script in the page gives."""
    return browser.execute_script(script)


def complaints(browser: Chrome) -> list[Any]:
    """The console's."""
    return list(browser.get_log("browser"))


def seen(browser: Chrome) -> NDArray[np.uint8]:
    """The window as pixels (H, W, 3)."""
    return np.asarray(Image.open(io.BytesIO(browser.get_screenshot_as_png())).convert("RGB"))


def grey_at(browser: Chrome, pane: int, x: float = 0.5, y: float = 0.25) -> int:
    """The mean of the pixel at a share of a pane's width and height."""
    box = browser.find_elements(By.CSS_SELECTOR, ".pane canvas")[pane].rect
    place = int(box["y"] + y * box["height"]), int(box["x"] + x * box["width"])
    return int(seen(browser)[place].mean())


def clock(browser: Chrome) -> str:
    return browser.find_element(By.ID, "clock").text


def waits_for(browser: Chrome, text: str) -> None:
    WebDriverWait(browser, 20).until(lambda b: clock(b).startswith(text))


def press(browser: Chrome, *keys: str) -> None:
    ActionChains(browser).send_keys(*keys).perform()


def click(browser: Chrome, name: str) -> None:
    browser.find_element(By.ID, name).click()


def close_to(frame: int) -> object:
    """The grey of a frame, and of no other, after the codec and the browser's conversion."""
    return pytest.approx(level(frame), abs=3)


def test_the_first_frame_of_all_films_is_shown_with_their_labels(comparing: Chrome) -> None:
    captions = [c.text for c in comparing.find_elements(By.CSS_SELECTOR, ".pane figcaption")]
    assert captions == ["source: low.mp4", "high film.mp4"]
    assert clock(comparing).startswith(f"frame 0 of {FRAMES}, 0.000 s")
    assert [grey_at(comparing, pane) for pane in (0, 1)] == [close_to(0), close_to(0)]


def test_arrow_keys_step_all_films_frame_by_frame(comparing: Chrome) -> None:
    for frame in (1, 2, 3):
        press(comparing, Keys.ARROW_RIGHT)
        waits_for(comparing, f"frame {frame} of {FRAMES}, {frame * 0.04:.3f} s")
        assert [grey_at(comparing, pane) for pane in (0, 1)] == [close_to(frame)] * 2
    press(comparing, Keys.END)
    waits_for(comparing, f"frame {FRAMES - 1}")
    assert [grey_at(comparing, pane) for pane in (0, 1)] == [close_to(FRAMES - 1)] * 2
    press(comparing, Keys.ARROW_LEFT)
    waits_for(comparing, f"frame {FRAMES - 2}")
    assert [grey_at(comparing, pane) for pane in (0, 1)] == [close_to(FRAMES - 2)] * 2


def test_the_frame_that_the_clock_names_is_the_one_drawn(comparing: Chrome) -> None:
    # A browser may say "seeked" while it still shows the frame before: one in some 60 did.
    for _ in range(8):
        for key, frame in ((Keys.END, FRAMES - 1), (Keys.ARROW_LEFT, FRAMES - 2), (Keys.HOME, 0)):
            press(comparing, key)
            waits_for(comparing, f"frame {frame} ")
            assert [grey_at(comparing, pane) for pane in (0, 1)] == [close_to(frame)] * 2


def test_the_slider_leads_to_a_frame(comparing: Chrome) -> None:
    runs(comparing, "slider.value = 11; slider.dispatchEvent(new Event('input'))")
    waits_for(comparing, "frame 11")
    assert [grey_at(comparing, pane) for pane in (0, 1)] == [close_to(11)] * 2


def test_films_play_under_one_clock(comparing: Chrome) -> None:
    click(comparing, "play")
    time.sleep(0.4)
    together = runs(comparing, "return all.map((film) => film.since)")
    assert together[0] > 0
    assert together[0] == pytest.approx(together[1], abs=0.1)
    press(comparing, " ")
    frame = runs(comparing, "return seeking.then(() => state.frame)")
    assert frame > 0
    # Held, both show the same frame: by their clocks and by their pixels.
    times = runs(comparing, "return all.map((film) => film.video.currentTime)")
    assert times[0] == pytest.approx(times[1], abs=0.001)
    assert [grey_at(comparing, pane) for pane in (0, 1)] == [close_to(frame)] * 2


def test_the_divider_is_dragged_and_moved_by_keys(comparing: Chrome) -> None:
    click(comparing, "mode-divider")
    press(comparing, Keys.ARROW_RIGHT)
    waits_for(comparing, "frame 1")
    # The square is white in the film on the left and black in that on the right; zoom onto it.
    runs(comparing, "state.centre = [30.5 / 64, 20.5 / 48]; zoomTo(64)")
    handle = comparing.find_element(By.ID, "divider")
    assert grey_at(comparing, 0, 0.48, 0.5) > 240
    assert grey_at(comparing, 0, 0.52, 0.5) < 15
    width = comparing.find_element(By.CSS_SELECTOR, ".pane").rect["width"]
    ActionChains(comparing).drag_and_drop_by_offset(handle, round(0.04 * width), 0).perform()
    assert handle.get_attribute("aria-valuenow") == "54"
    assert grey_at(comparing, 0, 0.52, 0.5) > 240
    for _ in range(4):
        press(comparing, Keys.ARROW_LEFT)
    assert handle.get_attribute("aria-valuenow") == "46"
    assert grey_at(comparing, 0, 0.48, 0.5) < 15
    assert clock(comparing).startswith("frame 1")  # the divider's keys are no steps


def test_zoom_keeps_pixels_crisp_and_follows_on_all_films(comparing: Chrome) -> None:
    click(comparing, "in")
    click(comparing, "in")
    zoom = runs(comparing, "return state.zoom")
    assert comparing.find_element(By.ID, "zoom").text == f"{zoom}\u00d7"
    runs(comparing, "state.centre = [30.5 / 64, 20.5 / 48]; zoomTo(16)")
    picture = seen(comparing)
    for pane, inside in ((0, 255), (1, 0)):
        box = comparing.find_elements(By.CSS_SELECTOR, ".pane canvas")[pane].rect
        row = picture[int(box["y"] + box["height"] / 2)].mean(axis=1)
        middle = int(box["x"] + box["width"] / 2)
        line = row[middle - 40 : middle + 40]
        # One pixel of the small film is two of the large one: 32 of the window, with hard edges.
        changed = np.abs(line - level(0)) > abs(inside - level(0)) / 2
        assert 31 <= changed.sum() <= 33
        assert np.abs(line[changed] - inside).max() < 12
        assert (np.abs(line[~changed] - level(0)) < 12).all()
    # Dragging one pane moves all.
    first = comparing.find_elements(By.CSS_SELECTOR, ".pane canvas")[0]
    ActionChains(comparing).drag_and_drop_by_offset(first, 64, 0).perform()
    assert grey_at(comparing, 0, 0.5, 0.5) == close_to(0)
    assert grey_at(comparing, 1, 0.5, 0.5) == close_to(0)


def test_the_difference_is_black_but_where_films_differ(comparing: Chrome) -> None:
    click(comparing, "mode-difference")
    runs(comparing, "state.centre = [30.5 / 64, 20.5 / 48]; zoomTo(16)")
    assert grey_at(comparing, 0, 0.5, 0.5) > 200
    assert grey_at(comparing, 0, 0.5, 0.2) < 25  # gain 4: what the codec left


def test_the_slice_grows_by_a_row_a_frame(comparing: Chrome) -> None:
    click(comparing, "mode-slice")
    for frame in range(1, 6):
        press(comparing, Keys.ARROW_RIGHT)
        waits_for(comparing, f"frame {frame}")
    box = comparing.find_elements(By.CSS_SELECTOR, ".pane canvas")[1].rect
    column = seen(comparing)[int(box["y"]) :, int(box["x"] + 0.75 * box["width"])].mean(axis=1)
    assert column[:6].tolist() == [close_to(frame) for frame in range(6)]
    assert column[7] < 5


def test_everything_has_a_name_and_can_be_reached_by_keys(comparing: Chrome) -> None:
    click(comparing, "mode-divider")
    for part in comparing.find_elements(By.CSS_SELECTOR, "button, input, select, [role=slider]"):
        if part.is_displayed():
            assert part.accessible_name
            assert part.get_property("tabIndex") == 0
    assert comparing.find_element(By.CSS_SELECTOR, ".pane canvas").accessible_name


@pytest.mark.parametrize(("scheme", "is_dark"), [("light", False), ("dark", True)])
def test_pages_follow_the_systems_colours(comparing: Chrome, scheme: str, is_dark: bool) -> None:
    emulated = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    comparing.execute_cdp_cmd("Emulation.setEmulatedMedia", emulated)
    header = comparing.find_element(By.TAG_NAME, "header").rect
    corner = seen(comparing)[int(header["y"]) + 3, int(header["x"] + header["width"]) - 4]
    assert (corner.mean() < 128) == is_dark
    comparing.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


def test_large_films_are_played_from_beside_the_page(
    browser: Chrome, page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compare, "_EMBEDDED_BYTES", 0)
    films = [page.parent / "low.mp4", page.parent / "high film.mp4"]
    write_comparison(films, tmp_path / "beside.html")
    text = (tmp_path / "beside.html").read_text()
    assert "data:video" not in text
    assert "high%20film.mp4" in text
    opened(browser, tmp_path / "beside.html")
    press(browser, Keys.ARROW_RIGHT)
    waits_for(browser, "frame 1")
    assert [grey_at(browser, pane) for pane in (0, 1)] == [close_to(1)] * 2
    click(browser, "mode-difference")
    assert grey_at(browser, 0) < 25
    assert complaints(browser) == []


def test_the_report_reads_a_frame_under_the_pointer(
    browser: Chrome, page: Path, tmp_path: Path
) -> None:
    frames = [np.full((96, 128, 3), level(number), np.uint8) for number in range(FRAMES)]
    random = np.random.default_rng(0)
    for number, frame in enumerate(frames):
        frame[20:60, 20:90] = random.integers(0, 255, (40, 70, 3)) if number % 2 else 90
    one = write_film(tmp_path / "a.mp4", frames, **CODED)  # type: ignore[arg-type]
    two = write_film(tmp_path / "b.mp4", [f // 2 + 60 for f in frames], **CODED)  # type: ignore[arg-type]
    report = evaluate(one, two, metrics=["psnr_y", "warping_error"], gallery=True, device="cpu")
    (tmp_path / "report.html").write_text(report_page(report), encoding="utf-8")
    browser.get((tmp_path / "report.html").as_uri())
    charts = browser.find_elements(By.CSS_SELECTOR, ".chart")
    assert len(charts) == 2
    drawing = charts[0].find_element(By.TAG_NAME, "svg")
    ActionChains(browser).move_to_element_with_offset(drawing, 0, 0).perform()
    reading = charts[0].find_element(By.CSS_SELECTOR, ".reading").text
    middle = round((FRAMES - 1) / 2)
    value = report.films[0].values(report.metrics[0], report.protocol)[middle]
    assert reading in (f"frame {middle}: {value:.2f}", f"frame {middle - 1}: {reading[-5:]}")
    # All curves of a film are read together; arrow keys go on.
    charts[1].send_keys(Keys.ARROW_RIGHT)
    assert charts[0].find_element(By.CSS_SELECTOR, ".reading").text != reading
    strip = browser.find_element(By.CSS_SELECTOR, ".strip")
    click(browser, "pause")
    assert strip.value_of_css_property("animation-play-state") == "paused"
    assert complaints(browser) == []
