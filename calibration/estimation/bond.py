"""Goodwill that nobody records, as far as the log implies it: the expected course given opens, orders and overload.

Takes the increments and half-life of the bond as given, as no log can tell them. This file must never draw luck.
"""

import numpy as np

from blockenv.scenarios import Scenario
from calibration.estimation.panel import Floats, Panel
from calibration.estimation.parameters import Layout


def resting_bond(given: Scenario) -> float:
    """The mean of the given segments: no log tells it."""
    weights = [each.weight for each in given.segments]
    return float(np.average([each.resting_bond for each in given.segments], weights=weights))


def class_course(panel: Panel, given: Scenario, layout: Layout, theta: Floats, each: int) -> Floats:
    """(N, D) the bond on each morning had every customer the relevance and ideal load of a class."""
    relevance = np.clip(0.5 + layout.of_class(theta, "relevance", each), 0.0, 1.0)
    ideal = float(np.exp(layout.of_class(theta, "log_ideal_load", each)[0]))
    return bond_course(panel, given, relevance, ideal, resting_bond(given))


def bond_course(panel: Panel, given: Scenario, relevance: Floats, ideal_load: float, resting: float) -> Floats:
    """(N, D) the bond on each morning had the customer this relevance (P,), ideal load and resting bond.

    `blockenv.dynamics.bond_after` with what was seen: opens, orders and blocks as they fell, loads as summed up.
    """
    bond, customer, day = given.bond, panel.customer, panel.day
    built = bond.relevant_open * panel.opened * (relevance[panel.product] - bond.neutral_relevance)
    built = built - bond.overload * np.maximum(panel.load_after - ideal_load, 0.0)
    change = panel.by_day(customer, day, built)
    ordered = panel.by_day(panel.order_customer, panel.order_day) > 0
    blocked = panel.by_day(panel.block_customer, panel.block_day) > 0
    change += bond.order * ordered - bond.block * blocked
    decay = 0.5 ** (1.0 / bond.half_life)
    course = np.empty_like(change)
    today = np.full(panel.size, bond.start)
    for number in range(panel.days):
        course[:, number] = today
        today = np.clip(decay * today + (1.0 - decay) * resting + change[:, number], 0.0, 1.0)
    return course


def loads_by_day(panel: Panel, given: Scenario, loads: Floats) -> Floats:
    """(N, D) the load on each morning, before the day's messages; `loads` (C,) of a message."""
    today = panel.by_day(panel.customer, panel.day, loads[panel.channel])
    decay = 0.5 ** (1.0 / given.fatigue.half_life)
    course = np.zeros_like(today)
    for number in range(1, panel.days):
        course[:, number] = decay * (course[:, number - 1] + today[:, number - 1])
    return course
