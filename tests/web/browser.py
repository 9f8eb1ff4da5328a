"""The page of `vsr serve` in Chromium."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import Select, WebDriverWait

from tests.web.server import PATIENCE_SECONDS

DESKTOP, PHONE = (1280, 900), (360, 740)
"""Sizes of the window."""


class Page:
    """The page in a browser."""

    def __init__(self, browser: Chrome) -> None:
        self.browser = browser
        self.screenshots = os.environ.get("VSR_SCREENSHOTS")

    def run(self, script: str, *values: Any) -> Any:
        """Run a script; what it returns."""
        return self.browser.execute_script(script, *values)

    def open(self, address: str) -> None:
        """Load the page."""
        self.browser.get(address)
        self.wait(lambda: self.run("return document.body.dataset.ready === 'yes'"))

    def show(self, view: str) -> None:
        """Show a view."""
        self.run("location.hash = arguments[0]", view)
        name = view.partition("=")[0]
        self.wait(lambda: self.find(f"#view-{name}").is_displayed())

    def find(self, selector: str) -> Any:
        """The first element."""
        return self.browser.find_element(By.CSS_SELECTOR, selector)

    def all(self, selector: str) -> list[Any]:
        """All elements."""
        return list(self.browser.find_elements(By.CSS_SELECTOR, selector))

    def text(self, selector: str) -> str:
        """Text of the first element, hidden or not; empty without one."""
        script = "return document.querySelector(arguments[0])?.textContent ?? ''"
        return str(self.run(script, selector))

    def click(self, selector: str) -> None:
        """Click the first element."""
        element = self.find(selector)
        self.run("arguments[0].scrollIntoView({block: 'center'})", element)
        element.click()

    def choose(self, name: str, value: str) -> None:
        """Set an option of the form."""
        element = self.find(f"#option-{name}")
        self.run("const all = arguments[0].closest('details'); if (all) all.open = true", element)
        Select(element).select_by_value(value)

    def wait(self, is_so: Callable[[], Any]) -> Any:
        """Wait until something is true."""
        return WebDriverWait(self.browser, PATIENCE_SECONDS, 0.05).until(lambda _: is_so())

    def wait_for_text(self, selector: str, part: str) -> str:
        """Wait until an element holds a text; all of its text."""
        self.wait(lambda: part in self.text(selector))
        return self.text(selector)

    def emulate(self, size: tuple[int, int], scheme: str = "light") -> None:
        """Set the window's size and the system's colours, and ask for less motion.

        Chromium draws by software here: moving pictures would take most of a test's time.
        """
        metrics = {"deviceScaleFactor": 1, "mobile": size == PHONE}
        metrics |= {"width": size[0], "height": size[1]}
        self.browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        features = [
            {"name": "prefers-color-scheme", "value": scheme},
            {"name": "prefers-reduced-motion", "value": "reduce"},
        ]
        self.browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})

    def shoot(self, name: str) -> None:
        """Write a screenshot, if they are asked for."""
        if self.screenshots:
            path = Path(self.screenshots) / f"serve-{name}.png"
            self.run("scrollTo(0, 0)")
            self.browser.save_screenshot(str(path))

    def complaints(self) -> list[str]:
        """What the console shows since the last call."""
        return [str(entry["message"]) for entry in self.browser.get_log("browser")]
