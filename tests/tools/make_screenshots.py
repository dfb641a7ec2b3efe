"""Make docs/images/report.png, or pictures of any pages to look at.

    python -m tests.tools.make_screenshots                                    # the demo's report (2 minutes)
    python -m tests.tools.make_screenshots demo/report.html site/index.html -o screenshots/

Each page given becomes four pictures: on a desktop and on a phone, light and dark.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from base64 import b64decode
from pathlib import Path
from typing import Any

from tests.accessibility import SIZES, show
from tests.chromium import open_chromium

SCHEMES = ("light", "dark")
IMAGE = Path(__file__).parents[2] / "docs" / "images" / "report.png"


def save(browser: Any, path: Path) -> None:
    """Write what the browser shows."""
    path.write_bytes(b64decode(browser.execute_cdp_cmd("Page.captureScreenshot", {})["data"]))
    print(path)


def save_pages(browser: Any, pages: list[Path], out: Path) -> None:
    """Write four pictures of each page into a folder, PAGE-SIZE-SCHEME.png."""
    out.mkdir(parents=True, exist_ok=True)
    for page in pages:
        for size in SIZES:
            for scheme in SCHEMES:
                show(browser, page.resolve().as_uri(), size=size, scheme=scheme)
                save(browser, out / f"{page.stem}-{size}-{scheme}.png")


def save_image(browser: Any, work: Path) -> None:
    """Run the demo in `work`, and write the picture of its report that docs/reports.md shows."""
    program = str(Path(sys.executable).with_name("fmltk"))
    subprocess.run([program, "demo", "-q", "-o", "demo"], cwd=work, check=True)
    show(browser, (work / "demo" / "report.html").as_uri(), size="desktop", scheme="light")
    save(browser, IMAGE)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pages", nargs="*", type=Path, help="HTML files; without them, the image of the docs is made")
    parser.add_argument("-o", "--out", type=Path, default=Path("screenshots"), help="folder for their pictures")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, open_chromium(Path(name) / "profile") as browser:
        if arguments.pages:
            save_pages(browser, arguments.pages, arguments.out)
        else:
            save_image(browser, Path(name))


if __name__ == "__main__":
    main()
