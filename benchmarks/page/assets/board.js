/* What is chosen on the page, the leaderboard and the heat map. */
const ALL = "All scenarios";
const chosen = { scenario: data.overall.entries.length ? ALL : data.scenarios[0].name, agents: new Set(), words: "", kind: "", best: false, world: data.scenarios[0].name, sort: ["rank", 1] };
const scenarioNow = () => data.scenarios.find((each) => each.name === chosen.world);
const boardNow = () => data.scenarios.find((each) => each.name === chosen.scenario) || data.overall;
{
  const order = (data.overall.entries.length ? data.overall : data.scenarios[0]).entries.map((entry) => entry.agent);
  for (const agent of [...order.slice(0, 4), "cap", "silence"]) if (agents.includes(agent)) chosen.agents.add(agent);
}
const redrawAll = () => sections.forEach((redraw) => redraw());

function pick(label, options, value, change, id = "pick-" + label.replace(/\W+/g, "-").toLowerCase(), redraw = redrawAll) {
  return el("label", { for: id }, label, el("select", { id, onchange: (event) => { change(event.target.value); keep(id, redraw); } },
    options.map((each) => el("option", { value: each, selected: each === value }, each))));
}
/* Sections are drawn anew; the focus stays where the reader left it. */
function keep(id, act) {
  act();
  const again = document.getElementById(id);
  if (again && document.activeElement !== again) again.focus({ preventScroll: true });
}

function intervalPicture(triple, low, high) {
  const width = 144, at = (value) => 4 + ((value - low) / (high - low || 1)) * (width - 8);
  return sv("svg", { class: "interval", viewBox: `0 0 ${width} 16`, "aria-hidden": "true" },
    sv("line", { class: "axis", x1: at(0), x2: at(0), y1: 0, y2: 16 }),
    triple ? [sv("line", { x1: at(triple[1]), x2: at(triple[2]), y1: 8, y2: 8, style: "stroke:var(--accent);stroke-width:2.5" }),
      sv("circle", { cx: at(triple[0]), cy: 8, r: 4, style: "fill:var(--accent)" })] : null);
}
const COLUMNS = [
  { id: "rank", title: "rank", first: 1, of: (e) => (e.rank ? e.rank[0] + e.rank[1] / 1000 : 1e9), write: (e) => places(e.rank) },
  { id: "agent", title: "agent", first: 1, of: (e) => e.label || e.agent },
  { id: "score", title: "score", of: (e) => e.score && e.score[0], write: (e) => range(e.score, (v) => plain(v, 0)) },
  { id: "over_silence", title: "over silence, money", of: (e) => e.over_silence && e.over_silence[0], write: (e) => range(e.over_silence, signed) },
  { id: "picture", title: "95 % interval", of: (e) => ((e.over_silence || e.score || [])[0]) },
  { id: "value", title: "CLV, money", of: (e) => e.value && e.value[0], write: (e) => range(e.value, plain) },
  { id: "regret", title: "short of full information", of: (e) => e.regret && e.regret[0], write: (e) => range(e.regret, plain) },
  { id: "over_cap", title: "over tuned cap", of: (e) => e.over_cap && e.over_cap[0], write: (e) => range(e.over_cap, signed) },
  { id: "uplift", title: "uplift over silence", of: (e) => e.uplift && e.uplift[0], write: (e) => (e.uplift ? signed(100 * e.uplift[0]) + " %" : "") },
  ...[["messages_a_week", "messages a week", (v) => plain(v, 2)], ["blocks_per_1000_messages", "blocks per 1,000 messages", plain],
    ["reach", "reach after a year", percent], ["alive_at_end", "alive at the end", percent], ["overloaded_contacts", "over-contacts", plain],
    ["relevant_contacts", "relevant contacts", plain], ["blocks", "blocks a customer", (v) => plain(v, 2)], ["training_seconds", "training, seconds", plain]]
    .map(([id, title, write]) => ({ id, title, of: (e) => e.measures && e.measures[id], write: (e) => (e.measures && known(e.measures[id]) ? write(e.measures[id]) : "") })),
];

section("leaderboard", "Leaderboard",
  "Ranks are ranges where the Holm-corrected comparison of a pair cannot tell the two apart. A bar at the left marks everybody who is tied with the best. Score: 0 is silence, 100 what a sender would earn who knew each customer's traits and state, which no learner can reach. Brackets and bars are 95 % intervals over customers and training seeds.",
  () => {
    const board = boardNow(), entries = board.entries, failed = board.failed || [];
    const columns = COLUMNS.filter((column) => ["rank", "agent"].includes(column.id) || entries.some((entry) => known(column.of(entry))));
    const status = el("p", { class: "soft", role: "status" });
    const body = el("tbody", {});
    const intervals = entries.map((entry) => entry.over_silence || entry.score).filter(Boolean);
    const low = Math.min(0, ...intervals.map((each) => each[1])), high = Math.max(0, ...intervals.map((each) => each[2]));
    const { heads, order } = sorting(columns, chosen, () => rows());
    const name = (entry) => [entry.label || entry.agent, el("span", { class: "kind" }, entry.kind || "", entry.seeds > 1 ? `, ${entry.seeds} seeds` : "")];
    function rows() {
      const fits = (entry) => (entry.label || entry.agent).toLowerCase().includes(chosen.words.toLowerCase())
        && (!chosen.kind || (entry.kind || "submission") === chosen.kind) && (!chosen.best || (entry.rank && entry.rank[0] === 1));
      const { column, rows: found } = order(entries.filter(fits));
      const lost = failed.filter(fits);
      body.replaceChildren(
        ...found.map((entry) => el("tr", { class: entry.rank[0] === 1 ? "tied" : null, "data-agent": entry.agent }, columns.map((each) =>
          each.id === "agent" ? el("th", { scope: "row" }, name(entry))
            : el("td", {}, each.id === "picture" ? intervalPicture(entry.over_silence || entry.score, low, high) : each.write(entry))))),
        ...lost.map((each) => el("tr", { class: "failed", "data-agent": each.agent }, el("td", {}, "failed"), el("th", { scope: "row" }, each.agent),
          el("td", { colspan: columns.length - 2, class: "words reason" }, each.reason))));
      status.textContent = `${found.length + lost.length} of ${entries.length + failed.length} agents shown, sorted by ${column.title}`;
    }
    rows();
    const world = chosen.scenario === ALL
      ? `Mean score over ${data.overall.scenarios.join(", ")}; customers and seeds are averaged over scenarios before their spread is measured.`
      : `${board.isolates ? board.isolates[0].toUpperCase() + board.isolates.slice(1) + ". " : ""}${board.customers.toLocaleString("en")} held-out customers, ${board.days.toLocaleString("en")} days, digest ${board.digest}.${board.track === "online" ? " Online: everybody starts with nothing and learns on these customers; what was lost while learning counts." : ""}${board.remark ? " " + board.remark + "." : ""}`;
    return [
      el("div", { class: "controls" },
        pick("Scenario", [...(data.overall.entries.length ? [ALL] : []), ...data.scenarios.map((each) => each.name)], chosen.scenario, (value) => { chosen.scenario = value; if (value !== ALL) chosen.world = value; }),
        el("label", { for: "words" }, "Agent", el("input", { id: "words", type: "search", value: chosen.words, placeholder: "part of a name", oninput: (event) => { chosen.words = event.target.value; rows(); } })),
        el("label", { for: "kind" }, "Kind", el("select", { id: "kind", onchange: (event) => { chosen.kind = event.target.value; rows(); } },
          [["", "all"], ["rule", "rules"], ["learner", "learners"], ["submission", "submissions"], ["reference", "reference lines"]].map(([value, text]) => el("option", { value, selected: value === chosen.kind }, text)))),
        el("label", { for: "best" }, el("input", { id: "best", type: "checkbox", checked: chosen.best, onchange: (event) => { chosen.best = event.target.checked; rows(); } }), "tied with the best only")),
      el("p", {}, world), board.line ? el("p", {}, board.line) : null, status,
      el("div", { class: "wide", tabindex: "0", role: "region", "aria-label": "Leaderboard" }, el("table", { id: "board" },
        el("caption", {}, `${chosen.scenario}; the head of a column sorts by it`), el("thead", {}, el("tr", {}, heads)), body))];
  });

section("neighbours", "Who can be told apart",
  "Each agent beside the next one down, and beside the tuned frequency cap. Apart: the paired difference is significant after the correction for all pairs. The chance is that one training of the first ends above one training of the second.",
  () => {
    const board = boardNow(), letters = Object.fromEntries(board.entries.map((entry) => [entry.agent, entry.letters]));
    if (!board.neighbours.length) return el("p", { class: "note" }, "There is nobody to compare with.");
    const unit = chosen.scenario === ALL ? "score" : "money";
    const pairs = (caption, found) => table(caption, [
      { title: "better", cell: (pair) => labelOf(pair.better) }, { title: "than", words: true, cell: (pair) => labelOf(pair.than) },
      { title: `by, ${unit}`, cell: (pair) => range(pair.difference, signed) },
      { title: "apart", words: true, cell: (pair) => (apart(letters[pair.better], letters[pair.than]) ? "yes" : "no, a tie") },
      { title: "chance of being better", cell: (pair) => range(pair.chance, (v) => plain(100 * v, 0)) + " %" }], found);
    return [pairs(`${chosen.scenario}: each and the next one down`, board.neighbours.slice(0, board.entries.length - 1)),
      board.neighbours.length >= board.entries.length ? el("details", {}, el("summary", {}, "Each and the tuned cap"), pairs(`${chosen.scenario}: each and the tuned cap`, board.neighbours.slice(board.entries.length - 1))) : null];
  });

section("map", "Scenario by agent",
  "Blue is above silence, orange below; the number in the cell says how much, so the colour is only help.",
  () => {
    const scored = data.scenarios.some((each) => each.entries.some((entry) => entry.score));
    const of = (entry) => (scored ? entry.score && entry.score[0] : entry.uplift && 100 * entry.uplift[0]);
    const cells = data.scenarios.flatMap((each) => each.entries.map(of)).filter(known), most = Math.max(1, ...cells.map(Math.abs));
    const order = [...new Set([...data.overall.entries.map((entry) => entry.agent), ...agents])];
    const columns = data.scenarios.map((world) => ({ title: world.name, cell: (agent) => {
      const entry = world.entries.find((each) => each.agent === agent), value = entry && of(entry);
      if (!entry) return (world.failed || []).some((each) => each.agent === agent) ? "failed" : "";
      if (agent === "silence") return "0";
      return known(value) ? plain(value, 0) : "";
    } }));
    const node = table(scored ? "Scores" : "Uplift over silence, %", [{ title: "agent", cell: labelOf }, ...columns], order, { id: "heat" });
    node.querySelectorAll("tbody tr").forEach((row) => row.querySelectorAll("td").forEach((cell) => {
      if (cell.textContent && Number.isFinite(Number(cell.textContent))) cell.setAttribute("style", shade(Number(cell.textContent), most));
    }));
    return node;
  });
