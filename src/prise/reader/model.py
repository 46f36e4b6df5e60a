"""The reader without a screen: a stack of pages, and what each key does.

What takes time is given to `run(job, finish)`: the job is done in a thread, then `finish(result, error)` is called where the
keys are handled. An error never ends the reader: it is told in the line below.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from prise.cli.columns import flat
from prise.cli.texts import amount
from prise.errors import PriseError
from prise.locale import translate as _
from prise.reader.commands import COMMANDS, NAMES, WHILE_BUSY
from prise.reader.pages import ListPage, Page, TextPage, attachments_of, page_of
from prise.reader.places import Place, elsewhere, file_name
from prise.reader.servers import Servers, Thing, written

MOST_PAGES = 50
"""Pages to go back to; the first always stays."""

YES = ("y", "yes", "o", "oui")

Finish = Callable[[Any, "Exception | None"], None]
Run = Callable[[Callable[[], Any], Finish], None]


@dataclass(frozen=True, slots=True)
class Question:
    """What the person is asked in the line below. then: gets the answer; None: there is none. text: that is there already."""

    label: str
    then: Callable[[str | None], None]
    text: str = ""
    secret: bool = False


class Reader:
    """pages: the last one is shown. message: what there is to say, "" for nothing; busy: what is being done, likewise.
    question: if one is asked. ended: it is over."""

    def __init__(self, servers: Servers, page: Page, run: Run) -> None:
        self.servers = servers
        self.pages = [page]
        self.message = ""
        self.busy = ""
        self.question: Question | None = None
        self.ended = False
        self._run = run
        self._job = 0  # the number of what is being done
        self._words = ""  # that are looked for

    @property
    def page(self) -> Page:
        return self.pages[-1]

    @property
    def status(self) -> str:
        """Where we are, and what is being done."""
        where = self.page.place.url if self.page.place is not None else _("help")
        return flat(f"{self.page.position} │ {where}{f' │ {self.busy}' if self.busy else ''}")

    def do(self, method: str) -> None:
        """What a key does."""
        if self.busy and method not in WHILE_BUSY:
            self.cancel()
        self.message = ""
        self._tell_errors(getattr(self, method))

    # -- looking around ------------------------------------------------------------------------------------------------

    def down(self) -> None:
        self.page.move(1)
        self._more()

    def up(self) -> None:
        self.page.move(-1)

    def page_down(self) -> None:
        self.page.turn(1)
        self._more()

    def page_up(self) -> None:
        self.page.turn(-1)

    def home(self) -> None:
        self.page.go(0)

    def end(self) -> None:
        self.page.go(self.page.count - 1)
        self._more()

    def find(self) -> None:
        self._ask(Question(_("find:"), self._find))

    def _find(self, words: str | None) -> None:
        self._words = words or self._words
        if words is not None and self._words:  # else it was left, and is not asked again
            self.find_next()

    def find_next(self) -> None:
        if not self._words:
            self.find()
        elif not self.page.find(self._words):
            self.message = _("not found: {words}").format(words=self._words)

    def header(self) -> None:
        if isinstance(self.page, TextPage) and self.page.letter is not None:
            self.page.show_header()

    def help(self) -> None:
        keys = (", ".join(_(NAMES.get(key, key)) for key in command.keys) for command in COMMANDS)
        lines = (f"{name:20} {_(command.does)}" for name, command in zip(keys, COMMANDS, strict=True))
        self._push(TextPage(None, "\n".join(lines)))

    def show_url(self) -> None:
        page = self.page
        entry = page.entry if isinstance(page, ListPage) else None
        if page.place is None:
            return
        if entry is None or (isinstance(page, ListPage) and page.held is not None):
            self.message = page.place.url
        else:
            self.message = entry.url or page.place.below(entry).url

    # -- going somewhere -----------------------------------------------------------------------------------------------

    def open(self) -> None:
        page = self.page
        if not isinstance(page, ListPage) or (entry := page.entry) is None or page.place is None:
            return
        if page.attachment is not None:
            thing = Thing(page.attachment.data, page.attachment.kind, page.attachment.name)
            self._show(Place(page.place.target, page.place.name, "attachment", entry.title), thing)
        elif entry.url is not None:
            self._leave_for(entry.url, ask=True)
        else:
            self._visit(page.place.below(entry))

    def go(self) -> None:
        self._ask(Question(_("go to:"), lambda url: self._leave_for(url.strip(), ask=False) if url else None))

    def _leave_for(self, url: str, ask: bool) -> None:
        """ask: it was a link, and a link may say one thing and lead to another."""
        place = elsewhere(url)
        if place is None:
            self.message = _("this reader cannot go to {url}").format(url=url)
        elif ask:
            question = _("it is elsewhere: go to {url}? (y/n)").format(url=url)
            self._ask(Question(question, lambda answer: self._visit(place) if said_yes(answer) else None))
        else:
            self._visit(place)

    def search(self) -> None:
        place = self.page.place
        if place is not None and (
            place.kind == "search" or (place.target.protocol == "imap" and place.kind == "mailbox")
        ):
            self._ask_words(place)
        else:
            self.message = _("nothing can be looked for here; / finds words in this page")

    def _ask_words(self, place: Place) -> None:
        self._ask(Question(_("search for:"), lambda words: self._visit(place.searching(words)) if words else None))

    def _visit(self, place: Place) -> None:
        if place.kind == "search" and place.words is None:
            self._ask_words(place)
            return

        columns, lines = self.page.columns, self.page.lines

        def look(turn: int) -> tuple[Thing | None, Page | None]:
            found = self.servers.look(place, turn)
            page = page_of(place, found)
            if page is not None:
                page.draw(columns, lines)  # to wrap a long text takes time, as taking a message apart does
            return found if isinstance(found, Thing) else None, page

        def show(result: tuple[Thing | None, Page | None]) -> None:
            thing, page = result
            if page is not None:
                self._push(page)
            else:
                self._offer(place, thing)

        self._begin(_("fetching"), look, show)

    def _show(self, place: Place, thing: Thing) -> None:
        page = page_of(place, thing)
        if page is None:
            self._offer(place, thing)
        else:
            self._push(page)

    def _push(self, page: Page) -> None:
        self.pages.append(page)
        if len(self.pages) > MOST_PAGES:
            del self.pages[1]

    def back(self) -> None:
        if len(self.pages) > 1:
            self.pages.pop()
        else:
            self.message = _("this is where you began; q ends the reader")

    def reload(self) -> None:
        page, place = self.page, self.page.place
        if place is None or place.kind == "attachment" or (isinstance(page, ListPage) and page.held is not None):
            return
        if place.kind == "search" and place.words is None:
            self._ask_words(place)
            return

        def renew(new: Page | None) -> None:
            if new is not None and page in self.pages:
                new.lines, new.columns = page.lines, page.columns
                new.go(page.selected if isinstance(page, ListPage) else page.top)
                self.pages[self.pages.index(page)] = new

        self._begin(_("fetching"), lambda turn: page_of(place, self.servers.look(place, turn)), renew)

    def _more(self) -> None:
        """The next portion of a list, at its end."""
        page = self.page
        if self.busy or not isinstance(page, ListPage) or page.more is None or not page.at_end or page.place is None:
            return
        place, more = page.place, page.more
        self._begin(_("fetching more"), lambda turn: self.servers.portion(place, more, turn), page.extend)

    def attachments(self) -> None:
        page = self.page
        if isinstance(page, TextPage) and page.place is not None and page.letter is not None:
            if page.letter.attachments:
                self._push(attachments_of(page.place, page.letter))
            else:
                self.message = _("nothing is attached")

    # -- files ---------------------------------------------------------------------------------------------------------

    def save(self) -> None:
        page = self.page
        if page.place is None:
            return
        if isinstance(page, TextPage):
            self._ask_file(page.place, page.thing)
        elif isinstance(page, ListPage) and page.attachment is not None:
            held = page.attachment
            self._ask_file(
                replace(page.place, kind="attachment"), Thing(held.data, held.kind, held.name or f"{page.selected + 1}")
            )
        elif isinstance(page, ListPage) and page.entry is not None:
            if page.entry.url is not None or page.entry.opens:
                self.message = _("only what is here, and no list, can be saved")
            else:
                self._ask_file(page.place.below(page.entry), None)

    def _offer(self, place: Place, thing: Thing | None) -> None:
        self._ask_file(place, thing, _("this cannot be shown; save it as:"))

    def _ask_file(self, place: Place, thing: Thing | None, label: str | None = None) -> None:
        """thing: what is here already, and need not be fetched."""
        name = file_name(place, thing.name if thing is not None else None)
        self._ask(Question(label or _("save as:"), lambda text: self._save(place, thing, text), name))

    def _save(self, place: Place, thing: Thing | None, text: str | None) -> None:
        if not text or not text.strip():
            return
        path = Path(text.strip()).expanduser()
        if path.is_dir():
            path /= file_name(place, thing.name if thing is not None else None)
        if path.exists():
            question = _("{path} is there already: replace it? (y/n)").format(path=path)
            self._ask(Question(question, lambda answer: self._write(place, thing, path) if said_yes(answer) else None))
        else:
            self._write(place, thing, path)

    def _write(self, place: Place, thing: Thing | None, path: Path) -> None:
        def write(turn: int) -> int:
            if thing is None or not thing.whole:
                return self.servers.save(place, path, turn)
            with written(path) as file:
                return file.write(thing.data)

        def tell(size: int) -> None:
            self.message = _("{path}: {size} saved").format(path=path, size=amount(size))

        self._begin(_("saving"), write, tell)

    # -- work and questions --------------------------------------------------------------------------------------------

    def _begin(self, label: str, job: Callable[[int], Any], then: Callable[[Any], None]) -> None:
        """job: gets the turn of the servers in which it was begun, for its thread may come to run when that is over."""
        self._job += 1
        number, turn = self._job, self.servers.turn
        self.busy = label

        def finish(result: Any, error: Exception | None) -> None:
            if number != self._job:
                return  # it was given up
            self.busy = ""
            if error is None:
                self._tell_errors(lambda: then(result))
            else:
                self.message = told(error)

        self._run(lambda: job(turn), finish)

    def _ask(self, question: Question) -> None:
        self.question = question

    def answer(self, text: str | None) -> None:
        """What the person has typed for the question; None: Escape."""
        question, self.question = self.question, None
        if question is not None:
            self.message = ""
            self._tell_errors(lambda: question.then(text))

    def _tell_errors(self, action: Callable[[], None]) -> None:
        try:
            action()
        except Exception as error:
            self.message = told(error)

    def cancel(self) -> None:
        if self.busy:
            self._job += 1
            self.busy = ""
            self.servers.cancel()
            self.message = _("given up")
        elif not self.ended:
            self.message = _("q ends the reader")

    def quit(self) -> None:
        self.ended = True
        self.cancel()


def told(error: Exception) -> str:
    """An error in a sentence for people."""
    if isinstance(error, PriseError):
        return error.sentence(_)
    if isinstance(error, OSError):
        return ": ".join(str(part) for part in (error.filename, error.strerror or error) if part)
    return f"{type(error).__name__}: {error}"


def said_yes(answer: str | None) -> bool:
    return (answer or "").strip().casefold() in YES
