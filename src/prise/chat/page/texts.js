/**
 * What the page says, in the reader's language. `t("key", {name: "x"})` fills `{name}`; a text with plural forms takes `count`.
 */

import { english } from "./en.js";
import { french } from "./fr.js";

/** @type {Record<string, Record<string, string | Record<string, string>>>} */
const LANGUAGES = { en: english, fr: french };

let language = "en";
let locale = "en"; // with the country, for dates and numbers
let plural = new Intl.PluralRules(language);

/** @returns {string} "en" or "fr" */
export function currentLanguage() {
  return language;
}

/** @param {string} wanted "auto": the browser's, if we have it */
export function speak(wanted) {
  const wishes = wanted === "auto" ? navigator.languages : [navigator.languages.find((each) => each.startsWith(wanted)) ?? wanted];
  locale = wishes.find((each) => each.slice(0, 2).toLowerCase() in LANGUAGES) ?? "en";
  language = locale.slice(0, 2).toLowerCase();
  plural = new Intl.PluralRules(language);
  document.documentElement.lang = language;
  for (const element of document.querySelectorAll("[data-text]")) element.textContent = t(element.dataset.text);
  for (const element of document.querySelectorAll("[data-label]")) label(element, t(element.dataset.label));
}

/** Names an element for those who do not see its drawing, and in a tooltip for those who do. @param {HTMLElement} element @param {string} text */
export function label(element, text) {
  element.setAttribute("aria-label", text);
  if (element.tagName === "BUTTON") element.title = text;
}

/** @param {string} key @param {Record<string, any>} values @returns {string} */
export function t(key, values = {}) {
  let text = LANGUAGES[language][key] ?? english[key] ?? key;
  if (typeof text === "object") text = text[plural.select(values.count ?? 0)] ?? text.other;
  return text.replace(/\{(\w+)\}/g, (whole, name) => {
    const value = values[name];
    return value === undefined ? whole : typeof value === "number" ? value.toLocaleString(locale) : String(value);
  });
}

/** @param {number} at seconds @returns {string} 14:02 */
export function clock(at) {
  return new Date(at * 1000).toLocaleTimeString(locale, { hour: "2-digit", minute: "2-digit" });
}

/** @param {number} at seconds @returns {string} today, yesterday, or the date */
export function day(at) {
  const then = new Date(at * 1000);
  const today = new Date();
  const yesterday = new Date(today.getFullYear(), today.getMonth(), today.getDate() - 1);
  if (then.toDateString() === today.toDateString()) return t("day.today");
  if (then.toDateString() === yesterday.toDateString()) return t("day.yesterday");
  const year = then.getFullYear() === today.getFullYear() ? undefined : "numeric";
  return then.toLocaleDateString(locale, { weekday: "long", day: "numeric", month: "long", year });
}

/** @param {number} at seconds @returns {string} date and time */
export function moment(at) {
  return new Date(at * 1000).toLocaleString(locale, { dateStyle: "medium", timeStyle: "short" });
}

/** @param {number} bytes @returns {string} for people */
export function size(bytes) {
  let value = bytes;
  let unit = 0;
  for (; value >= 1000 && unit < 3; unit += 1) value /= 1000;
  const number = value.toLocaleString(locale, { maximumFractionDigits: value < 10 && unit ? 1 : 0 });
  return `${number}\u00a0${t(["size.b", "size.kb", "size.mb", "size.gb"][unit])}`;
}
