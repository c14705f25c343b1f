"use strict";

// The number that a cell is sorted by: the one behind it, else the first one in its text; null: it has none.
function number(cell) {
  if (cell.dataset.value !== undefined) return Number(cell.dataset.value);
  const found = cell.textContent.replace(/\u2212/g, "-").replace(/,(?=\d{3})/g, "").match(/^[<\s+]*(-?\d+(\.\d+)?)/);
  return found ? Number(found[1]) : null;
}

function sort(table, column, descending) {
  const body = table.tBodies[0];
  const rows = [...body.rows].map((row) => {
    const cell = row.cells[column];
    return { row, number: number(cell), words: cell.textContent.trim() };
  });
  const numbers = rows.some((each) => each.number !== null) && column > 0;
  rows.sort((one, other) => {
    if (numbers && (one.number === null || other.number === null)) {
      return (one.number === null) - (other.number === null); // what has no number comes last, both ways
    }
    const order = numbers ? one.number - other.number : one.words.localeCompare(other.words);
    return descending ? -order : order;
  });
  rows.forEach((each) => body.append(each.row));
}

// A button in each head of a table: the first press puts the highest number first, or words in order.
document.querySelectorAll("table.sorts").forEach((table) => {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const now = head.getAttribute("aria-sort");
      const descending = now ? now === "ascending" : column > 0;
      sort(table, column, descending);
      heads.forEach((each) => each.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", descending ? "descending" : "ascending");
    });
  });
});

// One target at a time; arrows move between them. Without this script all are there, one below the other.
document.querySelectorAll(".targets").forEach((group) => {
  const panels = [...group.querySelectorAll(":scope > .panel")];
  if (panels.length < 2) return;
  const tabs = document.createElement("div");
  tabs.className = "tabs";
  tabs.setAttribute("role", "tablist");
  const buttons = panels.map((panel) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = panel.dataset.title;
    button.setAttribute("role", "tab");
    button.setAttribute("aria-controls", panel.id);
    button.id = `${panel.id}-tab`;
    panel.setAttribute("role", "tabpanel");
    panel.setAttribute("aria-labelledby", button.id);
    tabs.append(button);
    return button;
  });
  function show(place) {
    panels.forEach((panel, each) => { panel.hidden = each !== place; });
    buttons.forEach((button, each) => {
      button.setAttribute("aria-selected", String(each === place));
      button.tabIndex = each === place ? 0 : -1;
    });
  }
  buttons.forEach((button, place) => {
    button.addEventListener("click", () => show(place));
    button.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (!step) return;
      const next = (place + step + panels.length) % panels.length;
      show(next);
      buttons[next].focus();
    });
  });
  group.prepend(tabs);
  show(0);
});

// Paper folds nothing away.
window.addEventListener("beforeprint", () => document.querySelectorAll("details").forEach((each) => { each.open = true; }));
