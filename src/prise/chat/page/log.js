/**
 * The list of messages of the room that is shown: draws what is new in it, keeps what is read where it is, and asks for older
 * and newer messages as their end of the window comes near.
 *
 * All changes of one frame are drawn together. Rows that stay are left alone, so that focus and selection survive.
 */

import { byId } from "./dom.js";
import { rows } from "./layout.js";
import { draw } from "./message.js";
import { kept } from "./preferences.js";
import { currentLanguage, t } from "./texts.js";

const NEAR = 600; // pixels from an end at which more is asked for
const AT_END = 40;

export class Log {
  /** @param {any} app see main.js */
  constructor(app) {
    this.app = app;
    this.box = byId("messages");
    this.list = byId("log");
    /** @type {Map<string, {version: string, element: HTMLElement}>} */
    this.drawn = new Map();
    this.frame = 0;
    this.shown = ""; // the room
    this.box.addEventListener("scroll", () => this.scrolled(), { passive: true });
    byId("to-end").addEventListener("click", () => this.toEnd());
    // The keyboard of a telephone, a longer input: who was at the end stays there.
    new ResizeObserver(() => this.app.house.room?.following && this.stick()).observe(this.box);
  }

  /** Something has changed. */
  update() {
    this.frame ||= requestAnimationFrame(() => {
      this.frame = 0;
      this.draw();
    });
  }

  /** @private */
  draw() {
    const { house } = this.app;
    const room = house.room;
    if (!room) {
      this.list.replaceChildren();
      this.drawn.clear();
      return;
    }
    const other = this.shown !== room.name;
    if (other) {
      this.shown = room.name;
      this.drawn.clear();
      this.list.replaceChildren();
    }
    const place = room.following || other ? null : this.place();
    const style = `${currentLanguage()} ${this.app.online} ${new Date().toDateString()}`;
    this.fill(rows(room, house.outbox.of(room.name), house.me, { presence: kept.presence, style }));
    byId("beginning").hidden = room.more && !room.asked;
    byId("beginning").textContent = room.more ? t("beginning.loading") : t("beginning");
    if (room.sought) this.reveal(room);
    else if (room.following || other) this.stick();
    else this.keepPlace(place);
    this.after(room);
  }

  /** @private Makes the list show these rows. @param {import("./layout.js").Row[]} wanted */
  fill(wanted) {
    const app = this.app;
    const context = {
      me: app.house.me,
      online: app.online,
      calls: (message) => app.house.callsMe(message),
      person: (name, near) => app.people.menu(name, near),
      retry: (id) => app.retry(id),
      discard: (id) => app.discard(id),
    };
    const keys = new Set(wanted.map((row) => row.key));
    for (const [key, { element }] of this.drawn) {
      if (keys.has(key)) continue;
      element.remove();
      this.drawn.delete(key);
    }
    let next = this.list.firstElementChild;
    for (const row of wanted) {
      const known = this.drawn.get(row.key);
      let element = known?.element;
      if (!known || known.version !== row.version) {
        element = draw(row, context);
        if (known) {
          if (next === known.element) next = next.nextElementSibling;
          known.element.remove();
        }
        this.drawn.set(row.key, { version: row.version, element });
      }
      if (element === next) next = next.nextElementSibling;
      else this.list.insertBefore(element, next);
    }
  }

  /** @private Which row is at the top, and where exactly. */
  place() {
    const top = this.box.getBoundingClientRect().top;
    for (const element of this.list.children) {
      const rectangle = element.getBoundingClientRect();
      if (rectangle.bottom > top && element.classList.contains("message")) return { key: element.dataset.key, top: rectangle.top };
    }
    return null;
  }

  /** @private @param {{key: string, top: number} | null} place */
  keepPlace(place) {
    const element = place && this.drawn.get(place.key)?.element;
    if (element) this.box.scrollTop += element.getBoundingClientRect().top - place.top;
  }

  /** @private */
  stick() {
    this.box.scrollTop = this.box.scrollHeight;
  }

  /** @private Shows the message that was sought, once it is here. */
  reveal(room) {
    const element = this.drawn.get(`message-${room.sought}`)?.element;
    if (!element) {
      if (!room.asked) room.sought = 0; // it has been forgotten by the house
      return;
    }
    room.sought = 0;
    room.following = false;
    element.scrollIntoView({ block: "center" });
    element.classList.add("sought");
    element.tabIndex = -1;
    element.focus({ preventScroll: true });
    setTimeout(() => element.classList.remove("sought"), 3000);
  }

  /** @private */
  scrolled() {
    const room = this.app.house.room;
    if (!room || this.shown !== room.name || this.frame) return;
    room.following = room.atEnd && this.belowEnd() < AT_END;
    this.after(room);
  }

  /** @private */
  belowEnd() {
    return this.box.scrollHeight - this.box.scrollTop - this.box.clientHeight;
  }

  /** @private What follows from where we are: more messages are wanted, or all is read. */
  after(room) {
    const { house } = this.app;
    if (!room.sought) {
      if (room.more && room.first && this.box.scrollTop < NEAR) house.ask(room, "older");
      else if (!room.atEnd && this.belowEnd() < NEAR) house.ask(room, "newer");
    }
    if (room.following) this.app.reading.seen();
    byId("to-end").hidden = room.following;
    byId("to-end-text").textContent = room.unread ? t("new.count", { count: room.unread }) : t("new.jump");
  }

  /** To the newest message. */
  toEnd() {
    const room = this.app.house.room;
    if (!room) return;
    room.following = true;
    if (!room.atEnd) this.app.house.ask(room, "end");
    this.update();
    byId("input").focus();
  }

  /** Shows one message, which may have been said long ago. @param {import("./room.js").Room} room @param {number} number */
  jump(room, number) {
    room.sought = number;
    room.following = false;
    this.app.show(room);
    if (!room.holds(number)) {
      room.asked = "";
      this.app.house.ask(room, "around", number);
    }
    this.update();
  }
}
