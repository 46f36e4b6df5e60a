/**
 * What was seen and what was not: marks it read, shows where the new begins, counts it in the title, and calls the reader who is
 * looking elsewhere.
 */

import { announce, beep, notify, title } from "./notify.js";
import { keep } from "./preferences.js";
import { t } from "./texts.js";

const MOST_SPOKEN = 3; // lines of a flood that screen readers are given in one second

export class Reading {
  /** @param {any} app see main.js */
  constructor(app) {
    this.app = app;
    this.second = this.spoken = 0;
    document.addEventListener("visibilitychange", () => this.attention());
    addEventListener("focus", () => this.attention());
    addEventListener("blur", () => this.attention());
  }

  /** Whether somebody is looking. */
  get looking() {
    return document.hasFocus() && !document.hidden && !this.app.entry.shown;
  }

  /** The end of the room that is shown is in sight. */
  seen() {
    const room = this.app.house.room;
    if (!room || !this.looking || !room.markRead()) return;
    this.app.house.marks[room.name] = room.read;
    this.app.rooms();
  }

  /** @private The page came to the front, or went away from it. */
  attention() {
    const room = this.app.house.room;
    if (!room) return;
    if (!this.looking) this.divide(room);
    else if (!room.unread) room.divider = -1;
    else if (room.following) this.seen();
    this.app.log.update();
  }

  /** From now on, what comes is new. @param {import("./room.js").Room} room */
  divide(room) {
    room.divider = room.read;
  }

  /** Another room will be shown: what was new in this one has been seen. */
  leave() {
    const room = this.app.house.room;
    if (room) room.divider = -1;
  }

  /** Something was said just now. @param {import("./room.js").Room} room @param {import("./room.js").Message} message */
  fresh(room, message) {
    const { house } = this.app;
    if (message.by === house.me.id) return;
    const calls = house.callsMe(message);
    if (room === house.room || calls) this.speak(room, message, calls);
    if (!calls || (room === house.room && this.looking)) return;
    void beep();
    const where = message.to ? message.author : `${message.author} #${room.name}`;
    notify(where, message.text, room.name, () => this.app.show(room));
  }

  /** @private To screen readers; a flood only in part. */
  speak(room, message, calls) {
    const second = Math.floor(Date.now() / 1000);
    this.spoken = this.second === second ? this.spoken + 1 : 1;
    this.second = second;
    if (this.spoken > MOST_SPOKEN && !calls) return;
    const where = message.to ? t("private.label", { name: message.author }) : `#${room.name}`;
    announce(`${message.author}${room === this.app.house.room ? "" : ` (${where})`}: ${message.text}`);
  }

  /** What is unread, in the title of the page. */
  title() {
    const { house, entry } = this.app;
    const rooms = [...house.rooms.values()];
    const sum = (field) => rooms.reduce((total, room) => total + room[field], 0);
    const room = house.room;
    title(entry.shown || !room ? "" : room.partner || `#${room.name}`, house.name, sum("unread"), sum("mentions"));
  }

  /** For the next visit. */
  remember() {
    const { house } = this.app;
    if (!house.inside) return;
    const rooms = [...house.rooms.values()];
    keep({
      rooms: rooms.filter((room) => !room.partner && room.joined).map((room) => room.name),
      private: Object.fromEntries(rooms.filter((room) => room.partner && room.last).map((room) => [room.name, room.partner])),
      active: house.active,
      read: house.marks,
    });
  }
}
