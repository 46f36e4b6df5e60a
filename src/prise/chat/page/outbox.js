/**
 * What this page says, from the moment it is typed until the house has stored it. Pure data.
 *
 * Each message has an id of its own. After a lost connection everything that is not settled is sent again with the same id,
 * and the house says it only once. An entry goes away when its message is shown; one that failed stays, to be tried again.
 *
 * @typedef {{id: string, room: string, text: string, at: number, state: "sending" | "stored" | "failed", number: number,
 *   why: string, twin?: number}} Entry  twin: the message that very likely is this one; until that is certain it stays, unseen
 */

export class Outbox {
  /** @param {Entry[]} entries those of before the page was loaded again */
  constructor(entries = []) {
    /** @type {Entry[]} */
    this.entries = entries;
  }

  /** @param {string} room @param {string} text @returns {Entry} */
  add(room, text) {
    /** @type {Entry} */
    const entry = { id: newId(), room, text, at: Date.now() / 1000, state: "sending", number: 0, why: "" };
    this.entries.push(entry);
    return entry;
  }

  /** Those to be shown behind the messages of a room. @param {string} room */
  of(room) {
    return this.entries.filter((entry) => entry.room === room && !entry.twin);
  }

  /** A message of ours has come, perhaps before the word that it is stored. @param {string} room @param {string} text @param {number} number */
  meet(room, text, number) {
    const entry = this.entries.find((each) => each.room === room && each.state === "sending" && !each.twin && each.text.trim() === text.trim());
    if (entry) entry.twin = number;
  }

  /** The connection is lost: nothing is likely any more. */
  lost() {
    for (const entry of this.entries) delete entry.twin;
  }

  /** Those to send again, in order. */
  get waiting() {
    return this.entries.filter((entry) => entry.state === "sending");
  }

  /**
   * The house has stored it as this number of this room.
   * @param {string} id @param {string} room @param {number} number @param {(room: string, number: number) => boolean} shown
   */
  settle(id, room, number, shown) {
    const entry = this.find(id);
    if (!entry) return;
    if (shown(room, number)) this.discard(id);
    else Object.assign(entry, { state: "stored", room, number, why: "" });
  }

  /** A message is shown: ours with that number needs no place here any more. @param {string} room @param {number} number */
  shown(room, number) {
    this.entries = this.entries.filter((entry) => entry.state !== "stored" || entry.room !== room || entry.number > number);
  }

  /** @param {string} id @param {string} why */
  fail(id, why) {
    const entry = this.find(id);
    if (entry) Object.assign(entry, { state: "failed", why, twin: undefined });
  }

  /** @param {string} id @returns {Entry | undefined} */
  retry(id) {
    const entry = this.find(id);
    if (entry) Object.assign(entry, { state: "sending", why: "", at: Date.now() / 1000 });
    return entry;
  }

  /** @param {string} id */
  discard(id) {
    this.entries = this.entries.filter((entry) => entry.id !== id);
  }

  /** @param {string} id @returns {Entry | undefined} */
  find(id) {
    return this.entries.find((entry) => entry.id === id);
  }
}

/** @returns {string} `crypto.randomUUID` is only there in secure contexts, and http://192.168.0.2 is none. */
function newId() {
  return [...crypto.getRandomValues(new Uint8Array(12))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}
