/**
 * The dialogs that ask for something: one line, a room to join, the settings, what operators do; and the help.
 */

import { byId, colourOf, el, initialOf } from "./dom.js";
import { notifications } from "./notify.js";
import { applyTheme, keep, kept } from "./preferences.js";
import { t } from "./texts.js";

/** Keys, and the text about each. */
const KEYS = [
  ["Enter", "key.send"],
  ["Shift+Enter", "key.line"],
  ["Tab", "key.complete"],
  ["↑ ↓", "key.arrows"],
  ["Alt+↑ ↓", "key.rooms"],
  ["Alt+Shift+↓", "key.unread"],
  ["Ctrl+K, /", "key.search"],
  ["Alt+End", "key.end"],
  ["Esc", "key.escape"],
  ["?", "key.help"],
];

export class Dialogs {
  /** @param {any} app see main.js */
  constructor(app) {
    this.app = app;
    for (const button of document.querySelectorAll("[data-close]")) {
      button.addEventListener("click", () => button.closest("dialog").close());
    }
    for (const dialog of document.querySelectorAll("dialog")) {
      // A click beside it closes it. (Its own area is covered by its content.)
      dialog.addEventListener("pointerdown", (event) => event.target === dialog && outside(dialog, event) && dialog.close());
    }
    byId("help-open").addEventListener("click", () => this.help());
    this.prepareJoin();
    this.prepareSettings();
    this.prepareOperator();
  }

  /**
   * Asks for one line.
   * @param {{heading: string, label: string, submit: string, answer?: string, most?: number, danger?: boolean}} question
   * @returns {Promise<string | null>} null: never mind
   */
  ask({ heading, label, submit, answer = "", most = 500, danger = false }) {
    const dialog = byId("ask");
    const input = byId("ask-answer");
    byId("ask-heading").textContent = heading;
    byId("ask-label").textContent = label;
    byId("ask-submit").textContent = submit;
    byId("ask-submit").className = danger ? "danger" : "primary";
    input.maxLength = most;
    input.value = answer;
    dialog.returnValue = "";
    byId("ask-submit").value = "yes";
    dialog.showModal();
    input.select();
    return new Promise((resolve) => {
      dialog.onclose = () => resolve(dialog.returnValue === "yes" ? input.value : null);
    });
  }

  help() {
    const { house } = this.app;
    const pairs = (list) => list.flatMap(([key, text]) => [el("dt", {}, el("kbd", { text: key })), el("dd", { text })]);
    byId("help-keys").replaceChildren(...pairs(KEYS.map(([key, text]) => [keyNames(key), t(text)])));
    byId("help-commands").replaceChildren(
      ...pairs(house.usable.map((command) => [`/${command.name} ${command.arguments}`.trim(), command.help])),
    );
    byId("help").showModal();
  }

  // -- rooms --------------------------------------------------------------------------------------------------------------

  /** @private */
  prepareJoin() {
    byId("rooms-open").addEventListener("click", () => this.join());
    byId("join-form").addEventListener("submit", (event) => {
      event.preventDefault();
      const name = byId("join-name").value.trim();
      if (name) this.app.house.join(name, byId("join-password").value);
    });
    byId("join-name").addEventListener("input", () => this.askPassword(""));
  }

  /** Shows which rooms there are. @param {string} name of the one to join */
  join(name = "") {
    byId("join-name").value = name;
    this.askPassword("");
    byId("directory").replaceChildren();
    this.app.house.send({ rooms: {} });
    if (!byId("join").open) byId("join").showModal();
  }

  /** The password's field is there when a room asks for it. @param {string} room */
  askPassword(room) {
    byId("join-password-field").hidden = !room;
    byId("join-password").value = "";
    byId("join-message").textContent = room ? t("join.locked", { room }) : "";
    if (!room) return;
    byId("join-name").value = room;
    if (!byId("join").open) byId("join").showModal();
    byId("join-password").focus();
  }

  /** @param {{room: string, topic: string, people: number, locked: boolean}[]} rooms */
  directory(rooms) {
    const { house } = this.app;
    const others = rooms.filter((each) => !house.rooms.get(each.room)?.joined);
    byId("directory").replaceChildren(
      ...others.map((each) => {
        const click = () => (each.locked ? this.askPassword(each.room) : house.join(each.room));
        const marks = [t("people.count", { count: each.people }), each.locked && t("rooms.locked")].filter(Boolean).join(", ");
        return el(
          "li",
          {},
          el(
            "button",
            { type: "button", class: "entry", click },
            el("span", { class: "hash", "aria-hidden": "true", text: "#" }),
            el("bdi", { class: "name", text: each.room }),
            el("span", { class: "marks", text: marks }),
            each.topic && el("span", { class: "about", dir: "auto", text: each.topic }),
          ),
        );
      }),
    );
    if (!others.length) byId("directory").append(el("li", { class: "hint", text: t("rooms.none") }));
  }

  // -- settings -----------------------------------------------------------------------------------------------------------

  /** @private */
  prepareSettings() {
    const { app } = this;
    byId("settings-open").addEventListener("click", () => {
      for (const name of ["theme", "language"]) byId(`set-${name}`).value = kept[name];
      for (const name of ["sound", "presence"]) byId(`set-${name}`).checked = kept[name];
      this.notifications();
      byId("settings").showModal();
    });
    byId("set-theme").addEventListener("change", (event) => {
      keep({ theme: event.target.value });
      applyTheme();
    });
    byId("set-language").addEventListener("change", (event) => {
      keep({ language: event.target.value });
      app.setLanguage();
      this.notifications();
    });
    byId("set-sound").addEventListener("change", (event) => {
      keep({ sound: event.target.checked });
      app.beep();
    });
    byId("set-presence").addEventListener("change", (event) => {
      keep({ presence: event.target.checked });
      app.log.update();
    });
    byId("set-notifications").addEventListener("click", async () => {
      if (notifications() === "allowed") keep({ notify: false });
      else keep({ notify: (await Notification.requestPermission()) === "granted" });
      this.notifications();
    });
    byId("quit").addEventListener("click", () => app.quit());
  }

  /** @private */
  notifications() {
    const state = notifications();
    byId("set-notifications").hidden = state === "unsupported" || state === "denied";
    byId("set-notifications").textContent = t(state === "allowed" ? "notify.off" : "settings.notify");
    byId("notifications-state").textContent = state === "ask" ? "" : t(`notify.${state}`);
  }

  // -- operators ----------------------------------------------------------------------------------------------------------

  /** @private */
  prepareOperator() {
    const { app } = this;
    byId("operator-open").addEventListener("click", () => {
      byId("slow").value = String(app.house.room?.slow ?? 0);
      app.command("/raise"); // operators get the list of hands for it
      this.operator();
      byId("operator").showModal();
    });
    byId("mute").addEventListener("click", () => app.command(app.house.room?.muted ? "/unmute all" : "/mute all"));
    byId("slow-form").addEventListener("submit", (event) => {
      event.preventDefault();
      app.command(`/slow ${Number(byId("slow").value) || 0}`);
    });
    byId("announce-form").addEventListener("submit", (event) => {
      event.preventDefault();
      const text = byId("announce").value.trim();
      if (text && app.command(`/announce ${text}`)) byId("announce").value = "";
    });
  }

  /** The room that is shown has changed, or who wants to speak in it. */
  operator() {
    const { house } = this.app;
    const room = house.room;
    byId("announce-form").hidden = !house.me.operator;
    byId("mute").textContent = t(room?.muted ? "operator.unmute" : "operator.mute");
    const hands = room?.hands ?? [];
    byId("hands-none").hidden = hands.length > 0;
    byId("hands").replaceChildren(
      ...hands.map(({ name, about }) =>
        el(
          "li",
          { class: "hand" },
          el("span", { class: `avatar ${colourOf(name)}`, "aria-hidden": "true", text: initialOf(name) }),
          el("span", { class: "name", dir: "auto", text: about ? `${name} · ${about}` : name }),
          el("button", { type: "button", class: "small", text: t("hands.give", { name }), click: () => this.app.command(`/allow ${name}`) }),
        ),
      ),
    );
  }
}

/** @param {string} keys @returns {string} as they are written on the reader's keyboard */
function keyNames(keys) {
  return keys.replace(/Enter|Shift|Esc|End/g, (name) => t(`keyname.${name}`));
}

/** @param {HTMLElement} dialog @param {PointerEvent} event */
function outside(dialog, event) {
  const box = dialog.getBoundingClientRect();
  return event.clientX < box.left || event.clientX > box.right || event.clientY < box.top || event.clientY > box.bottom;
}
