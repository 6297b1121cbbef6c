/* Elements, numbers in words and colours; everything from the data enters the page as text, never as markup. */
const data = JSON.parse(document.getElementById("data").textContent);
const SVG = "http://www.w3.org/2000/svg";

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  for (const child of children.flat(Infinity)) if (child !== null && child !== undefined) element.append(child);
  return element;
}
const el = (tag, attributes, ...children) => fill(document.createElement(tag), attributes, children);
const sv = (tag, attributes, ...children) => fill(document.createElementNS(SVG, tag), attributes, children);

const known = (value) => value !== null && value !== undefined && Number.isFinite(value);
const plain = (value, digits = 1) => (known(value) ? value.toFixed(digits).replace(/^-(0(?:\.0+)?)$/, "$1") : "");
const signed = (value, digits = 1) => (known(value) ? (Number(plain(value, digits)) >= 0 ? "+" : "") + plain(value, digits) : "");
const percent = (value) => (known(value) ? (100 * value).toFixed(0) + " %" : "");
const range = (triple, write) => (triple ? `${write(triple[0])} [${write(triple[1])}, ${write(triple[2])}]` : "");
const places = (rank) => (rank[0] === rank[1] ? `${rank[0]}` : `${rank[0]}\u2013${rank[1]}`);
const apart = (one, other) => ![...one].some((letter) => other.includes(letter));

/* Every agent keeps its colour and dashes on the whole page. */
const agents = [];
for (const board of [data.overall, ...data.scenarios])
  for (const entry of board.entries) if (!agents.includes(entry.agent)) agents.push(entry.agent);
/* Those of further suites come after, so that nobody's colour depends on what is shown beside. */
const everybody = [...agents];
for (const suite of data.beside) for (const world of suite.worlds) for (const entry of world.entries) if (!everybody.includes(entry.agent)) everybody.push(entry.agent);
const DASHES = ["", "7 3", "2 3", "9 3 2 3"];
const colourOf = (agent) => `var(--c${everybody.indexOf(agent) % 8})`;
const dashOf = (agent) => DASHES[Math.floor(everybody.indexOf(agent) / 8) % DASHES.length];
const labels = {};
for (const board of [...data.beside.flatMap((suite) => suite.worlds), ...data.scenarios]) for (const entry of board.entries) labels[entry.agent] = entry.label;
const labelOf = (agent) => labels[agent] || agent;

/* A table; the first column names the rows. Columns: {title, cell(row) -> text or node, words?, long?}; long are words as well. */
function table(caption, columns, rows, attributes) {
  const cell = (column, row, place) => {
    const content = column.cell(row);
    if (place === 0) return el("th", { scope: "row" }, content);
    return el("td", { class: column.long ? "words reason" : column.words ? "words" : null }, content);
  };
  return el("div", { class: "wide", tabindex: "0", role: "region", "aria-label": caption },
    el("table", attributes || {},
      el("caption", {}, caption),
      el("thead", {}, el("tr", {}, columns.map((column, place) =>
        el("th", { scope: "col", class: place === 0 || column.words ? "words" : null }, column.title)))),
      el("tbody", {}, rows.map((row) => el("tr", {}, columns.map((column, place) => cell(column, row, place)))))));
}
/* Heads that sort by their column when pressed, and the rows in that order. Columns: {id, title, of(row), first?}; state.sort is [id, 1 up or -1 down]. */
function sorting(columns, state, redraw) {
  const heads = columns.map((column) => el("th", { scope: "col", class: column.id === "agent" ? "words" : null },
    el("button", { type: "button", onclick: () => {
      state.sort = state.sort[0] === column.id ? [column.id, -state.sort[1]] : [column.id, column.first || -1];
      redraw();
    } }, breakable(column.title))));
  const order = (rows) => {
    const column = columns.find((each) => each.id === state.sort[0]) || columns[0], way = column.id === state.sort[0] ? state.sort[1] : 1;
    heads.forEach((head, place) => { if (columns[place] === column) head.setAttribute("aria-sort", way > 0 ? "ascending" : "descending"); else head.removeAttribute("aria-sort"); });
    return { column, rows: [...rows].sort((a, b) => {
      const one = column.of(a), other = column.of(b);
      if (typeof one === "string") return way * one.localeCompare(other);
      if (!known(one) || !known(other)) return (known(other) ? 1 : 0) - (known(one) ? 1 : 0);
      return way * (one - other);
    }) };
  };
  return { heads, order };
}
/* Long names may be broken after a plus, an underscore, a colon or a dot. */
const breakable = (name) => name.split(/(?<=[+_:.])/).flatMap((part, place) => (place ? [el("wbr"), part] : [part]));
/* Blue above zero, orange below; the number in the cell says how much. */
const shade = (value, most) => (known(value) ? `background:rgba(var(--${value >= 0 ? "good" : "bad"}), ${(0.5 * Math.min(1, Math.abs(value) / most)).toFixed(3)})` : null);
const boxes = (id, names, on, change) => names.map((agent, place) => el("label", { for: `${id}-${place}` },
  el("input", { id: `${id}-${place}`, type: "checkbox", checked: on.has(agent), onchange: (event) => {
    if (event.target.checked) on.add(agent); else on.delete(agent);
    keep(`${id}-${place}`, change);
  } }), sample(agent), labelOf(agent)));
const numbers = (caption, columns, rows) => el("details", {}, el("summary", {}, "The numbers"), table(caption, columns, rows));
const sample = (agent) => sv("svg", { class: "sample", viewBox: "0 0 34 12", "aria-hidden": "true" },
  sv("line", { x1: 1, x2: 33, y1: 6, y2: 6, style: `stroke:${colourOf(agent)};stroke-width:3`, "stroke-dasharray": dashOf(agent) }));
const legend = (shown) => el("ul", { class: "legend" }, shown.map((agent) => el("li", {}, sample(agent), labelOf(agent))));

const sections = [];
function section(id, title, words, draw) {
  const body = el("div", {});
  const node = el("section", { id, "aria-labelledby": id + "-title" }, el("h2", { id: id + "-title" }, title),
    words ? el("p", { class: "soft" }, words) : null, body);
  document.getElementById("main").append(node);
  document.getElementById("contents").append(el("li", {}, el("a", { href: "#" + id }, title)));
  const redraw = () => { body.replaceChildren(...[draw()].flat(Infinity).filter((each) => each)); };
  sections.push(redraw);
  redraw();
  return redraw;
}
