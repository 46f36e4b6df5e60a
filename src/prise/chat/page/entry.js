/**
 * The form through which one comes in: a nickname, and what the house asks for besides.
 */

import { byId } from "./dom.js";
import { kept } from "./preferences.js";
import { t } from "./texts.js";

export class Entry {
  /** @param {(given: {name: string, passphrase: string, password: string}) => void} submitted */
  constructor(submitted) {
    byId("entry-form").addEventListener("submit", (event) => {
      event.preventDefault();
      const name = byId("entry-name").value.trim();
      if (!name) return this.say(t("entry.none"), "entry-name");
      this.say(t("entry.connecting"));
      submitted({ name, passphrase: byId("entry-passphrase").value, password: byId("entry-password").value });
    });
  }

  /** Shows the form. */
  show(message = "") {
    const hidden = byId("entry").hidden;
    byId("entry").hidden = false;
    byId("house").hidden = true;
    if (hidden) {
      byId("entry-name").value = kept.name;
      byId("entry-name").focus();
    }
    if (message) this.say(message);
  }

  hide() {
    byId("entry").hidden = true;
    byId("house").hidden = false;
    byId("entry-passphrase").value = "";
    byId("entry-passphrase-field").hidden = byId("entry-password-field").hidden = true;
    this.say("");
  }

  get shown() {
    return !byId("entry").hidden;
  }

  /** The house says no, and what it wants. @param {string} code @param {string} why */
  deny(code, why) {
    const reason = why.replace(/[.?]$/, "");
    this.show();
    const field = { passphrase: "entry-passphrase", password: "entry-password" }[code];
    if (field) {
      const again = !byId(`${field}-field`).hidden && byId(field).value;
      byId(`${field}-field`).hidden = false;
      this.say(t(again ? `denied.${code}.wrong` : `denied.${code}`), field);
      byId(field).select();
    } else if (["banned", "full", "taken"].includes(code)) {
      this.say(t(`denied.${code}`, { why: reason }), code === "taken" ? "entry-name" : "");
      if (code === "taken") byId("entry-name").select();
    } else {
      this.say(t("denied.name", { why: reason }), "entry-name");
    }
  }

  /** @param {string} text @param {string} field to be filled in better */
  say(text, field = "") {
    byId("entry-message").textContent = text;
    for (const id of ["entry-name", "entry-passphrase", "entry-password"]) {
      const input = byId(id);
      if (id === field) {
        input.setAttribute("aria-invalid", "true");
        input.setAttribute("aria-describedby", "entry-message");
        input.focus();
      } else {
        input.removeAttribute("aria-invalid");
        input.removeAttribute("aria-describedby");
      }
    }
  }
}
