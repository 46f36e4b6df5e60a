/**
 * The house, as this page knows it: what its objects (docs/chat-protocol.md) change. Pure data; whoever shows it is told of
 * each change by name: me, rooms, room, log, people, new, hands, found, directory, link, notice, announce.
 */

import { Outbox } from "./outbox.js";
import { PAGE, Room } from "./room.js";

export class House {
  /**
   * @param {(change: string, room: Room | null, details?: any) => void} changed
   * @param {(object: object) => boolean} send
   * @param {Outbox} outbox
   */
  constructor(changed, send, outbox = new Outbox()) {
    this.changed = changed;
    this.send = send;
    this.outbox = outbox;
    this.me = { name: "", id: "", token: "", registered: false, operator: false };
    this.name = "prise";
    this.uploads = { allowed: false, most: 0 };
    this.longest = 4096;
    /** @type {{name: string, arguments: string, help: string, operator: boolean, owner: boolean}[]} */
    this.commands = [];
    /** @type {Map<string, Room>} */
    this.rooms = new Map();
    this.active = "";
    this.link = { up: true, why: "" };
    /** @type {Record<string, number>} how far each room was read on earlier visits */
    this.marks = {};
    this.wanted = ""; // the room that is shown as soon as we are in it
    this.inside = false; // the house has let us in
  }

  /** @returns {Room | undefined} the one that is shown */
  get room() {
    return this.rooms.get(this.active);
  }

  /** @param {string} name */
  can(name) {
    return this.commands.some((command) => command.name === name);
  }

  /** The commands that this person may ask for in the room that is shown. */
  get usable() {
    const mine = this.me.operator || this.room?.owner === this.me.id;
    return this.commands.filter((command) => !command.operator || this.me.operator || (command.owner && mine));
  }

  // -- what the house says ----------------------------------------------------------------------------------------------

  /** @param {Record<string, any>} object */
  receive(object) {
    for (const [kind, given] of Object.entries(object)) {
      if (given && Object.hasOwn(HEARD, kind)) HEARD[kind](this, given);
    }
  }

  /** Where a name of a room leads; made when it is new. @param {string} name @param {string} partner @returns {Room} */
  open(name, partner = "") {
    let room = this.rooms.get(name);
    if (!room) {
      const sketch = partner ? this.rooms.get(`@${partner}`) : undefined;
      room = new Room(name, partner);
      room.read = this.marks[name] ?? -1;
      if (sketch) this.replace(sketch, room);
      this.rooms.set(name, room);
      this.changed("rooms", null);
      if (sketch && this.active === name) this.changed("room", room);
    }
    return room;
  }

  /** A conversation that nobody had written in has got its real name. @private @param {Room} sketch @param {Room} room */
  replace(sketch, room) {
    this.rooms.delete(sketch.name);
    if (this.active === sketch.name) this.active = room.name;
    room.draft = sketch.draft;
    for (const entry of this.outbox.entries) if (entry.room === sketch.name) entry.room = room.name;
  }

  /** @param {import("./room.js").Message} message @returns {boolean} whether it calls this person */
  callsMe(message) {
    if (message.by === this.me.id || message.kind === "topic") return false;
    return Boolean(message.to) || (message.mentions ?? []).includes(this.me.name) || names(message.text, this.me.name);
  }

  /** @param {import("./room.js").Message} message @param {boolean} live said just now */
  take(message, live) {
    const named = message.to && (message.by === this.me.id ? message.to : message.author);
    const partner = named && (this.nowCalled(message.room) || named);
    const room = this.open(message.room, partner || "");
    if (partner) room.partner = partner;
    if (!room.accept(message)) return;
    if (message.by === this.me.id) this.outbox.meet(room.name, message.text, message.number);
    this.outbox.shown(room.name, message.number);
    if (room.read >= 0 || partner) {
      if (message.by !== this.me.id && message.number > room.read) {
        room.unread += 1;
        if (this.callsMe(message)) room.mentions += 1;
      }
    }
    this.changed("log", room);
    if (live) this.changed("new", room, message);
  }

  /**
   * The other one of a private conversation, if they are in a room of ours: a message has the name of when it was said.
   * @private @param {string} name of the conversation, "@ID,ID" @returns {string}
   */
  nowCalled(name) {
    const ids = name.slice(1).split(",");
    const other = ids.find((id) => id !== this.me.id) ?? this.me.id;
    for (const room of this.rooms.values()) {
      const person = room.people.get(other);
      if (person) return person.name;
    }
    return "";
  }

  // -- what is said to the house ----------------------------------------------------------------------------------------

  /** Says a text, now or as soon as the house is there. @param {Room} room @param {string} text */
  say(room, text) {
    const entry = this.outbox.add(room.name, text);
    this.post(entry);
    this.changed("log", room);
  }

  /** @param {import("./outbox.js").Entry} entry */
  post(entry) {
    const partner = this.rooms.get(entry.room)?.partner;
    const room = partner ? `@${partner}` : entry.room;
    if (this.inside) this.send({ say: { room, text: entry.text, id: entry.id } });
  }

  /** @param {string} command @param {Room | undefined} room @returns {boolean} */
  do(command, room = this.room) {
    return this.inside && this.send({ do: { command, ...(room && !room.partner ? { room: room.name } : {}) } });
  }

  /** @param {Room} room @param {"older" | "newer" | "around" | "end" | "catch-up"} which @param {number} number */
  ask(room, which, number = 0) {
    if (!this.inside || room.asked || room.name === `@${room.partner}`) return;
    const before = {
      older: room.first || undefined,
      newer: room.newest + 1 + PAGE,
      around: number + PAGE / 2,
      end: undefined,
      "catch-up": undefined,
    }[which];
    if (this.send({ history: { room: room.name, count: PAGE, ...(before ? { before } : {}) } })) room.asked = which;
  }

  /** The connection is gone: no answer will come. */
  lost() {
    this.inside = false;
    this.outbox.lost();
    for (const room of this.rooms.values()) room.asked = "";
  }

  /** @param {string} name @param {string} password */
  join(name, password = "") {
    this.wanted = name.replace(/^#/, "");
    return this.do(`/join ${name} ${password}`.trim());
  }

  /** Opens a private conversation. @param {string} name @returns {Room} */
  writeTo(name) {
    for (const room of this.rooms.values()) if (room.partner === name) return room;
    return this.open(`@${name}`, name);
  }

  /** Takes a room out of the list. @param {Room} room */
  forget(room) {
    this.rooms.delete(room.name);
    if (this.active === room.name) {
      this.active = this.rooms.keys().next().value ?? "";
      this.changed("room", this.room ?? null);
    }
    this.changed("rooms", null);
  }
}

/** @param {string} text @param {string} name @returns {boolean} whether the name stands in it as a word */
export function names(text, name) {
  if (!name) return false;
  const escaped = name.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
  return new RegExp(`(?<![\\p{L}\\p{N}_])${escaped}(?![\\p{L}\\p{N}_])`, "iu").test(text);
}

/** Each kind of object that the house sends. @type {Record<string, (house: House, given: any) => void>} */
const HEARD = {
  welcome(house, given) {
    const again = house.inside; // we have become operator
    house.me = { name: given.name, id: given.id, token: given.token, registered: given.registered, operator: given.operator };
    house.name = given.house || "prise";
    house.uploads = given.uploads ?? house.uploads;
    house.longest = given.longest || house.longest;
    house.commands = given.commands ?? [];
    house.inside = true;
    if (!again) {
      house.link = { up: true, why: "" };
      for (const room of house.rooms.values()) room.joined = Boolean(room.partner);
    }
    house.changed("me", null, { again });
  },
  room(house, given) {
    const room = house.open(given.room);
    const arrived = !room.joined;
    room.joined = true;
    for (const field of ["topic", "locked", "muted", "slow", "owner"]) room[field] = given[field];
    room.people = new Map((given.people ?? []).map((person) => [person.id || person.name, person]));
    room.others = given.others ?? 0;
    if (arrived && given.last < room.last) room.clear(); // another store: these are other messages
    if (arrived && (room.read < 0 || given.last < room.last)) room.read = given.last;
    if (arrived) room.last = Math.min(room.last || given.last, given.last);
    room.replayed = arrived ? given.last : room.replayed;
    if (arrived && house.wanted && house.wanted.toLowerCase() === room.name.toLowerCase()) {
      house.wanted = "";
      house.changed("show", room);
    }
    house.changed("rooms", null);
    house.changed("room", room);
    house.changed("people", room);
  },
  message(house, given) {
    const room = house.rooms.get(given.room);
    house.take(given, Boolean(given.to) || (room?.joined === true && given.number > room.replayed));
  },
  missed(house, given) {
    const room = house.open(given.room);
    room.clear();
    room.unread += given.last - given.first + 1;
    house.changed("log", room);
  },
  settled(house, given) {
    const before = house.outbox.find(given.id)?.room;
    const sketch = before && before !== given.room ? house.rooms.get(before) : undefined;
    const room = sketch?.partner ? house.open(given.room, sketch.partner) : house.open(given.room);
    house.outbox.settle(given.id, given.room, given.number, (_name, number) => number <= room.last);
    house.changed("log", room);
  },
  failed(house, given) {
    house.outbox.fail(given.id, given.why);
    const room = house.rooms.get(house.outbox.find(given.id)?.room ?? "");
    if (room) house.changed("log", room);
    house.changed("failed", room ?? null, given);
  },
  joined(house, given) {
    const room = house.open(given.room);
    const new_ = !room.people.has(given.id || given.name);
    if (new_) room.people.set(given.id || given.name, { name: given.name, id: given.id, operator: false, away: "" });
    if (given.id !== house.me.id) room.addPresence("joined", given.name, "", given.at);
    house.changed("people", room);
    house.changed("log", room);
  },
  left(house, given) {
    const room = house.rooms.get(given.room);
    if (!room) return;
    if (given.id && given.id === house.me.id) {
      HEARD.parted(house, given);
      return;
    }
    if (!room.people.delete(given.id || given.name)) room.others = Math.max(0, room.others - 1);
    room.addPresence("left", given.name, given.why, given.at);
    house.changed("people", room);
    house.changed("log", room);
  },
  renamed(house, given) {
    if (given.id === house.me.id) {
      house.me.name = given.new;
      house.changed("me", null, { again: true });
    }
    for (const room of house.rooms.values()) {
      if (room.partner === given.name) {
        room.partner = given.new;
        house.changed("rooms", null);
      }
      const person = room.people.get(given.id || given.name);
      if (!person) continue;
      person.name = given.new;
      room.addPresence("renamed", given.name, given.new, given.at);
      house.changed("people", room);
      house.changed("log", room);
    }
  },
  away(house, given) {
    for (const room of house.rooms.values()) {
      const person = room.people.get(given.id || given.name);
      if (person) {
        person.away = given.text;
        house.changed("people", room);
      }
    }
  },
  parted(house, given) {
    const room = house.rooms.get(given.room);
    if (!room) return;
    house.forget(room);
    if (given.why) house.changed("notice", house.room ?? null, given.why);
  },
  announce(house, given) {
    for (const room of house.rooms.values()) {
      room.add("announce", given.text, given.author, given.at);
      house.changed("log", room);
    }
    house.changed("announce", house.room ?? null, given);
  },
  notice(house, given) {
    house.changed("notice", house.rooms.get(given.room) ?? house.room ?? null, given.text);
  },
  hands(house, given) {
    const room = house.open(given.room);
    room.hands = given.hands ?? [];
    house.changed("hands", room);
  },
  history(house, given) {
    const room = house.rooms.get(given.room);
    if (!room) return;
    const caughtUp = room.asked === "catch-up";
    const messages = given.messages ?? [];
    if (caughtUp) {
      const fresh = messages.filter((message) => message.number > Math.max(room.read, room.last) && message.by !== house.me.id);
      if (room.read >= 0 || room.partner) room.unread += fresh.length;
      if (room.partner) room.mentions += fresh.length;
    }
    room.extend(messages, Boolean(given.more));
    house.outbox.shown(room.name, room.last);
    house.changed("log", room);
    house.changed("rooms", null);
  },
  found(house, given) {
    house.changed("found", null, given);
  },
  rooms(house, given) {
    house.changed("directory", null, given.rooms ?? []);
  },
  link(house, given) {
    house.link = { up: Boolean(given.up), why: given.why ?? "" };
    house.changed("link", null);
  },
  error(house, given) {
    house.changed("notice", house.room ?? null, given.why);
  },
};
