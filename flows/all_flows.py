"""Every flow that a command runs, with its form; a command that needs neither imports neither.

A type checker follows each from the form to the result: there is no name of a module in a string.
"""

from typing import TYPE_CHECKING

from flows.runs.lazy_flow import LazyFlow, always

if TYPE_CHECKING:
    from flows.bundles.requests import ExportRequest, ExportResult, ImportRequest, ImportResult
    from flows.curate.request import CurateRequest
    from flows.curate.restore_request import RestoreRequest
    from flows.engine.flows import FormFlow
    from flows.image_build.request import BuildRequest
    from flows.migrate.folder_request import FolderMigrationRequest
    from flows.migrate.registry_request import HarborMigrationRequest, PulpMigrationRequest, QuayMigrationRequest
    from flows.migrate.report import MigrationResult
    from flows.promote.request import PromoteRequest
    from flows.push.report import PushResult
    from flows.push.request import PushRequest
    from flows.replicate.request import ReplicateRequest, ReplicateResult
    from flows.retention.request import RetentionRequest, RetentionResult
    from flows.runs.operation import OperationResult
    from flows.sign.request import AttestRequest, SignRequest
    from flows.storage.evict_request import EvictRequest, EvictResult
    from flows.storage.gc_request import GcRequest, GcResult
    from flows.storage.maintain_request import MaintainRequest, MaintainResult
    from flows.storage.migrate_request import MigrateRequest, MigrateResult
    from flows.storage.prefetch_request import PrefetchRequest, PrefetchResult
    from flows.storage.reclaim_request import ReclaimRequest, ReclaimResult
    from flows.storage.scrub_request import ScrubRequest, ScrubResult
    from flows.sync.report import SyncResult
    from flows.sync.request import SyncRequest
    from flows.sync_many.report import SyncManyResult
    from flows.sync_many.request import SyncManyRequest
    from flows.watch.request import WatchRequest, WatchResult


def _export_form() -> "type[ExportRequest]":
    from flows.bundles.requests import ExportRequest

    return ExportRequest


def _export_flow() -> "FormFlow[ExportRequest, ExportResult]":
    from flows.bundles.export_flow import export_repositories

    return export_repositories


def _import_form() -> "type[ImportRequest]":
    from flows.bundles.requests import ImportRequest

    return ImportRequest


def _import_flow() -> "FormFlow[ImportRequest, ImportResult]":
    from flows.bundles.import_flow import import_bundle

    return import_bundle


def _curate_form() -> "type[CurateRequest]":
    from flows.curate.request import CurateRequest

    return CurateRequest


def _curate_flow() -> "FormFlow[CurateRequest, OperationResult]":
    from flows.curate.flow import curate_repository

    return curate_repository


def _restore_form() -> "type[RestoreRequest]":
    from flows.curate.restore_request import RestoreRequest

    return RestoreRequest


def _restore_flow() -> "FormFlow[RestoreRequest, OperationResult]":
    from flows.curate.restore_flow import restore_version

    return restore_version


def _build_form() -> "type[BuildRequest]":
    from flows.image_build.request import BuildRequest

    return BuildRequest


def _build_flow() -> "FormFlow[BuildRequest, OperationResult]":
    from flows.image_build.flow import build_image

    return build_image


def _promote_form() -> "type[PromoteRequest]":
    from flows.promote.request import PromoteRequest

    return PromoteRequest


def _promote_flow() -> "FormFlow[PromoteRequest, OperationResult]":
    from flows.promote.flow import promote_content

    return promote_content


def _push_form() -> "type[PushRequest]":
    from flows.push.request import PushRequest

    return PushRequest


def _push_flow() -> "FormFlow[PushRequest, PushResult]":
    from flows.push.flow import push_repositories

    return push_repositories


def _replicate_form() -> "type[ReplicateRequest]":
    from flows.replicate.request import ReplicateRequest

    return ReplicateRequest


def _replicate_flow() -> "FormFlow[ReplicateRequest, ReplicateResult]":
    from flows.replicate.flow import replicate_registry

    return replicate_registry


def _retention_form() -> "type[RetentionRequest]":
    from flows.retention.request import RetentionRequest

    return RetentionRequest


def _retention_flow() -> "FormFlow[RetentionRequest, RetentionResult]":
    from flows.retention.flow import apply_retention

    return apply_retention


def _sign_form() -> "type[SignRequest]":
    from flows.sign.request import SignRequest

    return SignRequest


def _sign_flow() -> "FormFlow[SignRequest, OperationResult]":
    from flows.sign.flow import sign_content

    return sign_content


def _attest_form() -> "type[AttestRequest]":
    from flows.sign.request import AttestRequest

    return AttestRequest


def _attest_flow() -> "FormFlow[AttestRequest, OperationResult]":
    from flows.sign.flow import attest_content

    return attest_content


def _evict_form() -> "type[EvictRequest]":
    from flows.storage.evict_request import EvictRequest

    return EvictRequest


def _evict_flow() -> "FormFlow[EvictRequest, EvictResult]":
    from flows.storage.evict_flow import evict_cache

    return evict_cache


def _collect_garbage_form() -> "type[GcRequest]":
    from flows.storage.gc_request import GcRequest

    return GcRequest


def _collect_garbage_flow() -> "FormFlow[GcRequest, GcResult]":
    from flows.storage.gc_flow import collect_garbage

    return collect_garbage


def _maintain_form() -> "type[MaintainRequest]":
    from flows.storage.maintain_request import MaintainRequest

    return MaintainRequest


def _maintain_flow() -> "FormFlow[MaintainRequest, MaintainResult]":
    from flows.storage.maintain_flow import maintain_catalog

    return maintain_catalog


def _migrate_form() -> "type[MigrateRequest]":
    from flows.storage.migrate_request import MigrateRequest

    return MigrateRequest


def _migrate_flow() -> "FormFlow[MigrateRequest, MigrateResult]":
    from flows.storage.migrate_flow import migrate_catalog

    return migrate_catalog


def _migrate_folder_form() -> "type[FolderMigrationRequest]":
    from flows.migrate.folder_request import FolderMigrationRequest

    return FolderMigrationRequest


def _migrate_folder_flow() -> "FormFlow[FolderMigrationRequest, MigrationResult]":
    from flows.migrate.folder_flow import migrate_folder

    return migrate_folder


def _migrate_harbor_form() -> "type[HarborMigrationRequest]":
    from flows.migrate.registry_request import HarborMigrationRequest

    return HarborMigrationRequest


def _migrate_pulp_form() -> "type[PulpMigrationRequest]":
    from flows.migrate.registry_request import PulpMigrationRequest

    return PulpMigrationRequest


def _migrate_quay_form() -> "type[QuayMigrationRequest]":
    from flows.migrate.registry_request import QuayMigrationRequest

    return QuayMigrationRequest


def _migrate_harbor_flow() -> "FormFlow[HarborMigrationRequest, MigrationResult]":
    from flows.migrate.registry_flow import migrate_harbor

    return migrate_harbor


def _migrate_pulp_flow() -> "FormFlow[PulpMigrationRequest, MigrationResult]":
    from flows.migrate.registry_flow import migrate_pulp

    return migrate_pulp


def _migrate_quay_flow() -> "FormFlow[QuayMigrationRequest, MigrationResult]":
    from flows.migrate.registry_flow import migrate_quay

    return migrate_quay


def _prefetch_form() -> "type[PrefetchRequest]":
    from flows.storage.prefetch_request import PrefetchRequest

    return PrefetchRequest


def _prefetch_flow() -> "FormFlow[PrefetchRequest, PrefetchResult]":
    from flows.storage.prefetch_flow import prefetch_content

    return prefetch_content


def _reclaim_form() -> "type[ReclaimRequest]":
    from flows.storage.reclaim_request import ReclaimRequest

    return ReclaimRequest


def _reclaim_flow() -> "FormFlow[ReclaimRequest, ReclaimResult]":
    from flows.storage.reclaim_flow import reclaim_space

    return reclaim_space


def _scrub_form() -> "type[ScrubRequest]":
    from flows.storage.scrub_request import ScrubRequest

    return ScrubRequest


def _scrub_flow() -> "FormFlow[ScrubRequest, ScrubResult]":
    from flows.storage.scrub_flow import scrub_blobs

    return scrub_blobs


def _sync_form() -> "type[SyncRequest]":
    from flows.sync.request import SyncRequest

    return SyncRequest


def _sync_flow() -> "FormFlow[SyncRequest, SyncResult]":
    from flows.sync.flow import sync_repository

    return sync_repository


def _sync_many_form() -> "type[SyncManyRequest]":
    from flows.sync_many.request import SyncManyRequest

    return SyncManyRequest


def _sync_many_flow() -> "FormFlow[SyncManyRequest, SyncManyResult]":
    from flows.sync_many.flow import sync_many

    return sync_many


def _watch_form() -> "type[WatchRequest]":
    from flows.watch.request import WatchRequest

    return WatchRequest


def _watch_flow() -> "FormFlow[WatchRequest, WatchResult]":
    from flows.watch.flow import watch_upstream

    return watch_upstream


EXPORT = LazyFlow(_export_form, _export_flow)
IMPORT = LazyFlow(_import_form, _import_flow)
CURATE = LazyFlow(_curate_form, _curate_flow)
RESTORE = LazyFlow(_restore_form, _restore_flow)
BUILD = LazyFlow(_build_form, _build_flow)
PROMOTE = LazyFlow(_promote_form, _promote_flow, lambda request: request.approval)
"""A run that waits for a person pauses in Prefect."""
PUSH = LazyFlow(_push_form, _push_flow)
REPLICATE = LazyFlow(_replicate_form, _replicate_flow, always)
RETENTION = LazyFlow(_retention_form, _retention_flow)
SIGN = LazyFlow(_sign_form, _sign_flow)
ATTEST = LazyFlow(_attest_form, _attest_flow)
EVICT = LazyFlow(_evict_form, _evict_flow)
COLLECT_GARBAGE = LazyFlow(_collect_garbage_form, _collect_garbage_flow)
MAINTAIN = LazyFlow(_maintain_form, _maintain_flow)
MIGRATE = LazyFlow(_migrate_form, _migrate_flow)
"""Of its command alone: a deployment could be started by whoever sees Prefect's UI."""
MIGRATE_FOLDER = LazyFlow(_migrate_folder_form, _migrate_folder_flow)
MIGRATE_HARBOR = LazyFlow(_migrate_harbor_form, _migrate_harbor_flow, always)
MIGRATE_PULP = LazyFlow(_migrate_pulp_form, _migrate_pulp_flow, always)
MIGRATE_QUAY = LazyFlow(_migrate_quay_form, _migrate_quay_flow, always)
"""Of their commands alone too: one reads folders of this machine, the others write rules and say who may pull."""
PREFETCH = LazyFlow(_prefetch_form, _prefetch_flow)
RECLAIM = LazyFlow(_reclaim_form, _reclaim_flow)
SCRUB = LazyFlow(_scrub_form, _scrub_flow)
SYNC = LazyFlow(_sync_form, _sync_flow)
SYNC_MANY = LazyFlow(_sync_many_form, _sync_many_flow, always)
WATCH = LazyFlow(_watch_form, _watch_flow)
