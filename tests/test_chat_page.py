"""The chat room's page in a real browser (Debian's chromium), with the real server, and netcat in the same room.

In each test, a script error or a breach of the page's Content-Security-Policy is a failure. PRISE_SCREENSHOTS=1 renews the
pictures in docs/images.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from chat_support import OPERATORS, PATIENCE, Chat
from peers import need

sync_api = pytest.importorskip("playwright.sync_api")
axe = pytest.importorskip("axe_playwright_python.sync_playwright")
html5lib = pytest.importorskip("html5lib")
expect = sync_api.expect

PAGE = Path(__file__).parent.parent / "src/prise/chat/page"
PICTURES = Path(__file__).parent.parent / "docs/images"
DESKTOP = {"width": 1280, "height": 800}
PHONE = {"width": 375, "height": 667}
PIXEL = bytes.fromhex(  # a PNG of one pixel
    "89504e470d0a1a0a0000000d4948445200000001000000010804000000b51c0c020000000b4944415478da6364f80f00010501012718e366"
    "0000000049454e44ae426082"
)
# What a browser itself writes on its console about a server that is not there, or says no: part of what is tested.
USUAL = re.compile(r"WebSocket connection to|Failed to load resource")
WATCH = """addEventListener("securitypolicyviolation", event =>
    console.error(`CSP: ${event.violatedDirective} ${event.blockedURI}`)
)"""


class Browsers:
    """People with a browser, each with one of their own."""

    def __init__(self, chromium: Any) -> None:
        self._chromium = chromium
        self._contexts: list[Any] = []
        self.complaints: list[str] = []

    def open(self, chat: Chat, name: str = "", *, language: str = "en-GB", size: Any = DESKTOP, **options: Any) -> Any:
        """A page at the house; name: who comes in through it."""
        context = self._chromium.new_context(locale=language, viewport=size, **options)
        context.set_default_timeout(PATIENCE * 1000)
        context.add_init_script(WATCH)
        self._contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("console", self._listen)
        page.goto(f"http://127.0.0.1:{chat.port}/")
        if name:
            page.locator("#entry-name").fill(name)
            page.keyboard.press("Enter")
            expect(page.locator("#room-name")).to_have_text("salon")
        return page

    def _listen(self, message: Any) -> None:
        if message.type in ("error", "warning") and not USUAL.search(message.text):
            self.complaints.append(message.text)

    def close(self) -> None:
        for context in self._contexts:
            context.close()
        assert self.complaints == []


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    need("chromium")
    expect.set_options(timeout=PATIENCE * 1000)
    with sync_api.sync_playwright() as playwright:
        running = playwright.chromium.launch(
            executable_path="/usr/bin/chromium", args=["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
        )
        yield running
        running.close()


@pytest.fixture
def browsers(chromium: Any) -> Iterator[Browsers]:
    people = Browsers(chromium)
    yield people
    people.close()


@pytest.fixture
def chat(tmp_path: Path) -> Iterator[Chat]:
    with Chat(tmp_path / "chat.sqlite") as running:
        yield running


def say(page: Any, text: str) -> None:
    page.locator("#input").fill(text)
    page.locator("#input").press("Enter")


def texts(page: Any) -> list[str]:
    """What was said, as the page shows it."""
    found: list[str] = page.locator("#log .message .text").all_inner_texts()
    return found


def sees(page: Any, text: str) -> None:
    expect(page.locator("#log").get_by_text(text, exact=True)).to_be_visible()


def assert_accessible(page: Any) -> None:
    """In light colours and in dark ones, in which nothing but the colours is another."""
    if page.evaluate("typeof axe") == "undefined":  # half a megabyte: once for each page
        page.evaluate(axe.Axe().axe_script)
    colours = {"runOnly": {"type": "rule", "values": ["color-contrast", "link-in-text-block"]}}
    for scheme, rules in (("light", {}), ("dark", colours)):
        page.emulate_media(color_scheme=scheme)
        page.evaluate(
            "Promise.all(document.getAnimations().map(animation => animation.finished))"
        )  # colours half-way say nothing
        options = {"resultTypes": ["violations"], **rules}
        violations = page.evaluate("options => axe.run(options).then(found => found.violations)", options)
        assert [(each["id"], [node["html"][:200] for node in each["nodes"]]) for each in violations] == [], scheme


# -- talking ------------------------------------------------------------------------------------------------------------


def test_two_pages_and_netcat_converse(chat: Chat, browsers: Browsers) -> None:
    alice, bob = browsers.open(chat, "alice"), browsers.open(chat, "bob")
    with chat.nc() as netcat:
        netcat.sees("?")
        netcat.say("carol")
        netcat.sees("* carol joined")
        expect(alice.locator("#people-list")).to_contain_text("carol")

        say(alice, "hello from a page")
        netcat.sees("<alice> hello from a page")
        netcat.say("hello from netcat")
        say(bob, "/me waves")
        netcat.sees("bob waves")
        for page in (alice, bob):
            sees(page, "hello from a page")
            sees(page, "hello from netcat")
            expect(page.locator("#log .kind-me .text")).to_have_text("bob waves")
            expect(page.locator("#log .outgoing")).to_have_count(0)  # all is stored

    expect(alice.locator("#people-list")).not_to_contain_text("carol")
    sees(alice, "carol left")


def test_what_was_said_stays_text(chat: Chat, browsers: Browsers) -> None:
    page = browsers.open(chat, "alice")
    for evil in ("<script>document.title = 'owned'</script>", "<img src=x onerror=\"document.title = 'owned'\">"):
        say(page, evil)
        sees(page, evil)
    say(page, "see https://example.org/a_(b), not javascript:alert(1)")
    link = page.locator("#log .text a")
    expect(link).to_have_text("https://example.org/a_(b)")
    assert [link.get_attribute(name) for name in ("target", "rel")] == ["_blank", "noopener noreferrer"]
    expect(page.locator("#log img, #log script")).to_have_count(0)
    assert "owned" not in page.title()


def test_lines_are_messages_and_what_was_said_comes_back_with_an_arrow(chat: Chat, browsers: Browsers) -> None:
    page = browsers.open(chat, "alice")
    box = page.locator("#input")
    box.fill("one")
    low = box.bounding_box()["height"]
    box.press("Shift+Enter")
    box.press_sequentially("two")
    assert box.bounding_box()["height"] > low  # it grows
    box.press("Enter")
    sees(page, "two")
    assert texts(page) == ["one", "two"]
    box.press("ArrowUp")
    expect(box).to_have_value("one\ntwo")
    box.press("ArrowDown")
    expect(box).to_have_value("")


def test_names_and_commands_are_completed(chat: Chat, browsers: Browsers) -> None:
    page = browsers.open(chat, "alice")
    box = page.locator("#input")
    with chat.person("zoé"):
        expect(page.locator("#people-list")).to_contain_text("zoé")
        box.press_sequentially("/to")
        expect(page.get_by_role("option")).to_contain_text(["/topic"])
        box.press("Tab")
        expect(box).to_have_value("/topic ")
        box.fill("")
        box.press_sequentially("zo")
        expect(page.get_by_role("option")).to_have_count(0)  # an ordinary word, until Tab asks
        box.press("Tab")
        expect(box).to_have_value("zoé: ")
        box.fill("")
        box.press("Tab")  # nothing to complete: on to the next button
        expect(page.locator("#send")).to_be_focused()


def test_a_mention_counts_in_the_title_until_it_is_seen(chat: Chat, browsers: Browsers) -> None:
    page = browsers.open(chat, "alice")
    say(page, "/join elsewhere")
    expect(page.locator("#room-name")).to_have_text("elsewhere")
    with chat.person("bob") as bob:
        bob.say("hello all")
        expect(page).to_have_title(re.compile("^• "))
        bob.say("Alice, are you here?")
        expect(page).to_have_title(re.compile(r"^\(1\) "))
        room = page.locator("#room-list").get_by_role("button", name="salon")
        expect(room).to_have_accessible_name(re.compile(r"2 unread, 1 mention"))
        room.click()
        expect(page.locator("#log .mentioned")).to_contain_text("are you here?")
        expect(page.locator("#log .divider")).to_have_text("New messages")
        expect(page).to_have_title("#salon – prise")
        expect(page.locator("#announcer")).to_contain_text("bob (#salon): Alice, are you here?")


def test_private_conversations_are_rooms_of_their_own(chat: Chat, browsers: Browsers) -> None:
    alice, bob = browsers.open(chat, "alice"), browsers.open(chat, "bob")
    alice.locator("#people-list").get_by_role("button", name="bob").click()
    alice.get_by_role("menuitem", name="Write in private").click()
    expect(alice.locator("#room-name")).to_have_text("bob")
    say(alice, "between us")
    expect(bob.locator("#private-list")).to_contain_text("alice")
    assert "between us" not in texts(bob)
    bob.locator("#private-list button").click()
    sees(bob, "between us")
    say(bob, "of course")
    sees(alice, "of course")
    assert texts(alice) == texts(bob) == ["between us", "of course"]
    alice.reload()  # it is remembered where one was, and what was said there
    expect(alice.locator("#room-name")).to_have_text("bob")
    sees(alice, "of course")


def test_rooms_are_made_locked_listed_and_left(chat: Chat, browsers: Browsers) -> None:
    alice, bob = browsers.open(chat, "alice"), browsers.open(chat, "bob")
    say(alice, "/join atelier")
    expect(alice.locator("#room-name")).to_have_text("atelier")
    alice.locator("#topic").click()
    alice.locator("#ask-answer").fill("wood and glue")
    alice.keyboard.press("Enter")
    expect(alice.locator("#topic")).to_have_text("wood and glue")
    sees(alice, "alice set the topic: wood and glue")
    say(alice, "/lock sesame")
    sees(alice, "atelier is locked: others come in with /join atelier PASSWORD")

    bob.locator("#rooms-open").click()
    bob.locator("#directory").get_by_role("button", name="atelier").click()
    expect(bob.locator("#join-message")).to_have_text("atelier is locked. Enter its password.")
    bob.locator("#join-password").fill("wrong")
    bob.keyboard.press("Enter")
    expect(bob.locator("#join-message")).not_to_have_text("")
    bob.locator("#join-password").fill("sesame")
    bob.keyboard.press("Enter")
    expect(bob.locator("#room-name")).to_have_text("atelier")
    expect(bob.locator("#topic")).to_have_text("wood and glue")

    bob.locator("#room-menu").click()
    bob.get_by_role("menuitem", name="Leave this room").click()
    expect(bob.locator("#room-name")).to_have_text("salon")
    expect(bob.locator("#room-list li")).to_have_count(1)


def test_the_house_asks_for_its_password_and_a_registered_name_for_its_passphrase(
    tmp_path: Path, browsers: Browsers
) -> None:
    with Chat(tmp_path / "chat.sqlite", "--password", "sesame") as chat:
        alice = browsers.open(chat)
        alice.locator("#entry-name").fill("alice")
        alice.keyboard.press("Enter")
        expect(alice.locator("#entry-message")).to_have_text("This house asks for its password.")
        alice.locator("#entry-password").fill("sesam")
        alice.keyboard.press("Enter")
        expect(alice.locator("#entry-message")).to_have_text("That is not the password of this house.")
        alice.locator("#entry-password").fill("sesame")
        alice.keyboard.press("Enter")
        expect(alice.locator("#room-name")).to_have_text("salon")
        say(alice, "/register open up")
        expect(alice.locator("#log .notice")).to_contain_text("is yours")

        thief = browsers.open(chat)
        thief.locator("#entry-name").fill("alice")
        thief.keyboard.press("Enter")
        thief.locator("#entry-password").fill("sesame")
        thief.keyboard.press("Enter")
        expect(thief.locator("#entry-message")).to_contain_text("This nickname is registered.")
        thief.locator("#entry-name").fill("mallory")
        thief.keyboard.press("Enter")
        expect(thief.locator("#me-name")).to_have_text("mallory")


def test_the_operator_sees_hands_mutes_and_removes(chat: Chat, browsers: Browsers) -> None:
    teacher, pupil = browsers.open(chat, "teacher"), browsers.open(chat, "pupil")
    say(teacher, f"/op {OPERATORS}")
    teacher.locator("#operator-open").click()
    teacher.locator("#mute").click()
    expect(pupil.locator("#composer-state")).to_contain_text("has muted this room")
    say(pupil, "may I?")
    expect(pupil.locator("#log .outgoing .delivery")).to_contain_text("Not sent:")
    pupil.locator("#hand").click()
    teacher.locator("#hands").get_by_role("button", name="Give the word to pupil").click()
    expect(pupil.locator("#log")).to_contain_text("pupil has the word")
    pupil.get_by_role("button", name="Try again").click()
    sees(teacher, "may I?")

    teacher.locator("#announce").fill("five minutes left")
    teacher.locator("#announce").press("Enter")
    expect(pupil.locator("#log .announce")).to_have_text("Announcement by teacher: five minutes left")
    teacher.keyboard.press("Escape")
    teacher.locator("#people-list").get_by_role("button", name="pupil").click()
    teacher.get_by_role("menuitem", name="Remove").click()
    teacher.locator("#ask-answer").fill("enough")
    teacher.keyboard.press("Enter")
    expect(pupil.locator("#entry-message")).to_contain_text("removed by teacher")


def test_who_has_made_a_room_sees_hands_mutes_and_removes_there(chat: Chat, browsers: Browsers) -> None:
    page = browsers.open(chat, "alice")
    expect(page.locator("#operator-open")).to_be_hidden()
    say(page, "/join garden")
    expect(page.locator("#room-name")).to_have_text("garden")
    expect(page.locator("#hand")).to_be_hidden()
    with chat.person("bob") as bob:
        bob.say("/join garden")
        bob.sees("* you are in garden now")
        page.locator("#operator-open").click()
        expect(page.locator("#announce-form")).to_be_hidden()
        page.locator("#mute").click()
        bob.sees("* garden is muted")
        bob.say("/raise")
        page.locator("#hands").get_by_role("button", name="Give the word to bob").click()
        bob.sees("* bob has the word in garden")
        page.keyboard.press("Escape")
        page.locator("#people-list").get_by_role("button", name="bob").click()
        expect(page.get_by_role("menuitem", name="Ban")).to_have_count(0)
        page.get_by_role("menuitem", name="Remove").click()
        page.locator("#ask-answer").fill("enough")
        page.keyboard.press("Enter")
        bob.sees("removed by alice (enough)")
        bob.sees("* you are in salon now")


# -- history ------------------------------------------------------------------------------------------------------------


def test_it_reconnects_after_a_restart_and_nothing_is_lost_or_doubled(tmp_path: Path, browsers: Browsers) -> None:
    store = tmp_path / "chat.sqlite"
    with Chat(store) as chat:
        page = browsers.open(chat, "alice")
        say(page, "before")
        sees(page, "before")
        chat.terminate()
        port = chat.port
    expect(page.locator("#status")).to_contain_text("Disconnected. Trying again in")
    say(page, "meanwhile")
    expect(page.locator("#log .outgoing .delivery")).to_have_text("waiting for the connection")
    with Chat(store, "--on", f"127.0.0.1:{port}") as chat:
        with chat.person("bob") as bob:
            bob.say("I was first")
            page.evaluate("dispatchEvent(new Event('online'))")  # the browser has found its network again
            sees(page, "I was first")
            bob.sees("<alice> meanwhile")
            expect(page.locator("#status")).to_be_empty()
            expect(page.locator("#log .outgoing")).to_have_count(0)
            assert texts(page) == ["before", "I was first", "meanwhile"]
            say(page, "after")
            bob.sees("<alice> after")
            sees(page, "after")
            assert texts(page) == ["before", "I was first", "meanwhile", "after"]


def test_older_messages_come_as_one_scrolls_and_the_place_stays(chat: Chat, browsers: Browsers) -> None:
    with chat.person("bob") as bob:
        for number in range(1, 501):
            bob.say(f"number {number}")
        bob.sees("<bob> number 500")
        page = browsers.open(chat, "alice")
        sees(page, "number 500")
        assert texts(page)[0] == "number 451"
        box = page.locator("#messages")
        box.hover()
        while "number 1" not in (shown := texts(page)):
            assert shown == [
                f"number {each}" for each in range(int(shown[0].split()[1]), int(shown[-1].split()[1]) + 1)
            ]
            assert len(shown) <= 300  # what is far away is dropped
            page.mouse.wheel(0, -2000)
            page.wait_for_timeout(20)
        page.mouse.wheel(0, -20000)
        expect(page.locator("#beginning")).to_have_text("This is where the conversation begins.")
        top = page.locator("#log").get_by_text("number 3", exact=True).bounding_box()["y"]
        bob.say("news")
        expect(page.locator("#to-end")).to_have_text("1 new message")
        assert page.locator("#log").get_by_text("number 3", exact=True).bounding_box()["y"] == top
        page.locator("#to-end").click()
        sees(page, "news")
        expect(page.locator("#to-end")).to_be_hidden()


def test_search_leads_to_the_place_of_a_message(chat: Chat, browsers: Browsers) -> None:
    with chat.person("bob") as bob:
        bob.say("the needle is here")
        for number in range(400):
            bob.say(f"hay {number}")
        bob.sees("<bob> hay 399")
        page = browsers.open(chat, "alice")
        sees(page, "hay 399")
        page.keyboard.press("Control+k")
        page.locator("#search-words").fill("needle")
        page.keyboard.press("Enter")
        expect(page.locator("#search-state")).to_have_text("1 message found.")
        expect(page.locator("#search-results mark")).to_have_text("needle")
        page.locator("#search-results button").click()
        place = page.locator("#log li", has_text="the needle is here")
        expect(place).to_be_in_viewport()
        expect(place).to_be_focused()
        page.keyboard.press("Alt+End")
        sees(page, "hay 399")


# -- files --------------------------------------------------------------------------------------------------------------


def test_files_are_sent_with_the_button_and_pictures_are_shown(chat: Chat, browsers: Browsers) -> None:
    alice, bob = browsers.open(chat, "alice"), browsers.open(chat, "bob")
    alice.locator("#file").set_input_files(
        [
            {"name": "résumé.txt", "mimeType": "text/plain", "buffer": b"hello\n"},
            {"name": "point.png", "mimeType": "image/png", "buffer": PIXEL},
        ]
    )
    expect(bob.locator("#log a.file").first).to_have_text("résumé.txt · 6 B")
    picture = bob.locator("#log img")
    expect(picture).to_have_attribute("alt", "Picture point.png")
    assert picture.evaluate("image => image.decode().then(() => image.naturalWidth)") == 1
    with bob.expect_download() as download:
        bob.locator("#log a.file").first.click()
    assert (download.value.suggested_filename, download.value.path().read_bytes()) == ("résumé.txt", b"hello\n")


@pytest.mark.parametrize(
    ("event", "place", "carrier"), [("paste", "input", "clipboardData"), ("drop", "room", "dataTransfer")]
)
def test_files_are_pasted_and_dropped(chat: Chat, browsers: Browsers, event: str, place: str, carrier: str) -> None:
    page = browsers.open(chat, "alice")
    page.evaluate(
        """([event, place, carrier]) => {
            const carried = new DataTransfer();
            carried.items.add(new File(["text"], "notes.txt", {type: "text/plain"}));
            const Kind = event === "paste" ? ClipboardEvent : DragEvent;
            const options = {[carrier]: carried, bubbles: true, cancelable: true};
            document.getElementById(place).dispatchEvent(new Kind(event, options));
        }""",
        [event, place, carrier],
    )
    expect(page.locator("#log a.file")).to_have_text("notes.txt · 4 B")
    expect(page.locator("#uploads")).to_be_empty()


def test_a_file_that_is_not_taken_says_why(tmp_path: Path, browsers: Browsers) -> None:
    with Chat(tmp_path / "chat.sqlite", "--upload-size", "1k", "--upload-types", "image/*") as chat:
        page = browsers.open(chat, "alice")
        page.locator("#file").set_input_files({"name": "big.png", "mimeType": "image/png", "buffer": bytes(5000)})
        expect(page.locator("#log .notice")).to_contain_text("big.png is too large: 5 kB")
        page.locator("#file").set_input_files({"name": "a.txt", "mimeType": "text/plain", "buffer": b"text"})
        expect(page.locator("#uploads")).to_contain_text("a.txt was not sent:")


# -- for everybody ------------------------------------------------------------------------------------------------------


def test_it_speaks_french(chat: Chat, browsers: Browsers) -> None:
    page = browsers.open(chat, language="fr-FR")
    expect(page.get_by_role("textbox", name="Pseudo")).to_be_focused()
    page.keyboard.type("zoé")
    page.keyboard.press("Enter")
    expect(page.locator("#input")).to_have_attribute("placeholder", "Message à #salon")
    expect(page.locator("html")).to_have_attribute("lang", "fr")
    say(page, "/nonsense")
    expect(page.locator("#log .notice")).to_contain_text("il n’y a pas de commande /nonsense")
    page.get_by_role("button", name="Réglages").click()
    page.get_by_label("Langue").select_option("en")
    expect(page.get_by_role("heading", name="Settings")).to_be_visible()
    expect(page.locator("#people-heading")).to_have_text(re.compile("people$"))


def test_the_texts_of_both_languages_are_the_same_ones(chat: Chat, browsers: Browsers) -> None:
    page = browsers.open(chat)
    missing = page.evaluate(
        """async () => {
            const [{english}, {french}] = [await import("/page/en.js"), await import("/page/fr.js")];
            const holes = text => [...JSON.stringify(text).matchAll(/{(\\w+)}/g)].map(found => found[1]);
            const same = (one, other) => [...new Set(holes(one))].sort().join() === [...new Set(holes(other))].sort().join();
            return [...new Set([...Object.keys(english), ...Object.keys(french)])].filter(
                key => !(key in english && key in french && same(english[key], french[key]))
            );
        }"""
    )
    assert missing == []


def test_keys_are_enough(chat: Chat, browsers: Browsers) -> None:
    page = browsers.open(chat)
    page.keyboard.type("alice")
    page.keyboard.press("Enter")
    expect(page.locator("#input")).to_be_focused()
    page.keyboard.type("hello")
    page.keyboard.press("Enter")
    sees(page, "hello")
    reached = set()
    for _step in range(40):
        page.keyboard.press("Shift+Tab")
        reached.add(
            page.evaluate(
                "document.activeElement.id || document.activeElement.dataset.room || document.activeElement.dataset.name"
            )
        )
    assert {
        "messages",
        "topic",
        "search-open",
        "room-menu",
        "salon",
        "rooms-open",
        "settings-open",
        "help-open",
        "attach",
        "alice",
    } <= reached

    page.keyboard.press("Escape")
    expect(page.locator("#input")).to_be_focused()
    page.locator("#people-list button").first.focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("menuitem").first).to_be_focused()
    page.keyboard.press("Escape")
    expect(page.locator("#people-list button").first).to_be_focused()
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Help")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog", name="Help")).to_be_hidden()
    page.reload()
    page.keyboard.press("Tab")
    skip = page.locator(".skip:focus")
    page.keyboard.press("Enter")
    expect(skip).to_have_count(0)


@pytest.mark.parametrize("size", [PHONE, {"width": 320, "height": 568}], ids=["375", "320"])
def test_it_fits_on_a_telephone(chat: Chat, browsers: Browsers, size: Any) -> None:
    page = browsers.open(chat, "alice", size=size, has_touch=True, is_mobile=True)
    say(page, "a_word_that_is_far_too_long_for_the_width_of_a_telephone_and_must_be_broken_somewhere " * 3)
    expect(page.locator("#log .message")).to_have_count(1)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert page.evaluate("document.querySelector('#messages').scrollWidth <= innerWidth")
    expect(page.locator("#send")).to_be_in_viewport(ratio=1)
    expect(page.locator("#rooms")).not_to_be_in_viewport()
    page.locator("#rooms-drawer").tap()
    expect(page.locator("#room-list button")).to_be_in_viewport(ratio=1)
    page.locator("#room-list button").tap()
    expect(page.locator("#rooms")).not_to_be_in_viewport()
    page.locator("#people-drawer").tap()
    expect(page.locator("#people-list button").last).to_be_in_viewport(ratio=1)
    page.keyboard.press("Escape")
    expect(page.locator("#people")).not_to_be_in_viewport()


@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_axe_finds_nothing(chat: Chat, browsers: Browsers, size: Any) -> None:
    page = browsers.open(chat, size=size, reduced_motion="reduce")
    assert_accessible(page)
    page.locator("#entry-name").fill("alice")
    page.keyboard.press("Enter")
    expect(page.locator("#room-name")).to_have_text("salon")
    say(page, f"/op {OPERATORS}")
    expect(page.locator("#operator-open")).to_be_visible()
    with chat.person("bob") as bob:
        bob.say("hello alice, see https://example.org")
        bob.say("/me waves")
        bob.say("/msg alice psst")
        say(page, "/topic all kinds of rows")
        say(page, "hello")
        sees(page, "hello")
        expect(page.locator("#private-list li")).to_have_count(1)
        assert_accessible(page)
        for button in ("search-open", "operator-open", "help-open", "settings-open", "rooms-open"):
            if size is PHONE and button in ("help-open", "settings-open", "rooms-open"):
                page.locator("#rooms-drawer").click()
                assert_accessible(page)
            page.locator(f"#{button}").click()
            expect(page.locator("dialog[open]")).to_be_visible()
            assert_accessible(page)
            page.keyboard.press("Escape")
            page.keyboard.press("Escape")
        page.locator("#room-menu").click()
        page.keyboard.press("ArrowDown")
        assert_accessible(page)
        page.keyboard.press("Escape")
        page.locator("#input").fill("")
        page.locator("#input").press_sequentially("/m")
        page.locator("#input").press("ArrowDown")
        assert_accessible(page)


def test_the_html_is_valid() -> None:
    html5lib.HTMLParser(strict=True).parse(PAGE.joinpath("index.html").read_text())


def test_its_policy_lets_nothing_in(chat: Chat, browsers: Browsers) -> None:
    page = browsers.open(chat)
    response = page.goto(f"http://127.0.0.1:{chat.port}/")
    policy = response.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    page.evaluate(
        "document.body.append(Object.assign(document.createElement('script'), {textContent: 'globalThis.owned = 1'}))"
    )
    page.wait_for_function("true")
    assert page.evaluate("globalThis.owned") is None
    assert any("CSP: script-src" in each for each in browsers.complaints)
    browsers.complaints.clear()


@pytest.mark.skipif("PRISE_SCREENSHOTS" not in os.environ, reason="renews the pictures of the documentation")
def test_pictures(tmp_path: Path, browsers: Browsers) -> None:
    with Chat(tmp_path / "chat.sqlite", "--name", "Atelier sockets") as chat:
        page = browsers.open(chat, "Alice", color_scheme="light")
        say(page, "/topic Sockets in Python: questions and answers")
        with chat.person("marc") as marc, chat.person("Zoé") as zoe, chat.person("noor") as noor:
            for who, text in (
                (marc, "good morning! is this the right place for the exercise on framing?"),
                (zoe, "it is. I am here with nc, by the way, and it works just as well"),
                (zoe, "the statement is at https://docs.python.org/3/howto/sockets.html"),
                (noor, "why does recv(1024) sometimes give me half a message?"),
                (marc, "/me has the same question"),
            ):
                who.say(text)
                expect(page.locator("#log")).to_contain_text(text.removeprefix("/me "))
            say(page, "because TCP carries bytes, not messages: you say where each one ends")
            zoe.say("Alice: could you show the loop from yesterday again?")
            sees(page, "Alice: could you show the loop from yesterday again?")
            noor.say("/msg Alice can I ask you something after the lesson?")
            expect(page.locator("#private-list li")).to_have_count(1)
            page.locator("#file").set_input_files(
                {"name": "read_lines.py", "mimeType": "text/x-python", "buffer": b"#" * 812}
            )
            expect(page.locator("#log a.file")).to_be_visible()
            expect(page.locator("#log .outgoing")).to_have_count(0)
            PICTURES.mkdir(exist_ok=True)
            page.screenshot(path=PICTURES / "chat-light.png")
            page.emulate_media(color_scheme="dark")
            page.screenshot(path=PICTURES / "chat-dark.png")
            phone = browsers.open(chat, "Sam", size=PHONE, color_scheme="light", device_scale_factor=2)
            expect(phone.locator("#log a.file")).to_be_visible()
            phone.screenshot(path=PICTURES / "chat-phone.png")
