/**
 * The lists at both sides, where the screen is too narrow for them: drawers, which a button opens and Escape closes.
 */

import { byId } from "./dom.js";

/** Each with the width below which it is a drawer (see chat.css). */
const DRAWERS = { rooms: "(max-width: 760px)", people: "(max-width: 1080px)" };

export class Drawers {
  constructor() {
    this.open = "";
    for (const [name, query] of Object.entries(DRAWERS)) {
      byId(`${name}-drawer`).addEventListener("click", () => this.show(this.open === name ? "" : name));
      byId(name).querySelector(".close-drawer").addEventListener("click", () => this.show(""));
      matchMedia(query).addEventListener("change", () => this.show(""));
    }
    byId("backdrop").addEventListener("click", () => this.show(""));
    document.addEventListener("keydown", (event) => {
      if (event.key !== "Escape" || !this.open || document.querySelector("dialog[open]")) return;
      event.stopPropagation();
      this.show("");
    });
    this.show("");
  }

  /** @param {string} name "rooms", "people"; "" closes */
  show(name) {
    const before = this.open;
    this.open = name && matchMedia(DRAWERS[name]).matches ? name : "";
    for (const [each, query] of Object.entries(DRAWERS)) {
      const drawer = byId(each);
      const isDrawer = matchMedia(query).matches;
      drawer.classList.toggle("open", each === this.open);
      drawer.inert = isDrawer && each !== this.open; // what is out of sight is out of reach
      byId(`${each}-drawer`).setAttribute("aria-expanded", String(each === this.open));
    }
    byId("backdrop").hidden = !this.open;
    byId("room").inert = Boolean(this.open);
    if (this.open) byId(this.open).querySelector(".close-drawer").focus();
    else if (before) byId(`${before}-drawer`).focus();
  }
}
