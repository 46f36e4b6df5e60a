/**
 * Who is in the room, and what can be done with somebody.
 */

import { byId, colourOf, el, initialOf } from "./dom.js";
import { openMenu } from "./menu.js";
import { t } from "./texts.js";

export class People {
  /** @param {any} app see main.js */
  constructor(app) {
    this.app = app;
    this.frame = 0;
  }

  /** Somebody came or went; a crowd is drawn once. */
  update() {
    this.frame ||= requestAnimationFrame(() => {
      this.frame = 0;
      this.draw();
    });
  }

  /** @private */
  draw() {
    const room = this.app.house.room;
    byId("people").hidden = !room || Boolean(room.partner);
    if (!room) return;
    const people = [...room.people.values()].sort(
      (one, other) => Number(other.operator) - Number(one.operator) || one.name.localeCompare(other.name),
    );
    byId("people-heading").textContent = t("people.count", { count: people.length + room.others });
    const list = byId("people-list");
    const focused = list.contains(document.activeElement) ? document.activeElement?.dataset.name : "";
    list.replaceChildren(...people.map((person) => this.entry(person)));
    if (room.others) list.append(el("li", { class: "entry", text: t("people.others", { count: room.others }) }));
    if (focused) [...list.querySelectorAll("button")].find((button) => button.dataset.name === focused)?.focus();
  }

  /** @private @param {import("./room.js").Person} person */
  entry(person) {
    const marks = [
      person.id === this.app.house.me.id && t("people.you"),
      person.operator && t("people.operator"),
      person.away && (person.away === "away" ? t("people.away.simply") : t("people.away", { text: person.away })),
    ].filter(Boolean);
    const button = el(
      "button",
      { type: "button", class: person.away ? "entry away" : "entry", "data-name": person.name, "aria-haspopup": "menu" },
      el("span", { class: `avatar ${colourOf(person.name)}`, "aria-hidden": "true", text: initialOf(person.name) }),
      el("bdi", { class: "name", text: person.name }),
      marks.length > 0 && el("span", { class: "marks", text: marks.join(", ") }),
    );
    button.addEventListener("click", () => this.menu(person.name, button));
    return el("li", {}, button);
  }

  /** What to do with somebody. @param {string} name @param {HTMLElement} near */
  menu(name, near) {
    const { house, dialogs, composer } = this.app;
    const room = house.room;
    const other = name !== house.me.name;
    const choices = [{ label: t("menu.mention"), run: () => composer.insert(`${name}${composer.empty ? ": " : " "}`) }];
    if (other) choices.push({ label: t("menu.private"), run: () => this.app.show(house.writeTo(name), true) });
    if (other && house.can("ignore")) choices.push({ label: t("menu.ignore"), run: () => this.app.command(`/ignore ${name}`) });
    if (other && room && !room.partner && (house.me.operator || room.owner === house.me.id)) {
      const commands = [["allow", false], ["mute", false], ["unmute", false], ["kick", true], ["ban", true]];
      for (const [command, asks] of commands) {
        if (!house.can(command)) continue;
        const run = async () => {
          let more = "";
          if (asks) {
            const answer = await dialogs.ask({
              heading: t(`menu.${command}.title`, { name }),
              label: t(`menu.${command}.label`),
              submit: t(`menu.${command}`).replace("…", ""),
              danger: true,
            });
            if (answer === null) return;
            more = ` ${answer}`;
          }
          this.app.command(`/${command} ${name}${more}`.trim(), room);
        };
        choices.push({ label: t(`menu.${command}`), run, danger: asks });
      }
    }
    openMenu(near, t("menu.of", { name }), choices);
  }
}
