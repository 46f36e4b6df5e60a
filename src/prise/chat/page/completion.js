/**
 * What could be meant by the beginning of a word: names, and commands at the beginning of a line. Pure.
 *
 * @typedef {{text: string, shown: string, about: string}} Candidate text: what takes the word's place
 */

const MOST = 8;

/**
 * @param {string} text of the input @param {number} cursor
 * @param {{commands: {name: string, arguments: string, help: string}[], names: string[], rooms: string[]}} known
 * @param {boolean} wanted true: asked for by Tab; otherwise only what clearly is a command or a name is completed
 * @returns {{from: number, candidates: Candidate[]}} from: where the word begins
 */
export function complete(text, cursor, known, wanted) {
  const before = text.slice(0, cursor);
  const from = before.search(/\S*$/);
  const word = before.slice(from);
  const start = word.toLowerCase();
  if (from === 0 && word.startsWith("/") && !word.startsWith("//")) {
    return {
      from,
      candidates: known.commands
        .filter((command) => `/${command.name}`.startsWith(start))
        .sort((one, other) => one.name.localeCompare(other.name))
        .slice(0, 30)
        .map(({ name, arguments: needs, help }) => ({ text: `/${name} `, shown: `/${name} ${needs}`.trim(), about: help })),
    };
  }
  if (word.startsWith("#") || (/^\/(join|part) \S*$/.test(before) && wanted)) {
    const rooms = known.rooms.filter((room) => room.toLowerCase().startsWith(start.replace(/^#/, "")));
    return { from, candidates: rooms.slice(0, MOST).map((room) => ({ text: `${room} `, shown: `#${room}`, about: "" })) };
  }
  if (!word || !(wanted || word.startsWith("@"))) return { from, candidates: [] };
  const wish = start.replace(/^@/, "");
  const end = from === 0 ? ": " : " ";
  return {
    from,
    candidates: known.names
      .filter((name) => name.toLowerCase().startsWith(wish))
      .sort((one, other) => one.localeCompare(other))
      .slice(0, MOST)
      .map((name) => ({ text: name + end, shown: name, about: "" })),
  };
}
