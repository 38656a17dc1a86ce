// ---- all trends ------------------------------------------------------------------------------------

const CARDS = 60;

class Trends {
  constructor(data, section, open) {
    Object.assign(this, { data, section, open });
    this.limit = 50;
    this.shown = CARDS;
    this.charts = new Map();
    this.watcher = new IntersectionObserver((entries) => {
      for (const { isIntersecting, target } of entries) if (isIntersecting) this.charts.get(target)?.draw();
    }, { rootMargin: "300px" });
    addEventListener("resize", debounced(() => this.resize(), 150));
  }

  /** Made when it is first looked at. */
  show() {
    if (this.list) return;
    const { data } = this;
    if (!data.series.length) {
      this.list = el("p", { className: "note" }, "There are no numbers to draw: trends need rows with a performance that is a number.");
      this.section.replaceChildren(this.list);
      return;
    }
    const again = () => {
      this.shown = CARDS;
      this.fill();
    };
    this.search = el("input", { type: "search", id: "trend-search", placeholder: "Search models, metrics, GPUs", "aria-label": "Search trends", oninput: debounced(again) });
    this.order = el("select", { id: "trend-order", "aria-label": "Order", onchange: again },
      el("option", { value: "attention" }, "Outside the band first"), el("option", { value: "change" }, "Largest change first"), el("option", { value: "name" }, "By name"));
    this.last = el("select", { id: "trend-limit", "aria-label": "Number of values", onchange: () => {
      this.limit = Number(this.last.value);
      this.fill();
    } }, ...[20, 50, 100, 500].map((number) => el("option", { value: number, selected: number === this.limit }, `Last ${number} values`)));
    this.only = el("input", { type: "checkbox", id: "trend-only", onchange: again });
    this.count = el("output", { className: "count", "aria-live": "polite" });
    this.list = el("div", { className: "cards" });
    this.more = el("button", { type: "button", className: "more", onclick: () => {
      this.shown += CARDS;
      this.fill();
    } });
    const { window, enough, threshold, deviations } = data.band;
    this.section.replaceChildren(
      el("div", { className: "tools" },
        el("div", { className: "line" }, this.search, this.order, this.last, el("label", {}, this.only, "Only outside the band"), this.count)),
      el("p", { className: "legend" }, el("span", { className: "key band" }), ` expected: median of up to ${window} earlier successful values, \u00b1 ${100 * threshold} % or ${deviations} robust standard deviations, whichever is more. `,
        el("span", { className: "key worse" }), " worse, ", el("span", { className: "key better" }), " better, ", el("span", { className: "key outside" }),
        ` changed (the name does not tell which way is better). Hollow: fewer than ${enough} earlier values. Dotted line: the configuration changed.`),
      this.list, this.more);
    this.fill();
  }

  /** Numbers of the series to show, in order. */
  chosen() {
    const { data } = this;
    const words = this.search.value.toLowerCase().split(/\s+/).filter(Boolean);
    const newest = (series) => data.seriesRows[series][data.seriesRows[series].length - 1];
    const weight = (series) => {
      const verdict = data.verdict(newest(series));
      if (!verdict) return 9;
      return { worse: 0, outside: 1, better: 2, inside: 4 }[verdict.kind] + (verdict.weak && verdict.kind !== "inside" ? 3 : 0);
    };
    const size = (series) => Math.abs(data.change(newest(series))) || 0;
    const name = (series) => data.series[series].slice(0, 3).join(" ");
    const found = [...data.series.keys()].filter((series) => {
      const text = name(series).toLowerCase();
      if (!words.every((word) => text.includes(word))) return false;
      return !this.only.checked || !["inside", undefined].includes(data.verdict(newest(series))?.kind);
    });
    const byName = (a, b) => collator.compare(name(a), name(b));
    const orders = {
      attention: (a, b) => weight(a) - weight(b) || size(b) - size(a) || byName(a, b),
      change: (a, b) => size(b) - size(a) || byName(a, b),
      name: byName,
    };
    return found.sort(orders[this.order.value]);
  }

  fill() {
    const found = this.chosen();
    this.watcher.disconnect();
    this.charts.clear();
    this.list.replaceChildren(...found.slice(0, this.shown).map((series) => this.card(series)));
    const rest = found.length - Math.min(this.shown, found.length);
    this.more.hidden = !rest;
    this.more.textContent = `Show ${count(Math.min(rest, CARDS))} more of ${count(rest)}`;
    this.count.textContent = found.length === this.data.series.length ? plural(found.length, "trend") : `${count(found.length)} of ${plural(this.data.series.length, "trend")}`;
  }

  card(series) {
    const { data } = this;
    const rows = data.seriesRows[series];
    const [model, metric, architecture, direction] = data.series[series];
    const row = rows[rows.length - 1];
    const verdict = data.verdict(row);
    const chart = new Chart(data, series, rows, { height: 132, limit: this.limit, open: this.open });
    this.charts.set(chart.node, chart);
    this.watcher.observe(chart.node);
    const change = percent(data.change(row));
    return el("article", { className: `card ${verdict?.weak ? "" : verdict?.kind ?? ""}` },
      el("header", {},
        el("div", {}, el("h3", { title: model }, model || "(no model)"),
          el("p", {}, [metric || "(no metric)", architecture].filter(Boolean).join(" \u00b7 "), direction ? el("span", { className: "muted" }, direction > 0 ? " \u2191 better" : " \u2193 better") : "")),
        el("div", { className: "latest" }, el("b", {}, compact(data.column("performance").number(row))),
          change ? el("span", { className: `change ${verdict?.kind ?? ""}`, title: verdictText(verdict) }, change) : "")),
      chart.node);
  }

  resize() {
    for (const chart of this.charts.values()) if (chart.width) chart.draw();
  }
}
