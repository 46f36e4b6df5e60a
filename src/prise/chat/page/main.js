/**
 * The page: brings the connection, the model of the house (state.js) and what shows it together.
 */

import { Composer } from "./composer.js";
import { Connection } from "./connection.js";
import { Dialogs } from "./dialogs.js";
import { byId, drawIcons } from "./dom.js";
import { Drawers } from "./drawers.js";
import { Entry } from "./entry.js";
import { listenToKeys } from "./keys.js";
import { Log } from "./log.js";
import { announce, beep, notify, title } from "./notify.js";
import { Outbox } from "./outbox.js";
import { People } from "./people.js";
import { applyTheme, forget, keep, keepOutbox, kept, keptOutbox } from "./preferences.js";
import { Search } from "./search.js";
import { Sidebar } from "./sidebar.js";
import { House } from "./state.js";
import { Status } from "./status.js";
import { speak, t } from "./texts.js";
import { Uploads } from "./uploads.js";

const MOST_REPEATED = 3; // lines of a flood that screen readers are given in one second

class App {
  constructor() {
    applyTheme();
    drawIcons();
    speak(kept.language);
    const address = new URL("chat", location.href.replace(/[?#].*/, "").replace(/^http/, "ws"));
    this.connection = new Connection(address.href, {
      opened: () => this.hello(),
      received: (object) => this.received(object),
      changed: () => this.phase(),
    });
    this.house = new House((...change) => this.changed(...change), (object) => this.connection.send(object), new Outbox(keptOutbox()));
    this.house.marks = kept.read;
    for (const [room, partner] of Object.entries(kept.private)) this.house.open(room, partner);
    this.house.wanted = kept.active;
    this.given = { name: kept.name, passphrase: "", password: "" };
    this.beep = beep;
    this.drawers = new Drawers();
    this.dialogs = new Dialogs(this);
    this.sidebar = new Sidebar(this);
    this.people = new People(this);
    this.status = new Status(this);
    this.composer = new Composer(this);
    this.uploads = new Uploads(this);
    this.search = new Search(this);
    this.log = new Log(this);
    this.entry = new Entry((given) => this.enter(given));
    this.before = undefined; // the room that was shown
    this.roomsFrame = this.second = this.spoken = 0;
    listenToKeys(this);
    addEventListener("online", () => this.connection.retry());
    document.addEventListener("visibilitychange", () => this.attention());
    addEventListener("focus", () => this.attention());
    addEventListener("blur", () => this.attention());
    if (kept.name && kept.token) this.connection.start();
    else this.entry.show();
  }

  get online() {
    return this.house.inside;
  }

  // -- coming in ----------------------------------------------------------------------------------------------------------

  /** @param {{name: string, passphrase: string, password: string}} given */
  enter(given) {
    if (given.name !== kept.name) forget(); // somebody else
    this.given = given;
    if (!this.hello()) this.connection.phase.phase === "waiting" ? this.connection.retry() : this.connection.start();
  }

  /** @private Says who we are and what we have. @returns {boolean} */
  hello() {
    const rooms = [...this.house.rooms.values()].filter((room) => !room.partner);
    const since = Object.fromEntries(rooms.filter((room) => room.since !== undefined).map((room) => [room.name, room.since]));
    const names = rooms.length ? rooms.map((room) => room.name) : kept.rooms;
    const hello = { name: this.given.name, history: 50, language: document.documentElement.lang, since };
    if (names.length) hello.rooms = names;
    if (kept.token) hello.token = kept.token;
    if (this.given.passphrase) hello.passphrase = this.given.passphrase;
    if (this.given.password) hello.password = this.given.password;
    return this.connection.send({ hello });
  }

  /** @private @param {Record<string, any>} object */
  received(object) {
    if (object.denied) this.denied(object.denied);
    else if (object.goodbye) this.goodbye(object.goodbye);
    else this.house.receive(object);
  }

  /** @private */
  denied({ code, why }) {
    if (code === "banned" || code === "full") this.connection.stop();
    this.entry.deny(code, why);
  }

  /** @private */
  goodbye({ why, again }) {
    this.status.why = why ?? "";
    if (again) return; // the connection comes back by itself
    this.house.lost();
    this.connection.stop();
    this.entry.show(why || "");
  }

  /** Leaves for good. */
  quit() {
    byId("settings").close();
    this.house.do("/quit");
    forget();
    location.reload();
  }

  /** @private The connection is in another state. */
  phase() {
    const { phase } = this.connection.phase;
    if (phase !== "open") this.house.lost();
    if (this.entry.shown && phase === "waiting") this.entry.say(t("entry.unreachable"));
    if (!this.entry.shown) this.refresh();
  }

  /** @private We are in. */
  welcomed() {
    const { house } = this;
    this.connection.settle();
    keep({ name: house.me.name, token: house.me.token });
    this.given.name = house.me.name;
    if (this.entry.shown || byId("house").hidden) {
      this.entry.hide();
      byId("input").focus();
    }
    for (const entry of house.outbox.waiting) house.post(entry);
    for (const room of house.rooms.values()) if (room.partner) house.ask(room, "catch-up");
    this.refresh();
  }

  // -- what has changed ---------------------------------------------------------------------------------------------------

  /** @private @param {string} what @param {import("./room.js").Room | null} room @param {any} details */
  changed(what, room, details) {
    if (!this.log) return; // while the page is being made
    const shown = room !== null && room === this.house.room;
    if (what === "me") details.again ? this.refresh() : this.welcomed();
    else if (what === "show") this.arrived(room);
    else if (what === "rooms") this.rooms();
    else if (what === "log") this.logged(shown);
    else if (what === "people") shown && this.people.update();
    else if (what === "new") this.fresh(room, details);
    else if (what === "hands") this.hands(shown);
    else if (what === "found") this.search.show(details);
    else if (what === "directory") this.dialogs.directory(details);
    else if (what === "link") this.status.update();
    else if (what === "notice") this.notice(room, details);
    else if (what === "failed") announce(t("failed", { why: details.why }));
    else if (what === "announce") announce(t("announce", { name: details.author, text: details.text }));
    else if (what === "room" && (shown || !room || !this.house.room)) this.changedRoom();
  }

  /** @private */
  logged(shown) {
    keepOutbox(this.house.outbox.entries);
    if (shown) this.log.update();
    this.rooms();
  }

  /** @private The list of rooms, and the title; at most once in a frame. */
  rooms() {
    this.roomsFrame ||= requestAnimationFrame(() => {
      this.roomsFrame = 0;
      this.remember();
      this.sidebar.update();
    });
    this.title();
  }

  /** @private The room that is shown is another one, or not as it was. */
  changedRoom() {
    const { house } = this;
    if (!house.room) {
      const first = house.rooms.get(house.wanted) ?? [...house.rooms.values()].find((room) => !room.partner);
      if (first) return this.show(first);
    }
    if (house.room !== this.before) {
      this.composer.change(this.before, house.room);
      this.before = house.room;
    }
    this.refresh();
  }

  /** @private We have come into a room that we wanted to see. */
  arrived(room) {
    if (byId("join").open) byId("join").close();
    this.show(room, true);
  }

  /** @private Everything. */
  refresh() {
    this.status.update();
    this.sidebar.update();
    this.composer.update();
    this.people.update();
    this.dialogs.operator();
    this.log.update();
    this.title();
  }

  /** @private */
  hands(shown) {
    this.sidebar.update();
    if (shown) this.dialogs.operator();
  }

  /** @private Something was said just now. @param {import("./room.js").Room} room @param {import("./room.js").Message} message */
  fresh(room, message) {
    const { house } = this;
    if (message.by === house.me.id) return;
    const calls = house.callsMe(message);
    const seen = room === house.room && document.hasFocus() && !document.hidden;
    if (room === house.room || calls) this.speakOut(room, message, calls);
    if (!calls || seen) return;
    void beep();
    const where = message.to ? message.author : `${message.author} #${room.name}`;
    notify(where, message.text, room.name, () => this.show(room));
  }

  /** @private To screen readers; a flood only in part. */
  speakOut(room, message, calls) {
    const second = Math.floor(Date.now() / 1000);
    this.spoken = this.second === second ? this.spoken + 1 : 1;
    this.second = second;
    if (this.spoken > MOST_REPEATED && !calls) return;
    const where = room === this.house.room ? "" : ` (${message.to ? t("private.label", { name: message.author }) : `#${room.name}`})`;
    announce(`${message.author}${where}: ${message.text}`);
  }

  /** @private An answer of the house. */
  notice(room, text) {
    const wanted = this.house.wanted;
    if (byId("join").open) {
      byId("join-message").textContent = text;
      if (wanted && text.includes(`/join ${wanted} `)) this.dialogs.askPassword(wanted);
    } else if (wanted && text.includes(`/join ${wanted} `)) {
      this.dialogs.askPassword(wanted);
    }
    this.tell(text, room);
  }

  /** Tells something in the list of messages, which nobody else sees. @param {string} text */
  tell(text, room = this.house.room) {
    if (!room) return this.entry.shown ? this.entry.say(text) : announce(text);
    room.add("notice", text);
    announce(text);
    if (room === this.house.room) this.log.update();
  }

  // -- what the reader does -----------------------------------------------------------------------------------------------

  /** Shows a room. @param {import("./room.js").Room} room @param {boolean} write whether to go to the input */
  show(room, write = false) {
    const { house } = this;
    if (house.active !== room.name) {
      this.leaveSight();
      house.active = room.name;
      this.divide(room);
      if (!room.sought) room.following = room.atEnd;
      if (!room.items.length && room.last && !room.sought) house.ask(room, "end");
    }
    if (!room.joined && this.online && !room.partner) house.join(room.name);
    if (this.drawers.open) this.drawers.show("");
    this.changedRoom();
    if (write) byId("input").focus();
  }

  /** @param {import("./room.js").Room} room */
  leave(room) {
    if (room.partner || !room.joined) {
      this.house.forget(room);
      this.changedRoom();
    } else {
      this.command("/part", room);
    }
  }

  /** @param {import("./room.js").Room} room @param {string} text */
  say(room, text) {
    room.divider = 0;
    room.following = true;
    if (!room.atEnd) this.house.ask(room, "end");
    this.house.say(room, text);
  }

  /** @param {string} line @returns {boolean} whether it could be asked for */
  command(line, room = this.house.room) {
    return this.house.do(line, room);
  }

  /** @param {string} id */
  retry(id) {
    const entry = this.house.outbox.retry(id);
    if (entry) this.house.post(entry);
    this.logged(true);
    byId("input").focus();
  }

  /** @param {string} id */
  discard(id) {
    this.house.outbox.discard(id);
    this.logged(true);
    byId("input").focus();
  }

  /** Another language: the texts now, the house's own from its next word on. */
  setLanguage() {
    speak(kept.language);
    this.refresh();
    if (this.online) this.connection.restart();
  }

  // -- what was seen ------------------------------------------------------------------------------------------------------

  /** The end of the room that is shown is in sight. */
  seen() {
    const room = this.house.room;
    if (!room || document.hidden || !document.hasFocus() || this.entry.shown) return;
    if (room.markRead()) {
      this.house.marks[room.name] = room.read;
      this.rooms();
    }
  }

  /** @private The page came to the front, or went away from it. */
  attention() {
    const room = this.house.room;
    if (!room) return;
    if (document.hidden || !document.hasFocus()) this.divide(room);
    else if (room.following) this.seen();
    this.log.update();
  }

  /** @private From now on, what comes is new. @param {import("./room.js").Room} room */
  divide(room) {
    room.divider = room.read > 0 ? room.read : 0;
  }

  /** @private */
  leaveSight() {
    const room = this.house.room;
    if (room) room.divider = 0;
  }

  /** @private */
  title() {
    const { house } = this;
    const rooms = [...house.rooms.values()];
    const sum = (field) => rooms.reduce((total, room) => total + room[field], 0);
    const room = house.room;
    title(this.entry.shown || !room ? "" : room.partner || `#${room.name}`, house.name, sum("unread"), sum("mentions"));
  }

  /** @private For the next visit. */
  remember() {
    if (!this.online) return;
    const rooms = [...this.house.rooms.values()];
    keep({
      rooms: rooms.filter((room) => !room.partner && room.joined).map((room) => room.name),
      private: Object.fromEntries(rooms.filter((room) => room.partner && room.last).map((room) => [room.name, room.partner])),
      active: this.house.active,
      read: this.house.marks,
    });
  }
}

new App();
