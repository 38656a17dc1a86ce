// ---- what is shown: search, status, session, columns, download -------------------------------------

const STATUSES = ["SUCCESS", "FAILURE", "SKIPPED"];

/** A condition of a column filter; null: the text is none. */
function condition(text, numeric) {
  const wanted = text.trim();
  if (!wanted) return null;
  const range = wanted.match(/^(\S+)\s*\.\.\s*(\S+)$/);
  if (range && range.slice(1).every((end) => NUMBER.test(end))) {
    const [low, high] = range.slice(1).map(Number);
    return (_, number) => number >= low && number <= high;
  }
  const [, sign, rest] = wanted.match(/^(>=|<=|>|<|=|!)?\s*(.*)$/);
  const number = NUMBER.test(rest) ? Number(rest) : NaN;
  const tests = {
    ">": (value) => value > number, ">=": (value) => value >= number,
    "<": (value) => value < number, "<=": (value) => value <= number,
  };
  if (sign in tests) return Number.isNaN(number) ? null : (_, value) => tests[sign](value);
  const low = rest.toLowerCase();
  if (sign === "=") {
    return (cell, value) => cell.trim().toLowerCase() === low || (numeric && value === number);
  }
  if (sign === "!") return low ? (cell) => !cell.toLowerCase().includes(low) : null;
  return (cell) => cell.toLowerCase().includes(low);
}

class Filters {
  constructor(data, table, tools) {
    this.data = data;
    this.table = table;
    this.statuses = new Set();
    this.session = "";
    this.build(tools);
    table.onsort = () => this.apply();
    table.table.tHead.addEventListener("input", debounced(() => this.apply()));
  }

  build(tools) {
    const later = debounced(() => this.apply());
    this.search = el("input", {
      type: "search", id: "search", placeholder: "Search all columns", "aria-label": "Search all columns", oninput: later,
    });
    this.model = el("input", {
      type: "search", id: "model", placeholder: "Model", "aria-label": "Model: part of its name", oninput: later, autocomplete: "off",
    });
    this.model.setAttribute("list", "models");
    const models = [...new Set(this.data.column("model")?.values ?? [])].filter(Boolean).sort(collator.compare);
    const list = el("datalist", { id: "models" }, ...models.slice(0, 2000).map((name) => el("option", { value: name })));
    this.chips = STATUSES.map((status) => el("button", {
      type: "button", className: `chip ${STATUS[status]}`, "aria-pressed": "false", "data-status": status,
      onclick: () => this.toggle(status),
    }, badge(status)));
    this.count = el("output", { id: "shown", className: "count", "aria-live": "polite" });
    this.columnFilters = el("button", {
      type: "button", id: "filter-columns", "aria-expanded": "false", onclick: () => this.toggleColumnFilters(),
    }, "Filter columns");
    this.clear = el("button", { type: "button", id: "clear", hidden: true, onclick: () => this.reset() }, "Clear filters");
    const download = el("button", { type: "button", id: "download", onclick: () => this.download() }, "Download CSV");
    const statuses = el("span", { className: "chips", role: "group", "aria-label": "Status" }, ...this.chips);
    const first = el("div", { className: "line" }, this.search, this.model, list, this.sessionChoice(), statuses);
    const second = el("div", { className: "line" }, this.count, this.clear,
      el("span", { className: "right" }, this.columnFilters, this.chooser(), download));
    tools.replaceChildren(first, second);
    tools.hidden = false;
    statuses.hidden = !this.data.column("status");
    this.model.hidden = !this.data.column("model");
  }

  sessionChoice() {
    const { sessions } = this.data;
    if (sessions.length < 2) return "";
    this.sessions = el("select", { id: "session", "aria-label": "Session", onchange: () => this.setSession(this.sessions.value) },
      el("option", { value: "" }, "All sessions"),
      ...sessions.slice(0, 1000).map(([name], place) => el("option", { value: name }, place ? name : `${name} (newest)`)));
    return this.sessions;
  }

  chooser() {
    const { table } = this;
    const boxes = table.columns.map((column) => {
      const box = el("input", { type: "checkbox", checked: table.visible.includes(column), onchange: () => this.choose() });
      return { column, box };
    });
    this.boxes = boxes;
    const all = (wanted) => () => {
      for (const { column, box } of boxes) box.checked = wanted(column);
      this.choose();
    };
    const first = new Set(table.visible);
    const menu = el("details", { className: "menu", id: "columns" }, el("summary", {}, "Columns"),
      el("div", { className: "panel", role: "group", "aria-label": "Columns to show" },
        el("div", { className: "line" },
          el("button", { type: "button", onclick: all(() => true) }, "All"),
          el("button", { type: "button", onclick: all((column) => column.filled) }, "Not empty"),
          el("button", { type: "button", onclick: all((column) => first.has(column)) }, "Usual")),
        ...boxes.map(({ column, box }) => el("label", { className: column.filled ? "" : "hollow" }, box, column.label))));
    menu.addEventListener("keydown", (event) => {
      if (event.key !== "Escape" || !menu.open) return;
      menu.open = false;
      $("summary", menu).focus();
    });
    document.addEventListener("click", (event) => {
      if (!menu.contains(event.target)) menu.open = false;
    });
    return menu;
  }

  choose() {
    const { table } = this;
    const wanted = this.boxes.filter(({ box }) => box.checked).map(({ column }) => column);
    // The order of the usual columns stays; others follow as they stand in the file.
    const kept = table.visible.filter((column) => wanted.includes(column));
    const chosen = [...kept, ...wanted.filter((column) => !kept.includes(column))];
    if (!chosen.length) return;
    const gone = table.visible.some((column) => !chosen.includes(column) && this.filterOf(column));
    table.setVisible(chosen);
    if (innerWidth >= 640) remembered("columns", chosen.map(({ key }) => key).join("\n"));
    if (gone) this.apply();
  }

  filterOf(column) {
    const inputs = [...this.table.table.tHead.querySelectorAll("input.filter")];
    return inputs.find((input) => input.dataset.key === column.key)?.value.trim() ?? "";
  }

  toggle(status) {
    if (!this.statuses.delete(status)) this.statuses.add(status);
    this.showChips();
    this.apply();
  }

  only(status) {
    const already = this.statuses.size === 1 && this.statuses.has(status);
    this.statuses = new Set(already ? [] : [status]);
    this.showChips();
    this.apply();
  }

  showChips() {
    for (const chip of this.chips) chip.setAttribute("aria-pressed", String(this.statuses.has(chip.dataset.status)));
  }

  setSession(name) {
    this.session = name;
    if (this.sessions) this.sessions.value = name;
    this.apply();
  }

  toggleColumnFilters() {
    this.table.filtering = !this.table.filtering;
    const row = $("tr.filters", this.table.table);
    row.hidden = !this.table.filtering;
    this.columnFilters.setAttribute("aria-expanded", String(this.table.filtering));
    if (this.table.filtering) {
      $("input", row)?.focus({ preventScroll: true });
    } else {
      for (const input of row.querySelectorAll("input")) input.value = "";
      this.apply();
    }
  }

  reset() {
    this.search.value = this.model.value = this.session = "";
    if (this.sessions) this.sessions.value = "";
    this.statuses.clear();
    this.showChips();
    for (const input of this.table.table.tHead.querySelectorAll("input.filter")) input.value = "";
    this.apply();
    this.search.focus();
  }

  /** One byte per row: does it fulfil every condition? */
  matching() {
    const { data } = this;
    const keep = new Uint8Array(data.rows).fill(1);
    const restrict = (column, mask) => {
      for (let row = 0; row < keep.length; row++) keep[row] &= mask[column.index ? column.index[row] : row];
    };
    const status = data.column("status");
    if (this.statuses.size && status) restrict(status, status.mask((text) => this.statuses.has(text.trim())));
    const session = data.hidden.session;
    if (this.session && session) restrict(session, session.mask((text) => text === this.session));
    const model = data.column("model");
    const name = this.model.value.trim().toLowerCase();
    if (name && model) {
      const exact = model.values.some((text) => text.toLowerCase() === name);
      restrict(model, model.mask((text) => (exact ? text.toLowerCase() === name : text.toLowerCase().includes(name))));
    }
    for (const column of this.table.visible) this.restrictByFilter(column, keep, restrict);
    for (const word of this.search.value.toLowerCase().split(/\s+/).filter(Boolean)) this.restrictByWord(word, keep);
    return keep;
  }

  restrictByFilter(column, keep, restrict) {
    const test = condition(this.filterOf(column), column.numeric);
    if (!test) return;
    if (column.column) {
      restrict(column.column, column.column.mask(test));
      return;
    }
    for (let row = 0; row < keep.length; row++) {
      if (keep[row]) keep[row] = test(column.text(row), 100 * this.data.change(row)) ? 1 : 0;
    }
  }

  restrictByWord(word, keep) {
    const { data } = this;
    const found = new Uint8Array(keep.length);
    for (const column of [...data.columns, ...Object.values(data.hidden)]) {
      const mask = column.mask((text) => text.toLowerCase().includes(word));
      if (!mask.includes(1)) continue;
      for (let row = 0; row < found.length; row++) found[row] |= mask[column.index ? column.index[row] : row];
    }
    for (let row = 0; row < keep.length; row++) keep[row] &= found[row];
  }

  apply() {
    const keep = this.matching();
    const rows = new Uint32Array(keep.reduce((sum, one) => sum + one, 0));
    let place = 0;
    for (let row = 0; row < keep.length; row++) if (keep[row]) rows[place++] = row;
    this.table.setRows(rows);
    const all = this.data.rows;
    const limited = rows.length > SCROLLABLE ? `; the first ${count(SCROLLABLE)} can be scrolled to` : "";
    this.count.textContent = (rows.length === all ? plural(all, "row") : `${count(rows.length)} of ${plural(all, "row")}`) + limited;
    this.clear.hidden = rows.length === all && !this.search.value;
  }

  download() {
    const { visible, rows } = this.table;
    const lines = [visible.map((column) => csvCell(column.csvLabel ?? column.label)).join(",")];
    for (const row of rows) lines.push(visible.map((column) => csvCell((column.csv ?? column.text)(row))).join(","));
    const link = el("a", {
      href: URL.createObjectURL(new Blob([lines.join("\r\n"), "\r\n"], { type: "text/csv" })),
      download: `${this.data.title.replace(/[^\w.-]+/g, "_") || "results"}-shown.csv`,
    });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
  }
}

/** A cell for a CSV file; what a spreadsheet would run as a formula begins with an apostrophe. */
function csvCell(text) {
  const harmless = /^\s*[=+\-@\t\r]/.test(text) && !NUMBER.test(text.trim()) ? `'${text}` : text;
  return /[",\r\n]|^\s|\s$/.test(harmless) ? `"${harmless.replace(/"/g, '""')}"` : harmless;
}
