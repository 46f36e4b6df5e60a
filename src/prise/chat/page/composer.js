/**
 * The input: it grows with what is written, completes names and commands, remembers what was said, and keeps a draft for
 * each room. Several lines are several messages, as they would be through netcat.
 */

import { complete } from "./completion.js";
import { byId, el } from "./dom.js";
import { announce } from "./notify.js";
import { t } from "./texts.js";

const MOST_LINES = 20;
const MOST_REMEMBERED = 50;

export class Composer {
  /** @param {any} app see main.js */
  constructor(app) {
    this.app = app;
    this.input = byId("input");
    this.list = byId("completion");
    /** @type {import("./completion.js").Candidate[]} */
    this.candidates = [];
    this.from = 0;
    this.chosen = -1;
    /** @type {string[]} */
    this.said = [];
    this.back = 0; // how far back in them; 0: what is being written
    this.problem = "";
    byId("composer").addEventListener("submit", (event) => {
      event.preventDefault();
      this.submit();
    });
    this.input.addEventListener("keydown", (event) => this.key(event));
    this.input.addEventListener("input", () => this.typed());
    this.input.addEventListener("blur", () => this.offer([], 0));
  }

  get empty() {
    return !this.input.value;
  }

  /** Another room is shown. @param {import("./room.js").Room | undefined} before @param {import("./room.js").Room | undefined} now */
  change(before, now) {
    if (before) before.draft = this.input.value;
    this.set(now?.draft ?? "");
    this.problem = "";
    this.update();
  }

  /** What is said beside the input: why it may not be shown to others at once. */
  update() {
    const { house, online } = this.app;
    const room = house.room;
    const name = room ? (room.partner ? room.partner : `#${room.name}`) : "";
    this.input.placeholder = t("input.placeholder", { room: name });
    let state = this.problem;
    const ordinary = room && !house.me.operator && room.owner !== house.me.id;
    if (!state && room && !room.joined) state = t("room.outside");
    if (!state && ordinary && room.muted) state = t("input.muted");
    if (!state && ordinary && room.slow) state = t("input.slow", { count: room.slow });
    if (!state && !online && house.me.name) state = t("input.offline");
    if (byId("composer-state").textContent !== state) byId("composer-state").textContent = state;
    byId("attach").hidden = !(house.uploads.allowed && room && !room.partner);
  }

  /** Puts a text where the cursor is. @param {string} text */
  insert(text) {
    this.input.focus();
    this.input.setRangeText(text, this.input.selectionStart, this.input.selectionEnd, "end");
    this.typed();
  }

  /** Says it. A line that begins with one slash is a command, with two it is said with one. */
  submit() {
    const { app } = this;
    const room = app.house.room;
    const text = this.input.value;
    if (!room || !text.trim()) return;
    const lines = text.split(/\r?\n/).filter((line) => line.trim());
    if (text.startsWith("/") && !text.startsWith("//")) {
      if (!this.command(lines.join(" "), room)) return;
    } else {
      const bytes = Math.max(...lines.map((line) => new TextEncoder().encode(line).length));
      if (lines.length > MOST_LINES) return this.refuse(t("input.lines", { count: lines.length, most: MOST_LINES }));
      if (bytes > app.house.longest) return this.refuse(t("input.long", { count: bytes, most: app.house.longest }));
      if (lines[0].startsWith("//")) lines[0] = lines[0].slice(1);
      for (const line of lines) app.say(room, line);
    }
    this.said = [...this.said.filter((each) => each !== text), text].slice(-MOST_REMEMBERED);
    this.set("");
    this.refuse("");
  }

  /** @private @param {string} line @param {import("./room.js").Room} room @returns {boolean} */
  command(line, room) {
    const { house } = this.app;
    const [, word, rest] = /^\/(\S*)\s*(.*)$/.exec(line) ?? ["", "", ""];
    const action = word.toLowerCase();
    if (action === "msg" && rest && !rest.includes(" ")) {
      this.app.show(house.writeTo(rest.replace(/^@/, "")), true); // nothing to say yet: only opens it
      return true;
    }
    if (room.partner && action === "part" && !rest) {
      this.app.leave(room);
      return true;
    }
    if (action === "join") house.wanted = rest.split(" ")[0].replace(/^#/, "");
    if (this.app.command(line, room)) return true;
    this.refuse(t("command.offline"));
    return false;
  }

  /** @private @param {string} problem */
  refuse(problem) {
    this.problem = problem;
    this.update();
  }

  /** @private @param {string} text */
  set(text) {
    this.input.value = text;
    this.back = 0;
    this.grow();
    this.offer([], 0);
  }

  /** @private */
  grow() {
    this.input.style.height = "auto";
    this.input.style.height = `${this.input.scrollHeight + 2}px`; // and its border
  }

  /** @private */
  typed() {
    this.grow();
    if (this.problem) this.refuse("");
    this.suggest(false);
  }

  /** @private @param {KeyboardEvent} event */
  key(event) {
    if (event.isComposing || event.keyCode === 229) return; // an input method is at work: its Enter is not ours
    const open = !this.list.hidden;
    const plain = !event.shiftKey && !event.ctrlKey && !event.altKey && !event.metaKey;
    if (event.key === "Enter" && !event.shiftKey) {
      event.preventDefault();
      if (open && this.chosen >= 0) this.take(this.chosen);
      else this.submit();
    } else if (event.key === "Tab" && plain) {
      // Where there is nothing to complete, Tab goes on to the next button as everywhere.
      if (!open) this.suggest(true);
      if (!this.list.hidden) {
        event.preventDefault();
        if (this.candidates.length === 1 || this.chosen >= 0) this.take(Math.max(this.chosen, 0));
        else this.choose(0);
      }
    } else if (event.key === "Escape" && open) {
      event.preventDefault();
      event.stopPropagation();
      this.offer([], 0);
    } else if (open && (event.key === "ArrowDown" || event.key === "ArrowUp")) {
      event.preventDefault();
      const step = event.key === "ArrowDown" ? 1 : -1;
      this.choose((this.chosen + step + this.candidates.length) % this.candidates.length);
    } else if (event.key === "ArrowUp" && plain && (this.empty || this.back)) {
      event.preventDefault();
      this.recall(this.back + 1);
    } else if (event.key === "ArrowDown" && plain && this.back) {
      event.preventDefault();
      this.recall(this.back - 1);
    }
  }

  /** @private @param {number} back */
  recall(back) {
    if (back > this.said.length) return;
    this.set(back ? this.said[this.said.length - back] : "");
    this.back = back;
  }

  /** @private @param {boolean} wanted */
  suggest(wanted) {
    const { house } = this.app;
    const room = house.room;
    const names = [...new Set([...(room?.people.values() ?? [])].map((person) => person.name))].filter((name) => name !== house.me.name);
    if (room?.partner) names.push(room.partner);
    const rooms = [...house.rooms.values()].filter((each) => !each.partner).map((each) => each.name);
    const { from, candidates } = complete(this.input.value, this.input.selectionStart, { commands: house.usable, names, rooms }, wanted);
    this.offer(candidates, from);
  }

  /** @private @param {import("./completion.js").Candidate[]} candidates @param {number} from */
  offer(candidates, from) {
    const before = this.candidates.length;
    this.candidates = candidates;
    this.from = from;
    this.chosen = -1;
    this.input.removeAttribute("aria-activedescendant");
    this.list.hidden = !candidates.length;
    this.list.replaceChildren(
      ...candidates.map((candidate, index) => {
        const option = el(
          "div",
          { role: "option", id: `option-${index}`, class: "option", "aria-selected": "false" },
          el("bdi", { class: "shown", text: candidate.shown }),
          candidate.about && el("span", { class: "about", text: candidate.about }),
        );
        option.addEventListener("pointerdown", (event) => {
          event.preventDefault(); // focus stays in the input
          this.take(index);
        });
        return option;
      }),
    );
    if (candidates.length && candidates.length !== before) announce(t("completion.count", { count: candidates.length }));
  }

  /** @private @param {number} index */
  choose(index) {
    this.chosen = index;
    [...this.list.children].forEach((option, at) => option.setAttribute("aria-selected", String(at === index)));
    this.list.children[index].scrollIntoView({ block: "nearest" });
    this.input.setAttribute("aria-activedescendant", `option-${index}`);
  }

  /** @private @param {number} index */
  take(index) {
    const { text } = this.candidates[index];
    this.input.setRangeText(text, this.from, this.input.selectionStart, "end");
    this.offer([], 0);
    this.grow();
  }
}
