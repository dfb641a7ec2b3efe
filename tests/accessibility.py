"""What axe-core finds on a page."""

from __future__ import annotations

import json
from typing import Any

SIZES = {"desktop": (1280, 900), "phone": (390, 844)}


def show(browser: Any, url: str, *, size: str, scheme: str) -> None:
    """Open a page on a screen of SIZES, in the colours of a system that is "light" or "dark"."""
    width, height = SIZES[size]
    metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": size == "phone"}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    feature = {"name": "prefers-color-scheme", "value": scheme}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})
    browser.get(url)


def violations(browser: Any, *, without: tuple[str, ...] = ()) -> list[str]:
    """Return one line per rule, but those of `without`, that the open page breaks, with the first element that does."""
    from selenium_axe_python import Axe

    axe = Axe(browser)
    axe.inject()
    options = json.dumps({"rules": {name: {"enabled": False} for name in without}})
    return [
        f"{rule['id']} ({len(rule['nodes'])} elements): {rule['nodes'][0]['html'][:200]}"
        for rule in axe.run("document", options)["violations"]
    ]
