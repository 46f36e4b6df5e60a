/**
 * The keys that work everywhere on the page. The help lists them.
 */

import { byId } from "./dom.js";

/** @param {any} app see main.js */
export function listenToKeys(app) {
  addEventListener("keydown", (event) => {
    if (app.entry.shown || event.isComposing || document.querySelector("dialog[open]")) return;
    const writing = /^(INPUT|TEXTAREA|SELECT)$/.test(document.activeElement?.tagName ?? "");
    const control = event.ctrlKey || event.metaKey;
    const alt = event.altKey && !control;
    const does = (action) => {
      event.preventDefault();
      action();
    };
    if (control && event.key.toLowerCase() === "k") does(() => app.search.open());
    else if (alt && event.key === "End") does(() => app.log.toEnd());
    else if (alt && event.shiftKey && event.key === "ArrowDown") does(() => next(app, 1, true));
    else if (alt && event.key === "ArrowDown") does(() => next(app, 1, false));
    else if (alt && event.key === "ArrowUp") does(() => next(app, -1, false));
    else if (event.key === "Escape") does(() => byId("input").focus());
    else if (writing || control || alt) return;
    else if (event.key === "/") does(() => app.search.open());
    else if (event.key === "?") does(() => app.dialogs.help());
  });
}

/** @param {any} app @param {number} step @param {boolean} unread whether only rooms with something new count */
function next(app, step, unread) {
  const { house } = app;
  // As the list shows them: rooms first.
  const rooms = [...house.rooms.values()].sort((one, other) => Number(Boolean(one.partner)) - Number(Boolean(other.partner)));
  const at = rooms.indexOf(house.room);
  for (let count = 1; count <= rooms.length; count += 1) {
    const room = rooms[(at + step * count + rooms.length * count) % rooms.length];
    if (!unread || room.unread) return app.show(room, true);
  }
}
