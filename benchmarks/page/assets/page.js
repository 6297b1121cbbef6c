/* The comparison of agents, and everything that stands for itself. */
{
  const root = document.documentElement;
  root.dataset.theme = window.matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
  document.getElementById("theme").addEventListener("click", () => { root.dataset.theme = root.dataset.theme === "dark" ? "light" : "dark"; });
  const first = data.scenarios[0], seeds = Math.max(...data.scenarios.flatMap((world) => world.entries.map((entry) => entry.seeds)), 1);
  document.getElementById("lead").textContent = `Discounted customer lifetime value of ${agents.length} senders in ${data.scenarios.length} ${data.scenarios.length === 1 ? "world" : "worlds"} where customers can block: the mean over ${first.customers.toLocaleString("en")} held-out customers of \u03a3 \u03b3\u1d57 \u00b7 margin over ${first.days.toLocaleString("en")} days, in money. Learners were trained with ${seeds} ${seeds === 1 ? "seed" : "seeds"}. All meet the same customers with the same luck, so differences are paired.`;
}

const SIDES = {
  "over-contacts a customer": ["overloaded_contacts", true],
  "blocks a customer": ["blocks", true],
  "relevant contacts a customer": ["relevant_contacts", false],
};
const chosenMetric = { name: Object.keys(METRICS)[0], side: Object.keys(SIDES)[0] };
const shownIn = (world) => world.entries.filter((entry) => chosen.agents.has(entry.agent));

section("compare", "Compare agents", "Choose the world and whom to see in the pictures of this and the next three sections.", () => {
  const world = scenarioNow();
  const worst = (entry) => { const found = entry.segments.map((each) => each.over_silence && each.over_silence[0]); return found.length && found.every(known) ? Math.min(...found) : entry.over_silence ? null : 0; };
  const axes = [
    { title: "value", of: (e) => e.value[0], write: (v) => plain(v, 1) },
    { title: "worst segment", of: worst, write: signed },
    { title: "reach after a year", of: (e) => e.measures.reach, write: percent },
    { title: "alive at the end", of: (e) => e.measures.alive_at_end, write: percent },
    { title: "relevant contacts", of: (e) => e.measures.relevant_contacts, write: plain },
    { title: "few over-contacts", of: (e) => e.measures.overloaded_contacts, write: plain, fewer: true },
    { title: "few blocks", of: (e) => e.measures.blocks, write: (v) => plain(v, 2), fewer: true },
    { title: "low cost", of: (e) => e.measures.cost, write: (v) => plain(v, 2), fewer: true },
  ];
  const courses = shownIn(world).some((entry) => entry.courses);
  return [
    el("div", { class: "controls" }, pick("World", data.scenarios.map((each) => each.name), world.name, (value) => { chosen.world = value; })),
    el("fieldset", {}, el("legend", {}, "Agents"), boxes("agent", agents, chosen.agents, redrawAll)),
    el("div", { class: "grid" },
      radar({ title: `${world.name}: what each is good at, from the worst on the board to the best`, axes, entries: world.entries, shown: [...chosen.agents] }),
      el("div", {}, courses ? el("div", { class: "controls" }, pick("Curve", Object.keys(METRICS), chosenMetric.name, (value) => { chosenMetric.name = value; })) : null, over(world)))];
});

function over(world) { return courses(world, shownIn(world), chosenMetric.name); }

section("segments", "Who gains and who loses", "Value over silence in each segment of customers, paired, with 95 % intervals. What pleases one segment can drive away another; the mean hides it.", () => {
  const world = scenarioNow(), entries = shownIn(world).filter((entry) => entry.over_silence);
  const names = entries.length ? entries[0].segments.filter((each) => each.over_silence).map((each) => each.name) : [];
  if (!names.length) return el("p", { class: "note" }, "Segments are known for the scenarios of the canon only, and for agents beside silence.");
  const found = (entry, name) => entry.segments.find((each) => each.name === name);
  return [el("p", {}, world.name), dots({ title: `${world.name}: value over silence by segment, money a customer`, xTitle: "money a customer over silence", write: signed,
    groups: names.map((name) => ({ title: `${name.replaceAll("_", " ")} (${found(entries[0], name).customers.toLocaleString("en")} customers)`, dots: entries.map((entry) => ({ agent: entry.agent, triple: found(entry, name).over_silence })) })) })];
});

section("pareto", "The firm's side and the customer's side", "What the firm earns over silence against what its customers go through. The dashed line joins those whom nobody beats on both sides.", () => {
  const world = scenarioNow(), [key, fewer] = SIDES[chosenMetric.side];
  const points = world.entries.filter((entry) => known(entry.measures[key])).map((entry) => {
    const triple = entry.over_silence || [0, 0, 0];
    return { agent: entry.agent, x: entry.measures[key], y: triple[0], low: triple[1], high: triple[2] };
  });
  return [el("div", { class: "controls" }, pick("Customer's side", Object.keys(SIDES), chosenMetric.side, (value) => { chosenMetric.side = value; })),
    points.length > 1 ? plane({ title: `${world.name}: money over silence against ${chosenMetric.side}`, xTitle: `${chosenMetric.side}${fewer ? " (fewer is better)" : " (more is better)"}`, yTitle: "money over silence", points, fewer, writeX: (v) => plain(v, 2), writeY: signed })
      : el("p", { class: "note" }, "These rows do not hold this measure.")];
});

section("profile", "How often a score is reached", "Share of trainings, over all scenarios, that end at a score of at least so much. The shade is how far the luck of training moves the line.", () => {
  const entries = data.overall.entries.filter((entry) => chosen.agents.has(entry.agent) && entry.agent !== "silence");
  if (!entries.length) return el("p", { class: "note" }, "No scores: they need silence and reference values.");
  return [lines({ title: "performance profile", xTitle: "score", yTitle: "share of trainings", x: data.overall.thresholds, write: percent,
    series: entries.map((entry) => ({ agent: entry.agent, y: entry.profile.map((each) => each[0]), low: entry.profile.map((each) => each[1]), high: entry.profile.map((each) => each[2]) })) })];
});

if (data.stability.length) section("stability", "Is the order the same elsewhere", TAU, () =>
  agreement(`Order of the agents in ${data.stability[0].base} and elsewhere`, data.stability, (name) => (data.scenarios.find((each) => each.name === name) || {}).isolates || ""));

if (data.beside.length) others();

if (data.pictures.length) section("policies", "When to send", "Over how tired and how attached a customer is: what is best, and what a policy does.", () =>
  data.pictures.map((each) => el("figure", {}, el("div", { class: "wide", tabindex: "0", role: "region", "aria-label": "Policy map" }, el("img", { src: each.source, alt: each.text })), el("figcaption", {}, each.text))));

if (data.cards.length) section("cards", "Calibration", "Simulated rates under plain timetables beside published figures, each with a pass band; the interval of the simulated one is at 95 %.", () => [
  table("Calibration cards", [{ title: "scenario", cell: (card) => card.scenario },
    ...["pass", "fail", "no data"].map((verdict) => ({ title: verdict, cell: (card) => String(card.rows.filter((row) => row.verdict === verdict).length) })),
    { title: "customers", cell: (card) => card.customers.toLocaleString("en") }, { title: "digest", cell: (card) => card.digest }], data.cards),
  data.cards.map((card) => el("details", {}, el("summary", {}, `${card.scenario}: every row`), table(card.scenario, [
    { title: "what", cell: (row) => row.name }, { title: "simulated", cell: (row) => brief(row.simulated, row.simulated_low, row.simulated_high) },
    { title: "published", cell: (row) => brief(row.published, row.low, row.high) }, { title: "unit", words: true, cell: (row) => row.unit },
    { title: "verdict", words: true, cell: (row) => el("span", { class: row.verdict === "fail" ? "verdict-fail" : null }, row.verdict) },
    { title: "source", words: true, cell: (row) => `${row.label}: ${row.source}` }], card.rows)))]);
function brief(value, low, high) {
  const write = (each) => (known(each) ? String(Number(each.toPrecision(3))) : "");
  return write(value) + (known(low) || known(high) ? ` [${write(low)}, ${write(high)}]` : "");
}

if (data.checks) section("checks", "Are the intervals honest", data.checks.words, () => el("details", {}, el("summary", {}, "All cases"),
  table("Simulated tables whose truth is known", [{ title: "case", cell: (row) => row.name }, { title: "what", words: true, cell: (row) => row.what },
    { title: "measured", cell: (row) => plain(100 * row.share, 1) + " %" }, { title: "should be", words: true, cell: (row) => row.expected }, { title: "tables", cell: (row) => row.repeats.toLocaleString("en") }], data.checks.rows)));

section("reproduce", "Get every number again", null, () => [
  el("p", {}, "The whole table, the page, and single rows. A row that comes out the same is told so; one that differs is told with what has changed since (versions, code)."),
  el("pre", { tabindex: "0" }, el("code", {}, data.commands.join("\n"))),
  el("p", { class: "soft" }, "Columns of the leaderboard: CLV is the mean of the customers' values; over silence and over the cap are paired differences; score is 100 \u00d7 (value \u2212 silence) / (full information \u2212 silence), the denominator reckoned exactly by python -m scripts.references; reach is the share of opted-in channels open and alive after 364 days; over-contacts are messages beyond the ideal load; relevant contacts are opened messages of relevance above a half."),
  data.scenarios.map((world) => el("details", {}, el("summary", {}, `${world.name}: rows, seeds and code`), table(world.name, [
    { title: "agent", cell: (row) => labelOf(row.agent) }, { title: "seed", cell: (row) => String(row.seed) }, { title: "CLV", cell: (row) => plain(row.value, 4) },
    { title: "row", words: true, cell: (row) => el("code", {}, row.key) }, { title: "code", words: true, cell: (row) => el("code", {}, row.code) },
    { title: "again by", words: true, cell: (row) => el("code", {}, `python -m scripts.verify ${data.place} --cell "${world.name}/${row.agent}/${row.seed}"`) }],
  world.entries.flatMap((entry) => entry.rows.map((row) => ({ ...row, agent: entry.agent }))))))]);

let widthBefore = document.documentElement.clientWidth;
window.addEventListener("resize", () => {
  const width = document.documentElement.clientWidth;
  if (Math.abs(width - widthBefore) > 40) { widthBefore = width; redrawAll(); }
});
