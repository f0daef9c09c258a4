"""A grid as a person starts it in a real browser: typed, trained, compared, and asked for returns."""

import pytest
from browsing import at_rest, drawn, fill_number, finish, visit
from playwright.sync_api import expect

from seqrl.config import BehaviourSpec, DatasetJob, DatasetSpec
from seqrl.store import Store

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser")]
PLAYED = (BehaviourSpec(tier="poor", share=1.0, policy="heuristic", epsilon=0.6),)
SMALL = "custom.dt.layers=1&custom.dt.embedding_dim=16&custom.steps=60&custom.validate_every=20&custom.log_every=20"


def test_a_grid_is_started_watched_and_asked_for_returns(page, server):
    store = Store(server[1])
    finish(store, DatasetJob(spec=DatasetSpec(name="for-grids", episodes=40, behaviours=PLAYED)))
    varied = "vary=context+length&vary=learning+rate&values.model.context_length=2,4"
    visit(page, server, f"train?dataset=for-grids&model=DT&preset=Custom&{SMALL}&{varied}")
    field = page.get_by_label("Values of learning rate", exact=True)
    field.fill("1e-3, 3e-4")
    field.press("Enter")
    fill_number(page, "Seeds", 2)
    page.get_by_text("4 combinations × 2 seeds = 8 runs").wait_for()
    page.get_by_role("button", name="Train 8 runs").click()
    page.get_by_role("link", name="Watch them learn").click()
    page.wait_for_url("**grid=dt-for-grids-grid-1**")
    page.get_by_text("8 runs, all done.").wait_for()
    assert {row.state for row in store.grid_runs("dt-for-grids-grid-1")} == {"succeeded"}
    drawn(page, "Best validation loss of the grid")
    drawn(page, "Combinations of the grid")
    expect(page.get_by_text("The lowest validation loss is")).to_be_visible()
    page.reload()
    drawn(page, "Best validation loss of the grid")
    at_rest(page)
    page.get_by_role("link", name="Ask all of them for returns").click()
    page.get_by_role("heading", name="RTG sweep").wait_for()
    expect(page.get_by_text("× 8 runs", exact=False)).to_be_visible()
