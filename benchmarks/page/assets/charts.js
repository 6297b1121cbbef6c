/* Pictures: lines over time with a slider to read them, radar, dots with intervals, points in a plane. */
/* Drawn as wide as there is room for, so that letters keep their size on a phone. */
const room = (most) => Math.max(300, Math.min(most, document.documentElement.clientWidth - 56));

function ticks(low, high, count = 5) {
  const span = high - low || 1, raw = span / count, power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 2.5, 5, 10].map((each) => each * power).find((each) => each >= raw) || raw;
  const found = [];
  for (let tick = Math.ceil(low / step - 1e-9) * step; tick <= high + 1e-9 * span; tick += step) found.push(Math.abs(tick) < 1e-12 ? 0 : tick);
  return found;
}
const tickText = (value) => String(Number(value.toPrecision(6)));

function frame(width, height, x, y, xTitle, yTitle, left = 56) {
  const box = { left, right: width - 14, top: 14, bottom: height - 44 };
  const atX = (value) => box.left + ((value - x[0]) / (x[1] - x[0] || 1)) * (box.right - box.left);
  const atY = (value) => box.bottom - ((value - y[0]) / (y[1] - y[0] || 1)) * (box.bottom - box.top);
  const parts = [
    ticks(y[0], y[1]).map((tick) => [
      sv("line", { class: tick === 0 ? "zero" : "axis", x1: box.left, x2: box.right, y1: atY(tick), y2: atY(tick) }),
      sv("text", { x: box.left - 6, y: atY(tick) + 4, "text-anchor": "end" }, tickText(tick))]),
    ticks(x[0], x[1], width < 450 ? 3 : 5).map((tick) => [
      sv("line", { class: "axis", x1: atX(tick), x2: atX(tick), y1: box.bottom, y2: box.bottom + 5 }),
      sv("text", { x: atX(tick), y: box.bottom + 19, "text-anchor": "middle" }, tickText(tick))]),
    sv("text", { class: "soft", x: (box.left + box.right) / 2, y: height - 6, "text-anchor": "middle" }, xTitle),
    sv("text", { class: "soft", x: 12, y: (box.top + box.bottom) / 2, "text-anchor": "middle", transform: `rotate(-90 12 ${(box.top + box.bottom) / 2})` }, yTitle)];
  return { box, atX, atY, parts };
}
function extent(values, zero) {
  const found = values.filter(known);
  let low = Math.min(...found, ...(zero ? [0] : [])), high = Math.max(...found, ...(zero ? [0] : []));
  if (!(high > low)) { low -= 1; high += 1; }
  const room = 0.06 * (high - low);
  return [zero && low === 0 ? 0 : low - room, high + room];
}

/* series: [{agent, y, low?, high?}] over common x. */
function lines({ title, xTitle, yTitle, x, series, write, zero = true }) {
  const width = room(640), height = 320;
  const all = series.flatMap((each) => [...each.y, ...(each.low || []), ...(each.high || [])]);
  const { box, atX, atY, parts } = frame(width, height, [x[0], x[x.length - 1]], extent(all, zero), xTitle, yTitle);
  const path = (ys) => ys.map((value, place) => `${place ? "L" : "M"}${atX(x[place]).toFixed(1)} ${atY(value).toFixed(1)}`).join("");
  const cursor = sv("line", { class: "zero", y1: box.top, y2: box.bottom, "stroke-dasharray": "3 3" });
  const picture = sv("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": `${title}. The numbers are in the table below the picture.` },
    parts,
    series.filter((each) => each.low).map((each) => sv("path", {
      d: path(each.high) + each.low.map((value, place) => `L${atX(x[x.length - 1 - place]).toFixed(1)} ${atY(each.low[x.length - 1 - place]).toFixed(1)}`).join("") + "Z",
      style: `fill:${colourOf(each.agent)};opacity:.14` })),
    series.map((each) => sv("path", { d: path(each.y), style: `fill:none;stroke:${colourOf(each.agent)};stroke-width:2.2`, "stroke-dasharray": dashOf(each.agent) })),
    cursor);
  const read = el("output", {});
  const slider = el("input", { type: "range", min: 0, max: x.length - 1, value: x.length - 1, "aria-label": `${title}: read at ${xTitle}` });
  const show = () => {
    const place = Number(slider.value);
    cursor.setAttribute("x1", atX(x[place])); cursor.setAttribute("x2", atX(x[place]));
    const told = series.map((each) => [each.y[place], `${labelOf(each.agent)} ${write(each.y[place])}`]).sort((a, b) => b[0] - a[0]);
    read.textContent = `${xTitle} ${tickText(x[place])}: ${told.map((each) => each[1]).join(" \u00b7 ")}`;
    slider.setAttribute("aria-valuetext", read.textContent);
  };
  slider.addEventListener("input", show);
  picture.addEventListener("pointermove", (event) => {
    const shape = picture.getBoundingClientRect(), at = ((event.clientX - shape.left) / shape.width) * width;
    let best = 0;
    x.forEach((value, place) => { if (Math.abs(atX(value) - at) < Math.abs(atX(x[best]) - at)) best = place; });
    slider.value = best; show();
  });
  show();
  return el("figure", {}, el("figcaption", {}, title), picture, legend(series.map((each) => each.agent)), slider, read,
    numbers(title, [{ title: xTitle, cell: (place) => tickText(x[place]) },
      ...series.map((each) => ({ title: labelOf(each.agent), cell: (place) => write(each.y[place]) + (each.low ? ` [${write(each.low[place])}, ${write(each.high[place])}]` : "") }))],
      x.map((_, place) => place)));
}

/* axes: [{title, of(entry) -> number, write, fewer?}]; each from the worst on the board (0.15 of the radius) to the best. */
function radar({ title, axes, entries, shown }) {
  const size = room(520), centre = size / 2, radius = centre - 92;
  const usable = axes.filter((axis) => entries.every((entry) => known(axis.of(entry))) && new Set(entries.map(axis.of)).size > 1);
  if (usable.length < 3) return el("p", { class: "note" }, "Too few measures in these rows for a profile.");
  const angle = (place) => (2 * Math.PI * place) / usable.length - Math.PI / 2;
  const at = (place, share) => [centre + radius * share * Math.cos(angle(place)), centre + radius * share * Math.sin(angle(place))];
  const share = (axis, entry) => {
    const all = entries.map(axis.of), low = Math.min(...all), high = Math.max(...all), part = (axis.of(entry) - low) / (high - low);
    return 0.15 + 0.85 * (axis.fewer ? 1 - part : part);
  };
  const ring = (level) => usable.map((_, place) => at(place, level).map((each) => each.toFixed(1)).join(",")).join(" ");
  const drawn = entries.filter((entry) => shown.includes(entry.agent));
  return el("figure", {}, el("figcaption", {}, title),
    sv("svg", { viewBox: `0 40 ${size} ${size - 80}`, role: "img", "aria-label": `${title}. The numbers are in the table below the picture.` },
      [0.15, 0.575, 1].map((level) => sv("polygon", { points: ring(level), style: "fill:none;stroke:var(--line)" })),
      usable.map((axis, place) => {
        const [x, y] = at(place, 1), [tx, ty] = at(place, 1.13);
        const anchor = Math.abs(tx - centre) < 20 ? "middle" : tx > centre ? "start" : "end";
        return [sv("line", { class: "axis", x1: centre, y1: centre, x2: x, y2: y }), sv("text", { x: tx, y: ty - 3, "text-anchor": anchor },
          axis.title.split(/ (?=\S+$)/).map((word, number) => sv("tspan", { x: tx, dy: number ? 14 : 0 }, word)))];
      }),
      drawn.map((entry) => sv("polygon", {
        points: usable.map((axis, place) => at(place, share(axis, entry)).map((each) => each.toFixed(1)).join(",")).join(" "),
        style: `fill:none;stroke:${colourOf(entry.agent)};stroke-width:2.2`, "stroke-dasharray": dashOf(entry.agent) }))),
    legend(drawn.map((entry) => entry.agent)),
    numbers(title, [{ title: "agent", cell: (entry) => entry.label }, ...usable.map((axis) => ({ title: axis.title, cell: (entry) => axis.write(axis.of(entry)) }))], drawn));
}

/* groups: [{title, dots: [{agent, triple}]}] */
function dots({ title, groups, xTitle, write }) {
  const line = 17, head = 26, width = room(640);
  const height = groups.reduce((sum, group) => sum + head + line * group.dots.length, 0) + 64;
  const all = groups.flatMap((group) => group.dots.flatMap((dot) => dot.triple));
  const { box, atX, parts } = frame(width, height, extent(all, true), [0, 1], xTitle, "", 24);
  const beside = (dot, middle) => {
    const right = atX(dot.triple[2]) + 7 < box.right - 7 * labelOf(dot.agent).length;
    return sv("text", { class: "soft", x: right ? atX(dot.triple[2]) + 7 : atX(dot.triple[1]) - 7, y: middle + 4, "text-anchor": right ? "start" : "end", style: "font-size:11px" }, labelOf(dot.agent));
  };
  let y = box.top;
  const rows = groups.map((group) => {
    y += head;
    const name = sv("text", { x: box.left, y: y - 6, style: "font-weight:600" }, group.title);
    return [name, group.dots.map((dot) => {
      y += line;
      const middle = y - line / 2, style = `stroke:${colourOf(dot.agent)};stroke-width:2.4`;
      return [sv("line", { x1: atX(dot.triple[1]), x2: atX(dot.triple[2]), y1: middle, y2: middle, style }),
        sv("circle", { cx: atX(dot.triple[0]), cy: middle, r: 4.5, style: `fill:${colourOf(dot.agent)}` },
          sv("title", {}, `${labelOf(dot.agent)}, ${group.title}: ${range(dot.triple, write)}`)),
        beside(dot, middle)];
    })];
  });
  return el("figure", {}, el("figcaption", {}, title),
    sv("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": `${title}. The numbers are in the table below the picture.` },
      parts.slice(1), sv("line", { class: "zero", x1: atX(0), x2: atX(0), y1: box.top, y2: box.bottom }), rows),
    numbers(title, [{ title: "agent", cell: (row) => labelOf(row[0].agent) }, ...groups.map((group, place) => ({ title: group.title, cell: (row) => range(row[place].triple, write) }))],
      groups.length ? groups[0].dots.map((_, place) => groups.map((group) => group.dots[place])) : []));
}

/* points: [{agent, x, y, low, high}]; the frontier is what no other point beats on both axes. */
function plane({ title, xTitle, yTitle, points, fewer, writeX, writeY }) {
  const width = room(640), height = 400;
  const { atX, atY, box, parts } = frame(width, height, extent(points.map((p) => p.x), true), extent(points.flatMap((p) => [p.low, p.high]), true), xTitle, yTitle);
  const better = (a, b) => (fewer ? a.x <= b.x : a.x >= b.x) && a.y >= b.y && (a.x !== b.x || a.y !== b.y);
  const frontier = points.filter((p) => !points.some((other) => better(other, p))).sort((a, b) => a.x - b.x);
  const taken = [];
  const label = (p) => {
    const right = atX(p.x) < box.right - 110;
    let y = atY(p.y) - 7;
    while (taken.some((each) => Math.abs(each[1] - y) < 13 && Math.abs(each[0] - atX(p.x)) < 110)) y += 13;
    taken.push([atX(p.x), y]);
    return sv("text", { x: atX(p.x) + (right ? 8 : -8), y, "text-anchor": right ? "start" : "end" }, labelOf(p.agent));
  };
  return el("figure", {}, el("figcaption", {}, title),
    sv("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": `${title}. On the frontier: ${frontier.map((p) => labelOf(p.agent)).join(", ")}.` },
      parts,
      sv("path", { d: frontier.map((p, place) => `${place ? "L" : "M"}${atX(p.x)} ${atY(p.y)}`).join(""), style: "fill:none;stroke:var(--soft);stroke-width:1.5", "stroke-dasharray": "5 4" }),
      points.map((p) => [
        sv("line", { x1: atX(p.x), x2: atX(p.x), y1: atY(p.low), y2: atY(p.high), style: `stroke:${colourOf(p.agent)};stroke-width:2` }),
        sv("circle", { cx: atX(p.x), cy: atY(p.y), r: frontier.includes(p) ? 6.5 : 4.5, style: `fill:${colourOf(p.agent)}` }, sv("title", {}, `${labelOf(p.agent)}: ${writeX(p.x)}, ${writeY(p.y)}`)),
        label(p)])),
    el("p", { class: "soft" }, `Nobody is better on both sides than: ${frontier.map((p) => labelOf(p.agent)).join(", ")}.`),
    numbers(title, [{ title: "agent", cell: (p) => labelOf(p.agent) }, { title: xTitle, cell: (p) => writeX(p.x) },
      { title: yTitle, cell: (p) => `${writeY(p.y)} [${writeY(p.low)}, ${writeY(p.high)}]` }, { title: "on the frontier", cell: (p) => (frontier.includes(p) ? "yes" : "no") }], points));
}

const METRICS = {
  "value over silence, money": ["value", true, (v) => plain(v, 1)],
  "reachable on some channel, mean over channels": ["reach", false, percent],
  "still customers": ["alive", false, percent],
  "blocks so far, a customer": ["blocks", false, (v) => plain(v, 3)],
  "messages so far, a customer": ["messages", false, (v) => plain(v, 1)],
};

/* A metric over time for some of the entries of a world. */
function courses(world, shown, metric) {
  const [key, difference, write] = METRICS[metric];
  const silence = world.entries.find((entry) => entry.agent === "silence");
  const entries = shown.filter((entry) => entry.courses && !(difference && entry === silence));
  if (!entries.length || (difference && !(silence && silence.courses))) return el("p", { class: "note" }, "These rows hold no courses over time for the agents chosen; silence is needed for value over silence.");
  const along = (entry) => {
    const found = entry.courses[key];
    if (key === "reach") { const channels = Object.values(found); return channels[0].map((_, place) => channels.reduce((sum, each) => sum + each[place], 0) / channels.length); }
    return difference ? found.map((value, place) => value - silence.courses.value[place]) : found;
  };
  return lines({ title: `${world.name}: ${metric}`, xTitle: "day", yTitle: "", x: entries[0].courses.day, series: entries.map((entry) => ({ agent: entry.agent, y: along(entry) })), write, zero: key !== "alive" });
}
