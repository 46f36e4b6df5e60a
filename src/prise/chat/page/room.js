/**
 * One room, as this page knows it: its people, and a window on its messages. Pure data: no page, no network.
 *
 * The window (`items`) is always one piece of the conversation without a gap. It grows at either end as older or newer
 * messages are asked for, and what is far away is dropped again; `atEnd` tells whether it reaches the newest message, and
 * only then are new ones added to it. A private conversation is a room too; its `partner` is set.
 */

export const MOST_ITEMS = 300; // kept in the window
export const PAGE = 50; // messages asked for at once

/**
 * @typedef {{room: string, number: number, at: number, author: string, by: string, kind: string, text: string,
 *   mentions?: string[], file?: {name: string, size: number, type: string, url: string}, to?: string}} Message
 * @typedef {{name: string, id: string, operator: boolean, away: string}} Person
 * @typedef {{key: string, kind: "message", at: number, number: number, message: Message}
 *   | {key: string, kind: "presence", at: number, number: number, changes: {what: string, name: string, more: string}[]}
 *   | {key: string, kind: "notice" | "announce", at: number, number: number, text: string, author: string}} Item
 *   number: of the message, or of the message that it came after
 */

let keys = 0;

export class Room {
  /** @param {string} name @param {string} partner of a private conversation, the other's name */
  constructor(name, partner = "") {
    this.name = name;
    this.partner = partner;
    this.topic = "";
    /** @type {Map<string, Person>} by id */
    this.people = new Map();
    this.others = 0; // people whom the house has not named
    this.locked = this.muted = false;
    this.slow = 0;
    this.owner = "";
    this.joined = Boolean(partner);
    this.last = 0; // number of its newest message
    this.replayed = 0; // up to this number it was brought as we came in: not said just now
    this.read = -1; // number up to which it was seen; -1: nobody has looked yet
    this.unread = this.mentions = 0;
    this.divider = -1; // what is behind this number is shown as new; -1: nothing is
    /** @type {Item[]} */
    this.items = [];
    this.more = true; // there may be older ones
    this.atEnd = true;
    this.asked = ""; // which history is on its way: "", "older", "newer", "around", "end", "catch-up"
    this.sought = 0; // the message to be shown once it is there
    this.following = true; // the reader is at the end of the window
    /** @type {{name: string, about: string}[]} */
    this.hands = [];
    this.draft = "";
  }

  /** What `hello` says as `since`: the newest number that we have, or undefined. */
  get since() {
    return this.newest ? this.last : undefined;
  }

  /** The numbers at both ends of the window; 0: it is empty. */
  get first() {
    return this.items.find((item) => item.kind === "message")?.number ?? 0;
  }

  get newest() {
    return this.items.findLast((item) => item.kind === "message")?.number ?? 0;
  }

  /** A message that was said now, or is brought after an absence. @param {Message} message @returns {boolean} false: we have it */
  accept(message) {
    if (message.number <= this.last && (this.holds(message.number) || !this.fits(message.number))) return false;
    this.last = Math.max(this.last, message.number);
    if (this.atEnd) {
      this.place(itemOf(message));
      this.trim();
    }
    return true;
  }

  /** @param {number} number */
  holds(number) {
    return this.items.some((item) => item.kind === "message" && item.number === number);
  }

  /** Whether a message of that number belongs into the window. @private @param {number} number */
  fits(number) {
    return this.atEnd && (!this.first || number > this.first);
  }

  /** Something that only this page shows, after the newest message. */
  add(kind, text, author = "", at = Date.now() / 1000) {
    if (!this.atEnd) return;
    this.items.push({ key: `${kind}-${++keys}`, kind, at, number: this.newest, text, author });
    this.trim();
  }

  /** Somebody came, went or is called otherwise; several in a row are one item. */
  addPresence(what, name, more = "", at = Date.now() / 1000) {
    if (!this.atEnd) return;
    const end = this.items.at(-1);
    if (end?.kind === "presence") {
      const changes = [...end.changes, { what, name, more }].slice(-20);
      this.items[this.items.length - 1] = { ...end, at, changes, key: `presence-${++keys}` };
    } else {
      this.items.push({ key: `presence-${++keys}`, kind: "presence", at, number: this.newest, changes: [{ what, name, more }] });
      this.trim();
    }
  }

  /** Takes the answer to `history`. @param {Message[]} messages @param {boolean} more */
  extend(messages, more) {
    const asked = this.asked;
    this.asked = "";
    const newest = messages.at(-1)?.number ?? 0;
    const knew = this.last;
    this.last = Math.max(this.last, newest);
    if (asked === "older") {
      for (const message of messages) this.place(itemOf(message));
      this.more = more;
      if (this.items.length > MOST_ITEMS) {
        this.items.length = MOST_ITEMS;
        this.atEnd = false;
      }
    } else if (asked === "newer") {
      for (const message of messages) this.place(itemOf(message));
      this.atEnd = !messages.length || this.newest >= this.last;
      this.cut();
    } else if (asked === "catch-up" && this.items.length && (messages[0]?.number ?? 0) <= knew + 1) {
      if (this.atEnd) for (const message of messages) this.place(itemOf(message));
      this.cut();
    } else {
      this.items = messages.map(itemOf);
      this.more = more;
      this.atEnd = this.newest >= this.last;
    }
  }

  /** The house has forgotten what we knew, or left something out: begins anew. */
  clear() {
    this.items = [];
    this.more = this.atEnd = true;
    this.asked = "";
  }

  /** Everything up to now is seen. */
  markRead() {
    const changed = this.read !== this.last || this.unread > 0;
    this.read = this.last;
    this.unread = this.mentions = 0;
    return changed;
  }

  /** Puts a message where its number belongs. @private @param {Item} item */
  place(item) {
    let index = this.items.length;
    while (index > 0 && this.items[index - 1].number > item.number) index -= 1;
    for (let before = index - 1; before >= 0 && this.items[before].number === item.number; before -= 1) {
      if (this.items[before].kind === "message") return; // it is here already
    }
    this.items.splice(index, 0, item);
  }

  /** New items have come: keeps the window bounded, without taking away what is being read. @private */
  trim() {
    if (this.items.length <= MOST_ITEMS) return;
    if (this.following) {
      this.cut();
    } else if (this.items.length > MOST_ITEMS * 2) {
      this.items.length = MOST_ITEMS;
      this.atEnd = false;
    }
  }

  /** @private Drops the oldest. */
  cut() {
    if (this.items.length > MOST_ITEMS) {
      this.items.splice(0, this.items.length - MOST_ITEMS);
      this.more = true;
    }
  }
}

/** @param {Message} message @returns {Item} */
function itemOf(message) {
  return { key: `message-${message.number}`, kind: "message", at: message.at, number: message.number, message };
}
