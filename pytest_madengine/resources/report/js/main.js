// ---- putting it together -----------------------------------------------------------------------------

const VIEWS = ["results", "trends", "compare"];
const PRINTED = 1000;

/** Shows that only the plain table is to be had, and why. */
function giveUp(text) {
  document.documentElement.classList.remove("js");
  const trouble = $("#trouble");
  trouble.textContent = text;
  trouble.hidden = false;
}

function themes() {
  const button = $("#theme");
  const root = document.documentElement;
  const system = matchMedia("(prefers-color-scheme: dark)");
  button.hidden = false;
  button.addEventListener("click", () => {
    const dark = (root.dataset.theme ?? (system.matches ? "dark" : "light")) === "dark";
    const wanted = dark ? "light" : "dark";
    // What the system says anyway need not be remembered: then it is followed again.
    const usual = (wanted === "dark") === system.matches;
    if (usual) delete root.dataset.theme;
    else root.dataset.theme = wanted;
    remembered("theme", usual ? null : wanted);
  });
}

class Page {
  constructor(data) {
    this.data = data;
    const open = (row) => { location.hash = data.anchor(row); };
    this.table = new ResultTable(data, $("#scroller"), open);
    this.table.header();
    this.filters = new Filters(data, this.table, $("#tools"));
    this.trends = new Trends(data, $("#trends"), open);
    this.compare = new Compare(data, $("#compare"), open);
    this.details = new Details(data, this.table, $("#details"), () => this.closed());
    this.view = "results";
    this.tabs();
    this.tiles();
    this.filters.apply();
    this.sessionBars();
    addEventListener("hashchange", () => this.route());
    addEventListener("beforeprint", () => this.table.print(PRINTED));
    addEventListener("afterprint", () => this.table.printed());
    addEventListener("keydown", (event) => this.key(event));
    this.route();
  }

  tabs() {
    const list = $(".tabs");
    const tabs = [...list.children];
    list.hidden = false;
    $("#results").setAttribute("role", "tabpanel");
    $("#results").setAttribute("aria-labelledby", "tab-results");
    $("#results").removeAttribute("aria-label");
    for (const tab of tabs) tab.addEventListener("click", () => this.select(tab.getAttribute("aria-controls")));
    list.addEventListener("keydown", (event) => {
      const place = tabs.indexOf(document.activeElement);
      const steps = { ArrowRight: place + 1, ArrowLeft: place - 1, Home: 0, End: tabs.length - 1 };
      if (!(event.key in steps)) return;
      event.preventDefault();
      const tab = tabs[(steps[event.key] + tabs.length) % tabs.length];
      this.select(tab.getAttribute("aria-controls"));
      tab.focus();
    });
  }

  /** Shows a view; the address says which one, so that it can be passed on. */
  select(view, keep = false) {
    this.view = view;
    for (const name of VIEWS) {
      $(`#${name}`).hidden = name !== view;
      const tab = $(`#tab-${name}`);
      tab.setAttribute("aria-selected", String(name === view));
      tab.tabIndex = name === view ? 0 : -1;
    }
    if (view === "trends") this.trends.show();
    if (view === "compare") this.compare.show();
    if (view === "results") this.table.draw();
    if (!keep) this.address();
  }

  address() {
    history.replaceState(null, "", this.view === "results" ? location.pathname + location.search : `#${this.view}`);
  }

  route() {
    const hash = location.hash.slice(1);
    if (VIEWS.includes(hash)) {
      this.select(hash, true);
      if (this.details.dialog.open) this.details.dialog.close();
      return;
    }
    const row = this.data.rowOf(hash);
    if (row >= 0) this.details.show(row);
    else if (this.details.dialog.open) this.details.dialog.close();
    else if (/^(run|row)=/.test(hash)) this.unknown(hash);
  }

  unknown(hash) {
    const trouble = $("#trouble");
    trouble.textContent = `This page has no ${hash.startsWith("row") ? "such row" : "such run"}: ${hash}`;
    trouble.hidden = false;
  }

  closed() {
    hideTip();
    this.address();
    const { row } = this.details;
    this.details.row = -1;
    const place = this.table.rows.indexOf(row);
    if (this.view === "results" && place >= 0) this.table.moveTo(place, true);
  }

  /** Tiles become buttons: they filter, or show the view that explains them. */
  tiles() {
    for (const tile of document.querySelectorAll(".tile[data-status], .tile[data-view]")) {
      const button = el("button", { type: "button", className: tile.className, title: tile.title || null }, ...tile.childNodes);
      button.addEventListener("click", () => {
        if (tile.dataset.view) {
          this.select(tile.dataset.view);
          $(`#tab-${tile.dataset.view}`).focus();
        } else {
          this.select("results");
          this.filters.only(tile.dataset.status);
        }
      });
      tile.replaceWith(button);
    }
  }

  /** The last sessions as bars: height is the number of results, colour their status. */
  sessionBars() {
    const tile = $("#sessions");
    const { data } = this;
    const sessions = data.sessions.slice(0, 18).reverse();
    if (!tile || sessions.length < 2) return;
    const status = data.column("status");
    const counts = sessions.map(([name, rows]) => {
      const found = { SUCCESS: 0, FAILURE: 0, SKIPPED: 0 };
      for (const row of rows) {
        const text = status?.cell(row).trim();
        if (text in found) found[text]++;
      }
      return [name, rows.length, found];
    });
    const most = Math.max(...counts.map(([, rows]) => rows));
    const bars = counts.map(([name, rows, found]) => {
      const picture = svg("svg", { viewBox: "0 0 10 40", preserveAspectRatio: "none", "aria-hidden": "true" });
      let top = 40;
      for (const [word, className] of Object.entries(STATUS)) {
        const height = (40 * found[word]) / most;
        if (!height) continue;
        top -= height;
        picture.append(svg("rect", { class: className, x: 0, y: top, width: 10, height }));
      }
      const words = Object.keys(STATUS).filter((word) => found[word]).map((word) => `${found[word]} ${STATUS[word]}`).join(", ");
      return el("button", {
        type: "button", "aria-label": `Session ${name}: ${words || plural(rows, "row")}`,
        onclick: () => {
          this.select("results");
          this.filters.setSession(this.filters.session === name ? "" : name);
        },
        onpointerenter: (event) => showTip(event.currentTarget, [name, words]), onpointerleave: hideTip,
        onfocus: (event) => showTip(event.currentTarget, [name, words]), onblur: hideTip,
      }, picture);
    });
    tile.append(el("div", { className: "bars", role: "group", "aria-label": "Last sessions" }, ...bars));
  }

  key(event) {
    const typing = event.target.closest?.("input, select, textarea, dialog");
    if (event.key === "/" && !typing && !event.ctrlKey && !event.metaKey) {
      event.preventDefault();
      this.select("results");
      this.filters.search.focus();
    }
  }
}

async function start() {
  themes();
  if (typeof DecompressionStream === "undefined") {
    giveUp("This browser cannot unpack the data of this page (it needs Chrome 80, Firefox 113, Safari 16.4 or newer): only the plain table is shown.");
    return;
  }
  const table = $("#scroller table");
  const plain = [...table.childNodes].map((part) => [part, [...part.childNodes]]);
  try {
    const data = new Data(await inflate($("#mad-data").textContent));
    table.tBodies[0].replaceChildren();
    document.documentElement.classList.add("ready");
    new Page(data);
    performance.mark("mad-ready");
  } catch (error) {
    table.replaceChildren(...plain.map(([part]) => part));
    for (const [part, children] of plain) if (children.length) part.replaceChildren(...children);
    giveUp(`The data of this page cannot be shown (${error.message}): only the plain table is.`);
    throw error;
  }
}

start();
