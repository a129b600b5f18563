"use strict";
// Everything is on the page without this; it adds sorting, switches for codecs, and opens all data before printing.
(() => {
  const sortKey = (row, column, numeric) => {
    const cell = row.cells[column];
    if (!numeric) return cell.textContent.trim();
    return cell.dataset.key === undefined ? null : Number(cell.dataset.key);
  };

  const sortBy = (table, column, direction) => {
    const header = table.tHead.rows[0].cells[column];
    const numeric = header.classList.contains("number");
    const sign = direction === "ascending" ? 1 : -1;
    const body = table.tBodies[0];
    const rows = [...body.rows].map((row) => [sortKey(row, column, numeric), row]);
    rows.sort(([a], [b]) => {
      if (a === null || b === null || a === "" || b === "") {  // what is missing is last, whichever way
        return (a === null || a === "" ? 1 : 0) - (b === null || b === "" ? 1 : 0);
      }
      return sign * (numeric ? a - b : a.localeCompare(b, "en", { numeric: true }));
    });
    body.append(...rows.map(([, row]) => row));
    for (const cell of table.tHead.rows[0].cells) cell.removeAttribute("aria-sort");
    header.setAttribute("aria-sort", direction);
  };

  const makeSortable = (table) => {
    if (table.tBodies[0].rows.length < 2) return;
    [...table.tHead.rows[0].cells].forEach((header, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...header.childNodes);
      header.append(button);
      button.addEventListener("click", () => {
        const other = { ascending: "descending", descending: "ascending" };
        sortBy(table, column, other[header.getAttribute("aria-sort")] || header.dataset.first);
      });
    });
  };

  // A legend's entry switches its codec off and on in all charts; all legends follow.
  const makeSwitch = (entry) => {
    const button = document.createElement("button");
    button.type = "button";
    button.dataset.series = entry.dataset.series;
    button.setAttribute("aria-pressed", "true");
    button.append(...entry.childNodes);
    entry.replaceWith(button);
    button.addEventListener("click", () => {
      const off = button.getAttribute("aria-pressed") === "true";
      const name = button.dataset.series;
      document.querySelectorAll(`.series-${name}`).forEach((drawn) => drawn.classList.toggle("off", off));
      document.querySelectorAll(`button[data-series="${name}"]`).forEach((other) => {
        other.setAttribute("aria-pressed", String(!off));
      });
    });
  };

  document.querySelectorAll("table.sortable").forEach(makeSortable);
  document.querySelectorAll("[data-series]").forEach(makeSwitch);

  let opened = [];
  addEventListener("beforeprint", () => {
    opened = [...document.querySelectorAll("details:not([open])")];
    opened.forEach((details) => { details.open = true; });
  });
  addEventListener("afterprint", () => {
    opened.forEach((details) => { details.open = false; });
    opened = [];
  });
})();
