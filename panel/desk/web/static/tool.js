// The form for a new tool: checked as one types, a pasted text becomes rows, rows are kept, edited or dropped.

import { $, $$, debounce, make, post, say } from "./desk.js";

const form = $("#tool");
const touched = new Set($$("[aria-invalid=true]", form).map((field) => field.name));
const facts = $("#facts");
const plans = $("#plans");

// -------------------------------------------------------------------------------------------------------- rows

let made = 1000; // above every number that the server gave, so that no name is there twice

function row(kind, list, values = {}) {
  const number = String(made++);
  const added = $(`#${kind}-row`).content.firstElementChild.cloneNode(true);
  for (const element of [added, ...$$("*", added)]) {
    for (const attribute of [...element.attributes]) {
      if (attribute.value.includes("__n__")) element.setAttribute(attribute.name, attribute.value.replaceAll("__n__", number));
    }
  }
  for (const [name, value] of Object.entries(values)) {
    const field = $(`[name$=".${name}"]`, added);
    if (field) field.value = value;
  }
  list.append(added);
  return added;
}

function nextId() {
  const taken = $$("[name$='.id']", facts).map((field) => Number(/^E([1-9]\d*)$/.exec(field.value)?.[1] ?? 0));
  return Math.max(0, ...taken) + 1;
}

function dropEmpty() {
  for (const line of $$("[data-fact]", facts)) if (!$("textarea", line).value.trim()) line.remove();
}

function kept(line) { line.classList.toggle("dropped", !$("[name$='.keep']", line).checked); }
for (const line of $$("[data-fact]")) kept(line);
facts.addEventListener("change", (event) => { if (event.target.name.endsWith(".keep")) kept(event.target.closest("[data-fact]")); });

$("[data-add-fact]").addEventListener("click", (event) => {
  event.preventDefault();
  const added = row("fact", facts, { id: `E${nextId()}`, source: $("#source").value });
  $("textarea", added).focus();
});
$("[data-add-plan]").addEventListener("click", (event) => {
  event.preventDefault();
  $("input", row("plan", plans)).focus();
});

// ------------------------------------------------------------------------------------------------------- paste

$("[data-cut]").addEventListener("click", async (event) => {
  event.preventDefault();
  const paste = $("#paste");
  if (!paste.value.trim()) { paste.focus(); return; }
  dropEmpty();
  const { ok, data } = await post("/new/candidates", { paste: paste.value, first: nextId() });
  if (!ok) { $("[data-error=paste]").textContent = data.error; return; }
  $("[data-error=paste]").textContent = "";
  for (const found of data.candidates) row("fact", facts, { ...found, source: $("#source").value });
  const left = $("#dropped");
  left.hidden = data.dropped.length === 0;
  $("ul", left).replaceChildren(...data.dropped.map((one) => make("li", {}, make("q", { dir: "auto" }, one.text), ` ${one.why}`)));
  $("#cut-note").textContent = `${data.candidates.length} facts found, ${data.dropped.length} sentence${data.dropped.length === 1 ? "" : "s"} left out.` +
    (data.truncated ? " The text was longer than what is read." : "");
  if (data.candidates.length) paste.value = "";
  const first = $$("[data-fact]", facts).at(-data.candidates.length);
  if (data.candidates.length && first) $("[name$='.keep']", first).focus();
  check();
});
// what is named later as the source fills the gaps
$("#source").addEventListener("change", () => {
  for (const field of $$("[name$='.source']", facts)) if (!field.value) field.value = $("#source").value;
});

// ---------------------------------------------------------------------------------------------------- checking

let asked = 0;
/** Rows are numbered as they stand, which is how the server counts them. */
function fields() {
  const sent = new URLSearchParams();
  const place = { evidence: new Map(), pricing: new Map() };
  const back = {};
  for (const [name, value] of new FormData(form)) {
    const found = /^(evidence|pricing)\.(\d+)\.(\w+)$/.exec(name);
    if (!found) { if (name !== "paste") sent.append(name, value); continue; }
    const known = place[found[1]];
    if (!known.has(found[2])) { back[`${found[1]}.${known.size}`] = `${found[1]}.${found[2]}`; known.set(found[2], known.size); }
    sent.append(`${found[1]}.${known.get(found[2])}.${found[3]}`, value);
  }
  return { sent, back };
}

const check = debounce(async () => {
  const mine = ++asked;
  const { sent, back } = fields();
  const { ok, data } = await post("/new/check", sent);
  if (!ok || mine !== asked) return;
  const wrong = new Map();
  for (const one of data.problems) {
    const field = one.field.replace(/^(evidence|pricing)\.\d+/, (found) => back[found] ?? found);
    if (!wrong.has(field)) wrong.set(field, `${one.problem}. ${one.fix.charAt(0).toUpperCase()}${one.fix.slice(1)}.`);
  }
  for (const line of $$("[data-error]", form)) {
    const name = line.dataset.error;
    if (name === "paste" || name === "source") continue;
    const field = form.elements[name];
    const text = touched.has(name) ? wrong.get(name) ?? "" : "";
    line.textContent = text;
    if (field instanceof Element) text ? field.setAttribute("aria-invalid", "true") : field.removeAttribute("aria-invalid");
  }
  $("#ready").textContent = data.whole
    ? (data.known ? "Ready. There is a dossier of this short name already; this becomes its next version." : "Ready.")
    : `${data.problems.length} thing${data.problems.length === 1 ? "" : "s"} still to fill in or mend.`;
}, 350);

const slug = $("#slug");
let own = slug.value !== "";
slug.addEventListener("input", () => { own = slug.value !== ""; });
$("#name").addEventListener("input", () => {
  if (own) return;
  slug.value = $("#name").value.normalize("NFKD").replace(/[\u0300-\u036f]/g, "").toLowerCase()
    .replace(/[^a-z0-9]+/g, "-").replace(/^-+|-+$/g, "").slice(0, 64).replace(/-+$/, "");
});
form.addEventListener("input", check);
form.addEventListener("change", check);
form.addEventListener("focusout", (event) => {
  if (event.target.name && event.target.value !== "") touched.add(event.target.name);
  check();
});
form.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) { event.preventDefault(); form.requestSubmit($("#start")); }
});
form.addEventListener("submit", () => say("Sending …", 0));
const first = $("[aria-invalid=true]", form);
if (first) first.focus();
else check();
