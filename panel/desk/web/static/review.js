// The review screen: what a sentence rests on, editing in place with autosave, and what others do meanwhile.

import { $, $$, debounce, make, onKey, openDialog, post, say } from "./desk.js";

const root = $("#item");
const base = root.dataset.base;
let revision = Number(root.dataset.revision);
const sentences = $$(".sentence");
const editable = $(".editor") !== null;

function setRevision(next) {
  revision = next;
  for (const field of $$("input[name=revision]")) field.value = String(next);
}

// ------------------------------------------------------------------------------------------- what it rests on

let at = null; // the sentence that was looked at last

function light(sentence) {
  for (const lit of $$(".lit, .leaned")) lit.classList.remove("lit", "leaned");
  sentence.classList.add("lit");
  const { place, persona } = sentence.dataset;
  if (place === "") return;
  showRail(place);
  const cites = sentence.dataset.cites.split(" ").filter(Boolean);
  let first = null;
  for (const line of $$(`.rail-tool[data-place="${CSS.escape(place)}"] .evidence > li`)) {
    if (cites.includes(line.dataset.id)) { line.classList.add("lit"); first ??= line; }
    $(`.four li[data-persona="${CSS.escape(persona)}"]`, line)?.classList.add("leaned");
  }
  const list = $(".rail-scroll");
  if (first && list) list.scrollTop += first.getBoundingClientRect().top - list.getBoundingClientRect().top - 8;
}

function showRail(place) {
  for (const tool of $$(".rail-tool")) tool.hidden = tool.dataset.place !== place;
  for (const tab of $$("[data-rail]")) tab.setAttribute("aria-pressed", String(tab.dataset.rail === place));
}
if ($$(".rail-tool").length > 1) showRail("0");
for (const tab of $$("[data-rail]")) tab.addEventListener("click", () => showRail(tab.dataset.rail));

for (const sentence of sentences) {
  sentence.addEventListener("mouseenter", () => { if (!$(".sentence.open")) light(sentence); });
  sentence.addEventListener("focusin", () => { at = sentence; light(sentence); });
}

// ------------------------------------------------------------------------------------------------- the sentence

/** Fill `element` with `text`, the words that the rules do not let pass marked. */
function fill(element, text, spans) {
  element.replaceChildren();
  let from = 0;
  for (const span of [...spans].sort((a, b) => a.start - b.start)) {
    // the server counts characters, the browser halves of them beyond U+FFFF
    if (span.start < from) continue;
    const points = [...text];
    element.append(points.slice(from, span.start).join(""));
    element.append(make("mark", { class: span.level, title: span.why }, points.slice(span.start, span.end).join("")));
    from = span.end;
  }
  element.append([...text].slice(from).join(""));
}

function show(sentence, data) {
  kept.delete(sentence);
  fill($(".text", sentence), data.text, data.spans);
  sentence.dataset.cites = data.cites.join(" ");
  sentence.classList.toggle("edited", data.text !== sentence.dataset.draft);
  let cites = $(":scope > .cites", sentence);
  if (!cites) { cites = make("sup", { class: "cites" }); $(".text", sentence).after(cites); }
  cites.replaceChildren(...data.cites.flatMap((id, place) => (place ? [" ", make("span", {}, id)] : [make("span", {}, id)])));
  const fields = $(".editor", sentence);
  if (fields && !fields.open) {
    $("textarea", fields).value = data.text;
    const box = $("input[name=cites]", fields);
    if (box) box.value = data.cites.join(" ");
  }
  findings(sentence, data);
}

function findings(sentence, data) {
  const list = $(".findings", sentence);
  if (!list) return;
  const lines = data.spans.map((span) => {
    const line = make("li", {}, make("strong", { dir: "auto" }, span.text), `${span.why.slice(span.text.length)} `);
    if (span.level === "ungrounded" && sentence.dataset.tool) {
      const button = make("button", { type: "button" }, "Confirm with a source");
      button.addEventListener("click", () => confirmFact(sentence));
      line.append(button);
    }
    return line;
  });
  list.replaceChildren(...lines, ...data.problems.map((problem) => make("li", {}, problem)));
  const area = $("textarea", sentence);
  const mirror = $(".mirror", sentence);
  fill(mirror, area.value, area.value === data.text ? data.spans : []);
  mirror.append("\n");
}

async function confirmFact(sentence) {
  await flush();
  const dialog = $("#confirm");
  $("[name=tool]", dialog).value = sentence.dataset.tool;
  $("[name=target]", dialog).value = sentence.dataset.target;
  $("[name=fact]", dialog).value = $("textarea", sentence).value.slice(0, 400);
  openDialog(dialog);
}

// ------------------------------------------------------------------------------------------------------- saving

const WAIT = 500; // from the first key that is not saved, however long one goes on typing
let timer = 0;
let waiting = null; // {sentence, text, cites} not yet acknowledged
let sending = null; // the promise of the save that is on its way
let stepOf = null; // the sentence whose saves are one undo step

function typed(sentence) {
  const box = $("input[name=cites]", sentence);
  waiting = { sentence, text: $("textarea", sentence).value, cites: box ? box.value : null };
  note(sentence, "…");
  if (!timer) timer = setTimeout(() => { timer = 0; send(); }, WAIT);
}

const note = (sentence, text) => { const line = $(".saved", sentence); if (line) line.textContent = text; };

function send() {
  sending ??= (async () => {
    try {
      while (waiting) {
        const work = waiting;
        waiting = null;
        if (!await sendOne(work)) { waiting ??= work; break; }
      }
    } finally { sending = null; }
    return waiting === null;
  })();
  return sending;
}

/** Everything typed so far is saved once this is done; answers false where it cannot be. */
export async function flush() {
  if (timer) { clearTimeout(timer); timer = 0; }
  while (waiting || sending) {
    if (!await send()) return false;
  }
  return true;
}

async function sendOne(work, over = false) {
  const { sentence } = work;
  const fields = { target: sentence.dataset.target, text: work.text, revision, same_step: stepOf === sentence ? "1" : "0" };
  if (work.cites !== null) fields.cites = work.cites;
  const { ok, status, data } = await post(`${base}/save`, fields, { keepalive: work.text.length < 20000 });
  if (ok) {
    stepOf = sentence;
    setRevision(data.revision);
    show(sentence, data);
    note(sentence, waiting ? "…" : "Saved");
    counted(data);
    return true;
  }
  if (status === 409 && data.changes) {
    const mine = data.changes.filter((change) => change.target === sentence.dataset.target);
    setRevision(data.revision);
    told(data.changes);
    if (mine.length && !over) return conflict(work, mine[mine.length - 1]);
    return sendOne(work, over); // elsewhere on the page: nothing of theirs is touched by this
  }
  if (status === 422) { note(sentence, ""); $(".findings", sentence).replaceChildren(make("li", {}, data.error)); return true; }
  if (status === 0 || status === 401 || status === 403) {
    note(sentence, "Not saved");
    say(data.error, 0);
    setTimeout(async () => { await renew(); if (!timer) send(); }, 2000);
    return false;
  }
  note(sentence, "Not saved");
  say(data.error ?? "This could not be saved.", 0);
  $("#meanwhile").hidden = false;
  $("#meanwhile").textContent = data.error ?? "This could not be saved.";
  return true;
}

/** After signing in again in another tab: take over the new session's token. */
async function renew() {
  try {
    const answer = await fetch("/session", { credentials: "same-origin" });
    if (!answer.ok) return;
    const session = await answer.json();
    if (session.user !== root.dataset.user) return;
    $("meta[name=csrf]").content = session.csrf;
    for (const field of $$("input[name=csrf]")) field.value = session.csrf;
    say("");
  } catch { /* still away: the next try comes */ }
}

/** Somebody changed the same sentence: both texts are shown, and the person chooses. */
function conflict(work, theirs) {
  const dialog = $("#conflict");
  $("#conflict-who").textContent = `${theirs.by} changed this while you wrote. Nothing was overwritten.`;
  $("#conflict-theirs").textContent = theirs.text;
  $("#conflict-yours").value = work.text;
  return new Promise((resolve) => {
    const finish = (choice) => async () => {
      dialog.close();
      if (choice === "mine") {
        const text = $("#conflict-yours").value;
        $("textarea", work.sentence).value = text;
        waiting = null;
        resolve(await sendOne({ ...work, text }, true));
      } else {
        $("textarea", work.sentence).value = theirs.text;
        waiting = null;
        const looked = await post(`${base}/check`, { target: work.sentence.dataset.target, text: theirs.text });
        show(work.sentence, { text: theirs.text, cites: work.sentence.dataset.cites.split(" ").filter(Boolean),
          spans: looked.data.spans ?? [], problems: looked.data.problems ?? [] });
        note(work.sentence, "");
        resolve(true);
      }
    };
    $("#conflict-keep").onclick = finish("theirs");
    $("#conflict-save").onclick = finish("mine");
    dialog.oncancel = (event) => event.preventDefault();
    openDialog(dialog);
  });
}

function told(changes) {
  const who = [...new Set(changes.map((change) => change.by))].join(", ");
  const bar = $("#meanwhile");
  bar.hidden = false;
  bar.replaceChildren(`${who} changed something here meanwhile. `, make("a", { href: base }, "Show it"));
}

function counted(data) {
  const count = $("#open-count");
  if (count) count.textContent = String(data.open);
  const approve = $("#approve");
  if (approve && data.open) approve.disabled = true;
  // what else has come of it (a button that may be pressed now, a blocker gone) is for the next look
  root.dataset.moved = "yes";
}

addEventListener("beforeunload", (event) => { if (waiting || sending) event.preventDefault(); });
addEventListener("pagehide", () => { if (waiting) sendOne(waiting); });

// ------------------------------------------------------------------------------------------------------ editing

function open(sentence) {
  const editor = $(".editor", sentence);
  if (!editor || sentence.classList.contains("open")) return;
  for (const other of $$(".sentence.open")) shut(other, false);
  hideDifference(sentence);
  stepOf = null;
  sentence.classList.add("open");
  editor.open = true;
  $(".text", sentence).setAttribute("aria-expanded", "true");
  const area = $("textarea", sentence);
  fit(area);
  area.focus();
  area.setSelectionRange(area.value.length, area.value.length);
  post(`${base}/check`, { target: sentence.dataset.target, text: area.value }).then(({ ok, data }) => {
    if (ok && !waiting) findings(sentence, { ...data, text: area.value });
  });
}

async function shut(sentence, focus = true) {
  sentence.classList.remove("open");
  $(".editor", sentence).open = false;
  const text = $(".text", sentence);
  text.setAttribute("aria-expanded", "false");
  if (focus) text.focus();
  const saved = await flush();
  stepOf = null;
  // blockers, buttons and figures are the server's to say: look again once the text is safe
  if (saved && root.dataset.moved && !$(".sentence.open")) look(sentence);
}

function fit(area) { area.rows = Math.max(2, Math.min(14, Math.ceil(area.value.length / 52) + (area.value.match(/\n/g) ?? []).length)); }

for (const sentence of sentences) {
  const editor = $(".editor", sentence);
  if (!editor) continue;
  const text = $(".text", sentence);
  text.addEventListener("click", () => open(sentence));
  text.addEventListener("keydown", (event) => {
    if (event.key === "Enter" || event.key === " ") { event.preventDefault(); open(sentence); }
  });
  const form = $("form", editor);
  form.addEventListener("submit", (event) => { event.preventDefault(); shut(sentence); });
  const area = $("textarea", form);
  area.addEventListener("input", () => {
    fit(area);
    const mirror = $(".mirror", sentence);
    mirror.textContent = `${area.value}\n`;
    typed(sentence);
  });
  area.addEventListener("scroll", () => { $(".mirror", sentence).scrollTop = area.scrollTop; });
  $("input[name=cites]", form)?.addEventListener("input", () => typed(sentence));
  form.addEventListener("keydown", (event) => {
    if (event.key === "Escape") { event.preventDefault(); shut(sentence); }
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) { event.preventDefault(); shut(sentence); }
  });
  $("[data-finish]", form).addEventListener("click", () => shut(sentence));
  $("[data-undo-here]", form).addEventListener("click", () => back("undo"));
  $("[data-machine]", form).addEventListener("click", () => {
    area.value = sentence.dataset.draft;
    area.dispatchEvent(new Event("input"));
    area.focus();
  });
}

async function back(action) {
  if (!await flush()) return;
  stepOf = null;
  const { ok, data } = await post(`${base}/${action}`, { revision });
  if (!ok) { say(data.error); return; }
  const sentence = sentences.find((one) => one.dataset.target === data.target);
  if (!sentence) { look(at); return; }
  setRevision(data.revision);
  if (sentence.classList.contains("open")) $("textarea", sentence).value = data.text;
  show(sentence, data);
  counted(data);
  say(action === "undo" ? "Undone." : "Done again.");
  if (!$(".sentence.open")) lookSoon(sentence);
}

/** Load the page again where we are: blockers, buttons and figures are made on the server. */
function look(sentence) {
  if (sentence) at = sentence;
  returning = true;
  location.replace(base);
}
let returning = false;
// at the last moment, so that keys pressed meanwhile count
addEventListener("pagehide", () => {
  if (!returning) return;
  sessionStorage.setItem("desk-at", JSON.stringify({ base, target: at?.dataset.target, y: scrollY, d: differences }));
});
/** Once nobody has undone anything for a moment: a key that is pressed while a page loads is lost. */
const lookSoon = debounce((sentence) => { if (!$(".sentence.open")) look(sentence); }, 600);

// ---------------------------------------------------------------------------------------------- the difference

let differences = false;

const kept = new Map(); // what stood in a sentence before its difference was shown

function hideDifference(sentence) {
  const nodes = kept.get(sentence);
  if (nodes) $(".text", sentence).replaceChildren(...nodes);
  kept.delete(sentence);
}

async function showDifference(sentence) {
  const answer = await fetch(`${base}/difference?${new URLSearchParams({ target: sentence.dataset.target })}`);
  if (!answer.ok || sentence.classList.contains("open")) return;
  const pieces = await answer.json();
  if (!differences || kept.has(sentence)) return;
  const tags = { same: "span", gone: "del", new: "ins" };
  const text = $(".text", sentence);
  kept.set(sentence, [...text.childNodes]);
  text.replaceChildren(...pieces.map((piece) => make(tags[piece.op], {}, piece.text)));
}

async function toggleDifferences() {
  differences = !differences;
  $("#differences")?.setAttribute("aria-pressed", String(differences));
  const edited = sentences.filter((sentence) => sentence.classList.contains("edited"));
  if (!differences) sentences.forEach(hideDifference);
  else await Promise.all(edited.map(showDifference));
  say(differences ? (edited.length ? "Struck out: the machine’s draft. Underlined: what a person wrote." : "Nothing was changed by hand.") : "");
}

// -------------------------------------------------------------------------------------------------------- keys

const step = (list, from, by) => {
  const now = list.indexOf(from);
  const next = list[now < 0 ? (by > 0 ? 0 : list.length - 1) : now + by];
  if (!next) return false;
  const target = $(".text", next) ?? next;
  target.focus();
  target.scrollIntoView({ block: "center" });
  return true;
};
const reviews = $$("[data-review]");
const review = () => at?.closest("[data-review]") ?? document.activeElement?.closest("[data-review]") ?? reviews[0];

onKey("j", () => step(sentences, at, 1));
onKey("k", () => step(sentences, at, -1));
const stepReview = (by) => () => {
  const list = reviews.map((one) => $(".sentence", one) ?? one);
  const here = at?.closest("[data-review]");
  return step(list, here ? list[reviews.indexOf(here)] : null, by);
};
onKey("J", stepReview(1));
onKey("K", stepReview(-1));
onKey("e", () => { if (!editable) { say("Reopen it first."); return true; } open(at ?? sentences[0]); return true; });
onKey("d", () => { toggleDifferences(); return true; });
$("#differences")?.addEventListener("click", toggleDifferences);
onKey("u", () => { if (editable) back("undo"); return true; });
onKey("U", () => { if (editable) back("redo"); return true; });
onKey("r", () => { const form = $("[data-regenerate]", review()); form?.requestSubmit(); return Boolean(form); });
onKey("x", () => { const button = $("[data-overrule]", review()); button?.click(); return Boolean(button); });
onKey("p", () => { $("#preview").click(); return true; });
onKey("w", () => { const button = $("#withdraw-open"); button?.click(); return Boolean(button); });
onKey("a", () => {
  const button = $("#approve") ?? $("#publish");
  if (!button) return false;
  if (!button.disabled) { button.focus(); button.click(); return true; }
  say($$(".blockers li:not(.waived)").length ? "Something stands in the way: press b." : "Only an approver can approve.");
  return true;
});
const ways = $$(".blockers li:not(.waived) [data-blocker]");
onKey("b", () => {
  const next = ways[(ways.indexOf(document.activeElement) + 1) % ways.length];
  next?.focus();
  return Boolean(next);
});
for (const way of $$("[data-blocker]")) {
  way.addEventListener("click", (event) => {
    const target = document.getElementById(way.hash.slice(1));
    const sentence = target?.matches(".sentence") ? target : $(".sentence", target ?? root);
    if (!sentence) return;
    event.preventDefault();
    $(".text", sentence).focus();
    sentence.scrollIntoView({ block: "center" });
  });
}

// ---------------------------------------------------------------------------------------------- forms and runs

// What is typed goes first: a form that is sent from here has to know the revision that comes after it.
document.addEventListener("submit", (event) => {
  if (event.defaultPrevented || !(waiting || sending)) return;
  event.preventDefault();
  const { target, submitter } = event;
  delete target.dataset.sent;
  flush().then((done) => { if (done) target.requestSubmit(submitter); });
}, { capture: true });

const DOING = { waiting: "waits for its turn", loading: "the model is loading", started: "starts", weigh_evidence: "has weighed the evidence",
  find_evidence: "looks up", read_evidence: "reads", list_rivals: "looks at rivals", price: "works out the price", final_answer: "checks its answer",
  scored: "has answered", unscored: "ended without a verdict" };

for (const form of $$("[data-regenerate]")) {
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    event.stopPropagation();
    const line = $(".progress", form.closest("[data-review]"));
    const { ok, data } = await post(form.action, new URLSearchParams(new FormData(form)));
    if (!ok) { say(data.error, 0); return; }
    line.hidden = false;
    line.textContent = "Waiting.";
    const events = new EventSource(`/runs/${data.run}/events`);
    events.onmessage = async (message) => {
      const told = JSON.parse(message.data);
      if (told.what === "done") {
        events.close();
        await flush();
        look(at ?? $(".sentence", form.closest("[data-review]")));
      } else if (told.what === "failed" || told.what === "cancelled") {
        events.close();
        line.textContent = told.about[0] ?? "It did not work.";
      } else line.textContent = `The reviewer ${DOING[told.what] ?? told.what} ${told.about.join(", ")}`.trim();
    };
  });
}

// ------------------------------------------------------------------------------------------------ others, return

setInterval(async () => {
  if (document.hidden || waiting || sending) return;
  try {
    const answer = await fetch(`${base}/revision`, { credentials: "same-origin" });
    if (!answer.ok) return;
    const now = await answer.json();
    if (now.revision !== revision && !waiting && !sending) told([{ by: now.by }]);
  } catch { /* away; saving says so where it matters */ }
}, 10000);

const before = JSON.parse(sessionStorage.getItem("desk-at") ?? "null");
sessionStorage.removeItem("desk-at");
if (before?.base === base) {
  scrollTo(0, before.y);
  const sentence = sentences.find((one) => one.dataset.target === before.target);
  if (sentence) $(".text", sentence).focus({ preventScroll: true });
  if (before.d) toggleDifferences();
} else asked();
/** What the queue's keys ask for. */
function asked() {
  if (location.hash === "#edit" && editable) open(sentences.find((one) => one.closest("[data-review]")) ?? sentences[0]);
  else if (location.hash === "#approve") ($("#approve:enabled") ?? $("#publish") ?? $("[data-blocker]"))?.focus();
  else if (location.hash === "#regenerate") $("[data-regenerate] button")?.focus();
  else if (location.hash === "#overrule") $("[data-overrule]")?.focus();
}
addEventListener("hashchange", asked);
if ($("[data-notice]")) history.replaceState(null, "", base);
