/* Further suites: what becomes of the ranks in other worlds, and who earns while still learning. */
const TAU = "Kendall\u2019s \u03c4 between the order of the agents in the first world and in each other one: 1 is the same order, 0 none in common, \u22121 the reverse. Customers and trainings are drawn anew for the intervals.";

/* How far each world keeps the order of the first; the pictures go from -1 to 1. */
const agreement = (caption, rows, special) => table(caption, [{ title: "world", cell: (row) => breakable(row.scenario) },
  { title: "\u03c4", cell: (row) => range(row.tau, (v) => plain(v, 2)) }, { title: "\u22121 to 1", cell: (row) => intervalPicture(row.tau, -1, 1) },
  { title: "agents", cell: (row) => String(row.agents) }, { title: "what is special", words: true, long: true, cell: (row) => special(row.scenario) }], rows);

/* A table that sorts by any column. Columns: {id, title, of(row), cell(row, column) -> td, first?}; one of them is the agent. */
function sortable(caption, columns, state, entries, name) {
  const body = el("tbody", {}), status = el("p", { class: "soft", "aria-live": "polite" });
  const { heads, order } = sorting(columns, state, () => fillIn());
  const fillIn = () => {
    const { column, rows } = order(entries);
    body.replaceChildren(...rows.map((row) => el("tr", { "data-agent": name(row) },
      columns.map((each) => (each.id === "agent" ? el("th", { scope: "row" }, breakable(labelOf(name(row)))) : each.cell(row))))));
    status.textContent = `sorted by ${column.title}`;
  };
  fillIn();
  return [el("div", { class: "wide", tabindex: "0", role: "region", "aria-label": caption }, el("table", {}, el("caption", {}, caption),
    el("thead", {}, el("tr", {}, heads)), body)), status];
}

/* Agents by worlds: value over silence, its interval and the range of ranks. */
function byWorld(suite, state) {
  const entryOf = (world, agent) => world.entries.find((entry) => entry.agent === agent);
  const lost = (world, agent) => world.failed.some((each) => each.agent === agent);
  const of = (world) => (agent) => { const entry = entryOf(world, agent); return entry && (agent === "silence" ? 0 : entry.over_silence && entry.over_silence[0]); };
  const names = [...new Set(suite.worlds.flatMap((world) => [...world.entries, ...world.failed].map((entry) => entry.agent)))];
  const most = Math.max(1, ...suite.worlds.flatMap((world) => names.map(of(world))).filter(known).map(Math.abs));
  return sortable(`${suite.title}: value over silence, money a customer; the head of a column sorts by it`, [{ id: "agent", title: "agent", first: 1, of: labelOf },
    ...suite.worlds.map((world) => ({ id: world.name, title: world.name, of: of(world), cell: (agent) => {
      const entry = entryOf(world, agent), value = of(world)(agent);
      if (!entry) return el("td", {}, lost(world, agent) ? "failed" : "");
      return el("td", { style: shade(value, most) }, agent === "silence" ? "0" : range(entry.over_silence, signed), el("span", { class: "place" }, ` rank ${places(entry.rank)}`));
    } }))], state, names, (agent) => agent);
}

/* What learning while serving costs in one world. */
const LEARNING = ["rank", "agent", "over_silence", "picture", "regret", "messages_a_week", "blocks_per_1000_messages"];
function learning(suite, state, id, redraw) {
  const world = suite.worlds.find((each) => each.name === state.world), all = world.entries.map((entry) => entry.agent);
  const intervals = world.entries.map((entry) => entry.over_silence).filter(Boolean);
  const low = Math.min(0, ...intervals.map((each) => each[1])), high = Math.max(0, ...intervals.map((each) => each[2]));
  const columns = LEARNING.map((name) => COLUMNS.find((column) => column.id === name));
  columns.splice(5, 0, { id: "caused", title: "blocks caused, a customer", of: (e) => e.measures.caused, write: (e) => plain(e.measures.caused, 3) });
  const cell = (column) => (entry) => el("td", {}, column.id === "picture" ? intervalPicture(entry.over_silence, low, high) : column.write(entry));
  const metrics = Object.keys(METRICS).filter((name) => world.entries.some((entry) => entry.courses && entry.courses[METRICS[name][0]]));
  return [el("h4", {}, "What learning costs, and how it goes on"),
    el("div", { class: "controls" }, pick("World", suite.worlds.map((each) => each.name), state.world, (value) => { state.world = value; }, `${id}-world`, redraw)),
    el("p", { class: "soft" }, "Short of full information: the money a customer that a sender would earn beyond this one who knew each customer\u2019s traits and state, on the customers of the exact values. Blocks caused: blocks beyond those that come to pass under silence."),
    sortable(`${world.name}: learning while serving`, columns.map((column) => ({ ...column, cell: cell(column) })), state.table, world.entries, (entry) => entry.agent),
    metrics.length ? [el("fieldset", {}, el("legend", {}, "Agents in the picture"), boxes(`${id}-agent`, all, state.agents, redraw)),
      el("div", { class: "controls" }, pick("Curve", metrics, state.metric, (value) => { state.metric = value; }, `${id}-curve`, redraw)),
      courses(world, world.entries.filter((entry) => state.agents.has(entry.agent)), state.metric)] : null];
}

function others() {
  const states = data.beside.map((suite, place) => ({ open: place === 0, sort: [suite.worlds[0].name, -1], table: { sort: ["rank", 1] }, world: suite.worlds[0].name,
    metric: Object.keys(METRICS)[0], agents: new Set(suite.worlds.flatMap((world) => world.entries.map((entry) => entry.agent))) }));
  const redraw = section("beside", "Other tests of the same agents", "Each opens and closes by itself. Ranks, intervals and colours are as above; in the sentences, what is largest is the largest of many, hence likely to be overstated.", () => data.beside.map((suite, place) => {
    const state = states[place], first = suite.worlds[0], seeds = Math.max(1, ...suite.worlds.flatMap((world) => world.entries.map((entry) => entry.seeds)));
    const isWhat = (name) => (suite.worlds.find((world) => world.name === name) || {}).special || "";
    return el("details", { class: "suite", open: state.open, ontoggle: (event) => { state.open = event.target.open; } },
      el("summary", {}, el("h3", {}, suite.title)),
      el("p", {}, `${suite.asks} ${first.customers.toLocaleString("en")} held-out customers, ${first.days.toLocaleString("en")} days, ${seeds} training ${seeds === 1 ? "seed" : "seeds"}.`),
      el("ul", {}, suite.says.map((words) => el("li", {}, words))),
      byWorld(suite, state),
      suite.stability.length ? [el("h4", {}, "Is the order the same"), el("p", { class: "soft" }, TAU), agreement(`${suite.title}: order of the agents in ${suite.stability[0].base} and elsewhere`, suite.stability, isWhat)]
        : table(`${suite.title}: the worlds`, [{ title: "world", cell: (world) => world.name }, { title: "what is special", words: true, cell: (world) => world.special }], suite.worlds),
      suite.online ? learning(suite, state, `beside-${place}`, () => redraw()) : null);
  }));
}
