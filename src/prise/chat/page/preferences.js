/**
 * What this browser remembers: who we are, where we were, how it shall look. A browser that stores nothing works too.
 */

const KEY = "prise.chat";
const OUTBOX = "prise.chat.outbox";

/** @typedef {{name: string, token: string, rooms: string[], private: Record<string, string>, active: string,
 *   read: Record<string, number>, theme: string, language: string, sound: boolean, presence: boolean, notify: boolean}} Kept
 *   private: rooms of private conversations and the names of the others */

/** @type {Kept} */
const USUAL = {
  name: "", token: "", rooms: [], private: {}, active: "", read: {},
  theme: "auto", language: "auto", sound: false, presence: true, notify: false,
};

/** @type {Kept} */
export const kept = { ...USUAL, ...read(localStorage, KEY) };

/** @param {Partial<Kept>} changes */
export function keep(changes) {
  Object.assign(kept, changes);
  write(localStorage, KEY, kept);
}

/** Forgets the person; how it looks stays. */
export function forget() {
  keep({ name: "", token: "", rooms: [], private: {}, active: "", read: {} });
  write(sessionStorage, OUTBOX, []);
}

/** @returns {import("./outbox.js").Entry[]} what had not been stored when the page was loaded again */
export function keptOutbox() {
  const entries = read(sessionStorage, OUTBOX);
  return Array.isArray(entries) ? entries : [];
}

/** @param {import("./outbox.js").Entry[]} entries */
export function keepOutbox(entries) {
  write(sessionStorage, OUTBOX, entries);
}

/** Shows the wanted colours; the style sheet does the rest. */
export function applyTheme() {
  const root = document.documentElement;
  if (kept.theme === "auto") delete root.dataset.theme;
  else root.dataset.theme = kept.theme;
}

/** @param {Storage} storage @param {string} key */
function read(storage, key) {
  try {
    return JSON.parse(storage.getItem(key) ?? "null");
  } catch {
    return null;
  }
}

/** @param {Storage} storage @param {string} key @param {any} value */
function write(storage, key, value) {
  try {
    storage.setItem(key, JSON.stringify(value));
  } catch {
    // full, or forbidden: it is then forgotten with the page
  }
}
