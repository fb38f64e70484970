"use strict";
(() => {
  for (const log of document.querySelectorAll(".log pre")) log.scrollTop = log.scrollHeight;
  const form = document.querySelector("form.filter");
  if (!form) return;
  const rows = [...document.querySelectorAll("tr[data-outcome]")];
  const words = new Map(rows.map((row) => [row, row.textContent.toLowerCase()]));
  const shown = form.querySelector("output");

  function show() {
    const wanted = form.elements.search.value.trim().toLowerCase();
    const outcome = form.elements.outcome.value;
    let count = 0;
    for (const row of rows) {
      const fits =
        (!outcome || row.dataset.outcome === outcome) && words.get(row).includes(wanted);
      row.hidden = !fits;
      count += fits;
    }
    const asked = wanted || outcome;
    for (const check of document.querySelectorAll("details.cases")) {
      const found = check.querySelector("tr[data-outcome]:not([hidden])");
      check.closest("section").hidden = Boolean(asked) && !found;
      if (asked && found) check.open = true;
    }
    shown.textContent = asked ? `${count} of ${rows.length} cases` : "";
  }

  form.addEventListener("input", show);
  form.addEventListener("submit", (event) => event.preventDefault());
  form.hidden = false;
  show();
})();
