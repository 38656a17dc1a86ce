// ---- the data below the page (written by reports/pageencode.py) ------------------------------------

async function inflate(text) {
  const raw = atob(text);
  const bytes = new Uint8Array(raw.length);
  for (let place = 0; place < raw.length; place++) bytes[place] = raw.charCodeAt(place);
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Response(stream).arrayBuffer();
}

/** One column: texts by number, and per row the number of its text (none: the texts stand one per row). */
class Column {
  constructor(name, values, index) {
    this.name = name;
    this.values = values;
    this.index = index;
  }

  cell(row) {
    return this.values[this.index ? this.index[row] : row];
  }

  /** Numbers of the distinct texts; NaN for those that are none. */
  get numbers() {
    return (this._numbers ??= Float64Array.from(this.values, toNumber));
  }

  number(row) {
    return this.numbers[this.index ? this.index[row] : row];
  }

  /** True when what is not empty is numbers. */
  get numeric() {
    if (this._numeric === undefined) {
      let some = false;
      this._numeric = this.values.every((text, place) => {
        const number = !Number.isNaN(this.numbers[place]);
        some ||= number;
        return number || text.trim() === "";
      }) && some;
    }
    return this._numeric;
  }

  get filled() {
    return (this._filled ??= this.values.some((text) => text.trim() !== ""));
  }

  /** Position of each distinct text in sorted order; the same for equal ones, empty ones last. */
  get ranks() {
    if (!this._ranks) {
      const { values, numbers } = this;
      const order = Uint32Array.from(values.keys());
      const group = (place) => (values[place] === "" ? 2 : Number.isNaN(numbers[place]) ? 1 : 0);
      order.sort((a, b) => group(a) - group(b)
        || (group(a) === 0 ? numbers[a] - numbers[b] : collator.compare(values[a], values[b])));
      this._ranks = new Uint32Array(values.length);
      order.forEach((place, rank) => {
        const before = order[rank - 1];
        const same = rank > 0 && group(before) === group(place)
          && (group(place) === 0 ? numbers[before] === numbers[place] : values[before] === values[place]);
        this._ranks[place] = same ? this._ranks[before] : rank;
      });
    }
    return this._ranks;
  }

  rank(row) {
    return this.ranks[this.index ? this.index[row] : row];
  }

  /** Which of the distinct texts fulfil a condition, as bytes. */
  mask(condition) {
    const { values, numbers } = this;
    return Uint8Array.from(values, (text, place) => (condition(text, numbers[place]) ? 1 : 0));
  }
}

class Data {
  constructor(buffer) {
    const length = new DataView(buffer).getUint32(0, true);
    const head = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, length)));
    const padded = (size) => size + (-size & 3);
    let place = 4 + padded(length);
    const take = (Type) => {
      const found = new Type(buffer, place, head.rows);
      place += padded(found.byteLength);
      return found;
    };
    const kinds = { 8: Uint8Array, 16: Uint16Array, 32: Uint32Array };
    const columns = head.columns.map(({ name, values, bits }) =>
      new Column(name, values, bits ? take(kinds[bits]) : null));
    this.rows = head.rows;
    this.title = head.title;
    this.series = head.series;
    this.band = head.band;
    this.block = head.block;
    this.numbers = {};
    for (const { name, type } of head.numbers) {
      this.numbers[name] = take({ B: Uint8Array, I: Uint32Array, f: Float32Array }[type]);
    }
    const hidden = new Set(Object.values(head.hidden));
    this.columns = columns.filter((_, number) => !hidden.has(number));
    this.hidden = {};
    for (const [name, number] of Object.entries(head.hidden)) this.hidden[name] = columns[number];
    this.blocks = [...document.querySelectorAll("script.mad-details")];
    this._blocks = new Map();
  }

  column(name) {
    return this.columns.find((column) => column.name === name);
  }

  cell(name, row) {
    return this.column(name)?.cell(row) ?? "";
  }

  fact(name, row) {
    return this.hidden[name]?.cell(row) ?? "";
  }

  /** Sessions in order of their last row, newest first: [name, rows]. */
  get sessions() {
    if (!this._sessions) {
      const found = new Map();
      const column = this.hidden.session;
      for (let row = 0; column && row < this.rows; row++) {
        const name = column.cell(row);
        if (!name) continue;
        const rows = found.get(name);
        if (rows) rows.push(row);
        else found.set(name, [row]);
      }
      this._sessions = [...found].sort(([, a], [, b]) => b[b.length - 1] - a[a.length - 1]);
    }
    return this._sessions;
  }

  /** Rows of each series. */
  get seriesRows() {
    if (!this._seriesRows) {
      this._seriesRows = this.series.map(() => []);
      this.numbers.series.forEach((series, row) => series && this._seriesRows[series - 1].push(row));
    }
    return this._seriesRows;
  }

  /** What history says about the value of a row; null: nothing. */
  verdict(row) {
    const code = this.numbers.verdict[row];
    if (!code) return null;
    return { kind: ["", "inside", "worse", "better", "outside"][code & 7], weak: code >= 8 };
  }

  /** Change of a value against the median before it; NaN: unknown. */
  change(row) {
    const median = this.numbers.median[row];
    if (!this.numbers.half[row] || !median) return NaN;
    return (this.column("performance").number(row) - median) / Math.abs(median);
  }

  /** Number of each row within its run, from 0. */
  get ordinals() {
    if (!this._ordinals) {
      const seen = new Map();
      this._ordinals = new Uint16Array(this.rows);
      for (let row = 0; this.hidden.item && row < this.rows; row++) {
        const run = `${this.fact("session", row)}\n${this.fact("item", row)}`;
        const before = seen.get(run) ?? 0;
        this._ordinals[row] = before;
        seen.set(run, before + 1);
      }
    }
    return this._ordinals;
  }

  /** Fragment that opens a row; pagesummary.py makes the same ones. */
  anchor(row) {
    const run = [this.fact("session", row), this.fact("item", row)];
    if (!run.every(Boolean)) return `row=${row + 1}`;
    const ordinal = this.ordinals[row];
    return `run=${run.map(encodePath).join("/")}${ordinal ? `&n=${ordinal}` : ""}`;
  }

  /** The row that a fragment names; -1: none. */
  rowOf(fragment) {
    const [, kind, text, ordinal = "0"] = fragment.match(/^(run|row)=([^&]*)(?:&n=(\d+))?$/s) ?? [];
    if (kind === "row") return Number(text) >= 1 && Number(text) <= this.rows ? Number(text) - 1 : -1;
    if (!kind) return -1;
    let wanted;
    try {
      wanted = decodeURIComponent(text);
    } catch {
      return -1;
    }
    for (let row = 0; row < this.rows; row++) {
      const session = this.fact("session", row);
      const same = wanted.startsWith(`${session}/`) && wanted === `${session}/${this.fact("item", row)}`;
      if (same && this.ordinals[row] === Number(ordinal)) return row;
    }
    return -1;
  }

  /** Details of a row's run; null: there are none. */
  async details(row) {
    const number = this.numbers.record[row];
    if (!number) return null;
    const block = Math.floor((number - 1) / this.block);
    if (!this._blocks.has(block)) {
      const read = (buffer) => JSON.parse(new TextDecoder().decode(buffer));
      this._blocks.set(block, inflate(this.blocks[block].textContent).then(read));
    }
    return (await this._blocks.get(block))[(number - 1) % this.block] ?? null;
  }
}

const encodePath = (text) => encodeURIComponent(text).replace(/%2F/g, "/");

/** Why a value is as it is judged, in words. */
function verdictText(verdict) {
  if (!verdict) return "no earlier values to compare with";
  const text = {
    inside: "within the band", worse: "worse than the band", better: "better than the band", outside: "outside the band",
  }[verdict.kind];
  return verdict.weak ? `${text} (weak: fewer than 5 earlier values)` : text;
}
