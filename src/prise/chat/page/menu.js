/**
 * A menu beside a button: arrow keys move in it, Escape and a click elsewhere close it, focus goes back to where it came from.
 */

import { byId, el } from "./dom.js";

/** @typedef {{label: string, run: () => void, danger?: boolean}} Choice */

/** @param {HTMLElement} near @param {string} label what it is about @param {Choice[]} choices */
export function openMenu(near, label, choices) {
  const menu = byId("menu");
  menu.setAttribute("aria-label", label);
  menu.replaceChildren(
    ...choices.map(({ label: text, run, danger }) =>
      el("button", {
        type: "button",
        role: "menuitem",
        tabindex: "-1",
        class: danger ? "danger" : null,
        text,
        click: () => {
          close(near);
          run();
        },
      }),
    ),
  );
  near.closest("main, aside, nav")?.append(menu); // it belongs to the part of the page that it was opened in
  menu.onkeydown = (event) => move(event, near);
  menu.showPopover();
  const box = near.getBoundingClientRect();
  const left = Math.max(8, Math.min(box.left, innerWidth - menu.offsetWidth - 8));
  const below = box.bottom + 4;
  const top = below + menu.offsetHeight > innerHeight - 8 ? Math.max(8, box.top - menu.offsetHeight - 4) : below;
  menu.style.left = `${left}px`;
  menu.style.top = `${top}px`;
  menu.firstElementChild?.focus();
}

/** @param {HTMLElement} near */
function close(near) {
  byId("menu").hidePopover();
  near.focus();
}

/** @param {KeyboardEvent} event @param {HTMLElement} near */
function move(event, near) {
  const choices = [...byId("menu").children];
  const at = choices.indexOf(document.activeElement);
  const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: choices.length - 1 }[event.key];
  if (to !== undefined) {
    event.preventDefault();
    choices[(to + choices.length) % choices.length].focus();
  } else if (event.key === "Escape" || event.key === "Tab") {
    event.preventDefault();
    event.stopPropagation();
    close(near);
  }
}
