// ---- two sessions side by side -----------------------------------------------------------------------

class Compare {
  constructor(data, section, open) {
    Object.assign(this, { data, section, open });
  }

  show() {
    if (this.made) return;
    this.made = true;
    const { sessions } = this.data;
    if (sessions.length < 2) {
      this.section.replaceChildren(el("p", { className: "note" },
        "A comparison needs two sessions. They are known where the records of the runs are (mad-results), or from several build numbers."));
      return;
    }
    const options = () => sessions.slice(0, 1000).map(([name, rows]) => {
      const finished = this.data.fact("finished", rows[rows.length - 1]);
      return el("option", { value: name }, finished && !name.startsWith(finished.slice(0, 4)) ? `${name}, ${when(finished)}` : name);
    });
    const again = () => this.fill();
    this.a = el("select", { id: "compare-a", onchange: again }, ...options());
    this.b = el("select", { id: "compare-b", onchange: again }, ...options());
    [this.a.value, this.b.value] = [sessions[1][0], sessions[0][0]];
    const swap = el("button", { type: "button", id: "swap", "aria-label": "Swap A and B", title: "Swap A and B", onclick: () => {
      [this.a.value, this.b.value] = [this.b.value, this.a.value];
      this.fill();
    } }, "\u21c4 Swap");
    this.search = el("input", { type: "search", id: "compare-search", placeholder: "Search models and metrics", "aria-label": "Search the comparison", oninput: debounced(again) });
    this.only = el("input", { type: "checkbox", id: "compare-only", onchange: again });
    this.text = el("p", { className: "verdicts", role: "status" });
    this.box = el("div", { className: "scroll", tabIndex: 0, role: "region", "aria-label": "Comparison" });
    this.sort = { key: "change", down: false };
    this.section.replaceChildren(
      el("div", { className: "tools" },
        el("div", { className: "line sides" }, el("label", {}, el("span", { className: "side a" }, "A"), this.a), swap, el("label", {}, el("span", { className: "side b" }, "B"), this.b)),
        el("div", { className: "line" }, this.search, el("label", {}, this.only, "Only changes beyond 5 %"))),
      this.text, this.box);
    this.fill();
  }

  /** Pairs of equal item, model and metric; one printed several times is paired by its number. */
  pairs() {
    const { data } = this;
    const rows = new Map(data.sessions);
    const sides = [this.a.value, this.b.value].map((name) => {
      const found = new Map(), seen = new Map();
      for (const row of rows.get(name) ?? []) {
        const key = JSON.stringify([data.fact("item", row), data.cell("model", row), data.cell("metric", row)]);
        const number = seen.get(key) ?? 0;
        seen.set(key, number + 1);
        found.set(`${key}${number}`, row);
      }
      return found;
    });
    const pairs = [...new Set([...sides[0].keys(), ...sides[1].keys()])].map((key) => this.pair(sides[0].get(key), sides[1].get(key)));
    return this.joined(pairs);
  }

  /** A run that failed has a row without a metric: it stands for all metrics of the other side. */
  joined(pairs) {
    const bare = (pair) => pair.metric === "" && pair.value(pair.a ?? pair.b) === "";
    const name = (pair) => JSON.stringify([pair.item, pair.model]);
    const byName = new Map();
    for (const pair of pairs) byName.set(name(pair), [...(byName.get(name(pair)) ?? []), pair]);
    const gone = new Set();
    for (const pair of pairs) {
      if (pair.a !== undefined && pair.b !== undefined) continue;
      if (!bare(pair)) continue;
      const side = pair.a === undefined ? "b" : "a";
      const others = byName.get(name(pair)).filter((one) => one !== pair && one[side] === undefined);
      for (const other of others) Object.assign(other, this.pair(side === "a" ? pair.a : other.a, side === "b" ? pair.b : other.b, other.metric));
      if (others.length) gone.add(pair);
    }
    return pairs.filter((pair) => !gone.has(pair));
  }

  pair(a, b, metric) {
    const { data } = this;
    const some = b ?? a;
    const number = (row) => (row === undefined || data.cell("status", row).trim() !== "SUCCESS" ? NaN : data.column("performance")?.number(row) ?? NaN);
    const prints = [a, b].map((row) => (row === undefined ? "" : data.fact("fingerprint", row)));
    const pair = {
      a, b, item: data.fact("item", some), model: data.cell("model", some), metric: metric ?? data.cell("metric", some),
      value: (row) => (row === undefined ? "" : data.cell("performance", row)),
      change: number(a) ? (number(b) - number(a)) / Math.abs(number(a)) : NaN,
    };
    const series = data.numbers.series[b] || data.numbers.series[a];
    const direction = series ? data.series[series - 1][3] : 0;
    const status = (row) => data.cell("status", row).trim();
    if (a === undefined) pair.mark = "only in B";
    else if (b === undefined) pair.mark = "only in A";
    else if (status(a) !== status(b)) pair.mark = `${status(a)} \u2192 ${status(b)}`;
    else if (status(b) !== "SUCCESS") pair.mark = status(b);
    else if (prints[0] && prints[1] && prints[0] !== prints[1]) pair.mark = "not comparable: different configuration";
    else pair.mark = "";
    pair.broken = a !== undefined && b !== undefined && status(a) === "SUCCESS" && status(b) === "FAILURE";
    pair.kind = pair.broken ? "worse" : pair.mark || Number.isNaN(pair.change) ? "" : Math.abs(pair.change) <= 0.05 ? "inside"
      : !direction ? "outside" : pair.change * direction > 0 ? "better" : "worse";
    return pair;
  }

  fill() {
    const all = this.pairs();
    const words = this.search.value.toLowerCase().split(/\s+/).filter(Boolean);
    const shown = all.filter((pair) => {
      const text = `${pair.model} ${pair.metric}`.toLowerCase();
      return words.every((word) => text.includes(word)) && !(this.only.checked && pair.kind === "inside");
    });
    this.text.replaceChildren(...this.verdicts(all));
    this.order(shown);
    const limit = 2000;
    const heads = [["model", "Model"], ["metric", "Metric"], ["a", "A"], ["b", "B"], ["change", "Change"], ["mark", "Note"]];
    const table = el("table", { className: "comparison" },
      el("caption", { className: "hidden" }, `${this.a.value} compared with ${this.b.value}`),
      el("thead", {}, el("tr", {}, ...heads.map(([key, label]) => this.head(key, label)))),
      el("tbody", {}, ...shown.slice(0, limit).map((pair) => this.row(pair))));
    this.box.replaceChildren(shown.length ? table : el("p", { className: "note" }, all.length ? "Nothing matches." : "These sessions have no results."));
    if (shown.length > limit) this.box.append(el("p", { className: "note" }, `${count(shown.length - limit)} more: search to see them`));
  }

  verdicts(all) {
    const number = (test) => all.filter(test).length;
    const parts = [
      ["broken", "worse", number((pair) => pair.broken)],
      ["worse", "worse", number((pair) => pair.kind === "worse" && !pair.broken)],
      ["better", "better", number((pair) => pair.kind === "better")],
      ["changed", "outside", number((pair) => pair.kind === "outside")],
      ["within 5 %", "", number((pair) => pair.kind === "inside")],
      ["only in A", "", number((pair) => pair.b === undefined)],
      ["only in B", "", number((pair) => pair.a === undefined)],
      ["not comparable", "", number((pair) => pair.mark.startsWith("not"))],
    ];
    return parts.filter(([, , found]) => found).map(([label, kind, found]) => el("span", { className: `pill ${kind}` }, el("b", {}, count(found)), ` ${label}`));
  }

  head(key, label) {
    const active = this.sort.key === key;
    const sign = active ? (this.sort.down ? "\u25bc" : "\u25b2") : "";
    const head = el("th", { scope: "col", className: ["a", "b", "change"].includes(key) ? "number" : "" },
      el("button", { type: "button", onclick: () => {
        this.sort = { key, down: active ? !this.sort.down : false };
        this.fill();
        this.box.querySelectorAll("th button")[["model", "metric", "a", "b", "change", "mark"].indexOf(key)]?.focus();
      } }, label, el("span", { className: "sign", "aria-hidden": "true" }, sign)));
    if (active) head.setAttribute("aria-sort", this.sort.down ? "descending" : "ascending");
    return head;
  }

  /** By change: what broke first, then worse before better, the largest change first; what has none is last. */
  order(pairs) {
    const { key, down } = this.sort;
    const group = { worse: 0, outside: 1, better: 2, inside: 3 };
    const rank = (pair) => (pair.broken ? -1 : group[pair.kind] ?? 4);
    const numbers = (side) => (pair) => toNumber(pair.value(pair[side]));
    const byNumber = (number) => (x, y) => (Number.isNaN(number(x)) - Number.isNaN(number(y))) || (number(x) - number(y)) || 0;
    const orders = {
      change: (x, y) => rank(x) - rank(y) || (Math.abs(y.change) - Math.abs(x.change)) || collator.compare(x.model, y.model),
      a: byNumber(numbers("a")),
      b: byNumber(numbers("b")),
    };
    pairs.sort(orders[key] ?? ((x, y) => collator.compare(x[key], y[key])));
    if (down) pairs.reverse();
  }

  row(pair) {
    const { data } = this;
    const value = (row) => {
      const cell = el("td", { className: "number" });
      if (row === undefined) return cell;
      const text = data.cell("performance", row);
      cell.append(el("a", { href: `#${data.anchor(row)}` }, text || data.cell("status", row) || "(empty)"));
      return cell;
    };
    const dim = pair.mark.startsWith("not") ? "dim" : pair.kind;
    const change = el("td", { className: "number" }, el("span", { className: `change ${dim}` }, percent(pair.change)), this.bar(pair));
    return el("tr", { className: pair.broken ? "failure" : pair.mark && !Number.isFinite(pair.change) ? "partial" : "" },
      el("td", { title: pair.model }, pair.model), el("td", { title: pair.metric }, pair.metric), value(pair.a), value(pair.b), change, el("td", { className: "mark" }, pair.mark));
  }

  /** A bar from the middle, full at 20 %. */
  bar(pair) {
    if (!Number.isFinite(pair.change)) return "";
    const length = Math.max(Math.min(Math.abs(pair.change) / 0.2, 1) * 28, 1);
    const kind = pair.mark.startsWith("not") ? "dim" : pair.kind;
    return svg("svg", { class: `bar ${kind}`, width: 60, height: 12, viewBox: "0 0 60 12", "aria-hidden": "true" },
      svg("path", { d: "M0 1h60v10h-60z" }), svg("rect", { x: pair.change < 0 ? 30 - length : 30, y: 1, width: length, height: 10 }),
      svg("line", { x1: 30, x2: 30, y1: 0, y2: 12 }));
  }
}
