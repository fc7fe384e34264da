"use strict";
(() => {
  const form = document.getElementById("filters");
  const status = document.getElementById("shown");
  const cells = [...document.querySelectorAll("tr[data-flags]")];
  const tools = [...document.querySelectorAll("tbody[data-tool]")];
  const blocks = [...document.querySelectorAll("article[data-persona]")];

  const apply = () => {
    const checked = (name) => [...form.querySelectorAll(`input[name=${name}]:checked`)].map((box) => box.value);
    const only = checked("only");
    const personas = new Set(checked("persona"));
    let shown = 0;
    for (const row of cells) {
      const flags = row.dataset.flags.split(" ");
      const match = personas.has(row.dataset.persona) && (!only.length || only.some((flag) => flags.includes(flag)));
      row.hidden = !match;
      shown += match;
    }
    for (const tool of tools) tool.hidden = !tool.querySelector("tr[data-flags]:not([hidden])");
    for (const block of blocks) block.hidden = !personas.has(block.dataset.persona);
    status.textContent = shown ? `${shown} of ${cells.length} cells shown` : "No cell is like that.";
  };

  form.hidden = false;
  form.addEventListener("change", apply);
  form.addEventListener("reset", () => setTimeout(apply));
  form.addEventListener("submit", (event) => event.preventDefault());
  apply();

  // What a mark says can be sent away without moving the pointer or the focus.
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") document.body.classList.add("quiet");
  });
  for (const kind of ["focusin", "pointerover"]) {
    document.addEventListener(kind, (event) => {
      if (event.target.closest(".mark")) document.body.classList.remove("quiet");
    });
  }
})();
