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
import { announce, beep } from "./notify.js";
import { Outbox } from "./outbox.js";
import { People } from "./people.js";
import { applyTheme, forget, keep, keepOutbox, kept, keptOutbox } from "./preferences.js";
import { Reading } from "./reading.js";
import { Search } from "./search.js";
import { Sidebar } from "./sidebar.js";
import { House } from "./state.js";
import { Status } from "./status.js";
import { speak, t } from "./texts.js";
import { Uploads } from "./uploads.js";

class App {
  constructor() {
    applyTheme();
    drawIcons();
    speak(kept.language);
    const address = new URL("chat", location.href.replace(/[?#].*/, "").replace(/^http/, "ws"));
    this.connection = new Connection(address.href, {
      opened: () => this.asking || this.hello(),
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
    this.reading = new Reading(this);
    this.log = new Log(this);
    this.entry = new Entry((given) => this.enter(given));
    this.before = undefined; // the room that was shown
    this.roomsFrame = 0;
    this.asking = false; // the house wants to know more before it lets us in
    listenToKeys(this);
    addEventListener("online", () => this.connection.retry());
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
    this.asking = false;
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
    this.asking = true;
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
    if (this.asking && phase === "waiting") return this.connection.stop(); // the next try is the reader's
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
    else if (what === "new") this.reading.fresh(room, details);
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
      this.reading.remember();
      this.sidebar.update();
    });
    this.reading.title();
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
    this.reading.title();
  }

  /** @private */
  hands(shown) {
    this.sidebar.update();
    if (shown) this.dialogs.operator();
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
      this.reading.leave();
      house.active = room.name;
      if (room.unread) this.reading.divide(room);
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
    room.divider = -1;
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
}

new App();
