"""The page of `vsr serve` in a real browser, from a dropped film to its download.

With `VSR_SCREENSHOTS` set to a folder, screenshots are written there: those of the manual with
`VSR_SCREENSHOTS=docs/images`.
"""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import psutil
import pytest
import torch
from selenium.webdriver import Chrome
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from skimage import data

from tests.helpers.browser import start_browser
from tests.helpers.films import AudioTrack, write_film
from tests.web.browser import DESKTOP, PHONE, Page
from tests.web.server import ServerProcess, wait_for
from vsr.engine.upscale import upscale_video
from vsr.media.encode.settings import EncoderSettings

pytestmark = pytest.mark.slow

WIDTH, HEIGHT = 96, 72
SHOT_FRAMES = 50
"""A finished segment for each shot."""
DROP = """
const transfer = new DataTransfer();
for (const file of arguments[0].files) transfer.items.add(file);
document.getElementById("drop").dispatchEvent(
  new DragEvent("drop", {dataTransfer: transfer, bubbles: true, cancelable: true}));
"""
HALF = """
const [input, done] = arguments;
const file = input.files[0];
const json = {"content-type": "application/json"};
const body = JSON.stringify({name: file.name, bytes: file.size});
fetch("/api/v1/uploads", {method: "POST", headers: json, body}).then((answer) => answer.json())
  .then(async ({upload}) => {
    const half = file.slice(0, file.size / 2);
    const headers = {"Upload-Offset": "0"};
    await fetch(`/api/v1/uploads/${upload}`, {method: "PATCH", headers, body: half});
    const mark = `${file.name}|${file.size}|${file.lastModified}`;
    localStorage.setItem("vsr-uploads", JSON.stringify({[upload]: mark}));
    done(upload);
  });
"""
"""Send half of a file as the page does, and leave."""
SHIFT = """
const done = arguments[0];
let sum = 0;
new PerformanceObserver((list) => {
  for (const entry of list.getEntries()) if (!entry.hadRecentInput) sum += entry.value;
}).observe({type: "layout-shift", buffered: true});
setTimeout(() => done(sum), 100);
"""


@dataclass
class Story:
    """What was seen on the way."""

    page: Page
    server: ServerProcess
    film: Path
    downloads: Path
    seen: dict[str, Any] = field(default_factory=dict)


def moving_film(path: Path) -> Path:
    """Two shots of photographs under a moving camera, with sound."""
    frames = []
    for picture in (data.coffee(), data.chelsea()):
        small = cv2.resize(picture, (WIDTH + 30, HEIGHT + 12), interpolation=cv2.INTER_AREA)
        for number in range(SHOT_FRAMES):
            matrix = np.array([[1, 0, -0.5 * number], [0, 1, -0.2 * number]])
            frames.append(cv2.warpAffine(small, matrix, (WIDTH, HEIGHT)).astype(np.uint8))
    options = {"crf": "24", "threads": "1"}
    return write_film(
        path, frames, codec="libx264", options=options, audio=[AudioTrack("aac", 440)]
    )


def add_input(page: Page, film: Path) -> None:
    """Add an input of a file to the page, with a film in it: tests can't drag from the desktop."""
    page.run(
        "document.body.append(Object.assign(document.createElement('input'), "
        "{type: 'file', id: 'test-file'}))"
    )
    page.find("#test-file").send_keys(str(film))


@pytest.fixture(scope="module")
def browser() -> Iterator[Chrome]:
    started = start_browser()
    yield started
    started.quit()


@pytest.fixture(scope="module")
def story(browser: Chrome, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    """Drop a film, try, plan, queue, kill the server, restart it, and open the report."""
    folder = tmp_path_factory.mktemp("page")
    film = moving_film(folder / "holiday 1998.mp4")
    roots = folder / "Videos"
    roots.mkdir()
    shutil.copy(film, roots / "copy.mp4")
    server = ServerProcess(folder / "data", "--root", str(roots))
    options = {"behavior": "allow", "downloadPath": str(folder)}
    browser.execute_cdp_cmd("Browser.setDownloadBehavior", options)
    story = Story(Page(browser), server, film, folder)
    try:
        choose_film(story)
        try_settings(story)
        plan_and_queue(story)
        kill_and_restart(story, roots)
        open_report(story)
        yield story
    finally:
        story.server.stop()


def choose_film(story: Story) -> None:
    page, seen = story.page, story.seen
    page.emulate(DESKTOP)
    page.open(str(story.server.client.base_url))
    page.wait(lambda: page.all("#entries li"))
    seen["roots"] = [entry.text for entry in page.all("#entries .entry")]
    page.wait(lambda: page.text("#machine"))
    page.shoot("choose")
    add_input(page, story.film)
    page.run(DROP, page.find("#test-file"))
    page.run("document.getElementById('test-file').remove()")
    page.wait(lambda: page.all("#holds tr"))
    rows = page.all("#holds tr")
    seen["holds"] = {
        row.find_element(By.TAG_NAME, "th").text: row.find_element(By.TAG_NAME, "td").text
        for row in rows
    }


def try_settings(story: Story) -> None:
    page, seen = story.page, story.seen
    seen["frame"] = page.wait_for_text(".caption", "computed in")
    page.shoot("film")
    seen["shift"] = page.browser.execute_async_script(SHIFT)
    page.run("document.querySelector('.divider').focus()")
    ActionChains(page.browser).send_keys(Keys.PAGE_UP, Keys.ARROW_RIGHT).perform()
    seen["divider"] = page.find(".divider").get_attribute("aria-valuenow")
    page.run("document.querySelector('.viewer canvas').focus()")
    ActionChains(page.browser).send_keys("1++").perform()
    seen["zoom"] = page.text(".zoom")
    page.click("#compare-variants")
    done = "return [...document.querySelectorAll('.variant-state')].map((one) => one.textContent)"
    page.wait(lambda: {*page.run(done)} == {"tiny-x4", "base-x4"})
    page.click(".variant:nth-child(2)")
    seen["variant"] = page.wait_for_text(".caption", "detail 0.5")
    page.run("document.querySelector('.plain[aria-label^=Detail]').click()")
    page.choose("model", "tiny-x2")
    page.choose("backend", "torch")
    # The last tile: few frames are left for the moving preview.
    page.run("[...document.querySelectorAll('.filmstrip input')].at(-1).click()")
    page.run("document.querySelector('input[value=clip]').click()")
    seen["clip"] = page.wait_for_text(".caption", "2 seconds from")
    play = ".controls > button"
    for label in ("Pause", "Play"):
        page.click(play)
        page.wait_for_text(play, label)


def plan_and_queue(story: Story) -> None:
    page, seen = story.page, story.seen
    page.choose("preset", "ultrafast")
    page.click("#plan button")
    page.wait_for_text("#plan [role=status]", f"For {2 * SHOT_FRAMES} frames")
    seen["plan"] = [name.text for name in page.all("#plan dt")]
    page.find("#output-name").send_keys("larger")
    page.click("#add")
    page.wait_for_text("#plan .good", "Added as larger.mp4")
    page.show("queue")


def kill_and_restart(story: Story, roots: Path) -> None:
    page, seen, server = story.page, story.seen, story.server
    job = page.wait(lambda: page.find("#jobs-unfinished .job").get_attribute("data-job"))
    seen["job"] = job
    journal = story.downloads / "data" / "outputs" / ".larger.mp4.vsr" / "journal.jsonl"
    wait_for(lambda: journal.exists() and journal.read_text().count("\n") > 1)
    page.wait(lambda: " of " in page.text(".numbers"))
    page.emulate((1280, 360), "dark")
    page.shoot("queue")
    page.emulate(DESKTOP)
    seen["complaints before"] = page.complaints()
    port = server.client.base_url.port
    seen["processes"] = server.children()
    server.kill()
    seen["banner"] = page.wait_for_text("#connection", "can't be reached")
    assert port is not None
    story.server = ServerProcess(story.downloads / "data", "--root", str(roots), port=port)
    page.wait(lambda: page.text("#connection") == "")
    seen["complaints while down"] = page.complaints()
    page.wait(lambda: page.text(f"[data-job='{job}'] .state") == "Done")
    seen["messages"] = story.server.request("GET", f"/jobs/{job}")["messages"]


def open_report(story: Story) -> None:
    page, seen = story.page, story.seen
    page.show(f"job={seen['job']}")
    page.wait(lambda: page.all("#verify tbody tr"))
    seen["verify"] = page.text("#verify [role=status]")
    seen["kept"] = {
        row.find_element(By.TAG_NAME, "th").text: row.find_element(By.CSS_SELECTOR, ".mark").text
        for row in page.all("#verify tbody tr")
    }
    page.shoot("report")
    page.click("#job-body .primary")
    wait_for((story.downloads / "larger.mp4").exists)
    page.click("#measure-flicker")
    page.wait(lambda: len(page.all("#flicker .chart svg")) == 2)


def test_folders_of_the_server_are_listed(story: Story) -> None:
    assert story.seen["roots"] == ["outputs", "Videos"]


def test_a_dropped_film_is_described(story: Story) -> None:
    holds = story.seen["holds"]
    assert holds["Picture"] == f"{WIDTH} \u00d7 {HEIGHT}"
    assert holds["Rate"] == "25 frames/s"
    assert holds["Length"] == f"0:04.00, {2 * SHOT_FRAMES} frames"
    assert holds["Sound"].startswith("AAC")
    assert holds["Interlaced"] == "no"


def test_a_frame_is_shown_before_and_after(story: Story) -> None:
    assert story.seen["frame"].startswith(f"{4 * WIDTH} \u00d7 {4 * HEIGHT} · tiny-x4, detail 0")


def test_the_divider_and_the_zoom_follow_the_keyboard(story: Story) -> None:
    assert story.seen["divider"] == "62"
    assert story.seen["zoom"] == "300 %"


def test_a_variant_becomes_the_setting(story: Story) -> None:
    assert "tiny-x4, detail 0.5" in story.seen["variant"]


def test_two_seconds_are_shown_moving(story: Story) -> None:
    assert story.seen["clip"].startswith(f"{2 * WIDTH} \u00d7 {2 * HEIGHT}")


def test_a_plan_tells_time_memory_and_disk(story: Story) -> None:
    assert {"Time", "Memory", "Disk while it runs"} <= set(story.seen["plan"])


def test_the_page_waits_for_a_killed_server(story: Story) -> None:
    assert story.seen["banner"] == "The server can't be reached. Trying again…"
    assert any("resuming after" in message for message in story.seen["messages"])


def test_all_processes_end_with_a_killed_server(story: Story) -> None:
    assert len(story.seen["processes"]) > 1  # of the job and of previews
    assert not any(process.is_running() for process in story.seen["processes"])


def test_the_download_has_the_bytes_of_a_run_on_the_command_line(
    story: Story, tmp_path: Path
) -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        settings = EncoderSettings(preset="ultrafast")
        whole = tmp_path / "whole.mp4"
        upscale_video(story.film, whole, model="tiny-x2", backend="torch", settings=settings)
    finally:
        torch.set_num_threads(threads)
    assert (story.downloads / "larger.mp4").read_bytes() == whole.read_bytes()


def test_the_report_tells_what_was_kept(story: Story) -> None:
    assert story.seen["verify"] == "Everything was kept."
    assert set(story.seen["kept"].values()) == {"✓ yes"}


def test_the_comparison_page_plays_source_and_output(story: Story) -> None:
    page = story.page
    page.browser.switch_to.new_window("tab")
    address = f"{story.server.client.base_url}/api/v1/jobs/{story.seen['job']}/compare"
    page.browser.get(address)
    page.wait(lambda: page.run("return document.body.dataset.ready === 'yes'"))
    assert len(page.all(".pane canvas")) == 2
    assert page.complaints() == []
    page.browser.close()
    page.browser.switch_to.window(page.browser.window_handles[0])


def test_nothing_moves_while_a_film_opens(story: Story) -> None:
    assert story.seen["shift"] < 0.1


@pytest.mark.parametrize("view", ["choose", "film", "queue", "job"])
def test_views_fit_the_width_of_a_phone(story: Story, view: str) -> None:
    page = story.page
    upload = page.run("return document.querySelector('#upload-list a').hash.slice(1)")
    page.emulate(PHONE, "dark")
    page.show({"film": upload, "job": f"job={story.seen['job']}"}.get(view, view))
    if view == "film":
        page.wait_for_text(".caption", "seconds from")
    page.shoot(f"phone-{view}")
    width = page.run("return document.documentElement.scrollWidth")
    page.emulate(DESKTOP)
    assert width == PHONE[0]


@pytest.mark.parametrize("view", ["choose", "film", "queue", "job"])
def test_controls_have_names_and_are_reached_by_keys(story: Story, view: str) -> None:
    page = story.page
    upload = page.run("return document.querySelector('#upload-list a').hash.slice(1)")
    page.show({"film": upload, "job": f"job={story.seen['job']}"}.get(view, view))
    controls = f"#view-{view} :is(a, button, input, select, summary, [role=slider], canvas)"
    for control in page.all(controls):
        if control.is_displayed() and control.get_attribute("aria-hidden") != "true":
            assert control.accessible_name, control.get_attribute("outerHTML")
            assert control.get_property("tabIndex") == 0


def test_jobs_are_moved_and_cancelled(story: Story) -> None:
    page, server = story.page, story.server
    page.show("queue")
    for name in ("a", "b", "c"):
        server.add("Videos/copy.mp4", name=name, options={"backend": "torch"})
    titles = (
        "return [...document.querySelectorAll('#jobs-unfinished h3')].map((e) => e.textContent)"
    )
    page.wait(lambda: page.run(titles) == ["a.mp4", "b.mp4", "c.mp4"])
    move = "[aria-label='Move up: c.mp4']"
    page.run("document.querySelector(arguments[0]).focus()", move)
    ActionChains(page.browser).send_keys(Keys.ENTER).perform()
    page.wait(lambda: page.run(titles) == ["a.mp4", "c.mp4", "b.mp4"])
    focused = page.run("return document.activeElement.getAttribute('aria-label')")
    assert focused == "Move up: c.mp4"
    for name in ("b", "c"):
        page.click(f"[aria-label='Cancel: {name}.mp4']")
    page.wait(lambda: page.run(titles) == ["a.mp4"])
    running = page.find("#jobs-unfinished .job").get_attribute("data-job")
    server.request("POST", f"/jobs/{running}/cancel")
    page.wait(lambda: len(page.all(".state.cancelled")) == 3)


def test_an_interrupted_upload_continues(story: Story) -> None:
    page, server = story.page, story.server
    page.show("choose")
    add_input(page, story.film)
    upload = page.browser.execute_async_script(HALF, page.find("#test-file"))
    page.browser.refresh()
    row = f"[data-upload='{upload}']"
    assert "select the same file to continue" in page.wait_for_text(row, "%")
    page.find("#files").send_keys(str(story.film))
    page.wait(lambda: server.request("GET", f"/uploads/{upload}")["complete"])
    file = server.request("GET", f"/uploads/{upload}")["file"]
    assert (story.downloads / "data" / file).read_bytes() == story.film.read_bytes()


def test_the_server_itself_loads_no_torch(story: Story) -> None:
    maps = psutil.Process(story.server.process.pid).memory_maps()
    assert [part.path for part in maps if "libtorch" in part.path] == []


def test_the_device_is_named(story: Story) -> None:
    story.page.wait_for_text("#machine", " · vsr")


def test_the_console_shows_no_error_but_for_the_killed_server(story: Story) -> None:
    assert story.seen["complaints before"] == []
    while_down = story.seen["complaints while down"]
    assert all("net::ERR_" in line for line in while_down), while_down
    assert story.page.complaints() == []


def test_errors_are_shown_in_their_one_line(story: Story) -> None:
    page = story.page
    page.show("film=Videos%2Fgone.mp4")
    error = page.wait_for_text("#film-error", "no such file")
    assert error == "'Videos/gone.mp4': no such file or folder"
    assert page.find("#film-error").get_attribute("role") == "alert"
