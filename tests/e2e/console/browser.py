"""A real Chromium, headless, driven by Selenium; and the few things that tests of the console do with it."""
import os
import shutil
import time

from client import SCALE
from daemon import DEMO

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")


def missing():
    """What is not there, as a reason to skip; None: nothing."""
    if not CHROMIUM or not DRIVER:
        return "chromium and chromium-driver are not installed"
    try:
        import selenium  # noqa: F401
    except ImportError:
        return "python3-selenium is not installed"
    return None


def upload(client, name, like="mask", **more):
    answer = client.upload(os.path.join(DEMO, "adapters", like), name=name, **more)
    assert answer.status == 201, answer
    return answer.json["version"]


class Browser:
    """One window. Waits are for what is on the page, never for time to pass."""

    def __init__(self, width=1440, height=900, dark=False, downloads=None):
        from selenium import webdriver
        from selenium.webdriver.chrome.service import Service
        options = webdriver.ChromeOptions()
        options.binary_location = CHROMIUM
        for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars", "--no-first-run",
                         "--disable-background-networking", "--force-color-profile=srgb"):
            options.add_argument(argument)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        if downloads:
            options.add_experimental_option("prefs", {"download.default_directory": str(downloads)})
        self.driver = webdriver.Chrome(options=options, service=Service(DRIVER))
        self.driver.set_script_timeout(30 * SCALE)
        self.size(width, height)
        if dark:
            self.dark(True)

    def quit(self):
        self.driver.quit()

    def size(self, width, height=900):
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600})

    def dark(self, on):
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": "dark" if on else "light"}]})

    # ---- finding ----

    def all(self, css):
        return self.driver.find_elements("css selector", css)

    def until(self, what, seconds=20, why=""):
        """The first value of `what()` that is true."""
        from selenium.common.exceptions import StaleElementReferenceException
        deadline = time.monotonic() + seconds * SCALE
        while True:
            try:
                found = what()
                if found:
                    return found
            except StaleElementReferenceException:
                pass
            assert time.monotonic() < deadline, f"waited {seconds} s in vain{why and ': ' + why}; the page says:\n{self.text()[:3000]}\nconsole: {self.complaints()}"
            time.sleep(0.05)

    def one(self, css, text=None, seconds=20):
        """The first visible element that matches, with this text in it."""
        def look():
            return next((e for e in self.all(css) if e.is_displayed() and (text is None or text in e.text)), None)
        return self.until(look, seconds, f"{css} {text or ''}")

    def gone(self, css, seconds=20):
        self.until(lambda: not self.all(css), seconds, f"{css} is still there")

    def says(self, text, seconds=20):
        """The page shows this text."""
        self.until(lambda: text in self.text(), seconds, text)

    def text(self):
        return self.driver.find_element("css selector", "body").text

    def labelled(self, label, seconds=20):
        """The control that this label is for."""
        script = """for (const l of document.querySelectorAll('label')) if (l.textContent.trim().startsWith(arguments[0]))
                      return l.control || document.getElementById(l.htmlFor); return document.querySelector(`[aria-label="${arguments[0]}"]`);"""
        return self.until(lambda: self.driver.execute_script(script, label), seconds, f"label {label}")

    # ---- doing ----

    def click(self, css, text=None, seconds=20):
        element = self.one(css, text, seconds)
        self.driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", element)
        element.click()

    def fill(self, label, text):
        element = self.labelled(label)
        self.driver.execute_script("arguments[0].value = ''", element)
        element.send_keys(text)
        return element

    def open(self, address):
        self.driver.get(address)

    def sign_in(self, url, key):
        self.open("about:blank")
        self.open(url + "/console")
        self.driver.execute_script("sessionStorage.clear()")
        self.open("about:blank")
        self.open(url + "/console")
        self.fill("Key", key)
        self.click("button", "Sign in")
        self.ready()

    def page(self, name):
        self.driver.execute_script("location.hash = arguments[0]", "#/" + name)
        self.ready()

    def ready(self):
        self.until(lambda: self.all('.page[data-ready="yes"]'), why="the page is not ready")

    def shot(self, path, full=True):
        """A screenshot; `full`: of the whole page, as high as it is."""
        import base64
        height = self.driver.execute_script("return Math.min(2400, Math.max(innerHeight, document.documentElement.scrollHeight))")
        width = self.driver.execute_script("return innerWidth")
        before = self.driver.execute_script("return innerHeight")
        if full and height > before:
            self.size(width, height)
        kind = {"format": "webp", "quality": 72} if path.endswith(".webp") else {"format": "png"}
        data = self.driver.execute_cdp_cmd("Page.captureScreenshot", kind)["data"]
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as f:
            f.write(base64.b64decode(data))
        if full and height > before:
            self.size(width, before)

    def complaints(self):
        """What the browser's log has of errors, without requests that were refused on purpose."""
        return [line["message"] for line in self.driver.get_log("browser") if line["level"] == "SEVERE" and "status of" not in line["message"]]
