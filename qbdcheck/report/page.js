"use strict";
{
  const rows = [...document.querySelectorAll("#cases > tbody > tr")];
  const suite = document.getElementById("by-suite");
  const words = document.getElementById("by-text");
  const shown = document.getElementById("shown");
  const texts = rows.map((row) => row.textContent.toLowerCase());
  const filter = () => {
    const wanted = words.value.toLowerCase().split(/\s+/).filter(Boolean);
    let count = 0;
    rows.forEach((row, at) => {
      const fits = (!suite.value || row.dataset.suite === suite.value) &&
        wanted.every((word) => texts[at].includes(word));
      row.hidden = !fits;
      count += fits;
    });
    shown.textContent = count === rows.length ? "" : count + " of " + rows.length;
  };
  suite.addEventListener("change", filter);
  words.addEventListener("input", filter);
  document.getElementById("filters").hidden = false;
  for (const button of document.querySelectorAll("button.copy")) {
    button.hidden = !navigator.clipboard;
    button.addEventListener("click", () => navigator.clipboard
      .writeText(button.previousElementSibling.textContent)
      .then(() => { button.textContent = "Copied"; }));
  }
}
