// What every screen shares: single keys, posting without leaving the page, telling the person what happened.
// It stands in for HTMX: no third-party code is kept in this repository, and what the desk needs of it is little.
// Every form also works without this file. Nothing here turns text into markup: elements are made, text is set.

document.documentElement.classList.add("scripted");

export const $ = (selector, root = document) => root.querySelector(selector);
export const $$ = (selector, root = document) => [...root.querySelectorAll(selector)];

/** An element with attributes and children; strings become text. */
export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === false || value === null || value === undefined) continue;
    element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children);
  return element;
}

let clearing = 0;
/** Say something in the status line, which screen readers read out. */
export function say(text, stay = 4000) {
  const line = $("#status");
  line.textContent = text;
  clearTimeout(clearing);
  if (stay) clearing = setTimeout(() => { line.textContent = ""; }, stay);
}

/**
 * Post fields; answers {ok, status, data}. `data` is the JSON of the answer, or {error} in words.
 * A connection that fails has status 0.
 */
export async function post(address, fields, options = {}) {
  const body = fields instanceof URLSearchParams ? fields : new URLSearchParams(fields);
  let answer;
  try {
    answer = await fetch(address, {
      method: "POST", body, credentials: "same-origin", keepalive: options.keepalive === true, signal: options.signal,
      headers: { "Accept": "application/json", "X-CSRF-Token": $("meta[name=csrf]").content },
    });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    return { ok: false, status: 0, data: { error: "The desk does not answer. What you typed stays here." } };
  }
  let data = {};
  const text = await answer.text();
  try { data = JSON.parse(text); } catch { data = { error: text.slice(0, 300) || `Refused (${answer.status}).` }; }
  if (answer.status === 401) data.error = "You are signed out. Sign in in another tab; what you typed stays here.";
  return { ok: answer.ok, status: answer.status, data };
}

/** Call `work` when nothing has happened for `wait` ms; `.now()` calls at once what is waiting. */
export function debounce(work, wait) {
  let timer = 0;
  const later = (...given) => { clearTimeout(timer); timer = setTimeout(() => { timer = 0; work(...given); }, wait); };
  later.now = (...given) => { if (timer) { clearTimeout(timer); timer = 0; return work(...given); } return undefined; };
  later.waiting = () => timer !== 0;
  return later;
}

// ---------------------------------------------------------------------------------------------------- single keys

const keys = new Map();
/** Let `work` be done on a key; `work` may answer false to say that there is nothing to do. */
export function onKey(key, work) { keys.set(key, work); }

const writing = (target) => target instanceof Element &&
  (target.closest("input:not([type=checkbox],[type=radio]), textarea, select, [contenteditable]") !== null);

let afterG = 0;
const keysOn = () => localStorage.getItem("desk-keys") !== "off";

document.addEventListener("keydown", (event) => {
  if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
  if (writing(event.target) || !keysOn()) return;
  const dialog = $("dialog[open]");
  if (dialog && !(event.key === "?" && dialog.id === "keys")) return;
  if (Date.now() - afterG < 1200) {
    afterG = 0;
    const where = { q: "/", n: "/new", s: "/statistics", h: "/history", r: "/runs" }[event.key];
    if (where) { event.preventDefault(); location.assign(where); return; }
  }
  if (event.key === "g") { afterG = Date.now(); return; }
  // Enter and space belong to the button or link that has the focus.
  if ((event.key === "Enter" || event.key === " ") && event.target.closest?.("a, button, summary")) return;
  const work = keys.get(event.key);
  if (work && work(event) !== false) event.preventDefault();
});

const help = $("#keys");
if (help) {
  const toggle = () => (help.open ? help.close() : help.showModal());
  onKey("?", toggle);
  $("[data-key-help]").addEventListener("click", toggle);
  const box = $("#keys-on");
  box.checked = keysOn();
  box.addEventListener("change", () => localStorage.setItem("desk-keys", box.checked ? "on" : "off"));
}

/** Open a dialog, and put the focus back where it was when it closes. */
export function openDialog(dialog) {
  const before = document.activeElement;
  dialog.addEventListener("close", () => { if (before?.isConnected) before.focus(); }, { once: true });
  dialog.showModal();
  $("[autofocus], textarea, input:not([type=hidden]), button", dialog)?.focus();
}
for (const button of $$("[data-opens]")) {
  button.addEventListener("click", () => openDialog(document.getElementById(button.dataset.opens)));
}
for (const button of $$("dialog [data-close]")) {
  button.addEventListener("click", () => button.closest("dialog").close());
}

// A form is sent once, also by an impatient hand.
document.addEventListener("submit", (event) => {
  const form = event.target;
  if (event.defaultPrevented || form.method !== "post") return;
  if (form.dataset.sent) event.preventDefault();
  form.dataset.sent = "yes";
});
addEventListener("pageshow", () => { for (const form of $$("form[data-sent]")) delete form.dataset.sent; });

// ---------------------------------------------------------------------------------------------------- the queue

const rows = $$("[data-row]");
if (rows.length) {
  const named = sessionStorage.getItem("desk-row");
  let at = rows.findIndex((row) => row.dataset.row === named);
  const go = (place, focus = true) => {
    if (place < 0 || place >= rows.length) return false;
    rows[at]?.classList.remove("at");
    at = place;
    rows[at].classList.add("at");
    sessionStorage.setItem("desk-row", rows[at].dataset.row);
    if (focus) $("a", rows[at]).focus();
    rows[at].scrollIntoView({ block: "nearest" });
    return true;
  };
  if (at >= 0) go(at, false);
  for (const [place, row] of rows.entries()) row.addEventListener("focusin", () => go(place, false));
  const open = (part) => () => {
    if (at < 0) return false;
    location.assign($("a", rows[at]).href + part);
    return true;
  };
  onKey("j", () => go(Math.min(at + 1, rows.length - 1)));
  onKey("k", () => go(Math.max(at - 1, 0)));
  onKey("e", open("#edit"));
  onKey("a", open("#approve"));
  onKey("r", open("#regenerate"));
  onKey("x", open("#overrule"));
  onKey("Enter", open(""));
  onKey("/", () => { $("#q")?.focus(); return true; });
  onKey("n", () => { const next = $("[rel=next]"); if (next) location.assign(next.href); return Boolean(next); });
  onKey("p", () => { const before = $("[rel=prev]"); if (before) location.assign(before.href); return Boolean(before); });
}
