// ---- one run -----------------------------------------------------------------------------------------

const PHASE_ORDER = ["queue", "credentials", "build", "pull", "data", "lease", "prepare", "run", "collect"];

class Details {
  constructor(data, table, dialog, closed) {
    Object.assign(this, { data, table, dialog });
    dialog.addEventListener("close", closed);
    dialog.addEventListener("click", (event) => {
      if (event.target === dialog) dialog.close(); // the backdrop
    });
  }

  async show(row) {
    this.row = row;
    const { data, dialog } = this;
    const body = el("div", { className: "body", tabIndex: -1 });
    const focused = dialog.contains(document.activeElement) ? document.activeElement.id : "";
    dialog.replaceChildren(this.header(row), body);
    if (!dialog.open) dialog.showModal();
    (focused && dialog.querySelector(`#${focused}:not(:disabled)`) || $("#details-close", dialog)).focus();
    let found = null;
    let trouble = "";
    try {
      found = await data.details(row);
    } catch (error) {
      trouble = `The details of this run cannot be read: ${error.message}`;
    }
    if (this.row !== row) return; // another run was opened meanwhile
    const parts = found ? this.parts(found, row) : [this.nothing(row, trouble)];
    body.replaceChildren(...[...parts.slice(0, 3), this.trend(row), ...parts.slice(3), this.cells(row, !found)].filter(Boolean));
    this.chart?.draw();
    body.scrollTop = 0;
  }

  header(row) {
    const { data, table } = this;
    const place = table.rows.indexOf(row);
    const step = (offset, id, label, sign) => el("button", {
      type: "button", id, className: "icon", "aria-label": label, title: label,
      disabled: place < 0 || table.rows[place + offset] === undefined,
      onclick: () => { location.hash = data.anchor(table.rows[place + offset]); },
    }, sign);
    const status = data.cell("status", row).trim();
    const facts = [data.fact("item", row), data.fact("session", row), when(data.fact("finished", row))];
    return el("header", {},
      el("div", { className: "titles" },
        el("h2", { id: "details-title" }, data.cell("model", row) || `Row ${row + 1}`, " ", status ? badge(status) : ""),
        el("p", {}, [...new Set(facts.filter((fact) => fact && fact !== data.cell("model", row)))].join(" \u00b7 ")),
        el("p", { className: "value" }, el("b", {}, data.cell("performance", row)), " ", data.cell("metric", row), " ", this.change(row))),
      el("div", { className: "buttons" },
        step(-1, "details-previous", "Previous row", "\u2039"), step(1, "details-next", "Next row", "\u203a"),
        el("button", { type: "button", id: "details-close", className: "icon", "aria-label": "Close", title: "Close (Esc)", onclick: () => this.dialog.close() }, "\u00d7")));
  }

  change(row) {
    const verdict = this.data.verdict(row);
    if (!verdict) return "";
    return el("span", { className: `change ${verdict.kind}` }, `${percent(this.data.change(row))} against the median, ${verdictText(verdict)}`);
  }

  nothing(row, trouble) {
    const known = this.data.fact("item", row);
    return el("p", { className: "note" }, trouble || (known
      ? "This page holds no details of this run: they are in records.jsonl of its session."
      : "No record of this run was found beside the table: only its cells are known."));
  }

  parts(found, row) {
    return [
      this.reason(found),
      this.list("Warnings", found.warnings),
      this.phases(found),
      this.metrics(found, row),
      this.log(found),
      this.artifacts(found),
      this.provenance(found),
      this.attempts(found),
      this.configs(found),
    ];
  }

  section(title, ...children) {
    const filled = children.filter((child) => child !== null && child !== "");
    return filled.length ? el("section", {}, el("h3", {}, title), ...filled) : null;
  }

  reason(found) {
    if (!found.reason && !found.hint) return null;
    return el("div", { className: `callout ${STATUS[found.outcome] ?? ""}` },
      found.reason ? el("p", { className: "reason" }, found.reason) : "",
      found.hint ? el("p", {}, el("b", {}, "Hint: "), found.hint) : "",
      found.phase && found.outcome !== "SUCCESS" ? el("p", { className: "muted" }, `Decided in phase ${found.phase}`, found.infrastructure ? "; the machine or a service failed, not the model" : "") : "",
      found.resumed_from ? el("p", { className: "muted" }, `Succeeded already in session ${found.resumed_from}`) : "");
  }

  list(title, lines = []) {
    return lines.length ? this.section(title, el("ul", { className: "warnings" }, ...lines.map((line) => el("li", {}, line)))) : null;
  }

  phases(found) {
    const rank = (name) => (PHASE_ORDER.indexOf(name) + 1) || 99;
    const known = Object.entries(found.durations ?? {}).filter(([, value]) => Number.isFinite(value)).sort(([a], [b]) => rank(a) - rank(b));
    if (!known.length) return null;
    const total = known.reduce((sum, [, value]) => sum + value, 0) || 1;
    let start = 0;
    const rows = known.map(([name, value], place) => {
      const bar = svg("svg", { class: `phase p${place % 6}`, viewBox: "0 0 100 8", preserveAspectRatio: "none", "aria-hidden": "true" },
        svg("rect", { x: (100 * start) / total, width: Math.max((100 * value) / total, 0.6), height: 8 }));
      start += value;
      return el("tr", {}, el("th", { scope: "row" }, name), el("td", { className: "number" }, seconds(value)), el("td", { className: "track" }, bar));
    });
    return this.section("Phases", el("table", { className: "phases" }, el("tbody", {}, ...rows)));
  }

  metrics(found, row) {
    const several = found.metrics ?? [];
    if (several.length < 2) return null;
    const current = this.data.cell("metric", row), model = this.data.cell("model", row);
    return this.section("All results of this run", el("table", { className: "plain" },
      el("thead", {}, el("tr", {}, ...["Result", "Metric", "Value", "Status"].map((name) => el("th", { scope: "col" }, name)))),
      el("tbody", {}, ...several.map(([name, metric, value, outcome]) => el("tr", { className: metric === current && (!name || model.endsWith(`_${name}`)) ? "current" : "" },
        el("td", {}, name || found.model), el("td", {}, metric), el("td", { className: "number" }, value), el("td", {}, badge(outcome)))))));
  }

  trend(row) {
    this.chart = null;
    const series = this.data.numbers.series[row];
    if (!series) return null;
    const rows = this.data.seriesRows[series - 1];
    if (rows.length < 2) return null;
    const until = rows.slice(0, Math.max(rows.indexOf(row) + 6, Math.min(rows.length, 50)));
    this.chart = new Chart(this.data, series - 1, until, {
      height: 150, limit: 50, current: row, open: (other) => { location.hash = this.data.anchor(other); },
    });
    return this.section("Trend", this.chart.node);
  }

  log(found) {
    const [file] = found.log ?? [];
    const link = file ? el("p", {}, this.link(file, `Whole log: ${file[0]}`)) : "";
    if (!found.log_tail?.length) {
      return this.section("Log", found.shortened ? el("p", { className: "muted" }, "The end of the log of older runs is left out of this page.") : "", link);
    }
    const text = el("pre", { tabIndex: 0, "aria-label": "End of the log" }, found.log_tail.join("\n"));
    requestAnimationFrame(() => { text.scrollTop = text.scrollHeight; });
    return this.section("End of the log", text, link);
  }

  link([name, target], text = name) {
    return target ? el("a", { href: target }, text) : el("span", {}, text);
  }

  artifacts(found) {
    const files = found.artifacts ?? [];
    if (!files.length) return null;
    const more = found.more_artifacts ? el("li", { className: "muted" }, `${count(found.more_artifacts)} more`) : "";
    return this.section(`Artifacts (${count(files.length + (found.more_artifacts ?? 0))})`, el("ul", { className: "files" }, ...files.map((file) => el("li", {}, this.link(file))), more));
  }

  provenance(found) {
    const { image = {}, host = {}, lease = {} } = found;
    const gpus = (lease.gpus ?? []).join(", ");
    const gpu = [host.gpu_count ? `${host.gpu_count} \u00d7` : "", host.gpu_product_name || host.gpu_architecture || host.gpu_vendor, host.gpu_product_name && host.gpu_architecture ? `(${host.gpu_architecture})` : "", host.simulated ? "simulated" : ""];
    const facts = [
      ["Started", when(found.started ?? "")], ["Finished", when(found.finished ?? "")],
      ["Image", image.name], ["Image digest", image.digest], ["Image id", image.id], ["Dockerfile", image.dockerfile],
      ["Base image", image.base], ["Base digest", image.base_digest], ["Container", image.container],
      ["Git commit", found.git_commit], ["Host", [host.hostname, host.host_os].filter(Boolean).join(", ")],
      ["GPUs", gpu.filter(Boolean).join(" ")], ["Driver", host.driver_version], ["ROCm or CUDA", host.runtime_version],
      ["Leased GPUs", gpus && `${gpus}${lease.simulated ? " (simulated)" : ""}`],
      ["Exit status", found.exit_code ?? ""], ["Fingerprint", found.fingerprint], ["Session", found.run_id], ["Item", found.item_id],
      ...(found.data ?? []).map((entry) => [`Data ${entry.name ?? ""}`, [entry.provider, entry.home, entry.size, entry.duration ? seconds(entry.duration) : ""].filter(Boolean).join(", ")]),
      ...Object.entries(found.gate ?? {}).map(([name, value]) => [`Gate ${name}`, typeof value === "object" ? JSON.stringify(value) : value]),
    ];
    return this.section("Provenance", this.facts(facts));
  }

  facts(facts) {
    const known = facts.map(([name, value]) => [name, value === undefined || value === null ? "" : String(value)]).filter(([, value]) => value.trim());
    return known.length ? el("dl", {}, ...known.flatMap(([name, value]) => [el("dt", {}, name), el("dd", { className: /^(sha256:)?[0-9a-f]{12,}$/.test(value) ? "mono" : "" }, value)])) : "";
  }

  attempts(found) {
    const tries = found.attempts ?? [];
    if (tries.length < 2) return null;
    return this.section("Attempts", el("ol", { className: "attempts" }, ...tries.map((one) => el("li", {},
      badge(one.outcome), ` ${seconds(one.duration)} \u00b7 ${when(one.started ?? "")} `, one.reason ? el("span", { className: "muted" }, one.reason) : ""))));
  }

  configs(found) {
    return found.configs ? el("section", {}, el("details", {}, el("summary", {}, "Configuration"), el("pre", { tabIndex: 0 }, found.configs))) : null;
  }

  cells(row, open) {
    const facts = this.data.columns.map((column, place) => [column.name || `column ${place + 1}`, column.cell(row)]);
    return el("section", {}, el("details", { open }, el("summary", {}, "All cells of this row"), this.facts(facts)));
  }
}
