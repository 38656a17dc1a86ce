// ---- small helpers -------------------------------------------------------------------------------

const $ = (selector, within = document) => within.querySelector(selector);
const SVG = "http://www.w3.org/2000/svg";
const NUMBER = /^[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]{1,3})?$/;
const collator = new Intl.Collator("en", { numeric: true, sensitivity: "base" });
const STATUS = { SUCCESS: "success", FAILURE: "failure", SKIPPED: "skipped" };
const MINUS = "\u2212";

/** An element; text is always set as text, never as markup. */
function el(tag, properties = {}, ...children) {
  const node = document.createElement(tag);
  assign(node, properties);
  node.append(...children.filter((child) => child !== null && child !== undefined && child !== ""));
  return node;
}

function svg(tag, attributes = {}, ...children) {
  const node = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

function assign(node, properties) {
  for (const [name, value] of Object.entries(properties)) {
    if (value === undefined || value === null) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (name in node && !name.includes("-")) node[name] = value;
    else node.setAttribute(name, value);
  }
}

/** The number a cell holds, or NaN: words such as "nan" and "inf" are none. */
function toNumber(text) {
  const trimmed = text.trim();
  return NUMBER.test(trimmed) ? Number(trimmed) : NaN;
}

function compact(value) {
  if (!Number.isFinite(value)) return "";
  const size = Math.abs(value);
  if (size !== 0 && (size >= 1e9 || size < 1e-3)) return value.toExponential(2).replace("-", MINUS);
  const digits = size >= 1000 ? 0 : size >= 100 ? 1 : size >= 1 ? 2 : 4;
  // "-0" is what a small negative number is rounded to.
  return value.toLocaleString("en", { maximumFractionDigits: digits }).replace(/^-0$/, "0").replace("-", MINUS);
}

function percent(change, digits = 1) {
  if (!Number.isFinite(change)) return "";
  const shown = (100 * change).toFixed(digits);
  const zero = Number(shown) === 0;
  return `${zero ? "\u00b1" : change > 0 ? "+" : MINUS}${shown.replace("-", "")} %`;
}

function seconds(value) {
  if (value === undefined || value === null || !Number.isFinite(Number(value))) return "";
  const total = Number(value);
  if (total < 60) return `${total >= 10 ? total.toFixed(1) : total.toFixed(2)} s`;
  const whole = Math.round(total);
  const parts = [[Math.floor(whole / 3600), "h"], [Math.floor(whole / 60) % 60, "min"], [whole % 60, "s"]];
  return parts.filter(([count]) => count).map(([count, unit]) => `${count} ${unit}`).join(" ") || "0 s";
}

const when = (text) => text.replace("T", " ").replace(/(\.\d+)?Z$/, " UTC");
const count = (number) => number.toLocaleString("en");
const plural = (number, noun) => `${count(number)} ${noun}${number === 1 ? "" : "s"}`;

function debounced(action, milliseconds = 120) {
  let timer = 0;
  return () => {
    clearTimeout(timer);
    timer = setTimeout(action, milliseconds);
  };
}

function remembered(name, value) {
  try {
    if (value === null) localStorage.removeItem(`mad-${name}`);
    else if (value !== undefined) localStorage.setItem(`mad-${name}`, value);
    return localStorage.getItem(`mad-${name}`);
  } catch {
    return null; // storage may be forbidden
  }
}

const ruler = document.createElement("canvas").getContext("2d");

/** Pixels that a text needs in the font of the page. */
function textWidth(text, weight, size) {
  ruler.font = `${weight} ${size}px ${getComputedStyle(document.body).fontFamily}`;
  return ruler.measureText(text).width;
}

/** A badge: colour, sign and word, so that none of them is needed alone. */
function badge(status) {
  const sign = { SUCCESS: "\u2713", FAILURE: "\u2715", SKIPPED: "\u2013" }[status] ?? "";
  const word = el("span", { className: "word" }, status);
  return el("span", { className: `badge ${STATUS[status] ?? "other"}` },
    el("span", { className: "sign", "aria-hidden": "true" }, sign), word);
}

// ---- one tooltip for everything ------------------------------------------------------------------

function showTip(node, lines) {
  const tip = $("#tip");
  tip.replaceChildren(...lines.map((line, number) => el(number ? "span" : "b", {}, line)));
  // A modal dialog is above everything else on the page: the tip has to be in it.
  (node.closest("dialog") ?? document.body).append(tip);
  tip.hidden = false;
  const place = node.getBoundingClientRect();
  const size = tip.getBoundingClientRect();
  const left = Math.min(Math.max(place.left + place.width / 2 - size.width / 2, 6), innerWidth - size.width - 6);
  const above = place.top - size.height - 10;
  tip.style.left = `${left}px`;
  tip.style.top = `${above > 6 ? above : place.bottom + 10}px`;
}

function hideTip() {
  $("#tip").hidden = true;
}
