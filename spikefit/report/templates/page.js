"use strict";
(function () {
  // Tables: a heading sorts by its column, by the full value where a cell has one.
  function key(cell) {
    const data = cell.querySelector("data");
    if (data) { const n = Number(data.value); return Number.isNaN(n) ? data.value : n; }
    return cell.querySelector(".unknown") ? null : cell.textContent;
  }
  function before(a, b) {
    if (a === null || b === null) return (a === null) - (b === null);
    if (typeof a === "number" && typeof b === "number") return a - b;
    return String(a).localeCompare(String(b), undefined, { numeric: true });
  }
  document.querySelectorAll("table").forEach(function (table) {
    table.querySelectorAll("th").forEach(function (head, column) {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...head.childNodes);
      head.append(button);
      button.addEventListener("click", function () {
        const up = head.getAttribute("aria-sort") === "descending" ||
          (head.classList.contains("text") && !head.hasAttribute("aria-sort"));
        table.querySelectorAll("th").forEach(function (other) { other.removeAttribute("aria-sort"); });
        head.setAttribute("aria-sort", up ? "ascending" : "descending");
        const rows = Array.from(table.tBodies[0].rows);
        rows.sort(function (a, b) {
          const x = key(a.cells[column]), y = key(b.cells[column]);
          return x === null || y === null ? before(x, y) : (up ? before(x, y) : before(y, x));
        });
        table.tBodies[0].append(...rows);
      });
    });
  });

  // The matrix: hovering, arrow keys, another order.
  const svg = document.getElementById("matrix-figure");
  if (!svg) return;
  const data = JSON.parse(document.getElementById("matrix-data").textContent);
  const readout = document.getElementById("readout"), cursor = document.getElementById("cursor");
  const cells = document.getElementById("cells");
  const n = data.ids.length, side = Number(svg.dataset.side), cell = side / n, limit = Number(svg.dataset.limit);
  const left = Number(svg.dataset.left), top = Number(svg.dataset.top);
  let order = data.orders["as recorded"], row = 0, column = 0;

  function text(value) {
    const shown = Number(value.toPrecision(3));
    return (value > 0 ? "+" : "") + String(shown).replace("-", "\u2212");
  }
  function show(r, c) {
    row = r; column = c;
    const post = order[r], pre = order[c];
    cursor.removeAttribute("hidden");
    cursor.setAttribute("x", c * cell); cursor.setAttribute("y", r * cell);
    cursor.setAttribute("width", cell); cursor.setAttribute("height", cell);
    let line = data.ids[pre] + " \u2192 " + data.ids[post] + ": ";
    const weight = data.weight && data.weight[post][pre];
    if (pre === post) line = data.ids[pre] + ", history on itself: ";
    line += weight === null ? "not known" : text(weight) + " drive per spike";
    if (data.low && data.low[post][pre] !== null) line += ", interval " + text(data.low[post][pre]) + " to " + text(data.high[post][pre]);
    if (data.q && data.q[post][pre] !== null) line += ", q = " + Number(data.q[post][pre].toPrecision(2));
    readout.textContent = line;
  }
  svg.addEventListener("mousemove", function (event) {
    const point = new DOMPoint(event.clientX, event.clientY).matrixTransform(svg.getScreenCTM().inverse());
    const c = Math.floor((point.x - left) / cell), r = Math.floor((point.y - top) / cell);
    if (r >= 0 && c >= 0 && r < n && c < n) show(r, c);
  });
  svg.addEventListener("keydown", function (event) {
    const move = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
    if (!move) return;
    event.preventDefault();
    show(Math.min(n - 1, Math.max(0, row + move[0])), Math.min(n - 1, Math.max(0, column + move[1])));
  });

  function draw() {
    const ns = "http://www.w3.org/2000/svg", drawn = document.createDocumentFragment();
    for (let r = 0; r < n; r++) for (let c = 0; c < n; c++) {
      const weight = data.weight ? data.weight[order[r]][order[c]] : null, own = r === c;
      if (!own && (weight === null || Math.abs(weight) <= 0.005 * limit)) continue;
      const rect = document.createElementNS(ns, "rect");
      rect.setAttribute("class", own ? "own" : weight > 0 ? "p" : "n");
      rect.setAttribute("x", c * cell); rect.setAttribute("y", r * cell);
      rect.setAttribute("width", cell); rect.setAttribute("height", cell);
      if (!own) rect.setAttribute("fill-opacity", Math.min(1, Math.abs(weight) / limit).toFixed(2));
      drawn.append(rect);
    }
    cells.replaceChildren(drawn);
  }
  const rows = document.getElementById("rows"), columns = document.getElementById("columns");
  const names = rows ? Array.from(rows.children, function (label) { return label.textContent; }) : [];
  const choice = document.getElementById("order");
  if (Object.keys(data.orders).length > 1) {
    Object.keys(data.orders).forEach(function (name) { choice.add(new Option(name, name)); });
    choice.closest(".tools").hidden = false;
    choice.addEventListener("change", function () {
      order = data.orders[choice.value];
      cursor.setAttribute("hidden", ""); readout.textContent = "";
      if (rows) order.forEach(function (unit, k) { rows.children[k].textContent = names[unit]; columns.children[k].textContent = names[unit]; });
      draw();
    });
  }
})();
