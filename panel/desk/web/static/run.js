// A run as it goes on: one lane for each reviewer, what each of them has read, and how far it pulls.

import { $, $$, make } from "./desk.js";

const root = $("#run");
const STEPS = { started: "starting", weigh_evidence: "weighed the evidence", find_evidence: "looked up", read_evidence: "read",
  list_rivals: "looked at the rivals", price: "worked out the price of", final_answer: "gave its answer to be checked",
  scored: "done", reused: "kept from an earlier run", unscored: "ended without a verdict" };
const NOTES = { waiting: "Waiting for the run before it.", loading: "The model is loading, once for all runs.",
  done: "All reviewers have answered.", cancelled: "Cancelled." };
const OVER = ["done", "failed", "cancelled"];

function state(text) {
  const chip = $("#run-state");
  chip.textContent = text;
  chip.className = `chip run-${text}`;
  if (text !== "waiting") $("#cancel")?.remove();
}

const events = new EventSource(`/runs/${root.dataset.id}/events?seen=${root.dataset.seen}`);
events.onmessage = (message) => {
  const told = JSON.parse(message.data);
  if (told.tool) step(told);
  else if (told.what !== "waiting") state(OVER.includes(told.what) ? told.what : "running");
  if (told.tool) state("running");
  const note = $("#run-note");
  if (told.what === "failed") { note.textContent = told.about[0] ?? "It did not work."; note.className = "wrong"; }
  else if (!told.tool) note.textContent = NOTES[told.what] ?? note.textContent;
  else note.textContent = "The panel is at work.";
  if (OVER.includes(told.what) && !told.tool) {
    events.close();
    const link = $("#open-draft");
    if (told.result) { link.href = `/items/${encodeURIComponent(told.result)}`; link.hidden = false; link.focus(); }
  }
};

function step(told) {
  const tool = $(`.at-work[data-tool="${CSS.escape(told.tool)}"]`);
  const lane = tool && $(`.lane[data-persona="${CSS.escape(told.persona)}"]`, tool);
  if (!lane) return;
  const weighed = told.what === "weigh_evidence";
  const about = weighed ? told.about.slice(0, 4).map((each) => each.replace("-", "−")) : told.about;
  $(".idle", lane)?.remove();
  lane.className = `lane ${told.what}`;
  $(".steps", lane).append(make("li", {}, `${STEPS[told.what] ?? told.what} `, make("span", { class: "muted", dir: "auto" }, about.join(", "))));
  if (weighed) for (const each of told.about) {
    const [id, pull] = each.replace("-", "−").split("\u00a0");
    chip(tool, id, told.persona).append(` ${pull}`);
  }
  if (told.what === "read_evidence") for (const id of told.about) chip(tool, id, told.persona).classList.add("read");
}

// The chip of one reviewer at one piece of evidence.
function chip(tool, id, persona) {
  const readers = $(`.evidence > li[data-id="${CSS.escape(id)}"] .readers`, tool);
  const there = readers && $(`[data-persona="${CSS.escape(persona)}"]`, readers);
  if (there) return there;
  const fresh = make("span", { class: "chip", "data-persona": persona }, $(`.lane[data-persona="${CSS.escape(persona)}"] h3`, tool).textContent);
  readers?.append(fresh, " ");
  return fresh;
}
