"""A real browser for tests: Chromium, headless, driven by selenium; None where there is none.

The pages carry `data-test` attributes; these are stable:

    chat    state language text send files log mine theirs delivered sending failed button rating
            rating-1 … rating-5 typing form form-submit
    staff   sign-in code sign-in-button sign-in-answer state ask suggestions answers-button panel answers
            asked answer language sign-out tickets ticket status unread filter show-open show-all thread card
            thread-log said-customer said-agent said-note said-bot said-system said-private said-command
            delivery undo edit reply-text reply-send as-reply as-note hint button form form-submit
    demo    hints offer customer-frame staff-frame mail-link language
    mail    mails mail-item mail-open language

A reply's state is also in the `data-mark` of its said-agent: held sent failed unknown withdrawn. Buttons
carry `data-action`. In the demo, `with browser.inside("customer-frame"):` works in one of the two panes.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

CHROMIUM = next((p for name in ("chromium", "chromium-browser") if (p := shutil.which(name))), "")
DRIVER = shutil.which("chromedriver") or ""
MISSING = "" if CHROMIUM and DRIVER else "needs Debian's chromium and chromium-driver"
WAIT_S = 20
FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
)


class Browser:
    """Finds by `data-test`, waits until things are there, never sleeps a fixed time."""

    def __init__(self, driver: Any) -> None:
        self.driver = driver

    def open(self, url: str) -> None:
        self.driver.get(url)

    def all(self, name: str) -> list[Any]:
        return list(self.driver.find_elements("css selector", f'[data-test="{name}"]'))

    def find(self, name: str, words: str = "") -> Any:
        """The last visible element of that name that shows the words; wait for it."""

        def found() -> Any:
            shown = [e for e in self.all(name) if e.is_displayed() and words.lower() in e.text.lower()]
            return shown[-1] if shown else None

        return self.until(found, f"{name} {words!r}")

    def until(self, condition: Callable[[], Any], what: str = "") -> Any:
        """Wait until the condition gives something; elements that were redrawn are looked for again."""
        from selenium.common.exceptions import StaleElementReferenceException, TimeoutException
        from selenium.webdriver.support.ui import WebDriverWait

        ignored = [StaleElementReferenceException]
        wait = WebDriverWait(self.driver, WAIT_S, poll_frequency=0.05, ignored_exceptions=ignored)
        try:
            return wait.until(lambda _: condition())
        except TimeoutException:
            body = self.driver.find_element("css selector", "body").text
            raise AssertionError(f"waited in vain for {what}; the page shows:\n{body}") from None

    def click(self, name: str, words: str = "") -> None:
        """Press it; again when the page was redrawn or moved under the pointer."""
        from selenium.common.exceptions import (
            ElementClickInterceptedException,
            StaleElementReferenceException,
        )

        def clicked() -> bool:
            try:
                element = self.find(name, words)
                self.driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", element)
                element.click()
            except (StaleElementReferenceException, ElementClickInterceptedException):
                return False
            return True

        self.until(clicked, f"{name} {words!r}")

    def type(self, name: str, text: str, *, enter: bool = False) -> None:
        self.find(name).send_keys(text + ("\n" if enter else ""))

    @contextmanager
    def inside(self, frame: str) -> Iterator[None]:
        """Work inside a frame of the page."""
        self.driver.switch_to.default_content()
        self.driver.switch_to.frame(self.find(frame))
        try:
            yield
        finally:
            self.driver.switch_to.default_content()

    def resize(self, width: int, height: int) -> None:
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)

    def dark(self, on: bool = True) -> None:
        feature = {"name": "prefers-color-scheme", "value": "dark" if on else "light"}
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})

    def offline(self, on: bool = True) -> None:
        self.driver.execute_cdp_cmd("Network.enable", {})
        conditions = {"offline": on, "latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}
        self.driver.execute_cdp_cmd("Network.emulateNetworkConditions", conditions)

    def picture(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.driver.save_screenshot(str(path))

    def problems(self) -> list[str]:
        """What the console complained about: script errors and refused resources."""
        return [str(line["message"]) for line in self.driver.get_log("browser") if line["level"] == "SEVERE"]


@contextmanager
def browser(*, language: str = "en", width: int = 1280, height: int = 800) -> Iterator[Browser]:
    """A fresh Chromium with a profile of its own."""
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        options = webdriver.ChromeOptions()
        options.binary_location = CHROMIUM
        for flag in (
            *FLAGS,
            f"--user-data-dir={profile}",
            f"--window-size={width},{height}",
            f"--lang={language}",
        ):
            options.add_argument(flag)
        options.add_experimental_option("prefs", {"intl.accept_languages": language})
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        driver = webdriver.Chrome(options=options, service=Service(DRIVER))
        try:
            yield Browser(driver)
        finally:
            driver.quit()
