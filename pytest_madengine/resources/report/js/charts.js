// ---- one trend as a chart ----------------------------------------------------------------------------

/** Round steps of an axis. */
function ticks(low, high, wanted) {
  const rough = (high - low) / wanted;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * [1, 2, 2.5, 5, 10].find((factor) => factor * power >= rough);
  const found = [];
  for (let place = Math.ceil(low / step); place * step <= high; place++) found.push(place * step);
  return found;
}

class Chart {
  /**
   * @param rows rows of one series, oldest first; the last ones are drawn
   * @param options height, limit (number of values), current (a row to mark), open (function of a row)
   */
  constructor(data, series, rows, options) {
    Object.assign(this, { data, series, options });
    this.rows = rows.slice(-options.limit);
    this.place = -1;
    const [model, metric, architecture, direction] = data.series[series];
    this.name = [metric || "performance", "of", model, architecture && `on ${architecture}`].filter(Boolean).join(" ");
    const better = direction > 0 ? "more is better" : direction < 0 ? "less is better" : "";
    this.values = this.rows.map((row) => data.column("performance").number(row));
    this.good = this.rows.map((row) => data.cell("status", row).trim() === "SUCCESS");
    this.node = el("div", {
      className: "chart", tabIndex: 0, role: "application", "aria-roledescription": "trend chart",
      "aria-label": `${this.name}, ${plural(this.rows.length, "value")}${better && `, ${better}`}. Arrow keys move between values, Enter opens a run.`,
      onkeydown: (event) => this.key(event),
      onpointermove: (event) => this.hover(event),
      onpointerleave: () => this.leave(),
      onclick: () => this.place >= 0 && options.open(this.rows[this.place]),
      onblur: () => this.leave(),
    });
    this.node.style.height = `${options.height}px`;
  }

  draw() {
    const width = this.node.clientWidth;
    const { height } = this.options;
    if (!width || this.width === width) return;
    this.width = width;
    this.scale(width, height);
    const picture = svg("svg", { width, height, viewBox: `0 0 ${width} ${height}`, "aria-hidden": "true" },
      this.axes(width, height), this.bandShape(), this.line(), this.steps(height), this.dots());
    this.mark = svg("g", { class: "mark", visibility: "hidden" },
      svg("line", { y1: this.top, y2: height - this.bottom }), svg("circle", { r: 6 }));
    picture.append(this.mark);
    this.node.replaceChildren(picture);
  }

  scale(width, height) {
    const { median, half } = this.data.numbers;
    const ends = [...this.values];
    for (const row of this.rows) if (half[row]) ends.push(median[row] - half[row], median[row] + half[row]);
    let low = Math.min(...ends), high = Math.max(...ends);
    const room = (high - low || Math.abs(high) || 1) * 0.08;
    [low, high] = [low - room, high + room];
    this.ticks = ticks(low, high, height > 160 ? 4 : 3);
    const widest = Math.max(...this.ticks.map((value) => compact(value).length));
    [this.left, this.right, this.top, this.bottom] = [widest * 6.6 + 10, 10, 8, 20];
    const last = Math.max(this.rows.length - 1, 1);
    const alone = this.rows.length === 1;
    this.x = (place) => this.left + (alone ? 0.5 : place / last) * (width - this.left - this.right);
    this.y = (value) => this.top + ((high - value) / (high - low)) * (height - this.top - this.bottom);
  }

  axes(width, height) {
    const group = svg("g", { class: "axes" });
    for (const value of this.ticks) {
      const y = this.y(value);
      group.append(svg("line", { x1: this.left, x2: width - this.right, y1: y, y2: y }));
      group.append(svg("text", { x: this.left - 6, y: y + 3.5, "text-anchor": "end" }, compact(value)));
    }
    const first = this.label(0), last = this.label(this.rows.length - 1);
    if (this.rows.length > 1) group.append(svg("text", { x: this.left, y: height - 5 }, first));
    if (last !== first || this.rows.length === 1) {
      group.append(svg("text", { x: width - this.right, y: height - 5, "text-anchor": "end" }, last));
    }
    return group;
  }

  label(place) {
    const row = this.rows[place];
    const finished = this.data.fact("finished", row);
    return finished ? finished.slice(0, 10) : this.data.fact("session", row) || `row ${row + 1}`;
  }

  /** The band and its middle, one shape for each stretch of values that have one. */
  bandShape() {
    const { median, half } = this.data.numbers;
    const group = svg("g", { class: "band" });
    let stretch = [];
    let weak = true;
    const finish = () => {
      if (stretch.length) {
        // A band of a single value would have no width.
        const ends = stretch.length > 1 ? stretch.map((one) => [this.x(one), one])
          : [[this.x(stretch[0]) - 6, stretch[0]], [this.x(stretch[0]) + 6, stretch[0]]];
        const side = (sign) => ends.map(([x, place]) => `${x.toFixed(1)},${this.y(median[this.rows[place]] + sign * half[this.rows[place]]).toFixed(1)}`);
        group.append(svg("polygon", { class: weak ? "weak" : "", points: [...side(1), ...side(-1).reverse()].join(" ") }));
        group.append(svg("polyline", { points: side(0).join(" ") }));
      }
      stretch = [];
    };
    this.rows.forEach((row, place) => {
      if (!half[row]) {
        finish();
        return;
      }
      const now = this.data.verdict(row)?.weak ?? weak;
      if (now !== weak && stretch.length) {
        const before = stretch[stretch.length - 1];
        finish();
        stretch.push(before);
      }
      weak = now;
      stretch.push(place);
    });
    finish();
    return group;
  }

  line() {
    const points = this.values.map((value, place) => [place, value]).filter(([place]) => this.good[place]);
    return svg("polyline", { class: "values", points: points.map(([place, value]) => `${this.x(place).toFixed(1)},${this.y(value).toFixed(1)}`).join(" ") });
  }

  /** Where the fingerprint changes, values stop being of the same thing. */
  steps(height) {
    const group = svg("g", { class: "steps" });
    for (let place = 1; place < this.rows.length; place++) {
      const [before, now] = [place - 1, place].map((one) => this.data.fact("fingerprint", this.rows[one]));
      if (!before || !now || before === now) continue;
      const x = (this.x(place - 1) + this.x(place)) / 2;
      group.append(svg("line", { x1: x, x2: x, y1: this.top, y2: height - this.bottom }));
    }
    return group;
  }

  dots() {
    const group = svg("g", { class: "dots" });
    const radius = this.rows.length > 150 ? 1.6 : this.rows.length > 60 ? 2.2 : 3;
    this.rows.forEach((row, place) => {
      const x = this.x(place), y = this.y(this.values[place]);
      if (!this.good[place]) {
        group.append(svg("path", { class: "failed", d: `M${x - 4} ${y - 4}l8 8m0 -8l-8 8` }));
        return;
      }
      const verdict = this.data.verdict(row);
      const beyond = verdict && verdict.kind !== "inside";
      const kind = verdict ? `${verdict.kind}${verdict.weak ? " weak" : ""}` : "";
      group.append(svg("circle", { class: kind, cx: x, cy: y, r: beyond ? Math.max(radius + 1.5, 3.5) : radius }));
      if (row === this.options.current) group.append(svg("circle", { class: "current", cx: x, cy: y, r: 7 }));
    });
    return group;
  }

  show(place) {
    if (!this.mark) return;
    this.place = place;
    const row = this.rows[place];
    const x = this.x(place), y = this.y(this.values[place]);
    this.mark.setAttribute("visibility", "visible");
    const [line, circle] = this.mark.children;
    line.setAttribute("x1", x);
    line.setAttribute("x2", x);
    circle.setAttribute("cx", x);
    circle.setAttribute("cy", y);
    const { data } = this;
    const [, metric] = data.series[this.series];
    const { median, half } = data.numbers;
    const status = data.cell("status", row).trim();
    showTip(circle, [
      `${data.cell("performance", row)} ${metric}`,
      status === "SUCCESS" ? "" : status,
      half[row] ? `${percent(data.change(row))} against the median ${compact(median[row])}` : "",
      half[row] ? `band ${compact(median[row] - half[row])} to ${compact(median[row] + half[row])}: ${verdictText(data.verdict(row))}` : "",
      data.fact("session", row), when(data.fact("finished", row)),
    ].filter(Boolean));
  }

  hover(event) {
    const { left } = this.node.getBoundingClientRect();
    const share = (event.clientX - left - this.left) / Math.max(this.width - this.left - this.right, 1);
    const last = this.rows.length - 1;
    this.show(Math.max(0, Math.min(last, Math.round(share * last))));
  }

  leave() {
    this.place = -1;
    this.mark?.setAttribute("visibility", "hidden");
    hideTip();
  }

  key(event) {
    const last = this.rows.length - 1;
    const from = this.place < 0 ? last + (event.key === "ArrowLeft" ? 1 : 0) : this.place;
    const steps = { ArrowLeft: from - 1, ArrowRight: from + 1, Home: 0, End: last };
    if (event.key in steps) {
      event.preventDefault();
      this.show(Math.max(0, Math.min(last, steps[event.key])));
    } else if (event.key === "Enter") {
      this.options.open(this.rows[this.place < 0 ? last : this.place]);
    } else if (event.key === "Escape" && this.place >= 0) {
      event.stopPropagation();
      event.preventDefault();
      this.leave();
    }
  }
}
