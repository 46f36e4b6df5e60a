/**
 * The panel that finds messages; each result leads to its place in the conversation.
 */

import { content } from "./content.js";
import { byId, colourOf, el } from "./dom.js";
import { moment, t } from "./texts.js";

const MOST = 100; // results that the house gives

export class Search {
  /** @param {any} app see main.js */
  constructor(app) {
    this.app = app;
    this.asked = "";
    byId("search-open").addEventListener("click", () => this.open());
    byId("search-form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.ask();
    });
  }

  open() {
    if (!byId("search").open) byId("search").showModal();
    byId("search-words").select();
  }

  /** @private */
  ask() {
    const { house } = this.app;
    const words = byId("search-words").value.trim();
    if (!words) return;
    const room = byId("search-here").checked && house.room ? { room: house.room.name } : {};
    this.asked = words;
    byId("search-results").replaceChildren();
    byId("search-state").textContent = t(house.inside && house.send({ search: { words, ...room } }) ? "search.running" : "search.offline");
  }

  /** @param {{words: string, messages: import("./room.js").Message[]}} found */
  show(found) {
    if (found.words !== this.asked) return;
    const messages = found.messages ?? [];
    const count = messages.length;
    byId("search-state").textContent = t(count >= MOST ? "search.many" : count ? "search.count" : "search.none", { count });
    byId("search-results").replaceChildren(...messages.map((message) => this.result(message)));
  }

  /** @private @param {import("./room.js").Message} message */
  result(message) {
    const { house } = this.app;
    const partner = message.to && (message.by === house.me.id ? message.to : message.author);
    // Links and other buttons have no place in a button: what was found is text here.
    const words = this.asked.split(/\s+/).filter(Boolean);
    const text = content(message.text, "", words).map((node) =>
      node instanceof HTMLAnchorElement ? document.createTextNode(node.textContent ?? "") : node,
    );
    const button = el(
      "button",
      { type: "button", class: "result" },
      el(
        "span",
        { class: "head" },
        el("bdi", { class: `author ${colourOf(message.author)}`, text: message.author }),
        el("bdi", { class: "where", text: partner ? t("private.label", { name: partner }) : `#${message.room}` }),
        el("time", { datetime: new Date(message.at * 1000).toISOString(), text: moment(message.at) }),
      ),
      el("span", { class: "text", dir: "auto" }, ...text),
    );
    button.addEventListener("click", () => {
      byId("search").close();
      this.app.log.jump(house.open(message.room, partner || ""), message.number);
    });
    return el("li", {}, button);
  }
}
