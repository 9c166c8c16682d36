"""The console in Chromium, against a running client: live, by keyboard, without JavaScript.

One browser and one console serve all tests. Where Chromium is missing they are skipped: `make
browser` installs it.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest

from anytrack_async import Conversion, Customer
from tests.web_console.scene import Scene, running

CHROMIUM = shutil.which("chromium")
pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is missing: make browser"),
    pytest.mark.untraced,
]

# Each page with what it must show; `conversion` is a dead letter at Meta.
PAGES = {
    "./": "Overview",
    "dead-letters": "By reason",
    "dead-letters?code=none": "No dead letter matches",
    "conversion?event_id=sale:1001": "At the destinations",
    "conversion?event_id=sale:1001&journey=1": "Attribution",
    "edit?event_id=sale:1001": "keeps its event id",
    "conversions": "As AnyTrack counts them",
    "conversions?anytrack=1": "Top affiliates",
    "settings": "Credentials and permissions",
    "nowhere": "There is no such page",
}

_VIOLATIONS = """
window.violations = [];
document.addEventListener("securitypolicyviolation", (event) =>
  window.violations.push(`${event.violatedDirective} ${event.blockedURI}`));
"""


@pytest.fixture(scope="module")
def scene(tmp_path_factory) -> Iterator[Scene]:
    """A console in which orders 1001 to 1003 are dead at Meta, and 1004 is delivered everywhere."""
    with running(tmp_path_factory.mktemp("console"), admin=lambda _: "anna") as scene:
        scene.run(fill, scene)
        yield scene


async def fill(scene: Scene) -> None:
    customer = Customer(email="jo@example.com", phone="+491701234567")
    orders = [order(number) for number in (1001, 1002, 1003)]
    orders.append(order(1004, customer=customer, user_agent="Mozilla/5.0", source="newsletter"))
    for delivery in [await scene.client.submit(conversion) for conversion in orders]:
        await delivery


def order(number: int, **fields) -> Conversion:
    return Conversion.sale(order_id=str(number), revenue="49.90", click_id=f"c{number}", **fields)


@pytest.fixture(scope="module")
def chromium():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def open_page(chromium, scene):
    """Return a function that opens a page of the console in a browser of its own."""
    contexts = []

    def open_(address: str = "./", **options):
        context = chromium.new_context(**options)
        contexts.append(context)
        context.set_default_timeout(15_000)
        context.add_init_script(_VIOLATIONS)
        page = context.new_page()
        page.problems = []
        page.on("console", lambda entry: page.problems.append(entry.text) if is_bad(entry) else 0)
        page.on("pageerror", lambda error: page.problems.append(str(error)))
        page.on("request", lambda request: note_foreign(page, request.url, scene.url))
        page.goto(scene.url + address)
        return page

    yield open_
    for context in contexts:
        context.close()


def is_bad(entry) -> bool:
    # Chromium logs every answer of 404, also that of the page that is meant to be missing.
    return entry.type in ("error", "warning") and "404" not in entry.text


def note_foreign(page, url: str, home: str) -> None:
    if urlsplit(url).netloc != urlsplit(home).netloc and not url.startswith("data:"):
        page.problems.append(f"foreign request: {url}")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_pages_are_accessible_fit_a_narrow_screen_and_ask_no_other_host(open_page, scene, scheme):
    from axe_playwright_python.sync_playwright import Axe

    # The scheme changes colours only, so that one rule is enough for the second one.
    rules = ["color-contrast"] if scheme == "dark" else ["wcag2a", "wcag2aa", "best-practice"]
    options = {"resultTypes": ["violations"], "runOnly": rules}
    page = open_page(color_scheme=scheme, viewport={"width": 1200, "height": 900})
    for address, text in PAGES.items():
        page.goto(scene.url + address)
        page.get_by_text(text).first.wait_for()
        for summary in page.locator("details > summary").all():
            summary.click()
        found = Axe().run(page, options=options)
        page.set_viewport_size({"width": 320, "height": 700})
        width = page.evaluate("document.documentElement.scrollWidth")
        page.set_viewport_size({"width": 1200, "height": 900})

        assert found.violations_count == 0, (address, found.generate_report())
        assert (address, width) == (address, 320)
        assert page.evaluate("window.violations") == []
        assert page.problems == []


def test_every_page_works_without_javascript(open_page, scene):
    page = open_page("dead-letters", java_script_enabled=False)
    page.get_by_label("Words in the reason").fill("too little")
    page.get_by_role("button", name="Filter").click()
    page.get_by_role("checkbox", name="Select sale:1003 at meta").check()
    page.get_by_role("button", name="Discard selected").click()
    page.get_by_role("button", name="Discard 1 dead letter").click()
    assert "1 dead letter is discarded" in page.get_by_role("status").inner_text()

    page.get_by_role("searchbox").fill("1002")
    page.get_by_role("searchbox").press("Enter")
    page.get_by_role("button", name="Correct").click()
    page.get_by_label("customer.email", exact=True).fill("jo@example.com")
    page.get_by_role("button", name="Correct and send again").click()
    assert "corrected and due again" in page.get_by_role("status").inner_text()

    page.get_by_role("link", name="Settings and checks").click()
    page.get_by_role("button", name="Pause hubspot").click()
    assert "by anna" in page.inner_text("main")
    page.get_by_role("button", name="Resume hubspot").click()
    page.get_by_role("button", name="Check all destinations").click()
    assert "hubspot" in page.locator("#findings").inner_text()
    report = scene.run(scene.client.outbox.reports, ["sale:1003"])["sale:1003"]
    assert report.outcomes["meta"].status == "discarded"


def test_two_browsers_follow_the_same_outbox(open_page, scene):
    first, second = open_page(), open_page()
    card = first.locator("article", has=first.get_by_role("heading", name="meta"))
    before = second.locator("article", has_text="meta").locator("a").inner_text()
    other = open_page("dead-letters?destination=meta")
    other.get_by_role("checkbox", name="Select sale:1001 at meta").check()
    other.get_by_role("button", name="Discard selected").click()
    other.get_by_role("button", name="Discard 1 dead letter").click()

    left = str(int(before) - 1)
    for page in (first, second):
        dead = page.locator("article", has_text="meta").locator("div", has_text="Dead letters")
        dead.get_by_text(left, exact=True).wait_for()
    assert card.count() == 1
    assert first.problems == second.problems == []


def test_the_stream_stops_in_a_background_tab(open_page, scene):
    page = open_page()
    wait_for_viewers(page, scene, 1)
    set_hidden(page, hidden=True)
    wait_for_viewers(page, scene, 0)
    set_hidden(page, hidden=False)
    wait_for_viewers(page, scene, 1)


def set_hidden(page, *, hidden: bool) -> None:
    value = str(hidden).lower()
    page.evaluate(
        f"Object.defineProperty(document, 'hidden', {{value: {value}, configurable: true}});"
        "document.dispatchEvent(new Event('visibilitychange'))"
    )


def wait_for_viewers(page, scene: Scene, number: int) -> None:
    for _ in range(500):
        if scene.console.feed.viewers == number:
            return
        page.wait_for_timeout(20)
    raise AssertionError(f"{scene.console.feed.viewers} viewers instead of {number}")


def test_the_keyboard_reaches_everything(open_page):
    page = open_page()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "content"
    page.get_by_role("link", name="Dead letters", exact=True).focus()
    page.keyboard.press("Enter")
    page.wait_for_url("**/dead-letters")
    reached = set()
    for _ in range(60):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.textContent.trim()"))

    assert {"Filter", "Settings and checks"} <= reached


def test_print_leaves_out_what_cannot_be_clicked(open_page):
    page = open_page("dead-letters")
    page.emulate_media(media="print")

    assert not page.get_by_role("button").first.is_visible()
    assert page.get_by_role("heading", name="Dead letters and retries").is_visible()


async def add_dead_letters(scene: Scene) -> None:
    orders = [order(number) for number in (1011, 1012, 1013)]
    for delivery in [await scene.client.submit(conversion) for conversion in orders]:
        await delivery.at("meta")


def test_searches_and_a_change_of_many_go_on_by_themselves(open_page, scene, monkeypatch):
    scene.run(add_dead_letters, scene)
    for module in ("selection", "history"):
        monkeypatch.setattr(f"anytrack_async.web_console.{module}.FIRST_PART", 1)
        monkeypatch.setattr(f"anytrack_async.web_console.{module}.NEXT_PART", 1)
    monkeypatch.setattr("anytrack_async.outbox.sqlite.history.outbox.SEARCHED_PER_STEP", 1)
    monkeypatch.setattr("anytrack_async.outbox.sqlite.dead_letter_pages.DEAD_LETTERS_PER_STEP", 1)
    monkeypatch.setattr("anytrack_async.web_console.letter_actions._AT_ONCE", 0.0)
    monkeypatch.setattr("anytrack_async.web_console.source._BETWEEN_STEPS", 0.7)
    page = open_page("dead-letters?text=unheard")
    page.get_by_text("No dead letter matches").wait_for()
    page.get_by_role("searchbox").fill("unheard")
    page.keyboard.press("Enter")
    page.get_by_text("No conversion found").wait_for()
    page.get_by_role("searchbox").fill("c1011")
    page.keyboard.press("Enter")
    page.wait_for_url("**/conversion?event_id=sale%3A1011")

    page.goto(page.url.replace("conversion?event_id=sale%3A1011", "dead-letters"))
    page.get_by_role("button", name="Replay all that match").click()
    page.get_by_role("button", name=re.compile(r"Replay \d dead letter")).click()
    page.get_by_text("dead letters so far").wait_for()
    page.get_by_text(re.compile(r"\d dead letters? due again")).wait_for()

    assert page.problems == []
    assert page.evaluate("window.violations") == []
