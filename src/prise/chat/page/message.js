/**
 * Draws one row of the list of messages, whatever its kind (see layout.js).
 */

import { content } from "./content.js";
import { colourOf, el, icon, initialOf } from "./dom.js";
import { clock, day, moment, size, t } from "./texts.js";

const PICTURES = new Set(["image/png", "image/jpeg", "image/gif", "image/webp", "image/avif"]);

/**
 * @param {import("./layout.js").Row} row
 * @param {{me: {id: string, name: string}, calls: (message: any) => boolean, person: (name: string, near: HTMLElement) => void,
 *   retry: (id: string) => void, discard: (id: string) => void, online: boolean}} context
 * @returns {HTMLElement}
 */
export function draw(row, context) {
  const element = DRAWN[row.kind](row, context);
  element.dataset.key = row.key;
  return element;
}

const DRAWN = {
  day: (row) => el("li", { class: "day" }, el("span", { text: day(row.item.at) })),
  divider: () => el("li", { class: "divider" }, el("span", { text: t("divider") })),
  notice: (row) => el("li", { class: "notice", dir: "auto" }, ...content(row.item.text)),
  announce: (row) =>
    el("li", { class: "announce", dir: "auto" }, ...content(t("announce", { name: row.item.author, text: row.item.text }))),
  presence: (row) =>
    el("li", { class: "presence" }, el("span", { text: row.item.changes.map(presence).join(" · ") }), time(row.item.at)),
  message,
  outgoing,
};

/** @param {{what: string, name: string, more: string}} change */
function presence({ what, name, more }) {
  return t(what === "left" && more ? "presence.left.why" : `presence.${what}`, { name, more });
}

function message(row, context) {
  const said = row.item.message;
  const mentioned = context.calls(said);
  const mine = said.by === context.me.id;
  if (said.kind === "topic") {
    return el("li", { class: "presence" }, el("span", { dir: "auto", text: t("topic.set", { name: said.author, text: said.text }) }), time(said.at));
  }
  const classes = ["message", `kind-${said.kind}`, row.continued && "continued", mentioned && !said.to && "mentioned", mine && "mine"];
  const body =
    said.kind === "file" && said.file
      ? file(said.file)
      : el("p", { class: "text", dir: "auto" }, ...content(said.text, mine ? "" : context.me.name));
  if (said.kind === "me") body.prepend(author(said.author, context), " ");
  return el(
    "li",
    { class: classes.filter(Boolean).join(" ") },
    avatar(said.author, row.continued || said.kind === "me"),
    said.kind === "me" ? null : head(row, said.author, context),
    body,
    row.continued || said.kind === "me" ? time(said.at) : null,
    mentioned && !said.to && el("span", { class: "unseen", text: t("mention.you") }),
  );
}

function outgoing(row, context) {
  const entry = row.item;
  const failed = entry.state === "failed";
  const state = { sending: t(context.online ? "sending" : "sending.offline"), stored: t("sent"), failed: t("failed", { why: entry.why }) };
  return el(
    "li",
    { class: `message mine outgoing ${entry.state} ${row.continued ? "continued" : ""}` },
    avatar(context.me.name, row.continued),
    head(row, context.me.name, context),
    el("p", { class: "text", dir: "auto" }, ...content(entry.text)),
    el(
      "p",
      { class: "delivery" },
      el("span", { text: state[entry.state] }),
      failed && el("button", { type: "button", class: "small", text: t("failed.retry"), click: () => context.retry(entry.id) }),
      failed && el("button", { type: "button", class: "small", text: t("failed.discard"), click: () => context.discard(entry.id) }),
    ),
  );
}

/** The author's name, which who listens hears with each message, and who looks sees once. */
function head(row, name, context) {
  const at = row.item.at;
  return el("p", { class: row.continued ? "head unseen" : "head" }, author(name, context), row.continued ? null : time(at));
}

/** Reached by Tab in the list of people instead: three hundred stops here would be no help. */
function author(name, context) {
  const button = el("button", { type: "button", class: `author ${colourOf(name)}`, tabindex: "-1", dir: "auto", text: name });
  button.addEventListener("click", () => context.person(name, button));
  return button;
}

function avatar(name, hidden) {
  if (hidden) return el("span", { class: "avatar none", "aria-hidden": "true" });
  return el("span", { class: `avatar ${colourOf(name)}`, "aria-hidden": "true", text: initialOf(name) });
}

/** @param {number} at seconds */
export function time(at) {
  return el("time", { datetime: new Date(at * 1000).toISOString(), title: moment(at), text: clock(at) });
}

/** @param {{name: string, size: number, type: string, url: string}} given */
function file(given) {
  const url = own(given.url);
  const about = `${given.name} · ${size(given.size)}`;
  const link = el(
    "a",
    { class: "file", href: url, download: given.name, "aria-label": t("file.label", { name: given.name, size: size(given.size) }) },
    icon("file"),
    el("bdi", { text: about }),
  );
  if (!url || !PICTURES.has(given.type)) return el("div", { class: "attachment" }, link);
  const picture = el("img", { src: url, alt: t("picture", { name: given.name }), loading: "lazy", decoding: "async" });
  picture.addEventListener("error", () => picture.parentElement?.remove());
  return el("div", { class: "attachment" }, el("a", { class: "picture", href: url, target: "_blank", rel: "noopener noreferrer" }, picture), link);
}

/** Files come from this house alone. @param {string} url @returns {string | null} */
function own(url) {
  try {
    const found = new URL(url, location.href);
    return found.origin === location.origin ? found.href : null;
  } catch {
    return null;
  }
}
