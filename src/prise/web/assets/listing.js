// What the page of a directory can do when JavaScript runs: filter while one types, show dates as the reader's own place
// writes them, and send files with progress, going on by itself where a connection broke (uploads.py says how).
"use strict";

// Dates ----------------------------------------------------------------------------------------------------------------

const language = document.documentElement.lang;
const dates = new Intl.DateTimeFormat(language, { dateStyle: "medium", timeStyle: "short" });
for (const element of document.querySelectorAll("td.date time")) {
  element.title = element.textContent + " UTC";
  element.textContent = dates.format(new Date(element.dateTime));
}
const dateHead = document.querySelector("th.date a");
if (dateHead) dateHead.textContent = dateHead.textContent.replace(/\s*\(UTC\)/, "");

// Filtering ------------------------------------------------------------------------------------------------------------

const filter = document.getElementById("filter");
if (filter && filter.form.dataset.all === "1") {
  // Everything is on this page, so nobody need be asked.
  const rows = [...document.querySelectorAll("tbody tr:not(.up)")];
  filter.addEventListener("input", () => {
    const wanted = filter.value.toLocaleLowerCase();
    for (const row of rows) {
      row.hidden = !row.querySelector("bdi").textContent.toLocaleLowerCase().includes(wanted);
    }
  });
}

// Uploading ------------------------------------------------------------------------------------------------------------

const TRIES = 8;
const form = document.querySelector("form.upload");

function identity(file) {
  // The same file, chosen again after the page was closed, goes on where it was.
  const key = ["prise", location.pathname, file.name, file.size, file.lastModified].join("\n");
  let id = null;
  try { id = localStorage.getItem(key); } catch { /* storage is switched off */ }
  if (!id) {
    id = [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
    try { localStorage.setItem(key, id); } catch { /* then it cannot be resumed after a reload */ }
  }
  return { id, forget() { try { localStorage.removeItem(key); } catch { /* nothing was kept */ } } };
}

function ask(method, url, body, headers, progress) {
  return new Promise((resolve) => {
    const request = new XMLHttpRequest();
    request.open(method, url);
    for (const [name, value] of Object.entries(headers)) request.setRequestHeader(name, value);
    if (progress) request.upload.addEventListener("progress", (event) => progress(event.loaded));
    request.addEventListener("loadend", () => resolve(request)); // status 0: the connection broke
    request.send(body);
  });
}

async function send(file, line) {
  const bar = line.querySelector("progress");
  const state = line.querySelector("span");
  const { id, forget } = identity(file);
  const url = "./" + encodeURIComponent(file.name) + "?upload=" + id;
  bar.max = Math.max(file.size, 1);
  for (let attempt = 0; attempt < TRIES; attempt += 1) {
    if (attempt) {
      state.textContent = form.dataset.retry;
      await new Promise((resolve) => setTimeout(resolve, 500 * 2 ** attempt));
    }
    const head = await ask("HEAD", url, null, {});
    if (head.status === 0 || head.status >= 500) continue;
    const offset = Math.min(Number(head.getResponseHeader("Upload-Offset")) || 0, file.size);
    state.textContent = form.dataset.sending;
    const headers = offset
      ? { "Upload-Offset": String(offset), "Content-Type": "application/partial-upload" }
      : { "Content-Type": "application/octet-stream" };
    headers["Upload-Length"] = String(file.size);
    const answer = await ask(offset ? "PATCH" : "PUT", url, offset ? file.slice(offset) : file, headers,
      (loaded) => { bar.value = offset + loaded; });
    if (answer.status >= 200 && answer.status < 300) {
      bar.value = bar.max;
      state.textContent = form.dataset.done;
      forget();
      return true;
    }
    const again = answer.status === 0 || answer.status === 423 || (answer.status >= 500 && answer.status !== 507);
    if (!again) {
      forget();
      state.textContent = form.dataset.failed + ": " + (answer.responseText.trim() || answer.status);
      return false;
    }
  }
  state.textContent = form.dataset.failed;
  return false;
}

let sending = 0;

async function sendAll(files) {
  const list = form.querySelector(".progress");
  let stored = 0;
  const lines = [...files].map((file) => {
    const line = document.createElement("li");
    const name = document.createElement("bdi");
    name.textContent = file.name;
    const bar = document.createElement("progress");
    bar.value = 0;
    bar.setAttribute("aria-label", file.name);
    line.append(name, " ", bar, " ", document.createElement("span"));
    list.append(line);
    return [file, line];
  });
  sending += 1;
  for (const [file, line] of lines) stored += await send(file, line);
  sending -= 1;
  if (stored === lines.length && !sending) location.reload();
}

if (form) {
  const area = form.closest(".writing");
  const hint = form.querySelector(".hint");
  hint.textContent = form.dataset.drop;
  hint.hidden = false;
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    sendAll(form.querySelector("input[type=file]").files);
  });
  for (const name of ["dragover", "dragleave", "drop"]) {
    document.addEventListener(name, (event) => {
      if (!event.dataTransfer || ![...event.dataTransfer.types].includes("Files")) return;
      event.preventDefault();
      area.classList.toggle("over", name === "dragover");
      if (name === "drop") sendAll(event.dataTransfer.files);
    });
  }
  window.addEventListener("beforeunload", (event) => { if (sending) event.preventDefault(); });
}
