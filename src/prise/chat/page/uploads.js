/**
 * Sends files to the room that is shown: from a button, dropped on the page, or pasted. One after the other, with progress.
 *
 * XMLHttpRequest, because `fetch` tells nothing while it sends.
 */

import { byId, el, icon } from "./dom.js";
import { announce } from "./notify.js";
import { label, size, t } from "./texts.js";

const STAYS = 12_000; // milliseconds for which an error is shown

export class Uploads {
  /** @param {any} app see main.js */
  constructor(app) {
    this.app = app;
    /** @type {{file: File, name: string, room: string, row: HTMLElement, bar: HTMLProgressElement, state: HTMLElement, request: XMLHttpRequest | null}[]} */
    this.queue = [];
    this.busy = false;
    const input = byId("file");
    byId("attach").addEventListener("click", () => input.click());
    input.addEventListener("change", () => {
      this.add([...input.files]);
      input.value = "";
    });
    byId("input").addEventListener("paste", (event) => {
      const files = [...(event.clipboardData?.files ?? [])];
      if (!files.length) return;
      event.preventDefault();
      this.add(files);
    });
    this.acceptDrops();
  }

  /** @private */
  acceptDrops() {
    const room = byId("room");
    const place = byId("drop");
    const carries = (event) => [...(event.dataTransfer?.types ?? [])].includes("Files");
    // A file that is dropped beside it must not replace the page.
    for (const name of ["dragover", "drop"]) addEventListener(name, (event) => carries(event) && event.preventDefault());
    room.addEventListener("dragenter", (event) => {
      if (carries(event)) place.hidden = false;
    });
    place.addEventListener("dragleave", () => (place.hidden = true));
    room.addEventListener("drop", (event) => {
      place.hidden = true;
      if (carries(event)) this.add([...event.dataTransfer.files]);
    });
  }

  /** @param {File[]} files */
  add(files) {
    const { house } = this.app;
    const room = house.room;
    if (!room || !files.length) return;
    if (room.partner) return this.app.tell(t("files.private"));
    if (!house.uploads.allowed) return this.app.tell(t("files.not"));
    for (const file of files) {
      const name = file.name || "file";
      if (!file.size) this.app.tell(t("files.empty", { name }));
      else if (house.uploads.most && file.size > house.uploads.most)
        this.app.tell(t("files.large", { name, size: size(file.size), most: size(house.uploads.most) }));
      else this.enqueue(file, name, room.name);
    }
    this.next();
  }

  /** @private */
  enqueue(file, name, room) {
    const bar = el("progress", { max: file.size, value: 0, "aria-label": name });
    const state = el("span", { class: "upload-state", dir: "auto", text: t("files.progress", { name, percent: 0 }) });
    const cancel = el("button", { type: "button", class: "icon" }, icon("close"));
    label(cancel, t("files.cancel", { name }));
    const row = el("li", { class: "upload" }, state, bar, cancel);
    const upload = { file, name, room, row, bar, state, request: null };
    cancel.addEventListener("click", () => {
      upload.request?.abort();
      this.queue = this.queue.filter((each) => each !== upload);
      row.remove();
      byId("input").focus();
    });
    byId("uploads").append(row);
    this.queue.push(upload);
  }

  /** @private */
  next() {
    const upload = this.busy ? undefined : this.queue.shift();
    if (!upload) return;
    this.busy = true;
    const request = new XMLHttpRequest();
    upload.request = request;
    const { file, name } = upload;
    request.open("PUT", `files/${encodeURIComponent(name)}?room=${encodeURIComponent(upload.room)}`);
    request.setRequestHeader("Authorization", `Bearer ${this.app.house.me.token}`);
    if (file.type) request.setRequestHeader("Content-Type", file.type);
    request.upload.onprogress = (event) => {
      upload.bar.value = event.loaded;
      upload.state.textContent = t("files.progress", { name, percent: Math.floor((100 * event.loaded) / file.size) });
    };
    request.onload = () => {
      if (request.status === 201) {
        upload.row.remove();
        announce(t("files.done", { name }));
      } else {
        this.fail(upload, reason(request));
      }
    };
    request.onerror = () => this.fail(upload, t("files.error.network"));
    request.onloadend = () => {
      this.busy = false;
      this.next();
    };
    request.send(file);
  }

  /** @private */
  fail(upload, why) {
    upload.bar.remove();
    upload.row.classList.add("failed");
    upload.state.textContent = t("files.failed", { name: upload.name, why });
    announce(upload.state.textContent);
    setTimeout(() => upload.row.remove(), STAYS);
  }
}

/** @param {XMLHttpRequest} request @returns {string} why the house has not taken it */
function reason(request) {
  try {
    const { why } = JSON.parse(request.responseText);
    if (typeof why === "string" && why) return why.replace(/\.$/, "");
  } catch {
    // not in the house's own words
  }
  const known = [401, 403, 413, 415, 507].includes(request.status);
  return t(known ? `files.error.${request.status}` : "files.error.other", { status: String(request.status) });
}
