/**
 * The state of the connection, in words, above the messages; nothing when all is well.
 */

import { byId, el } from "./dom.js";
import { announce } from "./notify.js";
import { t } from "./texts.js";

export class Status {
  /** @param {any} app see main.js */
  constructor(app) {
    this.app = app;
    this.timer = 0;
    this.was = "";
    this.why = ""; // what the house said as it ended the connection
  }

  /** Shows how it is now. */
  update() {
    clearInterval(this.timer);
    const { connection, house, online } = this.app;
    const place = byId("status");
    const waiting = connection.phase.phase === "waiting";
    const state = online ? (house.link.up ? "" : "cut") : waiting ? "waiting" : "connecting";
    place.className = state ? `status ${state}` : "status";
    if (state === "cut") place.replaceChildren(t("status.cut", { why: house.link.why }));
    else if (state === "connecting") place.replaceChildren(t("status.connecting"));
    else if (state === "waiting") this.count(place);
    else place.replaceChildren();
    if (!state && this.was) {
      announce(t("status.connected"));
      this.why = "";
    }
    this.was = state;
  }

  /** @private Counts down, without a word to screen readers for each second: it is said once. */
  count(place) {
    const left = () => Math.max(1, Math.ceil((this.app.connection.phase.next - Date.now()) / 1000));
    const text = el("span", { "aria-live": "off" });
    const why = this.why && `${this.why[0].toUpperCase()}${this.why.slice(1).replace(/[.]$/, "")}. `;
    const show = () => (text.textContent = why + t("status.waiting", { count: left() }));
    show();
    if (this.was !== "waiting") announce(text.textContent);
    this.timer = setInterval(show, 1000);
    const now = el("button", { type: "button", class: "small", text: t("status.again"), click: () => this.app.connection.retry() });
    place.replaceChildren(text, now);
  }
}
