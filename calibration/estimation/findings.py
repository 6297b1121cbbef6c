"""All estimates of one log in their order: who is still there, kinds of customers, blocking, opening, buying, leaving.

This file must never print, write or read a file.
"""

from collections.abc import Callable
from dataclasses import dataclass

from blockenv.scenarios import Scenario
from calibration.estimation.alive import Alive, first_guess
from calibration.estimation.bond import class_course
from calibration.estimation.effects import Effect, population_effects
from calibration.estimation.fitting import JointFit, fit_joint
from calibration.estimation.losses import fit_losses
from calibration.estimation.orders import Money, Organic, fit_money, fit_organic
from calibration.estimation.panel import CANON, Floats, Panel
from calibration.estimation.prompted import Prompted, fit_prompted
from calibration.sources import Estimate

MOST_CLASSES = 6
Progress = Callable[[str], None]


@dataclass(frozen=True)
class Findings:
    """What a log says; `criteria` is BIC by number of classes, for those that were tried."""

    panel: Panel
    given: Scenario
    stops: bool  # the firm writes to nobody who has left
    alive: Alive
    joint: JointFit
    criteria: dict[int, float]
    effects: list[Effect]
    organic: Organic
    prompted: Prompted
    money: Money
    background: Estimate
    spill_over: Estimate
    courses: list[Floats]


def find(
    panel: Panel,
    *,
    classes: int | None = None,
    most_classes: int = MOST_CLASSES,
    given: Scenario = CANON,
    stops: bool = False,
    progress: Progress | None = None,
) -> Findings:
    """Estimate everything.

    Args:
        classes: of customers; the number with the least BIC among 1 to `most_classes` if not given.
        given: where what a log cannot tell is taken from: half-lives, increments of the bond, some slopes.
        stops: see `find_alive`.
        progress: called with what is begun.
    """
    say = progress or (lambda _: None)
    say("who is still there")
    alive = first_guess(panel, stops)
    weight = alive.of_messages(panel)
    say("blocking and opening, one kind of customer")
    single = fit_joint(panel, weight, 1, given)
    fits = {1: single}
    for number in (classes,) if classes else range(2, most_classes + 1):
        if number > 1:
            say(f"{number} kinds of customers")
            fits[number] = fit_joint(panel, weight, number, given, single)
            # Two in a row that are no better, and the search is over.
            best = min(fits, key=lambda each: fits[each].bic)
            if not classes and number - best >= 2:
                break
    joint = fits[classes] if classes else fits[min(fits, key=lambda each: fits[each].bic)]
    say("orders")
    courses = [class_course(panel, given, joint.layout, joint.theta, each) for each in range(joint.layout.classes)]
    organic = fit_organic(panel, joint, alive, courses, given)
    background, spill_over = fit_losses(panel, joint, alive)
    return Findings(
        panel=panel,
        given=given,
        stops=stops,
        alive=alive,
        joint=joint,
        criteria={number: fit.bic for number, fit in fits.items()},
        effects=population_effects(joint),
        organic=organic,
        prompted=fit_prompted(panel, joint, organic, courses, given),
        money=fit_money(panel),
        background=background,
        spill_over=spill_over,
        courses=courses,
    )
