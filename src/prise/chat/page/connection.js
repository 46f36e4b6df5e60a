/**
 * The WebSocket to the house, which comes back by itself. It knows nothing of what is said.
 *
 * After a loss it waits a little before it tries again, longer each time, and a random part of that, so that a
 * restarted house is not met by everybody in the same instant. `retry` tries at once. A house that has gone silent
 * (a laptop that slept, a router that forgot) is found out by `ping`s without a `pong`.
 */

const FIRST_WAIT = 500; // milliseconds
const LONGEST_WAIT = 30_000;
const PING_EVERY = 20_000;

/** @typedef {{phase: "idle" | "connecting" | "open" | "waiting", next: number}} Phase next: when it tries again (Date.now()) */

export class Connection {
  /**
   * @param {string} address of the WebSocket
   * @param {{opened: () => void, received: (object: any) => void, changed: (phase: Phase) => void}} listener
   */
  constructor(address, listener) {
    this.address = address;
    this.listener = listener;
    /** @type {Phase} */
    this.phase = { phase: "idle", next: 0 };
    /** @type {WebSocket | null} */
    this.socket = null;
    this.losses = 0;
    this.silent = false;
    this.timer = 0;
    this.pinger = 0;
  }

  /** Connects, unless it has. */
  start() {
    if (this.socket) return;
    clearTimeout(this.timer);
    this.enter("connecting");
    const socket = new WebSocket(this.address);
    this.socket = socket;
    socket.onopen = () => {
      this.silent = false;
      clearInterval(this.pinger);
      this.pinger = setInterval(() => this.listen(), PING_EVERY);
      this.enter("open");
      this.listener.opened();
    };
    socket.onmessage = (event) => {
      if (this.socket !== socket) return;
      this.silent = false;
      let object;
      try {
        object = JSON.parse(event.data);
      } catch {
        return; // not of this house
      }
      if (object && typeof object === "object") this.listener.received(object);
    };
    socket.onclose = () => {
      if (this.socket === socket) this.lost();
    };
  }

  /** Ends, and does not come back. */
  stop() {
    this.drop();
    clearTimeout(this.timer);
    this.losses = 0;
    this.enter("idle");
  }

  /** Ends and comes back at once: to come in anew. */
  restart() {
    this.drop();
    this.start();
  }

  /** Does not wait any longer. */
  retry() {
    if (this.phase.phase === "waiting") this.start();
  }

  /** The house has let us in: the next loss is a first one again. */
  settle() {
    this.losses = 0;
  }

  /** @param {object} object @returns {boolean} whether it could be sent */
  send(object) {
    if (this.socket?.readyState !== WebSocket.OPEN) return false;
    this.socket.send(JSON.stringify(object));
    return true;
  }

  /** @private The socket is given up; what it still brings is not looked at. */
  drop() {
    clearInterval(this.pinger);
    const socket = this.socket;
    this.socket = null;
    socket?.close();
  }

  /** @private */
  lost() {
    this.drop();
    const longest = Math.min(LONGEST_WAIT, FIRST_WAIT * 2 ** this.losses);
    this.losses += 1;
    const wait = longest * (0.5 + Math.random() / 2);
    this.timer = setTimeout(() => this.start(), wait);
    this.enter("waiting", Date.now() + wait);
  }

  /** @private Silence from one ping to the next: nobody is there any more. Timers of a hidden page are late, which does no harm. */
  listen() {
    if (this.silent) {
      this.lost();
    } else {
      this.silent = true;
      this.send({ ping: Date.now() });
    }
  }

  /** @private @param {Phase["phase"]} phase */
  enter(phase, next = 0) {
    this.phase = { phase, next };
    this.listener.changed(this.phase);
  }
}
