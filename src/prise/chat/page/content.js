/**
 * A message's text as nodes: addresses of the web become links, the reader's own name is marked. The rest stays text.
 */

import { el } from "./dom.js";

const ADDRESS = /https?:\/\/[^\s<>"«»“”]+/gi;

/**
 * @param {string} text @param {string} me the reader's name
 * @param {string[]} words to be marked, of a search
 * @returns {Node[]}
 */
export function content(text, me = "", words = []) {
  /** @type {Node[]} */
  const nodes = [];
  let at = 0;
  for (const match of text.matchAll(ADDRESS)) {
    const address = trimmed(match[0]);
    const url = safe(address);
    if (!url) continue;
    nodes.push(...marked(text.slice(at, match.index), me, words));
    nodes.push(el("a", { href: url, target: "_blank", rel: "noopener noreferrer", text: address }));
    at = match.index + address.length;
  }
  nodes.push(...marked(text.slice(at), me, words));
  return nodes;
}

/** @param {string} address @returns {string} without the full stop, or the bracket, that belongs to the sentence */
function trimmed(address) {
  let result = address.replace(/[.,;:!?'’…]+$/, "");
  while (/[)\]]$/.test(result) && count(result, /[)\]]/g) > count(result, /[([]/g)) result = result.slice(0, -1);
  return result;
}

/** @param {string} text @param {RegExp} pattern */
function count(text, pattern) {
  return (text.match(pattern) ?? []).length;
}

/** @param {string} address @returns {string} the address, if it is one of the web; "" if it is not one at all */
function safe(address) {
  try {
    const url = new URL(address);
    return url.protocol === "http:" || url.protocol === "https:" ? url.href : "";
  } catch {
    return "";
  }
}

/** @param {string} text @param {string} me @param {string[]} words @returns {Node[]} */
function marked(text, me, words) {
  const wanted = [...(me ? [me] : []), ...words].map((word) => word.replace(/[.*+?^${}()|[\]\\]/g, "\\$&"));
  if (!text || !wanted.length) return text ? [document.createTextNode(text)] : [];
  // The name only as a whole word; what was searched for also at the beginning of one.
  const end = words.length ? "" : "(?![\\p{L}\\p{N}_])";
  const pattern = new RegExp(`(?<![\\p{L}\\p{N}_])(?:${wanted.join("|")})${end}`, "giu");
  /** @type {Node[]} */
  const nodes = [];
  let at = 0;
  for (const match of text.matchAll(pattern)) {
    if (match.index > at) nodes.push(document.createTextNode(text.slice(at, match.index)));
    nodes.push(el("mark", { text: match[0] }));
    at = match.index + match[0].length;
  }
  if (at < text.length) nodes.push(document.createTextNode(text.slice(at)));
  return nodes;
}
