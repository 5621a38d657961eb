"""The contract: what every backend promises, as tests.

An author supplies one fixture, ``backend``: an opened backend whose store holds no documents.
Collections of the contract, which begin with ``contract_`` or ``made_``, may be there already. ::

    import pytest_asyncio
    from healthstore.testing.contract import ContractTests

    class TestMyBackend(ContractTests):
        @pytest_asyncio.fixture
        async def backend(self):
            backend = MyAdapter("mine")
            await backend.open()
            yield backend
            await backend.close()

Or the fixture stands in the module, below ``from healthstore.testing.contract import *``; then
each part of the contract is a class of its own.

A capability that the backend declares absent turns the tests that need it into tests of the
refusal: it must be a CapabilityError and come before any I/O.

Tests say which claims of :data:`healthstore.testing.claims.CLAIMS` they prove.
"""

from __future__ import annotations

from healthstore.testing.contract.adding_best_effort import TestAddingBestEffort
from healthstore.testing.contract.aggregates import TestAggregates
from healthstore.testing.contract.alterations import TestAlterations
from healthstore.testing.contract.altering import TestAltering
from healthstore.testing.contract.annotations import TestAnnotations
from healthstore.testing.contract.anomalies import TestAnomalies
from healthstore.testing.contract.attributes import TestAttributes
from healthstore.testing.contract.buckets import TestBuckets
from healthstore.testing.contract.bulk_writes import TestBulkWrites
from healthstore.testing.contract.catalog import TestCatalog
from healthstore.testing.contract.changes import TestChanges
from healthstore.testing.contract.checks import TestChecks
from healthstore.testing.contract.children import TestChildren
from healthstore.testing.contract.claims_of_jobs import TestClaimsOfJobs
from healthstore.testing.contract.computed import TestComputed
from healthstore.testing.contract.concurrency import TestConcurrency
from healthstore.testing.contract.conditional_uniques import TestConditionalUniques
from healthstore.testing.contract.decimals import TestDecimals
from healthstore.testing.contract.definitions import TestDefinitions
from healthstore.testing.contract.deletes import TestDeletes
from healthstore.testing.contract.distinct import TestDistinct
from healthstore.testing.contract.entities import TestEntities
from healthstore.testing.contract.errors import TestErrors
from healthstore.testing.contract.explanations import TestExplanations
from healthstore.testing.contract.filters import TestFilters
from healthstore.testing.contract.float_sums import TestFloatSums
from healthstore.testing.contract.group_options import TestGroupOptions
from healthstore.testing.contract.group_streams import TestGroupStreams
from healthstore.testing.contract.group_terms import TestGroupTerms
from healthstore.testing.contract.ignoring_case import TestIgnoringCase
from healthstore.testing.contract.index_terms import TestIndexTerms
from healthstore.testing.contract.instants import TestInstants
from healthstore.testing.contract.joins import TestJoins
from healthstore.testing.contract.json_paths import TestJsonPaths
from healthstore.testing.contract.json_storage import TestJsonStorage
from healthstore.testing.contract.kinds import TestKinds
from healthstore.testing.contract.lacking import TestLacking
from healthstore.testing.contract.latest import TestLatest
from healthstore.testing.contract.letters import TestLetters
from healthstore.testing.contract.lifecycle import TestLifecycle
from healthstore.testing.contract.limits import TestLimits
from healthstore.testing.contract.list_indexes import TestListIndexes
from healthstore.testing.contract.lists import TestLists
from healthstore.testing.contract.locks import TestLocks
from healthstore.testing.contract.long_texts import TestLongTexts
from healthstore.testing.contract.many import TestMany
from healthstore.testing.contract.nothing import TestNothing
from healthstore.testing.contract.operators import TestOperators
from healthstore.testing.contract.order_and_pages import TestOrderAndPages
from healthstore.testing.contract.pages import TestPages
from healthstore.testing.contract.part_changes import TestPartChanges
from healthstore.testing.contract.partial_indexes import TestPartialIndexes
from healthstore.testing.contract.parts_of_units import TestPartsOfUnits
from healthstore.testing.contract.patches import TestPatches
from healthstore.testing.contract.path_columns import TestPathColumns
from healthstore.testing.contract.path_terms import TestPathTerms
from healthstore.testing.contract.patterns import TestPatterns
from healthstore.testing.contract.probing import TestProbing
from healthstore.testing.contract.query_plans import TestQueryPlans
from healthstore.testing.contract.ranks import TestRanks
from healthstore.testing.contract.references import TestReferences
from healthstore.testing.contract.renames import TestRenames
from healthstore.testing.contract.repeated_requests import TestRepeatedRequests
from healthstore.testing.contract.replacements import TestReplacements
from healthstore.testing.contract.run import TestRun
from healthstore.testing.contract.saves import TestSaves
from healthstore.testing.contract.schema import TestSchema
from healthstore.testing.contract.searches import TestSearches
from healthstore.testing.contract.selections import TestSelections
from healthstore.testing.contract.serving import TestServing
from healthstore.testing.contract.sizes import TestSizes
from healthstore.testing.contract.top_groups import TestTopGroups
from healthstore.testing.contract.two_fields import TestTwoFields
from healthstore.testing.contract.uniques import TestUniques
from healthstore.testing.contract.units import TestUnits
from healthstore.testing.contract.unwinding import TestUnwinding
from healthstore.testing.contract.upserts_of_many import TestUpsertsOfMany
from healthstore.testing.contract.validators import TestValidators
from healthstore.testing.contract.value_lists import TestValueLists
from healthstore.testing.contract.values import TestValues
from healthstore.testing.contract.writes import TestWrites

__all__ = (
    "ContractTests",
    "TestAddingBestEffort",
    "TestAggregates",
    "TestAlterations",
    "TestAltering",
    "TestAnnotations",
    "TestAnomalies",
    "TestAttributes",
    "TestBuckets",
    "TestBulkWrites",
    "TestCatalog",
    "TestChanges",
    "TestChecks",
    "TestChildren",
    "TestClaimsOfJobs",
    "TestComputed",
    "TestConcurrency",
    "TestConditionalUniques",
    "TestDecimals",
    "TestDefinitions",
    "TestDeletes",
    "TestDistinct",
    "TestEntities",
    "TestErrors",
    "TestExplanations",
    "TestFilters",
    "TestFloatSums",
    "TestGroupOptions",
    "TestGroupStreams",
    "TestGroupTerms",
    "TestIgnoringCase",
    "TestIndexTerms",
    "TestInstants",
    "TestJoins",
    "TestJsonPaths",
    "TestJsonStorage",
    "TestKinds",
    "TestLacking",
    "TestLatest",
    "TestLetters",
    "TestLifecycle",
    "TestLimits",
    "TestListIndexes",
    "TestLists",
    "TestLocks",
    "TestLongTexts",
    "TestMany",
    "TestNothing",
    "TestOperators",
    "TestOrderAndPages",
    "TestPages",
    "TestPartChanges",
    "TestPartialIndexes",
    "TestPartsOfUnits",
    "TestPatches",
    "TestPathColumns",
    "TestPathTerms",
    "TestPatterns",
    "TestProbing",
    "TestQueryPlans",
    "TestRanks",
    "TestReferences",
    "TestRenames",
    "TestRepeatedRequests",
    "TestReplacements",
    "TestRun",
    "TestSaves",
    "TestSchema",
    "TestSearches",
    "TestSelections",
    "TestServing",
    "TestSizes",
    "TestTopGroups",
    "TestTwoFields",
    "TestUniques",
    "TestUnits",
    "TestUnwinding",
    "TestUpsertsOfMany",
    "TestValidators",
    "TestValueLists",
    "TestValues",
    "TestWrites",
)


class ContractTests(
    TestAddingBestEffort,
    TestAggregates,
    TestAlterations,
    TestAltering,
    TestAnnotations,
    TestAnomalies,
    TestAttributes,
    TestBuckets,
    TestBulkWrites,
    TestCatalog,
    TestChanges,
    TestChecks,
    TestChildren,
    TestClaimsOfJobs,
    TestComputed,
    TestConcurrency,
    TestConditionalUniques,
    TestDecimals,
    TestDefinitions,
    TestDistinct,
    TestEntities,
    TestDeletes,
    TestErrors,
    TestExplanations,
    TestFilters,
    TestFloatSums,
    TestGroupOptions,
    TestIndexTerms,
    TestGroupStreams,
    TestGroupTerms,
    TestIgnoringCase,
    TestInstants,
    TestJoins,
    TestJsonPaths,
    TestJsonStorage,
    TestKinds,
    TestLacking,
    TestLatest,
    TestLetters,
    TestLifecycle,
    TestLimits,
    TestListIndexes,
    TestLists,
    TestLocks,
    TestLongTexts,
    TestMany,
    TestNothing,
    TestOperators,
    TestOrderAndPages,
    TestPages,
    TestPartChanges,
    TestPartialIndexes,
    TestPartsOfUnits,
    TestPathColumns,
    TestPathTerms,
    TestPatterns,
    TestPatches,
    TestProbing,
    TestRanks,
    TestQueryPlans,
    TestReferences,
    TestRenames,
    TestRepeatedRequests,
    TestReplacements,
    TestRun,
    TestSaves,
    TestSchema,
    TestSearches,
    TestSelections,
    TestServing,
    TestSizes,
    TestTopGroups,
    TestTwoFields,
    TestUniques,
    TestUnits,
    TestValueLists,
    TestUnwinding,
    TestUpsertsOfMany,
    TestValidators,
    TestValues,
    TestWrites,
):
    """The whole contract in one class."""
