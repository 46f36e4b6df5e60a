/**
 * What stands where in the list of messages: a room's items become rows. Pure; `log.js` shows them.
 *
 * A row's `key` stays the same as long as it is the same thing; its `version` changes when it has to be drawn anew.
 */

const SAME_BREATH = 300; // seconds in which messages of one author stand under one name

/**
 * @typedef {{key: string, version: string, kind: "day" | "divider" | "message" | "presence" | "notice" | "announce" | "outgoing",
 *   item: any, continued: boolean}} Row
 */

/**
 * @param {import("./room.js").Room} room
 * @param {import("./outbox.js").Entry[]} outgoing
 * @param {{id: string, name: string}} me
 * @param {{presence: boolean, style: string}} options style: changes when all has to be drawn anew
 * @returns {Row[]}
 */
export function rows(room, outgoing, me, options) {
  /** @type {Row[]} */
  const found = [];
  let day = "";
  let author = ""; // whose message stands above
  let at = 0;
  let divided = room.divider < 0;
  const put = (kind, key, item, continued, version) =>
    found.push({ key, kind, item, continued, version: `${options.style} ${continued} ${version}` });

  for (const item of room.items) {
    if (item.kind === "presence" && !options.presence) continue;
    const itsDay = new Date(item.at * 1000).toDateString();
    if (itsDay !== day) {
      put("day", `day ${itsDay}`, item, false, itsDay);
      day = itsDay;
      author = "";
    }
    if (item.kind !== "message") {
      put(item.kind, item.key, item, false, "");
      author = "";
      continue;
    }
    const message = item.message;
    if (!divided && message.number > room.divider && message.by !== me.id) {
      put("divider", "divider", item, false, "");
      divided = true;
      author = "";
    }
    const alone = message.kind === "me" || message.kind === "topic";
    const who = message.by || message.author;
    const continued = !alone && who === author && item.at - at < SAME_BREATH;
    put("message", item.key, item, continued, me.name);
    author = alone ? "" : who;
    at = item.at;
  }
  if (room.atEnd) {
    for (const entry of outgoing) {
      const continued = author === me.id && entry.at - at < SAME_BREATH;
      put("outgoing", `outgoing ${entry.id}`, { ...entry }, continued, entry.state + entry.why);
      author = me.id;
      at = entry.at;
    }
  }
  return found;
}
