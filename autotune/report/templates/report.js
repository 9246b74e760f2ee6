"use strict";
// Nothing here is needed to read the page: it sorts and filters the table of samples and opens what stands behind a row.
(() => {
  const table = document.getElementById("samples-table");
  if (!table) return;
  const body = table.tBodies[0];
  const rows = Array.from(body.rows);
  const said = document.getElementById("samples-said");
  const say = (text) => { said.textContent = text; };

  const figure = (text) => {
    const found = /^[+-]?[\d,]*\.?\d+/.exec(text);
    return found ? Number(found[0].replaceAll(",", "")) : NaN;
  };
  const close = () => body.querySelectorAll("tr.behind").forEach((row) => {
    row.previousElementSibling.querySelector("button").setAttribute("aria-expanded", "false");
    row.remove();
  });

  const sort = (heading) => {
    const place = heading.cellIndex;
    const up = heading.getAttribute("aria-sort") !== "ascending";
    const isNumber = heading.dataset.sort === "number";
    const keyed = rows.map((row, at) => {
      const text = row.cells[place].textContent;
      return { row, at, key: isNumber ? figure(text) : text };
    });
    keyed.sort((a, b) => {
      const none = isNumber ? [Number.isNaN(a.key), Number.isNaN(b.key)] : [a.key === "-", b.key === "-"];
      if (none[0] || none[1]) return none[0] - none[1] || a.at - b.at; // what has no figure comes last either way
      const order = isNumber ? a.key - b.key : a.key.localeCompare(b.key, "en", { numeric: true });
      return (up ? order : -order) || a.at - b.at;
    });
    close();
    body.append(...keyed.map((one) => one.row));
    for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
    heading.setAttribute("aria-sort", up ? "ascending" : "descending");
    say(`sorted by ${heading.textContent}, ${up ? "ascending" : "descending"}`);
  };
  for (const heading of table.tHead.rows[0].cells) {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = heading.textContent;
    button.addEventListener("click", () => sort(heading));
    heading.replaceChildren(button);
  }

  const filter = document.getElementById("samples-filter");
  filter.parentElement.parentElement.hidden = false;
  filter.addEventListener("input", () => {
    const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
    close();
    let shown = 0;
    for (const row of rows) {
      const text = row.textContent.toLowerCase();
      row.hidden = !words.every((word) => text.includes(word));
      shown += row.hidden ? 0 : 1;
    }
    say(`${shown} of ${rows.length} rows`);
  });

  const opened = new Map();
  const packet = (number) => {
    if (!opened.has(number)) {
      const packed = atob(document.getElementById(`packet-${number}`).textContent);
      const bytes = Uint8Array.from(packed, (char) => char.charCodeAt(0));
      const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
      opened.set(number, new Response(stream).json());
    }
    return opened.get(number);
  };
  const part = (name, text) => {
    const made = document.createElement(name);
    made.textContent = text;
    return made;
  };
  const gateTable = (gates, asked) => {
    const made = document.createElement("table");
    made.append(part("caption", "Gates"));
    const head = made.createTHead().insertRow();
    for (const title of ["gate", "passed", "value", "limit", "detail"]) head.append(part("th", title));
    const list = made.createTBody();
    for (const [which, value] of asked) {
      const [name, passed, limit, detail] = gates[which];
      const row = list.insertRow();
      for (const text of [name, passed === null ? "could not tell" : passed ? "yes" : "NO", value, limit, detail]) row.append(part("td", text));
    }
    return made;
  };
  const open = async (row, button) => {
    const number = Number(button.textContent) - 1;
    const size = Number(table.dataset.packed);
    const behind = document.createElement("tr");
    behind.className = "behind";
    const cell = behind.insertCell();
    cell.colSpan = row.cells.length;
    row.after(behind);
    try {
      const { gates, samples } = await packet(Math.floor(number / size));
      const [asked, doubts, raw] = samples[number % size];
      if (asked.length) cell.append(gateTable(gates, asked));
      for (const doubt of doubts) cell.append(part("p", `Doubt: ${doubt}`));
      cell.append(part("p", raw ? "The load generator's own output:" : "No output of a load generator is kept for it."));
      if (raw) cell.append(part("pre", raw));
    } catch (problem) {
      cell.append(part("p", `This browser can't unpack it (${problem.name}). The same: autotune show STUDY TRIAL --raw`));
    }
  };
  for (const row of rows) {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = row.cells[0].textContent;
    button.setAttribute("aria-expanded", "false");
    button.setAttribute("aria-label", `gates and raw output of sample ${button.textContent}`);
    row.cells[0].replaceChildren(button);
  }
  body.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (!button) return;
    const row = button.closest("tr");
    const isOpen = button.getAttribute("aria-expanded") === "true";
    button.setAttribute("aria-expanded", String(!isOpen));
    if (isOpen) row.nextElementSibling.remove();
    else open(row, button);
  });
})();
