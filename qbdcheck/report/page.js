"use strict";
{
  const ran = document.getElementById("what-ran");
  if (ran && matchMedia("(min-width: 701px)").matches) {
    ran.open = true;
  }
  const unfold = () => {
    const at = document.getElementById(decodeURIComponent(location.hash.slice(1)));
    for (let one = at; one; one = one.parentElement) {
      if (one.tagName === "DETAILS") {
        one.open = true;
      }
    }
    at?.scrollIntoView();
  };
  addEventListener("hashchange", unfold);
  if (location.hash) {
    unfold();
  }
  const rows = [...document.querySelectorAll("#cases > tbody > tr")];
  const suite = document.getElementById("by-suite");
  const group = document.getElementById("by-group");
  const time = document.getElementById("by-time");
  const order = document.getElementById("by-order");
  const words = document.getElementById("by-text");
  const shown = document.getElementById("shown");
  const texts = rows.map((row) => row.textContent.toLowerCase());
  const filter = () => {
    const wanted = words.value.toLowerCase().split(/\s+/).filter(Boolean);
    let count = 0;
    rows.forEach((row, at) => {
      const fits = (!suite.value || row.dataset.suite === suite.value) &&
        (!group.value || row.dataset.groups.split(" ").includes(group.value)) &&
        Number(row.dataset.s) >= Number(time.value || 0) &&
        wanted.every((word) => texts[at].includes(word));
      row.hidden = !fits;
      count += fits;
    });
    shown.textContent = count === rows.length ? "" : count + " of " + rows.length;
  };
  const sort = () => {
    const key = { time: "s", slower: "more" }[order.value];
    const sorted = key ? [...rows].sort((a, b) => b.dataset[key] - a.dataset[key]) : rows;
    document.querySelector("#cases > tbody").append(...sorted);
  };
  suite.addEventListener("change", filter);
  group.addEventListener("change", filter);
  time.addEventListener("input", filter);
  order.addEventListener("change", sort);
  words.addEventListener("input", filter);
  document.getElementById("filters").hidden = false;
  for (const button of document.querySelectorAll("button.copy")) {
    button.hidden = !navigator.clipboard;
    button.addEventListener("click", () => navigator.clipboard
      .writeText(button.previousElementSibling.textContent)
      .then(() => { button.textContent = "Copied"; }));
  }
}
