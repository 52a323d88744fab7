"""The pictures of the page: `make screenshots` draws them, by Chromium, light and dark.

Owns what they show: the mails of the demo, one that was given up, and one that is open, at a wall clock that
always begins at the same instant (where a C compiler is here). Skips with a sentence where Chromium is
missing.
"""

from __future__ import annotations

import os
import re
import shutil
import smtplib
import subprocess
import sys
import tempfile
import time
import urllib.request
from contextlib import ExitStack, suppress
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).parent.parent
PICTURES = ROOT / "docs" / "pictures"
BEGUN_AT = datetime(2026, 3, 2, 9, 30, tzinfo=UTC)
#: The subject of the mail that is open.
OPEN = "The parcel arrived damaged"
SIZE = "1360,1000"
DEAD = (
    "From: Eve <eve@kunde.example>\nTo: support+dead@example.com\nSubject: Broken by the vendor\n\nHello?\n"
)
#: Blink's numbers for prefers-color-scheme.
SCHEMES = {"light": 1, "dark": 0}


def main() -> int:
    """Make the pictures. Returns the exit code."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        print("no pictures: Chromium is not here; install the Debian package chromium")
        return 0
    PICTURES.mkdir(exist_ok=True)
    with ExitStack() as stack:
        place = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="relay-pictures-")))
        page, smtp = start_demo(stack, place)
        mail = fill(page, smtp)
        for name, scheme in SCHEMES.items():
            draw(chromium, place / name, f"{page}{mail}", PICTURES / f"page-{name}.png", scheme)
            print(f"docs/pictures/page-{name}.png")
    return 0


def start_demo(stack: ExitStack, place: Path) -> tuple[str, str]:
    """Start the demo with its page, until the end. Returns the addresses of the page and of its door."""
    demo = subprocess.Popen(
        [sys.executable, "-m", "relay.sandbox.demo", "--stay"],
        cwd=ROOT,
        env=os.environ | wall_clock(place),
        stdout=subprocess.PIPE,
        text=True,
    )
    stack.callback(demo.wait)
    stack.callback(demo.terminate)
    assert demo.stdout is not None
    for line in demo.stdout:
        if found := re.search(r"See them at (\S+)/ and send more to (\S+)\.", line):
            return found[1], found[2]
    raise SystemExit("the demo did not come up; run make demo")


def wall_clock(place: Path) -> dict[str, str]:
    """The variables of a wall clock that begins at `BEGUN_AT`; none where nothing compiles it."""
    library, file = place / "wall_clock.so", place / "wall_clock"
    source = ROOT / "tests" / "wall_clock.c"
    with suppress(OSError, subprocess.CalledProcessError):
        subprocess.run(["cc", "-shared", "-fPIC", "-o", str(library), str(source), "-ldl"], check=True)
        step = int((BEGUN_AT.timestamp() - time.time()) * 1e9)
        file.write_bytes(step.to_bytes(8, "little", signed=True))
        return {"LD_PRELOAD": str(library), "WALL_CLOCK_FILE": str(file)}
    return {}


def fill(page: str, smtp: str) -> str:
    """Send the mail that is given up. Returns the path of the mail to open, once both are there."""
    host, _, port = smtp.rpartition(":")
    with smtplib.SMTP(host, int(port)) as session:
        session.sendmail("eve@kunde.example", ["support+dead@example.com"], DEAD)
    ends = time.monotonic() + 120
    while time.monotonic() < ends:
        with urllib.request.urlopen(f"{page}/") as answer:
            text = answer.read().decode()
        dead = re.search(r'class="row dead', text)
        mail = re.search(rf'href="(/mails/[^"?]+)[^>]*>(?:(?!</a>).)*{re.escape(OPEN)}', text, re.DOTALL)
        if dead and mail:
            return mail[1]
        time.sleep(0.5)
    raise SystemExit("the mails are not as they should be on the page")


def draw(chromium: str, profile: Path, url: str, picture: Path, scheme: int) -> None:
    """Draw a page into a file."""
    as_root = ["--no-sandbox"] if os.geteuid() == 0 else []
    subprocess.run(
        [
            chromium, "--headless=new", *as_root, "--disable-gpu", "--hide-scrollbars", "--lang=en-US",
            f"--user-data-dir={profile}", f"--window-size={SIZE}", f"--blink-settings=preferredColorScheme={scheme}",
            "--timeout=10000", f"--screenshot={picture}", url,
        ],
        env=os.environ | {"TZ": "UTC"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=True,
        timeout=120,
    )  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
