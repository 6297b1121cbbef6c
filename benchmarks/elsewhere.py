"""What further suites say of the same agents, in sentences and as what a page shows: other worlds, learning while serving.

Everything is read from findings; nothing is reckoned anew from customers' values, played or learned here.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.laws import LAWS
from benchmarks.leaderboard import BASELINE

Findings = Mapping[str, Any]
World = Mapping[str, Any]  # one of the scenarios of findings
Entry = Mapping[str, Any]

COURSES = ("day", "value", "messages", "blocks")  # over time, kept where agents learn while they serve
MEASURES = ("messages_a_week", "blocks_per_1000_messages", "blocks")
_MOST_PLACES = 4  # changes of place that are told


def compact(findings: Findings, place: str) -> dict[str, Any]:
    """What a page shows of a further suite: no customers' segments, no rows, courses of the online track only.

    Args:
        findings: of `benchmarks.findings`.
        place: the folder of results, as it is named in commands.
    """
    online = is_online(findings)
    return {
        "title": findings["title"],
        "asks": asks(findings),
        "says": sentences(findings),
        "place": place,
        "online": online,
        "worlds": [_world(world, online) for world in findings["scenarios"]],
        "stability": [] if online else findings.get("stability", []),
    }


def is_online(findings: Findings) -> bool:
    """Whether agents learn on the customers they serve."""
    return any(world.get("track") == "online" for world in findings["scenarios"])


def asks(findings: Findings) -> str:
    """What the suite asks, in a sentence; empty for findings that do not tell where agents learned."""
    first, *others = findings["scenarios"]
    if is_online(findings):
        return (
            "Everybody starts with nothing and learns on the customers it serves; what is lost while learning counts."
        )
    homes = {world.get("trained_on", "untold") for world in others}
    if not others or "untold" in homes:
        return ""
    if homes == {first["name"]}:
        return f"All learn on {first['name']} and play, unchanged, in worlds they have not met."
    return "All learn anew in each world." if homes == {None} else ""


def size_of(findings: Findings) -> str:
    """Customers, days and training seeds in words."""
    first = findings["scenarios"][0]
    seeds = max((entry["seeds"] for world in findings["scenarios"] for entry in world["entries"]), default=1)
    return (
        f"{first['customers']:,} held-out customers, {first['days']:,} days, "
        f"{seeds} training {'seed' if seeds == 1 else 'seeds'}"
    )


def special(world: World) -> str:
    """What sets the world apart: the law behind the plus of its name, or what its scenario isolates."""
    law = world["name"].partition("+")[2]
    return LAWS[law].says if law in LAWS else str(world["isolates"])


def sentences(findings: Findings) -> list[str]:
    """What is most worth knowing, found by comparing numbers; none where there is nothing to compare."""
    said = (losers, earners, nearest, most_blocks) if is_online(findings) else (agreement, lead, moves, places)
    return [words for words in (each(findings) for each in said) if words]


def agreement(findings: Findings) -> str:
    """From where to where Kendall's tau goes over the worlds."""
    found = sorted(findings.get("stability", []), key=lambda each: each["tau"][0])
    if not found:
        return ""

    def one(each: Mapping[str, Any]) -> str:
        mean, low, high = each["tau"]
        return f"{mean:z.2f} [{low:z.2f}, {high:z.2f}] in {each['scenario']}"

    span = one(found[0]) if len(found) == 1 else f"{one(found[0])} to {one(found[-1])}"
    return f"Kendall's τ to the order in {found[0]['base']} is {span}."


def lead(findings: Findings) -> str:
    """Whether the agent that earns most in the first world does so elsewhere, and where others are surely better."""
    first, *others = (world for world in findings["scenarios"] if world["entries"])
    if not others:
        return ""
    best = first["entries"][0]["agent"]
    leaders = {world["name"]: world["entries"][0]["agent"] for world in others}
    lost = ", ".join(f"{leader} in {name}" for name, leader in leaders.items() if leader != best)
    kept = sum(leader == best for leader in leaders.values())
    share = "all" if kept == len(others) else f"{kept} of the"
    elsewhere = "in the other world" if len(others) == 1 else f"in {share} {len(others)} other worlds"
    words = f"{best} earns most in {first['name']} and {elsewhere if kept else 'in none of the others'}"
    behind = [
        f"{world['name']} (rank {_places(entry['rank'])})"
        for world in others
        for entry in world["entries"]
        if entry["agent"] == best and entry["rank"][0] > 1
    ]
    sure = f"It is surely behind somebody in {', '.join(behind)}." if behind else "It is nowhere surely behind."
    return f"{words}{f' (elsewhere {lost})' if lost else ''}. {sure}"


def moves(findings: Findings) -> str:
    """Which agent falls most against the first world, and which rises most, of those whose intervals exclude zero."""
    first, *others = findings["scenarios"]
    found = [
        (entry["change"][0], world, entry) for world in others for entry in world["entries"] if entry.get("change")
    ]
    if not found:
        return ""
    here = {entry["agent"]: entry for entry in first["entries"]}

    def one(what: str, world: World, entry: Entry) -> str:
        before, after = here[entry["agent"]]["over_silence"][0], entry["over_silence"][0]
        mean, low, high = entry["change"]
        return (
            f"{what} of value over silence: {entry['agent']} in {world['name']}, "
            f"from {before:+z.1f} to {after:+z.1f}, by {mean:+z.1f} [{low:+z.1f}, {high:+z.1f}]."
        )

    falls = [each for each in found if each[2]["change"][2] < 0]
    rises = [each for each in found if each[2]["change"][1] > 0]
    fall, rise = (key(each, default=None, key=lambda each: each[0]) for key, each in ((min, falls), (max, rises)))
    words = [one("Largest fall", *fall[1:]) if fall else "Nobody surely falls."]
    return " ".join([*words, *([one("Largest rise", *rise[1:])] if rise else [])])


def places(findings: Findings) -> str:
    """Whose range of ranks in another world does not overlap that of the first world; largest moves first."""
    first, *others = findings["scenarios"]
    here = {entry["agent"]: entry["rank"] for entry in first["entries"]}
    found = []
    for world in others:
        for entry in world["entries"]:
            before, after = here.get(entry["agent"]), entry["rank"]
            gap = 0 if before is None else max(after[0] - before[1], before[0] - after[1])
            if before is not None and gap > 0:
                words = f"{entry['agent']} in {world['name']} from {_places(before)} to {_places(after)}"
                found.append((gap, words))
    if not found:
        return "No place changes beyond ties." if others else ""
    found.sort(key=lambda each: -each[0])
    more = len(found) - _MOST_PLACES
    told = "; ".join(words for _, words in found[:_MOST_PLACES])
    return f"Places that change beyond ties: {told}{f'; and {more} more' if more > 0 else ''}."


def losers(findings: Findings) -> str:
    """Who is below silence in which share of the worlds, with the whole interval."""
    found = _counted(findings, lambda entry: bool(entry["over_silence"][2] < 0))
    return f"Surely lose money while learning: {found}." if found else "Nobody surely loses money."


def earners(findings: Findings) -> str:
    """Who is above silence in which share of the worlds, with the whole interval."""
    found = _counted(findings, lambda entry: bool(entry["over_silence"][1] > 0))
    return f"Surely earn more than silence: {found}." if found else "Nobody surely beats silence."


def nearest(findings: Findings) -> str:
    """By world, who is least short of full information."""
    found = []
    for world in findings["scenarios"]:
        known = [entry for entry in world["entries"] if entry.get("regret")]
        if known:
            best = min(known, key=lambda entry: entry["regret"][0])
            mean, low, high = best["regret"]
            found.append(f"{best['agent']} in {world['name']} by {mean:z.1f} [{low:z.1f}, {high:z.1f}]")
    return f"Least short of full information, money a customer: {'; '.join(found)}." if found else ""


def most_blocks(findings: Findings) -> str:
    """By whom most blocks are caused, a customer, beyond those that come to pass under silence."""
    found = [
        (caused, entry["agent"], world["name"])
        for world in findings["scenarios"]
        for entry in world["entries"]
        if (caused := caused_blocks(world, entry)) is not None
    ]
    if not found:
        return ""
    caused, agent, world = max(found)
    return f"Most blocks caused: {agent} in {world}, {caused:.2f} a customer."


def caused_blocks(world: World, entry: Entry) -> float | None:
    """Blocks a customer beyond those under silence; None where either is not known."""
    silence = next((each for each in world["entries"] if each["agent"] == BASELINE), None)
    own, still = (None if each is None else each["measures"].get("blocks") for each in (entry, silence))
    return None if own is None or still is None else float(own - still)


def _world(world: World, online: bool) -> dict[str, Any]:
    entries = []
    for entry in world["entries"]:
        kept = {name: entry[name] for name in ("agent", "label", "kind", "seeds", "rank", "over_silence")}
        if online:
            measures = {name: _short(entry["measures"].get(name)) for name in MEASURES}
            measures["caused"] = _short(caused_blocks(world, entry))
            courses = entry.get("courses")
            kept |= {"regret": entry.get("regret"), "measures": measures}
            kept["courses"] = {name: [_short(each) for each in courses[name]] for name in COURSES} if courses else None
        entries.append(kept)
    names = ("name", "customers", "days", "digest")
    return {name: world[name] for name in names} | {
        "special": special(world),
        "failed": world["failed"],
        "entries": entries,
    }


def _counted(findings: Findings, fits: Any) -> str:
    """Agents with the number of worlds where their entry fits, most worlds first."""
    worlds = findings["scenarios"]
    count: dict[str, int] = {}
    for world in worlds:
        for entry in world["entries"]:
            if entry["over_silence"] and fits(entry):
                count[entry["agent"]] = count.get(entry["agent"], 0) + 1
    ordered = sorted(count, key=lambda agent: -count[agent])
    return ", ".join(f"{agent} in {count[agent]} of {len(worlds)} worlds" for agent in ordered)


def _short(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.4g}")


def _places(rank: Sequence[int]) -> str:
    return f"{rank[0]}" if rank[0] == rank[1] else f"{rank[0]}-{rank[1]}"
