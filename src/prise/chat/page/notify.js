/**
 * Draws attention: the number of unread messages in the title, a notification, a short sound, a word to screen readers.
 */

import { byId, el } from "./dom.js";
import { kept } from "./preferences.js";

const MOST_ANNOUNCED = 5; // lines that are left for screen readers; older ones have been spoken

/** Says something to screen readers alone. @param {string} text */
export function announce(text) {
  const place = byId("announcer");
  place.append(el("p", { text }));
  while (place.children.length > MOST_ANNOUNCED) place.firstElementChild?.remove();
}

/** @param {string} name of the room @param {string} house @param {number} unread @param {number} mentions */
export function title(name, house, unread, mentions) {
  const count = mentions ? `(${mentions}) ` : unread ? `• ` : "";
  document.title = `${count}${name ? `${name} – ` : ""}${house}`;
}

/** @returns {"unsupported" | "denied" | "allowed" | "ask"} */
export function notifications() {
  if (!("Notification" in window) || !window.isSecureContext) return "unsupported";
  if (Notification.permission === "denied") return "denied";
  return Notification.permission === "granted" && kept.notify ? "allowed" : "ask";
}

/** @param {string} heading @param {string} text @param {string} about one notification for each @param {() => void} opened */
export function notify(heading, text, about, opened) {
  if (notifications() !== "allowed") return;
  try {
    const notification = new Notification(heading, { body: text, tag: about, icon: "page/icon.svg" });
    notification.onclick = () => {
      window.focus();
      notification.close();
      opened();
    };
  } catch {
    // some telephones want a service worker for it, which a page without an installation has not
  }
}

/** @type {AudioContext | null} */
let audio = null;

/** Two soft tones, a quarter of a second. */
export async function beep() {
  if (!kept.sound || !("AudioContext" in window)) return;
  audio ??= new AudioContext();
  await audio.resume();
  const now = audio.currentTime;
  for (const [at, pitch] of [[0, 660], [0.11, 880]]) {
    const tone = audio.createOscillator();
    const loudness = audio.createGain();
    tone.frequency.value = pitch;
    loudness.gain.setValueAtTime(0, now + at);
    loudness.gain.linearRampToValueAtTime(0.08, now + at + 0.01);
    loudness.gain.exponentialRampToValueAtTime(0.001, now + at + 0.14);
    tone.connect(loudness).connect(audio.destination);
    tone.start(now + at);
    tone.stop(now + at + 0.15);
  }
}
