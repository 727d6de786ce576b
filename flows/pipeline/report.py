"""The report of a pipeline, which Prefect's page shows."""

from catalog.settings import Settings
from flows.console.charts import chain, link, plain_cell, table
from flows.console.links import repository_page
from flows.pipeline.request import PipelineRequest, PipelineResult


def pipeline_report(settings: Settings, request: PipelineRequest, result: PipelineResult) -> str:
    """Return a chart of the steps, what each has done, and links to the repositories. Pure."""
    places = {"mirror": request.upstream.target, "curated": request.curated, "built": request.built}
    return "\n\n".join(
        [
            chain([(step.name, step.is_done) for step in result.steps]),
            table(("step", "result"), [(step.name, plain_cell(step.said)) for step in result.steps]),
            "Steps with a dashed border changed nothing.",
            table(
                ("repository", "page"),
                [(what, link(name, repository_page(settings, name))) for what, name in places.items()],
            ),
        ]
    )
