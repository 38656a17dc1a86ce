// ---- the table: only the rows in sight are in the document -----------------------------------------

/** Columns shown at first, the most telling ones; those without any text are left out. */
const FIRST = {
  phone: ["model", "status", "performance"],
  tablet: ["model", "status", "performance", "metric", "~change", "gpu_architecture", "test_duration"],
  desktop: [
    "model", "status", "performance", "metric", "~change", "gpu_architecture", "n_gpus", "training_precision",
    "machine_name", "test_duration", "session", "finished", "build_number",
  ],
};
const OVERSCAN = 8;
/** Browsers cannot scroll further than this many rows (about 17 million pixels in the least able one). */
const SCROLLABLE = 380_000;

class ResultTable {
  constructor(data, scroller, open) {
    this.data = data;
    this.scroller = scroller;
    this.table = $("table", scroller);
    this.open = open;
    this.sort = { key: "", down: false };
    this.cursor = 0;
    this.columns = this.allColumns();
    this.visible = this.firstColumns();
    this.rows = new Uint32Array(0);
    this.drawn = new Map();
    this.rowHeight = 0;
    this.onsort = () => {};
    this.body = this.table.tBodies[0];
    this.table.setAttribute("aria-describedby", "shown");
    scroller.addEventListener("scroll", () => this.draw(), { passive: true });
    scroller.addEventListener("keydown", (event) => this.key(event));
    this.body.addEventListener("click", (event) => this.click(event));
    this.body.addEventListener("focusin", (event) => this.focused(event));
    this.widthBefore = innerWidth;
    new ResizeObserver(() => this.resized()).observe(scroller);
  }

  resized() {
    const changed = this.widthBefore !== innerWidth;
    if (changed && (this.phone || this.widthBefore < 640)) {
      this.rowHeight = 0;
      this.header();
      this.redraw();
    }
    this.widthBefore = innerWidth;
    this.draw();
  }

  allColumns() {
    const { data } = this;
    const columns = data.columns.map((column, place) => ({
      key: data.column(column.name) === column && column.name ? column.name : `#${place}`,
      label: column.name || `column ${place + 1}`,
      column,
      numeric: column.numeric,
      filled: column.filled,
      text: (row) => column.cell(row),
      rank: (row) => column.rank(row),
    }));
    if (data.column("performance") && data.numbers.half.some((half) => half > 0)) {
      const place = columns.findIndex(({ key }) => key === "metric");
      columns.splice(place + 1 || columns.length, 0, {
        key: "~change", label: "vs median", numeric: true, filled: true, synthetic: true,
        text: (row) => percent(data.change(row)),
        csvLabel: "vs median %",
        csv: (row) => (Number.isNaN(data.change(row)) ? "" : (100 * data.change(row)).toFixed(2)),
        rank: (row) => data.change(row),
      });
    }
    return columns;
  }

  firstColumns() {
    const filled = this.columns.filter((column) => column.filled);
    const size = innerWidth < 640 ? "phone" : innerWidth < 1100 ? "tablet" : "desktop";
    const stored = size === "phone" ? null : remembered("columns")?.split("\n");
    for (const names of [stored, FIRST[size]]) {
      const found = (names ?? []).map((name) => filled.find(({ key }) => key === name)).filter(Boolean);
      if (found.length > 1) return found;
    }
    return filled.length ? filled : this.columns;
  }

  /** Rows in the order of the current sorting; without one the newest come first. */
  setRows(rows) {
    const { key, down } = this.sort;
    const column = this.columns.find((one) => one.key === key);
    if (!column) {
      rows.reverse();
    } else {
      const ranks = new Float64Array(this.data.rows);
      for (const row of rows) ranks[row] = column.rank(row);
      const empty = (row) => Number.isNaN(ranks[row]) || column.text(row) === "";
      const full = rows.filter((row) => !empty(row));
      // What is empty stays below, whatever the direction.
      full.sort(down ? (a, b) => ranks[b] - ranks[a] || b - a : (a, b) => ranks[a] - ranks[b] || b - a);
      const rest = rows.filter(empty).reverse();
      rows = new Uint32Array(full.length + rest.length);
      rows.set(full);
      rows.set(rest, full.length);
    }
    this.rows = rows;
    this.cursor = 0;
    this.redraw();
    this.scroller.scrollTop = 0;
  }

  setVisible(columns) {
    this.visible = columns;
    this.header();
    this.redraw();
  }

  header() {
    const { table, visible } = this;
    const filters = new Map([...table.querySelectorAll("input.filter")].map((input) => [input.dataset.key, input.value]));
    table.querySelector("colgroup")?.remove();
    const group = el("colgroup");
    const widths = visible.map((column) => this.width(column));
    for (const width of widths) {
      const col = el("col");
      col.style.width = `${width}px`;
      group.append(col);
    }
    table.prepend(group);
    table.style.width = `${widths.reduce((sum, width) => sum + width, 0)}px`;
    const heads = visible.map((column) => this.head(column));
    const row = el("tr", { className: "filters", hidden: !this.filtering });
    for (const column of visible) {
      const input = el("input", {
        className: "filter", type: "search", "data-key": column.key, value: filters.get(column.key) ?? "",
        "aria-label": `Filter ${column.label}`, placeholder: column.numeric ? ">, <, a..b" : "contains",
        title: "Part of the text; =text for the whole, !text for all others; numbers also >5, <=5 and 5..10",
      });
      row.append(el("td", {}, input));
    }
    table.tHead.replaceChildren(el("tr", {}, ...heads), row);
  }

  head(column) {
    const active = this.sort.key === column.key;
    const head = el("th", { scope: "col", className: column.numeric ? "number" : "", "data-key": column.key });
    if (active) head.setAttribute("aria-sort", this.sort.down ? "descending" : "ascending");
    const sign = active ? (this.sort.down ? "\u25bc" : "\u25b2") : "";
    head.append(el("button", { type: "button", title: `Sort by ${column.label}`, onclick: () => this.sortBy(column) },
      el("span", {}, column.label), el("span", { className: "sign", "aria-hidden": "true" }, sign)));
    return head;
  }

  /** Up, down, and back to newest first; numbers begin with the largest. */
  sortBy(column) {
    const first = column.numeric;
    const { key, down } = this.sort;
    if (key !== column.key) this.sort = { key: column.key, down: first };
    else if (down === first) this.sort = { key, down: !first };
    else this.sort = { key: "", down: false };
    this.header();
    this.onsort();
    const place = this.visible.indexOf(column);
    this.table.tHead.rows[0].cells[place]?.firstChild.focus({ preventScroll: true });
  }

  /** Pixels that a column needs, from a sample of its texts. */
  width(column) {
    const { phone } = this;
    if (column.key === "status") return phone ? 44 : 126;
    if (phone && column === this.visible[0]) return this.phoneWidth();
    const values = column.synthetic ? ["+100.0 %"] : column.column.values;
    const step = Math.max(1, Math.floor(values.length / 4000));
    const sample = values.filter((_, place) => place % step === 0).sort((a, b) => b.length - a.length).slice(0, 12);
    const shown = column.key === "finished" ? sample.map(when) : sample;
    const bold = column === this.visible[0] || column.synthetic;
    const widest = Math.max(0, ...shown.map((text) => textWidth(text.slice(0, 60), bold ? 600 : 400, 14)));
    const limit = phone ? 140 : column === this.visible[0] ? 330 : 230;
    const label = textWidth(column.label, 600, phone ? 12 : 12.5) + (phone ? 9 : 18);
    return Math.ceil(Math.max(Math.min(widest, limit), label, 40) + (phone ? 16 : 25));
  }

  /** What the usual columns leave of a narrow screen for the first one. */
  phoneWidth() {
    const others = this.visible.slice(1, 3).reduce((sum, column) => sum + this.width(column), 0);
    return Math.max(this.scroller.clientWidth - others, 120);
  }

  get phone() {
    return innerWidth < 640;
  }

  redraw() {
    const hadFocus = this.body.contains(document.activeElement);
    this.drawn.clear();
    this.table.setAttribute("aria-rowcount", this.rows.length + 1);
    this.table.setAttribute("aria-colcount", this.visible.length);
    this.draw();
    if (hadFocus) this.scroller.focus({ preventScroll: true });
  }

  draw() {
    if (this.printing || !this.scroller.clientHeight) return;
    const total = Math.min(this.rows.length, SCROLLABLE);
    if (!total) {
      const text = this.data.rows ? "No row matches." : "There are no results yet.";
      this.body.replaceChildren(el("tr", { className: "empty" }, el("td", { colSpan: this.visible.length }, text)));
      return;
    }
    if (!this.rowHeight) this.measure();
    const height = this.rowHeight;
    const top = this.scroller.scrollTop;
    const first = Math.max(0, Math.min(Math.floor(top / height), total - 1) - OVERSCAN);
    const last = Math.min(total, Math.ceil((top + this.viewHeight) / height) + OVERSCAN);
    if (this.first === first && this.last === last && this.drawn.size) return;
    [this.first, this.last] = [first, last];
    const focused = document.activeElement?.closest?.("tr");
    const fresh = new Map();
    for (let place = first; place < last; place++) fresh.set(place, this.drawn.get(place) ?? this.row(place));
    const lost = focused && this.body.contains(focused) && ![...fresh.values()].includes(focused);
    this.drawn = fresh;
    this.sync([this.spacer(first * height), ...fresh.values(), this.spacer((total - last) * height)]);
    if (lost) this.scroller.focus({ preventScroll: true });
  }

  /** Pixels of rows that can be in sight: the box may grow to its limit when more rows come. */
  get viewHeight() {
    return parseFloat(getComputedStyle(this.scroller).maxHeight) || innerHeight;
  }

  /** Puts nodes into the body without moving those that are there already, so that focus stays. */
  sync(nodes) {
    const wanted = new Set(nodes);
    for (const child of [...this.body.childNodes]) if (!wanted.has(child)) child.remove();
    let before = this.body.firstChild;
    for (const node of nodes) {
      if (node === before) before = before.nextSibling;
      else this.body.insertBefore(node, before);
    }
  }

  spacer(height) {
    const cell = el("td", { colSpan: this.visible.length });
    cell.style.height = `${height}px`;
    return el("tr", { className: "spacer", "aria-hidden": "true", hidden: !height }, cell);
  }

  measure() {
    const row = this.row(0);
    this.body.replaceChildren(row);
    this.rowHeight = row.getBoundingClientRect().height || 34;
  }

  row(place) {
    const row = this.rows[place];
    const status = this.data.cell("status", row).trim();
    const node = el("tr", {
      className: [STATUS[status] ?? "", place % 2 ? "odd" : ""].join(" ").trim(), tabIndex: place === this.cursor ? 0 : -1,
      "aria-rowindex": place + 2,
    });
    node.dataset.place = place;
    node.append(...this.visible.map((column, number) => this.cell(column, row, number)));
    return node;
  }

  cell(column, row, number) {
    const text = column.text(row);
    const cell = el("td", { className: column.numeric ? "number" : "" });
    if (column.key === "status") {
      cell.className = "status";
      if (text) cell.append(badge(text.trim()));
    } else if (column.synthetic) {
      const verdict = this.data.verdict(row);
      if (text) cell.append(el("span", { className: `change ${verdict?.kind ?? ""}`, title: verdictText(verdict) }, text));
    } else if (number === 0) {
      cell.append(el("a", { href: `#${this.data.anchor(row)}`, tabIndex: -1, title: text }, text || "(empty)"));
      if (this.phone && column.key === "model") cell.append(this.second("metric", this.data.cell("metric", row)));
    } else if (this.phone && column.key === "performance") {
      const verdict = this.data.verdict(row);
      cell.append(el("span", {}, text), this.second("~change", percent(this.data.change(row)), `change ${verdict?.kind ?? ""}`));
    } else {
      cell.textContent = column.key === "finished" ? when(text) : text;
      if (text.length > 16) cell.title = text;
    }
    return cell;
  }

  /** On a narrow screen a second line stands in for a column that is not shown. */
  second(key, text, className = "") {
    const shown = this.visible.some((column) => column.key === key);
    return shown ? "" : el("span", { className: `second ${className}` }, text);
  }

  click(event) {
    const row = event.target.closest("tr");
    if (!row?.dataset.place || event.target.closest("a")) return;
    if (String(getSelection())) return; // somebody marks text to copy it
    this.moveTo(Number(row.dataset.place), false);
    this.open(this.rows[this.cursor]);
  }

  focused(event) {
    const row = event.target.closest("tr");
    if (row?.dataset.place) this.setCursor(Number(row.dataset.place));
  }

  setCursor(place) {
    const before = this.drawn.get(this.cursor);
    if (before) before.tabIndex = -1;
    this.cursor = place;
    const now = this.drawn.get(place);
    if (now) now.tabIndex = 0;
  }

  key(event) {
    if (event.target.closest("thead") || event.ctrlKey || event.metaKey || event.altKey) return;
    const page = Math.max(1, Math.floor(this.scroller.clientHeight / (this.rowHeight || 34)) - 2);
    const inBody = this.body.contains(document.activeElement);
    const steps = {
      ArrowDown: this.cursor + (inBody ? 1 : 0), ArrowUp: this.cursor - (inBody ? 1 : 0),
      PageDown: this.cursor + page, PageUp: this.cursor - page, Home: 0, End: this.rows.length - 1,
    };
    if (event.key in steps) {
      event.preventDefault();
      this.moveTo(steps[event.key], true);
    } else if ((event.key === "Enter" || event.key === " ") && this.rows.length) {
      event.preventDefault();
      this.open(this.rows[this.cursor]);
    }
  }

  moveTo(place, focus) {
    if (!this.rows.length) return;
    this.setCursor(Math.max(0, Math.min(place, Math.min(this.rows.length, SCROLLABLE) - 1)));
    const top = this.cursor * this.rowHeight;
    const head = this.table.tHead.offsetHeight;
    const { scroller } = this;
    if (top < scroller.scrollTop) scroller.scrollTop = top;
    else if (top + this.rowHeight + head > scroller.scrollTop + scroller.clientHeight) {
      scroller.scrollTop = top + this.rowHeight + head - scroller.clientHeight;
    }
    this.draw();
    if (focus) this.drawn.get(this.cursor)?.focus({ preventScroll: true });
  }

  /** All rows (up to a limit) in the document, for paper; and back. */
  print(limit) {
    this.printing = true;
    const total = Math.min(this.rows.length, limit);
    this.body.replaceChildren(...Array.from({ length: total }, (_, place) => this.row(place)));
  }

  printed() {
    this.printing = false;
    this.redraw();
  }
}
