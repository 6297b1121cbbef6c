"""What worlds there are and what each isolates: `python -m scripts.scenarios`, or with a name for all its numbers."""

from pathlib import Path
from typing import Annotated

import typer

from scripts.cli import command, console, say

app = typer.Typer(add_completion=False, rich_markup_mode="markdown")


@app.command()
@command
def scenarios(
    name: Annotated[str | None, typer.Argument(help="A scenario, to see every number of it.")] = None,
    save: Annotated[Path | None, typer.Option(help="Write the scenario as YAML, to start your own from.")] = None,
) -> None:
    """List the canon; or show, or save, one scenario."""
    from rich.syntax import Syntax
    from rich.table import Table

    from blockenv import SCENARIOS, ScenarioError
    from blockenv.scenarios import get
    from blockenv.scenarios import save as write
    from blockenv.scenarios.yaml_text import yaml_text

    if save is not None:
        if name is None:
            raise ScenarioError("--save: name the scenario to save")
        write(get(name), save)
        say(f"{name} written to {save}; play it by gym.make('blockenv/Custom-v0', scenario='{save}')")
        return
    if name is not None:
        text = yaml_text(get(name).model_dump(mode="json"))
        console.print(Syntax(text, "yaml", background_color="default"))
        return
    table = Table(title="scenarios")
    for title in ("id", "isolates", "channels", "actions", "segments", "hints", "win-back", "digest"):
        table.add_column(title, justify="right" if title == "actions" else "left")
    for scenario in SCENARIOS.values():
        win_back = max(channel.win_back_rate for channel in scenario.channels)
        table.add_row(
            f"blockenv/{scenario.name}",
            scenario.isolates,
            ", ".join(channel.name for channel in scenario.channels),
            str(scenario.actions),
            ", ".join(segment.name for segment in scenario.segments),
            f"noise {scenario.hint_noise:g}",
            f"{100 * win_back:g} % a day" if win_back else "never",
            scenario.digest,
        )
    console.print(table)


if __name__ == "__main__":
    app()
