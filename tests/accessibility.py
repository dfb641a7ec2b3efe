"""What axe-core finds on a page."""

from __future__ import annotations

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


def violations(browser: Any) -> list[str]:
    """Return one line per rule that the open page breaks, with the first element that does."""
    from selenium_axe_python import Axe

    axe = Axe(browser)
    axe.inject()
    return [
        f"{rule['id']} ({len(rule['nodes'])} elements): {rule['nodes'][0]['html'][:200]}"
        for rule in axe.run()["violations"]
    ]
