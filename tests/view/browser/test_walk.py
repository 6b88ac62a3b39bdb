"""The pages as somebody uses them who has no mouse: by roles, names and keys; and where the address says one is."""

from __future__ import annotations

import re
from urllib.parse import unquote

from playwright.sync_api import expect

from tests.view.browser.visit import Visit
from veneer.engine.engine import Engine

API = "/i/shop%2Fapi:2.4"


def values(visit: Visit, name: str) -> list[str | None]:
    slider = visit.role("slider", name, exact=True)
    return [slider.get_attribute(f"aria-value{each}") for each in ("min", "now", "max")]


def test_images_are_filtered_chosen_and_compared(visit: Visit) -> None:
    page = visit.open("/")
    page.keyboard.press("Tab")
    assert visit.focused() == "a Skip to the page"
    page.keyboard.press("Enter")
    assert page.evaluate("() => document.activeElement.id") == "page"
    page.keyboard.press("Tab")
    assert page.evaluate("() => document.activeElement.type") == "search"
    page.keyboard.type("shop/")
    rows = visit.role("region", "Images").get_by_role("row")
    expect(rows).to_have_count(5)
    assert visit.here == "/?q=shop/"
    for name in ("Choose shop/api:2.4", "Choose shop/web:2.4"):
        visit.role("checkbox", name).focus()
        page.keyboard.press("Space")
    visit.role("region", "Chosen for comparison").get_by_role("link", name="Compare").focus()
    page.keyboard.press("Enter")
    visit.settled()
    assert visit.here == "/compare?images=shop/api:2.4,shop/web:2.4"
    page.go_back()
    assert visit.here == "/?q=shop/"
    expect(visit.role("checkbox", checked=True)).to_have_count(2)
    visit.role("button", "Stored").press("Enter")
    expect(rows.nth(1)).to_contain_text("shop/api:2.4")
    assert visit.role("columnheader", "Stored").get_attribute("aria-sort") == "descending"
    visit.role("button", "None").press("Enter")
    expect(visit.role("checkbox", checked=True)).to_have_count(0)


def test_what_a_container_wrote_is_one_more_layer(visit: Visit) -> None:
    visit.go("/")
    visit.role("region", "All containers").get_by_role("link", name="box").press("Enter")
    visit.settled()
    assert visit.here == "/i/container:box"
    assert values(visit, "At") == ["1", "7", "7"]
    expect(visit.role("link", "shop/web:2.4")).to_be_visible()
    expect(visit.role("navigation", "Views of the image").get_by_role("link")).to_have_count(6)


def test_two_ends_of_the_slider_peel_an_image(visit: Visit) -> None:
    page = visit.go(API)
    before = page.evaluate("() => history.length")
    end, begin = visit.role("slider", "At", exact=True), visit.role("slider", "Since", exact=True)
    assert (values(visit, "At"), values(visit, "Since")) == (["1", "9", "9"], ["0", "0", "8"])
    end.focus()
    visit.press("ArrowLeft", "ArrowLeft")
    assert visit.here == f"{API}?at=7"
    assert re.fullmatch(
        r"layer 7 of 9, RUN chown -R 1000:1000 /app, 10\.7\skB", end.get_attribute("aria-valuetext") or ""
    )
    expect(visit.role("heading", "Layer 7")).to_be_visible()
    begin.focus()
    visit.press("End")
    assert values(visit, "Since") == ["0", "6", "6"]
    expect(visit.role("radio", "this layer")).to_be_checked()
    expect(visit.role("button", "Layer 7, RUN chown")).to_have_attribute("aria-pressed", "true")
    expect(visit.role("button", "Layer 6, COPY")).to_have_attribute("aria-pressed", "false")
    visit.press("a")
    assert visit.here == f"{API}?at=7"
    page.evaluate("() => document.activeElement.blur()")
    visit.press("]")
    assert visit.here == f"{API}?at=7&since=1"
    end.focus()
    visit.press("Home")
    assert visit.here == f"{API}?at=1"
    visit.role("button", "Layer 8, RUN rm").press("Enter")
    visit.settled()
    assert visit.here == f"{API}?at=8&since=7"
    # Choices are kept in the address, not in the history.
    assert page.evaluate("() => history.length") == before


def test_playing_goes_from_the_base_up(visit: Visit) -> None:
    page = visit.go(API)
    page.evaluate(_HAND)  # time is what the test says
    try:
        visit.role("button", "Play").press("Enter")
        assert visit.here == f"{API}?at=1"
        for at in (2, 3):
            page.evaluate("() => hand.tick()")
            expect(visit.role("slider", "At", exact=True)).to_have_attribute("aria-valuenow", str(at))
        visit.role("button", "Stop").press("Enter")
        assert page.evaluate("() => hand.tick") is None
        assert visit.here == f"{API}?at=3"
    finally:
        page.evaluate("() => hand.back()")
    moving = "() => getComputedStyle(document.querySelector('.slab')).transitionDuration"
    assert page.evaluate(moving) == "0s"
    page.emulate_media(reduced_motion="no-preference")
    assert page.evaluate(moving) != "0s"


_HAND = """() => {
  const [set, clear] = [window.setInterval, window.clearInterval];
  window.hand = {tick: null, back: () => Object.assign(window, {setInterval: set, clearInterval: clear})};
  window.setInterval = (act) => { hand.tick = act; return 7; };
  window.clearInterval = (number) => { if (number === 7) hand.tick = null; };
}"""


def test_tree_of_files_is_walked_by_keys(visit: Visit) -> None:
    page = visit.go(f"{API}?tab=tree&sort=name")
    expect(visit.role("treegrid", "Files")).to_be_visible()
    page.locator("#files [tabindex='0']").focus()
    visit.press("Home")
    assert visit.focused().startswith("row ▸app/")
    visit.press("ArrowRight")
    row = visit.role("row", "app/", exact=False).first
    expect(row).to_have_attribute("aria-expanded", "true")
    visit.press("ArrowRight", "ArrowDown", "ArrowRight", "ArrowRight", "ArrowDown")
    assert visit.focused().startswith("row models.py")
    expect(page.locator("#files :focus")).to_have_attribute("aria-level", "3")
    visit.press("Enter")
    assert unquote(visit.here) == f"{unquote(API)}?tab=tree&sort=name&file=/app/shop/models.py"
    history = visit.role("region", "History of /app/shop/models.py")
    expect(history.get_by_role("listitem")).to_have_count(2)
    expect(history).to_contain_text("same bytes")
    visit.role("button", "Close the history").press("Enter")
    expect(history).to_have_count(0)
    page.locator("#files [tabindex='0']").focus()
    visit.press("ArrowLeft", "ArrowLeft", "ArrowLeft", "ArrowLeft")
    expect(row).to_have_attribute("aria-expanded", "false")
    visit.press("End")
    assert visit.focused().startswith("row ▸var/")


def test_a_directory_of_many_files_comes_in_pages(visit: Visit) -> None:
    page = visit.go("/i/evil:1?tab=tree&path=/many&sort=name")
    rows = page.locator("#files tbody tr")
    expect(rows).to_have_count(201)
    page.locator("#files [tabindex='0']").focus()
    visit.press("End")
    assert visit.focused() == "row 300 more …"
    visit.press("Enter")
    assert visit.focused().startswith("row 0200 ")
    expect(rows).to_have_count(500)
    visit.press("End")
    assert visit.focused().startswith("row 0499 ")
    # Sorted otherwise, one begins with the first page again.
    visit.press("s")
    expect(rows).to_have_count(201)


def test_states_are_shown_and_left_out(visit: Visit) -> None:
    visit.go(f"{API}?tab=tree&path=/app&since=7&at=8")
    grid = visit.role("treegrid", "Files")
    expect(grid.get_by_role("row", name="tests")).to_contain_text("D")
    for letter in "AMPO":
        visit.press(letter)
    visit.role("checkbox", "unchanged").press("Space")
    visit.settled()
    assert visit.here.endswith("&show=D")
    expect(grid.get_by_role("row", name="shop")).to_have_count(0)
    expect(grid.get_by_role("row", name=".env")).to_be_visible()
    visit.role("searchbox", "Names in this directory").fill("zz")
    expect(grid).to_contain_text("No name here has that.")


def test_map_is_walked_and_zoomed_by_keys(visit: Visit) -> None:
    page = visit.go(API)
    tree = visit.role("tree", "Map of the bytes")
    tree.get_by_role("treeitem", selected=True).focus()
    visit.press("ArrowDown")
    page.wait_for_function("() => document.activeElement.getAttribute('aria-label')?.startsWith('/usr,')")
    visit.press("ArrowRight")
    page.wait_for_function("() => document.activeElement.getAttribute('aria-label')?.startsWith('/app,')")
    visit.press("Enter")
    assert visit.here == f"{API}?path=/app"
    expect(visit.role("navigation", "Directory").get_by_role("link")).to_have_count(2)
    visit.press("m")
    assert visit.here == f"{API}?path=/app&map=treemap"
    expect(visit.role("radio", "treemap")).to_be_checked()
    tree.get_by_role("treeitem", selected=True).focus()
    visit.press("Backspace")
    assert visit.here == f"{API}?map=treemap"
    # The same address shows the same to somebody else.
    again = f"{API}?map=sunburst&colour=state&at=8&since=7&hidden=no&path=/app"
    visit.open(again)
    assert visit.here == again
    for name in ("sunburst", "state", "this layer"):
        expect(visit.role("radio", name, exact=True)).to_be_checked()


def test_comparison_is_walked_by_keys_and_what_is_shared_is_one_box(visit: Visit) -> None:
    images = "shop/api:2.4,shop/worker:2.4,shop/web:2.4"
    page = visit.go(f"/compare?images={images}")
    wall = visit.role("group", "Layers, the base at the bottom")
    base = wall.get_by_role("button", name="Layer 1, # debian.sh")
    expect(base).to_have_count(1)
    widths = [(base.bounding_box() or {"width": 0})["width"], (wall.bounding_box() or {"width": 0})["width"]]
    assert abs(widths[0] - widths[1]) < 6
    assert "in 3 images" in (base.get_attribute("aria-label") or "")
    base.focus()
    visit.press("ArrowUp", "ArrowUp")
    assert "wget -O python" in visit.focused()
    journal = visit.role("complementary", "Journal")
    expect(journal.get_by_role("listitem")).to_have_count(3)
    visit.press("ArrowRight")
    assert "nodejs.org" in visit.focused()
    visit.press("l")
    assert visit.here == f"/compare?images={images}&lock=shop/web:2.4"
    expect(journal).to_contain_text("shop/web:2.4")
    visit.press("Enter")
    assert visit.here == "/i/shop%2Fweb:2.4?at=3&since=2"
    assert visit.focused().startswith("main shop/web:2.4")
    page.go_back()
    visit.settled()
    # The same bytes on different layers are marked, and are still two boxes.
    expect(wall.get_by_role("button", name="the same content elsewhere")).to_have_count(4)
    visit.role("radio", "log", exact=True).check()
    visit.role("searchbox", "Filter images").fill("w")
    visit.settled()
    assert visit.here.endswith("&lock=shop/web:2.4&scale=log&filter=w")
    expect(page.locator(".heads .head")).to_have_count(2)
    visit.role("button", "Take shop/worker:2.4 away").press("Enter")
    visit.settled()
    visit.page.get_by_label("Add an image").fill("debian:12-slim")
    visit.settled()
    assert visit.here.startswith("/compare?images=shop/api:2.4,shop/web:2.4,debian:12-slim&")


def test_files_of_two_images_lead_to_their_histories(visit: Visit) -> None:
    visit.go("/compare?images=shop/api:2.3,shop/api:2.4")
    visit.role("radio", "of two of them").check()
    visit.settled()
    assert visit.here.endswith("&files=yes")
    expect(visit.role("heading", "10 files differ")).to_be_visible()
    visit.role("link", "/app/shop/api.py").press("Enter")
    visit.settled()
    assert visit.here == "/history?image=shop/api:2.4&path=/app/shop/api.py"


def test_files_of_all_images_stand_side_by_side(visit: Visit) -> None:
    images = "shop/api:2.3,shop/api:2.4,shop/web:2.4"
    visit.go(f"/compare?images={images}")
    visit.role("radio", "side by side").check()
    visit.settled()
    rows = visit.role("region", "Files side by side").get_by_role("row")
    expect(rows.filter(has_text="app/")).to_contain_text(re.compile(r"16.1\skB.*10.7\skB.*not there", re.S))
    rows.get_by_role("link", name="app/").press("Enter")
    visit.settled()
    assert visit.here == f"/compare?images={images}&files=all&path=/app"
    # The wall follows: a layer that has nothing there is empty.
    expect(visit.role("button", "nothing at /app").first).to_be_visible()
    expect(visit.role("complementary", "Journal")).to_contain_text("at /app")
    visit.role("button", "Hold the others against shop/api:2.4").press("Enter")
    visit.role("radio", "different", exact=True).check()
    visit.settled()
    assert visit.here.endswith("&path=/app&lock=shop/api:2.4&show=different")
    expect(rows.filter(has_text="tests/")).to_contain_text(re.compile(r"added.*5.4\skB", re.S))
    rows.get_by_role("link", name="/app/shop in shop/api:2.3").press("Enter")
    visit.settled()
    assert visit.here == "/i/shop%2Fapi:2.3?path=/app/shop"


def test_only_a_page_that_is_seen_listens(visit: Visit) -> None:
    page = visit.open("/")
    turn = """state => {
      Object.defineProperty(document, 'visibilityState', {value: state, configurable: true});
      document.dispatchEvent(new Event('visibilitychange'));
    }"""

    def listened() -> int:
        return sum(url.endswith("/events") for url in visit.asked)

    page.evaluate(turn, "hidden")
    page.evaluate(turn, "hidden")
    assert listened() == 1
    with (
        page.expect_request(lambda asked: asked.url.endswith("/events")),
        page.expect_response(lambda answer: answer.url.endswith("/api/v1/images")),  # what nobody told meanwhile
    ):
        page.evaluate(turn, "visible")
    assert listened() == 2
    page.evaluate("() => { delete document.visibilityState; }")


def test_text_of_two_layers_is_compared_line_by_line(visit: Visit) -> None:
    visit.go("/history?image=evil:1&path=/etc/motd")
    visit.role("button", "Show").press("Enter")
    visit.settled()
    assert visit.here.endswith("&old=1&new=2")
    lines = visit.role("region", "Differing lines").inner_text().split("\n")
    assert [line[:3] for line in lines if line[:1] in ("+", "-")][:2] == ["- t", "+ 2"]


def test_the_finder_finds_images_layers_and_files(visit: Visit) -> None:
    page = visit.go("/")
    visit.press("/")
    field = visit.role("combobox", "Find images, layers, files")
    expect(field).to_be_focused()
    field.fill("logo.png")
    options = visit.role("listbox", "Found").get_by_role("option")
    expect(options.first).to_contain_text("/app/shop/static/logo.png")
    field.press("ArrowDown")
    expect(options.nth(1)).to_have_attribute("aria-selected", "true")
    assert field.get_attribute("aria-activedescendant") == "hit-1"
    field.press("Enter")
    visit.settled()
    assert re.fullmatch(r"/history\?image=shop/api:2\.[34]&path=/app/shop/static/logo\.png", visit.here)
    page.keyboard.press("Control+k")
    field.fill("worker")
    expect(options.first).to_contain_text("shop/worker:2.4")
    page.keyboard.press("Escape")
    expect(visit.page.locator("#find")).not_to_be_visible()


def test_help_theme_and_numbers_of_tabs(visit: Visit) -> None:
    page = visit.go(API)
    visit.press("?")
    expect(visit.role("dialog", "Keys")).to_be_visible()
    visit.press("3")
    assert visit.here == API
    visit.press("Escape", "3")
    assert visit.here == f"{API}?tab=waste"
    expect(visit.role("link", "Waste")).to_have_attribute("aria-current", "page")
    shade = "() => getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(shade)
    visit.press("t", "t")
    dark = page.evaluate(shade)
    assert light != dark
    visit.open(API)
    assert page.evaluate(shade) == dark
    assert visit.role("button", "Theme: dark").is_visible()
    visit.press("t", "g")
    assert page.evaluate(shade) == light
    assert visit.here == "/"


def test_the_link_to_a_view_and_snippets_of_badges_are_copied(visit: Visit) -> None:
    visit.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page = visit.go(f"{API}?tab=badges&form=HTML")
    copied = "() => navigator.clipboard.readText()"
    visit.role("button", "Copy the link to this view").press("Enter")
    expect(visit.role("status").filter(has_text="Copied.")).to_have_count(1)
    assert page.evaluate(copied) == f"{visit.base}{API}?tab=badges&form=HTML"
    visit.role("button", "Copy the layers badge").press("Enter")
    page.wait_for_function("async () => (await navigator.clipboard.readText()).startsWith('<a href=')")
    assert f'src="{visit.base}/badges/layers/shop/api:2.4.svg"' in page.evaluate(copied)
    page.wait_for_function("() => [...document.images].every((each) => each.complete && each.naturalWidth > 40)")


def test_old_addresses_lead_here(visit: Visit) -> None:
    visit.open("/?images=debian:12-slim,node:22-slim&lock=node:22-slim")
    assert visit.here == "/compare?images=debian:12-slim,node:22-slim&lock=node:22-slim"
    expect(visit.role("button", "Lock the journal on node:22-slim")).to_have_attribute("aria-pressed", "true")
    visit.open("/images/shop/api:2.4")
    expect(visit.role("heading", "shop/api:2.4")).to_be_visible()


def test_a_server_that_comes_back_is_asked_again(visit: Visit) -> None:
    visit.go("/")
    visit.context.set_offline(True)
    try:
        visit.role("link", "shop/worker:2.4").press("Enter")
        expect(visit.role("alert")).to_contain_text("The server does not answer.")
    finally:
        visit.context.set_offline(False)  # the browser says so, and nobody waits until it is time to ask again
    expect(visit.role("heading", "shop/worker:2.4")).to_be_visible()
    expect(visit.role("alert")).to_have_count(0)


def test_what_comes_and_goes_is_seen_without_asking(visit: Visit, shop: Engine) -> None:
    with visit.page.expect_response(lambda answer: answer.url.endswith("/api/v1/events")):  # from here on it is told
        visit.open("/?q=fresh")
    expect(visit.page.get_by_text("No image has")).to_be_visible()
    shop.images.tag("debian:12-slim", "fresh:1")
    try:
        expect(visit.page.get_by_text("fresh:1")).to_be_visible()
    finally:
        shop.images.remove("fresh:1")
    expect(visit.page.get_by_text("No image has")).to_be_visible()
