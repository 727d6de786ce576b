"""Artifacts of a flow run: tables, reports and progress that people see in Prefect."""

from uuid import UUID

from flows.engine.current import direct_run, run_logger
from flows.engine.record import Rows


async def leave_table(key: str, rows: Rows, description: str) -> None:
    """Leave a table. A flow does not fail because its result cannot be shown."""
    if (run := direct_run()) is not None:
        run.record.keep_table(key, rows, description)
        return
    import httpx
    from prefect.artifacts import acreate_table_artifact
    from prefect.exceptions import PrefectException

    try:
        await acreate_table_artifact([dict(row) for row in rows], key=key, description=description)
    except (PrefectException, httpx.HTTPError) as error:
        run_logger().warning("no result table: %s", error)


async def leave_report(key: str, text: str, description: str) -> None:
    """Leave a report in Markdown. A flow does not fail because it cannot be shown."""
    if (run := direct_run()) is not None:
        run.record.keep_report(key, text, description)
        return
    import httpx
    from prefect.artifacts import acreate_markdown_artifact
    from prefect.exceptions import PrefectException

    try:
        await acreate_markdown_artifact(text, key=key, description=description)
    except (PrefectException, httpx.HTTPError) as error:
        run_logger().warning("no report: %s", error)


class ShownProgress:
    """The artifact of a progress, which is made when it is first shown. A flow does not fail because it cannot be."""

    def __init__(self) -> None:
        self._artifact: UUID | None = None
        self._has_failed = False

    async def show(self, percent: float, description: str) -> None:
        """Show how far the flow is now."""
        if (run := direct_run()) is not None:
            run.record.show_progress(percent, description)
            return
        import httpx
        from prefect.artifacts import acreate_progress_artifact, aupdate_progress_artifact
        from prefect.exceptions import PrefectException

        try:
            if self._artifact is not None:
                await aupdate_progress_artifact(self._artifact, percent, description=description)
            elif not self._has_failed:
                self._artifact = await acreate_progress_artifact(percent, description=description)
        except (PrefectException, httpx.HTTPError) as error:
            if self._artifact is None:
                self._has_failed = True
                run_logger().warning("no progress artifact: %s", error)
