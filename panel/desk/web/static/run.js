// A run as it goes on: one lane for each reviewer, and what each of them has read.

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
  $(".idle", lane)?.remove();
  lane.className = `lane ${told.what}`;
  $(".steps", lane).append(make("li", {}, `${STEPS[told.what] ?? told.what} `, make("span", { class: "muted", dir: "auto" }, told.about.join(", "))));
  if (told.what !== "read_evidence") return;
  for (const line of $$(".evidence > li", tool)) {
    if (told.about.includes(line.dataset.id)) $(".readers", line).append(make("span", { class: "chip" }, $("h3", lane).textContent), " ");
  }
}
