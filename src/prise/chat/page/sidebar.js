/**
 * The list of rooms and private conversations, with what is unread in each; and the head of the room that is shown.
 */

import { byId, colourOf, el, icon, initialOf } from "./dom.js";
import { openMenu } from "./menu.js";
import { label, t } from "./texts.js";

export class Sidebar {
  /** @param {any} app see main.js */
  constructor(app) {
    this.app = app;
    this.drawn = "";
    byId("topic").addEventListener("click", () => this.changeTopic());
    byId("room-menu").addEventListener("click", () => this.menu());
    byId("hand").addEventListener("click", () => app.command("/raise"));
  }

  /** Shows the rooms as they are now. */
  update() {
    const { house } = this.app;
    byId("house-name").textContent = house.name;
    byId("me-name").textContent = house.me.name;
    byId("me-avatar").textContent = initialOf(house.me.name);
    byId("me-avatar").className = `avatar ${colourOf(house.me.name)}`;
    const rooms = [...house.rooms.values()];
    this.fill(byId("room-list"), rooms.filter((room) => !room.partner));
    const private_ = rooms.filter((room) => room.partner);
    this.fill(byId("private-list"), private_);
    byId("private-heading").hidden = !private_.length;
    const others = rooms.filter((room) => room !== house.room);
    const unread = others.reduce((sum, room) => sum + room.unread, 0);
    const elsewhere = byId("elsewhere");
    elsewhere.hidden = !unread;
    elsewhere.textContent = unread > 99 ? "99+" : String(unread);
    label(byId("rooms-drawer"), unread ? `${t("rooms.show")}, ${t("rooms.elsewhere", { count: unread })}` : t("rooms.show"));
    this.head();
  }

  /** @private @param {HTMLElement} list @param {import("./room.js").Room[]} rooms */
  fill(list, rooms) {
    const focused = list.contains(document.activeElement) ? document.activeElement?.dataset.room : "";
    list.replaceChildren(...rooms.map((room) => this.entry(room)));
    if (focused) [...list.querySelectorAll("button")].find((button) => button.dataset.room === focused)?.focus();
  }

  /** @private @param {import("./room.js").Room} room */
  entry(room) {
    const { house } = this.app;
    const name = room.partner || room.name;
    const said = [
      room.unread && t("rooms.unread", { count: room.unread }),
      room.mentions && !room.partner && t("rooms.mentions", { count: room.mentions }),
      room.locked && t("rooms.locked"),
      !room.joined && t("rooms.outside"),
    ].filter(Boolean);
    const button = el(
      "button",
      {
        type: "button",
        class: ["entry", room.unread && "unread", !room.joined && "outside"].filter(Boolean).join(" "),
        "aria-current": room === house.room ? "page" : null,
        "data-room": room.name,
        click: () => this.app.show(room, true),
      },
      room.partner
        ? el("span", { class: `avatar ${colourOf(name)}`, "aria-hidden": "true", text: initialOf(name) })
        : el("span", { class: "hash", "aria-hidden": "true", text: "#" }),
      el("bdi", { class: "name", text: name }),
      room.locked && icon("lock"),
      room.unread > 0 && el("span", { class: room.mentions ? "count loud" : "count", "aria-hidden": "true", text: room.unread > 99 ? "99+" : String(room.unread) }),
      said.length > 0 && el("span", { class: "unseen", text: `, ${said.join(", ")}` }),
    );
    return el("li", {}, button);
  }

  /** @private The line above the messages. */
  head() {
    const { house } = this.app;
    const room = house.room;
    byId("room-name").textContent = room ? room.partner || room.name : house.name;
    const topic = byId("topic");
    topic.hidden = !room;
    if (room?.partner) {
      topic.textContent = t("private", { name: room.partner });
      topic.disabled = true;
    } else if (room) {
      topic.disabled = false;
      topic.textContent = room.topic || t("topic.none");
      label(topic, t("topic.change", { room: room.name, topic: room.topic || t("topic.none") }));
    }
    if (room?.partner) topic.removeAttribute("aria-label");
    const ordinary = Boolean(room && !room.partner);
    const inCharge = house.me.operator || room?.owner === house.me.id;
    byId("hand").hidden = !(ordinary && house.can("raise") && !inCharge);
    byId("operator-open").hidden = !(ordinary && inCharge && house.can("mute"));
    const count = byId("hands-count");
    const hands = room?.hands.length ?? 0;
    count.hidden = !hands;
    count.textContent = String(hands);
    label(byId("operator-open"), hands ? `${t("operator.title")}, ${t("hands.count", { count: hands })}` : t("operator.title"));
    byId("people-drawer").hidden = !ordinary;
    byId("room-menu").hidden = !room;
  }

  /** @private */
  async changeTopic() {
    const room = this.app.house.room;
    if (!room || room.partner) return;
    const topic = await this.app.dialogs.ask({
      heading: t("topic.title", { room: room.name }),
      label: t("topic.label"),
      submit: t("topic.submit"),
      answer: room.topic,
      most: 300,
    });
    if (topic?.trim()) this.app.command(`/topic ${topic.trim()}`, room);
  }

  /** @private */
  menu() {
    const { house, dialogs } = this.app;
    const room = house.room;
    if (!room) return;
    const choices = [];
    if (room.partner) {
      choices.push({ label: t("room.close"), run: () => this.app.leave(room) });
    } else {
      choices.push({ label: t("room.topic"), run: () => this.changeTopic() });
      if (house.can("lock") && (house.me.operator || room.owner === house.me.id)) {
        const run = async () => {
          const password = await dialogs.ask({
            heading: t("room.lock.title", { room: room.name }),
            label: t("room.lock.label"),
            submit: t("operator.set"),
          });
          if (password !== null) this.app.command(`/lock ${password}`.trim(), room);
        };
        choices.push({ label: t("room.lock"), run });
      }
      choices.push({ label: t("room.leave"), run: () => this.app.leave(room) });
    }
    openMenu(byId("room-menu"), t("room.menu"), choices);
  }
}
